"""Ranges of an INT8 build: what the program set by hand, over its calibrator's cache or what its batches give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from engineworks.calibration.methods import Entropy, FirstEntropy, Legacy, Method, MinMax
from engineworks.calibration.ranges import LEVELS, Ranges
from engineworks.errors import CalibrationError
from engineworks.tensorrt.addresses import reader_for
from engineworks.tensorrt.batches import batch_size_of, batches
from engineworks.tensorrt.calibrators import IInt8Calibrator, IInt8LegacyCalibrator
from engineworks.tensorrt.enums import CalibrationAlgoType, Severity
from engineworks.tensorrt.logger import ILogger

if TYPE_CHECKING:
    from engineworks.ir.graph import Graph
    from engineworks.tensorrt.config import IBuilderConfig
    from engineworks.tensorrt.network import INetworkDefinition


def ranges_of(network: INetworkDefinition, config: IBuilderConfig, logger: ILogger) -> Ranges | None:
    """Scales by tensor name; None when the program gives neither a calibrator nor a range.

    Raises:
        CalibrationError: no data, or data that does not fit.
        NotImplementedError: the calibrator lacks a method.
    """
    calibrator = config.int8_calibrator
    by_hand = _by_hand(network)
    if calibrator is None:
        return Ranges(by_hand) if by_hand else None
    found = _cached(calibrator, logger)
    if found is None:
        found = _calibrated(network, config, calibrator, logger)
        calibrator.write_calibration_cache(found.encode())
    return Ranges({**found.scales, **by_hand}, found.algorithm, found.version)


def _by_hand(network: INetworkDefinition) -> Mapping[str, float]:
    tensors = (t for t in network.tensors() if t.dynamic_range is not None)
    return {
        (t.name if t.is_network_input else t.source): max(abs(end) for end in t.dynamic_range or ()) / LEVELS
        for t in tensors
    }


def _cached(calibrator: IInt8Calibrator, logger: ILogger) -> Ranges | None:
    """The calibrator's cache; None, and a warning, when it is of another method or damaged."""
    cache = calibrator.read_calibration_cache()
    if cache is None or not len(cache):
        return None
    try:
        found = Ranges.decode(bytes(cache))
    except CalibrationError as error:
        logger.log(Severity.WARNING, f"the calibration cache is not used; ranges are computed anew: {error}")
        return None
    wanted = _method(calibrator).algorithm
    if found.algorithm != wanted:
        logger.log(
            Severity.WARNING,
            f"the calibration cache is of {found.algorithm} and the calibrator of {wanted}; ranges are computed anew",
        )
        return None
    logger.log(Severity.INFO, f"ranges of {len(found)} tensors are read from the calibration cache")
    return found


def _method(calibrator: IInt8Calibrator) -> Method:
    if isinstance(calibrator, IInt8LegacyCalibrator):
        return Legacy(calibrator.get_quantile(), calibrator.get_regression_cutoff())
    methods: dict[CalibrationAlgoType, Method] = {
        CalibrationAlgoType.ENTROPY_CALIBRATION_2: Entropy(),
        CalibrationAlgoType.ENTROPY_CALIBRATION: FirstEntropy(),
        CalibrationAlgoType.MINMAX_CALIBRATION: MinMax(),
        CalibrationAlgoType.LEGACY_CALIBRATION: Legacy(),
    }
    return methods[CalibrationAlgoType(calibrator.get_algorithm())]


def _calibrated(
    network: INetworkDefinition, config: IBuilderConfig, calibrator: IInt8Calibrator, logger: ILogger
) -> Ranges:
    """Ranges from the calibrator's batches, in the typical shapes of the calibration profile."""
    from engineworks.builder.calibrating import calibrate_model
    from engineworks.builder.config import BuildConfig
    from engineworks.tensorrt.graphs import graph_of, merged_shapes

    profile = config.get_calibration_profile()
    merged = merged_shapes(network, [*([profile] if profile else []), *config.profiles])
    graph = graph_of(network, merged)
    inputs = _inputs(graph, {name: typical for name, (_, typical, _) in merged.items()})
    _warn_of_batch_size(batch_size_of(calibrator), inputs, logger)
    reader = reader_for(config.target)
    found = calibrate_model(
        graph,
        lambda: batches(calibrator, inputs, reader),
        BuildConfig(profile=merged or None),
        method=_method(calibrator),
    )
    for warning in found.warnings:
        logger.log(Severity.WARNING, warning)
    logger.log(Severity.INFO, f"ranges of {len(found.ranges)} tensors from {found.samples} samples")
    return found.ranges


def _inputs(
    graph: Graph, typical: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[np.dtype, tuple[int, ...]]]:
    """Element type and shape of each input in a batch; what changes size has a profile, or `graph_of` had refused."""
    return {
        v.name: (
            v.type.dtype.numpy,
            tuple(int(d) for d in typical.get(v.name, v.type.shape)),  # type: ignore[arg-type]
        )
        for v in graph.inputs
    }


def _warn_of_batch_size(
    size: int, inputs: Mapping[str, tuple[np.dtype, tuple[int, ...]]], logger: ILogger
) -> None:
    """Of addresses only as many bytes are read as the shapes hold, whatever the calibrator calls its batch size."""
    leading = {shape[0] for _, shape in inputs.values() if shape}
    if leading and size not in leading:
        shapes = ", ".join(f"'{name}' {list(shape)}" for name, (_, shape) in inputs.items())
        logger.log(
            Severity.WARNING,
            f"get_batch_size() is {size}, and batches are read in the shapes {shapes}: a calibration profile sets them",
        )
