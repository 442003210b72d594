"""What cuDNN would be asked for, done in numpy on the same memory."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from msgspec import json

from engineworks.codegen.triton.gpu import gpu_of
from engineworks.core import dtypes
from engineworks.engine.library_calls import AttentionCall, ConvolutionCall, GraphCall, Tensor, value
from engineworks.errors import NoTactic
from engineworks.ir.scalar import argument
from engineworks.kernels.cuda import attention_cudnn, conv_cudnn
from engineworks.kernels.tactic import KernelImage
from engineworks.ops.attention import Attention
from engineworks.ops.conv import Conv
from tests.unit.kernels.cuda import attention_library_cases
from tests.unit.kernels.cuda.conv_library_cases import CASES, PIXELS, SAME, last
from tests.unit.kernels.cuda.library_case import Case, on_host, tensor

GPU = gpu_of("sm_90")
(CONV,), (ATTENTION,) = conv_cudnn.PROVIDERS, attention_cudnn.PROVIDERS


def image_of(case: Case) -> KernelImage:
    provider = CONV if isinstance(case.op, Conv) else ATTENTION
    best, *_ = provider.propose(case.work, GPU, 1)
    return provider.build(case.work, best, GPU)


def memory(t: Tensor, words: Sequence[int], address: int) -> np.ndarray:
    """The logical array of a tensor."""
    dtype = dtypes.by_name(t.dtype).numpy
    dims, strides = ([value(s, words) for s in row] for row in (t.dims, t.strides))
    reach = 1 + sum((d - 1) * s for d, s in zip(dims, strides, strict=True))
    raw = np.ctypeslib.as_array((ctypes.c_uint8 * (reach * dtype.itemsize)).from_address(address))
    return np.lib.stride_tricks.as_strided(raw.view(dtype), dims, [s * dtype.itemsize for s in strides])


def computed(call: GraphCall, words: Sequence[int]) -> None:
    """The call as engine/library_calls.py defines it."""
    if isinstance(call, ConvolutionCall):
        convolved(call, words)
    else:
        attended(call, words)


def attended(call: AttentionCall, words: Sequence[int]) -> None:
    q, k, y, v = (memory(t, words, words[n]) for t, n in ((call.q, 0), (call.k, 1), (call.y, 2), (call.v, 4)))
    k, v = (np.repeat(t.astype(np.float64), q.shape[1] // t.shape[1], axis=1) for t in (k, v))
    scores = call.scale * (q.astype(np.float64) @ k.swapaxes(2, 3))
    if call.mask is not None:
        scores += memory(call.mask, words, words[5])
    if call.causal:
        scores[:, :, np.triu(np.ones(scores.shape[2:], bool), 1)] = -np.inf
    weights = np.exp(scores - scores.max(axis=3, keepdims=True))
    y[...] = weights @ v / weights.sum(axis=3, keepdims=True)


def convolved(call: ConvolutionCall, words: Sequence[int]) -> None:
    addresses = iter(words[4:])
    x, w, y = (memory(t, words, a) for t, a in zip((call.x, call.w, call.y), words, strict=False))
    before, after = ([value(s, words) for s in row] for row in (call.pads_before, call.pads_after))
    padded = np.pad(x.astype(np.float64), [(0, 0), (0, 0), *zip(before, after, strict=True)])
    groups, total = x.shape[1] // w.shape[1], np.zeros(y.shape)
    for tap in itertools.product(*(range(k) for k in w.shape[2:])):
        under = padded[
            (slice(None), slice(None), *(
                slice(p * d, p * d + (o - 1) * s + 1, s)
                for p, d, o, s in zip(tap, call.dilations, y.shape[2:], call.strides, strict=True)
            ))
        ]  # fmt: skip
        for g in range(groups):
            own = slice(g * w.shape[0] // groups, (g + 1) * w.shape[0] // groups)
            read = slice(g * w.shape[1], (g + 1) * w.shape[1])
            filters = w[(own, slice(None), *tap)].astype(np.float64)
            total[:, own] += np.einsum("oc,nc...->no...", filters, under[:, read])
    if call.bias:
        dtype = dtypes.by_name(call.y.dtype).numpy
        raw = (ctypes.c_uint8 * (y.shape[1] * dtype.itemsize)).from_address(next(addresses))
        bias = np.ctypeslib.as_array(raw).view(dtype).astype(np.float64)
        total += bias.reshape(1, -1, *(1 for _ in call.strides))
    if call.residual:
        total += memory(call.y, words, next(addresses))
    y[...] = np.maximum(total, 0) if call.relu else total


@pytest.mark.parametrize("case", [*CASES, *PIXELS, *attention_library_cases.CASES], ids=lambda c: c.name)
def test_the_call_computes_the_workload(case: Case) -> None:
    result = on_host(case, image_of(case), lambda t, w: computed(json.decode(t, type=GraphCall), w))
    case.check(result, case.arrays())


def test_f32_is_rounded_only_where_it_may_be() -> None:
    calls = {
        case.name: json.decode(call.parameters, type=ConvolutionCall)
        for case in CASES
        for call in image_of(case).functions.values()
    }
    assert not calls["f32"].rounds
    assert calls["tf32"].rounds
    assert calls["bf16"].rounds


IMAGE, FILTERS = last("f16", 2, 16, 9, 9), tensor("f16", 24, 16, 3, 3)
SUM = argument(0, dtypes.f16)
REFUSED = {
    "channels outside": Case("", SAME, [tensor("f16", 2, 16, 9, 9), FILTERS], last("f16", 2, 24, 9, 9),
                             np.add, constants=(1,)),
    "filters that vary": Case("", SAME, [IMAGE, FILTERS], last("f16", 2, 24, 9, 9), np.add),
    "f64": Case("", SAME, [last("f64", 2, 16, 9, 9), tensor("f64", 24, 16, 3, 3)], last("f64", 2, 24, 9, 9), np.add,
                constants=(1,)),
    "f16 into f32": Case("", Conv(pads=(1, 1, 1, 1), out_dtype=dtypes.f32), [IMAGE, FILTERS],
                         last("f32", 2, 24, 9, 9), np.add, constants=(1,)),
    "scaled": Case("", SAME, [IMAGE, FILTERS], last("f16", 2, 24, 9, 9), np.add, SUM * 0.5, constants=(1,)),
    "two biases": Case("", SAME, [IMAGE, FILTERS, tensor("f16", 24), tensor("f16", 24)], last("f16", 2, 24, 9, 9),
                       np.add, SUM + argument(1, dtypes.f16), ("channel",), constants=(1, 2, 3)),
}  # fmt: skip


HEADS = [tensor("f16", 2, 4, 16, 64)] * 3
UNSEEN = {
    "f32": ([tensor("f32", 2, 4, 16, 64)] * 3, Attention(scale=1.0)),
    "heads of 36": ([tensor("f16", 2, 4, 16, 36)] * 3, Attention(scale=1.0)),
    "a past": (HEADS, Attention(scale=1.0, causal=True, past=3)),
    "columns apart": ([tensor("f16", 2, 4, 16, 64, order=(0, 1, 3, 2))] * 3, Attention(scale=1.0)),
    "a mask of one column": ([*HEADS, tensor("f16", 16, 1)], Attention(scale=1.0)),
}


@pytest.mark.parametrize("why", UNSEEN)
def test_attention_that_the_library_cannot_do_is_refused(why: str) -> None:
    inputs, op = UNSEEN[why]
    with pytest.raises(NoTactic):
        ATTENTION.propose(Case(why, op, inputs, inputs[0], np.add).work, GPU, 3)


@pytest.mark.parametrize("why", REFUSED)
def test_what_the_library_cannot_do_is_refused(why: str) -> None:
    with pytest.raises(NoTactic):
        CONV.propose(REFUSED[why].work, GPU, 3)
