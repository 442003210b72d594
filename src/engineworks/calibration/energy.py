"""How much of a tensor 8 bits lose: the energy of clipping and rounding, against that of the tensor."""

from __future__ import annotations

import numpy as np

from engineworks.calibration.histogram import BINS, Histogram
from engineworks.calibration.ranges import LEVELS

MAX_LOST = 0.0016
"""The share of a tensor's energy (sum of squares) that 8 bits may lose, about 28 dB; else it stays in floating point.

Chosen on trained networks, and checked on data that the choice never saw: docs/decisions/0017. MiniLM's similarities
correlate with fp32's by 0.99 with it and by 0.90 without, since a few channels hold most of what its norms and GELUs
give. Of convolutional networks EfficientNet-Lite0 is left alone by it, PP-OCR is not: some of its products stay in
floating point.
"""
CANDIDATES = 65
"""Ranges that are compared, evenly spaced from the one that was chosen to all that was seen."""


def with_energy(histogram: Histogram, kept: float) -> tuple[float, str]:
    """A range that keeps the tensor's energy, and why there is none (then it is 0).

    Of the ranges from `kept` to all that was seen it is the one that loses least energy: clipping loses less in wider
    ones, rounding more. Where that is too much as well, the tensor stays in floating point.
    """
    candidates = np.linspace(kept, histogram.largest, CANDIDATES).tolist()
    lost, kept = min((lost_energy(histogram, candidate), candidate) for candidate in candidates)
    return (kept, "") if lost <= MAX_LOST else (0.0, f"8 bits would lose {lost:.2%} of its energy")


def lost_energy(histogram: Histogram, kept: float) -> float:
    """Share of the energy, 0 to 1, that a symmetric 8-bit range up to `kept` > 0 loses, bins taken at their middles.

    Rounding to steps of width s loses s² / 12 an element, or all of an element that is smaller than that.
    """
    middles = (np.arange(BINS) + 0.5) * histogram.width
    step = kept / LEVELS
    lost = np.where(middles > kept, (middles - kept) ** 2, np.minimum(step * step / 12, middles * middles))
    energy = float((histogram.counts * middles * middles).sum())
    return float((histogram.counts * lost).sum()) / energy if energy > 0 else 0.0
