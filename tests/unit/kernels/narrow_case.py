"""Convolutions and depthwise ones of bf16, f16 and 8-bit integers, with the epilogues that precision puts behind them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from engineworks.codegen.llvm.function import Isa
from engineworks.core import dtypes
from engineworks.core.dims import evaluate
from engineworks.core.types import Layout, TensorType
from engineworks.ir.scalar import apply, argument, cast, const
from engineworks.kernels.tactic import Tactic, TacticProvider
from engineworks.kernels.workload import Epilogue, Operand, Workload
from engineworks.ops.conv import Conv
from engineworks.testing.kernels import run_image
from tests.unit.kernels.conv_case import last, rows


@dataclass(frozen=True)
class NarrowCase:
    """One convolution x * w: `quantised` scales, adds a residual, clips and narrows behind it, else sums are stored."""

    op: Conv
    x: TensorType
    filters: tuple[int, ...]
    types: tuple[str, str] = ("i8", "i8")
    quantised: bool = False
    bias: bool = False
    dims: dict[str, int] = field(default_factory=dict)

    def of(self, x: str, w: str) -> NarrowCase:
        """The same in other dtypes."""
        kind = TensorType(dtypes.by_name(x), self.x.shape).with_layout(self.x.layout)
        return replace(self, x=kind, types=(x, w))

    def workload(self) -> Workload:
        x, w = (dtypes.by_name(t) for t in self.types)
        total = dtypes.f32 if x.is_float else dtypes.i32
        op = replace(self.op, out_dtype=total)
        inputs = [self.x, rows(*self.filters, dtype=w.name)]
        if self.bias:
            inputs.append(rows(self.filters[0], dtype=total.name))
        (out,) = op.infer(*inputs)
        out = out.with_layout(Layout((0, *range(2, out.rank), 1)))
        operands = [Operand(t, k > 0) for k, t in enumerate(inputs)]
        if not self.quantised:
            return Workload(op, tuple(operands), len(inputs), (out,))
        stored = replace(out, dtype=x)
        scale, residual = argument(1, dtypes.f32), cast(argument(2, x), dtypes.f32)
        value = cast(argument(0, total), dtypes.f32) * scale + residual
        if not x.is_float:
            low, high = (const(float(v), dtypes.f32) for v in (np.iinfo(x.numpy).min, np.iinfo(x.numpy).max))
            value = apply("min", apply("max", apply("round_even", value), low), high)
        epilogue = Epilogue(cast(value, x), ("channel", "full"))
        operands += [Operand(rows(self.filters[0]), True), Operand(stored)]
        return Workload(op, tuple(operands), len(inputs), (stored,), epilogue)


def draw(case: NarrowCase, work: Workload) -> list[np.ndarray]:
    """Integers over their whole range, floats of unit variance; scales that make results fit."""
    rng = np.random.default_rng(11)
    depth = float(np.prod(case.filters[1:]))
    out = []
    for k, operand in enumerate(work.inputs):
        assert operand is not None
        shape, dtype = [evaluate(d, case.dims) for d in operand.type.shape], operand.type.dtype
        if dtype.is_float:
            unit = 0.01 / depth**0.5 if case.quantised and dtype is dtypes.f32 else 1.0
            out.append((rng.standard_normal(shape) * (depth**-0.5 if k == 1 else unit)).astype(dtype.numpy))
        else:
            limits = np.iinfo(np.int16 if dtype is dtypes.i32 else dtype.numpy)
            out.append(rng.integers(limits.min, limits.max, shape, endpoint=True).astype(dtype.numpy))
    return out


def expected(case: NarrowCase, arrays: list[np.ndarray]) -> np.ndarray:
    """In float64, which holds integer sums exactly; the quantised epilogue rounds as f32 does."""
    op, axes = case.op, len(case.filters) - 2
    tensors = [torch.from_numpy(a.astype(np.float64)) for a in arrays]
    pads = op.pads or (0,) * (2 * axes)
    around = [p for a in reversed(range(axes)) for p in (pads[a], pads[a + axes])]
    function = (torch.nn.functional.conv1d, torch.nn.functional.conv2d, torch.nn.functional.conv3d)[axes - 1]
    y = function(
        torch.nn.functional.pad(tensors[0], around), tensors[1], tensors[2] if case.bias else None,
        stride=op.strides or 1, dilation=op.dilations or 1, groups=op.groups,
    ).numpy()  # fmt: skip
    if not case.quantised:
        return y
    scale, residual = arrays[-2].reshape(-1, *[1] * axes), arrays[-1].astype(np.float32)
    value = y.astype(np.float32) * scale + residual
    if case.types[0] in ("i8", "u8"):
        limits = np.iinfo(arrays[0].dtype)
        return np.clip(np.rint(value), limits.min, limits.max)
    return value


def run(
    provider: TacticProvider, case: NarrowCase, isa: Isa, effort: int = 3
) -> Iterable[tuple[Tactic, np.ndarray, np.ndarray]]:
    """(tactic, result, expected) of every proposed tactic, each run with its tasks split in three."""
    work = case.workload()
    arrays = draw(case, work)
    wanted = expected(case, arrays)
    given = [(a, o.type) for a, o in zip(arrays, work.inputs, strict=True) if o is not None]
    for tactic in provider.propose(work, isa, effort):
        image = provider.build(work, tactic, isa)
        (y,) = run_image(image, given, work.outputs, isa, case.dims, split=3)
        yield tactic, y.astype(np.float64), wanted


def check(provider: TacticProvider, case: NarrowCase, isa: Isa, effort: int = 3) -> None:
    """Integer sums are exact; quantised results may differ by one where a fused multiply-add rounds otherwise."""
    tried = 0
    for tactic, y, wanted in run(provider, case, isa, effort):
        tried += 1
        text = f"{case.types} {tactic.text()}"
        if case.types[0] in ("i8", "u8"):
            distance = np.abs(y - wanted)
            assert distance.max(initial=0) <= (1 if case.quantised else 0), f"{text}: off by {distance.max()}"
            assert (distance > 0).mean() < 0.01, (
                f"{text}: {(distance > 0).mean():.1%} of the results are off by one"
            )
        else:
            loose = 2.0**-7 if case.quantised else 1e-4
            np.testing.assert_allclose(y, wanted, rtol=loose, atol=loose, err_msg=text)
    assert tried, "no tactic was proposed"


def narrow(*shape: int | str, dtype: str = "i8") -> TensorType:
    """A channels-last tensor of i8."""
    return last(*shape, dtype=dtype)
