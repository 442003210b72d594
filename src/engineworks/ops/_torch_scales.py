"""torch's quantisation (PT2E): scales and zero points as numbers or tensors, ranges narrower than the dtype."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from engineworks.core import dtypes
from engineworks.core.dtypes import DType
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.foreign import ForeignNode
from engineworks.ir.graph import Value
from engineworks.ops._torch import in_dtype


def scale_and_zero(g: GraphBuilder, n: ForeignNode, dtype: DType) -> list[Value]:
    """The scale in f32, and the zero point in `dtype` unless it is known to be 0 everywhere: numbers, or a vector."""
    per_channel = "axis" in n.foreign.attributes
    scale, zero = (n.arg(f"{what}s" if per_channel else what) for what in ("scale", "zero_point"))
    given = [in_dtype(g, scale, dtypes.f32)]
    if zero is None:
        return given
    known = zero.array if isinstance(zero, Value) and zero.constant is not None else zero
    if not isinstance(known, Value) and not np.any(known):
        return given if per_channel else [g.reshape_to(given[0], ())]
    point = in_dtype(g, zero, dtype)
    return [*given, point] if per_channel else [g.reshape_to(v, ()) for v in (*given, point)]


def narrower_range(n: ForeignNode, dtype: DType) -> tuple[int, int] | None:
    """(quant_min, quant_max), where the dtype holds more."""
    low, high = n.arg("quant_min"), n.arg("quant_max")
    if isinstance(low, Value) or isinstance(high, Value):
        raise n.unsupported("limits that are tensors; give quant_min and quant_max as numbers")
    info = ml_dtypes.iinfo(dtype.numpy)
    return None if (low, high) == (int(info.min), int(info.max)) else (low, high)
