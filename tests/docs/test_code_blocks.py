"""The code of the README, the guides and the developers' pages works: blocks of a page run in order, in one folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = ("README.md", *(str(p.relative_to(ROOT)) for p in sorted((ROOT / "docs" / "guides").glob("*.md"))),
         "docs/developers/add-an-operator.md")  # fmt: skip
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COMMAND = (sys.executable, "-c", "from engineworks.cli.main import run; run()")


def blocks(page: str, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall((ROOT / page).read_text()) if kind == language]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A cache of its own: what pages show is what a first build does."""
    return {**os.environ, "ENGINEWORKS_CACHE_DIR": str(tmp_path_factory.mktemp("cache"))}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Holds model.onnx: 'input' [N, 3, H, W] to 'scores' [N, 10], and inputs for it in batches.npz."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(5)
    weights = {
        "filters": random.normal(0, 0.2, (16, 3, 3, 3)),
        "bias": random.normal(0, 0.1, 16),
        "classes": random.normal(0, 0.3, (16, 10)),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["input", "filters", "bias"], ["found"], pads=[1, 1, 1, 1], name="stem"),
            helper.make_node("Relu", ["found"], ["kept"], name="stem/relu"),
            helper.make_node("GlobalAveragePool", ["kept"], ["pooled"], name="pool"),
            helper.make_node("Flatten", ["pooled"], ["flat"], name="flatten"),
            helper.make_node("MatMul", ["flat", "classes"], ["scores"], name="head"),
        ],
        "classifier",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(a.astype(np.float32), n) for n, a in weights.items()],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9),
        tmp_path / "model.onnx",
    )
    np.savez(tmp_path / "batches.npz", input=random.standard_normal((16, 3, 32, 32), np.float32))
    return tmp_path


def run(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{' '.join(command[-6:])}\n{result.stdout}{result.stderr}"


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")])
def test_python_blocks_run(page: str, folder: Path, environment: dict[str, str]) -> None:
    (folder / "page.py").write_text("\n".join(blocks(page, "python")))
    run([sys.executable, "page.py"], folder, environment)


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "sh")])
def test_commands_run(page: str, folder: Path, environment: dict[str, str]) -> None:
    lines = [line.partition("#")[0].split() for text in blocks(page, "sh") for line in text.splitlines()]
    for words in lines:
        if words and words[0] == "engineworks":
            run([*COMMAND, *words[1:]], folder, environment)


def test_links_between_pages_lead_somewhere() -> None:
    pages = [
        ROOT / "README.md",
        ROOT / "ARCHITECTURE.md",
        ROOT / "CONTRIBUTING.md",
        *(ROOT / "docs").rglob("*.md"),
    ]
    broken = [
        f"{page.relative_to(ROOT)}: {link}"
        for page in pages
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / link).exists()
    ]
    assert broken == []
