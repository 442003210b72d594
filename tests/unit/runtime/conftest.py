"""Small hand-written engines. Kernels: out[i] = in[i] + 1 and out[i] = a[i] * b[i], f32, one task an
element."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from engineworks.codegen.llvm.compile import compile_object, module_text
from engineworks.codegen.llvm.function import AVX2, Function
from engineworks.codegen.llvm.pool import pool_text
from engineworks.core.target import V3
from engineworks.engine import container
from engineworks.engine.schema import (
    Buffer,
    Check,
    Kernel,
    Manifest,
    Profile,
    Range,
    Record,
    Ref,
    Symbol,
    TargetRecord,
    Tensor,
    Value,
)  # fmt: skip
from engineworks.runtime.cpu.link import link
from engineworks.runtime.engine import Engine

TARGET = TargetRecord("cpu", "x86-64-v3", V3)


def elementwise(name: str, operation: str, operands: int) -> Function:
    """out[i] = operands combined by an LLVM binary operation (with 1.0 when there is one operand)."""
    f = Function(name)
    pointers = [f.pointer(i) for i in range(operands + 1)]
    with f.loop("%lo", "%hi") as i:
        values = [f.value(f"load float, ptr {f.at(p, i, 'float')}, align 4") for p in pointers[:-1]]
        result = f.value(f"{operation} float {values[0]}, {values[1] if operands == 2 else '1.0'}")
        f.line(f"store float {result}, ptr {f.at(pointers[-1], i, 'float')}, align 4")
    return f


def code_of(functions: Sequence[Function]) -> bytes:
    """One object for each function and one for the pool, linked."""
    objects = [compile_object(module_text([f.text()], f.declarations, AVX2), AVX2) for f in functions]
    texts, declarations = pool_text(AVX2)
    return link([*objects, compile_object(module_text(texts, declarations, AVX2), AVX2)])


@pytest.fixture(scope="session")
def code() -> bytes:
    return code_of([elementwise("add_one", "fadd", 1), elementwise("multiply", "fmul", 2)])


KERNELS = (Kernel("add_one"), Kernel("multiply"))
WEIGHTS = np.arange(1000, dtype=np.float32)


@pytest.fixture
def weights() -> np.ndarray:
    return WEIGHTS


def _static_manifest(chunks: int = 0) -> Manifest:
    """y = (x + 1) * weights, 1000 elements: two records, one buffer between them."""
    return Manifest(
        package="test", target=TARGET, inputs=(Tensor("x", "f32", (10, 100)),), outputs=(Tensor("y", "f32", (10, 100)),),
        buffers=(
            Buffer("input", 0, 4000), Buffer("arena", 64, 4000), Buffer("weights", 0, 4000), Buffer("output", 0, 4000),
        ),
        kernels=KERNELS,
        program=(
            Record(kernel=0, words=(Ref(0), Ref(1)), tasks=1000, chunks=chunks, name="plus", writes=(1,)),
            Record(kernel=1, words=(Ref(1), Ref(2), Ref(3)), tasks=1000, chunks=chunks, name="times", writes=(3,)),
            Record(op="end"),
        ),
        arena_bytes=4096,
    )  # fmt: skip


@pytest.fixture
def static_manifest() -> Callable[..., Manifest]:
    return _static_manifest


@pytest.fixture
def static_engine(tmp_path, code):
    """Path of the engine of y = (x + 1) * weights."""
    path = tmp_path / "static.engine"
    container.write(path, _static_manifest(), {"code": code, "weights": WEIGHTS.tobytes()})
    return path


@pytest.fixture
def open_engine(code) -> Callable[..., Engine]:
    """Opens an engine made from a manifest, in memory."""

    def open_it(manifest: Manifest, *, image: bytes = code, **options) -> Engine:
        return Engine.open(
            container.encode(manifest, {"code": image, "weights": WEIGHTS.tobytes()}), **options
        )

    return open_it


# -- engines with symbols and jumps


def _resolve() -> Function:
    """args: symbols, plan. Record 1's tasks and its first word become 10 * B."""
    f = Function("resolve")
    size = f.mul(f.value(f"load i64, ptr {f.pointer(0)}"), 10)
    plan = f.pointer(1)
    f.line(f"store i64 {size}, ptr {f.at(plan, 8 * (8 + 3))}")
    f.line(f"store i64 {size}, ptr {f.at(plan, 8 * (8 * 3 + 2))}")
    return f


def _add_size() -> Function:
    """args: size, in, out. out[i] = in[i] + size, i64."""
    f = Function("add_size")
    size, source, target = f.word(0), f.pointer(1), f.pointer(2)
    with f.loop("%lo", "%hi") as i:
        value = f.value(f"load i64, ptr {f.at(source, i, 'i64')}")
        f.line(f"store i64 {f.add(value, size)}, ptr {f.at(target, i, 'i64')}")
    return f


