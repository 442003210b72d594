"""Is a kernel's result right? One tolerance rule for tuning and tests of whole results."""

from __future__ import annotations

import numpy as np

from engineworks.kernels.workload import Workload
from engineworks.ops._products import RECURRENT

RELATIVE = {"f": 2e-3, "V": 2e-2}
"""Of the largest magnitude of the reference: f32 kernels reorder sums and use Winograd; bf16 has 8 bits."""
NARROW_INSIDE = 2e-2
"""The same where a kernel of narrow operands rounds on the way: the h of a recurrent layer, an attention's weights."""


def rounds_inside(work: Workload) -> bool:
    """The kernel rounds between two products: its operands are narrow floats."""
    chained = work.anchor is not None and work.anchor.name in RECURRENT | {"attention"}
    return chained and any(
        w is not None and w.type.dtype.is_float and w.type.dtype.bits < 32 for w in work.inputs
    )


def worst_error(actual: np.ndarray, expected: np.ndarray, *, rounds_inside: bool = False) -> str:
    """A sentence about the worst element that is out of tolerance, or '' when all agree."""
    if actual.shape != expected.shape:
        return f"shape {actual.shape}, expected {expected.shape}"
    if expected.size == 0:
        return ""
    kind = expected.dtype.kind
    if kind in "biuO":
        # An element that lies on an edge between two 8-bit levels may be rounded to either.
        near = 1 if kind in "iu" and expected.dtype.itemsize == 1 else 0
        differs = np.abs(actual.astype(np.int64) - expected) > near if near else actual != expected
        if not differs.any():
            return ""
        where = np.unravel_index(int(np.argmax(differs)), differs.shape)
        return f"at {tuple(map(int, where))}: {actual[where]}, expected {expected[where]}"
    a, b = actual.astype(np.float64), expected.astype(np.float64)
    with np.errstate(invalid="ignore"):
        scale = max(float(np.abs(b[np.isfinite(b)]).max(initial=0.0)), 1e-30)
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        error = np.where(same, 0.0, np.abs(a - b))
    error = np.where(np.isnan(error), np.inf, error)
    relative = RELATIVE.get(kind, 2e-2) * (10 if expected.dtype == np.float16 else 1)
    allowed = scale * (max(relative, NARROW_INSIDE) if rounds_inside else relative)
    if float(error.max()) <= allowed:
        return ""
    where = np.unravel_index(int(np.argmax(error)), error.shape)
    return f"at {tuple(map(int, where))}: {actual[where]}, expected {expected[where]} (allowed {allowed:.2e})"
