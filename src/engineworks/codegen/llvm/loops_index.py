"""Index expressions: linear forms over axes, bounds by intervals, and the rewrites that make reshapes affine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from engineworks.core import dtypes
from engineworks.core.dims import Dim, known_at_most, known_less, known_positive
from engineworks.errors import Undecided
from engineworks.ir.scalar import Scalar, apply, axis, cast, const, fold, rebuild, size

Extents = Mapping[int, Dim]
"""Size of each axis, by axis id."""


@dataclass(frozen=True, slots=True)
class Linear:
    """constant + the sum of coefficient * atom; atoms are axes and expressions that are not linear."""

    constant: Dim
    terms: tuple[tuple[Scalar, Dim], ...]

    def coefficient(self, atom: Scalar) -> Dim:
        return next((c for a, c in self.terms if a is atom), 0)

    def scaled(self, factor: Dim) -> Linear:
        if isinstance(factor, int) and factor == 0:
            return Linear(0, ())
        return Linear(self.constant * factor, tuple((a, c * factor) for a, c in self.terms))

    def plus(self, other: Linear) -> Linear:
        sums: dict[Scalar, Dim] = dict(self.terms)
        for atom, c in other.terms:
            sums[atom] = sums.get(atom, 0) + c
        return Linear(
            self.constant + other.constant,
            tuple((a, c) for a, c in sums.items() if not (isinstance(c, int) and c == 0)),
        )

    def scalar(self, rank: Callable[[Scalar], int] = lambda atom: 0) -> Scalar:
        """As an expression: atoms of low rank (outer loops) first, so that prefixes can be hoisted."""
        total = size(self.constant)
        for atom, c in sorted(self.terms, key=lambda t: rank(t[0])):
            total = total + (atom if isinstance(c, int) and c == 1 else atom * size(c))
        return total


def linear_of(expr: Scalar) -> Linear:
    """The linear form of an i64 expression."""

    def visit(node: Scalar, args: tuple[Linear, ...]) -> Linear:
        match node.head:
            case "const" | "size":
                return Linear(node.payload, ())
            case "add":
                return args[0].plus(args[1])
            case "sub":
                return args[0].plus(args[1].scaled(-1))
            case "neg":
                return args[0].scaled(-1)
            case "mul" if not args[1].terms:
                return args[0].scaled(args[1].constant)
            case "mul" if not args[0].terms:
                return args[1].scaled(args[0].constant)
        return Linear(0, ((node, 1),))

    memo = _LinearMemo()
    return fold(expr, visit, memo)


class _LinearMemo(dict):
    """Below a load or another dtype nothing is linear in axes: such nodes are atoms and are not entered."""

    def __contains__(self, node: object) -> bool:
        if dict.__contains__(self, node):
            return True
        if isinstance(node, Scalar) and node.head not in ("const", "size", "add", "sub", "neg", "mul"):
            self[node] = Linear(0, ((node, 1),))
            return True
        return False


# -- bounds ---------------------------------------------------------------------------------------------------
Bounds = tuple[Dim | None, Dim | None]


def bounds_of(expr: Scalar, extents: Extents) -> Bounds:
    """(lo, hi) of an i64 expression, inclusive; None where nothing is known."""
    form = linear_of(expr)
    low: Dim | None = form.constant
    high: Dim | None = form.constant
    for atom, c in form.terms:
        lo, hi = _atom_bounds(atom, extents)
        if known_at_most(c, 0) is True:
            lo, hi = hi, lo
        elif known_positive(c) is not True:
            return None, None
        low = None if low is None or lo is None else low + lo * c
        high = None if high is None or hi is None else high + hi * c
    return low, high


def _atom_bounds(atom: Scalar, extents: Extents) -> Bounds:
    match atom.head:
        case "axis":
            return 0, extents[atom.payload] - 1
        case "mod" | "floordiv" if (divisor := _positive_divisor(atom)) is not None:
            lo, hi = bounds_of(atom.args[0], extents)
            if atom.head == "mod":
                inside = (
                    lo is not None
                    and hi is not None
                    and known_at_most(0, lo) is True
                    and known_less(hi, divisor) is True
                )
                return (lo, hi) if inside else (0, divisor - 1)
            return None if lo is None else lo // divisor, None if hi is None else hi // divisor
        case "min" | "max":
            return _extreme_bounds(atom, extents)
        case "where":
            (a, b), (c, d) = bounds_of(atom.args[1], extents), bounds_of(atom.args[2], extents)
            return _chosen(a, c, min), _chosen(b, d, max)
    return None, None


def _extreme_bounds(atom: Scalar, extents: Extents) -> Bounds:
    (a, b), (c, d) = bounds_of(atom.args[0], extents), bounds_of(atom.args[1], extents)
    if atom.head == "min":
        return _chosen(a, c, min), _chosen(
            b, d, min
        ) if b is not None and d is not None else b if d is None else d
    return _chosen(a, c, max) if a is not None and c is not None else a if c is None else c, _chosen(
        b, d, max
    )


def _chosen(a: Dim | None, b: Dim | None, pick: Callable[[int, int], int]) -> Dim | None:
    """min or max of two bounds where that can be told."""
    if a is None or b is None:
        return None
    if isinstance(a, int) and isinstance(b, int):
        return pick(a, b)
    if a == b or known_at_most(a, b) is True:
        return a if pick is min else b
    return (b if pick is min else a) if known_at_most(b, a) is True else None


def _positive_divisor(node: Scalar) -> Dim | None:
    divisor = node.args[1]
    if divisor.head not in ("const", "size"):
        return None
    return divisor.payload if known_positive(divisor.payload) is True else None


# -- rewrites -------------------------------------------------------------------------------------------------
def simplify(expr: Scalar, extents: Extents) -> Scalar:
    """An equal expression: divisions, remainders, comparisons and choices that the axes' ranges decide are gone."""

    def visit(node: Scalar, args: tuple[Scalar, ...]) -> Scalar:
        made = rebuild(node, args)
        if made.head in ("floordiv", "mod") and made.dtype is dtypes.i64:
            return _divided(made, extents)
        if made.head in ("lt", "le", "eq") and made.args[0].dtype is dtypes.i64:
            return _decided(made, extents)
        return made

    return fold(expr, visit)


