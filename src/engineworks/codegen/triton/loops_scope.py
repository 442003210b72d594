"""Values of a loop kernel in one place of its text: what was emitted once is reused by everything below."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from engineworks.codegen.llvm.loops_index import Linear, linear_of
from engineworks.codegen.llvm.loops_nest import Nest
from engineworks.codegen.triton import casts
from engineworks.codegen.triton.lines import Lines
from engineworks.codegen.triton.loops_narrow import narrowed
from engineworks.codegen.triton.loops_schedule import Dimension
from engineworks.codegen.triton.scalars import ScalarEmitter
from engineworks.core.dims import Dim, product
from engineworks.ir.scalar import Scalar, leaves_of

Reach = frozenset[int]
"""Numbers of the dimensions along which a value varies."""


@dataclass(slots=True)
class Emission:
    """What all scopes of a kernel share.

    Attributes:
        dimensions: the parallel ones, then the reduced one.
        blocks: those of them that are axes of Triton's blocks, in order; the others are scalars.
        reduced: number of the reduced dimension, or -1.
        sizes: argument name of each symbolic dim that the code reads; filled on the way.
        stages: name and reach of each reduction's result.
    """

    nest: Nest
    lines: Lines
    dimensions: tuple[Dimension, ...]
    reduced: int
    index_type: str
    sizes: dict[Dim, str] = field(default_factory=dict)
    stages: dict[int, str] = field(default_factory=dict)

    @property
    def blocks(self) -> list[int]:
        return [k for k, d in enumerate(self.dimensions) if d.block > 1]

    def home(self, axis_id: int) -> tuple[int, int]:
        """(dimension, place in it) of an axis."""
        return next((k, d.axes.index(axis_id)) for k, d in enumerate(self.dimensions) if axis_id in d.axes)

    def dim(self, size: Dim) -> str:
        """The text of a size: a number or the name of an argument."""
        if isinstance(size, int):
            return str(size)
        return self.sizes.setdefault(size, f"size{len(self.sizes)}")

    def extent(self, dimension: int) -> Dim:
        return product([self.nest.extents[a] for a in self.dimensions[dimension].axes])

    def shape(self, reach: Reach) -> tuple[int, ...]:
        """Of the block of a value that varies along these dimensions."""
        return tuple(self.dimensions[k].block if k in reach else 1 for k in self.blocks)

    def reach(self, *exprs: Scalar) -> Reach:
        """Where the expressions vary; results of stages along all parallel dimensions."""
        found: set[int] = set()
        for expr in exprs:
            found |= {self.home(a.payload)[0] for a in leaves_of(expr, "axis")}
            if leaves_of(expr, "stage"):
                found |= set(range(len(self.dimensions))) - {self.reduced}
        return frozenset(found)

    def arange(self, dimension: int) -> str:
        """Positions in the block of a dimension, as a block with all axes; a scalar where it has one."""
        block = self.dimensions[dimension].block
        if block == 1:
            return f"tl.full((), 0, {self.index_type})"
        text = f"tl.arange(0, {block})"
        blocks = self.blocks
        if len(blocks) == 1:
            return text
        return f"{text}[{', '.join(':' if k == dimension else 'None' for k in blocks)}]"


class Scope:
    """Values by expression, flat indices and masks by dimension; an inner scope sees all of the outer one's."""

    def __init__(self, emission: Emission) -> None:
        self.emission = emission
        self.emitter = ScalarEmitter(emission.lines, self._leaf)
        self.flat: dict[int, str] = {}
        self.masks: dict[int, str] = {}
        self._runs: dict[tuple[int, int, int], str] = {}

    def inner(self) -> Scope:
        """A scope whose values die with it."""
        made = Scope(self.emission)
        made.emitter.values.update(self.emitter.values)
        made.flat.update(self.flat)
        made.masks.update(self.masks)
        made._runs.update(self._runs)
        return made

    def set_flat(self, dimension: int, text: str) -> None:
        """The flat index of a dimension here, and the mask of its positions where a block may reach beyond its end."""
        e = self.emission
        name = self.flat[dimension] = e.lines.let(text, "i")
        extent, block = e.extent(dimension), e.dimensions[dimension].block
        whole = block == 1 or (isinstance(extent, int) and extent % block == 0)
        if not whole:
            self.masks[dimension] = e.lines.let(f"{name} < {e.dim(extent)}", "m")

    # -- values -----------------------------------------------------------------------------------------------
    def value(self, expr: Scalar) -> str:
        """The name of the held value; loads come first, each through its address."""
        for node in _loads_of(expr, self.emitter.values):
            self.emitter.values[node] = self._load(node)
        return self.emitter.value(expr)

    def hoist(self, expr: Scalar) -> None:
        """Emit what does not vary along the reduced dimension."""
        e = self.emission
        stack, seen = [expr], set()
        while stack:
            node = stack.pop()
            if node in seen or node.head == "const":
                continue
            seen.add(node)
            if e.reduced not in e.reach(node) and self._is_known(node):
                self.value(node)
            else:
                stack.extend(node.args)

    def _is_known(self, node: Scalar) -> bool:
        return all(s.payload in self.emission.stages for s in leaves_of(node, "stage"))

    def _leaf(self, node: Scalar, _: tuple[str, ...]) -> str:
        e = self.emission
        if node.head == "stage":
            return e.stages[node.payload]
        kind = casts.held_type(node.dtype)
        if node.head == "axis":
            return f"{self._axis(node.payload)}.to({kind})"
        assert node.head == "size", f"a loop kernel has no {node.head}"
        return f"{e.dim(node.payload)}.to({kind})"

    def _axis(self, axis_id: int) -> str:
        dimension, place = self.emission.home(axis_id)
        return self._run(dimension, place, place)

    def _run(self, dimension: int, first: int, last: int) -> str:
        """The flat index of axes `first` … `last` of a dimension."""
        key = (dimension, first, last)
        if key not in self._runs:
            e = self.emission
            extents = [e.nest.extents[a] for a in e.dimensions[dimension].axes]
            behind, own = product(extents[last + 1 :]), product(extents[first : last + 1])
            text = self.flat[dimension]
            if behind != 1:
                text = f"{text} // {e.dim(behind)}"
            if first > 0:
                text = f"{text} % {e.dim(own)}"
            self._runs[key] = text if text == self.flat[dimension] else e.lines.let(text, "i")
        return self._runs[key]

    # -- addresses --------------------------------------------------------------------------------------------
    def offset(self, form: Linear) -> str:
        """The element offset of a linear form; what is the same for a whole program is added up first."""
        e = self.emission
        terms: list[tuple[bool, str]] = []
        for number, dimension in enumerate(e.dimensions):
            terms += [(dimension.block > 1, t) for t in self._along(number, form)]
        for atom, factor in form.terms:
            if atom.head != "axis":
                moves = any(k in e.blocks for k in e.reach(atom))
                terms.append((moves, self._times(self._index(atom), factor)))
        if form.constant != 0 or not terms:
            terms.append((False, e.dim(form.constant)))
        still = " + ".join(t for moves, t in terms if not moves)
        moving = [t for moves, t in terms if moves]
        return " + ".join(([f"({still})"] if still else []) + moving)

    def _along(self, number: int, form: Linear) -> list[str]:
        """Terms of one dimension's axes: neighbours that lie as one flat index are walked as one."""
        e = self.emission
        axes = e.dimensions[number].axes
        factors = [next((c for a, c in form.terms if a.head == "axis" and a.payload == x), 0) for x in axes]
        terms: list[str] = []
        last = len(axes) - 1
        while last >= 0:
            first, behind = last, e.nest.extents[axes[last]]
            while first > 0 and factors[first - 1] == factors[last] * behind:
                first -= 1
                behind = behind * e.nest.extents[axes[first]]
            if factors[last] != 0:
                terms.append(self._times(self._run(number, first, last), factors[last]))
            last = first - 1
        return terms[::-1]

    def _times(self, value: str, factor: Dim) -> str:
        return value if factor == 1 else f"{value} * {self.emission.dim(factor)}"

    def _index(self, atom: Scalar) -> str:
        """An expression that is not linear, in the type of indices."""
        e = self.emission
        narrow = narrowed(atom, e.nest.extents)
        value = self.value(atom if narrow is None else narrow)
        return f"{value}.to({e.index_type})"

    def mask(self, reach: Reach, *guards: str) -> str:
        """The condition of an access that varies along these dimensions; '' where it always holds."""
        held = [self.masks[k] for k in sorted(reach) if k in self.masks]
        return " & ".join([*held, *guards])

    # -- memory -----------------------------------------------------------------------------------------------
    def _load(self, node: Scalar) -> str:
        e = self.emission
        dtype = e.nest.operands[node.payload].dtype
        offset, guards = self.offset(linear_of(node.args[0])), []
        reach = e.reach(node.args[0])
        if len(node.args) > 1:
            guards = [self.value(node.args[1])]
            wider = reach | e.reach(node.args[1])
            if wider != reach:
                offset, reach = self.spread(offset, wider), wider
        mask = self.mask(reach, *guards)
        loaded = e.lines.let(f"tl.load(in{node.payload} + {offset}{f', mask={mask}' if mask else ''})", "x")
        value = casts.from_memory(e.lines, loaded, dtype)
        return value if value == loaded else e.lines.let(value)

    def spread(self, text: str, reach: Reach) -> str:
        """The value as a block that varies along all of these dimensions."""
        shape = self.emission.shape(reach)
        return (
            text
            if not shape or all(s == 1 for s in shape)
            else f"tl.broadcast_to({text}, {shape_text(shape)})"
        )

    def store(self, output: int, offset: Scalar, body: Scalar, reach: Reach) -> None:
        """Write one element for each position along these dimensions."""
        e = self.emission
        dtype = e.nest.outputs[output].dtype
        value = self.value(body)
        if dtype.bits < 16 and body.head not in ("cast", "load"):
            value = e.lines.let(casts.rounded(e.lines, value, dtype))
        value = casts.into_memory(e.lines, value, dtype)
        place = self.spread(self.offset(linear_of(offset)), reach)
        mask = self.mask(reach)
        e.lines.line(f"tl.store(out{output} + {place}, {value}{f', mask={mask}' if mask else ''})")


def shape_text(shape: tuple[int, ...]) -> str:
    """A block's shape in Triton text."""
    return f"({', '.join(map(str, shape))},)"


def _loads_of(node: Scalar, done: Mapping[Scalar, str]) -> list[Scalar]:
    """Loads that the value needs, the outermost ones: their addresses are emitted on their own."""
    found: list[Scalar] = []
    seen: set[Scalar] = set()
    stack = [node]
    while stack:
        top = stack.pop()
        if top in seen or top in done:
            continue
        seen.add(top)
        if top.head == "load":
            found.append(top)
        else:
            stack.extend(reversed(top.args))
    return found
