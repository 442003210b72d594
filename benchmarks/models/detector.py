"""A YOLO-style detector: SiLU backbone with split-and-merge blocks, a two-way pyramid, decoded boxes and NMS.

The sizes are those of the smallest YOLOv8 (width 0.25, depth 0.33); the code and the weights are ours.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.models.convolutional import conv_norm
from benchmarks.models.recipe import Axis, Size, from_torch, image

BINS = 16
"""Each side of a box is the expectation over 16 distances (arXiv 2006.04388)."""
WANTED = 200
"""Candidates above the score threshold; random weights would give all or none."""
IOU_THRESHOLD = 0.45
MOST_BOXES = 100


class SplitMerge(nn.Module):
    """1x1, half of the channels through `depth` residual pairs of 3x3, all parts merged by 1x1."""

    def __init__(self, c_in: int, c_out: int, depth: int, has_shortcut: bool = True) -> None:
        super().__init__()
        half = c_out // 2
        self.enter = conv_norm(c_in, c_out, act=nn.SiLU)
        self.pairs = nn.ModuleList(
            nn.Sequential(conv_norm(half, half, 3, act=nn.SiLU), conv_norm(half, half, 3, act=nn.SiLU))
            for _ in range(depth)
        )
        self.leave = conv_norm((2 + depth) * half, c_out, act=nn.SiLU)
        self.has_shortcut = has_shortcut

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.enter(x).chunk(2, 1))
        for pair in self.pairs:
            y = pair(parts[-1])
            parts.append(parts[-1] + y if self.has_shortcut else y)
        return self.leave(torch.cat(parts, 1))


class PooledPyramid(nn.Module):
    """Max pools of 5, 9 and 13 (as three of 5) beside the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter = conv_norm(channels, channels // 2, act=nn.SiLU)
        self.leave = conv_norm(2 * channels, channels, act=nn.SiLU)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.enter(x)]
        for _ in range(3):
            parts.append(F.max_pool2d(parts[-1], 5, 1, 2))
        return self.leave(torch.cat(parts, 1))


