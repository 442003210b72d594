"""Calls as cuDNN's operation graphs.

The id of a tensor in a graph is the number of the word that holds its address, plus one; other ids are of numbers that
the host passes, and of values that stay inside.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from ctypes import c_float
from dataclasses import dataclass, field
from itertools import count

from engineworks.engine.library_calls import AttentionCall, ConvolutionCall, GraphCall, Tensor, value
from engineworks.runtime.cuda.cudnn_backend import DTYPES, Descriptor, descriptor
from engineworks.runtime.cuda.cudnn_plan import Place, placed

SCALE, HIDDEN = 900, 901
"""Ids of the numbers of an attention: its scale, and the score of a key that a query does not see."""
_INSIDE = 1000
"""The first id of a value that stays inside."""
_ADD, _MULTIPLY, _SUBTRACT, _DIVIDE, _EXP, _LOG = 0, 1, 9, 6, 13, 15
_RELU, _GREATER_OR_EQUAL, _INDEX, _SELECT = 100, 303, 501, 601
"""Of cudnnPointwiseMode_t."""
_SUM, _MAXIMUM = 0, 3
"""Of cudnnReduceTensorOp_t."""
_CROSS_CORRELATION = 1


@dataclass(slots=True)
class _Graph:
    """Operations while they are collected; each method that computes answers the value that it makes.

    Attributes:
        alignment: bytes, of all addresses.
        ids: of values that stay inside.
    """

    words: Sequence[int]
    alignment: int
    operations: list[Descriptor] = field(default_factory=list)
    ids: count[int] = field(default_factory=lambda: count(_INSIDE))

    def tensor(
        self, name: int, t: Tensor, *, is_inside: bool = False, is_number: bool = False, flipped: bool = False
    ) -> Descriptor:
        """A tensor in memory, a value that lies nowhere, or a number from the host. `flipped`: its transpose."""
        dims, strides = ([value(s, self.words) for s in row] for row in (t.dims, t.strides))
        if flipped:
            dims[-2:], strides[-2:] = dims[:-3:-1], strides[:-3:-1]
        made = descriptor("tensor").set("dtype", "dtype", DTYPES[t.dtype])
        made.set("dims", "integer", *dims).set("strides", "integer", *strides)
        made.set("id", "integer", name).set("alignment", "integer", self.alignment)
        if is_inside:
            made.set("virtual", "boolean", True)
        if is_number:
            made.set("by value", "boolean", True)
        return made.finish()

    def inside(self, like: Tensor, dtype: str = "f32") -> Descriptor:
        """A new value that lies nowhere."""
        return self.tensor(next(self.ids), Tensor(dtype, like.dims, like.strides), is_inside=True)

    def add(self, operation: Descriptor) -> None:
        self.operations.append(operation.finish())

    def pointwise(
        self,
        mode: int,
        to: Descriptor,
        x: Descriptor,
        b: Descriptor | None = None,
        t: Descriptor | None = None,
        *,
        dtype: str = "f32",
        axis: int | None = None,
    ) -> Descriptor:
        """`to` = mode(x, b, t), computed in `dtype`."""
        how = (
            descriptor("pointwise")
            .set("mode", "pointwise mode", mode)
            .set("precision", "dtype", DTYPES[dtype])
        )
        if axis is not None:
            how.set("axis", "integer", axis)
        made = descriptor("pointwise operation").set("pointwise", "descriptor", how.finish())
        for name, operand in (("x", x), ("b", b), ("t", t), ("y", to)):
            if operand is not None:
                made.set(name, "descriptor", operand)
        self.add(made)
        return to

    def reduced(self, mode: int, to: Descriptor, x: Descriptor) -> Descriptor:
        """`to` = x reduced along the axes where `to` has one element."""
        how = descriptor("reduction").set("operator", "reduction operator", mode)
        how.set("precision", "dtype", DTYPES["f32"]).finish()
        made = descriptor("reduction operation").set("reduction", "descriptor", how)
        self.add(made.set("x", "descriptor", x).set("y", "descriptor", to))
        return to

    def product(self, to: Descriptor, a: Descriptor, b: Descriptor) -> Descriptor:
        """`to` = a b, matrix by matrix."""
        how = descriptor("matmul").set("precision", "dtype", DTYPES["f32"]).finish()
        made = descriptor("matmul operation").set("matmul", "descriptor", how)
        self.add(made.set("a", "descriptor", a).set("b", "descriptor", b).set("c", "descriptor", to))
        return to

    def finished(self, place: Place) -> Descriptor:
        return placed(descriptor("graph").set("operations", "descriptor", *self.operations), place).finish()


def graph_of(call: GraphCall, words: Sequence[int], place: Place, alignment: int = 16) -> Descriptor:
    """The call with these words as a graph. Raises Refusal: cuDNN knows no such graph."""
    make = _convolution if isinstance(call, ConvolutionCall) else _attention
    graph = _Graph(words, alignment)
    make(graph, call)  # type: ignore[arg-type]
    return graph.finished(place)


def numbers_of(call: GraphCall) -> Mapping[int, c_float]:
    """What the host passes at a launch, by id."""
    if isinstance(call, ConvolutionCall):
        return {}
    hidden = {HIDDEN: c_float(-math.inf)} if call.causal else {}
    return {SCALE: c_float(call.scale), **hidden}


def addresses_of(call: GraphCall) -> int:
    """How many words are addresses; the others are sizes."""
    return 4 + call.bias + call.residual if isinstance(call, ConvolutionCall) else 5 + (call.mask is not None)


def _convolution(graph: _Graph, call: ConvolutionCall) -> None:
    """Convolution, then residual, bias and relu: the one order that cuDNN fuses."""
    channels, ones = call.y.dims[1], tuple(1 for _ in call.strides)
    across = Tensor(call.y.dtype, (1, channels, *ones), (channels, 1, *(channels for _ in ones)))
    steps: list[tuple[int, Descriptor | None]] = []
    if call.residual:
        steps.append((_ADD, graph.tensor(5 + call.bias, call.y)))
    if call.bias:
        steps.append((_ADD, graph.tensor(5, across)))
    if call.relu:
        steps.append((_RELU, None))
    values = [*(graph.inside(call.y) for _ in steps), graph.tensor(3, call.y)]
    before, after = ([value(s, graph.words) for s in row] for row in (call.pads_before, call.pads_after))
    how = descriptor("convolution").set("precision", "dtype", DTYPES["f32"])
    how.set("mode", "convolution mode", _CROSS_CORRELATION).set("axes", "integer", len(call.strides))
    how.set("strides", "integer", *call.strides).set("dilations", "integer", *call.dilations)
    how.set("pads before", "integer", *before).set("pads after", "integer", *after).finish()
    operation = descriptor("convolution operation").set("convolution", "descriptor", how)
    operation.set("x", "descriptor", graph.tensor(1, call.x)).set("w", "descriptor", graph.tensor(2, call.w))
    operation.set("y", "descriptor", values[0]).set("alpha", "float", 1.0).set("beta", "float", 0.0)
    graph.add(operation)
    for (mode, operand), source, to in zip(steps, values, values[1:], strict=False):
        graph.pointwise(mode, to, source, operand)


def _attention(graph: _Graph, call: AttentionCall) -> None:
    """Products around a softmax spelt out, with the logarithm of its sums, by which cuDNN knows attention."""
    batch, heads, queries, _ = call.q.dims
    keys = call.k.dims[2]
    shape, row = (batch, heads, queries, keys), (batch, heads, queries, 1)
    scores, rows = (Tensor("f32", dims, _dense(dims, graph.words)) for dims in (shape, row))
    q, y, v = graph.tensor(1, call.q), graph.tensor(3, call.y), graph.tensor(5, call.v)
    x = graph.product(graph.inside(scores), q, graph.tensor(2, call.k, flipped=True))
    x = graph.pointwise(_MULTIPLY, graph.inside(scores), x, _number(graph, SCALE))
    if call.mask is not None:
        x = graph.pointwise(_ADD, graph.inside(scores), x, graph.tensor(6, call.mask))
    if call.causal:
        numbers = [
            graph.pointwise(_INDEX, graph.inside(scores, "i32"), x, dtype="i32", axis=axis) for axis in (2, 3)
        ]
        seen = graph.pointwise(_GREATER_OR_EQUAL, graph.inside(scores, "bool"), *numbers, dtype="bool")
        x = graph.pointwise(_SELECT, graph.inside(scores), x, _number(graph, HIDDEN), seen)
    most = graph.reduced(_MAXIMUM, graph.inside(rows), x)
    x = graph.pointwise(_EXP, graph.inside(scores), graph.pointwise(_SUBTRACT, graph.inside(scores), x, most))
    total = graph.reduced(_SUM, graph.inside(rows), x)
    logarithm = graph.pointwise(_LOG, graph.inside(rows), total)
    graph.pointwise(_ADD, graph.inside(rows), most, logarithm)
    weights = graph.pointwise(_DIVIDE, graph.inside(scores, call.q.dtype), x, total)
    graph.product(y, weights, v)


def _number(graph: _Graph, name: int) -> Descriptor:
    return graph.tensor(name, Tensor("f32", (1, 1, 1, 1), (1, 1, 1, 1)), is_number=True)


def _dense(dims: Sequence[int | str], words: Sequence[int]) -> tuple[int, ...]:
    """Row-major strides."""
    sizes = [value(d, words) for d in dims]
    return tuple(math.prod(sizes[axis + 1 :]) for axis in range(len(sizes)))
