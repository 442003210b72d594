"""Declarative sample inputs: examples on ops and rules are documentation, conformance tests and smoke tests at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dtypes import DType


@dataclass(frozen=True, slots=True)
class Sample:
    """One input: dtype and shape (ints, or names of dims given in the example), values drawn from a range or given.

    `constant` inputs are known at build (weights, packed by kernels); the others arrive at run time.
    """

    dtype: DType
    shape: tuple[int | str, ...]
    low: float = -2.0
    high: float = 2.0
    values: Any = None
    constant: bool = False

    def draw(self, rng: np.random.Generator, dims: Mapping[str, int]) -> np.ndarray:
        """An array for these dims."""
        shape = tuple(dims[d] if isinstance(d, str) else d for d in self.shape)
        if self.values is not None:
            return np.asarray(self.values).astype(self.dtype.numpy).reshape(shape)
        if self.dtype.is_float:
            return rng.uniform(self.low, self.high, shape).astype(np.float32).astype(self.dtype.numpy)
        if self.dtype.kind == "bool":
            return rng.integers(0, 2, shape).astype(bool)
        low = max(self.low, 0) if self.dtype.kind == "uint" else self.low
        return rng.integers(int(low), int(self.high) + 1, shape).astype(self.dtype.numpy)


@dataclass(frozen=True, slots=True)
class Example:
    """One use of an op: inputs, attributes, and the values that each named dim takes in turn.

    `why_loose`: a reason, when the comparison needs `rtol` beyond what dtype and length explain.
    """

    inputs: tuple[Sample | None, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    dims: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    rtol: float | None = None
    why_loose: str = ""

    def bindings(self) -> list[dict[str, int]]:
        """The sets of dim values to try: all firsts, all seconds, …; one empty set when there are no dims."""
        if not self.dims:
            return [{}]
        rounds = max(len(v) for v in self.dims.values())
        return [{k: v[min(i, len(v) - 1)] for k, v in self.dims.items()} for i in range(rounds)]


def example(
    *inputs: Sample | None,
    dims: Mapping[str, tuple[int, ...]] | None = None,
    rtol: float | None = None,
    why_loose: str = "",
    **attributes: Any,
) -> Example:
    """An example: `example(f32("N", 7, 3), axis=1, dims={"N": (1, 4)})`."""
    assert rtol is None or why_loose, "an example with its own tolerance says why"
    return Example(inputs, attributes, dims or {}, rtol, why_loose)


def _sample(dtype: DType, shape: tuple[int | str, ...], **options: Any) -> Sample:
    if "values" in options and not shape:
        shape = np.asarray(options["values"]).shape
    return Sample(dtype, shape, **options)


def f32(*shape: int | str, **options: Any) -> Sample:
    """float32 in [-2, 2] unless low/high/values say otherwise; constant=True makes it a weight."""
    return _sample(dtypes.f32, shape, **options)


def f64(*shape: int | str, **options: Any) -> Sample:
    """float64 in [-2, 2]; options as of f32."""
    return _sample(dtypes.f64, shape, **options)


def f16(*shape: int | str, **options: Any) -> Sample:
    """float16 in [-2, 2]; options as of f32."""
    return _sample(dtypes.f16, shape, **options)


def i64(*shape: int | str, **options: Any) -> Sample:
    """int64 in [-2, 2]; options as of f32."""
    return _sample(dtypes.i64, shape, **options)


def i32(*shape: int | str, **options: Any) -> Sample:
    """int32 in [-2, 2]; options as of f32."""
    return _sample(dtypes.i32, shape, **options)


def bf16(*shape: int | str, **options: Any) -> Sample:
    """bfloat16 in [-2, 2]; options as of f32."""
    return _sample(dtypes.bf16, shape, **options)


def i8(*shape: int | str, **options: Any) -> Sample:
    """int8 in [-2, 2]; options as of f32."""
    return _sample(dtypes.i8, shape, **options)


def u8(*shape: int | str, **options: Any) -> Sample:
    """uint8 in 0 … 2; options as of f32."""
    return _sample(dtypes.u8, shape, **options)


def boolean(*shape: int | str, **options: Any) -> Sample:
    """bool; options as of f32."""
    return _sample(dtypes.bool_, shape, **options)
