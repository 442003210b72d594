"""Index arithmetic of nests in 32 bits where every value on the way is known to fit."""

from __future__ import annotations

from engineworks.codegen.llvm.loops_index import Extents, bounds_of
from engineworks.codegen.llvm.loops_nest import Nest
from engineworks.core import dtypes
from engineworks.core.dims import bounds, known_at_most
from engineworks.ir.scalar import Scalar, apply, cast, const, fold, rebuild

_LIMIT = (1 << 31) - 1
_ARITHMETIC = frozenset({"add", "sub", "mul", "neg", "min", "max", "floordiv", "mod", "div", "where"})


def narrowed(expr: Scalar, extents: Extents) -> Scalar | None:
    """An i64 expression of axes and sizes in i32, with divisions that do not look at signs where there are none; None
    where a value may not fit, or is loaded.
    """
    if not _fits(expr, extents):
        return None
    if expr.head == "const":
        return const(expr.payload, dtypes.i32)
    if expr.head in ("axis", "size"):
        return Scalar.make(expr.head, (), dtypes.i32, expr.payload)
    if expr.head not in _ARITHMETIC:
        return None
    args = expr.args[1:] if expr.head == "where" else expr.args
    made = [narrowed(a, extents) for a in args]
    known = [a for a in made if a is not None]
    if len(known) != len(args):
        return None
    if expr.head == "where":
        return apply("where", with_narrow_indices(expr.args[0], extents), *known)
    return apply(_unsigned(expr, extents), *known)


def _unsigned(expr: Scalar, extents: Extents) -> str:
    """div and rem in place of floordiv and mod where both operands are not negative."""
    if expr.head not in ("floordiv", "mod"):
        return expr.head
    lows = [bounds_of(a, extents)[0] for a in expr.args]
    if all(low is not None and known_at_most(0, low) is True for low in lows):
        return "div" if expr.head == "floordiv" else "rem"
    return expr.head


def _fits(expr: Scalar, extents: Extents) -> bool:
    low, high = bounds_of(expr, extents)
    if low is None or high is None:
        return False
    least, most = bounds(low)[0], bounds(high)[1]
    return least is not None and most is not None and least >= -_LIMIT and most <= _LIMIT


def with_narrow_indices(expr: Scalar, extents: Extents) -> Scalar:
    """Positions that are compared or converted are computed in i32 where that is safe."""

    def visit(node: Scalar, args: tuple[Scalar, ...]) -> Scalar:
        made = rebuild(node, args)
        if made.head in ("lt", "le", "eq", "ne") and made.args[0].dtype is dtypes.i64:
            left, right = (narrowed(a, extents) for a in made.args)
            if left is not None and right is not None:
                return apply(made.head, left, right)
        if made.head == "cast" and made.args[0].dtype is dtypes.i64:
            source = narrowed(made.args[0], extents)
            return made if source is None else cast(source, made.dtype)
        return made

    return fold(expr, visit)


def is_wide(nest: Nest) -> bool:
    """True when offsets or counts of positions may need more than 31 bits."""
    counts = [t.count + t.size_bytes // t.dtype.size_bytes for t in (*nest.operands, *nest.outputs)]
    total = 1
    for extent in nest.extents.values():
        most = bounds(extent)[1]
        total = total * most if most is not None else _LIMIT + 1
    highest = [bounds(c)[1] for c in counts]
    return total > _LIMIT or any(h is None or h > 2 * _LIMIT for h in highest)
