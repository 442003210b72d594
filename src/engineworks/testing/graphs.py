"""Random small graphs of many ops: what passes, fusion and memory planning are tried on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

import engineworks.ops  # noqa: F401  (registers the ops)
from engineworks.core import dtypes
from engineworks.core.dims import Dim, bounds, product, symbol
from engineworks.errors import Error
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Graph, Value

MOST_ELEMENTS = 3000
Pick = Callable[[int], int]
"""A source of decisions: `pick(n)` is one of 0 … n-1. A fixed list of answers gives the same graph again."""
Recipe = Callable[["Grower", Value], "Value | None"]
RECIPES: list[Recipe] = []


def recipe(make: Recipe) -> Recipe:
    """A way to grow a graph: a new value made of `x` and others, or None where it does not apply."""
    RECIPES.append(make)
    return make


@dataclass(slots=True)
class Grower:
    """A graph while it grows. All values stay of moderate size, so that rounding errors do too."""

    pick: Pick
    g: GraphBuilder
    values: list[Value] = field(default_factory=list)
    seed: int = 0

    def weights(self, *shape: int) -> Value:
        """A constant in [-1, 1], the next of a fixed sequence."""
        self.seed += 1
        return self.g.constant(np.random.default_rng(self.seed).uniform(-1, 1, shape).astype(np.float32))

    def one_of(self, choices):  # noqa: ANN001, ANN201  any sequence
        return choices[self.pick(len(choices))]

    def axis(self, x: Value) -> int:
        return self.pick(x.type.rank)

    def static_axis(self, x: Value) -> int | None:
        fixed = [a for a, d in enumerate(x.type.shape) if isinstance(d, int) and d > 1]
        return self.one_of(fixed) if fixed else None

    def tame(self, x: Value) -> Value:
        return self.g.tanh(x)


def random_graph(pick: Pick, steps: int, dims: tuple[int, int] | None = None) -> Graph:
    """A graph of about `steps` steps over inputs x0, x1 (f32) and one or two outputs.

    Args:
        dims: range of the symbol N in the inputs' shapes; None makes static shapes only.
    """
    grower = Grower(pick, GraphBuilder(Graph("random")))
    named = symbol("N", *dims) if dims else None
    for number in range(2):
        grower.values.append(grower.g.input(f"x{number}", dtypes.f32, _shape(pick, named)))
    for number in range(steps):
        x = grower.values[-1 - grower.pick(min(3, len(grower.values)))]
        make = grower.one_of(RECIPES)
        with grower.g.origin(f"step{number}.{make.__name__}"):
            made = _attempt(grower, make, x)
        if made is not None and made is not x and made.type.rank and _elements(made) <= MOST_ELEMENTS:
            grower.values.append(made)
    graph = grower.g.graph
    outputs = [grower.values[-1], grower.one_of(grower.values)]
    for number, value in enumerate(outputs if pick(2) else outputs[:1]):
        grower.g.output(value, f"y{number}")
    graph.remove_dead()
    return graph


def _attempt(grower: Grower, make: Recipe, x: Value) -> Value | None:
    """None also where the dims do not decide whether the step is allowed."""
    checks = grower.g.graph.scope.checks
    before = list(checks)
    try:
        made = make(grower, x)
    except Error:
        made = None
    if checks != before:
        checks[:] = before  # it needs N to have a certain value
        return None
    return made


def _shape(pick: Pick, named: Dim | None) -> tuple[Dim, ...]:
    rank = 1 + pick(4)
    sizes: list[Dim] = [(1, 2, 3, 4, 5, 8, 16, 17)[pick(8)] for _ in range(rank)]
    if named is not None:
        sizes[pick(rank)] = named
    return tuple(sizes)


def _elements(value: Value) -> int:
    count = product(value.type.shape)
    if isinstance(count, int):
        return count
    most = bounds(count)[1]
    return MOST_ELEMENTS + 1 if most is None else most


def arrays_for(graph: Graph, dims: Mapping[str, int], seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs in [-1, 1] of a random graph."""
    rng = np.random.default_rng(seed)
    return {
        v.name: rng.uniform(-1, 1, [d if isinstance(d, int) else dims[str(d)] for d in v.type.shape]).astype(
            np.float32
        )
        for v in graph.inputs
    }


