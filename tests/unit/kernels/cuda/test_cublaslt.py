"""What cuBLASLt would be asked for, done in numpy on the same memory."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
import pytest
from msgspec import json

from engineworks.codegen.triton.gpu import gpu_of
from engineworks.core import dtypes
from engineworks.core.dims import symbol
from engineworks.engine.library_calls import MatmulCall, Matrix, value, version_of
from engineworks.errors import NoTactic
from engineworks.ir.scalar import Scalar, apply, argument, const
from engineworks.kernels.backend import Binding
from engineworks.kernels.cuda import conv_cublaslt
from engineworks.kernels.cuda.backend import BACKEND
from engineworks.kernels.cuda.matmul_cublaslt import PROVIDERS, WORKSPACE
from engineworks.kernels.tactic import KernelImage
from engineworks.ops.conv import Conv
from engineworks.ops.matmul import MatMul
from tests.unit.kernels.cuda.conv_library_cases import PIXELS, SAME, last
from tests.unit.kernels.cuda.library_case import Case, on_host, tensor
from tests.unit.kernels.cuda.matmul_library_cases import CASES

GPU = gpu_of("sm_90")
(PROVIDER,) = PROVIDERS
(CONV,) = conv_cublaslt.PROVIDERS
F16 = dtypes.f16
HALF = [tensor("f16", 8, 16), tensor("f16", 16, 24)]
SUM = argument(0, F16)


def image_of(case: Case) -> KernelImage:
    provider = PROVIDER if isinstance(case.op, MatMul) else CONV
    best, *_ = provider.propose(case.work, GPU, 1)
    return provider.build(case.work, best, GPU)


def memory(
    matrix: Matrix, rows: int, columns: int, batch: int, words: Sequence[int], address: int
) -> np.ndarray:
    """[batch, rows, columns] of a matrix that lies column after column."""
    dtype = dtypes.by_name(matrix.dtype).numpy
    leading, step = max(value(matrix.leading, words), rows), value(matrix.step, words)
    reach = (batch - 1) * step + (columns - 1) * leading + rows
    raw = np.ctypeslib.as_array((ctypes.c_uint8 * (reach * dtype.itemsize)).from_address(address))
    strides = tuple(s * dtype.itemsize for s in (step, 1, leading))
    return np.lib.stride_tricks.as_strided(raw.view(dtype), (batch, rows, columns), strides)


def computed(call: MatmulCall, words: Sequence[int]) -> None:
    """The call as engine/library_calls.py defines it."""
    m, n, k, batch = (value(s, words) for s in (call.m, call.n, call.k, call.batch))
    a, b, d, _, *rest = words
    left = memory(call.a, *((k, m) if call.a.transposed else (m, k)), batch, words, a).astype(np.float64)
    right = memory(call.b, *((n, k) if call.b.transposed else (k, n)), batch, words, b).astype(np.float64)
    left = left.swapaxes(1, 2) if call.a.transposed else left
    right = right.swapaxes(1, 2) if call.b.transposed else right
    total = call.alpha * (left @ right)
    if call.bias:
        dtype = dtypes.by_name(call.d.dtype).numpy
        raw = (ctypes.c_uint8 * (m * dtype.itemsize)).from_address(rest[0])
        total += np.ctypeslib.as_array(raw).view(dtype).astype(np.float64)[:, None]
    if call.residual:
        total += memory(call.d, m, n, batch, words, rest[call.bias])
    memory(call.d, m, n, batch, words, d)[...] = np.maximum(total, 0) if call.relu else total


@pytest.mark.parametrize("case", [*CASES, *PIXELS], ids=lambda c: c.name)
def test_the_call_computes_the_workload(case: Case) -> None:
    result = on_host(case, image_of(case), lambda t, w: computed(json.decode(t, type=MatmulCall), w))
    case.check(result, case.arrays())


def test_effort_decides_how_many_proposals_are_measured() -> None:
    work = Case("", MatMul(), HALF, tensor("f16", 8, 24), np.matmul).work
    counts = [len(list(PROVIDER.propose(work, GPU, effort))) for effort in range(1, 6)]
    assert counts == sorted(counts)
    with pytest.raises(NoTactic, match="cannot be predicted"):
        PROVIDER.propose(work, GPU, 0)


def test_equal_calls_have_equal_symbols_and_others_do_not() -> None:
    first, second, *_ = CASES
    assert set(image_of(first).functions) == set(image_of(first).functions)
    assert set(image_of(first).functions).isdisjoint(image_of(second).functions)
    assert image_of(first).workspace == (WORKSPACE,)


def test_an_engine_names_the_version_that_it_was_tuned_with() -> None:
    image = image_of(CASES[0])
    tuned = Binding(facts={"cublaslt": "130000", "gpu": "NVIDIA H200"})
    code = BACKEND.code(image.functions, (), GPU, BACKEND.cache(None), tuned)
    (kernel,) = code.kernels.values()
    assert kernel["library"] == "cublaslt"
    assert version_of(kernel["call"]) == 130000


GELU = SUM * 0.5 * (apply("erf", SUM * 0.7071067811865476) + 1.0)
REFUSED: dict[str, tuple[Scalar | None, tuple, list, object]] = {
    "gelu": (GELU, (), HALF, tensor("f16", 8, 24)),
    "two biases": (
        SUM + argument(1, F16) + argument(2, F16), ("channel", "channel"),
        [*HALF, tensor("f16", 24), tensor("f16", 24)], tensor("f16", 8, 24),
    ),
    "relu before the residual": (
        apply("max", SUM, const(0, F16)) + argument(1, F16), ("full",), [*HALF, tensor("f16", 8, 24)],
        tensor("f16", 8, 24),
    ),
    "a single number": (SUM + argument(1, F16), ("scalar",), [*HALF, tensor("f16", 1)], tensor("f16", 8, 24)),
    "a product that is not there": (argument(1, F16) + 0.0, ("full",), [*HALF, tensor("f16", 8, 24)],
                                    tensor("f16", 8, 24)),
    "unsigned integers": (None, (), [tensor("u8", 8, 16), tensor("u8", 16, 24)], tensor("i32", 8, 24)),
    "different factors": (None, (), [tensor("f16", 8, 16), tensor("f32", 16, 24)], tensor("f32", 8, 24)),
    "integers not in fours": (None, (), [tensor("i8", 8, 18), tensor("i8", 18, 24, order=(1, 0))],
                              tensor("i32", 8, 24)),
    "an empty depth": (None, (), [tensor("f16", 8, symbol("K", 0)), tensor("f16", symbol("K", 0), 24)],
                       tensor("f16", 8, 24)),
    "uneven batches": (None, (), [tensor("f16", 2, 1, 8, 16), tensor("f16", 1, 3, 16, 24)],
                       tensor("f16", 2, 3, 8, 24)),
}  # fmt: skip


@pytest.mark.parametrize("why", REFUSED)
def test_what_the_library_cannot_do_is_refused(why: str) -> None:
    expression, kinds, inputs, out = REFUSED[why]
    case = Case(why, MatMul(out_dtype=None), inputs, out, np.matmul, expression, kinds)  # type: ignore[arg-type]
    with pytest.raises(NoTactic):
        PROVIDER.propose(case.work, GPU, 3)


NOT_PIXELS = {
    "neighbours": (SAME, tensor("f16", 24, 16, 3, 3)),
    "strides": (Conv(strides=(2, 2)), tensor("f16", 24, 16, 1, 1)),
    "groups": (Conv(groups=2), tensor("f16", 24, 8, 1, 1)),
    "pads": (Conv(pads=(1, 1, 1, 1)), tensor("f16", 24, 16, 1, 1)),
}


@pytest.mark.parametrize("why", NOT_PIXELS)
def test_convolutions_of_more_than_a_pixel_are_no_products(why: str) -> None:
    op, filters = NOT_PIXELS[why]
    image = last("f16", 2, 16, 9, 9)
    (out,) = op.infer(image, filters)
    case = Case(why, op, [image, filters], last("f16", *out.shape), np.add, constants=(1,))
    with pytest.raises(NoTactic, match="each pixel alone"):
        CONV.propose(case.work, GPU, 3)
