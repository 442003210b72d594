"""Engines with plans for several targets on the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from engineworks.cli.main import main
from engineworks.engine import container
from engineworks.engine.schema import TargetRecord
from engineworks.engine.variants import plan_manifest

QUICK = ("--effort", "0", "--no-timing-cache", "--shapes", "x=1x8:2x8:4x8")
LISTED = """\
fat.engine: engine 'small' for 2 targets, written by Engineworks 0.1.0
  weights  128 B, those of several plans once
plan\ttarget\tkernels\tlaunches\tweights\tactivations\tcode
0\tcpu:x86-64-v3\t2\t2\t128 B\t64 B\tKiB
1\tcpu:x86-64-v4\t2\t2\t128 B\t64 B\tKiB
\tname\tdtype\tshape
input\tx\tf32\tNx8
output\ty\tf32\tNx4
dim\tmin\topt\tmax\tknown from
N\t1\t2\t4\tshape
section\tsize\tsha256
plan.0\tKiB\tsha256
code.0\tKiB\tsha256
report.0\tKiB\tsha256
plan.1\tKiB\tsha256
code.1\tKiB\tsha256
report.1\tKiB\tsha256
weights\t128 B\tsha256
all checksums are right
"""
"""Sizes in KiB and checksums follow the compiler's version, and are left out."""


@pytest.fixture(scope="module")
def fat(model: Path) -> Path:
    path = model.with_name("fat.engine")
    assert main(["build", str(model), "-o", str(path), "--target", "cpu:avx2,cpu:avx512", *QUICK]) == 0
    return path


def test_inspect_lists_the_plans(command, fat: Path) -> None:
    out = command("inspect", fat, "--verify").out.replace(f"{fat.parent}/", "")
    masked = re.sub(r"[0-9.]+ KiB", "KiB", re.sub(r"\b[0-9a-f]{16}\b", "sha256", out))
    assert masked == LISTED


def test_inspect_lists_launches_plan_by_plan(command, fat: Path) -> None:
    out = command("inspect", fat, "--kernels").out
    first, second = out.index("# cpu:x86-64-v3"), out.index("# cpu:x86-64-v4")
    assert out[first:second].count("lanes=8") == out[second:].count("lanes=16") == 2


def test_inspect_gives_the_manifest_of_each_plan(command, fat: Path) -> None:
    result = json.loads(command("inspect", fat, "--json").out)
    assert [v["target"]["arch"] for v in result["variants"]] == ["x86-64-v3", "x86-64-v4"]
    assert [p["program"][-1]["op"] for p in result["plans"]] == ["end", "end"]


def test_build_says_what_each_plan_has(command, model: Path, tmp_path: Path) -> None:
    arguments = ("build", model, "-o", tmp_path / "e.engine", "--target", "cpu:avx2,cpu:avx512", *QUICK)
    lines = command(*arguments).out.splitlines()
    assert lines[0].endswith("for cpu:x86-64-v3, cpu:x86-64-v4")
    assert [line.partition(" kernels")[0] for line in lines[1:3]] == [
        "  cpu:x86-64-v3: 2",
        "  cpu:x86-64-v4: 2",
    ]
    result = json.loads(command(*arguments, "--json").out)
    assert [p["target"] for p in result["plans"]] == ["cpu:x86-64-v3", "cpu:x86-64-v4"]
    assert result["file_bytes"] == (tmp_path / "e.engine").stat().st_size


def test_run_takes_the_plan_for_this_machine(command, fat: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((3, 8), np.float32))
    outcome = command("run", fat, "-i", f"x={tmp_path / 'x.npy'}", "-o", tmp_path / "out.npz", "--json")
    assert outcome.status == 0
    np.testing.assert_allclose(np.load(tmp_path / "out.npz")["y"].sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize(("plan", "arch"), [(0, "cpu:x86-64-v3"), (1, "cpu:x86-64-v4")])
def test_explain_takes_the_report_of_a_plan(command, fat: Path, plan: int, arch: str) -> None:
    assert f"'small' for {arch}, effort 0" in command("explain", fat, "--plan", plan).out


def test_explain_refuses_a_plan_that_is_not_there(command, fat: Path, engine: Path) -> None:
    assert "has no plan 2: it has 2, from 0 on" in command("explain", fat, "--plan", 2).err
    assert "has no plan 1: it has 1, from 0 on" in command("explain", engine, "--plan", 1).err


def test_tune_times_the_kernels_of_each_target(command, model: Path, tmp_path: Path) -> None:
    outcome = command(
        "tune", model, "--target", "cpu:avx2,cpu:avx512", "--effort", "0", "--no-timing-cache", "--shapes", "x=2x8",
        "--json",
    )  # fmt: skip
    tactics = [g["tactic"] for g in json.loads(outcome.out)["groups"]]
    assert [("lanes=8" in t, "lanes=16" in t) for t in tactics] == [(True, False)] * 2 + [(False, True)] * 2


def test_a_target_twice_is_wrong(command, model: Path) -> None:
    outcome = command("build", model, "--target", "cpu:avx2,cpu:avx2", *QUICK)
    assert outcome.status == 1
    assert "names a target twice" in outcome.err


def test_damage_of_a_plan_is_seen(command, fat: Path, tmp_path: Path) -> None:
    file = container.read(fat)
    data = bytearray(fat.read_bytes())
    data[data.index(bytes(file.sections["plan.1"])) + 9] ^= 1
    (tmp_path / "bad.engine").write_bytes(data)
    outcome = command("inspect", tmp_path / "bad.engine")
    assert outcome.status == 1
    assert "section 'plan.1' does not match its checksum" in outcome.err


@pytest.mark.parametrize(
    ("compatible", "shown"),
    [("", "cuda:sm_80 (NVIDIA A30)"), ("ampere_plus", "cuda:sm_80 (ampere_plus)")],
)
def test_the_gpus_that_a_plan_is_bound_to_are_named(
    command, fat: Path, compatible, shown: str, tmp_path: Path
) -> None:
    file = container.read(fat)
    target = TargetRecord("cuda", "sm_80", (), compatible, {"gpu": "NVIDIA A30"})
    first = structs.replace(plan_manifest(file, 0), target=target, program=(), kernels=(), buffers=())
    variants = (structs.replace(file.manifest.variants[0], target=target), file.manifest.variants[1])
    sections = dict(file.sections) | {"plan.0": container.encode_manifest(first)}
    outer = structs.replace(file.manifest, target=target, variants=variants)
    container.write(tmp_path / "gpu.engine", outer, sections)
    assert f"0\t{shown}\t" in command("inspect", tmp_path / "gpu.engine").out