class Detector(nn.Module):
    """[batch, 3, pixels, pixels] -> boxes [batch, n, 4] as corners, scores [batch, classes, n]."""

    def __init__(self, pixels: int, width: int, classes: int) -> None:
        super().__init__()
        c = [width << n for n in range(5)]
        self.stem = nn.Sequential(
            conv_norm(3, c[0], 3, 2, act=nn.SiLU),
            conv_norm(c[0], c[1], 3, 2, act=nn.SiLU),
            SplitMerge(c[1], c[1], 1),
        )
        self.p3 = nn.Sequential(conv_norm(c[1], c[2], 3, 2, act=nn.SiLU), SplitMerge(c[2], c[2], 2))
        self.p4 = nn.Sequential(conv_norm(c[2], c[3], 3, 2, act=nn.SiLU), SplitMerge(c[3], c[3], 2))
        self.p5 = nn.Sequential(
            conv_norm(c[3], c[4], 3, 2, act=nn.SiLU), SplitMerge(c[4], c[4], 1), PooledPyramid(c[4])
        )
        self.up4, self.up3 = SplitMerge(c[4] + c[3], c[3], 1, False), SplitMerge(c[3] + c[2], c[2], 1, False)
        self.to4, self.to5 = (
            conv_norm(c[2], c[2], 3, 2, act=nn.SiLU),
            conv_norm(c[3], c[3], 3, 2, act=nn.SiLU),
        )
        self.down4, self.down5 = (
            SplitMerge(c[2] + c[3], c[3], 1, False),
            SplitMerge(c[3] + c[4], c[4], 1, False),
        )
        self.sides = nn.ModuleList(self._head(i, 64, 4 * BINS) for i in c[2:])
        self.kinds = nn.ModuleList(self._head(i, max(c[2], min(classes, 100)), classes) for i in c[2:])
        centres, strides = _grid(pixels)
        self.register_buffer("centres", centres, persistent=False)
        self.register_buffer("strides", strides, persistent=False)
        self.register_buffer("distances", torch.arange(BINS, dtype=torch.float32), persistent=False)

    @staticmethod
    def _head(c_in: int, middle: int, c_out: int) -> nn.Module:
        return nn.Sequential(
            conv_norm(c_in, middle, 3, act=nn.SiLU),
            conv_norm(middle, middle, 3, act=nn.SiLU),
            nn.Conv2d(middle, c_out, 1),
        )

    def settle(self, x: Tensor) -> None:
        """Scale the class heads so that scores spread over (0, 1), as those of trained detectors do."""
        kinds = self(x)[1].logit().split([(x.shape[-1] // stride) ** 2 for stride in (8, 16, 32)], 2)
        for head, logits in zip(self.kinds, kinds, strict=True):
            scale = 4.0 / logits.clamp(max=40).max()
            head[-1].weight *= scale
            head[-1].bias.copy_(head[-1].bias * scale - 2.5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        p3 = self.p3(self.stem(x))
        p4 = self.p4(p3)
        p5 = self.p5(p4)
        n4 = self.up4(torch.cat([F.interpolate(p5, scale_factor=2.0), p4], 1))
        n3 = self.up3(torch.cat([F.interpolate(n4, scale_factor=2.0), p3], 1))
        n4 = self.down4(torch.cat([self.to4(n3), n4], 1))
        n5 = self.down5(torch.cat([self.to5(n4), p5], 1))
        scales = (n3, n4, n5)
        sides = torch.cat([h(s).flatten(2) for h, s in zip(self.sides, scales, strict=True)], 2)
        kinds = torch.cat([h(s).flatten(2) for h, s in zip(self.kinds, scales, strict=True)], 2)
        bins = sides.view(sides.shape[0], 4, BINS, -1).softmax(2)
        left_top, right_bottom = (bins * self.distances[None, None, :, None]).sum(2).chunk(2, 1)
        corners = torch.cat([self.centres - left_top, self.centres + right_bottom], 1) * self.strides
        return corners.transpose(1, 2), kinds.sigmoid()


def _grid(pixels: int) -> tuple[Tensor, Tensor]:
    """Cell centres [1, 2, n] in units of the stride, and strides [1, 1, n], for strides 8, 16 and 32."""
    centres, strides = [], []
    for stride in (8, 16, 32):
        cells = pixels // stride
        y, x = torch.meshgrid(*[torch.arange(cells) + 0.5] * 2, indexing="ij")
        centres.append(torch.stack([x.flatten(), y.flatten()]))
        strides.append(torch.full((1, cells * cells), float(stride)))
    return torch.cat(centres, 1)[None], torch.cat(strides, 1)[None]


def _score_threshold(module: nn.Module, pixels: int) -> float:
    """The middle of the widest gap between scores that leaves about WANTED candidates.

    A gap, so that rounding cannot move a candidate across the threshold.
    """
    with torch.no_grad():
        scores = module(torch.from_numpy(image(pixels)))[1].flatten().sort(descending=True).values
    near = scores[WANTED * 3 // 4 : WANTED * 5 // 4].double()
    widest = int((near[:-1] - near[1:]).argmax())
    return float((near[widest] + near[widest + 1]) / 2)


def _append_suppression(module: nn.Module, size: Size, path: Path) -> None:
    """Write NonMaxSuppression and the selection of what it keeps behind the exported network."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(os.fspath(path))
    graph = model.graph
    threshold = _score_threshold(module, _pixels(size))
    constants = {
        "most": np.array([MOST_BOXES], np.int64),
        "iou": np.array([IOU_THRESHOLD], np.float32),
        "score": np.array([threshold], np.float32),
        "batch_and_box": np.array([0, 2], np.int64),
        "kind": np.array(1, np.int64),
    }
    graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in constants.items())
    graph.node.extend(
        [
            helper.make_node(
                "NonMaxSuppression", ["boxes", "scores", "most", "iou", "score"], ["selected"], "nms"
            ),
            helper.make_node("Gather", ["selected", "batch_and_box"], ["places"], "nms_places", axis=1),
            helper.make_node("GatherND", ["boxes", "places"], ["kept_boxes"], "nms_boxes"),
            helper.make_node("GatherND", ["scores", "selected"], ["kept_scores"], "nms_scores"),
            helper.make_node("Gather", ["selected", "kind"], ["kept_kinds"], "nms_kinds", axis=1),
        ]
    )
    del graph.output[:]
    graph.output.extend(
        [
            helper.make_tensor_value_info("kept_boxes", TensorProto.FLOAT, ["kept", 4]),
            helper.make_tensor_value_info("kept_scores", TensorProto.FLOAT, ["kept"]),
            helper.make_tensor_value_info("kept_kinds", TensorProto.INT64, ["kept"]),
        ]
    )
    onnx.checker.check_model(model)
    onnx.save(model, os.fspath(path))


def _pixels(size: Size) -> int:
    return 640 if size == "full" else 96


RECIPES = {
    "yolo": from_torch(
        lambda s: Detector(640, 16, 80) if s == "full" else Detector(96, 8, 10),
        lambda s: {"image": image(_pixels(s))},
        ["boxes", "scores"],
        {"image": {0: Axis("batch", 1, 4)}},
        {"boxes": {0: "batch"}, "scores": {0: "batch"}},
        _append_suppression,
    ),
}
