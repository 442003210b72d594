"""Regions of feature maps, averaged into bins of one size."""

from typing import Literal

import numpy as np

from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir import ForeignNode, GraphBuilder, Op, Value, example, f32, from_onnx, i64, op


@op("roi_align")
class RoiAlign(Op):
    """[regions, c, height, width]: each bin combines bilinear samples on a regular grid inside it.

    Inputs: x [n, c, h, w], regions [regions, 4] as (x1, y1, x2, y2), integer images [regions].

    Attributes:
        ratio: samples along each side of a bin; 0: as many as elements, rounded up.
        scale: from the regions' coordinates to x's.
        half_pixel: coordinates are of element centres, and regions may be smaller than one element.
        combine: mean of the samples, or ONNX's max, which is over the four weighted neighbours of every sample.
    """

    height: int
    width: int
    ratio: int = 0
    scale: float = 1.0
    half_pixel: bool = True
    combine: Literal["mean", "max"] = "mean"

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        x, regions, images = inputs
        assert x is not None and regions is not None and images is not None
        if (
            x.rank != 4
            or regions.rank != 2
            or regions.shape[1] != 4
            or images.rank != 1
            or not images.dtype.is_integer
        ):
            raise InvalidModel(
                f"needs [n, c, h, w], [regions, 4], integers [regions]; got {x}, {regions}, {images}"
            )
        if regions.dtype is not x.dtype or not x.dtype.is_float:
            raise InvalidModel(f"{x} and {regions} must have one floating-point type")
        return (TensorType(x.dtype, (regions.shape[0], x.shape[1], self.height, self.width)),)

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        x, regions, images = (np.asarray(a) for a in inputs)
        out = np.zeros((len(regions), x.shape[1], self.height, self.width))
        for r, region in enumerate(regions.astype(np.float64)):
            x1, y1, x2, y2 = region * self.scale - (0.5 if self.half_pixel else 0.0)
            rows = self._samples(y1, y2 - y1, self.height, x.shape[2])
            columns = self._samples(x1, x2 - x1, self.width, x.shape[3])
            feature = x[images[r]].astype(np.float64)
            for i, j in np.ndindex(self.height, self.width):
                parts = [
                    wr * wc * feature[:, ir, ic]
                    for row in rows[i]
                    for column in columns[j]
                    for ir, wr in row
                    for ic, wc in column
                ]
                samples = max(len(rows[i]) * len(columns[j]), 1)
                if parts:
                    out[r, :, i, j] = (
                        np.sum(parts, axis=0) / samples if self.combine == "mean" else np.max(parts, axis=0)
                    )
        return out.astype(x.dtype)

    def _samples(
        self, start: float, length: float, bins: int, extent: int
    ) -> list[list[list[tuple[int, float]]]]:
        """By bin, by sample: its two neighbours as (index, weight); weights are 0 more than one element outside."""
        length = length if self.half_pixel else max(length, 1.0)
        count = self.ratio or int(np.ceil(length / bins))
        made = []
        for b in range(bins):
            bin_samples = []
            for s in range(count):
                at = start + length / bins * (b + (s + 0.5) / count)
                bin_samples.append(_neighbours(at, extent))
            made.append(bin_samples)
        return made

    examples = (
        example(f32(2, 3, 8, 9), f32(3, 4, values=[[0, 0, 7, 7], [1.5, 2, 6, 5], [4, 4, 4.5, 4.2]]),
                i64(3, values=[0, 1, 0]), height=3, width=2, ratio=2),
        example(f32(1, 2, 10, 10), f32(2, 4, values=[[0, 0, 19, 12], [-3, 4, 30, 22]]), i64(2, values=[0, 0]),
                height=2, width=3, scale=0.5, half_pixel=False),
        example(f32(1, 2, 10, 10), f32(1, 4, values=[[1, 1, 8, 7]]), i64(1, values=[0]),
                height=2, width=2, combine="max"),
    )  # fmt: skip


def _neighbours(at: float, extent: int) -> list[tuple[int, float]]:
    if at < -1 or at > extent:
        return [(0, 0.0), (0, 0.0)]
    at = max(at, 0.0)
    low = int(at)
    if low >= extent - 1:
        return [(extent - 1, 1.0), (extent - 1, 0.0)]
    return [(low, 1 - (at - low)), (low + 1, at - low)]


@from_onnx("RoiAlign")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """Before opset 16 coordinates are of element edges."""
    coordinates = (
        n.attr("coordinate_transformation_mode", "half_pixel") if n.opset >= 16 else "output_half_pixel"
    )
    mode = n.attr("mode", "avg")
    if mode not in ("avg", "max"):
        raise n.invalid(f"mode '{mode}' is not one of avg, max")
    return g.roi_align(
        n[0], n[1], n[2], height=n.attr("output_height", 1), width=n.attr("output_width", 1),
        ratio=n.attr("sampling_ratio", 0), scale=n.attr("spatial_scale", 1.0),
        half_pixel=coordinates == "half_pixel", combine="mean" if mode == "avg" else "max",
    )  # fmt: skip
