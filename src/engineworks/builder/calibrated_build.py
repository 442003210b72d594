"""Where a build's ranges come from: its cache file, else its calibration data."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

from engineworks.builder.calibrating import calibrate_graph
from engineworks.builder.config import BuildConfig
from engineworks.calibration.observe import name_values
from engineworks.calibration.ranges import Ranges
from engineworks.errors import BuildError
from engineworks.ir.graph import Graph


class ClippedRange(UserWarning):
    """A calibrated range leaves more of a tensor's data out than `max_clipped` allows."""


class NoRanges(UserWarning):
    """int8 is asked for, and nothing says what the model's tensors range over."""


def without_ranges() -> str:
    """The sentence about a build that may use int8 and cannot anywhere; it is issued as NoRanges too."""
    sentence = (
        "int8 is allowed, and no product computes in it: the model is not quantised, and there are no ranges. "
        "Pass calibrate=batches or calibration_cache=file, or leave int8 out."
    )
    warnings.warn(sentence, NoRanges, stacklevel=2)
    return sentence


def ranges_for(graph: Graph, config: BuildConfig) -> tuple[Mapping[str, float], tuple[str, ...]]:
    """Scales by tensor name, and the warnings of calibration, which are issued as ClippedRange too.

    A cache file that is there is read, and no data is run; one that is not is written.

    Raises:
        BuildError: the cache is not there, and there is no data to make it from.
        CalibrationError: the data does not fit the model, or the cache is no cache.
    """
    name_values(graph)  # as they are named in the cache
    cache = config.calibration_cache
    if isinstance(cache, Mapping):
        return cache, ()
    if cache is not None and Path(cache).exists():
        return Ranges.read(cache), ()
    if config.calibrate is None:
        raise BuildError(
            f"there is no calibration cache '{cache}', and no calibration data to make it from. Make it with "
            f"'engineworks calibrate model.onnx --data … -o {cache}', or pass calibrate=batches."
        )
    made = calibrate_graph(
        graph, config.calibrate, config, method=config.calibration_method, max_clipped=config.max_clipped
    )
    if cache is not None:
        made.ranges.write(cache)
    for sentence in made.warnings:
        warnings.warn(sentence, ClippedRange, stacklevel=2)
    return made.ranges, made.warnings
