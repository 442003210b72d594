"""Convolutions of a CUDA provider in Triton's interpreter, against torch in float64."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from engineworks.codegen.triton.gpu import Gpu, gpu_of
from engineworks.core import dtypes
from engineworks.core.dims import evaluate
from engineworks.core.dtypes import DType
from engineworks.core.types import Layout, TensorType
from engineworks.ir.op import Op
from engineworks.ir.scalar import apply, argument, cast, const
from engineworks.kernels.tactic import Tactic, TacticProvider
from engineworks.kernels.workload import Epilogue, Operand, Workload
from engineworks.testing.gpu_kernels import compile_image, interpret_image
from tests.unit.kernels.conv_case import Case, torch_conv

H200 = gpu_of("sm_90")
GPUS = (gpu_of("sm_80"), H200, gpu_of("sm_100"))
TOLERANCE = {"f64": 1e-12, "f32": 2e-5, "f16": 4e-3, "bf16": 3e-2, "i32": 0}


@dataclass(frozen=True)
class GpuCase:
    """One workload.

    Attributes:
        x, w: shapes; dtypes as (x, w, result). last: channels-last x and y, else row-major ones.
        ends: of 'bias', 'residual' (full), 'scale' (channel), 'relu'.
    """

    op: Op
    x: TensorType
    filters: tuple[int, ...]
    types: tuple[str, str, str | None] = ("f16", "f16", None)
    ends: tuple[str, ...] = ()
    constant: bool = True
    out_last: bool = True
    dims: dict[str, int] = field(default_factory=dict)

    def of(self, *types: str | None) -> GpuCase:
        """The same in other dtypes."""
        return replace(self, types=types)

    def workload(self) -> Workload:
        """The workload."""
        kind = TensorType(named(self.types[0]), self.x.shape).with_layout(self.x.layout)
        result = None if self.types[2] is None else named(self.types[2])
        op = replace(self.op, out_dtype=result)  # type: ignore[type-var]
        inputs = [kind, TensorType(named(self.types[1]), self.filters)]
        total = result or kind.dtype
        if "bias" in self.ends:
            channels = op.infer(*inputs)[0].shape[1]
            inputs.append(TensorType(total, (channels,)))
        (out,) = op.infer(*inputs)
        if self.out_last:
            out = out.with_layout(Layout((0, *range(2, out.rank), 1)))
        operands = [Operand(t, k > 0 and self.constant) for k, t in enumerate(inputs)]
        value, kinds = argument(0, total), []
        if "scale" in self.ends:
            kinds.append("channel")
            value = cast(cast(value, dtypes.f32) * argument(len(kinds), dtypes.f32), total)
            operands.append(Operand(TensorType(dtypes.f32, (out.shape[1],)), True))
        if "residual" in self.ends:
            kinds.append("full")
            value = value + argument(len(kinds), total)
            operands.append(Operand(out))
        if "relu" in self.ends:
            value = apply("max", value, const(0, total))
        epilogue = Epilogue(value, tuple(kinds)) if set(self.ends) - {"bias"} else None
        return Workload(op, tuple(operands), len(inputs), (out,), epilogue)


def named(dtype: str) -> DType:
    """By name."""
    return dtypes.by_name(dtype)


def drawn(work: Workload, dims: dict[str, int]) -> list[np.ndarray]:
    """Unit-variance inputs and outputs; whole range of bytes."""
    rng = np.random.default_rng(5)
    made = []
    for k, operand in enumerate(work.inputs):
        assert operand is not None
        shape, dtype = [evaluate(d, dims) for d in operand.type.shape], operand.type.dtype
        if dtype.is_integer:
            limits = np.iinfo(np.int16 if dtype.bits > 8 else dtype.numpy)
            made.append(rng.integers(limits.min, limits.max, shape, endpoint=True).astype(dtype.numpy))
        else:
            scale = float(np.prod(shape[1:])) ** -0.5 if k == 1 else 1.0
            made.append((rng.standard_normal(shape) * scale).astype(dtype.numpy))
    return made


def expected(case: GpuCase, work: Workload, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """In float64 by torch."""
    count = work.anchor_inputs
    plain = Case(work.anchor, tuple(o.type for o in work.inputs[:count] if o is not None))  # type: ignore[arg-type]
    wide = [a.astype(np.float64) for a in arrays[:count]]
    # torch knows no padding that depends on sizes.
    sized = getattr(case.op, "auto_pad", "NOTSET") != "NOTSET"
    y = np.asarray(case.op.reference(*wide)) if sized else torch_conv(plain, wide)
    rest = list(arrays[count:])
    if "scale" in case.ends:
        y = y * rest.pop(0).astype(np.float64).reshape(-1, *[1] * (y.ndim - 2))
    if "residual" in case.ends:
        y = y + rest.pop(0).astype(np.float64)
    return np.maximum(y, 0) if "relu" in case.ends else y


def check(
    provider: TacticProvider,
    case: GpuCase,
    tactics: Iterable[Tactic] | None = None,
    *,
    effort: int = 0,
    gpu: Gpu = H200,
    compiled: bool = False,
) -> None:
    """Every tactic's numbers; `compiled`: it also compiles for every GPU."""
    work = case.workload()
    arrays = drawn(work, case.dims)
    wanted = expected(case, work, arrays)
    given = [(a, o.type) for a, o in zip(arrays, work.inputs, strict=True) if o is not None]
    tried = 0
    for tactic in provider.propose(work, gpu, effort) if tactics is None else tactics:
        tried += 1
        image = provider.build(work, tactic, gpu)
        (y,) = interpret_image(image, given, work.outputs, case.dims)
        loose = TOLERANCE[work.outputs[0].dtype.name]
        np.testing.assert_allclose(
            y.astype(np.float64), wanted, rtol=loose, atol=loose, err_msg=tactic.text()
        )
        if compiled:
            compile_image(image, *GPUS)
    assert tried, "no tactic was proposed"
