"""Image classifiers and segmentation: ResNet-50, MobileNetV3-large, EfficientNet-Lite0, UNet.

Architectures from the papers: arXiv 1512.03385 (with the stride in the 3x3), 1905.02244, 1505.04597 (padded
convolutions, batch normalisation), and EfficientNet-Lite's release notes (no squeeze-and-excitation, ReLU6).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.models.recipe import Axis, Recipe, Size, from_torch, image


def conv_norm(
    c_in: int,
    c_out: int,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    act: type[nn.Module] | None = None,
) -> nn.Sequential:
    """Convolution that keeps the size (up to its stride), batch normalisation, activation."""
    parts: list[nn.Module] = [
        nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(c_out),
    ]
    return nn.Sequential(*parts, *([act()] if act else []))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 with a shortcut."""

    def __init__(self, c_in: int, middle: int, stride: int) -> None:
        super().__init__()
        c_out = 4 * middle
        self.body = nn.Sequential(
            conv_norm(c_in, middle, act=nn.ReLU),
            conv_norm(middle, middle, 3, stride, act=nn.ReLU),
            conv_norm(middle, c_out),
        )
        self.shortcut = conv_norm(c_in, c_out, 1, stride) if stride != 1 or c_in != c_out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


class ResNet(nn.Module):
    """Four stages of bottlenecks; [3, 4, 6, 3] of width 64 is ResNet-50."""

    def __init__(self, depths: tuple[int, ...], width: int, classes: int = 1000) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_norm(3, width, 7, 2, act=nn.ReLU), nn.MaxPool2d(3, 2, 1))
        stages, channels = [], width
        for stage, depth in enumerate(depths):
            for n in range(depth):
                middle = width << stage
                stages.append(Bottleneck(channels, middle, 2 if n == 0 and stage else 1))
                channels = 4 * middle
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.adaptive_avg_pool2d(self.stages(self.stem(x)), 1).flatten(1))


