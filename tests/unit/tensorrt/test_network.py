"""Layers and tensors of a parsed network: types, wishes, ranges."""

from __future__ import annotations

import pytest
from onnx import TensorProto, helper

import engineworks.tensorrt as trt
from engineworks.tensorrt.layer_types import layer_type
from tests.unit.tensorrt.models import make_model


@pytest.fixture
def network(logger) -> trt.INetworkDefinition:
    made = trt.Builder(logger).create_network(1)
    assert trt.OnnxParser(made, logger).parse(make_model("N"))
    return made


def test_layers_tell_their_kind_and_tensors(network) -> None:
    assert [layer.name for layer in network] == ["fc", "act"]
    assert [layer.type for layer in network] == [trt.LayerType.MATRIX_MULTIPLY, trt.LayerType.ACTIVATION]
    fc = network.get_layer(0)
    assert (fc.num_inputs, fc.num_outputs) == (2, 1)
    assert fc.get_input(0) is network.get_input(0)
    assert fc.get_input(1).shape == (8, 4) and fc.get_input(1).dtype == trt.float32
    assert fc.get_input(2) is None
    assert fc.get_output(0) is network.get_layer(1).get_input(0)
    assert network.get_layer(1).get_output(0) is network.get_output(0)
    assert network.get_output(0).is_network_output and not network.get_output(0).is_network_input


def test_types_have_numbers_of_their_own() -> None:
    assert [int(kind) for kind in trt.LayerType] == list(range(51))
    assert layer_type("Conv") is trt.LayerType.CONVOLUTION
    assert layer_type("Unheard") is trt.LayerType.PLUGIN_V3


def test_tensors_that_no_output_needs_have_types_too(logger) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Shape", ["x"], ["s"])]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 8]) for n in "xy")
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y]), opset_imports=[helper.make_opsetid("", 17)]
    )
    network = trt.Builder(logger).create_network(1)
    assert trt.OnnxParser(network, logger).parse(model.SerializeToString())
    unread = network.get_layer(1).get_output(0)
    assert unread.shape == (2,) and unread.dtype == trt.int64


def test_a_wish_stays_until_it_is_reset(network) -> None:
    layer = network.get_layer(0)
    assert layer.precision == trt.float32 and not layer.precision_is_set
    layer.precision = trt.float16
    assert network.get_layer(0).precision == trt.float16 and network.get_layer(0).precision_is_set
    layer.reset_precision()
    assert not layer.precision_is_set


def test_output_types_can_be_wished(network) -> None:
    layer = network.get_layer(0)
    assert layer.get_output_type(0) == trt.float32 and not layer.output_type_is_set(0)
    layer.set_output_type(0, trt.float16)
    assert layer.get_output_type(0) == trt.float16 and layer.output_type_is_set(0)
    layer.reset_output_type(0)
    assert layer.get_output_type(0) == trt.float32
    with pytest.raises(IndexError, match="none is number 1"):
        layer.set_output_type(1, trt.float16)


def test_a_dynamic_range_can_be_set_and_reset(network) -> None:
    tensor = network.get_input(0)
    assert tensor.dynamic_range is None
    assert tensor.set_dynamic_range(-2, 3)
    assert network.get_input(0).dynamic_range == (-2.0, 3.0)
    tensor.dynamic_range = (-1, 1)
    assert tensor.dynamic_range == (-1.0, 1.0)
    tensor.reset_dynamic_range()
    assert tensor.dynamic_range is None


@pytest.mark.parametrize("ends", [(0, 0), (2, 1), (float("nan"), 1), (0, float("inf"))])
def test_an_empty_range_is_refused(network, ends) -> None:
    with pytest.raises(ValueError, match="dynamic range of 'x'"):
        network.get_input(0).dynamic_range = ends
