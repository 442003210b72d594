"""Models, profiles, arrays and engine files that are wrong: one of our errors, with a sentence that helps."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

import engineworks
from engineworks.errors import (
    BuildError,
    CorruptEngine,
    EngineError,
    InvalidInput,
    InvalidModel,
    UnsupportedOperator,
)

RELU = [("Relu", "x", "y", {})]


def _build(data: bytes, **options):
    return engineworks.build(data, effort=0, threads=1, **options)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a zip", b"\x00" * 100, b"# a text\n" * 50])
def test_a_file_that_is_no_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(InvalidModel, match=r"m\.onnx"):
        engineworks.build(path, effort=0)


def test_a_model_cut_short(model) -> None:
    data = model([("MatMul", "x w", "y", {})], {"x": (2, 300)}, ["y"], {"w": np.ones((300, 40), np.float32)})
    with pytest.raises(InvalidModel):
        _build(data[: len(data) // 2])


def test_a_path_that_leads_nowhere(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match=r"nothing\.onnx"):
        engineworks.build(tmp_path / "nothing.onnx", effort=0)


def test_external_data_that_is_missing(model, tmp_path: Path) -> None:
    import onnx

    data = onnx.load_from_string(
        model([("MatMul", "x w", "y", {})], {"x": (2, 300)}, ["y"], {"w": np.ones((300, 40), np.float32)})
    )
    onnx.save(data, str(tmp_path / "m.onnx"), save_as_external_data=True, location="weights.bin")
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(InvalidModel, match=r"weights\.bin") as error:
        engineworks.build(tmp_path / "m.onnx", effort=0)
    assert "'w'" in str(error.value)


def test_an_opset_too_new(model) -> None:
    with pytest.raises(InvalidModel, match="opset 99"):
        _build(model(RELU, {"x": (2,)}, ["y"], opset=99))


def test_all_unknown_operators_are_named_at_once(model) -> None:
    nodes = [("Foo", "x", "a", {}), ("Relu", "a", "b", {}), ("Bar", "b", "c", {}), ("Foo", "c", "y", {})]
    with pytest.raises(UnsupportedOperator) as error:
        _build(model(nodes, {"x": (2,)}, ["y"]))
    for word in ("Foo", "Bar", "Foo_0", "Foo_3", "Bar_2"):
        assert word in str(error.value)


def test_a_dynamic_axis_without_a_profile(model) -> None:
    with pytest.raises(InvalidModel, match="dynamic axes and no profile") as error:
        _build(model(RELU, {"x": ("batch", 3)}, ["y"]))
    assert "x: batchx3" in str(error.value) and "profile={'x'" in str(error.value)


@pytest.mark.parametrize(
    ("profile", "says"),
    [
        ({"z": ((1, 3), (1, 3), (2, 3))}, "names input 'z'; the model has 'x'"),
        ({"x": ((1,), (1,), (2,))}, "rank 2"),
        ({"x": ((4, 3), (1, 3), (2, 3))}, "min 4 <= opt 1"),
        ({"x": ((1, 3), (1, 3), (2, 5))}, "fixes it at 3"),
    ],
)
def test_a_profile_that_does_not_fit(model, profile, says: str) -> None:
    with pytest.raises(InvalidModel, match=says):
        _build(model(RELU, {"x": ("batch", 3)}, ["y"]), profile=profile)


def test_types_that_clash_name_the_node(model) -> None:
    with pytest.raises(InvalidModel, match="MatMul_0"):
        _build(model([("MatMul", "x w", "y", {})], {"x": (2, 3)}, ["y"], {"w": np.ones((4, 5), np.float32)}))


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({}, "input 'x' is missing"),
        ({"X": np.ones((2, 3), np.float32)}, "no input is called 'X'.\n  The engine takes x: f32"),
        ({"x": np.ones((2, 3))}, r"expected f32\[batch, 3\], got f64\[2, 3\]"),
        ({"x": np.ones((2, 4), np.float32)}, "axis 1 must be 3"),
        ({"x": np.ones(3, np.float32)}, "got 1 axes"),
        ({"x": np.ones((9, 3), np.float32)}, "batch.* is 9; the engine was built for 1 to 8"),
    ],
)
def test_arrays_that_do_not_fit(model, arrays, says: str) -> None:
    engine = _build(model(RELU, {"x": ("batch", 3)}, ["y"]), profile={"x": ((1, 3), (2, 3), (8, 3))})
    with pytest.raises(InvalidInput, match=says):
        engine(**arrays)


def test_an_array_that_is_not_contiguous(model) -> None:
    engine = _build(model(RELU, {"x": (4, 6)}, ["y"]))
    wide = np.random.default_rng(0).normal(size=(12, 8)).astype(np.float32)
    for view in (wide.T[1:5, ::2], wide[3::-1, 1:7], np.broadcast_to(wide[:4, :1], (4, 6))):
        np.testing.assert_array_equal(engine(x=view)["y"], np.maximum(view, 0))


def test_an_engine_cut_short_anywhere(model, tmp_path: Path) -> None:
    data = _build(
        model([("MatMul", "x w", "y", {})], {"x": (2, 30)}, ["y"], {"w": np.ones((30, 4), np.float32)})
    ).serialize()
    path = tmp_path / "e.engine"
    for length in (0, 7, 40, 200, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(CorruptEngine):
            engineworks.load(path)


def test_an_engine_with_a_changed_byte_is_found_out(model) -> None:
    data = bytearray(_build(model(RELU, {"x": (64,)}, ["y"])).serialize())
    for place in range(0, len(data), max(1, len(data) // 60)):
        changed = bytearray(data)
        changed[place] ^= 0x20
        try:
            engine = engineworks.load(bytes(changed), verify=True)
        except EngineError:
            continue
        assert engine(x=-np.ones(64, np.float32))["y"].max() == 0, f"byte {place} is not covered"


def test_an_unknown_target(model) -> None:
    with pytest.raises(BuildError, match="no kernels are generated for 'tpu'; there are cpu, cuda"):
        _build(model(RELU, {"x": (2,)}, ["y"]), target="tpu:v9")


@pytest.mark.parametrize("threads", [1, 2])
def test_many_threads_with_contexts_of_their_own(model, threads: int) -> None:
    weights = {"w": np.random.default_rng(0).normal(size=(64, 48)).astype(np.float32)}
    nodes = [("MatMul", "x w", "m", {}), ("Softmax", "m", "y", {"axis": -1})]
    engine = engineworks.build(model(nodes, {"x": ("n", 64)}, ["y"], weights), effort=0, threads=threads,
                               profile={"x": ((1, 64), (8, 64), (40, 64))})  # fmt: skip
    wrong: list[str] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        context = engine.context()
        for _ in range(25):
            x = rng.normal(size=(int(rng.integers(1, 41)), 64)).astype(np.float32)
            scores = np.exp(
                (product := x.astype(np.float64) @ weights["w"]) - product.max(axis=1, keepdims=True)
            )
            error = np.abs(context.run(x=x)["y"] - scores / scores.sum(axis=1, keepdims=True)).max()
            if not error < 1e-5:
                wrong.append(f"{seed}: {error}")

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong
