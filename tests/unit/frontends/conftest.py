"""ONNX models made in a line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from onnx import ModelProto, TensorProto, helper

Shape = Sequence[int | str | None] | None


@pytest.fixture
def model() -> Callable[..., ModelProto]:
    def make(
        nodes: Sequence[Any],
        inputs: dict[str, Shape],
        outputs: Sequence[str],
        initializers: Sequence[Any] = (),
        opset: int = 17,
        domains: Sequence[str] = (),
    ) -> ModelProto:
        graph = helper.make_graph(
            list(nodes),
            "g",
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs],
            list(initializers),
        )
        opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
        return helper.make_model(graph, opset_imports=opsets)

    return make
