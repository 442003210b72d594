"""How many threads are of use: a network of a few hundred microseconds is often faster on one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace

import msgspec

from engineworks.builder.emit import Emitted
from engineworks.engine import container
from engineworks.tuner.choice import Choice
from engineworks.tuner.measure import ProcessTuner

SMALL_NETWORK_S = 3e-3
"""Predicted time on one thread beyond which sharing the work always pays."""
TINY_NETWORK_S = 60e-6
"""Predicted time on one thread below which it never does, as far as can be said without measuring."""
MARGIN = 1.05
"""One thread wins unless more are faster by this factor: it leaves the other cores to others."""


def with_useful_threads(
    emitted: Emitted, choices: Iterable[Choice | None], tuner: ProcessTuner | None, threads: int
) -> Emitted:
    """The engine, limited to one thread where more do not help.

    Args:
        choices: of all groups; their predictions say whether the question is worth measuring.
        tuner: None decides by prediction alone.
        threads: that the engine is tuned for.
    """
    predicted_s = sum(c.tactic.predicted_s for c in choices if c is not None)
    if threads == 1 or predicted_s > SMALL_NETWORK_S:
        return emitted
    if tuner is None:
        return _limited(emitted) if predicted_s < TINY_NETWORK_S else emitted
    identity = hashlib.sha256(
        msgspec.json.encode((emitted.manifest.program, emitted.manifest.kernels))
    ).hexdigest()
    file = container.encode(emitted.manifest, emitted.sections)
    times = tuner.measure_whole(file, identity, (1, threads))
    if times and times[1] <= MARGIN * times[threads]:
        return _limited(emitted)
    return emitted


def _limited(emitted: Emitted) -> Emitted:
    manifest = msgspec.structs.replace(emitted.manifest, max_threads=1)
    return replace(emitted, manifest=manifest)
