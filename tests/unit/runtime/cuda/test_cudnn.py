"""Graphs and plans that cuDNN makes for a described GPU, without having one."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from msgspec import json as calls
from msgspec import structs

from engineworks.codegen.triton.gpu import gpu_of
from engineworks.engine.library_calls import ConvolutionCall, GraphCall, with_version
from engineworks.errors import CorruptEngine, DeviceError, EngineMismatch
from engineworks.kernels.cuda import attention_cudnn, conv_cudnn
from engineworks.ops.conv import Conv
from engineworks.runtime.cuda import cudnn, libraries
from engineworks.runtime.cuda.cudnn_backend import Descriptor, descriptor, library
from engineworks.runtime.cuda.cudnn_graph import graph_of
from engineworks.runtime.cuda.cudnn_plan import plan_from, plan_of, proposals
from tests.unit.kernels.cuda import attention_library_cases
from tests.unit.kernels.cuda.conv_library_cases import CASES
from tests.unit.kernels.cuda.library_case import Case, on_host

H200 = {
    "maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64], "regsPerBlock": 65536,
    "multiProcessorCount": 132, "smCountOrigin": 0, "warpSize": 32, "maxSharedMemoryPerBlock": 49152,
    "maxSharedMemoryPerBlockOptin": 232448, "oversizedSharedMemoryPerBlock": 0, "reservedSharedMemoryPerBlock": 1024,
    "maxRegistersPerSM": 65536, "maxCtasPerSM": 32, "maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048,
    "pciDeviceId": 0, "isTccDriver": 0, "supportCoopLaunch": 1, "smClockRateKHz": 1980000, "memClockRateKHz": 3201000,
    "memoryBusWidth": 6144, "l2CacheSize": 62914560, "deviceVer": 900, "driverVer": 13000, "cudaDeviceId": 0,
    "totalGlobalMem": 150000000000, "deviceName": "NVIDIA H200",
}  # fmt: skip
"""As cuDNN 9.28 describes a GPU."""


@pytest.fixture(scope="module")
def gpu() -> Descriptor:
    try:
        library()
        return descriptor("device").set_text("json", json.dumps(H200)).finish()
    except (EngineMismatch, DeviceError) as why:
        pytest.skip(f"cuDNN is not installed, or describes GPUs in another way: {why}")


def call_of(case: Case) -> tuple[GraphCall, list[int]]:
    """A case's call, and words with the sizes that it has."""
    (provider,) = conv_cudnn.PROVIDERS if isinstance(case.op, Conv) else attention_cudnn.PROVIDERS
    (tactic,) = provider.propose(case.work, gpu_of("sm_90"), 1)
    found: list[tuple[GraphCall, list[int]]] = []

    def keep(text: str, words: Sequence[int]) -> None:
        found.append((calls.decode(text, type=GraphCall), list(words)))

    on_host(case, provider.build(case.work, tactic, gpu_of("sm_90")), keep)
    return found[0]


@pytest.mark.parametrize("case", [*CASES, *attention_library_cases.CASES], ids=lambda c: c.name)
def test_cudnn_has_a_plan_for_the_case(case: Case, gpu: Descriptor) -> None:
    call, words = call_of(case)
    exact = isinstance(call, ConvolutionCall) and not call.rounds
    graph = graph_of(call, words, gpu)
    plan = plan_of(graph, gpu, heuristic=2, exact=exact, workspace_bytes=call.workspace_bytes)
    (needed,) = plan.get("workspace", "integer", 1)
    assert 0 <= needed <= call.workspace_bytes
    again = plan_from(plan.text("json"), gpu)
    assert again.get("workspace", "integer", 1) == [needed]


def test_engines_that_round_f32_are_left_out_where_it_must_be_exact(gpu: Descriptor) -> None:
    call, words = call_of(next(c for c in CASES if c.name == "f32"))
    graph = graph_of(call, words, gpu)
    assert 0 < len(proposals(graph, gpu, exact=True)) < len(proposals(graph, gpu, exact=False))


def test_what_no_engine_computes_is_refused_with_the_reason(gpu: Descriptor) -> None:
    call, words = call_of(CASES[0])
    graph = graph_of(call, words, gpu)
    with pytest.raises(DeviceError, match="wants [0-9,]+ bytes of workspace; there are -1"):
        plan_of(graph, gpu, heuristic=0, exact=False, workspace_bytes=-1)


def test_a_plan_without_its_version_is_damage(gpu: Descriptor) -> None:
    call, _ = call_of(CASES[0])
    with pytest.raises(CorruptEngine, match="does not say of which version"):
        cudnn.prepare(calls.encode(structs.replace(call, plan="{}")).decode(), 0)


def test_another_version_of_the_library_is_refused(gpu: Descriptor) -> None:
    call, _ = call_of(CASES[0])
    text = with_version(calls.encode(call).decode(), "1")
    with pytest.raises(EngineMismatch, match=f"tuned with cudnn 1; here is {cudnn.version()}"):
        libraries.require("cudnn", text)


def test_a_call_that_is_none_is_damage() -> None:
    with pytest.raises(CorruptEngine, match="cannot be read"):
        cudnn.prepare('{"x": 1}', 0)
