"""Engines of the small networks, static and dynamic, compute what ONNX Runtime does."""

from __future__ import annotations

import os

import numpy as np
import pytest

pytest.importorskip("torch")
onnxruntime = pytest.importorskip("onnxruntime")

import engineworks  # noqa: E402  after the packages it needs are known to be there
from benchmarks import zoo  # noqa: E402
from benchmarks.cpu import largest_error  # noqa: E402
from benchmarks.models.packaged import PackageMissing  # noqa: E402

OTHER_SIZES = {
    "resnet50": [{"batch": 3}],
    "mobilenet_v3_large": [{"batch": 5}],
    "efficientnet_lite0": [{"batch": 2}],
    "unet": [{"batch": 2, "height": 64, "width": 96}, {"height": 32, "width": 128}],
    "yolo": [{"batch": 3}],
    "bert_base": [{"batch": 1, "length": 1}, {"batch": 3, "length": 17}],
    "minilm": [{"batch": 1, "length": 1}, {"batch": 8, "length": 64}],
    "vit_b16": [{"batch": 4}],
    "gpt2": [{"batch": 1, "length": 1}, {"batch": 2, "length": 33}],
    "lstm_tagger": [{"batch": 1, "length": 1}, {"batch": 3, "length": 30}],
    "ppocr_det": [{"height": 64, "width": 160}, {"batch": 2, "height": 160, "width": 96}],
    "ppocr_rec": [{"width": 32}, {"batch": 3, "width": 200}],
    "ppocr_cls": [{"batch": 5}],
    "magika": [{"batch": 7}],
    "silero_vad": [{"batch": 4}],
    "silero_vad_sequence": [{"frames": 1}, {"frames": 11}],
}
ALLOWED = 2e-4
"""Of the largest value: f32 sums in another order, through up to 60 layers."""


def _model(name: str, dynamic: bool) -> zoo.ZooModel:
    try:
        return zoo.get(name, size="small", dynamic=dynamic)
    except PackageMissing as missing:
        pytest.skip(str(missing))


def _engine(model: zoo.ZooModel) -> engineworks.Engine:
    return engineworks.build(model.path, profile=model.profile, effort=0, threads=1, timing_cache=False)


def _assert_same(model: zoo.ZooModel, engine: engineworks.Engine, inputs: dict[str, np.ndarray]) -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(os.fspath(model.path), options)
    names = [output.name for output in session.get_outputs()]
    expected = dict(zip(names, session.run(names, inputs), strict=True))
    assert largest_error(engine(**inputs), expected) < ALLOWED


@pytest.mark.parametrize("name", zoo.names())
def test_static_engine(name: str) -> None:
    model = _model(name, dynamic=False)
    _assert_same(model, _engine(model), model.inputs)


@pytest.mark.parametrize("name", zoo.names())
def test_one_dynamic_engine_serves_other_sizes(name: str) -> None:
    model = _model(name, dynamic=True)
    engine = _engine(model)
    for sizes in [{}, *OTHER_SIZES[name], {}]:
        _assert_same(model, engine, zoo.inputs_at(name, "small", **sizes))