# -- pointwise ------------------------------------------------------------------------------------------------
@recipe
def unary(s: Grower, x: Value) -> Value:
    name = s.one_of(
        ("relu", "sigmoid", "tanh", "abs", "neg", "erf", "softplus", "silu", "gelu", "sin", "identity", "elu")
    )
    return getattr(s.g, name)(x)


@recipe
def with_number(s: Grower, x: Value) -> Value:
    name = s.one_of(("add", "sub", "mul", "div", "max", "min", "pow"))
    number = 2.0 if name == "pow" else s.one_of((0.5, 1.0, 2.0, 3.0))
    return s.tame(getattr(s.g, name)(x, number))


@recipe
def binary(s: Grower, x: Value) -> Value:
    other = s.one_of(s.values)
    made = getattr(s.g, s.one_of(("add", "sub", "mul", "max", "min")))(x, other)
    return made if s.pick(2) else s.tame(made)


@recipe
def with_channels(s: Grower, x: Value) -> Value | None:
    axis = s.static_axis(x)
    if axis is None:
        return None
    weights = s.weights(x.type.shape[axis], *[1] * (x.type.rank - axis - 1))  # type: ignore[arg-type]
    return getattr(s.g, s.one_of(("add", "mul")))(x, weights)


@recipe
def choice(s: Grower, x: Value) -> Value:
    other = s.one_of(s.values)
    return s.g.max(s.g.where(s.g.greater(x, other), x, other), -0.5)


# -- views ----------------------------------------------------------------------------------------------------
@recipe
def transpose(s: Grower, x: Value) -> Value:
    left, perm = list(range(x.type.rank)), []
    while left:
        perm.append(left.pop(s.pick(len(left))))
    return s.g.transpose(x, perm=tuple(perm))


@recipe
def merge_axes(s: Grower, x: Value) -> Value | None:
    if x.type.rank < 2:
        return None
    a = s.pick(x.type.rank - 1)
    shape = x.type.shape
    return s.g.reshape(x, shape=(*shape[:a], shape[a] * shape[a + 1], *shape[a + 2 :]))