def _positives() -> Function:
    """args: count, in, out, found. Copies the positive of in[0:count] to out, and stores how many at
    found; i64."""
    f = Function("positives")
    count, source, target, found = f.word(0), f.pointer(1), f.pointer(2), f.pointer(3)
    number = f.variable("i64", 0)
    with f.loop(0, count) as i:
        value = f.value(f"load i64, ptr {f.at(source, i, 'i64')}")
        with f.when(f.compare("sgt", value, 0)):
            f.line(f"store i64 {value}, ptr {f.at(target, f.get('i64', number), 'i64')}")
            f.set("i64", number, f.add(f.get("i64", number), 1))
    f.line(f"store i64 {f.get('i64', number)}, ptr {found}")
    return f


def _set_word() -> Function:
    """args: address, value."""
    f = Function("set_word")
    f.line(f"store i64 {f.word(1)}, ptr {f.pointer(0)}")
    return f


def _count_down() -> Function:
    """args: address of an i64 counter, address of a byte that tells whether it is above zero afterwards."""
    f = Function("count_down")
    counter = f.pointer(0)
    less = f.add(f.value(f"load i64, ptr {counter}"), -1)
    f.line(f"store i64 {less}, ptr {counter}")
    more = f.compare("sgt", less, 0)
    f.line(f"store i8 {f.value(f'zext i1 {more} to i8')}, ptr {f.pointer(1)}")
    return f


@pytest.fixture(scope="session")
def control_code() -> bytes:
    return code_of(
        [_resolve(), _add_size(), _positives(), _set_word(), _count_down(), elementwise("add_one", "fadd", 1)]
    )


CONTROL_KERNELS = tuple(
    Kernel(k) for k in ("resolve", "add_size", "positives", "set_word", "count_down", "add_one")
)


def _dynamic_manifest(resolves: bool) -> Manifest:
    """y[B, 10] = x[B, 10] + 10 * B, i64; B is 1 … 8, in profile 'small' 1 … 2."""
    call = Record(kernel=1, words=("10*B", Ref(0), Ref(1)), tasks="10*B", name="add", writes=(1,))
    resolve = (Record(kernel=0, words=(Ref(2), Ref(3)), single=True),) if resolves else ()
    return Manifest(
        package="test", target=TARGET, inputs=(Tensor("x", "i64", ("B", 10)),), outputs=(Tensor("y", "i64", ("B", 10)),),
        symbols=(Symbol("B", 1, 4, 8, 0, 0),),
        profiles=(Profile("wide"), Profile("small", {"B": Range(1, 1, 2)})),
        checks=(Check("B", "!=", 5, "node 'add' cannot take five rows"),),
        buffers=(
            Buffer("input", 0, "80*B"), Buffer("output", 0, "80*B", Value("sum", "i64", ("B", 10))),
            Buffer("symbols"), Buffer("plan"),
        ),
        kernels=CONTROL_KERNELS, program=(*resolve, call, Record(op="end")), resolves_itself=resolves,
    )  # fmt: skip


def _positives_manifest() -> Manifest:
    """y[n] = the positive elements of x[N], in order; n is found by the run."""
    return Manifest(
        package="test", target=TARGET, inputs=(Tensor("x", "i64", ("N",)),), outputs=(Tensor("y", "i64", ("n",)),),
        symbols=(Symbol("N", 0, 4, 100, 0, 0), Symbol("n", 0, 1, "N")),
        checks=(Check("n", "!=", 7, "node 'positives' found seven"),),
        buffers=(Buffer("input"), Buffer("output"), Buffer("symbols")), kernels=CONTROL_KERNELS,
        program=(
            Record(kernel=2, words=("N", Ref(0), Ref(1), Ref(2, 8)), single=True, name="positives"), Record(op="end"),
        ),
    )  # fmt: skip


def _loop_manifest(turns: int, chunks: int) -> Manifest:
    """y = x + 1 + turns, f32[1000]: a counter in the arena at 0, its condition at 8, the accumulator at
    64."""
    return Manifest(
        package="test", target=TARGET, inputs=(Tensor("x", "f32", (1000,)),), outputs=(Tensor("y", "f32", (1000,)),),
        buffers=(
            Buffer("input"), Buffer("output"), Buffer("arena", 0, 16), Buffer("arena", 64, 4000, Value("acc", "f32", (1000,))),
        ),
        kernels=CONTROL_KERNELS,
        program=(
            Record(kernel=3, words=(Ref(2), turns), single=True, barrier=False),
            Record(kernel=5, words=(Ref(0), Ref(3)), tasks=1000, name="first", writes=(3,)),
            Record(kernel=5, words=(Ref(3), Ref(3)), tasks=1000, chunks=chunks, name="turn", writes=(3,)),
            Record(kernel=4, words=(Ref(2), Ref(2, 8)), single=True),
            Record(op="jump_if_zero", words=(Ref(2, 8),), target=6),
            Record(op="jump", target=2),
            Record(kernel=5, words=(Ref(3), Ref(1)), tasks=1000, name="last", writes=(1,)),
            Record(op="end"),
        ),
        arena_bytes=8192,
    )  # fmt: skip


@pytest.fixture
def control_engine(open_engine, control_code) -> Callable[..., Engine]:
    """control_engine('dynamic' | 'positives' | 'loop', ...)."""
    make = {"dynamic": _dynamic_manifest, "positives": _positives_manifest, "loop": _loop_manifest}

    def open_it(which: str, *arguments, **options) -> Engine:
        return open_engine(make[which](*arguments), image=control_code, **options)

    return open_it
