"""Measures the kernels of single layers on this machine's GPU: all candidates, with torch's own beside them.

    python -m benchmarks.gpu_kernels --set bert1,bert32,resnet1,resnet32,vit1,vit32,unet1 --effort 3
    python -m benchmarks.gpu_kernels --set resnet1 --only 3x3 --effort 5 --show 30
    python -m benchmarks.gpu_kernels --set bert1 --dry-run         # builds for sm_90 without a GPU, times nothing

All layers asked for are one network for the builder, so that everything is compiled at once on all cores, and measured
as in any build (tuner/gpu_trials.py). Torch's kernels (cuBLAS, cuDNN, its own) run in one CUDA graph over copies of the
layer, as many as the level-2 cache cannot hold.
"""

from __future__ import annotations

import argparse
import copy
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

COLD_BYTES = 80 << 20
MOST_COPIES = 64


@dataclass(frozen=True, slots=True)
class Case:
    """One layer with what is usually fused behind it.

    Attributes:
        floor_s: the larger of what its operations and its bytes take at the ceilings of `gpu.py`.
    """

    label: str
    module: nn.Module
    inputs: tuple[Tensor, ...]
    flops: float
    bytes_moved: float


class Product(nn.Module):
    """A linear layer with bias, then an activation or the addition of a second input."""

    def __init__(self, k: int, n: int, end: str) -> None:
        super().__init__()
        self.linear, self.end = nn.Linear(k, n), end

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        y = self.linear(x)
        return F.gelu(y) if self.end == "gelu" else y if other is None else y + other


