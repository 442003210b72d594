"""Kernel objects linked and loaded without a linker; both ways of loading run the same bytes."""

from __future__ import annotations

import ctypes
import gc
import time

import pytest

from engineworks.codegen.llvm.compile import compile_object, module_text
from engineworks.codegen.llvm.function import AVX2
from engineworks.errors import BuildError, CorruptEngine
from engineworks.runtime.cpu import loader
from engineworks.runtime.cpu.link import link

LOADERS = [loader.load, loader.load_flat]


def compiled(text: str, declarations: tuple[str, ...] = ()) -> bytes:
    return compile_object(module_text([text], declarations, AVX2), AVX2)


CALLER = (
    "define i64 @caller(i64 %x) #0 {\n %r = call i64 @callee(i64 %x)\n %s = add i64 %r, 1\n ret i64 %s\n}\n"
)
CALLEE = "define i64 @callee(i64 %x) #0 {\n %r = mul i64 %x, 10\n ret i64 %r\n}\n"
ADDRESS = "define ptr @address() #0 {\n ret ptr @callee\n}\n"
# A table of pointers and a counter: relocated words, writable data, zero-initialised data.
TABLE = """@table = internal constant [2 x ptr] [ptr @first, ptr @second]
@counter = internal global i64 40
@zeros = internal global [100 x i64] zeroinitializer
@halves = internal constant [4 x double] [double 0.5, double 1.5, double 2.5, double 3.5]
define internal i64 @first() #0 {
 ret i64 1
}
define internal i64 @second() #0 {
 ret i64 2
}
define i64 @pick(i64 %i) #0 {
 %p = getelementptr ptr, ptr @table, i64 %i
 %f = load ptr, ptr %p
 %r = call i64 %f()
 ret i64 %r
}
define i64 @next() #0 {
 %v = load i64, ptr @counter
 %w = add i64 %v, 1
 store i64 %w, ptr @counter
 %p = getelementptr i64, ptr @zeros, i64 %v
 %z = load i64, ptr %p
 %r = add i64 %w, %z
 ret i64 %r
}
define double @half(i64 %i) #0 {
 %p = getelementptr double, ptr @halves, i64 %i
 %v = load double, ptr %p
 ret double %v
}
"""


def function(image: loader.Image, name: str, result, *arguments):
    return ctypes.CFUNCTYPE(result, *arguments)(image.addresses[name])


@pytest.mark.parametrize("load", LOADERS)
def test_calls_and_addresses_cross_objects(load):
    declaration = ("declare i64 @callee(i64)",)
    code = link([compiled(CALLER, declaration), compiled(ADDRESS, declaration), compiled(CALLEE)])
    image = load(code, ["caller", "address", "callee"])
    assert function(image, "caller", ctypes.c_int64, ctypes.c_int64)(4) == 41
    assert function(image, "address", ctypes.c_uint64)() == image.addresses["callee"]


@pytest.mark.parametrize("load", LOADERS)
def test_tables_and_variables_work(load):
    image = load(link([compiled(TABLE)]), ["pick", "next", "half"])
    assert [function(image, "pick", ctypes.c_int64, ctypes.c_int64)(i) for i in (0, 1)] == [1, 2]
    assert [function(image, "next", ctypes.c_int64)() for _ in range(2)] == [41, 42]
    assert function(image, "half", ctypes.c_double, ctypes.c_int64)(3) == 3.5


def test_two_images_of_the_same_bytes_have_their_own_variables():
    code = link([compiled(TABLE)])
    first, second = (loader.load(code, ["next"]) for _ in range(2))
    function(first, "next", ctypes.c_int64)()
    assert function(second, "next", ctypes.c_int64)() == 41


def test_an_image_loaded_after_another_is_gone_is_the_new_one():
    for value in range(20):
        image = loader.load(link([compiled(f"define i64 @f() #0 {{\n ret i64 {value}\n}}\n")]), ["f"])
        assert function(image, "f", ctypes.c_int64)() == value
        del image
        gc.collect()


def test_equal_objects_link_to_equal_bytes():
    objects = [compiled(TABLE), compiled(CALLEE)]
    assert link(objects) == link(objects)


def test_an_undefined_symbol_is_named():
    with pytest.raises(BuildError, match="'callee', which no kernel object defines"):
        link([compiled(CALLER, ("declare i64 @callee(i64)",))])


def test_a_symbol_defined_twice_is_named():
    with pytest.raises(BuildError, match="two kernel objects define the symbol 'callee'"):
        link([compiled(CALLEE), compiled(CALLEE)])


def test_something_else_is_no_object():
    with pytest.raises(BuildError, match="not a relocatable"):
        link([b"\x7fELF" + bytes(100)])


@pytest.mark.parametrize("load", LOADERS)
def test_a_missing_function_is_named(load):
    with pytest.raises(CorruptEngine, match="no function 'none'"):
        load(link([compiled(CALLEE)]), ["none"])


def test_code_that_is_no_library_is_refused():
    with pytest.raises(CorruptEngine):
        loader.load(b"", [])


def test_loading_takes_less_than_two_milliseconds():
    code = link([compiled(CALLEE.replace("@callee", f"@f{i}")) for i in range(100)])
    durations = []
    for _ in range(10):
        start = time.perf_counter()
        loader.load(code, [f"f{i}" for i in range(100)])
        durations.append(time.perf_counter() - start)
    assert min(durations) < 0.002


def test_no_part_of_the_image_is_writable_and_executable():
    image = loader.load(link([compiled(TABLE)]), ["pick"])
    address = image.addresses["pick"]
    with open("/proc/self/maps") as maps:
        for line in maps:
            span, permissions = line.split()[:2]
            low, high = (int(x, 16) for x in span.split("-"))
            if low <= address < high:
                assert permissions == "r-xp"
                return
    raise AssertionError("not mapped")
