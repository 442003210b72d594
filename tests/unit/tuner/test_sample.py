"""A few elements of large outputs, computed by themselves, are those of the whole problem."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from engineworks.core import dtypes
from engineworks.core.types import Layout, TensorType
from engineworks.ir import scalar
from engineworks.ir.kernel import LoopKernel, Reduce, Store
from engineworks.kernels.reference.numpy import compute
from engineworks.kernels.workload import Epilogue, Operand, Workload
from engineworks.ops.attention import Attention
from engineworks.ops.conv import Conv
from engineworks.ops.matmul import MatMul
from engineworks.ops.max_pool import MaxPool
from engineworks.tuner.data import draw
from engineworks.tuner.sample import Part, expected_parts, wrong_part

NHWC = Layout((0, 2, 3, 1))


def _f16(*shape: int, layout: Layout | None = None) -> TensorType:
    return TensorType(dtypes.f16, shape, layout)


def _work(
    anchor: object, *operands: TensorType, out: TensorType, epilogue: Epilogue | None = None
) -> Workload:
    count = len(operands) - (len(epilogue.kinds) if epilogue else 0)
    inputs = tuple(Operand(t, constant=k == 1) for k, t in enumerate(operands))
    return Workload(anchor, inputs, count, (out,), epilogue)  # type: ignore[arg-type]


def _bias_and_residual() -> Epilogue:
    total = scalar.cast(scalar.argument(0, dtypes.f16), dtypes.f32)
    for k in (1, 2):
        total = total + scalar.cast(scalar.argument(k, dtypes.f16), dtypes.f32)
    return Epilogue(scalar.cast(total, dtypes.f16), ("channel", "full"))


PRODUCTS = {
    "matmul": _work(MatMul(), _f16(300, 64), _f16(64, 250), _f16(250), _f16(300, 250), out=_f16(300, 250),
                    epilogue=_bias_and_residual()),
    "batched matmul": _work(MatMul(), _f16(7, 1, 80, 32), _f16(6, 32, 130), out=_f16(7, 6, 80, 130)),
    "conv": _work(Conv(pads=(1, 1, 1, 1)), _f16(5, 24, 17, 19, layout=NHWC), _f16(70, 24, 3, 3), _f16(70),
                  _f16(5, 70, 17, 19, layout=NHWC), out=_f16(5, 70, 17, 19, layout=NHWC),
                  epilogue=_bias_and_residual()),
    "grouped conv": _work(Conv(groups=12), _f16(6, 24, 9, 9), _f16(36, 2, 3, 3), _f16(36), out=_f16(6, 36, 7, 7)),
    "attention": _work(Attention(scale=0.2), _f16(5, 8, 90, 16), _f16(5, 4, 50, 16), _f16(5, 4, 50, 24),
                       _f16(5, 1, 1, 50), out=_f16(5, 8, 90, 24)),
    "causal attention": _work(Attention(scale=0.2, causal=True), _f16(8, 90, 16), _f16(8, 90, 16), _f16(8, 90, 16),
                              out=_f16(8, 90, 16)),
    "max pool": _work(MaxPool((3, 3), (2, 2), (1, 1, 1, 1)), _f16(6, 40, 20, 20), out=_f16(6, 40, 10, 10)),
}  # fmt: skip


@pytest.mark.parametrize("name", PRODUCTS)
def test_the_elements_are_those_of_the_whole_problem(name: str) -> None:
    work = PRODUCTS[name]
    data = draw(work, {}, in_memory_order=True)
    parts = expected_parts(work, data)
    whole = compute(work, data.arrays, data.dims)
    assert wrong_part(work, parts, whole) == ""
    assert parts[0].values.size < whole[0].size


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("corner", [0, -1])
def test_a_wrong_corner_is_seen(name: str, corner: int) -> None:
    work = PRODUCTS[name]
    data = draw(work, {}, in_memory_order=True)
    whole = compute(work, data.arrays, data.dims)[0].copy()
    whole.reshape(-1)[corner] += 100
    assert "wrong result" in wrong_part(work, expected_parts(work, data), [whole])


def _normalised(rows: int, width: int) -> Workload:
    """x minus the mean of its row."""
    x = scalar.cast(scalar.load(0, (scalar.axis(0), scalar.axis(1)), dtypes.f16), dtypes.f32)
    mean = scalar.stage(0, dtypes.f32) * (1.0 / width)
    kernel = LoopKernel(
        (rows,), (width,), (_f16(rows, width),), (_f16(rows, width),),
        (Reduce("sum", x, dtypes.f32),
         Store(0, (scalar.axis(0), scalar.axis(1)), scalar.cast(x - mean, dtypes.f16), over_reduced=True)),
    )  # fmt: skip
    return Workload(None, (Operand(_f16(rows, width)),), 1, (_f16(rows, width),), loops=kernel)


def test_rows_of_a_large_loop_nest_are_enough() -> None:
    work = _normalised(5000, 1000)
    data = draw(work, {}, in_memory_order=True)
    (part,) = expected_parts(work, data)
    assert part.values.size < 1.1 * (1 << 20)
    x = np.asarray(data.arrays[0], np.float64)
    right = (x - x.mean(axis=1, keepdims=True)).astype(np.float16)
    assert wrong_part(work, [part], [right]) == ""
    right[-1, -1] += 9
    assert wrong_part(work, [part], [right]) != ""


def test_arrays_lie_as_their_types_say() -> None:
    work = PRODUCTS["conv"]
    x = draw(work, {}, in_memory_order=True).arrays[0]
    assert x is not None and x.shape == (5, 24, 17, 19) and x.transpose(0, 2, 3, 1).flags.c_contiguous


def test_an_output_of_another_shape_is_wrong() -> None:
    work = dataclasses.replace(PRODUCTS["matmul"], epilogue=None)
    part = Part(..., np.zeros((2, 2), np.float16))
    assert "shape" in wrong_part(work, [part], [np.zeros((3, 2), np.float16)])
