"""The different elements or slices of a tensor."""

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import Dim, bounds, product, symbol
from engineworks.core.shapes import normalize_axis
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir import ForeignNode, GraphBuilder, Op, Value, example, f32, from_onnx, from_torch, i64, op
from engineworks.ops._views import ordered_bits


@op("unique")
class Unique(Op):
    """Outputs: the different slices along `axis`, then i64: first place of each, which of them each slice is, counts.

    `is_sorted`: in rising order (NaN last, all NaN equal), else by first place. `count` is the symbol for how many.
    """

    count: Dim
    axis: int = 0
    is_sorted: bool = True
    defines = ("count",)

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        axis = normalize_axis(self.axis, x.rank)
        if x.dtype.kind == "string":
            raise InvalidModel(f"{x.dtype} has no order here")
        places = TensorType(dtypes.i64, (self.count,))
        chosen = TensorType(x.dtype, (*x.shape[:axis], self.count, *x.shape[axis + 1 :]))
        return (chosen, places, TensorType(dtypes.i64, (x.shape[axis],)), places)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        x = np.asarray(inputs[0])
        moved = np.moveaxis(ordered_bits(x), self.axis, 0)
        rows = moved.reshape(len(moved), int(np.prod(moved.shape[1:])))
        _, first, inverse, counts = np.unique(rows, True, True, True, axis=0)
        inverse = inverse.reshape(-1)
        if not self.is_sorted:
            order = np.argsort(first)
            rank = np.empty_like(order)
            rank[order] = np.arange(len(order))
            first, counts, inverse = first[order], counts[order], rank[inverse]
        found = tuple(a.astype(np.int64) for a in (first, inverse, counts))
        return (np.take(x, first, axis=self.axis), *found)

    examples = (
        example(i64(40, low=0, high=9), count=symbol("count", 0)),
        example(f32(6, values=[2, 1, 1, 3, 4, 3]), count=symbol("count", 0), is_sorted=False),
        example(i64(3, 30, 2, low=0, high=1), count=symbol("count", 0), axis=1),
    )


@from_onnx("Unique")
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value, ...]:
    x, axis = n[0], n.attr("axis")
    if axis is None:
        x, axis = g.reshape_to(x, (product(x.type.shape),)), 0
    count = g.graph.scope.fresh("unique", 0, bounds(x.type.shape[axis])[1])
    return g.unique(x, count=count, axis=axis, is_sorted=bool(n.attr("sorted", 1)))


@from_torch("aten._unique2.default", "aten.unique_dim.default")
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value, ...]:
    """(values, inverse, counts), in rising order; what the flags do not ask for is empty."""
    x, shape = n.arg("self"), n.arg("self").type.shape
    is_flat = "dim" not in n.foreign.attributes
    x = g.reshape_to(x, (product(shape),)) if is_flat else x
    axis = 0 if is_flat else normalize_axis(n.arg("dim"), x.type.rank)
    count = g.graph.scope.fresh("unique", 0, bounds(x.type.shape[axis])[1])
    values, _, inverse, counts = g.unique(x, count=count, axis=axis)
    inverse = g.reshape_to(inverse, shape) if is_flat else inverse
    nothing = g.constant(np.zeros(0, np.int64))
    return (
        values,
        inverse if n.arg("return_inverse") or not is_flat else nothing,
        counts if n.arg("return_counts") or not is_flat else nothing,
    )
