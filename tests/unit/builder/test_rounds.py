"""Loops that engines run themselves agree with ONNX Runtime, on one thread and on two; other forms are refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from msgspec import structs
from onnx import TensorProto, helper, numpy_helper

import engineworks
from engineworks.engine import container
from engineworks.errors import InvalidModel, UnsupportedOperator
from engineworks.frontends.importer import import_model
from engineworks.frontends.onnx.reader import read
from engineworks.ir.graph import Graph, regions_of
from engineworks.ir.interpret import interpret
from engineworks.ir.text import parse_graph, print_graph
from engineworks.ir.verify import verify
from engineworks.runtime.engine import Engine

onnxruntime = pytest.importorskip("onnxruntime")

TYPES = {"f": TensorProto.FLOAT, "i": TensorProto.INT64, "b": TensorProto.BOOL}
Feeds = dict[str, np.ndarray]
RNG = np.random.default_rng(3)


def _infos(spec: dict[str, tuple[str, list[Any]]]) -> list[onnx.ValueInfoProto]:
    return [helper.make_tensor_value_info(name, TYPES[kind], shape) for name, (kind, shape) in spec.items()]


def _graph(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[str, list[Any]]],
    outputs: dict[str, tuple[str, list[Any]]],
    **constants: Any,
) -> onnx.GraphProto:
    kept = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    return helper.make_graph(nodes, "g", _infos(inputs), _infos(outputs), initializer=kept)


def _model(graph: onnx.GraphProto) -> bytes:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


node = helper.make_node
ROUND = {"i": ("i", []), "c": ("b", [])}


def _on_any_number_of_threads(engine: Engine) -> Engine:
    """The engine without the limit that small networks get."""
    file = container.read(engine.serialize())
    return engineworks.load(container.encode(structs.replace(file.manifest, max_threads=0), file.sections))


def _check(model: bytes, feeds: list[Feeds], **options: Any) -> None:
    session = onnxruntime.InferenceSession(model)
    names = [o.name for o in session.get_outputs()]
    engine = _on_any_number_of_threads(
        engineworks.build(model, effort=0, timing_cache=False, verify=True, **options)
    )
    graph = import_model(read(model))
    verify(graph)
    for given in feeds:
        expected = dict(zip(names, session.run(None, given), strict=True))
        for results in (
            engine.context(threads=1).run(**given), engine.context(threads=2).run(**given), interpret(graph, given)
        ):  # fmt: skip
            for name in names:
                np.testing.assert_allclose(results[name], expected[name], rtol=1e-4, atol=1e-5, err_msg=name)


def _while(size: int = 5) -> bytes:
    """Grow x until the sum of squares reaches a bound."""
    shape = [3, size]
    body = _graph(
        [node("Add", ["x", "step"], ["x2"]), node("Mul", ["x2", "x2"], ["square"]),
         node("ReduceSum", ["square"], ["sum"], keepdims=0), node("Less", ["sum", "bound"], ["go"]),
         node("Identity", ["x2"], ["row"])],
        {**ROUND, "x": ("f", shape)},
        {"go": ("b", []), "x2": ("f", shape), "row": ("f", shape), "sum": ("f", [])},
    )  # fmt: skip
    return _model(
        _graph(
            [node("Add", ["x0", "x0"], ["start"]), node("Loop", ["M", "", "start"], ["last", "rows", "sums"], body=body),
             node("ReduceSum", ["rows"], ["total"], keepdims=0)],
            {"x0": ("f", shape), "step": ("f", shape), "bound": ("f", [])},
            {"last": ("f", shape), "rows": ("f", ["r", *shape]), "sums": ("f", ["r"]), "total": ("f", [])},
            M=np.int64(50),
        )
    )  # fmt: skip


@pytest.mark.parametrize("size", [5, 3001])
@pytest.mark.parametrize("target", ["cpu", "cpu:avx2"])
def test_the_body_decides_on_another_round(size: int, target: str) -> None:
    shape = (3, size)
    x, step = RNG.normal(size=shape).astype(np.float32), np.abs(RNG.normal(size=shape)).astype(np.float32)
    feeds = [{"x0": x, "step": step, "bound": np.array(b, np.float32)} for b in (0, 100 * size, 1e30)]
    _check(_while(size), feeds, target=target)


def test_the_limit_is_an_input() -> None:
    body = _graph(
        [node("MatMul", ["x", "w"], ["y"]), node("Tanh", ["y"], ["x2"]), node("Identity", ["c"], ["c2"]),
         node("Add", ["k", "i"], ["k2"])],
        {**ROUND, "x": ("f", [4, 8]), "k": ("i", [])}, {"c2": ("b", []), "x2": ("f", [4, 8]), "k2": ("i", [])},
    )  # fmt: skip
    model = _model(
        _graph(
            [node("Loop", ["M", "goes", "x0", "zero"], ["x", "k"], body=body)],
            {"M": ("i", []), "goes": ("b", []), "x0": ("f", [4, 8])}, {"x": ("f", [4, 8]), "k": ("i", [])},
            w=RNG.normal(size=(8, 8)).astype(np.float32), zero=np.int64(0),
        )
    )  # fmt: skip
    x = RNG.normal(size=(4, 8)).astype(np.float32)
    given = ((0, True), (1, True), (7, True), (7, False))
    _check(model, [{"M": np.array(m), "goes": np.array(goes), "x0": x} for m, goes in given])


def test_a_long_loop_carries_values_that_change_places() -> None:
    body = _graph(
        [node("Add", ["a", "b"], ["sum"]), node("Mul", ["sum", "half"], ["mean"]), node("Identity", ["c"], ["c2"]),
         node("Identity", ["b"], ["a2"])],
        {**ROUND, "a": ("f", [7]), "b": ("f", [7])},
        {"c2": ("b", []), "a2": ("f", [7]), "mean": ("f", [7]), "sum": ("f", [7])},
    )  # fmt: skip
    model = _model(
        _graph(
            [node("Loop", ["M", "", "a0", "b0"], ["a", "b", "all"], body=body)],
            {"a0": ("f", [7]), "b0": ("f", [7])}, {"a": ("f", [7]), "b": ("f", [7]), "all": ("f", ["r", 7])},
            M=np.int64(100), half=np.float32(0.5),
        )
    )  # fmt: skip
    engine = engineworks.build(model, effort=0, timing_cache=False)
    assert any(r.op == "jump" and r.target < n for n, r in enumerate(engine.manifest.program))
    _check(model, [{name: RNG.normal(size=7).astype(np.float32) for name in ("a0", "b0")}])


def _nested() -> bytes:
    """Rounds within rounds; in the inner ones an If, and a size that the data decide."""
    then = _graph([node("Add", ["v", "v"], ["t"])], {}, {"t": ("f", [6])})
    otherwise = _graph([node("Sub", ["v", "one"], ["e"])], {}, {"e": ("f", [6])})
    inner = _graph(
        [node("ReduceSum", ["v"], ["s"], keepdims=0), node("Less", ["s", "zero"], ["neg"]),
         node("If", ["neg"], ["v1"], then_branch=then, else_branch=otherwise),
         node("Greater", ["v1", "zero"], ["pos"]), node("NonZero", ["pos"], ["where"]),
         node("Gather", ["v1", "where"], ["found"]), node("ReduceSum", ["found"], ["f"], keepdims=0),
         node("Less", ["f", "bound"], ["go"])],
        {"j": ("i", []), "d": ("b", []), "v": ("f", [6])}, {"go": ("b", []), "v1": ("f", [6]), "f": ("f", [])},
    )  # fmt: skip
    outer = _graph(
        [node("Loop", ["N", "", "u"], ["u1", "fs"], body=inner), node("ReduceSum", ["fs"], ["all"], keepdims=0),
         node("Add", ["u1", "drop"], ["u2"]), node("Less", ["all", "limit"], ["go2"])],
        {**ROUND, "u": ("f", [6])}, {"go2": ("b", []), "u2": ("f", [6]), "all": ("f", [])},
    )  # fmt: skip
    return _model(
        _graph(
            [node("Loop", ["M", "", "u0"], ["u", "sums"], body=outer)],
            {"u0": ("f", [6]), "drop": ("f", [6]), "bound": ("f", []), "limit": ("f", [])},
            {"u": ("f", [6]), "sums": ("f", ["r"])},
            N=np.int64(9), M=np.int64(7), zero=np.float32(0), one=np.float32(1),
        )
    )  # fmt: skip


def test_rounds_within_rounds_with_branches_and_sizes_of_the_data() -> None:
    feeds = [
        {"u0": RNG.normal(size=6).astype(np.float32), "drop": RNG.normal(size=6).astype(np.float32),
         "bound": np.array(b, np.float32), "limit": np.array(m, np.float32)}
        for b, m in ((3, 50), (30, 1e9), (-1, -1))
    ]  # fmt: skip
    _check(_nested(), feeds)


def _branching() -> bytes:
    """A loop over tensors of a size that inputs give, in one branch of an If."""
    body = _graph(
        [node("Mul", ["x", "half"], ["x2"]), node("ReduceSum", ["x2"], ["s"], keepdims=0),
         node("Greater", ["s", "bound"], ["go"]), node("Identity", ["x2"], ["row"])],
        {**ROUND, "x": ("f", ["N", 4])}, {"go": ("b", []), "x2": ("f", ["N", 4]), "row": ("f", ["N", 4])},
    )  # fmt: skip
    then = _graph(
        [node("Loop", ["M", "", "x0"], ["last", "rows"], body=body), node("ReduceSum", ["rows", "first"], ["t"], keepdims=0)],
        {}, {"t": ("f", ["N", 4])},
    )  # fmt: skip
    otherwise = _graph([node("Neg", ["x0"], ["e"])], {}, {"e": ("f", ["N", 4])})
    return _model(
        _graph(
            [node("If", ["which"], ["y"], then_branch=then, else_branch=otherwise)],
            {"x0": ("f", ["N", 4]), "bound": ("f", []), "which": ("b", [])}, {"y": ("f", ["N", 4])},
            M=np.int64(80), half=np.float32(0.5), first=np.array([0]),
        )
    )  # fmt: skip


def test_a_loop_in_a_branch_carries_what_inputs_size() -> None:
    feeds = [
        {
            "x0": RNG.uniform(1, 2, (n, 4)).astype(np.float32),
            "bound": np.array(0.01, np.float32),
            "which": np.array(w),
        }
        for n, w in ((1, True), (7, True), (9000, True), (7, False))
    ]
    _check(_branching(), feeds, profile={"x0": ([1, 4], [7, 4], [9000, 4])})


def _scan(length: int | str, backward: list[int], out_axes: list[int]) -> bytes:
    body = _graph(
        [node("MatMul", ["s", "w"], ["sw"]), node("Add", ["sw", "x"], ["a"]), node("Mul", ["a", "y"], ["ay"]),
         node("Tanh", ["ay"], ["s2"]), node("Identity", ["s2"], ["o"]), node("ReduceSum", ["s2", "last"], ["p"], keepdims=0)],
        {"s": ("f", [2, 4]), "x": ("f", [2, 4]), "y": ("f", [2, 1])}, {"s2": ("f", [2, 4]), "o": ("f", [2, 4]), "p": ("f", [2])},
    )  # fmt: skip
    scan = node(
        "Scan", ["s0", "xs", "ys"], ["s", "os", "ps"], body=body, num_scan_inputs=2, scan_input_axes=[0, 1],
        scan_input_directions=backward, scan_output_axes=out_axes, scan_output_directions=backward,
    )  # fmt: skip
    stacks = [[2, 4], [2]]
    for shape, axis in zip(stacks, out_axes, strict=True):
        shape.insert(axis, length)  # type: ignore[arg-type]
    return _model(
        _graph(
            [scan],
            {"s0": ("f", [2, 4]), "xs": ("f", [length, 2, 4]), "ys": ("f", [2, length, 1])},
            {"s": ("f", [2, 4]), "os": ("f", stacks[0]), "ps": ("f", stacks[1])},
            w=RNG.normal(size=(4, 4)).astype(np.float32), last=np.array([1]),
        )
    )  # fmt: skip


def _sequences(length: int) -> Feeds:
    shapes = {"s0": (2, 4), "xs": (length, 2, 4), "ys": (2, length, 1)}
    return {name: RNG.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize(("backward", "out_axes"), [([0, 0], [0, 0]), ([1, 0], [0, 1])])
def test_sequences_may_have_any_length(backward: list[int], out_axes: list[int]) -> None:
    profile = {"xs": ([1, 2, 4], [8, 2, 4], [20, 2, 4]), "ys": ([2, 1, 1], [2, 8, 1], [2, 20, 1])}
    _check(_scan("T", backward, out_axes), [_sequences(n) for n in (1, 3, 20)], profile=profile)


def test_a_long_sequence_is_not_unrolled() -> None:
    model = _scan(300, [0, 1], [1, 0])
    _check(model, [_sequences(300)])
    assert len(engineworks.build(model, effort=0, timing_cache=False).manifest.program) < 40


def _arrays(graph: Graph) -> Iterator[tuple[str, np.ndarray]]:
    yield from ((v.constant.hash, v.array) for v in graph.values() if v.constant is not None)
    for region in (r for n in graph.nodes for r in regions_of(n.op)):
        yield from _arrays(region.graph)


@pytest.mark.parametrize(
    "model", [_while(), _nested(), _scan("T", [1, 0], [0, 1])], ids=["while", "nested", "scan"]
)
def test_loops_read_back_as_text(model: bytes) -> None:
    graph = import_model(read(model))
    text = print_graph(graph)
    again = parse_graph(text, dict(_arrays(graph)))
    verify(again)
    assert print_graph(again) == text


@pytest.mark.parametrize("limit", [3, 90])
def test_the_number_of_the_round_may_be_a_vector_of_one(limit: int) -> None:
    body = _graph(
        [node("Cast", ["i"], ["fi"], to=TensorProto.FLOAT), node("Concat", ["fi", "x"], ["ix"], axis=0),
         node("ReduceSum", ["ix", "first"], ["x2"], keepdims=1), node("Identity", ["c"], ["c2"])],
        {"i": ("i", [1]), "c": ("b", [1]), "x": ("f", [1])}, {"c2": ("b", [1]), "x2": ("f", [1])},
    )  # fmt: skip
    graph = _graph(
        [node("Loop", ["M", "", "x0"], ["x"], body=body)],
        {"x0": ("f", [1])}, {"x": ("f", [1])}, M=np.int64(limit), first=np.array([0]),
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    result = engineworks.build(model.SerializeToString(), effort=0, timing_cache=False)(
        x0=np.ones(1, np.float32)
    )
    assert result["x"].tolist() == [1 + limit * (limit - 1) / 2]


def test_a_loop_without_end_is_refused() -> None:
    body = _graph(
        [node("Add", ["x", "x"], ["x2"]), node("Identity", ["c"], ["c2"])],
        {**ROUND, "x": ("f", [2])}, {"c2": ("b", []), "x2": ("f", [2])},
    )  # fmt: skip
    model = _model(
        _graph([node("Loop", ["", "", "x0"], ["x"], body=body)], {"x0": ("f", [2])}, {"x": ("f", [2])})
    )
    with pytest.raises(InvalidModel, match="goes on for ever"):
        engineworks.build(model, effort=0, timing_cache=False)


def _growing(bound: bool) -> bytes:
    """A carried value that grows by a row each round."""
    body = _graph(
        [node("Concat", ["x", "row"], ["x2"], axis=0), node("ReduceSum", ["x2"], ["s"], keepdims=0),
         node("Less", ["s", "bound"], ["go"]), node("Identity", ["row"], ["r"])],
        {**ROUND, "x": ("f", ["k", 2])}, {"go": ("b", []), "x2": ("f", ["k2", 2]), "r": ("f", [1, 2])},
    )  # fmt: skip
    if bound:
        body.node[0].CopyFrom(node("Add", ["x", "row"], ["x2"]))
    return _model(
        _graph(
            [node("Loop", ["", "true", "x0"], ["x", "rows"], body=body)],
            {"x0": ("f", [3, 2]), "row": ("f", [1, 2]), "bound": ("f", [])},
            {"x": ("f", ["k", 2]), "rows": ("f", ["r", 1, 2])}, true=np.array(True),
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    ("bound", "reason"), [(False, "its shape must stay"), (True, "nothing bounds the number of rounds")]
)
def test_loops_without_bounds_are_refused_with_the_reason(bound: bool, reason: str) -> None:
    with pytest.raises(UnsupportedOperator, match=reason):
        engineworks.build(_growing(bound), effort=0, timing_cache=False)
