"""A LoopKernel made ready for scheduling: flat addresses, guarded loads, axes split where reshapes cross them and
merged where memory is contiguous.

In a nest a load has one index, the element's offset in its buffer, and a second argument, the guard, where it may be
out of range. Operand numbers below zero are outputs read back: -1 is output 0.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from engineworks.codegen.llvm.loops_index import (
    Linear,
    axis_term,
    bounds_of,
    linear_of,
    simplify,
    wanted_split,
    with_narrow_indices,
)
from engineworks.core import dtypes
from engineworks.core.dims import Dim, known_at_most, known_less
from engineworks.core.dtypes import DType
from engineworks.core.types import TensorType
from engineworks.ir.kernel import LoopKernel, MonoidName, Reduce
from engineworks.ir.scalar import Scalar, apply, axis, const, fold, leaves_of, rebuild, size, substitute


@dataclass(frozen=True, slots=True)
class Save:
    """An expression of a fold kept in an output, because a later stage needs it again."""

    output: int
    offset: Scalar
    body: Scalar


@dataclass(frozen=True, slots=True)
class Fold:
    """A reduction; `position` is the place along the reduced axis (for arg monoids)."""

    monoid: MonoidName
    body: Scalar
    dtype: DType
    position: Scalar
    saves: tuple[Save, ...] = ()


@dataclass(frozen=True, slots=True)
class Write:
    """A store at a flat offset."""

    output: int
    offset: Scalar
    body: Scalar
    over_reduced: bool


@dataclass(frozen=True, slots=True)
class Nest:
    """Axes by id; `parallel` outermost first."""

    extents: Mapping[int, Dim]
    parallel: tuple[int, ...]
    reduced: tuple[int, ...]
    stages: tuple[Fold | Write, ...]
    operands: tuple[TensorType, ...]
    outputs: tuple[TensorType, ...]

    def expressions(self) -> list[Scalar]:
        """Every expression of every stage."""
        found: list[Scalar] = []
        for stage in self.stages:
            if isinstance(stage, Fold):
                found += [stage.body, stage.position, *(e for s in stage.saves for e in (s.offset, s.body))]
            else:
                found += [stage.offset, stage.body]
        return found

    def mapped(self, change: Callable[[Scalar], Scalar]) -> Nest:
        """The nest with `change` applied to every expression."""
        stages: list[Fold | Write] = []
        for stage in self.stages:
            if isinstance(stage, Fold):
                saves = tuple(Save(s.output, change(s.offset), change(s.body)) for s in stage.saves)
                stages.append(
                    replace(stage, body=change(stage.body), position=change(stage.position), saves=saves)
                )
            else:
                stages.append(replace(stage, offset=change(stage.offset), body=change(stage.body)))
        return replace(self, stages=tuple(stages))


@functools.lru_cache(maxsize=128)
def nest_of(kernel: LoopKernel) -> Nest:
    """The nest of a kernel, ready to be scheduled on a CPU: narrow indices, costly values kept between stages."""
    return _kept_once(_narrow(plain_nest_of(kernel)))


@functools.lru_cache(maxsize=128)
def plain_nest_of(kernel: LoopKernel) -> Nest:
    """The nest of a kernel, all of its indices in i64."""
    parallel = tuple(range(len(kernel.parallel)))
    reduced = tuple(range(len(parallel), len(parallel) + len(kernel.reduced)))
    extents = dict(enumerate((*kernel.parallel, *kernel.reduced)))
    position = axis(reduced[0]) if len(reduced) == 1 else const(0, dtypes.i64)
    stages: list[Fold | Write] = []
    for stage in kernel.stages:
        body = _flat_loads(_guarded(simplify(stage.body, extents), kernel, extents), kernel.operands)
        if isinstance(stage, Reduce):
            stages.append(Fold(stage.monoid, body, stage.dtype, position))
        else:
            offset = flat_offset(kernel.outputs[stage.output], stage.index)
            stages.append(Write(stage.output, simplify(offset, extents), body, stage.over_reduced))
    nest = Nest(extents, parallel, reduced, tuple(stages), kernel.operands, kernel.outputs)
    return _merged(_split(_without_unit_axes(nest)))


def _narrow(nest: Nest) -> Nest:
    stages = [replace(s, body=with_narrow_indices(s.body, nest.extents)) for s in nest.stages]
    return replace(nest, stages=tuple(stages))


def flat_offset(type_: TensorType, index: tuple[Scalar, ...]) -> Scalar:
    """The element offset of a logical index."""
    total = Linear(0, ())
    for i, stride in zip(index, type_.strides(), strict=True):
        total = total.plus(linear_of(i).scaled(stride))
    return total.scalar()


# -- guards ---------------------------------------------------------------------------------------------------
def _guarded(expr: Scalar, kernel: LoopKernel, extents: Mapping[int, Dim]) -> Scalar:
    """Loads in a branch of `where` get the condition as a last argument, unless their index is always in range."""
    if not leaves_of(expr, "load"):
        return expr
    memo: dict[tuple[Scalar, Scalar | None], Scalar] = {}

    def rewrite(node: Scalar, guard: Scalar | None) -> Scalar:
        key = (node, guard)
        if key not in memo:
            memo[key] = _rewrite_one(node, guard)
        return memo[key]

    def _rewrite_one(node: Scalar, guard: Scalar | None) -> Scalar:
        if not node.args:
            return node
        if node.head == "where" and node.args[0].head != "const":
            condition = rewrite(node.args[0], guard)
            yes = rewrite(node.args[1], _both(guard, condition))
            no = rewrite(node.args[2], _both(guard, apply("not", condition)))
            return apply("where", condition, yes, no)
        args = tuple(rewrite(a, guard) for a in node.args)
        if node.head != "load":
            return rebuild(node, args)
        if guard is None or _in_range(args, kernel.operands[node.payload], extents):
            return rebuild(node, args)
        return Scalar.make("load", (*args, guard), node.dtype, node.payload)

    return rewrite(expr, None)


def _both(a: Scalar | None, b: Scalar) -> Scalar:
    return b if a is None else apply("and", a, b)


def _in_range(index: tuple[Scalar, ...], type_: TensorType, extents: Mapping[int, Dim]) -> bool:
    for i, extent in zip(index, type_.shape, strict=True):
        low, high = bounds_of(i, extents)
        if (
            low is None
            or high is None
            or known_at_most(0, low) is not True
            or known_less(high, extent) is not True
        ):
            return False
    return True


def _flat_loads(expr: Scalar, operands: tuple[TensorType, ...]) -> Scalar:
    def visit(node: Scalar, args: tuple[Scalar, ...]) -> Scalar:
        if node.head != "load":
            return rebuild(node, args)
        type_ = operands[node.payload]
        offset = flat_offset(type_, args[: type_.rank])
        return Scalar.make("load", (offset, *args[type_.rank :]), node.dtype, node.payload)

    return fold(expr, visit)


# -- axes -----------------------------------------------------------------------------------------------------
def _without_unit_axes(nest: Nest) -> Nest:
    unit = {a for a, extent in nest.extents.items() if isinstance(extent, int) and extent == 1}
    if not unit:
        return nest
    return _replaced(nest, {a: const(0, dtypes.i64) for a in unit}, removed=unit)


def _replaced(
    nest: Nest,
    values: Mapping[int, Scalar],
    removed: set[int],
    added: Mapping[int, tuple[int, ...]] | None = None,
) -> Nest:
    """Axes exchanged for expressions of others; `added[a]` stand where axis a stood. Extents are the caller's."""
    places = added or {}

    def listed(axes: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(b for a in axes for b in places.get(a, () if a in removed else (a,)))

    extents = {a: e for a, e in nest.extents.items() if a not in removed}
    changed = replace(nest, extents=extents, parallel=listed(nest.parallel), reduced=listed(nest.reduced))
    return changed.mapped(
        lambda expr: substitute(expr, lambda node: values.get(node.payload) if node.head == "axis" else None)
    )


def _split(nest: Nest) -> Nest:
    """Split axes as long as a division or remainder becomes affine by it."""
    for _ in range(12):
        wanted = next((w for e in nest.expressions() if (w := wanted_split(e, nest.extents))), None)
        if wanted is None:
            break
        old, inner_size = wanted
        outer, inner = max(nest.extents) + 1, max(nest.extents) + 2
        extents = {**nest.extents, outer: nest.extents[old] // inner_size, inner: inner_size}
        nest = replace(nest, extents=extents)
        nest = _replaced(
            nest, {old: axis(outer) * size(inner_size) + axis(inner)}, {old}, {old: (outer, inner)}
        )
        extents = nest.extents
        nest = nest.mapped(lambda expr, extents=extents: simplify(expr, extents))
    return nest


def _merged(nest: Nest) -> Nest:
    """Merge pairs of axes that every address walks as one."""
    while True:
        pair = _mergeable(nest)
        if pair is None:
            return nest
        outer, inner = pair
        merged = max(nest.extents) + 1
        nest = replace(nest, extents={**nest.extents, merged: nest.extents[outer] * nest.extents[inner]})
        values = {outer: const(0, dtypes.i64), inner: axis(merged)}
        # The merged axis stands where the outer one stood.
        nest = _replaced(nest, values, {outer, inner}, {outer: (merged,)})


def _mergeable(nest: Nest) -> tuple[int, int] | None:
    forms, fixed = _address_forms(nest)
    for group in (nest.parallel, nest.reduced):
        free = [a for a in group if a not in fixed]
        for outer in free:
            for inner in free:
                extent = nest.extents[inner]
                if outer != inner and all(axis_term(f, outer) == axis_term(f, inner) * extent for f in forms):
                    return outer, inner
    return None


def _address_forms(nest: Nest) -> tuple[list[Linear], set[int]]:
    """Linear forms of all addresses, and the axes that are used in any other way."""
    values, offsets = _values_and_offsets(nest)
    fixed: set[int] = set()
    seen: set[Scalar] = set()
    stack = [*values, *(load for offset in offsets for load in leaves_of(offset, "load"))]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if node.head == "axis":
            fixed.add(node.payload)
        elif node.head == "load":
            offsets.append(node.args[0])
            # What the offset itself loads has addresses too.
            stack += [*node.args[1:], *leaves_of(node.args[0], "load")]
        else:
            stack += node.args
    forms = [linear_of(offset) for offset in offsets]
    bent = [atom for form in forms for atom, _ in form.terms if atom.head != "axis"]
    fixed.update(a.payload for atom in bent for a in leaves_of(atom, "axis"))
    return forms, fixed


def _values_and_offsets(nest: Nest) -> tuple[list[Scalar], list[Scalar]]:
    """What the stages compute, and where they store (positions of arg monoids count as places)."""
    values = [stage.body for stage in nest.stages]
    offsets: list[Scalar] = []
    for stage in nest.stages:
        if isinstance(stage, Write):
            offsets.append(stage.offset)
            continue
        values += [save.body for save in stage.saves]
        offsets += [save.offset for save in stage.saves]
        if stage.monoid.startswith("arg"):
            offsets.append(stage.position)
    return values, offsets


# -- values needed twice --------------------------------------------------------------------------------------
_COSTLY = frozenset(
    {
        "exp",
        "log",
        "tanh",
        "erf",
        "sigmoid",
        "pow",
        "sin",
        "cos",
        "tan",
        "asin",
        "acos",
        "atan",
        "expm1",
        "log1p",
    }
)


def _kept_once(nest: Nest) -> Nest:
    """A costly value of a fold that the last write over the reduced axes needs too waits in that write's output:
    softmax computes exp once.
    """
    last = nest.stages[-1]
    writes = [s for s in nest.stages if isinstance(s, Write) and s.over_reduced]
    if not isinstance(last, Write) or writes != [last]:
        return nest
    stored = nest.outputs[last.output].dtype
    for place, stage in enumerate(nest.stages[:-1]):
        if not isinstance(stage, Fold):
            continue
        shared = _largest_shared(stage.body, last.body, stored)
        if shared is None:
            continue
        kept = Scalar.make("load", (last.offset,), shared.dtype, -1 - last.output)
        body = substitute(last.body, lambda node, shared=shared, kept=kept: kept if node is shared else None)
        saving = replace(stage, saves=(Save(last.output, last.offset, shared),))
        stages = (*nest.stages[:place], saving, *nest.stages[place + 1 : -1], replace(last, body=body))
        return replace(nest, stages=stages)
    return nest


def _largest_shared(first: Scalar, second: Scalar, dtype: DType) -> Scalar | None:
    """The outermost costly expression of `first` that `second` holds too."""
    held: set[Scalar] = set()
    fold(second, lambda node, _: held.add(node))
    stack = [first]
    while stack:
        node = stack.pop()
        if node in held:
            if node.dtype is dtype and any(leaves_of(node, head) for head in _COSTLY):
                return node
            continue
        stack.extend(node.args)
    return None
