"""torch's conventions for pointwise operators: numbers beside tensors, common dtypes, integers that become floats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import Dim, Sym
from engineworks.core.dtypes import DType
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.foreign import ForeignNode, from_torch
from engineworks.ir.graph import Value
from engineworks.ir.op import Op

Operand = Value | Dim | float
"""What stands where torch's schemas say Tensor or Scalar: a tensor, a size, or a Python number."""


def in_dtype(g: GraphBuilder, x: Operand, dtype: DType) -> Value:
    """The operand as a tensor of `dtype`; numbers and sizes have rank 0."""
    if isinstance(x, Value):
        return g.cast_to(x, dtype)
    if isinstance(x, Sym):
        return g.cast_to(g.dims(x), dtype)
    with np.errstate(all="ignore"):  # a number beyond the dtype wraps around, as in torch
        return g.constant(np.asarray(x).astype(dtype.numpy))


def operands_of(g: GraphBuilder, n: ForeignNode, *names: str) -> list[Value]:
    """The arguments called so, in the dtype of torch's result."""
    dtype = n.result_dtype()
    return [in_dtype(g, n.arg(name), dtype) for name in names]


def wide_operands(g: GraphBuilder, n: ForeignNode, *names: str) -> list[Value]:
    """As `operands_of`; a number beside 16-bit floats is not rounded to 16 bits, but all become f32 as in torch."""
    dtype = n.result_dtype()
    has_number = not all(isinstance(n.arg(name), Value) for name in names)
    dtype = dtypes.f32 if has_number and dtype.is_float and dtype.bits == 16 else dtype
    return [in_dtype(g, n.arg(name), dtype) for name in names]


def floating(g: GraphBuilder, x: Value) -> Value:
    """x itself when it is floating point; else as f32, torch's default dtype."""
    return x if x.type.dtype.is_float else g.cast_to(x, dtypes.f32)


def scaled(g: GraphBuilder, x: Value, factor: Operand) -> Value:
    """x factor, in the dtype of x."""
    if not isinstance(factor, (Value, Sym)) and factor == 1:
        return x
    by = in_dtype(g, factor, x.type.dtype)
    return g.logical_and(x, by) if x.type.dtype is dtypes.bool_ else g.mul(x, by)


def filled(g: GraphBuilder, value: Operand, dtype: DType, shape: Sequence[Dim]) -> Value:
    """One number everywhere: a view of it."""
    number = in_dtype(g, value, dtype)
    return number if not len(shape) else g.expand(g.reshape_to(number, ()), shape=tuple(shape))


def size_value(g: GraphBuilder, size: Dim, dtype: DType) -> Value:
    """A size as a tensor of rank 0."""
    return in_dtype(g, size, dtype)


def at_least_1d(g: GraphBuilder, x: Value) -> Value:
    """x, or its only element as a vector: torch lets tensors of rank 0 have an axis 0."""
    return g.reshape_to(x, (1,)) if x.type.rank == 0 else x


# -- promotion ------------------------------------------------------------------------------------------------
def common_dtype(*operands: Operand) -> DType:
    """torch.result_type: tensors with axes decide, then tensors of rank 0, then numbers, unless these are of a higher
    category (bool, integer, floating point).
    """
    tensors = [x.type for x in operands if isinstance(x, Value)]
    ranked = _promoted([t.dtype for t in tensors if t.rank])
    single = _promoted([t.dtype for t in tensors if not t.rank])
    numbers = _promoted([_dtype_of(x) for x in operands if not isinstance(x, Value)])
    found = _by_category(ranked, _by_category(single, numbers))
    assert found is not None, "an operator has operands"
    return found


def _dtype_of(number: Dim | float) -> DType:
    if isinstance(number, bool):
        return dtypes.bool_
    return dtypes.f32 if isinstance(number, float) else dtypes.i64


def _by_category(higher: DType | None, lower: DType | None) -> DType | None:
    """`higher` unless `lower` is of a higher category."""
    if higher is None or lower is None:
        return higher or lower
    if not higher.is_float and (higher is dtypes.bool_ or lower.is_float):
        return promoted(higher, lower)
    return higher