class Convolution(nn.Module):
    """A convolution with bias, then ReLU, behind the addition of a second input where there is one; [N, H, W, C]."""

    def __init__(self, c: int, k: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c, k, kernel, stride, kernel // 2)

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        y = self.conv(x.permute(0, 3, 1, 2))
        return F.relu(y if other is None else y + other.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Attention(nn.Module):
    """Heads out of one product [B, S, 3 · heads · width], and back to [B, S, heads · width]."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, qkv: Tensor) -> Tensor:
        batch, count, _ = qkv.shape
        q, k, v = qkv.view(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, count, -1)


class Norm(nn.Module):
    """Layer normalisation of a sum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        return self.norm(x + other)


def _product(batch: int, rows: int, k: int, n: int, end: str = "") -> Case:
    inputs = [torch.randn(batch, rows, k)] + [torch.randn(batch, rows, n)] * (end == "residual")
    count = batch * rows
    moved = 2.0 * (count * k + k * n + count * n * len(inputs))
    return Case(
        f"matmul {count}x{n}x{k} {end}".strip(), Product(k, n, end), tuple(inputs), 2.0 * count * n * k, moved
    )


def _conv(
    batch: int, size: int, c: int, k: int, kernel: int, stride: int = 1, residual: bool = False
) -> Case:
    out = -(-size // stride)
    inputs = [torch.randn(batch, size, size, c)] + [torch.randn(batch, out, out, k)] * residual
    label = f"conv {kernel}x{kernel}/{stride} {batch}x{size}x{size} {c}->{k}{' residual' if residual else ''}"
    weights = c * k * kernel**2
    moved = 2.0 * (batch * (size**2 * c + out**2 * k * len(inputs)) + weights)
    return Case(
        label, Convolution(c, k, kernel, stride), tuple(inputs), 2.0 * batch * out**2 * weights, moved
    )


def _attention(batch: int, count: int, heads: int, width: int) -> Case:
    flops, moved = 4.0 * batch * heads * count**2 * width, 8.0 * batch * count * heads * width
    qkv = torch.randn(batch, count, 3 * heads * width)
    return Case(f"attention {batch}x{heads}x{count}x{width}", Attention(heads), (qkv,), flops, moved)


def _norm(batch: int, rows: int, width: int) -> Case:
    inputs = (torch.randn(batch, rows, width), torch.randn(batch, rows, width))
    return Case(f"norm {batch * rows}x{width}", Norm(width), inputs, 0.0, 6.0 * batch * rows * width)


def _transformer(batch: int, rows: int, width: int) -> Iterator[Case]:
    yield _product(batch, rows, width, 3 * width)
    yield _attention(batch, rows, width // 64, 64)
    yield _product(batch, rows, width, width, "residual")
    yield _product(batch, rows, width, 4 * width, "gelu")
    yield _product(batch, rows, 4 * width, width, "residual")
    yield _norm(batch, rows, width)


def _resnet(batch: int) -> Iterator[Case]:
    yield _conv(batch, 224, 3, 64, 7, 2)
    for size, c, k in ((56, 64, 256), (28, 128, 512), (14, 256, 1024), (7, 512, 2048)):
        yield _conv(batch, size, k, c, 1)
        yield _conv(batch, size, c, c, 3)
        yield _conv(batch, size, c, k, 1, residual=True)
        if size > 7:
            yield _conv(batch, size, 2 * c, 2 * c, 3, 2)
            yield _conv(batch, size, k, 2 * k, 1, 2)
    yield _product(1, batch, 2048, 1000)


def _vit(batch: int) -> Iterator[Case]:
    yield from _transformer(batch, 197, 768)
    yield Case(f"patches {batch}", nn.Conv2d(3, 768, 16, 16), (torch.randn(batch, 3, 224, 224),),
               2.0 * batch * 196 * 768 * 768, 2.0 * (batch * (224**2 * 3 + 196 * 768) + 768**2))  # fmt: skip


def _unet(batch: int) -> Iterator[Case]:
    for size, c, k in (
        (64, 128, 128),
        (64, 256, 128),
        (32, 256, 256),
        (32, 512, 256),
        (16, 256, 256),
        (8, 256, 256),
    ):
        yield _conv(batch, size, c, k, 3)
    yield _attention(batch, 256, 4, 64)


SETS: dict[str, Callable[[int], Iterator[Case]]] = {
    "bert": lambda batch: _transformer(batch, 128, 768), "vit": _vit, "resnet": _resnet, "unet": _unet,
}  # fmt: skip


class Together(nn.Module):
    """All cases as one network, each with inputs of its own."""

    def __init__(self, cases: Sequence[Case]) -> None:
        super().__init__()
        self.cases = nn.ModuleList(c.module for c in cases)
        self.counts = [len(c.inputs) for c in cases]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        left = iter(inputs)
        return tuple(
            case(*(next(left) for _ in range(count)))
            for case, count in zip(self.cases, self.counts, strict=True)
        )


def contests(
    cases: Sequence[Case], target: str, effort: int, timing_cache: str
) -> list[list[dict[str, Any]]]:
    """For each case the groups of the build report that compute it."""
    from engineworks.builder.build import build_engine
    from engineworks.builder.config import BuildConfig
    from engineworks.frontends.torch_export.export import export_module

    module = Together(cases).half().eval().requires_grad_(False)
    inputs = tuple(t.half() for c in cases for t in c.inputs)
    program = export_module(module, inputs, None, dynamic_shapes=None, profile=None)
    config = BuildConfig(
        target=target, effort=effort, timing_cache=Path(timing_cache) if timing_cache else None
    )
    report = json.loads(build_engine(program, config).sections["report"])
    for sentence in report.get("warnings", []):
        print(f"warning: {sentence}")
    found: list[list[dict[str, Any]]] = [[] for _ in cases]
    for group in report["groups"]:
        owner = re.match(r"cases\.(\d+)", group["origin"][0]) if group["origin"] else None
        if owner and group.get("tactic"):
            found[int(owner[1])].append(group)
    return found


def torch_s(case: Case) -> float:
    """Seconds of the layer in torch, in one CUDA graph over copies with weights of their own."""
    size = sum(p.numel() * 2 for p in case.module.parameters())
    copies = [
        copy.deepcopy(case.module).half().cuda()
        for _ in range(max(4, min(MOST_COPIES, COLD_BYTES // max(size, 1))))
    ]
    inputs = [t.half().cuda() for t in case.inputs]
    if any(t.dim() == 4 for t in inputs):
        copies = [m.to(memory_format=torch.channels_last) for m in copies]
    for module in copies:
        module(*inputs)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for module in copies:
            module(*inputs)
    times = []
    for _ in range(8):
        first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        first.record()
        graph.replay()
        last.record()
        torch.cuda.synchronize()
        times.append(1e-3 * first.elapsed_time(last) / len(copies))
    return min(times)


def _print(case: Case, groups: Sequence[dict[str, Any]], theirs_s: float | None, show: int) -> None:
    from engineworks.codegen.triton.gpu import gpu_of

    gpu = gpu_of("sm_90")
    floor = max(case.flops / gpu.half_flops, case.bytes_moved / gpu.bytes_per_s)
    ours = sum(g.get("measured_s") or g["predicted_s"] for g in groups)
    torch_text = f"torch {theirs_s * 1e6:.1f} us, {theirs_s / ours:.2f}x ours, " if theirs_s and ours else ""
    print(f"\n## {case.label}: ours {ours * 1e6:.1f} us in {len(groups)} groups, {torch_text}"
          f"floor {floor * 1e6:.1f} us ({floor / ours if ours else 0:.0%}), "
          f"{case.flops / ours / 1e12 if ours else 0:.0f} TFLOP/s")  # fmt: skip
    for group in groups:
        print(f"   {'+'.join(o.partition('(')[0] for o in group['ops'])} -> {', '.join(group['outputs'])}")
        alternatives = group.get("alternatives") or [group]
        for a in sorted(alternatives, key=lambda a: a.get("measured_s") or 1.0)[:show]:
            measured = f"{a['measured_s'] * 1e6:8.2f}" if a.get("measured_s") else "       -"
            print(f"     {measured} us (predicted {a['predicted_s'] * 1e6:7.2f})  {a['tactic'][:150]}")
        for a in [a for a in alternatives if a.get("rejected")][:show]:
            print(f"     rejected: {a['tactic'][:100]}: {a['rejected'][:300]}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--set", default="bert1,bert32,resnet1,resnet32,vit32", help=f"of {', '.join(SETS)}, and a batch size"
    )
    parser.add_argument("--only", default="", help="cases whose label has this text")
    parser.add_argument("--effort", type=int, default=3)
    parser.add_argument("--timing-cache", default="")
    parser.add_argument("--show", type=int, default=6, help="candidates shown of each kernel")
    parser.add_argument("--no-torch", action="store_true")
    parser.add_argument("--dry-run", action="store_true")
    given = parser.parse_args()
    cases: list[Case] = []
    for text in given.set.split(","):
        name = text.rstrip("0123456789")
        cases += [c for c in SETS[name](int(text[len(name) :] or 1)) if given.only in c.label]
    torch.set_grad_enabled(False)
    target, effort = ("cuda:sm_90", 0) if given.dry_run else ("cuda", given.effort)
    found = contests(cases, target, effort, given.timing_cache)
    for case, groups in zip(cases, found, strict=True):
        theirs = None if given.dry_run or given.no_torch else torch_s(case)
        _print(case, groups, theirs, given.show)


if __name__ == "__main__":
    main()
