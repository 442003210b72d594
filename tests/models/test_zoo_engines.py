"""Engines of all networks on two threads, at the ends and in the middle of their profiles; their memory is planned well."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import pytest

pytest.importorskip("torch")
onnxruntime = pytest.importorskip("onnxruntime")

import engineworks  # noqa: E402  after the packages it needs are known to be there
from benchmarks import zoo  # noqa: E402
from benchmarks.models.packaged import PackageMissing  # noqa: E402
from engineworks.builder import report  # noqa: E402

ALLOWED = 1e-4
"""Of the largest value of each output."""
ARENA_ALLOWED = 1.05
"""Of the peak of bytes alive at once."""
MOST_INPUT_BYTES = 4 << 20
"""The largest shapes of networks beyond it are left to the benchmark."""


def _model(name: str, dynamic: bool) -> zoo.ZooModel:
    try:
        return zoo.get(name, size="small", dynamic=dynamic)
    except PackageMissing as missing:
        pytest.skip(str(missing))


def _resized(values: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Cut, or repeated from the start."""
    for axis, size in enumerate(shape):
        values = values.take(np.arange(size) % values.shape[axis], axis=axis)
    return values


def _session(model: zoo.ZooModel):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(os.fspath(model.path), options)


def _assert_same(engine: engineworks.Engine, session, inputs: dict[str, np.ndarray]) -> None:
    names = [output.name for output in session.get_outputs()]
    actual = engine(**inputs)
    for name, wanted in zip(names, session.run(names, inputs), strict=True):
        assert actual[name].shape == wanted.shape and actual[name].dtype == wanted.dtype
        error = np.abs(actual[name].astype(np.float64) - wanted).max(initial=0.0)
        assert error <= ALLOWED * np.abs(wanted).max(initial=1e-30), name


def _assert_planned_well(engine: engineworks.Engine) -> None:
    memory = report.decode(engine.report).memory
    assert memory.lower_bound_bytes <= memory.arena_bytes <= ARENA_ALLOWED * memory.lower_bound_bytes
    assert memory.arena_bytes <= memory.without_reuse_bytes


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo.names())
def test_static_engine_on_two_threads(name: str) -> None:
    model = _model(name, dynamic=False)
    engine = engineworks.build(model.path, effort=0, threads=2)
    _assert_planned_well(engine)
    _assert_same(engine, _session(model), model.inputs)


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo.names())
def test_dynamic_engine_at_the_ends_of_its_profile(name: str) -> None:
    model = _model(name, dynamic=True)
    engine = engineworks.build(model.path, profile=model.profile, effort=0, threads=2)
    _assert_planned_well(engine)
    session = _session(model)
    for place in range(3):
        inputs = {n: _resized(model.inputs[n], shapes[place]) for n, shapes in model.profile.items()}
        inputs |= {n: v for n, v in model.inputs.items() if n not in inputs}
        if sum(v.nbytes for v in inputs.values()) <= MOST_INPUT_BYTES:
            _assert_same(engine, session, inputs)