def _promoted(kinds: Sequence[DType]) -> DType | None:
    return reduce(promoted, kinds) if kinds else None


def promoted(a: DType, b: DType) -> DType:
    """torch.promote_types: the smallest dtype that holds both; of integers and floats the float."""
    if a is b:
        return a
    order = ("bool", "uint", "int", "float")
    low, high = sorted((a, b), key=lambda t: (order.index(t.kind), t.bits))
    if high.is_float and low.is_float and low.bits == high.bits == 16:
        return dtypes.f32  # f16 and bf16
    if high.kind == low.kind or high.is_float or low is dtypes.bool_:
        return high
    wider = {8: dtypes.i16, 16: dtypes.i32}
    return high if high.bits > low.bits else wider.get(low.bits, dtypes.i64)


# -- registration ---------------------------------------------------------------------------------------------
Make = Callable[[GraphBuilder, list[Value]], Value]


def pointwise_from_torch(op: type[Op], *kinds: str, **attributes: Any) -> None:
    """Each of `kinds`, with the operands `self` and perhaps `other`, is `op` in the dtype of torch's result;
    `attributes` are those of our op.
    """

    def importer(g: GraphBuilder, n: ForeignNode) -> Value:
        made = g.add_node(op(**attributes), wide_operands(g, n, *_operand_names(n)))[0]
        return g.cast_to(made, n.result_dtype())

    from_torch(*kinds)(importer)


def rounding_from_torch(op: type[Op], *kinds: str) -> None:
    """Each of `kinds` is `op`, which leaves integers alone."""

    def importer(g: GraphBuilder, n: ForeignNode) -> Value:
        x = n.arg("self")
        return g.add_node(op(), [x])[0] if x.type.dtype.is_float else x

    from_torch(*kinds)(importer)


def comparison_from_torch(make: Make, *kinds: str) -> None:
    """Each of `kinds` compares its two operands in their common dtype; booleans are 0 and 1."""

    def importer(g: GraphBuilder, n: ForeignNode) -> Value:
        operands = [n.arg(name) for name in _operand_names(n)]
        dtype = common_dtype(*operands)
        dtype = dtypes.u8 if dtype is dtypes.bool_ else dtype
        return make(g, [in_dtype(g, x, dtype) for x in operands])

    from_torch(*kinds)(importer)


def logical_from_torch(op: type[Op], *kinds: str) -> None:
    """Each of `kinds` is `op` of whether its operands are other than 0."""

    def importer(g: GraphBuilder, n: ForeignNode) -> Value:
        operands = [in_dtype(g, n.arg(name), dtypes.bool_) for name in _operand_names(n)]
        return g.add_node(op(), operands)[0]

    from_torch(*kinds)(importer)


def bitwise_from_torch(op: type[Op], of_booleans: str, *kinds: str) -> None:
    """Each of `kinds` is `op`, on booleans our op called `of_booleans`."""

    def importer(g: GraphBuilder, n: ForeignNode) -> Value:
        operands = wide_operands(g, n, *_operand_names(n))
        if n.result_dtype() is dtypes.bool_:
            return getattr(g, of_booleans)(*operands)
        return g.cast_to(g.add_node(op(), operands)[0], n.result_dtype())

    from_torch(*kinds)(importer)


def _operand_names(n: ForeignNode) -> list[str]:
    return [name for name in ("self", "other") if name in n.foreign.attributes]


def numbers_first(g: GraphBuilder, combine: Callable[..., Value], a: Value, b: Value) -> Value:
    """combine(a, b), where an operand that is NaN gives way to the other."""
    if a.type.dtype is dtypes.bool_:
        return g.cast(
            numbers_first(g, combine, *(g.cast(x, dtype=dtypes.u8) for x in (a, b))), dtype=dtypes.bool_
        )
    if not a.type.dtype.is_float:
        return combine(a, b)
    return g.where(g.is_nan(a), b, g.where(g.is_nan(b), a, combine(a, b)))
