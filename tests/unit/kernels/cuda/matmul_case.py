"""Products with random operands, computed by kernels in the interpreter and by numpy in float64."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engineworks.codegen.triton.gpu import Gpu
from engineworks.core import dtypes
from engineworks.core.dims import Dim, evaluate
from engineworks.core.dtypes import DType
from engineworks.core.types import Layout, TensorType
from engineworks.ir.scalar import apply, argument, cast, const
from engineworks.kernels.tactic import Tactic, TacticProvider
from engineworks.kernels.workload import Epilogue, Operand, Workload
from engineworks.ops.matmul import MatMul
from engineworks.testing.gpu_kernels import interpret_image

TOLERANCES = {"f64": 1e-13, "f32": 2e-6, "f16": 2e-3, "bf16": 1e-2, "f8e4m3": 7e-2, "f8e5m2": 0.15}
"""Of a result, relative to Σ |a| |b|."""


def tensor(dtype: DType, *shape: Dim, order: tuple[int, ...] | None = None, pad: int = 0) -> TensorType:
    """A type, lying in the order given."""
    type_ = TensorType(dtype, shape)
    return (
        type_
        if order is None and not pad
        else type_.with_layout(Layout(order or tuple(range(len(shape))), pad))
    )


def product(
    a: TensorType,
    b: TensorType,
    *,
    constant: bool = False,
    out_dtype: DType | None = None,
    out_order: tuple[int, ...] | None = None,
) -> Workload:
    """A product without work behind it."""
    op = MatMul(out_dtype=out_dtype)
    (out,) = op.infer(a, b)
    if out_order:
        out = out.with_layout(Layout(out_order))
    return Workload(op, (Operand(a), Operand(b, constant)), 2, (out,))


def finished(work: Workload, *, constant: bool = True) -> Workload:
    """max((product + bias) * scale + residual, 0), with a bias along the output's innermost axis."""
    out = work.outputs[0]
    inner = out.layout.order[-1] if out.layout else out.rank - 1
    acc, bias, residual, scale = (argument(k, out.dtype) for k in range(4))
    wide = dtypes.f32 if out.dtype.is_float else out.dtype
    value = (cast(acc, wide) + cast(bias, wide)) * cast(scale, wide) + cast(residual, wide)
    expression = cast(apply("max", value, const(0, wide)), out.dtype)
    extra = (
        Operand(TensorType(out.dtype, (out.shape[inner],)), constant),
        Operand(out),
        Operand(TensorType(out.dtype, ())),
    )
    epilogue = Epilogue(expression, ("channel", "full", "scalar"))
    return Workload(work.anchor, (*work.inputs, *extra), 2, work.outputs, epilogue)


def arrays_of(work: Workload, **dims: int) -> list[np.ndarray]:
    """Random operands, exact in their dtype."""
    rng = np.random.default_rng(0)
    made = []
    for operand in work.inputs:
        assert operand is not None
        shape, dtype = [evaluate(d, dims) for d in operand.type.shape], operand.type.dtype
        if dtype.is_float:
            made.append(np.asarray(rng.uniform(-1, 1, shape)).astype(dtype.numpy))
            continue
        low = 0 if dtype.kind == "uint" else -100
        made.append(
            np.asarray(rng.integers(low, 120 if dtype.bits == 8 else 1000, shape)).astype(dtype.numpy)
        )
    return made


def expected(work: Workload, arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(the result in float64 or exact integers, Σ |a| |b| with what is added)."""
    wide = [a.astype(np.float64 if a.dtype.kind not in "iu" else np.int64) for a in arrays]
    total, scale = np.matmul(wide[0], wide[1]), np.matmul(np.abs(wide[0]), np.abs(wide[1]))
    if work.epilogue is None:
        return total, scale
    out = work.outputs[0]
    bias, residual, factor = wide[2:]
    inner = out.layout.order[-1] if out.layout else out.rank - 1
    bias = bias.reshape([-1 if axis == inner else 1 for axis in range(out.rank)])
    size = (scale + np.abs(bias)) * np.abs(factor) + np.abs(residual)
    return np.maximum((total + bias) * factor + residual, 0), size


def check(work: Workload, provider: TacticProvider, tactics: Sequence[Tactic], gpu: Gpu, **dims: int) -> None:
    """Every tactic's result is the reference's."""
    arrays = arrays_of(work, **dims)
    want, scale = expected(work, arrays)
    out = work.outputs[0].dtype
    for tactic in tactics:
        given = [(x, o.type) for x, o in zip(arrays, work.inputs, strict=True) if o is not None]
        (got,) = interpret_image(provider.build(work, tactic, gpu), given, work.outputs, dims)
        if not out.is_float:
            np.testing.assert_array_equal(got, want.astype(out.numpy), err_msg=tactic.text())
            continue
        tolerance = TOLERANCES[out.name]
        if "tf32'" in tactic.text():
            tolerance = max(tolerance, 1e-3)
        wrong = np.abs(got.astype(np.float64) - want) > tolerance * scale + 1e-30
        assert not wrong.any() and not np.isnan(got.astype(np.float64)).any(), (
            f"{tactic.text()}: {wrong.sum()} of {wrong.size} are wrong, first at {np.argwhere(wrong)[:1]}"
        )
