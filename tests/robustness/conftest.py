"""ONNX models made in a line, and both runtimes on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import engineworks

Outputs = dict[str, np.ndarray]


def model_of(
    nodes: Sequence[Any],
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Sequence[str],
    weights: Mapping[str, np.ndarray] | None = None,
    opset: int = 18,
    dtype: int = TensorProto.FLOAT,
) -> bytes:
    """A serialised model; `nodes` are (op, inputs, outputs, attributes)."""
    made = [
        helper.make_node(op, ins.split(), outs.split(), name=f"{op}_{k}", **a)
        for k, (op, ins, outs, a) in enumerate(nodes)
    ]
    graph = helper.make_graph(
        made,
        "g",
        [helper.make_tensor_value_info(n, dtype, s) for n, s in inputs.items()],
        [helper.make_empty_tensor_value_info(n) for n in outputs],
        [numpy_helper.from_array(a, n) for n, a in (weights or {}).items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9
    ).SerializeToString()


@pytest.fixture
def model() -> Callable[..., bytes]:
    return model_of


@pytest.fixture
def both() -> Callable[..., list[tuple[Outputs, Outputs]]]:
    """Run a model here and in ONNX Runtime on several sets of inputs; for each the outputs by name of both."""
    onnxruntime = pytest.importorskip("onnxruntime")

    def run(data: bytes, feeds: Sequence[Outputs], *, effort: int = 0, **options: Any):
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        names = [o.name for o in session.get_outputs()]
        engine = engineworks.build(data, effort=effort, threads=1, **options)
        return [(engine(**f), dict(zip(names, session.run(names, f), strict=True))) for f in feeds]

    return run
