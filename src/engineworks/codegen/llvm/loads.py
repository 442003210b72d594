"""Vectors in memory: whole or masked loads and stores of any dtype in register form (`prims.emit_epilogue`):
half, bfloat, i1 for bool, bytes for f8, otherwise as stored.
"""

from __future__ import annotations

from engineworks.codegen.llvm.function import Function, Size
from engineworks.codegen.llvm.vector import storage_kind
from engineworks.core.dtypes import DType

_SUFFIX = {"float": "f32", "double": "f64", "half": "f16"}


def splat(f: Function, lanes: int, kind: str, value: str) -> str:
    """A vector all of whose lanes are the scalar `value` of LLVM type `kind`."""
    vector = f"<{lanes} x {kind}>"
    one = f.value(f"insertelement {vector} poison, {kind} {value}, i64 0")
    return f.value(f"shufflevector {vector} {one}, {vector} poison, <{lanes} x i32> zeroinitializer")


def iota_below(f: Function, lanes: int, count: Size) -> str:
    """<lanes x i1>: lane index < count; counts outside 0 … lanes are as good."""
    if isinstance(count, int):
        return "<" + ", ".join(f"i1 {int(lane < count)}" for lane in range(lanes)) + ">"
    narrow = f.value(f"trunc i64 {f.smax(f.smin(count, lanes), 0)} to i32")
    indices = "<" + ", ".join(f"i32 {lane}" for lane in range(lanes)) + ">"
    return f.value(f"icmp slt <{lanes} x i32> {indices}, {splat(f, lanes, 'i32', narrow)}")


def load_vector(
    f: Function,
    lanes: int,
    dtype: DType,
    pointer: str,
    mask: str | None = None,
    *,
    align: int | None = None,
    broadcast: bool = False,
) -> str:
    """`lanes` elements at `pointer` (one element in all lanes when `broadcast`); masked lanes are zero and not read.

    Args:
        mask: SSA <lanes x i1>, or None for all.
        align: bytes; an element's size unless given.
    """
    kind = _moved_kind(dtype)
    vector = f"<{lanes} x {kind}>"
    align = align or dtype.size_bytes
    if broadcast:
        value = splat(f, lanes, kind, f.value(f"load {kind}, ptr {pointer}, align {align}"))
    elif mask is None:
        value = f.value(f"load {vector}, ptr {pointer}, align {align}")
    else:
        name = f"llvm.masked.load.v{lanes}{_SUFFIX.get(kind, kind)}.p0"
        value = f.call(
            vector,
            name,
            f"ptr align {align} {pointer}",
            f"<{lanes} x i1> {mask}",
            f"{vector} zeroinitializer",
        )
    if dtype.kind == "bool":
        return f.value(f"icmp ne {vector} {value}, zeroinitializer")
    return f.value(f"bitcast {vector} {value} to <{lanes} x bfloat>") if dtype.name == "bf16" else value


def widened(f: Function, lanes: int, source: DType, target: DType, value: str) -> str:
    """Elements of `source` as the same or a wider dtype: 16-bit floats as f32, bytes as i16 or f32."""
    if source is target:
        return value
    kind, wide = (f"<{lanes} x {storage_kind(t)}>" for t in (source, target))
    if source.name == "f16":
        return f.value(f"fpext {kind} {value} to {wide}")
    if source.name == "bf16":
        bits, words = f"<{lanes} x i16>", f"<{lanes} x i32>"
        low = f.value(f"zext {bits} {f.value(f'bitcast {kind} {value} to {bits}')} to {words}")
        return f.value(f"bitcast {words} {f.value(f'shl {words} {low}, splat (i32 16)')} to {wide}")
    grows = "zext" if source.kind == "uint" else "sext"
    if target.is_float:
        # By way of words: x86 converts no bytes.
        words = f"<{lanes} x i32>"
        return f.value(f"sitofp {words} {f.value(f'{grows} {kind} {value} to {words}')} to {wide}")
    return f.value(f"{grows} {kind} {value} to {wide}")


def store_vector(
    f: Function, lanes: int, dtype: DType, pointer: str, value: str, mask: str | None = None
) -> None:
    """Store `lanes` elements in register form; masked lanes are not written."""
    kind = _moved_kind(dtype)
    vector = f"<{lanes} x {kind}>"
    if dtype.kind == "bool":
        value = f.value(f"zext <{lanes} x i1> {value} to {vector}")
    elif dtype.name == "bf16":
        value = f.value(f"bitcast <{lanes} x bfloat> {value} to {vector}")
    if mask is None:
        f.line(f"store {vector} {value}, ptr {pointer}, align {dtype.size_bytes}")
        return
    f.call(
        "void",
        f"llvm.masked.store.v{lanes}{_SUFFIX.get(kind, kind)}.p0",
        f"{vector} {value}",
        f"ptr align {dtype.size_bytes} {pointer}",
        f"<{lanes} x i1> {mask}",
    )
    keep_width(f, kind, f"{vector} {value}")


def keep_width(f: Function, kind: str, stored: str) -> None:
    """Say after a masked store of what may be truncated integers that they are used again.

    LLVM 22 joins a truncation to its only use, a masked store, and writes the wide element where one lane of the mask
    is left: up to seven bytes behind the end of a tensor.
    """
    if kind in ("i8", "i16", "i32", "bfloat"):
        f.declare("declare void @llvm.fake.use(...)")
        f.line(f"call void (...) @llvm.fake.use({stored})")


def _moved_kind(dtype: DType) -> str:
    """The type that loads and stores move: bfloat goes as i16, which has masked instructions everywhere."""
    return "i16" if dtype.name == "bf16" else storage_kind(dtype)