@recipe
def split_axis(s: Grower, x: Value) -> Value | None:
    axis = s.static_axis(x)
    if axis is None or x.type.rank > 4:
        return None
    size = x.type.shape[axis]
    divisors = [d for d in range(1, size + 1) if size % d == 0]  # type: ignore[operator]
    first = s.one_of(divisors)
    return s.g.reshape(x, shape=(*x.type.shape[:axis], first, size // first, *x.type.shape[axis + 1 :]))


@recipe
def slice_axis(s: Grower, x: Value) -> Value:
    axis = s.axis(x)
    start, end, step = s.one_of(
        ((1, 2**62, 1), (0, -1, 1), (0, 2**62, 2), (-1, -(2**62), -1), (1, 5, 1), (-3, 2**62, 1))
    )
    return s.g.slice(x, starts=(start,), ends=(end,), axes=(axis,), steps=(step,))


@recipe
def pad(s: Grower, x: Value) -> Value:
    before, after = [0] * x.type.rank, [0] * x.type.rank
    axis = s.axis(x)
    before[axis], after[axis] = s.pick(3), s.pick(3)
    may_be_empty = (bounds(x.type.shape[axis])[0] or 0) < 3  # edges and reflections need something to repeat
    mode = s.one_of(("constant", "edge", "reflect")[: 1 if may_be_empty else 3])
    fill = [s.one_of((0.0, 0.5))] if mode == "constant" else []
    return s.g.pad(x, *fill, before=tuple(before), after=tuple(after), mode=mode)


@recipe
def expand(s: Grower, x: Value) -> Value:
    shape = tuple(3 if d == 1 else d for d in x.type.shape)
    return s.g.expand(x, shape=(2, *shape) if s.pick(2) and x.type.rank < 5 else shape)


@recipe
def concat(s: Grower, x: Value) -> Value:
    axis = s.axis(x)
    other = s.one_of([v for v in s.values if v.type.rank == x.type.rank])
    parts = [x, other, x][: 2 + s.pick(2)]
    return s.g.concat(*(parts[::-1] if s.pick(2) else parts), axis=axis)


@recipe
def gather(s: Grower, x: Value) -> Value | None:
    axis = s.static_axis(x)
    if axis is None:
        return None
    positions = np.asarray([s.pick(x.type.shape[axis]) for _ in range(1 + s.pick(4))])  # type: ignore[arg-type]
    return s.g.gather(x, s.g.constant(positions), axis=axis)


@recipe
def tile(s: Grower, x: Value) -> Value:
    repeats = [1] * x.type.rank
    repeats[s.axis(x)] = 2
    return s.g.tile(x, repeats=tuple(repeats))


# -- reductions -----------------------------------------------------------------------------------------------
@recipe
def reduce(s: Grower, x: Value) -> Value:
    axes = sorted({s.axis(x) for _ in range(1 + s.pick(2))})
    name = s.one_of(("reduce_mean", "reduce_max", "reduce_min", "reduce_sum", "reduce_l2"))
    keep = bool(s.pick(2)) or len(axes) == x.type.rank
    return s.tame(getattr(s.g, name)(x, axes=tuple(axes), keepdims=keep))


@recipe
def softmax(s: Grower, x: Value) -> Value:
    return getattr(s.g, s.one_of(("softmax", "log_softmax")))(x, axis=s.axis(x))


@recipe
def layer_norm(s: Grower, x: Value) -> Value | None:
    width = x.type.shape[-1]
    if not isinstance(width, int) or width < 2:
        return None
    return s.g.layer_normalization(x, s.weights(width), s.weights(width), epsilon=0.1)


@recipe
def cum_sum(s: Grower, x: Value) -> Value:
    return s.tame(s.g.cum_sum(x, axis=s.axis(x), exclusive=bool(s.pick(2)), reverse=bool(s.pick(2))))


@recipe
def top(s: Grower, x: Value) -> Value | None:
    axis = s.static_axis(x)
    return None if axis is None else s.g.top_k(x, k=1, axis=axis, largest=bool(s.pick(2)))[0]


# -- integers and masks ---------------------------------------------------------------------------------------
@recipe
def counted(s: Grower, x: Value) -> Value:
    """Positions along the last axis, as numbers: shape arithmetic at run time."""
    width = x.type.shape[-1]
    places = s.g.mod(s.g.add(s.g.mul(s.g.iota(count=width), 3), 1), 5)
    return s.g.add(x, s.g.mul(s.g.cast(places, dtype=dtypes.f32), 0.1))


@recipe
def masked(s: Grower, x: Value) -> Value:
    axis = s.axis(x)
    places = s.g.iota(count=x.type.shape[axis])
    mask = s.g.less(places, 1 + s.pick(4)) if s.pick(2) else s.g.equal(s.g.mod(places, 2), 1)
    shaped = s.g.reshape(mask, shape=(x.type.shape[axis], *[1] * (x.type.rank - axis - 1)))
    return s.g.where(shaped, x, s.g.constant(s.one_of((0.0, -1.0)), dtypes.f32))


@recipe
def triangle(s: Grower, x: Value) -> Value | None:
    if x.type.rank < 2:
        return None
    return s.g.trilu(x, upper=bool(s.pick(2)), k=s.pick(3) - 1)


@recipe
def chosen_rows(s: Grower, x: Value) -> Value:
    """Rows at positions that are found at run time; among the inputs, whose largest elements no rounding moves."""
    source = s.values[s.pick(2)]
    places = s.g.argmax(source, axes=(s.axis(source),), keepdims=False)
    axis = s.static_axis(x)
    if axis is None:
        return s.g.mul(s.g.cast(places, dtype=dtypes.f32), 0.1)
    return s.g.gather(x, s.g.mod(places, int(x.type.shape[axis])), axis=axis)  # type: ignore[call-overload]


@recipe
def attend_masked(s: Grower, x: Value) -> Value | None:
    if x.type.rank != 4:
        return None
    length = x.type.shape[2]
    scores = s.g.mul(s.g.matmul(x, s.g.transpose(x, perm=(0, 1, 3, 2))), 0.3)
    rows = s.g.reshape(s.g.iota(count=length), shape=(length, 1))
    match s.pick(3):
        case 0:
            whole = s.g.constant(np.tri(40, dtype=bool))
            upper = s.g.slice(whole, starts=(0,), ends=(length,), axes=(0,))
            mask = s.g.slice(upper, starts=(0,), ends=(length,), axes=(1,))
        case 1:
            mask = s.g.less_or_equal(s.g.iota(count=length), rows)
        case _:
            mask = s.g.less(s.g.iota(count=length), 2)
    lowest = s.g.constant(s.one_of((-np.inf, -1e9, -3e38)), dtypes.f32)
    return s.g.matmul(s.g.softmax(s.g.where(mask, scores, lowest), axis=-1), x)


# -- products -------------------------------------------------------------------------------------------------
@recipe
def projection(s: Grower, x: Value) -> Value | None:
    width = x.type.shape[-1]
    if x.type.rank < 2 or not isinstance(width, int):
        return None
    made = s.g.matmul(x, s.weights(width, s.one_of((1, 3, 8, 19))))
    return s.tame(made) if s.pick(2) else s.g.mul(made, 0.25)


@recipe
def gram(s: Grower, x: Value) -> Value | None:
    rank = x.type.rank
    if rank < 2:
        return None
    swapped = s.g.transpose(x, perm=(*range(rank - 2), rank - 1, rank - 2))
    return s.tame(s.g.matmul(*((x, swapped) if s.pick(2) else (swapped, x))))


@recipe
def attend(s: Grower, x: Value) -> Value | None:
    rank = x.type.rank
    if rank < 2:
        return None
    swapped = s.g.transpose(x, perm=(*range(rank - 2), rank - 1, rank - 2))
    return s.g.matmul(s.g.softmax(s.g.mul(s.g.matmul(x, swapped), 0.3), axis=-1), x)


def _image(x: Value) -> bool:
    return x.type.rank in (3, 4, 5) and isinstance(x.type.shape[1], int)


@recipe
def conv(s: Grower, x: Value) -> Value | None:
    if not _image(x):
        return None
    axes, channels = x.type.rank - 2, int(x.type.shape[1])  # type: ignore[call-overload]
    groups = s.one_of([d for d in (1, 2, channels) if channels % d == 0])
    kernel = [s.one_of((1, 2, 3)) for _ in range(axes)]
    outputs = groups * s.one_of((1, 3, 4))
    filters = s.weights(outputs, channels // groups, *kernel)
    pads = tuple(k // 2 for k in kernel) + tuple(k - 1 for k in kernel)
    strides = tuple(1 + s.pick(2) for _ in range(axes))
    operands = [x, filters] + ([s.weights(outputs)] if s.pick(2) else [])
    made = s.g.conv(*operands, pads=pads, strides=strides, groups=groups)
    return s.g.mul(made, 0.2) if s.pick(2) else s.tame(made)


@recipe
def conv_norm(s: Grower, x: Value) -> Value | None:
    if not _image(x):
        return None
    outputs = s.one_of((2, 5, 16))
    made = s.g.conv(x, s.weights(outputs, x.type.shape[1], *[1] * (x.type.rank - 2)))  # type: ignore[arg-type]
    variance = s.g.constant(np.linspace(1, 2, outputs, dtype=np.float32))
    return s.g.batch_normalization(made, s.weights(outputs), s.weights(outputs), s.weights(outputs), variance)


@recipe
def conv_transpose(s: Grower, x: Value) -> Value | None:
    if not _image(x):
        return None
    axes, channels = x.type.rank - 2, int(x.type.shape[1])  # type: ignore[call-overload]
    made = s.g.conv_transpose(x, s.weights(channels, 3, *[2] * axes), strides=(s.one_of((1, 2)),) * axes)
    return s.tame(made)


@recipe
def pool(s: Grower, x: Value) -> Value | None:
    if not _image(x):
        return None
    axes = x.type.rank - 2
    return getattr(s.g, s.one_of(("max_pool", "average_pool")))(
        x,
        kernel=(s.one_of((2, 3)),) * axes,
        strides=(s.one_of((1, 2)),) * axes,
        pads=(s.pick(2),) * (2 * axes),
    )


def tuned_network() -> Graph:
    """A small network whose kernels have several tactics: x [8, 33] to y [8, 17]."""
    g = GraphBuilder(Graph("tuned"))
    x = g.input("x", dtypes.f32, (8, 33))
    random = np.random.default_rng(5)
    for inputs, outputs in ((33, 64), (64, 40), (40, 17)):
        x = g.matmul(x, random.uniform(-0.2, 0.2, (inputs, outputs)).astype(np.float32))
        x = g.layer_normalization(g.gelu(x), np.ones(outputs, np.float32), np.zeros(outputs, np.float32))
    g.output(g.softmax(x), "y")
    return g.graph
