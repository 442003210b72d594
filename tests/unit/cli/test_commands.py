"""Each command on a small model: what it prints, what it writes, how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from engineworks.cli.main import COMMANDS


@pytest.mark.parametrize("name", [*COMMANDS, ""])
def test_every_command_has_help(command, name: str) -> None:
    outcome = command(*([name] if name else []), "--help")
    assert outcome.status == 0
    assert "Usage: engineworks" in outcome.out


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["build"],
        ["build", "m.onnx", "--effort", "much"],
        ["run", "m.onnx", "--unknown", "1"],
        ["build", "m.onnx", "--shapes", "x"],
    ],
)
def test_wrong_usage_ends_with_2_and_one_line(command, arguments: list[str]) -> None:
    outcome = command(*arguments)
    assert outcome.status == 2
    assert outcome.out == ""
    assert len(outcome.err.strip().splitlines()) == 1


@pytest.mark.parametrize("name", ["build", "run", "bench", "inspect", "explain", "opt"])
def test_a_missing_file_ends_with_1_and_its_name(command, name: str) -> None:
    outcome = command(name, "missing.onnx")
    assert outcome.status == 1
    assert "missing.onnx" in outcome.err
    assert "Traceback" not in outcome.err


def test_build_says_what_it_wrote(command, model: Path, tmp_path: Path) -> None:
    outcome = command("build", model, "-o", tmp_path / "e.engine", "-s", "x=2x8", "--effort", "0", "--json")
    result = json.loads(outcome.out)
    assert result["file_bytes"] == (tmp_path / "e.engine").stat().st_size
    assert result["inputs"] == {"x": "f32[2, 8]"}
    assert result["weights_bytes"] >= 8 * 4 * 4


def test_a_failed_build_leaves_no_file(command, model: Path, tmp_path: Path) -> None:
    outcome = command("build", model, "-o", tmp_path / "e.engine", "--effort", "0")
    assert outcome.status == 1
    assert "dynamic axes" in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_run_reads_and_writes_arrays(command, engine: Path, tmp_path: Path) -> None:
    given = np.ones((3, 8), np.float32)
    np.save(tmp_path / "x.npy", given)
    outcome = command("run", engine, "-i", f"x={tmp_path / 'x.npy'}", "-o", tmp_path / "out.npz", "--json")
    assert outcome.status == 0
    assert json.loads(outcome.out)["outputs"][0]["shape"] == "3x4"
    np.testing.assert_allclose(np.load(tmp_path / "out.npz")["y"].sum(axis=1), 1, rtol=1e-5)


def test_run_names_the_inputs_there_are(command, engine: Path) -> None:
    outcome = command("run", engine, "-i", "z=3")
    assert outcome.status == 2
    assert "no input is called 'z'; there are x" in outcome.err


def test_bench_gives_percentiles(command, engine: Path) -> None:
    outcome = command("bench", engine, "--seconds", "0.05", "--warmup", "0.01", "--layers", "--json")
    result = json.loads(outcome.out)
    assert 0 < result["engineworks"]["p50_s"] <= result["engineworks"]["p99_s"]
    assert result["layers"]


def test_inspect_shows_an_engine_and_a_model(command, engine: Path, model: Path) -> None:
    assert "N\t1\t" in command("inspect", engine, "--verify").out
    assert json.loads(command("inspect", engine, "--json").out)["inputs"][0]["name"] == "x"
    assert json.loads(command("inspect", model, "--json").out)["operators"] == {
        "MatMul": 1,
        "Relu": 1,
        "Softmax": 1,
    }


def test_inspect_sees_damage(command, engine: Path, tmp_path: Path) -> None:
    damaged = bytearray(engine.read_bytes())
    damaged[-1] ^= 1
    (tmp_path / "bad.engine").write_bytes(damaged)
    assert command("inspect", tmp_path / "bad.engine", "--verify").status == 1


def test_explain_tells_tactics_and_writes_a_page(command, engine: Path, tmp_path: Path) -> None:
    assert "matmul" in command("explain", engine, "--tactics", "--missed", "--rewrites").out
    assert command("explain", engine, "--html", tmp_path / "r.html").status == 0
    page = (tmp_path / "r.html").read_text()
    assert "<h2>Groups</h2>" in page
    assert "http" not in page


def test_compare_finds_an_engine_close(command, engine: Path, model: Path) -> None:
    outcome = command("compare", model, engine, "--layers", "--reference", "interpreter", "--json")
    result = json.loads(outcome.out)
    assert outcome.status == 0
    assert result["is_close"]
    assert result["outputs"][0]["relative"] < 1e-5


def test_compare_says_where_the_error_starts(command, engine: Path, model: Path, tmp_path: Path) -> None:
    import onnx
    from onnx import numpy_helper

    other = onnx.load(model)
    weight = numpy_helper.to_array(other.graph.initializer[0]) * 2
    other.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "w"))
    onnx.save(other, tmp_path / "other.onnx")
    outcome = command("compare", tmp_path / "other.onnx", engine, "--layers", "--reference", "interpreter")
    assert outcome.status == 1
    assert "TOO FAR" in outcome.out
    assert "the error starts at 'r'" in outcome.out


def test_opt_prints_the_textual_form(command, model: Path) -> None:
    assert "r = relu(h) : f32[N, 4] ; origin act" in command("opt", model, "--phase", "import").out


def test_tune_lists_the_kernels(command, model: Path) -> None:
    outcome = command("tune", model, "-s", "x=2x8", "--effort", "0", "--json")
    assert {g["tactic"].split()[0].split(".")[0] for g in json.loads(outcome.out)["groups"]} == {"cpu"}


def test_ops_lists_spellings(command) -> None:
    assert json.loads(command("ops", "softmax", "--json").out)["onnx"]["Softmax"] == [13, 1]


def test_doctor_builds_and_runs_an_engine(command) -> None:
    assert json.loads(command("doctor", "--json").out)["targets"]["cpu"]["works"]


def test_explain_lists_precisions_with_their_reasons(command, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "narrow.engine"
    layers = ["--layer-precisions", "f*:bf16", "--precision-constraints", "obey"]
    built = command("build", model, "-o", path, "-s", "x=2x8", "--effort", "0", *layers)
    assert built.status == 0, built.err
    outcome = command("explain", path, "--precision")
    assert "1 products, 1 in bf16" in outcome.out
    assert "asked for by layer_precisions" in outcome.out
    compared = command("compare", model, path, "--layers", "--tolerance", "0.05", "-s", "x=2x8")
    assert compared.status == 0, compared.out + compared.err


def test_layer_precisions_without_a_precision_are_wrong_usage(command, model: Path) -> None:
    outcome = command("build", model, "--layer-precisions", "fc")
    assert outcome.status == 2
    assert "NAME:PRECISION" in outcome.err
