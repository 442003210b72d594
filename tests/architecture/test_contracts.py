"""Lower rooms never know upper ones: the contracts of pyproject.toml."""

from __future__ import annotations

import subprocess
import sys
import tomllib

import pytest

from tests.architecture.sources import PACKAGE, ROOT

LINTER = (sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()")


def lint(folder) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LINTER, "--no-logo", "--no-cache"], cwd=folder, capture_output=True, text=True, check=False
    )


def test_the_import_contracts_are_kept() -> None:
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout


def test_every_room_is_part_of_the_layers() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(c["layers"] for c in contracts if c["type"] == "layers")
    ordered = {room.strip().removeprefix("engineworks.") for line in layers for room in line.split("|")}
    there = {p.stem for p in PACKAGE.glob("*.py")} | {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    assert there - {"__init__"} == ordered


def test_what_operators_share_begins_with_an_underscore() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    allowed = next(c["ignore_imports"] for c in contracts if c["type"] == "independence")
    shared = {line.rpartition(".")[2] for line in allowed if line.startswith("engineworks.ops.*")}
    assert shared == {p.stem for p in (PACKAGE / "ops").glob("_*.py")} - {"__init__"}


@pytest.mark.parametrize(
    ("planted", "contract"),
    [
        ("core/planted.py:import engineworks.ir.graph", "rooms point down"),
        ("runtime/planted.py:import llvmlite", "what we ship and what we reason with needs no compiler"),
        ("ops/planted.py:import engineworks.ops.softmax", "operators are independent"),
        ("builder/planted.py:import onnx", "onnx has one home"),
    ],
)
def test_a_planted_violation_is_found(tmp_path, planted: str, contract: str) -> None:
    where, _, line = planted.partition(":")
    for path in PACKAGE.rglob("*.py"):
        copy = tmp_path / "src" / "engineworks" / path.relative_to(PACKAGE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    (tmp_path / "src" / "engineworks" / where).write_text(line + "\n")
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    program = f"import sys; sys.path.insert(0, {str(tmp_path / 'src')!r}); " + LINTER[2]
    result = subprocess.run(
        [sys.executable, "-c", program, "--no-logo", "--no-cache"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert contract in result.stdout.partition("Broken contracts")[2]
