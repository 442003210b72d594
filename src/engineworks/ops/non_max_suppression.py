"""Boxes of object detectors: the best ones of each class that do not overlap a better one too much."""

from collections.abc import Sequence

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import Dim, bounds, dim_min, symbol
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir import ForeignNode, GraphBuilder, Op, Value, example, f32, from_onnx, i64, op
from engineworks.ops._views import ordered_bits


@op("non_max_suppression")
class NonMaxSuppression(Op):
    """i64 [count, 3]: batch, class, box of each box kept, by batch, class and falling score (ties: lower box first).

    Inputs: boxes f32 [batch, n, 4], scores f32 [batch, classes, n], then scalars: the most boxes of a class i64, the
    IoU above which a box falls f32, the score that a box must exceed f32 (omitted: none must).

    Attributes:
        count: the symbol for how many are kept.
        limit: the most boxes of one class where it is known at build, or n.
        centre: boxes are (x, y, width, height) of centre and size; else (y, x, y, x) of any two opposite corners.
    """

    count: Dim
    limit: Dim
    centre: bool = False
    defines = ("count",)

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        boxes, scores, *_ = inputs
        assert boxes is not None and scores is not None
        if boxes.rank != 3 or boxes.shape[2] != 4 or scores.rank != 3:
            raise InvalidModel(
                f"needs boxes [batch, n, 4] and scores [batch, classes, n]; got {boxes} and {scores}"
            )
        if boxes.dtype is not dtypes.f32 or scores.dtype is not dtypes.f32:
            raise InvalidModel(f"needs f32; got {boxes} and {scores}")
        return (TensorType(dtypes.i64, (self.count, 3)),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        boxes, scores, most, overlap, *rest = (None if a is None else np.asarray(a) for a in inputs)
        assert boxes is not None and scores is not None
        limit = 0 if most is None else int(most.ravel()[0])
        highest = np.float32(0) if overlap is None else overlap.ravel()[0]
        kept: list[tuple[int, int, int]] = []
        for batch in range(scores.shape[0]):
            low, high = corners(boxes[batch], self.centre)
            for kind in range(scores.shape[1]):
                of_class = scores[batch, kind]
                order = np.argsort(~ordered_bits(of_class), kind="stable")
                if rest and rest[0] is not None:
                    order = order[of_class[order] > rest[0].ravel()[0]]
                chosen: list[int] = []
                for box in order:
                    if len(chosen) < limit and not (overlaps(low, high, int(box), chosen) > highest).any():
                        chosen.append(int(box))
                kept += [(batch, kind, box) for box in chosen]
        return np.array(kept, np.int64).reshape(-1, 3)

    examples = (
        example(f32(2, 30, 4, low=0, high=4), f32(2, 3, 30, low=0, high=1), i64(values=5), f32(values=0.4),
                f32(values=0.3), count=symbol("count", 0), limit=5),
        example(f32(1, 12, 4, low=1, high=3), f32(1, 1, 12), i64(values=9), f32(values=0.1), count=symbol("count", 0),
                limit=9, centre=True),
        example(f32(1, "N", 4, low=0, high=2), f32(1, 2, "N", low=0, high=1), i64(values=100), f32(values=0.5),
                count=symbol("count", 0), limit=100, dims={"N": (7, 50)}),
    )  # fmt: skip


def corners(boxes: np.ndarray, centre: bool) -> tuple[np.ndarray, np.ndarray]:
    """[n, 2] f32 each: the low and the high corner of boxes [n, 4]."""
    if centre:
        half = boxes[:, 2:] / 2
        return boxes[:, :2] - half, boxes[:, :2] + half
    return np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])


def overlaps(low: np.ndarray, high: np.ndarray, box: int, others: Sequence[int]) -> np.ndarray:
    """Intersection over union of one box with others; 0 where either or the intersection is empty."""
    rows = list(others)
    sides = np.minimum(high[box], high[rows]) - np.maximum(low[box], low[rows])
    shared = np.where((sides > 0).all(axis=1), sides[:, 0] * sides[:, 1], 0)
    own, areas = np.prod(high[box] - low[box]), np.prod(high[rows] - low[rows], axis=1)
    union = own + areas - shared
    valid = (shared > 0) & (own > 0) & (areas > 0) & (union > 0)
    return np.where(valid, shared / np.where(valid, union, 1), 0)


@from_onnx("NonMaxSuppression")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    boxes, scores = n[0], n[1]
    most, overlap, least = (v if v is None else g.reshape_to(v, ()) for v in (n[2], n[3], n[4]))
    if most is None:
        most = g.constant(0, dtypes.i64)
    if overlap is None:
        overlap = g.constant(0.0, dtypes.f32)
    batch, classes, count = scores.type.shape
    limit = count if most.constant is None else dim_min(max(int(most.array), 0), count)
    symbol_ = g.graph.scope.fresh("kept", 0, bounds(batch * classes * limit)[1])
    thresholds = (most, overlap) if least is None else (most, overlap, least)
    return g.non_max_suppression(
        boxes, scores, *thresholds, count=symbol_, limit=limit, centre=bool(n.attr("center_point_box", 0))
    )
