"""Convolutions that every family of narrow dtypes computes; `NarrowCase.of` gives them their dtypes."""

from engineworks.core.dims import symbol
from engineworks.ops.conv import Conv
from tests.unit.kernels.conv_case import rows
from tests.unit.kernels.narrow_case import NarrowCase, narrow

N, H, W = symbol("N", 1, 4), symbol("H", 2, 64), symbol("W", 2, 64)
SIZES = {"N": 2, "H": 9, "W": 23}

CASES = {
    "3x3 padded": NarrowCase(Conv(pads=(1, 1, 1, 1)), narrow(1, 64, 9, 10), (40, 64, 3, 3), quantised=True),
    "batch and bias": NarrowCase(Conv(pads=(1, 1, 1, 1)), narrow(2, 32, 7, 7), (32, 32, 3, 3), bias=True),
    "1x1": NarrowCase(Conv(), narrow(2, 128, 7, 7), (70, 128, 1, 1), quantised=True),
    "1x1 of few pixels": NarrowCase(Conv(), narrow(1, 256, 1, 1), (33, 256, 1, 1), quantised=True),
    "1x1 of 24 channels": NarrowCase(Conv(), narrow(1, 24, 5, 7), (16, 24, 1, 1)),
    "1x1 of 70 channels": NarrowCase(Conv(), narrow(1, 70, 5, 7), (17, 70, 1, 1)),
    "strided 1x1": NarrowCase(Conv((2, 2)), narrow(1, 64, 14, 13), (48, 64, 1, 1)),
    "strided 3x3": NarrowCase(Conv((2, 2), (1, 1, 1, 1)), narrow(2, 32, 15, 14), (32, 32, 3, 3)),
    "stride 3, uneven pads": NarrowCase(Conv((3, 2), (1, 0, 2, 1)), narrow(1, 20, 17, 13), (20, 20, 3, 2)),
    "stem": NarrowCase(Conv((2, 2), (3, 3, 3, 3)), narrow(1, 3, 22, 20), (24, 3, 7, 7)),
    "stem on planes": NarrowCase(Conv((2, 2), (3, 3, 3, 3)), rows(1, 3, 22, 20, dtype="i8"), (24, 3, 7, 7)),
    "dilated": NarrowCase(Conv((1, 2), (2, 3, 2, 3), (2, 3)), narrow(1, 16, 12, 12), (16, 16, 3, 3)),
    "groups": NarrowCase(
        Conv(pads=(1, 1, 1, 1), groups=8), narrow(1, 32, 8, 9), (40, 4, 3, 3), quantised=True
    ),
    "two wide groups": NarrowCase(Conv(groups=2), narrow(1, 140, 5, 6), (44, 70, 1, 1)),
    "one axis": NarrowCase(Conv(pads=(2, 2)), narrow(2, 20, 17), (8, 20, 5)),
    "three axes": NarrowCase(Conv((1, 2, 1), (1,) * 6), narrow(1, 8, 5, 6, 7), (12, 8, 3, 3, 3)),
    "patches": NarrowCase(Conv((4, 4)), rows(1, 3, 16, 16, dtype="i8"), (32, 3, 4, 4)),
    "larger pads than the kernel": NarrowCase(Conv(pads=(3, 4, 3, 4)), narrow(1, 5, 4, 4), (6, 5, 2, 2)),
    "dynamic 3x3": NarrowCase(
        Conv(pads=(1, 1, 1, 1)), narrow(N, 32, H, W), (24, 32, 3, 3), quantised=True, dims=SIZES
    ),
    "dynamic 1x1": NarrowCase(Conv(), narrow(N, 64, H, W), (40, 64, 1, 1), dims=SIZES),
    "dynamic batch": NarrowCase(Conv(), narrow(N, 64, 7, 7), (40, 64, 1, 1), quantised=True, dims=SIZES),
    "dynamic stride": NarrowCase(Conv((2, 2), (1, 1, 1, 1)), narrow(N, 32, H, W), (24, 32, 3, 3), dims=SIZES),
}
