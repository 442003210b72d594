"""Flags and wishes of precision as a build's options, and what came of them as log messages."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from engineworks.errors import BuildError
from engineworks.tensorrt.enums import BuilderFlag, DataType, Severity
from engineworks.tensorrt.layer_types import LayerType
from engineworks.tensorrt.logger import ILogger
from engineworks.tensorrt.ranges import ranges_of

if TYPE_CHECKING:
    from engineworks.builder.report import BuildReport
    from engineworks.tensorrt.config import IBuilderConfig
    from engineworks.tensorrt.layers import ILayer
    from engineworks.tensorrt.network import INetworkDefinition

PERMISSIONS = {BuilderFlag.FP16: "fp16", BuilderFlag.BF16: "bf16", BuilderFlag.INT8: "int8"}
NOT_HERE = (BuilderFlag.FP8, BuilderFlag.INT4, BuilderFlag.FP4)
NAMES = {DataType.FLOAT: "fp32", DataType.HALF: "fp16", DataType.BF16: "bf16", DataType.INT8: "int8"}
PRODUCTS = (LayerType.CONVOLUTION, LayerType.DECONVOLUTION, LayerType.MATRIX_MULTIPLY)
"""Layers that compute in the type that is asked for; all others compute in the model's own type, fp32 as a rule."""
MOVES = (
    LayerType.CONCATENATION, LayerType.SHUFFLE, LayerType.GATHER, LayerType.CONSTANT, LayerType.IDENTITY,
    LayerType.SLICE, LayerType.SHAPE, LayerType.SQUEEZE, LayerType.UNSQUEEZE, LayerType.CAST, LayerType.QUANTIZE,
    LayerType.DEQUANTIZE, LayerType.SELECT, LayerType.FILL,
)  # fmt: skip
"""Layers without arithmetic: they take any type."""


def precision_options(network: INetworkDefinition, config: IBuilderConfig, logger: ILogger) -> dict[str, Any]:
    """Fields of BuildConfig.

    Raises:
        BuildError: flags or wishes on a strongly typed network; OBEY_PRECISION_CONSTRAINTS with a wish that cannot be.
        CalibrationError: the calibrator's data or cache do not fit.
    """
    allowed = [name for flag, name in PERMISSIONS.items() if config.get_flag(flag)]
    _require_weak_typing(network, config, allowed)
    for flag in NOT_HERE:
        if config.get_flag(flag):
            logger.log(
                Severity.WARNING, f"BuilderFlag.{flag.name} has no effect: there are no kernels in it here"
            )
    ranges = ranges_of(network, config, logger) if "int8" in allowed else None
    if "int8" in allowed and ranges is None and not _has_own_quantisation(network):
        logger.log(
            Severity.WARNING,
            "BuilderFlag.INT8 has no effect: there is no calibrator, no dynamic range and no Q/DQ in the model",
        )
    constraints = constraints_of(config)
    _judge(list(_impossible(network, allowed)), constraints, logger)
    return {
        "precision": tuple(allowed) or "fp32",
        "layer_precisions": {glob.escape(layer.source): name for layer, name in _products(network, allowed)},
        "precision_constraints": constraints,
        "calibration_cache": ranges,
    }


def constraints_of(config: IBuilderConfig) -> str:
    """'obey', 'prefer' or 'none', as BuildConfig has it."""
    if config.get_flag(BuilderFlag.OBEY_PRECISION_CONSTRAINTS) or config.get_flag(BuilderFlag.STRICT_TYPES):
        return "obey"
    return "prefer" if config.get_flag(BuilderFlag.PREFER_PRECISION_CONSTRAINTS) else "none"


def tell(network: INetworkDefinition, config: IBuilderConfig, report: BuildReport, logger: ILogger) -> None:
    """Log the report's warnings, preferences that were not followed, and a summary."""
    for warning in report.warnings:
        logger.log(Severity.WARNING, warning)
    if constraints_of(config) == "prefer":
        wishes = {layer.source: NAMES.get(layer.precision) for layer in network if layer.precision_is_set}
        for made in report.precisions:
            for name in made.origin:
                if wishes.get(name) not in (None, made.precision):
                    logger.log(
                        Severity.WARNING,
                        f"layer '{name}' computes in {made.precision}, not {wishes[name]}: {made.reason}",
                    )
    counts = Counter(made.precision for made in report.precisions)
    told = ", ".join(f"{count} in {name}" for name, count in counts.most_common())
    logger.log(Severity.INFO, f"convolutions and matrix products: {told or 'none'}")


def _wishes(network: INetworkDefinition) -> Iterator[tuple[ILayer, str]]:
    """Layers whose precision is set to a float or INT8, and its name."""
    for layer in network:
        if layer.precision_is_set and layer.precision in NAMES:
            yield layer, NAMES[layer.precision]


def _products(network: INetworkDefinition, allowed: Iterable[str]) -> Iterator[tuple[ILayer, str]]:
    """Wishes that the build can be asked for."""
    for layer, name in _wishes(network):
        if layer.type in PRODUCTS and (name == "fp32" or name in allowed):
            yield layer, name


def _impossible(network: INetworkDefinition, allowed: Iterable[str]) -> Iterator[str]:
    """Sentences about wishes that no build can follow."""
    for layer, name in _wishes(network):
        if name == "fp32" or layer.type in MOVES:
            continue
        if name not in allowed:
            flag = next(f for f, n in PERMISSIONS.items() if n == name)
            yield f"layer '{layer.name}': {name} is not allowed; set BuilderFlag.{flag.name}"
        elif layer.type not in PRODUCTS:
            yield (
                f"layer '{layer.name}' ({layer.type.name}) computes in the model's own type; "
                f"{name} is for convolutions and matrix products"
            )
    for layer in network:
        for index, dtype in layer.wished_outputs.items():
            output = layer.get_output(index)
            if output is not None and not output.is_network_output and dtype != output.dtype:
                yield f"tensor '{output.name}': types inside of the network follow from the layers' precisions"


def _judge(sentences: list[str], constraints: str, logger: ILogger) -> None:
    """Raises BuildError under 'obey'; warns under 'prefer'."""
    if constraints == "obey" and sentences:
        raise BuildError(
            "precision constraints cannot be obeyed:\n  " + "\n  ".join(sentences) + "\n"
            "  Reset them (layer.reset_precision()), or set PREFER_PRECISION_CONSTRAINTS instead."
        )
    for sentence in sentences if constraints == "prefer" else ():
        logger.log(Severity.WARNING, sentence)


def _require_weak_typing(network: INetworkDefinition, config: IBuilderConfig, allowed: list[str]) -> None:
    """Raises BuildError: a strongly typed network with anything that asks for other types than its own."""
    if not network.is_strongly_typed:
        return
    asked = [f"BuilderFlag.{flag.name}" for flag, name in PERMISSIONS.items() if name in allowed]
    asked += ["int8_calibrator"] if config.int8_calibrator is not None else []
    asked += [f"the precision of layer '{layer.name}'" for layer in network if layer.precision_is_set][:3]
    if asked:
        raise BuildError(
            f"the network is strongly typed: types follow from its inputs and casts, so {', '.join(asked)} cannot be "
            "set. Create it without NetworkDefinitionCreationFlag.STRONGLY_TYPED, or put casts into the model."
        )


def _has_own_quantisation(network: INetworkDefinition) -> bool:
    return any(layer.type in (LayerType.QUANTIZE, LayerType.DEQUANTIZE) for layer in network)
