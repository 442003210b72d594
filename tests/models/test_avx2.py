"""Engines for AVX2: the small form of every network of the zoo agrees with ONNX Runtime, and hosts are checked."""

from __future__ import annotations

import os

import numpy as np
import pytest

pytest.importorskip("torch")
onnxruntime = pytest.importorskip("onnxruntime")

import engineworks  # noqa: E402  after the packages it needs are known to be there
from benchmarks import zoo  # noqa: E402
from benchmarks.models.packaged import PackageMissing  # noqa: E402
from engineworks.core import target as targets  # noqa: E402
from engineworks.errors import EngineMismatch  # noqa: E402


def _expected(model: zoo.ZooModel) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(os.fspath(model.path), options)
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, model.inputs), strict=True))


def _model(name: str, dynamic: bool) -> zoo.ZooModel:
    try:
        return zoo.get(name, size="small", dynamic=dynamic)
    except PackageMissing as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", zoo.names())
def test_network_agrees_with_onnx_runtime(name: str, dynamic: bool) -> None:
    model = _model(name, dynamic)
    engine = engineworks.build(model.path, target="cpu:avx2", effort=0, threads=1, profile=model.profile)
    assert set(engine.manifest.target.features) == set(targets.V3)
    results = engine(**model.inputs)
    for output, right in _expected(model).items():
        np.testing.assert_allclose(
            results[output],
            right,
            rtol=2e-3,
            atol=2e-4 * max(1.0, float(np.abs(right).max())),
            err_msg=output,
        )


def test_avx512_engine_is_refused_where_only_avx2_is(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engineworks.build(
        _model("magika", False).path, target="cpu:avx512", effort=0, threads=1
    ).serialize()
    monkeypatch.setattr(targets, "host_features", lambda: frozenset({*targets.V3, "avxvnni"}))
    targets.host.cache_clear()
    try:
        with pytest.raises(EngineMismatch) as refusal:
            engineworks.load(engine)
    finally:
        targets.host.cache_clear()
    lacking = [line.strip() for line in str(refusal.value).splitlines() if "cpu feature" in line]
    assert lacking == [f"cpu feature: {f}" for f in sorted(set(targets.V4) - set(targets.V3))]
    assert "--target cpu:avx2" in str(refusal.value)


def test_avx2_engine_runs_where_only_avx2_is(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model("magika", False)
    engine = engineworks.build(model.path, target="cpu:avx2", effort=0, threads=1).serialize()
    monkeypatch.setattr(targets, "host_features", lambda: frozenset(targets.V3))
    targets.host.cache_clear()
    try:
        results = engineworks.load(engine, threads=1)(**model.inputs)
    finally:
        targets.host.cache_clear()
    for output, right in _expected(model).items():
        np.testing.assert_allclose(results[output], right, rtol=2e-3, atol=2e-4)
