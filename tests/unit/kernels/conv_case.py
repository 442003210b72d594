"""Convolution and pooling workloads, run through a provider's tactics and compared with torch in float64."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from engineworks.codegen.llvm.function import Isa
from engineworks.core import dtypes
from engineworks.core.dims import Dim, evaluate
from engineworks.core.types import Layout, TensorType
from engineworks.ir.op import Op
from engineworks.ir.scalar import Scalar, apply, argument, const
from engineworks.kernels.tactic import Tactic, TacticProvider
from engineworks.kernels.workload import Epilogue, Operand, Workload
from engineworks.testing.kernels import run_image


def rows(*shape: Dim, dtype: str = "f32") -> TensorType:
    """A row-major tensor."""
    return TensorType(dtypes.by_name(dtype), shape)


def last(*shape: Dim, pad: int = 0, dtype: str = "f32") -> TensorType:
    """A channels-last tensor."""
    return rows(*shape, dtype=dtype).with_layout(Layout((0, *range(2, len(shape)), 1), pad))


@dataclass(frozen=True)
class Case:
    """One workload: `residual` adds a full operand, `relu` clips, both behind the anchor."""

    op: Op
    inputs: tuple[TensorType, ...]
    residual: bool = False
    relu: bool = False
    constant: bool = True
    out_pad: int = 0
    out_last: bool = True
    dims: Mapping[str, int] = field(default_factory=dict)

    def workload(self) -> Workload:
        outputs = self.op.infer(*self.inputs)
        if self.out_last:
            layout = Layout((0, *range(2, outputs[0].rank), 1), self.out_pad)
            outputs = tuple(t.with_layout(layout) for t in outputs)
        operands = [Operand(t, self.constant and k > 0) for k, t in enumerate(self.inputs)]
        expression, kinds = self._epilogue(outputs[0])
        if self.residual:
            operands.append(Operand(outputs[0]))
        epilogue = Epilogue(expression, kinds) if self.residual or self.relu else None
        return Workload(self.op, tuple(operands), len(self.inputs), outputs, epilogue)

    def _epilogue(self, out: TensorType) -> tuple[Scalar, tuple[str, ...]]:
        value, kinds = argument(0, out.dtype), ()
        if self.residual:
            value, kinds = value + argument(1, out.dtype), ("full",)
        return (apply("max", value, const(0, out.dtype)) if self.relu else value), kinds


def draw(case: Case, work: Workload) -> list[np.ndarray]:
    """Unit-variance inputs; filters scaled so that outputs have unit variance too."""
    rng = np.random.default_rng(7)
    out = []
    for k, operand in enumerate(work.inputs):
        assert operand is not None
        shape = [evaluate(d, dict(case.dims)) for d in operand.type.shape]
        scale = np.prod(shape[1:]) ** -0.5 if k == 1 else 1.0
        out.append((rng.standard_normal(shape) * scale).astype(operand.type.dtype.numpy))
    return out


def run(
    provider: TacticProvider, case: Case, isa: Isa, tactics: Iterable[Tactic] | None = None, effort: int = 3
) -> Iterable[tuple[Tactic, list[np.ndarray], list[np.ndarray]]]:
    """(tactic, inputs, outputs) of every proposed tactic, each run with its tasks split in three."""
    work = case.workload()
    arrays = draw(case, work)
    given = [(a, o.type) for a, o in zip(arrays, work.inputs, strict=True) if o is not None]
    for tactic in provider.propose(work, isa, effort) if tactics is None else tactics:
        image = provider.build(work, tactic, isa)
        yield tactic, arrays, run_image(image, given, work.outputs, isa, case.dims, split=3)


def torch_conv(case: Case, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """The conv or conv_transpose with its epilogue in float64."""
    op, tensors = case.op, [torch.from_numpy(a.astype(np.float64)) for a in arrays]
    x, w = tensors[:2]
    bias = tensors[2] if len(case.inputs) > 2 else None
    axes = x.ndim - 2
    pads = op.pads or (0,) * (2 * axes)  # type: ignore[attr-defined]
    strides, dilations, groups = op.strides or 1, op.dilations or 1, op.groups  # type: ignore[attr-defined]
    if op.name == "conv":
        around = [p for a in reversed(range(axes)) for p in (pads[a], pads[a + axes])]
        function = (torch.nn.functional.conv1d, torch.nn.functional.conv2d, torch.nn.functional.conv3d)[
            axes - 1
        ]
        y = function(
            torch.nn.functional.pad(x, around), w, bias, stride=strides, dilation=dilations, groups=groups
        )
    else:
        function = (
            torch.nn.functional.conv_transpose1d,
            torch.nn.functional.conv_transpose2d,
            torch.nn.functional.conv_transpose3d,
        )[axes - 1]
        whole = function(x, w, bias, stride=strides, dilation=dilations, groups=groups)
        extra = op.output_padding or (0,) * axes  # type: ignore[attr-defined]
        grown = torch.nn.functional.pad(whole, [p for a in reversed(range(axes)) for p in (0, extra[a])])
        if bias is not None:  # what output_padding adds holds the bias
            plain = function(x, w, None, stride=strides, dilation=dilations, groups=groups)
            grown = torch.nn.functional.pad(plain, [p for a in reversed(range(axes)) for p in (0, extra[a])])
            grown = grown + bias.reshape(-1, *[1] * axes)
        y = grown[
            (
                slice(None),
                slice(None),
                *(slice(pads[a], grown.shape[2 + a] - pads[a + axes]) for a in range(axes)),
            )
        ]
    if case.residual:
        y = y + tensors[-1]
    return (y.relu() if case.relu else y).numpy()
