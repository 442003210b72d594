"""Every network of the zoo: its small form runs in ONNX Runtime and says something."""

from __future__ import annotations

import os

import numpy as np
import pytest

pytest.importorskip("torch")
onnxruntime = pytest.importorskip("onnxruntime")

from benchmarks import zoo  # noqa: E402  after the packages it needs are known to be there
from benchmarks.models.packaged import PackageMissing  # noqa: E402


def _model(name: str, dynamic: bool = False) -> zoo.ZooModel:
    try:
        return zoo.get(name, size="small", dynamic=dynamic)
    except PackageMissing as missing:
        pytest.skip(str(missing))


def _run(model: zoo.ZooModel, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(os.fspath(model.path), options).run(None, inputs)


@pytest.mark.parametrize("name", zoo.names())
def test_outputs_are_not_vacuous(name: str) -> None:
    model = _model(name)
    outputs = [value for value in _run(model, model.inputs) if value.size > 1]
    assert outputs
    for value in outputs:
        assert np.isfinite(value).all()
        assert value.std() > 1e-3


@pytest.mark.parametrize("name", zoo.names())
def test_dynamic_form_agrees_at_the_usual_shape(name: str) -> None:
    fixed, dynamic = _model(name), _model(name, dynamic=True)
    for a, b in zip(_run(fixed, fixed.inputs), _run(dynamic, dynamic.inputs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * np.abs(a).max())


@pytest.mark.parametrize("name", zoo.names())
def test_profile_spans_the_usual_shape(name: str) -> None:
    model = _model(name, dynamic=True)
    assert model.profile is not None
    assert any(least != most for least, _, most in model.profile.values())
    for least, usual, most in model.profile.values():
        assert all(a <= b <= c for a, b, c in zip(least, usual, most, strict=True))


def test_inputs_take_other_sizes() -> None:
    model = _model("bert_base", dynamic=True)
    inputs = zoo.inputs_at("bert_base", "small", batch=3, length=21)
    assert {value.shape for value in inputs.values()} == {(3, 21)}
    states, pooled = _run(model, inputs)
    assert states.shape == (3, 21, 64) and pooled.shape == (3, 64)
    with pytest.raises(ValueError, match="dynamic axes batch, length"):
        zoo.inputs_at("bert_base", "small", width=3)


def test_the_torch_module_computes_what_the_file_does() -> None:
    import torch

    model = _model("minilm")
    made = zoo.torch_module("minilm", "small")
    assert made is not None
    module, names = made
    with torch.no_grad():
        results = module(*(torch.from_numpy(v) for v in model.inputs.values()))
    for name, a, b in zip(names, results, _run(model, model.inputs), strict=True):
        np.testing.assert_allclose(a.numpy(), b, rtol=1e-4, atol=1e-5, err_msg=name)


def test_unknown_networks_are_refused() -> None:
    with pytest.raises(ValueError, match="there are resnet50"):
        zoo.get("resnet51")
