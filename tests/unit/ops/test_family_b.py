"""Shapes, views, gathers, resampling, detection and control flow against the ONNX standard's own node cases."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from engineworks.testing.onnx_backend import node_cases, run_by_interpreter, run_node_case

OPERATORS = {
    "Shape", "Size", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Expand", "Tile", "Slice", "Split",
    "Concat", "Pad", "Gather", "GatherElements", "GatherND", "ScatterElements", "ScatterND", "Scatter", "OneHot",
    "EyeLike", "Range", "ConstantOfShape", "Constant", "Trilu", "Compress", "ReverseSequence", "DepthToSpace",
    "SpaceToDepth", "Resize", "Upsample", "GridSample", "RoiAlign", "CenterCropPad", "Col2Im", "NonMaxSuppression",
    "TopK", "NonZero", "Unique", "CumSum", "CumProd", "If", "Loop", "Scan", "TensorScatter", "DFT", "STFT", "MaxUnpool",
}  # fmt: skip
BUILD_TIME_INPUTS = {
    "shape", "axes", "axis", "starts", "ends", "steps", "split", "pads", "repeats", "tiles", "roi", "scales", "sizes",
    "k", "K", "depth", "input_shape", "image_shape", "block_shape", "dft_length", "frame_step", "frame_length",
    "M", "output_shape",
}  # fmt: skip
"""Names, in the standard, of inputs that decide shapes: an engine is built for their values."""
EXCLUDED = {
    "test_dft_inverse": "results near zero carry the rounding of larger f32 terms, beyond the case's 1e-7",
    "test_dft_inverse_opset19": "results near zero carry the rounding of larger f32 terms, beyond the case's 1e-7",
    "test_loop13_seq": "it carries a sequence, which no engine holds",
    "test_loop16_seq_none": "it carries an optional sequence, which no engine holds",
    "test_if_seq": "the bodies give sequences, which no engine holds",
    "test_if_opt": "the bodies give optionals, which no engine holds",
}
"""Case names to the reason why they cannot pass."""


def _kinds(case: Any) -> set[str]:
    return {node.op_type for node in case.model.graph.node}


CASES = sorted(n for n, c in node_cases().items() if _kinds(c) <= OPERATORS and not n.endswith("_expanded"))


def _with_known_shapes(case: Any) -> Any:
    """The case with inputs that decide shapes as initializers."""
    from onnx import defs, numpy_helper

    fixed = copy.copy(case)
    fixed.model = copy.deepcopy(case.model)
    graph = fixed.model.graph
    version = {o.domain: o.version for o in fixed.model.opset_import}[""]
    wanted = set()
    for node in graph.node:
        formal = [i.name for i in defs.get_schema(node.op_type, version).inputs]
        wanted |= {name for name, role in zip(node.input, formal, strict=False) if role in BUILD_TIME_INPUTS}
        if node.op_type == "ConstantOfShape":
            wanted.add(node.input[0])
        if node.op_type == "Loop":
            wanted.add(node.input[1])
    for value, array in zip(graph.input, case.data_sets[0][0], strict=True):
        if value.name in wanted and value.name:
            graph.initializer.append(numpy_helper.from_array(np.asarray(array), value.name))
    return fixed


@pytest.mark.parametrize("name", CASES)
def test_node_case_gives_the_outputs_of_the_standard(name: str) -> None:
    if name in EXCLUDED:
        pytest.skip(EXCLUDED[name])
    assert run_node_case(_with_known_shapes(node_cases()[name]), run_by_interpreter) == ""
