"""The importer: dims, constants, bodies and the report of what is unknown."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from engineworks.core.dims import symbol
from engineworks.errors import InvalidModel, UnsupportedOperator
from engineworks.frontends.importer import import_model
from engineworks.frontends.onnx.reader import read
from engineworks.ir.interpret import interpret
from engineworks.ir.verify import verify


def _sum(model):
    return read(
        model(
            [helper.make_node("Add", ["x", "z"], ["y"])], {"x": ["N", 3], "z": ["N", 3]}, ["y"]
        ).SerializeToString()
    )


def test_named_dims_become_symbols(model) -> None:
    graph = import_model(_sum(model))
    verify(graph)
    assert graph.outputs[0].type.shape == (symbol("N"), 3)


def test_dims_without_a_name_are_called_after_input_and_axis(model) -> None:
    foreign = read(
        model([helper.make_node("Relu", ["x:0"], ["y"])], {"x:0": [None, 3]}, ["y"]).SerializeToString()
    )
    assert import_model(foreign).inputs[0].type.shape == (symbol("x_0_0"), 3)


def test_names_that_are_no_identifiers_are_spelled_as_one(model) -> None:
    foreign = read(
        model(
            [helper.make_node("Relu", ["x"], ["y"])], {"x": ["batch size", "2*k"]}, ["y"]
        ).SerializeToString()
    )
    assert import_model(foreign).inputs[0].type.shape == (symbol("batch_size"), symbol("d_2_k"))


def test_a_given_size_fixes_its_name_everywhere(model) -> None:
    graph = import_model(_sum(model), input_shapes={"x": (4, 3)})
    assert graph.inputs[1].type.shape == (4, 3)


def test_ranges_belong_to_the_symbol(model) -> None:
    graph = import_model(_sum(model), dims={"N": (2, 8)})
    assert graph.inputs[0].type.shape[0] == symbol("N", 2, 8)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"input_shapes": {"q": (1,)}}, "the model's inputs are 'x', 'z'"),
        ({"input_shapes": {"x": (1, 2, 3)}}, "has 3 dims"),
        ({"input_shapes": {"x": (1, 5)}}, "the model is fixed to 3"),
        ({"input_shapes": {"x": (1, 3), "z": (2, 3)}}, "given as 1 and, at input 'z', as 2"),
        ({"dims": {"M": (1, 2)}}, "the model's dims are N"),
        ({"dims": {"N": (3, 2)}}, "range 3 to 2 is empty"),
        ({"fixed": {"q": np.zeros(1)}}, "no input of the model"),
    ],
)
def test_options_that_do_not_fit_are_explained(model, options, says: str) -> None:
    with pytest.raises(InvalidModel, match=says):
        import_model(_sum(model), **options)


def test_unknown_operators_are_reported_together(model) -> None:
    nodes = [
        helper.make_node("Foo", ["x"], ["a"], name="one", domain="mine"),
        helper.make_node("Foo", ["a"], ["b"], name="two", domain="mine"),
        helper.make_node("Bar", ["b"], ["y"], name="three"),
    ]
    foreign = read(model(nodes, {"x": [1]}, ["y"], domains=["mine"]).SerializeToString())
    with pytest.raises(UnsupportedOperator) as caught:
        import_model(foreign)
    assert "used by 3 nodes" in str(caught.value)
    assert "Foo (domain mine, opset 1): 2 nodes: one, two" in str(caught.value)
    assert "Bar (opset 17): 1 node: three" in str(caught.value)


def test_a_name_that_nothing_defines(model) -> None:
    foreign = read(model([helper.make_node("Relu", ["gone"], ["y"])], {"x": [1]}, ["y"]).SerializeToString())
    with pytest.raises(InvalidModel, match="reads 'gone', which no input, weight or earlier node defines"):
        import_model(foreign)


def test_nodes_carry_their_source_name(model) -> None:
    foreign = read(
        model([helper.make_node("Relu", ["x"], ["y"], name="act")], {"x": [1]}, ["y"]).SerializeToString()
    )
    graph = import_model(foreign)
    assert graph.nodes[0].origin == ("act",)
    assert graph.outputs[0].name == "y"


def test_chains_of_constants_never_become_nodes(model) -> None:
    weight = numpy_helper.from_array(np.array([[1.0, -2.0]], np.float32), "w")
    nodes = [
        helper.make_node("Relu", ["w"], ["a"]),
        helper.make_node("Transpose", ["a"], ["b"]),
        helper.make_node("Add", ["x", "b"], ["y"]),
    ]
    graph = import_model(read(model(nodes, {"x": [2, 1]}, ["y"], [weight]).SerializeToString()))
    assert [n.op.name for n in graph.nodes] == ["add"]
    assert interpret(graph, {"x": np.zeros((2, 1), np.float32)})["y"].tolist() == [[1], [0]]


def test_shape_arithmetic_stays_symbolic(model) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Concat", ["n", "minus"], ["t"], axis=0),
        helper.make_node("Reshape", ["x", "t"], ["y"]),
    ]
    weights = [
        numpy_helper.from_array(np.array([0], np.int64), "zero"),
        numpy_helper.from_array(np.array([-1], np.int64), "minus"),
    ]
    graph = import_model(read(model(nodes, {"x": ["N", 2, 3]}, ["y"], weights).SerializeToString()))
    assert graph.outputs[0].type.shape == (symbol("N"), 6)
    assert [n.op.name for n in graph.nodes] == ["reshape"]


def test_a_fixed_input_is_a_constant(model) -> None:
    graph = import_model(_sum(model), fixed={"z": np.ones((1, 3), np.float32)})
    assert [v.name for v in graph.inputs] == ["x"]


def test_bodies_read_outer_values_as_further_inputs(model) -> None:
    def body(name: str, kind: str):
        out = helper.make_tensor_value_info(name, TensorProto.FLOAT, [2])
        return helper.make_graph([helper.make_node(kind, ["a"], [name])], name, [], [out])

    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("If", ["c"], ["y"], then_branch=body("t", "Neg"), else_branch=body("e", "Abs")),
    ]
    made = model(nodes, {"x": [2]}, ["y"])
    made.graph.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    graph = import_model(read(made.SerializeToString()))
    verify(graph)
    feeds = {"x": np.array([3, -4], np.float32)}
    assert interpret(graph, feeds | {"c": np.array(True)})["y"].tolist() == [-3, 0]
    assert interpret(graph, feeds | {"c": np.array(False)})["y"].tolist() == [3, 0]
