"""Convolution workloads that cuDNN computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import Dim, symbol
from engineworks.core.types import TensorType
from engineworks.ir.scalar import apply, argument, cast, const
from engineworks.ops.conv import Conv
from tests.unit.kernels.cuda.library_case import Case, tensor

N = symbol("N", 1, 64)
H = symbol("H", 4, 64)
F16, F32 = dtypes.f16, dtypes.f32
SUM = argument(0, F16)


def last(dtype: str, *shape: Dim) -> TensorType:
    """A tensor with its channels innermost."""
    return tensor(dtype, *shape, order=(0, *range(2, len(shape)), 1))


def formula(op: Conv, end: Callable[..., np.ndarray] = lambda sums, *_: sums) -> Callable[..., np.ndarray]:
    """The op's own reference, with `end` (sums, other inputs) behind it."""

    def computed(x: np.ndarray, w: np.ndarray, *rest: np.ndarray) -> np.ndarray:
        return end(op.reference(x, w), *rest)

    return computed


def channel(values: np.ndarray) -> np.ndarray:
    """[C] as [1, C, 1, 1]."""
    return values.reshape(1, -1, 1, 1)


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def case(name: str, op: Conv, inputs: list[TensorType | None], end: Any = None, **more: Any) -> Case:
    """A case whose result has its channels innermost and the dtype of x; filters and what `more` says are constant."""
    x = inputs[0]
    assert x is not None
    (out,) = op.infer(*inputs[:2])
    result = last(x.dtype.name, *out.shape)
    compute = formula(op, end) if end else formula(op)
    return Case(name, op, inputs, result, compute, constants=more.pop("constants", (1,)), **more)


SAME = Conv(pads=(1, 1, 1, 1))
CASES = (
    case("plain", SAME, [last("f16", 2, 16, 9, 9), tensor("f16", 24, 16, 3, 3)]),
    case("bf16", SAME, [last("bf16", 2, 16, 9, 9), tensor("bf16", 24, 16, 3, 3)]),
    case("f32", SAME, [last("f32", 2, 16, 9, 9), tensor("f32", 24, 16, 3, 3)]),
    case(
        "tf32", Conv(pads=(1, 1, 1, 1), allow_tf32=True), [last("f32", 2, 16, 9, 9), tensor("f32", 24, 16, 3, 3)],
        tolerance=2e-3,
    ),
    case(
        "its own bias", SAME, [last("f16", 2, 16, 9, 9), tensor("f16", 24, 16, 3, 3), tensor("f16", 24)],
        lambda y, b: y + channel(b), constants=(1, 2),
    ),
    case(
        "own bias, residual and relu", SAME,
        [last("f16", 2, 16, 9, 9), tensor("f16", 24, 16, 3, 3), tensor("f16", 24), last("f16", 2, 24, 9, 9)],
        lambda y, b, r: relu(y + channel(b) + r), constants=(1, 2),
        expression=apply("max", SUM + argument(1, F16), const(0, F16)), kinds=("full",),
    ),
    case(
        "relu, dynamic batch", SAME, [last("f16", N, 16, 9, 9), tensor("f16", 24, 16, 3, 3)],
        relu, expression=apply("max", SUM, const(0, F16)), dims={"N": 3},
    ),
    case(
        "residual alone, dynamic rows", SAME,
        [last("f16", 2, 16, H, 9), tensor("f16", 24, 16, 3, 3), last("f16", 2, 24, H, 9)],
        lambda y, r: y + r, expression=SUM + argument(1, F16), kinds=("full",), dims={"H": 7},
    ),
    case(
        "f32 sums, constant f32 bias, f16 result", Conv(out_dtype=F32),
        [last("f16", 2, 64, 14, 14), tensor("f16", 32, 64, 1, 1), tensor("f32", 32)],
        lambda y, b: relu(y + channel(b)), constants=(1, 2),
        expression=cast(apply("max", argument(0, F32) + argument(1, F32), const(0, F32)), F16), kinds=("channel",),
    ),
    case("strided", Conv(strides=(2, 2), pads=(1, 1, 1, 1)),
         [last("f16", 2, 16, 14, 15), tensor("f16", 24, 16, 3, 3)]),
    case("stem", Conv(strides=(2, 2), pads=(3, 3, 3, 3)), [last("f16", 2, 3, 32, 32), tensor("f16", 64, 3, 7, 7)]),
    case("dilated", Conv(dilations=(2, 2), pads=(2, 2, 2, 2)),
         [last("f16", 1, 16, 12, 12), tensor("f16", 16, 16, 3, 3)]),
    case("grouped", Conv(groups=4, pads=(1, 1, 1, 1)), [last("f16", 1, 64, 12, 12), tensor("f16", 64, 16, 3, 3)]),
    case("each channel alone", Conv(groups=32, pads=(1, 1, 1, 1)),
         [last("f16", 1, 32, 12, 12), tensor("f16", 32, 1, 3, 3)]),
    case("primes", SAME, [last("f16", 1, 13, 7, 11), tensor("f16", 17, 13, 3, 3)]),
    case("more behind than before", Conv(pads=(0, 0, 1, 1), strides=(2, 2)),
         [last("f16", 1, 16, 12, 12), tensor("f16", 16, 16, 3, 3)]),
    case("one axis", Conv(pads=(2, 2)), [last("f16", 2, 16, 40), tensor("f16", 24, 16, 5)]),
    case("three axes", Conv(pads=(1,) * 6), [last("f16", 1, 16, 5, 6, 7), tensor("f16", 16, 16, 3, 3, 3)]),
)  # fmt: skip

PIXELS = (
    case("plain pixels", Conv(), [last("f16", 2, 16, 9, 9), tensor("f16", 24, 16, 1, 1)]),
    case(
        "pixels, own bias, residual and relu", Conv(),
        [last("f16", N, 16, 7, H), tensor("f16", 24, 16, 1, 1), tensor("f16", 24), last("f16", N, 24, 7, H)],
        lambda y, b, r: relu(y + channel(b) + r), constants=(1, 2),
        expression=apply("max", SUM + argument(1, F16), const(0, F16)), kinds=("full",), dims={"N": 2, "H": 5},
    ),
    case(
        "pixels, f32 sums, constant f32 bias", Conv(out_dtype=F32),
        [last("f16", 2, 64, 14, 14), tensor("f16", 32, 64, 1, 1), tensor("f32", 32)],
        lambda y, b: relu(y + channel(b)), constants=(1, 2),
        expression=cast(apply("max", argument(0, F32) + argument(1, F32), const(0, F32)), F16), kinds=("channel",),
    ),
    case("f32 pixels along one axis", Conv(), [last("f32", 2, 13, 31), tensor("f32", 17, 13, 1)]),
)  # fmt: skip
"""Convolutions of each pixel alone, which cuBLASLt computes as well."""
