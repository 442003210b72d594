"""Small networks that ask everything of a runtime, with what ONNX's own evaluator says of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

FLOAT, BOOL, INT64 = TensorProto.FLOAT, TensorProto.BOOL, TensorProto.INT64
node = helper.make_node


@dataclass(frozen=True, slots=True)
class Network:
    """A model and inputs for it."""

    model: ModelProto
    inputs: Mapping[str, np.ndarray]

    @property
    def content(self) -> bytes:
        return self.model.SerializeToString()

    def expected(self) -> dict[str, np.ndarray]:
        """The outputs by name."""
        found = ReferenceEvaluator(self.model).run(None, dict(self.inputs))
        return dict(zip([o.name for o in self.model.graph.output], found, strict=True))


def info(name: str, shape, kind: int = FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, inputs, outputs, **constants) -> ModelProto:
    """Of opset 18."""
    named = [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, named)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def convolutions() -> Network:
    """3×3, pooling, a mean and a product."""
    made = model(
        [
            node("Conv", ["x", "w", "b"], ["a"], pads=[1, 1, 1, 1]),
            node("Relu", ["a"], ["c"]),
            node("MaxPool", ["c"], ["d"], kernel_shape=[2, 2], strides=[2, 2]),
            node("GlobalAveragePool", ["d"], ["e"]),
            node("Flatten", ["e"], ["f"]),
            node("Gemm", ["f", "v"], ["y"]),
        ],
        [info("x", [1, 3, 10, 10])],
        [info("y", [1, 5])],
        w=normal(8, 3, 3, 3),
        b=normal(8),
        v=normal(8, 5),
    )
    return Network(made, {"x": normal(1, 3, 10, 10)})


def branch(sign: int) -> Network:
    """x + x where the sum is positive, else exp(x)."""
    then = helper.make_graph([node("Add", ["x", "x"], ["p"])], "then", [], [info("p", [4])])
    otherwise = helper.make_graph([node("Exp", ["x"], ["q"])], "otherwise", [], [info("q", [4])])
    made = model(
        [
            node("ReduceSum", ["x"], ["s"], keepdims=0),
            node("Greater", ["s", "zero"], ["c"]),
            node("If", ["c"], ["y"], then_branch=then, else_branch=otherwise),
        ],
        [info("x", [4])],
        [info("y", [4])],
        zero=np.float32(0),
    )
    return Network(made, {"x": sign * np.arange(1, 5, dtype=np.float32)})


def loop() -> Network:
    """Rounds until the data say stop; each leaves a row of an output."""
    body = helper.make_graph(
        [
            node("Add", ["carried", "x"], ["next"]),
            node("ReduceMax", ["next"], ["largest"], keepdims=0),
            node("Less", ["largest", "limit"], ["goes_on"]),
            node("Mul", ["next", "next"], ["square"]),
        ],
        "body",
        [info("round", [], INT64), info("condition", [], BOOL), info("carried", [3])],
        [info("goes_on", [], BOOL), info("next", [3]), info("square", [3])],
    )
    made = model(
        [node("Loop", ["rounds", "starts", "x"], ["y", "squares"], body=body)],
        [info("x", [3])],
        [info("y", [3]), info("squares", ["k", 3])],
        rounds=np.int64(9),
        starts=np.bool_(True),
        limit=np.float32(10),
    )
    return Network(made, {"x": np.arange(1, 4, dtype=np.float32)})


def found_sizes() -> Network:
    """Softmax over the values that are not zero."""
    made = model(
        [
            node("NonZero", ["x"], ["i"]),
            node("Transpose", ["i"], ["t"]),
            node("GatherND", ["x", "t"], ["v"]),
            node("Softmax", ["v"], ["y"], axis=0),
        ],
        [info("x", [5, 7])],
        [info("y", ["n"])],
    )
    return Network(made, {"x": normal(5, 7) * (normal(7, 5).T > 0)})


def dynamic(rows: int) -> Network:
    """Softmax of a product with as many rows as there are."""
    made = model(
        [node("MatMul", ["x", "w"], ["a"]), node("Softmax", ["a"], ["y"])],
        [info("x", ["B", 16])],
        [info("y", ["B", 8])],
        w=normal(16, 8),
    )
    return Network(made, {"x": normal(rows, 16)})


RANGES = {"x": ((1, 16), (4, 16), (64, 16))}
"""The profile of `dynamic`."""

NETWORKS: dict[str, Callable[[], Network]] = {
    "convolutions": convolutions,
    "branch taken": lambda: branch(1),
    "branch not taken": lambda: branch(-1),
    "loop": loop,
    "found sizes": found_sizes,
}
