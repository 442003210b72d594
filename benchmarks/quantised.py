"""The networks of the zoo with explicit quantisation: QuantizeLinear and DequantizeLinear around what computes.

ONNX Runtime's quantiser writes them, so that every runtime reads the same file: per-channel symmetric weights,
per-tensor activations, ranges from the sample inputs.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import onnx
from onnx import version_converter

from benchmarks.models.recipe import OPSET, Inputs
from benchmarks.zoo import ZooModel

Form = Literal["s8", "u8"]
"""Activations as symmetric i8 (what TensorRT asks for), or as u8 with a zero point (ONNX Runtime's default)."""
OPERATORS = ("Conv", "MatMul", "Gemm", "Add", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat")
"""What gets Q/DQ around it: where quantising anything else, a runtime would leave fused operators."""


PER_TENSOR = frozenset({"magika"})
"""Its shared biases of shape [1, n] get n scales along the axis of one element from a quantiser by channel."""


def quantised(model: ZooModel, form: Form = "s8") -> ZooModel:
    """The same network in Q/DQ form; written beside it when first asked for."""
    path = model.path.with_name(f"{model.path.stem}-qdq-{form}.onnx")
    if not path.exists():
        _write(model, form, path)
    return replace(model, path=path)


def _with_axes(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model in an opset whose DequantizeLinear has one scale a channel."""
    default = next(o for o in model.opset_import if o.domain == "")
    return model if default.version >= OPSET else version_converter.convert_version(model, OPSET)


def _write(model: ZooModel, form: Form, path: Path) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Samples(CalibrationDataReader):
        """The sample inputs, once."""

        def __init__(self) -> None:
            self.left: Iterator[Inputs] = iter([model.inputs])

        def get_next(self) -> Inputs | None:  # type: ignore[override]
            return next(self.left, None)

    logging.getLogger().setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        newer, prepared, made = (Path(folder) / name for name in ("newer.onnx", "prepared.onnx", path.name))
        onnx.save(_with_axes(onnx.load(model.path)), newer)
        quant_pre_process(os.fspath(newer), os.fspath(prepared), skip_symbolic_shape=True)
        quantize_static(
            os.fspath(prepared),
            os.fspath(made),
            Samples(),
            quant_format=QuantFormat.QDQ,
            per_channel=model.name not in PER_TENSOR,
            activation_type=QuantType.QInt8 if form == "s8" else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=list(OPERATORS),
            # Its adjustment of small weight scales fails on biases that several layers share.
            extra_options={"ActivationSymmetric": form == "s8", "QDQDisableWeightAdjustForInt32Bias": True},
        )
        os.replace(made, path)
