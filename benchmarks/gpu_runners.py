"""The same network in Engineworks and in torch's ways, ready to be called, each with what its setting up took."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu_networks import Network, network

PEERS = ("eager", "graph", "compile", "max-autotune")
"""Eager torch, its kernels in one CUDA graph, and torch.compile's modes reduce-overhead and max-autotune."""
PROFILED = 20
"""Inferences that kernels are timed over."""
TYPINGS = ("strong", "weak")
"""'strong' builds from the module in f16, 'weak' from the one in f32 with f16 allowed."""


@dataclass(slots=True)
class Runner:
    """One way to run a network.

    Attributes:
        call: enqueues one inference on fixed inputs in torch's current stream, and gives its output.
        facts: what its setting up took, and what it holds; numbers, by name.
    """

    call: Callable[[], Tensor]
    facts: dict[str, float] = field(default_factory=dict)
    layers: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Row:
    """One network at one batch size, as a process is asked for it."""

    name: str
    batch: int
    typing: str = "strong"
    effort: int = 3
    small: bool = False
    layers: bool = False
    target: str = "cuda"
    timing_cache: str = ""

    @property
    def label(self) -> str:
        return f"{self.name}:{self.batch}"


def expected(given: Network) -> Tensor:
    """The output in f64 on the GPU, of the weights and inputs that f16 holds."""
    with torch.no_grad():
        module = given.module.half().double().cuda()
        inputs = [_as(_as(t, torch.float16), torch.float64).cuda() for t in given.inputs.values()]
        return module(*inputs)


def error_of(made: Tensor, wanted: Tensor) -> float:
    """The largest difference in parts of the largest value; infinite where one is not finite."""
    difference = float((made.double() - wanted).abs().max() / wanted.abs().max())
    return difference if difference == difference else float("inf")


def _as(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def engine_bytes(row: Row) -> tuple[bytes, float, float]:
    """Our engine as a file, the seconds that building it took, and those of torch.export before that."""
    from engineworks.builder.build import build_bytes
    from engineworks.builder.config import BuildConfig
    from engineworks.frontends.torch_export.export import export_module

    given = network(row.name, row.batch, small=row.small)
    module, dtype = given.module, torch.float32
    if row.typing == "strong":
        module, dtype = module.half(), torch.float16
    else:
        module = module.half().float()  # the weights that the peers have
    example = tuple(_as(t, dtype) for t in given.inputs.values())
    started = time.perf_counter()
    program = export_module(module, example, None, dynamic_shapes=None, profile=None)
    exported = time.perf_counter()
    config = BuildConfig(
        target=row.target, effort=row.effort, precision="fp32" if row.typing == "strong" else "fp16",
        keep_io_types=row.typing == "strong", timing_cache=Path(row.timing_cache) if row.timing_cache else None,
        name=row.label,
    )  # fmt: skip
    file = build_bytes(program, config)
    return file, time.perf_counter() - exported, exported - started


def ours(row: Row) -> Runner:
    """Built twice: with what caches there are, and again with all of them warm."""
    from engineworks.runtime.engine import Engine

    file, first_s, export_s = engine_bytes(row)
    file, again_s, _ = engine_bytes(row)
    started = time.perf_counter()
    engine = Engine.open(file)
    context = engine.context()
    load_s = time.perf_counter() - started
    given = network(row.name, row.batch, small=row.small).inputs
    dtypes = {t.name: t.dtype for t in engine.inputs}
    inputs = {
        t.name: (tensor.half() if dtypes[t.name] == "f16" else tensor).cuda()
        for t, tensor in zip(engine.inputs, given.values(), strict=True)
    }
    context.bind(**inputs)
    made = context.execute()
    out = torch.as_tensor(next(iter(made.values())), device="cuda")
    manifest = engine.manifest
    facts = {
        "export_s": export_s, "build_s": first_s, "rebuild_s": again_s, "load_s": load_s,
        "file_bytes": float(len(file)), "arena_bytes": float(manifest.arena_bytes),
        "weights_bytes": float(sum(s.size for s in manifest.sections if s.name == "weights")),
        "launches": float(sum(r.op == "call" for r in manifest.program)),
    }  # fmt: skip

    def call() -> Tensor:
        context.execute()
        return out

    runner = Runner(call, facts)
    if row.layers:
        runner.layers = _layers(engine, inputs)
    return runner


def _layers(engine: Any, inputs: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    """Groups of launches, slowest first, with the share of the roofline of each."""
    from engineworks.builder.layer_times import layer_times
    from engineworks.codegen.triton.gpu import gpu_of

    gpu = gpu_of(engine.manifest.target.arch)
    times = engine.context().profile(PROFILED, **inputs)
    launches = [(t.group, t.tactic, t.duration_s / PROFILED) for t in times]
    return [
        asdict(layer) | {"of_roofline": layer.of_roofline(gpu)}
        for layer in layer_times(json.loads(engine.report), launches)
    ]


def peer(kind: str, row: Row) -> Runner:
    """One of `PEERS`; everything until its first results counts as setting up."""
    given = network(row.name, row.batch, small=row.small)
    module = given.module.half().cuda()
    inputs = [_as(t, torch.float16).cuda() for t in given.inputs.values()]
    if given.channels_last:
        module = module.to(memory_format=torch.channels_last)
        inputs = [t.to(memory_format=torch.channels_last) if t.dim() == 4 else t for t in inputs]
    started = time.perf_counter()
    call = _PEERS[kind](module, inputs)
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    return Runner(call, {"build_s": time.perf_counter() - started})


def _eager(module: torch.nn.Module, inputs: list[Tensor]) -> Callable[[], Tensor]:
    return lambda: module(*inputs)


def _graph(module: torch.nn.Module, inputs: list[Tensor]) -> Callable[[], Tensor]:
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            module(*inputs)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = module(*inputs)

    def call() -> Tensor:
        graph.replay()
        return out

    return call


def _compiled(mode: str) -> Callable[[torch.nn.Module, list[Tensor]], Callable[[], Tensor]]:
    def make(module: torch.nn.Module, inputs: list[Tensor]) -> Callable[[], Tensor]:
        compiled = torch.compile(module, mode=mode)
        return lambda: compiled(*inputs)

    return make


_PEERS: Mapping[str, Callable[[torch.nn.Module, list[Tensor]], Callable[[], Tensor]]] = {
    "eager": _eager, "graph": _graph, "compile": _compiled("reduce-overhead"),
    "max-autotune": _compiled("max-autotune"),
}  # fmt: skip