def _divided(node: Scalar, extents: Extents) -> Scalar:
    divisor = _positive_divisor(node)
    if divisor is None:
        return node
    form = linear_of(node.args[0])
    whole, rest = _split_multiples(form, divisor)
    low, high = bounds_of(rest.scalar(), extents)
    inside = (
        low is not None
        and high is not None
        and known_at_most(0, low) is True
        and known_less(high, divisor) is True
    )
    if node.head == "mod":
        return rest.scalar() if inside else apply("mod", rest.scalar(), size(divisor))
    if inside:
        return whole.scalar()
    return whole.scalar() + apply("floordiv", rest.scalar(), size(divisor))


def _split_multiples(form: Linear, divisor: Dim) -> tuple[Linear, Linear]:
    """(q, r) with form = q * divisor + r, every term that divides in q."""
    whole, rest = [], []
    for atom, c in form.terms:
        quotient = _exact_quotient(c, divisor)
        if quotient is None:
            rest.append((atom, c))
        else:
            whole.append((atom, quotient))
    if isinstance(form.constant, int) and isinstance(divisor, int):
        constants = divmod(form.constant, divisor)
    else:
        quotient = _exact_quotient(form.constant, divisor)
        constants = (0, form.constant) if quotient is None else (quotient, 0)
    return Linear(constants[0], tuple(whole)), Linear(constants[1], tuple(rest))


def _exact_quotient(a: Dim, b: Dim) -> Dim | None:
    """a / b where it is known to be whole."""
    try:
        rest = a % b
        return a // b if isinstance(rest, int) and rest == 0 else None
    except Undecided:
        return None


def _decided(node: Scalar, extents: Extents) -> Scalar:
    difference = linear_of(node.args[0]).plus(linear_of(node.args[1]).scaled(-1)).scalar()
    low, high = bounds_of(difference, extents)
    positive = low is not None and known_less(0, low) is True
    negative = high is not None and known_less(high, 0) is True
    if node.head == "eq":
        return const(False, dtypes.bool_) if positive or negative else node
    if negative or (node.head == "le" and high is not None and known_at_most(high, 0) is True):
        return const(True, dtypes.bool_)
    if positive or (node.head == "lt" and low is not None and known_at_most(0, low) is True):
        return const(False, dtypes.bool_)
    return node


def wanted_split(expr: Scalar, extents: Extents) -> tuple[int, Dim] | None:
    """(axis, inner size) such that splitting the axis makes a division or remainder in `expr` affine."""
    found: list[tuple[int, Dim]] = []

    def visit(node: Scalar, _: tuple[None, ...]) -> None:
        if found or node.head not in ("floordiv", "mod") or node.dtype is not dtypes.i64:
            return
        divisor = _positive_divisor(node)
        if divisor is None:
            return
        for atom, c in linear_of(node.args[0]).terms:
            inner = _exact_quotient(divisor, c) if atom.head == "axis" else None
            if inner is None or known_at_most(0, inner) is not True or (isinstance(inner, int) and inner < 2):
                continue  # a reversed axis (a negative step) is not cut
            extent = extents[atom.payload]
            if known_less(inner, extent) is True and _exact_quotient(extent, inner) is not None:
                found.append((atom.payload, inner))
                return

    fold(expr, visit)
    return found[0] if found else None


_NARROW = frozenset({"add", "sub", "mul", "neg", "floordiv", "mod", "min", "max"})
_NARROW_LIMIT = 1 << 30


def narrowed(expr: Scalar, extents: Extents) -> Scalar | None:
    """An i64 expression in i32 where every value on the way is known to fit: vectors hold twice as many, and vectors
    of i32 are divided by constants with multiplications, while LLVM takes vectors of i64 apart.
    """
    low, high = bounds_of(expr, extents)
    if not isinstance(low, int) or not isinstance(high, int) or low < -_NARROW_LIMIT or high > _NARROW_LIMIT:
        return None
    if expr.head == "const":
        return const(expr.payload, dtypes.i32)
    if expr.head == "axis":
        return cast(expr, dtypes.i32)
    if expr.head not in _NARROW:
        return None
    args = [narrowed(a, extents) for a in expr.args]
    known = [a for a in args if a is not None]
    return apply(expr.head, *known) if len(known) == len(args) else None


def with_narrow_indices(expr: Scalar, extents: Extents) -> Scalar:
    """Positions that are compared or converted are computed in i32 where that is safe."""

    def visit(node: Scalar, args: tuple[Scalar, ...]) -> Scalar:
        made = rebuild(node, args)
        if made.head in ("lt", "le", "eq", "ne") and made.args[0].dtype is dtypes.i64:
            sides = [narrowed(a, extents) for a in made.args]
            if sides[0] is not None and sides[1] is not None:
                return apply(made.head, sides[0], sides[1])
        if made.head == "cast" and made.args[0].dtype is dtypes.i64:
            source = narrowed(made.args[0], extents)
            return made if source is None else cast(source, made.dtype)
        return made

    return fold(expr, visit)


def axis_term(linear: Linear, axis_id: int) -> Dim:
    """Coefficient of an axis."""
    return linear.coefficient(axis(axis_id))
