"""The two published entropy algorithms as plain loops over bins and levels: what calibration/entropy.py is checked with.

Written from the definitions alone: every candidate builds its two distributions, bin by bin.
"""

from __future__ import annotations

import math

LEVELS = 128


def distributions(counts: list[float], candidate: int, smoothing: float) -> tuple[list[float], list[float]]:
    """P and Q of one candidate, not normalised."""
    inside, cut_off = counts[:candidate], sum(counts[candidate:])
    reference = list(inside)
    reference[-1] += cut_off
    is_filled = [count > 0 for count in inside]
    if smoothing and cut_off:
        is_filled[-1] = True
    level_of = [bin_ * LEVELS // candidate for bin_ in range(candidate)]
    sums, filled = [0.0] * LEVELS, [0] * LEVELS
    for bin_, level in enumerate(level_of):
        sums[level] += inside[bin_]
        filled[level] += is_filled[bin_]
    quantised = [0.0] * candidate
    for bin_, level in enumerate(level_of):
        if is_filled[bin_]:
            quantised[bin_] = sums[level] / filled[level]
    return reference, quantised


def divergence(counts: list[float], candidate: int, smoothing: float, keeps: float) -> float:
    """KL divergence in nats; infinite where Q has nothing and P something, or less than `keeps` is held."""
    reference, quantised = distributions(counts, candidate, smoothing)
    total, kept = sum(reference), sum(counts[:candidate])
    if not kept or kept < keeps * total:
        return math.inf
    q_total = sum(quantised)
    found = 0.0
    for position, (p, q) in enumerate(zip(reference, quantised, strict=True)):
        if not p:
            continue
        share = max(q, smoothing) if position == candidate - 1 else q
        if not share:
            return math.inf
        found += p / total * math.log((p / total) / (share / q_total))
    return found


def second_version(counts: list[int], keeps: float) -> float | None:
    """The number of bins to keep: the last of the best candidates."""
    bins = [float(c) for c in counts]
    bins[0] = bins[1]
    while bins and not bins[-1]:
        bins.pop()
    best, best_divergence = None, math.inf
    for candidate in range(LEVELS, len(bins) + 1):
        found = divergence(bins, candidate, 0.0, keeps)
        if found <= best_divergence + 1e-9 and found < math.inf:
            best, best_divergence = float(candidate), min(found, best_divergence)
    return best


def first_version(counts: list[int], keeps: float) -> float | None:
    """The middle of the bin to keep up to: the first of the best candidates below the number of bins."""
    bins = [float(c) for c in counts]
    bins[0] = bins[1]
    while not bins[-1]:
        bins.pop()
    candidates = range(LEVELS, len(bins) + (len(bins) < len(counts)))
    found = {candidate: divergence(bins, candidate, 1e-4, keeps) for candidate in candidates}
    least = min(found.values(), default=math.inf)
    return next((c + 0.5 for c, d in found.items() if d <= least + 1e-9 and d < math.inf), None)