class SqueezeExcite(nn.Module):
    """Channels scaled by a gate computed from their means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        middle = max(8, (channels // 4 + 4) // 8 * 8)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, middle, 1),
            nn.ReLU(),
            nn.Conv2d(middle, channels, 1),
            nn.Hardsigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)


class InvertedResidual(nn.Module):
    """1x1 up, depthwise, optional squeeze-and-excitation, 1x1 down, with a shortcut where shapes allow."""

    def __init__(
        self,
        c_in: int,
        middle: int,
        c_out: int,
        kernel: int,
        stride: int,
        act: type[nn.Module],
        gated: bool = False,
    ) -> None:
        super().__init__()
        parts = [conv_norm(c_in, middle, act=act)] if middle != c_in else []
        parts.append(conv_norm(middle, middle, kernel, stride, groups=middle, act=act))
        if gated:
            parts.append(SqueezeExcite(middle))
        self.body = nn.Sequential(*parts, conv_norm(middle, c_out))
        self.has_shortcut = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.has_shortcut else self.body(x)


# kernel, expanded, out, gated, hard-swish, stride (table 1 of the paper)
MOBILENET_V3_LARGE = (
    (3, 16, 16, 0, 0, 1), (3, 64, 24, 0, 0, 2), (3, 72, 24, 0, 0, 1), (5, 72, 40, 1, 0, 2),
    (5, 120, 40, 1, 0, 1), (5, 120, 40, 1, 0, 1), (3, 240, 80, 0, 1, 2), (3, 200, 80, 0, 1, 1),
    (3, 184, 80, 0, 1, 1), (3, 184, 80, 0, 1, 1), (3, 480, 112, 1, 1, 1), (3, 672, 112, 1, 1, 1),
    (5, 672, 160, 1, 1, 2), (5, 960, 160, 1, 1, 1), (5, 960, 160, 1, 1, 1),
)  # fmt: skip


def mobilenet_v3(size: Size) -> nn.Module:
    """MobileNetV3-large; small: its first seven blocks."""
    rows = MOBILENET_V3_LARGE if size == "full" else MOBILENET_V3_LARGE[:7]
    parts: list[nn.Module] = [conv_norm(3, 16, 3, 2, act=nn.Hardswish)]
    channels = 16
    for kernel, middle, out, gated, swish, stride in rows:
        act = nn.Hardswish if swish else nn.ReLU
        parts.append(InvertedResidual(channels, middle, out, kernel, stride, act, bool(gated)))
        channels = out
    last = 6 * channels
    head = [
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(last, 1280),
        nn.Hardswish(),
        nn.Linear(1280, 1000),
    ]
    return nn.Sequential(*parts, conv_norm(channels, last, act=nn.Hardswish), *head)


# expansion, out, repeats, stride, kernel
EFFICIENTNET_LITE0 = (
    (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3),
)  # fmt: skip


def efficientnet_lite0(size: Size) -> nn.Module:
    """EfficientNet-Lite0; small: its first four stages."""
    rows = EFFICIENTNET_LITE0 if size == "full" else EFFICIENTNET_LITE0[:4]
    parts: list[nn.Module] = [conv_norm(3, 32, 3, 2, act=nn.ReLU6)]
    channels = 32
    for expansion, out, repeats, stride, kernel in rows:
        for n in range(repeats):
            parts.append(
                InvertedResidual(
                    channels, expansion * channels, out, kernel, stride if n == 0 else 1, nn.ReLU6
                )
            )
            channels = out
    parts.append(conv_norm(channels, 4 * channels, act=nn.ReLU6))
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * channels, 1000))


class UNet(nn.Module):
    """Encoder and decoder of `levels` scales with skip connections; logits of two classes."""

    def __init__(self, width: int, levels: int) -> None:
        super().__init__()
        widths = [width << n for n in range(levels)]
        self.down = nn.ModuleList(self._double(i, o) for i, o in zip([3, *widths[:-1]], widths, strict=True))
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.lift = nn.ModuleList(nn.ConvTranspose2d(i, o, 2, 2) for i, o in pairs)
        self.up = nn.ModuleList(self._double(i, o) for i, o in pairs)
        self.head = nn.Conv2d(width, 2, 1)

    @staticmethod
    def _double(c_in: int, c_out: int) -> nn.Module:
        return nn.Sequential(conv_norm(c_in, c_out, 3, act=nn.ReLU), conv_norm(c_out, c_out, 3, act=nn.ReLU))

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for n, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if n else x)
            kept.append(x)
        kept.pop()
        for lift, block in zip(self.lift, self.up, strict=True):
            x = block(torch.cat([kept.pop(), lift(x)], 1))
        return self.head(x)


BATCH = {"image": {0: Axis("batch", 1, 8)}}
BATCH_OUT = {0: "batch"}
SCALES = {"image": {0: Axis("batch", 1, 2), 2: Axis("height", 32, 512), 3: Axis("width", 32, 512)}}


def _classifier(make, full: int, small: int) -> Recipe:
    return from_torch(
        make,
        lambda s: {"image": image(full if s == "full" else small)},
        ["logits"],
        BATCH,
        {"logits": BATCH_OUT},
    )


RECIPES = {
    "resnet50": _classifier(
        lambda s: ResNet((3, 4, 6, 3), 64) if s == "full" else ResNet((1, 1, 1, 1), 16), 224, 64
    ),
    "mobilenet_v3_large": _classifier(mobilenet_v3, 224, 64),
    "efficientnet_lite0": _classifier(efficientnet_lite0, 224, 64),
    "unet": from_torch(
        lambda s: UNet(32, 5) if s == "full" else UNet(8, 3),
        lambda s: {"image": image(256 if s == "full" else 32)},
        ["mask"],
        SCALES,
        {"mask": {0: "batch", 2: "height", 3: "width"}},
    ),
}
