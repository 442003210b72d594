"""The ONNX reader: what it makes of good files, and what it says about bad ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engineworks.errors import InvalidModel, UnsupportedOperator
from engineworks.frontends.importer import import_model
from engineworks.frontends.onnx.reader import read
from engineworks.ir.interpret import interpret


def _add(model, weight: np.ndarray) -> onnx.ModelProto:
    return model(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        {"x": ["N", 3]},
        ["y"],
        [numpy_helper.from_array(weight, "w")],
    )


def test_reads_names_shapes_and_opsets(model) -> None:
    foreign = read(_add(model, np.ones((1, 3), np.float32)).SerializeToString())
    assert foreign.inputs[0].shape == ("N", 3)
    assert foreign.outputs == ["y"]
    assert foreign.opsets == {"": 17}
    assert foreign.nodes[0].name == "y"


@pytest.mark.parametrize(
    "dtype", ["float32", "float16", "float64", "int8", "uint16", "int64", "bool", "uint8"]
)
def test_weights_keep_their_bits(model, dtype: str) -> None:
    weight = np.arange(6).reshape(2, 3).astype(dtype)
    foreign = read(_add(model, weight).SerializeToString())
    np.testing.assert_array_equal(foreign.constants["w"](), weight)
    assert foreign.constants["w"]().dtype == weight.dtype


def test_packed_four_bit_weights_are_unpacked(model) -> None:
    proto = helper.make_tensor("w", TensorProto.INT4, [3], [-8, 7, 1])
    made = model([helper.make_node("Identity", ["w"], ["y"])], {"x": [1]}, ["y"], [proto], opset=21)
    assert read(made.SerializeToString()).constants["w"]().astype(int).tolist() == [-8, 7, 1]


def test_strings_are_text(model) -> None:
    proto = helper.make_tensor("w", TensorProto.STRING, [2], [b"one", b"zwei"])
    made = model([], {"x": [1]}, ["x"], [proto])
    assert read(made.SerializeToString()).constants["w"]().tolist() == ["one", "zwei"]


def test_sparse_weights_become_dense(model) -> None:
    made = model([], {"x": [1]}, ["x"])
    values = numpy_helper.from_array(np.array([5.0, 7.0], np.float32), "w")
    indices = numpy_helper.from_array(np.array([[0, 1], [1, 0]], np.int64), "i")
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2, 2]))
    assert read(made.SerializeToString()).constants["w"]().tolist() == [[0, 5], [7, 0]]


def test_external_data_is_read_from_the_models_folder(model, tmp_path: Path) -> None:
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    onnx.save(
        _add(model, weight),
        tmp_path / "m.onnx",
        save_as_external_data=True,
        location="w.bin",
        size_threshold=0,
    )
    np.testing.assert_array_equal(read(tmp_path / "m.onnx").constants["w"](), weight)


def test_missing_external_data_names_tensor_file_and_folder(model, tmp_path: Path) -> None:
    made = _add(model, np.zeros((2, 3), np.float32))
    onnx.save(made, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    (tmp_path / "w.bin").unlink()
    with pytest.raises(InvalidModel, match=r"tensor 'w' keeps its data in 'w.bin', which is not in .*"):
        read(tmp_path / "m.onnx")


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", ""])
def test_external_data_outside_of_the_folder_is_refused(model, tmp_path: Path, location: str) -> None:
    made = _add(model, np.zeros((2, 3), np.float32))
    tensor = made.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    tensor.external_data.add(key="location", value=location)
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(InvalidModel, match="outside of the model's folder"):
        read(tmp_path / "m.onnx")


def test_external_data_cut_short_is_refused(model, tmp_path: Path) -> None:
    made = _add(model, np.zeros((2, 3), np.float32))
    onnx.save(made, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    (tmp_path / "w.bin").write_bytes(b"12345678")
    with pytest.raises(InvalidModel, match="cut short"):
        read(tmp_path / "m.onnx")


def test_a_weight_whose_bytes_do_not_fit_is_refused(model) -> None:
    made = _add(model, np.zeros((2, 3), np.float32))
    made.graph.initializer[0].raw_data = b"1234"
    with pytest.raises(InvalidModel, match="tensor 'w'"):
        read(made.SerializeToString()).constants["w"]()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"not a model" * 9, "is not an ONNX model"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ],
)
def test_bytes_that_are_no_model(data: bytes, says: str) -> None:
    with pytest.raises(InvalidModel, match=says):
        read(data)


def test_a_path_that_leads_nowhere() -> None:
    with pytest.raises(InvalidModel, match=r"there is no file 'missing\.onnx'"):
        read("missing.onnx")


def test_an_opset_from_the_future(model) -> None:
    with pytest.raises(InvalidModel, match="opset 999; the installed onnx"):
        read(model([], {"x": [1]}, ["x"], opset=999).SerializeToString())


def test_a_type_that_is_lacking_names_its_tensor(model) -> None:
    made = model([], {"x": [1]}, ["x"])
    made.graph.input[0].type.tensor_type.elem_type = TensorProto.COMPLEX64
    with pytest.raises(UnsupportedOperator, match="'x' has element type complex64"):
        read(made.SerializeToString())


def test_functions_of_the_model_are_inlined(model) -> None:
    body = [helper.make_node("Relu", ["a"], ["b"])]
    function = helper.make_function("mine", "Act", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    made = model([helper.make_node("Act", ["x"], ["y"], domain="mine")], {"x": [1]}, ["y"], domains=["mine"])
    made.functions.append(function)
    assert [n.kind for n in read(made.SerializeToString()).nodes] == ["Relu"]


def test_an_input_listed_as_initializer_is_a_constant(model) -> None:
    made = _add(model, np.ones((1, 3), np.float32))
    made.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [1, 3]))
    assert [i.name for i in read(made.SerializeToString()).inputs] == ["x"]


def test_an_opset_older_than_broadcasting_keeps_its_meaning(model) -> None:
    node = helper.make_node("Add", ["x", "w"], ["y"], broadcast=1, axis=0)
    weight = numpy_helper.from_array(np.array([1, 2], np.float32), "w")
    made = model([node], {"x": [2, 3]}, ["y"], [weight], opset=6)
    made.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [2]))
    graph = import_model(read(made.SerializeToString()))
    x = np.zeros((2, 3), np.float32)
    assert interpret(graph, {"x": x})["y"].tolist() == [[1, 1, 1], [2, 2, 2]]
