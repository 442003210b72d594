"""Workloads that libraries compute, with their results in float64, for any way of running images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import Dim, evaluate
from engineworks.core.types import Layout, TensorType
from engineworks.ir.group import OperandKind
from engineworks.ir.op import Op
from engineworks.ir.scalar import Scalar
from engineworks.kernels.tactic import Input, KernelImage, LibraryCall, Output, Packed, Size, Word, Workspace
from engineworks.kernels.workload import Epilogue, Operand, Workload
from engineworks.testing.kernels import from_memory, to_memory

Formula = Callable[..., np.ndarray]
TOLERANCE = {"f16": 4e-3, "bf16": 3e-2, "f32": 2e-5, "f64": 1e-12, "i32": 0.0}
"""Of the largest result, by the dtype that carries the fewest digits."""


def tensor(dtype: str, *shape: Dim, order: tuple[int, ...] = (), pad: int = 0) -> TensorType:
    """A tensor type; `order`: axes outermost in memory first."""
    plain = TensorType(dtypes.by_name(dtype), shape)
    return plain.with_layout(Layout(order or tuple(range(len(shape))), pad)) if order or pad else plain


@dataclass(frozen=True)
class Case:
    """One workload.

    Attributes:
        formula: the result in float64 of the inputs in float64.
        constants: inputs that are known at build.
        digits: of TOLERANCE; by default the narrowest dtype of all.
    """

    name: str
    op: Op
    inputs: Sequence[TensorType | None]
    out: TensorType
    formula: Formula
    expression: Scalar | None = None
    kinds: tuple[OperandKind, ...] = ()
    constants: tuple[int, ...] = ()
    dims: Mapping[str, int] = field(default_factory=dict)
    tolerance: float | None = None

    @property
    def work(self) -> Workload:
        operands = tuple(
            None if t is None else Operand(t, k in self.constants) for k, t in enumerate(self.inputs)
        )
        end = None if self.expression is None else Epilogue(self.expression, self.kinds)
        return Workload(self.op, operands, len(operands) - len(self.kinds), (self.out,), end)

    def arrays(self) -> list[np.ndarray | None]:
        """Inputs: small whole numbers and their eighths, alike at every call."""
        draws = np.random.default_rng(7)

        def drawn(t: TensorType) -> np.ndarray:
            shape = tuple(evaluate(d, dict(self.dims)) for d in t.shape)
            values = draws.integers(-8, 9, shape)
            return (values if t.dtype.is_integer else values / 8).astype(t.dtype.numpy)

        return [None if t is None else drawn(t) for t in self.inputs]

    def check(self, result: np.ndarray, arrays: Sequence[np.ndarray | None]) -> float:
        """The largest error, of the largest result. Raises AssertionError: it is too large."""
        expected = self.formula(*(None if a is None else a.astype(np.float64) for a in arrays))
        assert result.shape == expected.shape, f"{self.name}: {result.shape} instead of {expected.shape}"
        names = [t.dtype.name for t in (*self.inputs, self.out) if t is not None]
        allowed = self.tolerance if self.tolerance is not None else max(TOLERANCE.get(n, 0.0) for n in names)
        error = np.abs(result.astype(np.float64) - expected).max(initial=0.0)
        error /= max(float(np.abs(expected).max(initial=0.0)), 1e-30)
        assert error <= allowed, (
            f"{self.name}: off by {error:.2e} of the largest result; {allowed:.0e} is allowed"
        )
        return float(error)


def on_host(case: Case, image: KernelImage, compute: Callable[[str, Sequence[int]], None]) -> np.ndarray:
    """The result of an image's one call, which `compute` does with its parameters and words on host memory."""
    values, arrays = dict(case.dims), case.arrays()
    given = {
        k: to_memory(a, t, values)
        for k, (a, t) in enumerate(zip(arrays, case.inputs, strict=True))
        if a is not None and t is not None
    }
    packed = [p.pack({k: a for k, a in enumerate(arrays) if a is not None}) for p in image.packed]
    out = np.full(evaluate(case.out.size_bytes, values), 0x7F, np.uint8)

    def word(w: Word) -> int:
        match w:
            case Size():
                return evaluate(w.dim, values)
            case Input():
                return given[w.index].ctypes.data
            case Packed():
                return packed[w.index].ctypes.data
            case Output():
                return out.ctypes.data
            case Workspace():
                return 0
        raise AssertionError(w)

    (step,) = image.steps
    call = image.functions[step.symbol]
    assert isinstance(call, LibraryCall)
    compute(call.parameters, [word(w) for w in step.words])
    return from_memory(out, case.out, values)
