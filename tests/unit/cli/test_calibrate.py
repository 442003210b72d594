"""engineworks calibrate: the cache it writes, what it prints, how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from engineworks.calibration.ranges import Ranges

SHAPES = ("--shapes", "x=1x8:4x8:4x8")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.npz"
    np.savez(path, x=np.random.default_rng(0).standard_normal((40, 8)).astype(np.float32))
    return path


def test_a_cache_is_written_and_told_of(command, model: Path, data: Path, tmp_path: Path) -> None:
    cache = tmp_path / "m.cache"
    outcome = command("calibrate", model, "--data", data, "-o", cache, "--method", "minmax", *SHAPES)
    assert outcome.status == 0
    assert "from 40 samples" in outcome.out
    ranges = Ranges.read(cache)
    assert ranges.algorithm == "MinMaxCalibration"
    assert set(ranges) == {"x", "h", "r", "y"}
    assert ranges["x"] * 127 == pytest.approx(float(np.abs(np.load(data)["x"]).max()), rel=1e-6)


def test_json_holds_the_statistics(command, model: Path, data: Path, tmp_path: Path) -> None:
    outcome = command("calibrate", model, "--data", data, "-o", tmp_path / "m.cache", "--limit", 6, "--batch", 2,
                      "--method", "percentile", "--percentile", 90, "--json", *SHAPES)  # fmt: skip
    result = json.loads(outcome.out)
    assert (result["samples"], result["batches"]) == (6, 3)
    tensor = result["tensors"]["x"]
    assert 0 < tensor["range"] < max(-tensor["low"], tensor["high"])
    assert tensor["scale"] == pytest.approx(tensor["range"] / 127)
    assert any("'x'" in warning and "clips" in warning for warning in result["warnings"])


def test_warnings_go_to_standard_error(command, model: Path, data: Path, tmp_path: Path) -> None:
    options = ("--method", "percentile", "--percentile", 90, *SHAPES)
    outcome = command("calibrate", model, "--data", data, "-o", tmp_path / "m.cache", *options)
    assert "warning: 'x': the range" in outcome.err
    quiet = command(
        "calibrate", model, "--data", data, "-o", tmp_path / "m.cache", *options, "--max-clipped", 0.2
    )
    assert "warning" not in quiet.err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--percentile", "99"], "method 'entropy' takes no parameter percentile"),
        (["--size", "224"], "--size 224x224"),
        (["--mean", "a,b"], "--mean 0.485"),
        (["--batch", "0"], "at least 1"),
        (["-o", "/nowhere/at/all/m.cache"], "there is no folder"),
    ],
)
def test_wrong_usage(command, model: Path, data: Path, options: list[str], sentence: str) -> None:
    outcome = command("calibrate", model, "--data", data, *options)
    assert outcome.status == 2
    assert sentence in outcome.err


def test_a_failure_leaves_no_file(command, model: Path, tmp_path: Path) -> None:
    cache = tmp_path / "m.cache"
    outcome = command("calibrate", model, "--data", tmp_path / "nothing", "-o", cache, *SHAPES)
    assert outcome.status == 1
    assert "no such folder or file" in outcome.err
    assert not cache.exists()


def test_stopping_leaves_no_file(command, model: Path, tmp_path: Path) -> None:
    script = tmp_path / "stop.py"
    script.write_text(
        "import numpy as np\ndef batches():\n    yield np.ones((1, 8), np.float32)\n    raise KeyboardInterrupt\n"
    )
    cache = tmp_path / "m.cache"
    outcome = command("calibrate", model, "--data", f"{script}:batches", "-o", cache, *SHAPES)
    assert outcome.status == 130
    assert list(tmp_path.iterdir()) == [script]
