"""Whole networks through the Torch-TensorRT-shaped face: files that stand alone, ranges of sizes, parts in PyTorch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from benchmarks.models import convolutional, transformers  # noqa: E402  after torch is known to be there
from benchmarks.models.recipe import settled  # noqa: E402
from engineworks import torch_tensorrt  # noqa: E402
from tests.models.torch_networks import EfficientNet  # noqa: E402

PROGRAM = """
import torch
import engineworks.torch_tensorrt as torch_tensorrt

trt_model = torch_tensorrt.compile(
    model,
    inputs=[torch_tensorrt.Input({shapes}, dtype=torch.half)],
    enabled_precisions={{torch.half}},  # FP16
    workspace_size=1 << 30,
    optimization_level=0,
)
torch.jit.save(trt_model, "model_torchtrt.engine")
"""
FRESH = """
import sys, torch, engineworks.torch_tensorrt
model = torch.jit.load("model_torchtrt.engine")
torch.save([model(x) for x in torch.load("inputs.pt")], "outputs.pt")
assert not {"llvmlite", "onnx", "engineworks.builder", "torch._dynamo"} & set(sys.modules)
"""


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return settled(EfficientNet(), {"image": torch.randn(4, 3, 32, 32).numpy()})


def in_a_fresh_process(inputs: list[Any], folder: Path) -> list[Any]:
    """What the saved module gives where nothing but the file and the import is known."""
    torch.save(inputs, folder / "inputs.pt")
    subprocess.run([sys.executable, "-W", "ignore", "-c", FRESH], cwd=folder, check=True)
    return torch.load(folder / "outputs.pt")


@pytest.mark.parametrize(
    ("shapes", "batches"),
    [
        ("(1, 3, 32, 32)", [1]),
        ("min_shape=(1, 3, 32, 32), opt_shape=(4, 3, 32, 32), max_shape=(9, 3, 32, 32)", [1, 2, 4, 7, 9]),
    ],
    ids=["one shape", "a range"],
)
def test_the_program_runs_as_printed_and_its_file_stands_alone(
    shapes: str, batches: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network()
    monkeypatch.chdir(tmp_path)
    exec(PROGRAM.format(shapes=shapes), {"model": model})
    inputs = [torch.randn(n, 3, 32, 32).half() for n in batches]
    for x, y in zip(inputs, in_a_fresh_process(inputs, tmp_path), strict=True):
        with torch.no_grad():
            expected = model(x.float())
        assert y.dtype is torch.half and expected.std() > 1e-3
        # The file's results are halves: 2^-11 of a value, and of values on the way to it.
        assert (y.float() - expected).abs().max() <= 1e-2 * expected.abs().max()


def test_a_transformer_keeps_its_accuracy_at_five_sizes() -> None:
    recipe = transformers.RECIPES["bert_base"]
    module = recipe.module("small").eval()
    sample = [torch.from_numpy(v) for v in recipe.inputs("small").values()]
    longest = sample[0].shape[1]
    shapes = {"min_shape": (1, 2), "opt_shape": tuple(sample[0].shape), "max_shape": (4, longest)}
    inputs = [
        torch_tensorrt.Input(**shapes, dtype=t.dtype, torch_tensor=t, shared_dims={0: "batch", 1: "length"})
        for t in sample
    ]
    compiled = torch_tensorrt.compile(
        module, inputs=inputs, optimization_level=0, require_full_compilation=True
    )
    for batch, length in ((1, 2), (4, longest), (2, longest // 2), (3, 5), (1, longest - 1)):
        given = [t[:1, :length].expand(batch, -1).contiguous() for t in sample]
        with torch.no_grad():
            wanted = torch.utils._pytree.tree_leaves(module(*given))
        for have, want in zip(torch.utils._pytree.tree_leaves(compiled(*given)), wanted, strict=True):
            assert want.std() > 1e-3
            torch.testing.assert_close(have, want, atol=1e-4, rtol=1e-4)


class Orthogonal(torch.nn.Module):
    """A convolutional network with a step in its middle that no engine has."""

    def __init__(self) -> None:
        super().__init__()
        whole = convolutional.RECIPES["resnet50"].module("small").eval()
        self.whole = whole

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = self.whole(x)
        basis = torch.linalg.qr(scores.T @ scores + torch.eye(scores.shape[1])).Q
        return (scores @ basis).softmax(-1)


@torch.no_grad()
def test_a_step_that_no_engine_has_runs_between_two_of_them(tmp_path: Path) -> None:
    module = Orthogonal()
    (x,) = (torch.from_numpy(v) for v in convolutional.RECIPES["resnet50"].inputs("small").values())
    compiled = torch_tensorrt.compile(module, inputs=[x], optimization_level=0, min_block_size=2)
    assert len(compiled.engines()) == 2
    assert [e.operator for e in compiled.report.eager] == ["aten.linalg_qr.default"]
    torch.testing.assert_close(compiled(x), module(x), atol=1e-4, rtol=1e-4)
    torch_tensorrt.save(compiled, tmp_path / "model.ts", output_format="torchscript")
    torch.testing.assert_close(torch_tensorrt.load(tmp_path / "model.ts")(x), module(x), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_torch_compile_follows_graph_breaks_and_sizes() -> None:
    torch._dynamo.reset()
    model = network()

    def loop(image: torch.Tensor) -> torch.Tensor:
        scores = model(image)
        if scores.mean() > 100:
            return scores
        return model(image.flip(-1)) + scores

    compiled = torch.compile(loop, backend="engineworks", options={"optimization_level": 0})
    for batch in (2, 3, 5, 8, 4):
        x = torch.randn(batch, 3, 32, 32)
        torch.testing.assert_close(compiled(x), loop(x), atol=1e-4, rtol=1e-4)
