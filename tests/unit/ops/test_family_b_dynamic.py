"""Shape arithmetic and views of sizes known at run time: the interpreter and built engines against onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from engineworks.frontends.importer import import_model
from engineworks.frontends.onnx.reader import read_model
from engineworks.ir.graph import Graph
from engineworks.testing.onnx_backend import run_by_engine, run_by_interpreter

Node = tuple[str, list[str], list[str], dict[str, Any]]
RANGES = {"B": (1, 8), "S": (1, 64)}
SIZES = ({"B": 2, "S": 7}, {"B": 5, "S": 12}, {"B": 1, "S": 1})


def n(kind: str, inputs: str, outputs: str, **attributes: Any) -> Node:
    return kind, [i if i != "_" else "" for i in inputs.split()], outputs.split(), attributes


def model(
    nodes: Sequence[Node],
    inputs: dict[str, tuple[int, Sequence[int | str]]],
    constants: dict[str, Any],
    outputs: Sequence[str],
    opset: int = 18,
) -> onnx.ModelProto:
    """Outputs are declared without types: importers and runtimes infer them."""
    graph = helper.make_graph(
        [helper.make_node(kind, i, o, name=f"{kind}_{k}", **a) for k, (kind, i, o, a) in enumerate(nodes)],
        "dynamic",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [onnx.ValueInfoProto(name=o) for o in outputs],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    return onnx.shape_inference.infer_shapes(made)


def check(
    made: onnx.ModelProto,
    run: Callable[[Graph, dict[str, np.ndarray]], dict[str, np.ndarray]],
    values: Callable[[str, tuple[int, ...], np.random.Generator], np.ndarray] | None = None,
) -> None:
    """The graph at every set of sizes gives what onnxruntime gives."""
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    used = {d.dim_param for v in made.graph.input for d in v.type.tensor_type.shape.dim if d.dim_param}
    graph = import_model(
        read_model(made, None, "dynamic"), dims={name: RANGES[name] for name in sorted(used)}
    )
    for sizes in SIZES:
        rng = np.random.default_rng(0)
        feeds = {}
        for value in made.graph.input:
            shape = tuple(
                sizes[d.dim_param] if d.dim_param else d.dim_value for d in value.type.tensor_type.shape.dim
            )
            feeds[value.name] = (
                values(value.name, shape, rng) if values else rng.normal(size=shape).astype(np.float32)
            )
        results = run(graph, feeds)
        for output, expected in zip(made.graph.output, session.run(None, feeds), strict=True):
            np.testing.assert_allclose(
                results[output.name], expected, rtol=2e-5, atol=1e-5, err_msg=f"{output.name} at {sizes}"
            )


X = {"x": (TensorProto.FLOAT, ["B", "S", 12])}
IMAGE = {"x": (TensorProto.FLOAT, ["B", 3, "S", 9])}
ONE, ZERO, TWO, MINUS = np.array([1]), np.array([0]), np.array([2]), np.array([-1])
CASES: dict[str, onnx.ModelProto] = {
    "heads": model(
        [
            n("Shape", "x", "s"),
            n("Slice", "s zero two", "bs"),
            n("Concat", "bs heads", "t", axis=0),
            n("Reshape", "x t", "r"),
            n("Transpose", "r", "p", perm=[0, 2, 1, 3]),
            n("Transpose", "p", "q", perm=[0, 2, 1, 3]),
            n("Reshape", "q s", "y"),
        ],
        X,
        {"zero": ZERO, "two": TWO, "heads": np.array([3, 4])},
        ["p", "y"],
    ),
    "flatten and back": model(
        [
            n("Shape", "x", "s"),
            n("Reshape", "x flat", "f"),
            n("Relu", "f", "g"),
            n("Reshape", "g s", "y"),
            n("Size", "x", "count"),
        ],
        X,
        {"flat": np.array([-1, 12])},
        ["y", "count"],
    ),
    "fold batch into channels": model(
        [n("Reshape", "x shape", "y"), n("Flatten", "x", "z", axis=2)],
        X,
        {"shape": np.array([1, -1, 4])},
        ["y", "z"],
    ),
    "slices by shape": model(
        [
            n("Shape", "x", "s", start=1, end=2),
            n("Div", "s two", "half"),
            n("Slice", "x zero half one", "a"),
            n("Slice", "x half s one", "b"),
            n("Concat", "b a", "y", axis=1),
            n("Slice", "x minus low one minus", "r"),
        ],
        X,
        {"zero": ZERO, "one": ONE, "two": TWO, "minus": MINUS, "low": np.array([-(2**62)])},
        ["a", "y", "r"],
    ),
    "drop the last step": model(
        [n("Slice", "x zero minus one", "y"), n("Gather", "x last", "z", axis=1)],
        X,
        {"zero": ZERO, "minus": MINUS, "one": ONE, "last": np.array(-1)},
        ["y", "z"],
    ),
    "expand and tile": model(
        [
            n("Shape", "x", "s"),
            n("Gather", "s zero", "b"),
            n("Concat", "b one row", "t", axis=0),
            n("Expand", "c t", "e"),
            n("Concat", "one two one", "reps", axis=0),
            n("Tile", "x reps", "y"),
            n("ConstantOfShape", "s", "z"),
        ],
        X,
        {"zero": ZERO, "one": ONE, "two": TWO, "row": np.array([12]), "c": np.arange(12, dtype=np.float32)},
        ["e", "y", "z"],
    ),
    "causal mask": model(
        [
            n("Shape", "x", "s", start=1, end=2),
            n("Squeeze", "s", "l"),
            n("Range", "nought l step", "i"),
            n("Unsqueeze", "i one", "c"),
            n("LessOrEqual", "i c", "m"),
            n("Cast", "m", "y", to=TensorProto.FLOAT),
            n("Concat", "s s", "sq", axis=0),
            n("ConstantOfShape", "sq", "full"),
            n("Trilu", "full", "t", upper=0),
            n("EyeLike", "full", "eye"),
        ],
        X,
        {"one": ONE, "nought": np.array(0), "step": np.array(1)},
        ["y", "t", "eye"],
    ),
    "pads": model(
        [n("Pad", "x pads", "y"), n("Pad", "x pads _ axes", "z", mode="edge")],
        X,
        {"pads": np.array([0, 1, 2, 0, 3, 1]), "axes": np.array([0, 1, 2])},
        ["y", "z"],
    ),
    "splits": model(
        [n("Split", "x parts", "a b c", axis=2), n("Concat", "c a", "y", axis=2)],
        X,
        {"parts": np.array([2, 4, 6])},
        ["b", "y"],
    ),
    "resize by scales": model(
        [
            n(
                "Resize",
                "x _ up",
                "y",
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            ),
            n("Resize", "x _ up", "z", mode="linear"),
            n("Resize", "x _ odd", "w", mode="linear", coordinate_transformation_mode="asymmetric"),
        ],
        IMAGE,
        {"up": np.array([1, 1, 2, 2], np.float32), "odd": np.array([1, 1, 1.5, 3], np.float32)},
        ["y", "z", "w"],
    ),
    "resize to another image": model(
        [
            n("Shape", "x", "s"),
            n("Slice", "s zero two", "bc"),
            n("Mul", "s k", "big"),
            n("Slice", "big two four", "hw"),
            n("Concat", "bc hw", "t", axis=0),
            n("Resize", "x _ _ t", "y", mode="linear", coordinate_transformation_mode="align_corners"),
            n("Resize", "x _ _ t", "z", mode="cubic"),
        ],
        IMAGE,
        {"zero": ZERO, "two": TWO, "four": np.array([4]), "k": np.array([3])},
        ["y", "z"],
    ),
    "pixels": model(
        [n("DepthToSpace", "x", "y", blocksize=2), n("SpaceToDepth", "y", "z", blocksize=2)],
        {"x": (TensorProto.FLOAT, ["B", 8, "S", 5])},
        {},
        ["y", "z"],
    ),
    "best of each": model(
        [n("TopK", "x k", "v i", axis=2), n("CumSum", "x one", "c")],
        X,
        {"k": np.array([3]), "one": np.array(1)},
        ["v", "i", "c"],
    ),
    "what is positive": model(
        [
            n("Greater", "x nought", "m"),
            n("NonZero", "m", "i"),
            n("Transpose", "i", "t"),
            n("GatherND", "x t", "y"),
            n("Shape", "y", "count"),
        ],
        X,
        {"nought": np.array(0, np.float32)},
        ["i", "y", "count"],
    ),
    "scatter into zeros": model(
        [
            n("Shape", "x", "s"),
            n("ConstantOfShape", "s", "z"),
            n("Greater", "x nought", "m"),
            n("NonZero", "m", "i"),
            n("Transpose", "i", "t"),
            n("GatherND", "x t", "u"),
            n("ScatterND", "z t u", "y"),
            n("Neg", "y", "w"),
        ],
        X,
        {"nought": np.array(0, np.float32)},
        ["w"],
    ),
}


@pytest.mark.parametrize("run", [run_by_interpreter, run_by_engine], ids=["interpreter", "engine"])
@pytest.mark.parametrize("name", CASES)
def test_sizes_known_at_run_time(name: str, run: Callable[..., Any]) -> None:
    check(CASES[name], run)


def branch(name: str, nodes: Sequence[Node]) -> onnx.GraphProto:
    """A body without inputs whose output is called after it."""
    made = [helper.make_node(kind, i, o, name=f"{name}_{k}", **a) for k, (kind, i, o, a) in enumerate(nodes)]
    return helper.make_graph(made, name, [], [onnx.ValueInfoProto(name=name)])


@pytest.mark.parametrize("run", [run_by_interpreter, run_by_engine], ids=["interpreter", "engine"])
@pytest.mark.parametrize("level", [-100.0, 100.0])
def test_a_body_chosen_by_the_data(level: float, run: Callable[..., Any]) -> None:
    then = branch("a", [n("Mul", "x x", "sq"), n("Slice", "sq zero minus one", "a")])
    otherwise = branch("b", [n("Neg", "x", "m"), n("Concat", "m x", "b", axis=1)])
    made = model(
        [n("ReduceSum", "x", "sum", keepdims=0), n("Greater", "sum level", "c"),
         n("If", "c", "y", then_branch=then, else_branch=otherwise), n("Relu", "y", "z"), n("Shape", "z", "s")],
        X, {"level": np.array(level, np.float32), "zero": ZERO, "minus": MINUS, "one": ONE}, ["z", "s"])  # fmt: skip
    check(made, run)


@pytest.mark.parametrize("run", [run_by_interpreter, run_by_engine], ids=["interpreter", "engine"])
def test_a_loop_of_known_length_is_unrolled(run: Callable[..., Any]) -> None:
    """Each round reads the step that its number names, and gives the running sum as a scan output."""
    nodes = [
        n("Gather", "x i", "step", axis=2),
        n("Add", "total step", "next"),
        n("Relu", "next", "seen"),
        n("Identity", "c", "go"),
    ]
    body = helper.make_graph(
        [helper.make_node(kind, i, o, name=f"body_{k}", **a) for k, (kind, i, o, a) in enumerate(nodes)],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("total", TensorProto.FLOAT, ["B", "S"]),
        ],
        [onnx.ValueInfoProto(name=o) for o in ("go", "next", "seen")],
    )
    made = model([n("ReduceSum", "x two", "start", keepdims=0), n("Loop", "rounds _ start", "y z", body=body)],
                 X, {"rounds": np.array(5), "two": TWO}, ["y", "z"])  # fmt: skip
    check(made, run)
