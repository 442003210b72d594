"""The KL divergence between a histogram cut off at each candidate and the same in 128 levels.

Both definitions are NVIDIA's. The first: S. Migacz, "8-bit Inference with TensorRT", GTC 2017 (S7310), page "Entropy
Calibration - pseudocode". The second: the histogram calibrator (method "entropy") of the pytorch-quantization toolkit
in the TensorRT repository. For a candidate i:

    P = counts[0 … i-1], all counts from i on added to P[i-1]; P /= sum(P)
    Q = counts[0 … i-1] in 128 levels of i / 128 bins (bin k belongs to level k · 128 / i, rounded down), the sum of
        each level spread evenly over those of its bins that are not empty; Q /= sum(Q)
    divergence(i) = sum of P · log(P / Q)

The first bin takes the count of the second beforehand, so that the many zeros behind a ReLU do not decide. That is in
the second definition alone; the first, taken literally, keeps a tenth of the range of a ReLU6, so both get it here.
What else they leave different is `EntropyRule`.

One guard is ours: candidates that hold less than a share `keeps` of the elements are left out (0 is the definition
taken literally). Since P gets what is cut off in its last bin, candidates that end on a spike look perfect: behind a
global average pool, where all magnitudes lie far from 0, a range that holds only the smallest few; behind a swish,
one that ends at its lowest value, and loses the few large values that matter.

A loop over 1921 candidates of up to 2048 bins takes a second a tensor. Here all candidates are computed at once from
running sums: with c_L the counts of level L and n_L the number of its bins that are not empty, Q is c_L / n_L on those
bins, so that the sum of P · log Q is a sum over levels, plus one term for what was cut off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEVELS = 128
"""Of a magnitude: int8 without its sign."""
FIRST = 128
"""The smallest candidate: one bin a level."""
TIE = 1e-9
"""Divergences (in nats) this close are equal: rounding in float64 cannot tell them apart."""


@dataclass(frozen=True, slots=True)
class EntropyRule:
    """What the two published definitions leave different.

    Attributes:
        smoothing: 0: where what was cut off falls in an empty bin, Q is 0 there and the divergence infinite. Otherwise
            that bin counts as filled, and Q has at least this many counts there. (The first definition says nothing
            about it; its published implementations smooth with 1e-4.)
        full_range: the number of bins is a candidate too.
        takes_last: of equal divergences the largest candidate, else the smallest.
        above: the range ends this many bins above the candidate.
    """

    smoothing: float
    full_range: bool
    takes_last: bool
    above: float


FIRST_VERSION = EntropyRule(smoothing=1e-4, full_range=False, takes_last=False, above=0.5)
SECOND_VERSION = EntropyRule(smoothing=0.0, full_range=True, takes_last=True, above=0.0)


def threshold_bins(counts: np.ndarray, rule: EntropyRule, keeps: float) -> float | None:
    """Where to cut a histogram off, in bins; None where the rule cannot say (no candidate, none of them finite).

    Args:
        counts: i64 [bins]. Empty bins at the end are no candidates: they would only make levels coarser.
        keeps: the share of the elements that a candidate holds at least, 0 to 1.
    """
    filled = np.flatnonzero(counts)
    used = int(filled[-1]) + 1 if filled.size else 0
    last = used if used < len(counts) or rule.full_range else used - 1
    if last < FIRST:
        return None
    bins = counts[:used].astype(np.float64)
    bins[0] = bins[1]
    found = divergences(bins, last, rule.smoothing, keeps)
    if not np.isfinite(found).any():
        return None
    near = np.flatnonzero(found <= found.min() + TIE)
    return float(FIRST + near[-1 if rule.takes_last else 0] + rule.above)


def divergences(bins: np.ndarray, last: int, smoothing: float, keeps: float) -> np.ndarray:
    """The divergence of each candidate FIRST … last in nats, f64 [last - FIRST + 1].

    Args:
        bins: f64, counts; at least `last` of them.
        smoothing: see `EntropyRule`.
    """
    candidates = np.arange(FIRST, last + 1)
    # Level L holds the bins k with L <= k * 128 / i < L + 1, in whole numbers.
    edges = -(-np.arange(LEVELS + 1) * candidates[:, None] // LEVELS)
    sums = np.diff(_running(bins)[edges], axis=1)
    filled = np.diff(_running(bins > 0)[edges], axis=1)
    total, inside = bins.sum(), _running(bins)[candidates]
    final, beyond = bins[candidates - 1], total - inside
    is_bare = (final == 0) & (beyond > 0)
    if smoothing:
        filled[:, -1] += is_bare
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = sums / filled
        at_end = np.maximum(spread[:, -1], smoothing) if smoothing else np.where(is_bare, 0.0, spread[:, -1])
        p_log_p = _running(_x_log_y(bins, bins))[candidates - 1] + _x_log_y(final + beyond, final + beyond)
        p_log_q = _x_log_y(sums, spread).sum(1) + _x_log_y(beyond, at_end)
        found = (p_log_p - p_log_q) / total - np.log(total) + np.log(inside)
    return np.where((inside > 0) & (inside >= keeps * total), found, np.inf)


def _running(values: np.ndarray) -> np.ndarray:
    """Sums of the first 0, 1, 2, … values."""
    return np.concatenate([[0], np.cumsum(values)])


def _x_log_y(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x · log(y); 0 where x is 0."""
    return np.where(x > 0, x * np.log(np.where(x > 0, y, 1.0)), 0.0)
