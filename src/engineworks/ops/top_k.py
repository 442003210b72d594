"""The k largest or smallest elements along an axis, and where they are."""

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import Dim, known_at_most, product
from engineworks.core.shapes import normalize_axis
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir import ForeignNode, GraphBuilder, Op, Value, example, f32, from_onnx, from_torch, i64, op
from engineworks.ops._torch import at_least_1d
from engineworks.ops._views import ordered_bits, plain


@op("top_k")
class TopK(Op):
    """Outputs: values, and i64 indices, sorted; of equal elements the one with the lower index comes first.

    NaN counts as larger than infinity, and -0 equals 0.
    """

    k: Dim
    axis: int = -1
    largest: bool = True

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        axis = normalize_axis(self.axis, x.rank)
        if x.dtype.kind not in ("float", "int", "uint") or known_at_most(self.k, x.shape[axis]) is False:
            raise InvalidModel(f"cannot take the first {self.k} of axis {axis} of {x}")
        shape = (*x.shape[:axis], self.k, *x.shape[axis + 1 :])
        return (TensorType(x.dtype, shape), TensorType(dtypes.i64, shape))

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        x = np.asarray(inputs[0])
        keys = ordered_bits(x)
        order = np.argsort(~keys if self.largest else keys, axis=self.axis, kind="stable")
        indices = np.take(order, np.arange(plain(self.k)), axis=self.axis).astype(np.int64)
        return np.take_along_axis(x, indices, axis=self.axis), indices

    examples = (
        example(f32(3, 40), k=5),
        example(f32(3, 400), k=150),
        example(f32(4, 6, 5), k=3, axis=1, largest=False),
        example(i64(2, "N", low=0, high=3), k=4, dims={"N": (5, 90)}),
        example(f32(2, 3), k=0),
    )


@from_onnx("TopK", since=10)
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value, Value]:
    """`sorted=0` leaves the order open; ours is sorted all the same."""
    k = n.dims(1, "k")
    assert k is not None
    return g.top_k(n[0], k=k[0], axis=n.attr("axis", -1), largest=bool(n.attr("largest", 1)))


@from_onnx("TopK", since=1)
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value, Value]:
    return g.top_k(n[0], k=n.attr("k"), axis=n.attr("axis", -1))


@from_torch("aten.topk.default")
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value, Value]:
    """`sorted=False` leaves the order open; ours is sorted all the same."""
    return _first(g, n.arg("self"), n.arg("k"), n.arg("dim"), n.arg("largest"))


@from_torch("aten.sort.default", "aten.sort.stable")
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value, Value]:
    """All elements; of equal ones the one with the lower index comes first."""
    x, axis = n.arg("self"), n.arg("dim")
    return _first(g, x, x.type.shape[axis] if x.type.rank else 1, axis, n.arg("descending"))


@from_torch("aten.argsort.default", "aten.argsort.stable")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x, axis = n.arg("self"), n.arg("dim")
    return _first(g, x, x.type.shape[axis] if x.type.rank else 1, axis, n.arg("descending"))[1]


@from_torch("aten.kthvalue.default")
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value, Value]:
    """The k-th smallest element along an axis, and where it is."""
    x, k = n.arg("self"), n.arg("k")
    axis = normalize_axis(n.arg("dim"), max(x.type.rank, 1))
    lowest = _first(g, x, k, axis, False)
    if x.type.rank == 0:
        return lowest
    last = [g.slice(v, starts=(k - 1,), ends=(k,), axes=(axis,)) for v in lowest]
    values, places = last if n.arg("keepdim") else [g.squeeze(v, (axis,)) for v in last]
    return values, places


def _first(g: GraphBuilder, x: Value, k: Dim, axis: int, largest: bool) -> tuple[Value, Value]:
    """The k first elements and where they are; booleans as 0 and 1, a tensor of rank 0 as a vector."""
    shape = x.type.shape
    wide = g.cast(x, dtype=dtypes.u8) if x.type.dtype is dtypes.bool_ else x
    values, places = g.top_k(at_least_1d(g, wide), k=k, axis=axis, largest=largest)
    values = g.cast_to(values, x.type.dtype)
    if shape:
        return values, places
    return g.reshape_to(values, ()), g.reshape_to(places, ())


@from_torch("aten.median.default", "aten.nanmedian.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    x = n.arg("self")
    return g.squeeze(_median(g, n, g.reshape_to(x, (product(x.type.shape),)), 0)[0], (0,))


@from_torch("aten.median.dim", "aten.nanmedian.dim")
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value, ...]:
    """The median along an axis, and where it is."""
    x = n.arg("self")
    axis = normalize_axis(n.arg("dim"), max(x.type.rank, 1))
    found = _median(g, n, at_least_1d(g, x), axis)
    return tuple(v if x.type.rank and n.arg("keepdim") else g.squeeze(v, (axis,)) for v in found)


def _median(g: GraphBuilder, n: ForeignNode, x: Value, axis: int) -> tuple[Value, Value]:
    """The lower one of two; a NaN wins over all, or with nanmedian counts for nothing. The axis stays with size 1."""
    size = x.type.shape[axis]
    last = g.sub(g.dims(size), 1)
    place = g.div(last, 2)
    if x.type.dtype.is_float:
        odd = g.reduce_sum(g.cast(g.is_nan(x), dtype=dtypes.i64), axes=(axis,), keepdims=True)
        if "nan" in n.foreign.kind:
            place = g.max(g.div(g.sub(last, odd), 2), 0)
        else:
            place = g.where(g.equal(odd, 0), place, last)
    shape = (*x.type.shape[:axis], 1, *x.type.shape[axis + 1 :])
    places = place if place.type.shape == shape else g.expand(place, shape=shape)
    ordered = _first(g, x, size, axis, False)
    return g.gather_elements(ordered[0], places, axis=axis), g.gather_elements(ordered[1], places, axis=axis)
