"""Where a nest's accesses lie: strides by axis, neighbours in memory, bytes in all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engineworks.codegen.llvm.loops_index import Linear, axis_term, linear_of
from engineworks.codegen.llvm.loops_nest import Fold, Nest, Write
from engineworks.codegen.schedule import likely
from engineworks.core.dims import Dim, known_equal, product
from engineworks.core.types import TensorType
from engineworks.ir.scalar import LEAVES, Scalar, fold, leaves_of


@dataclass(frozen=True, slots=True)
class Access:
    """One address of a nest.

    Attributes:
        axes: along which it varies, also through expressions that are not linear.
    """

    form: Linear
    axes: frozenset[int]
    type: TensorType
    is_store: bool
    over_reduced: bool
    stage: int

    @property
    def element_bytes(self) -> int:
        return self.type.dtype.size_bytes

    def stride(self, axis_id: int) -> Dim:
        """Elements between neighbours along an axis; 0 also where it moves in no linear way."""
        return axis_term(self.form, axis_id)

    def unit_axis(self, extents: dict[int, Dim]) -> int:
        """The axis whose neighbours are neighbours in memory; -1: none."""
        found = [a for a in self.axes if known_equal(self.stride(a), 1) is True and extents[a] != 1]
        return found[0] if found else -1

    def unique_bytes(self, extents: dict[int, Dim]) -> float:
        """Bytes of memory that all of its elements lie in."""
        points = product([likely(extents[a]) for a in self.axes])
        return float(min(likely(points), likely(self.type.count))) * self.element_bytes


def accesses_of(nest: Nest) -> list[Access]:
    """Every load and store, equal ones of one stage once."""
    found: dict[Access, None] = {}
    for number, stage in enumerate(nest.stages):
        over = isinstance(stage, Fold) or stage.over_reduced
        for root in [stage.body] if isinstance(stage, Fold) else [stage.body, stage.offset]:
            for load in leaves_of(root, "load"):
                found[_access(nest, load.args, nest.operands[load.payload], False, over, number)] = None
        if isinstance(stage, Write):
            found[_access(nest, (stage.offset,), nest.outputs[stage.output], True, over, number)] = None
    return list(found)


def _access(
    nest: Nest, args: Sequence[Scalar], type_: TensorType, is_store: bool, over: bool, stage: int
) -> Access:
    axes = frozenset(a.payload for a in leaves_of(args[0], "axis"))
    return Access(linear_of(args[0]), axes, type_, is_store, over and bool(axes & set(nest.reduced)), stage)


_COST = {
    "exp": 4, "log": 6, "tanh": 16, "erf": 24, "sigmoid": 8, "pow": 60, "sin": 20, "cos": 20, "tan": 40, "div": 8,
    "sqrt": 4, "rsqrt": 3, "expm1": 14, "log1p": 20, "asin": 20, "acos": 22, "atan": 22, "mod": 24, "rem": 24,
    "floordiv": 10,
}  # fmt: skip
"""Instructions of the primitives that take more than one."""


def instructions_of(nest: Nest) -> float:
    """Of one position, conversions included; what stages share is counted once, what a whole row shares is not.

    Index arithmetic is mostly shared by the neighbours that a thread holds.
    """
    moving = set(nest.reduced or nest.parallel)
    varies: dict[Scalar, bool] = {}
    for stage in nest.stages:
        fold(stage.body, lambda n, args: any(args) or (n.head == "axis" and n.payload in moving), varies)
    total = sum(_instructions(node) for node, moves in varies.items() if moves)
    return 1.0 + total + sum(isinstance(s, Fold) for s in nest.stages)


def _instructions(node: Scalar) -> float:
    if node.head in LEAVES:
        return 0.0
    of_index = not node.dtype.is_float and not any(a.dtype.is_float for a in node.args)
    count = _COST.get(node.head, 1) * (16.0 if node.dtype.name == "f64" else 1.0)
    return count * 0.2 if of_index else count


def memory_order(nest: Nest, axes: Sequence[int], accesses: Sequence[Access]) -> tuple[int, ...]:
    """The axes from the farthest neighbours in memory to the nearest, where most bytes are."""
    weights = [(a.unique_bytes(dict(nest.extents)) * (1.5 if a.is_store else 1.0), a) for a in accesses]
    ranked = [a for _, a in sorted(weights, key=lambda pair: -pair[0])]

    def key(axis_id: int) -> tuple[int, ...]:
        # The first access that moves along the axis places it.
        return next(
            ((-abs(likely(a.stride(axis_id))),) for a in ranked if a.stride(axis_id) != 0), (1 << 60,)
        )

    return tuple(sorted(axes, key=key))


def run_through(
    access: Access, axis_id: int, axes: Sequence[int], extents: dict[int, Dim]
) -> tuple[int, ...]:
    """The axes that the access walks as one with `axis_id`, which is the innermost: outermost first."""
    run = [axis_id]
    reach = access.stride(axis_id) * extents[axis_id]
    while True:
        nearer = [a for a in axes if a not in run and known_equal(access.stride(a), reach) is True]
        if not nearer:
            return tuple(reversed(run))
        run.append(nearer[0])
        reach = reach * extents[nearer[0]]
