"""save and load, and files in processes that know nothing of the model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from engineworks import torch_tensorrt
from engineworks.errors import InvalidInput, Unsupported

if TYPE_CHECKING:
    from engineworks.torch_tensorrt import EngineModule

X = torch.linspace(-1, 1, 24).reshape(3, 8)
FRESH = """
import sys, torch, engineworks.torch_tensorrt
module = torch.jit.load(sys.argv[1])
torch.save(module(torch.load(sys.argv[2])), sys.argv[3])
late = {"llvmlite", "onnx", "engineworks.builder", "engineworks.ir", "torch._dynamo"} & set(sys.modules)
assert not late, late
"""


def test_a_fresh_process_runs_the_file_without_a_compiler(compiled: EngineModule, tmp_path: Path) -> None:
    paths = [str(tmp_path / n) for n in ("model.engine", "x.pt", "y.pt")]
    torch.jit.save(compiled, paths[0])
    torch.save(X, paths[1])
    subprocess.run([sys.executable, "-W", "ignore", "-c", FRESH, *paths], check=True, cwd=tmp_path)
    assert torch.equal(torch.load(paths[2]), compiled(X))


@pytest.mark.parametrize("name", ["model.ts", "model.engine"])
def test_torchscript_files_come_back_as_modules(compiled: EngineModule, tmp_path: Path, name: str) -> None:
    torch_tensorrt.save(compiled, tmp_path / name, output_format="torchscript")
    again = torch_tensorrt.load(tmp_path / name)
    assert type(again) is type(compiled) and torch.equal(again(X), compiled(X))


def test_exported_programs_come_back_as_such(compiled: EngineModule, tmp_path: Path) -> None:
    given = torch_tensorrt.Input(min_shape=(1, 8), opt_shape=(4, 8), max_shape=(16, 8))
    torch_tensorrt.save(compiled, tmp_path / "model.pt2", inputs=[given])
    program = torch_tensorrt.load(tmp_path / "model.pt2")
    assert isinstance(program, torch.export.ExportedProgram)
    for x in (X, X[:2]):
        assert torch.equal(program.module()(x), compiled(x))


def test_what_cannot_be_saved_says_why(compiled: EngineModule, tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="native code already"):
        torch_tensorrt.save(compiled, tmp_path / "m", output_format="aot_inductor")
    with pytest.raises(InvalidInput, match="inputs=.* must be given"):
        torch_tensorrt.save(compiled, tmp_path / "m")
    with pytest.raises(Unsupported, match="a Linear is no TorchScript"):
        torch_tensorrt.save(torch.nn.Linear(1, 1), tmp_path / "m", output_format="torchscript")


def test_what_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file"):
        torch_tensorrt.load(tmp_path / "nothing")
    (tmp_path / "text.pt2").write_text("no module")
    with pytest.raises(InvalidInput, match="neither TorchScript"):
        torch_tensorrt.load(tmp_path / "text.pt2")


def test_without_pytorch_the_import_names_what_is_missing() -> None:
    program = "import sys; sys.modules['torch'] = None; import engineworks.torch_tensorrt"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "MissingExtra: engineworks.torch_tensorrt needs PyTorch: pip install torch" in result.stderr


def test_importing_the_package_costs_no_compiler() -> None:
    program = (
        "import sys, torch; before = set(sys.modules); import engineworks.torch_tensorrt;"
        "new = {m for m in set(sys.modules) - before if m.startswith(('engineworks.ir', 'engineworks.builder', 'onnx',"
        " 'llvmlite', 'torch._dynamo', 'sympy'))}; assert not new, new"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
