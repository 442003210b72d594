"""x repeated whole along each axis."""

from collections.abc import Sequence

import numpy as np

from engineworks.core.dims import Dim, product
from engineworks.core.shapes import normalize_axis
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir import (
    ForeignNode,
    GraphBuilder,
    Op,
    Reader,
    Value,
    example,
    f32,
    from_onnx,
    from_torch,
    op,
)
from engineworks.ir.scalar import Scalar, size
from engineworks.ops._views import ZERO


@op("tile")
class Tile(Op):
    """Axis a is `repeats[a]` copies of x's axis a, one after another."""

    repeats: tuple[Dim, ...]
    keeps_dims = True

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        if len(self.repeats) != x.rank:
            raise InvalidModel(f"{len(self.repeats)} repeats for {x}, which has {x.rank} axes")
        return (TensorType(x.dtype, tuple(d * r for d, r in zip(x.shape, self.repeats, strict=True))),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        return np.tile(inputs[0], self.repeats)  # type: ignore[arg-type]

    def element(
        self, inputs: Sequence[Reader], index: tuple[Scalar, ...], types: Sequence[TensorType]
    ) -> Scalar:
        source = []
        for i, extent, times in zip(index, types[0].shape, self.repeats, strict=True):
            source.append(ZERO if extent == 1 else i if times == 1 else i % size(extent))
        return inputs[0](tuple(source))

    examples = (
        example(f32(2, 3), repeats=(3, 2)),
        example(f32("N", 1, 2), repeats=(1, 4, 1), dims={"N": (1, 3)}),
    )


@from_onnx("Tile", since=6)
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    repeats = n.dims(1, "the repeats")
    assert repeats is not None
    return n[0] if all(r == 1 for r in repeats) else g.tile(n[0], repeats=repeats)


@from_onnx("Tile", since=1)
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """Before opset 6: one axis and its number of copies, both as inputs."""
    tiles, axes = n.dims(1, "the number of tiles"), n.constant(2, "the axis")
    assert tiles is not None and axes is not None
    repeats: list[Dim] = [1] * n[0].type.rank
    repeats[int(axes.ravel()[0])] = tiles[0]
    return g.tile(n[0], repeats=tuple(repeats))


@from_torch("aten.repeat.default", "aten.tile.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """The shorter of shape and repeats is filled up with ones before."""
    x = n.arg("self")
    repeats = n.arg("repeats" if "repeats" in n.foreign.attributes else "dims")
    repeats = (*[1] * (x.type.rank - len(repeats)), *repeats)
    x = g.reshape_to(x, (*[1] * (len(repeats) - x.type.rank), *x.type.shape))
    return x if all(r == 1 for r in repeats) else g.tile(x, repeats=repeats)


@from_torch("aten.repeat_interleave.self_int")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """Each element of an axis (without one: of x flattened) several times in a row."""
    x, times, axis = n.arg("self"), n.arg("repeats"), n.arg("dim")
    if axis is None:
        x, axis = g.reshape_to(x, (product(x.type.shape),)), 0
    axis, shape = normalize_axis(axis, x.type.rank), x.type.shape
    apart = g.reshape_to(x, (*shape[: axis + 1], 1, *shape[axis + 1 :]))
    wide = g.expand(apart, shape=(*shape[: axis + 1], times, *shape[axis + 1 :]))
    return g.reshape_to(wide, (*shape[:axis], shape[axis] * times, *shape[axis + 1 :]))
