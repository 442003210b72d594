"""Vectors in memory: whole or masked loads and stores between the storage and the compute form of a dtype.

Compute forms are those of `vector.py`: f16 and bf16 are `float` already rounded to their grid, bools are i1.
"""
from __future__ import annotations

from engineworks.codegen.llvm.function import Function, Size
from engineworks.codegen.llvm.vector import storage_kind
from engineworks.core.dtypes import DType
from engineworks.errors import UnsupportedOperator

_SUFFIX = {"float": "f32", "double": "f64", "half": "f16", "bfloat": "bf16"}


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


def load_vector(f: Function, lanes: int, dtype: DType, pointer: str, mask: str | None = None, *,
                align: int | None = None, broadcast: bool = False) -> str:
    """`lanes` elements at `pointer` (one element in all lanes when `broadcast`); masked lanes are zero and not read.

    Args:
        mask: SSA <lanes x i1>, or None for all.
        align: bytes; an element's size unless given.
    """
    kind = _storage(dtype)
    vector = f"<{lanes} x {kind}>"
    align = align or dtype.size_bytes
    if broadcast:
        value = splat(f, lanes, kind, f.value(f"load {kind}, ptr {pointer}, align {align}"))
    elif mask is None:
        value = f.value(f"load {vector}, ptr {pointer}, align {align}")
    else:
        name = f"llvm.masked.load.v{lanes}{_SUFFIX.get(kind, kind)}.p0"
        value = f.call(vector, name, f"ptr align {align} {pointer}", f"<{lanes} x i1> {mask}", f"{vector} zeroinitializer")
    match dtype.name:
        case "bool":
            return f.value(f"icmp ne {vector} {value}, zeroinitializer")
        case "f16":
            return f.value(f"fpext {vector} {value} to <{lanes} x float>")
        case "bf16":
            wide = f.value(f"zext {vector} {value} to <{lanes} x i32>")
            return f.value(f"bitcast <{lanes} x i32> {f.value(f'shl <{lanes} x i32> {wide}, splat (i32 16)')} to <{lanes} x float>")
    return value


def store_vector(f: Function, lanes: int, dtype: DType, pointer: str, value: str, mask: str | None = None) -> None:
    """Store `lanes` elements in compute form; masked lanes are not written."""
    kind = _storage(dtype)
    vector = f"<{lanes} x {kind}>"
    match dtype.name:
        case "bool":
            value = f.value(f"zext <{lanes} x i1> {value} to {vector}")
        case "f16":
            value = f.value(f"fptrunc <{lanes} x float> {value} to {vector}")
        case "bf16":
            bits = f.value(f"bitcast <{lanes} x float> {value} to <{lanes} x i32>")
            value = f.value(f"trunc <{lanes} x i32> {f.value(f'lshr <{lanes} x i32> {bits}, splat (i32 16)')} to {vector}")
    if mask is None:
        f.line(f"store {vector} {value}, ptr {pointer}, align {dtype.size_bytes}")
        return
    f.call("void", f"llvm.masked.store.v{lanes}{_SUFFIX.get(kind, kind)}.p0", f"{vector} {value}",
           f"ptr align {dtype.size_bytes} {pointer}", f"<{lanes} x i1> {mask}")


def _storage(dtype: DType) -> str:
    """LLVM's element type in memory, where reading and writing it is more than a copy only for the types above."""
    if dtype.name.startswith("f8") or dtype.bits < 8:
        raise UnsupportedOperator(f"a tile's epilogue cannot read or write {dtype}; cast to another dtype outside of it")
    return "i16" if dtype.name == "bf16" else storage_kind(dtype)
