"""torch.compile(backend="engineworks"): dynamic sizes, graph breaks, weights that change, options."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

from engineworks import torch_tensorrt
from engineworks.torch_tensorrt import backend
from tests.unit.torch_tensorrt.networks import Decomposing, perceptron

OPTIONS = {"optimization_level": 0, "min_block_size": 1}


def compiled_of(module: Any, **options: Any) -> Any:
    return torch.compile(module, backend="engineworks", options={**OPTIONS, **options})


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """One entry for each time that engines of a graph are built."""
    counted: list[object] = []
    build = backend.CompiledGraph._build

    def counting(self: Any, weights: Any) -> Any:
        counted.append(self)
        return build(self, weights)

    monkeypatch.setattr(backend.CompiledGraph, "_build", counting)
    return counted


@torch.no_grad()
def test_sizes_that_change_become_dynamic_by_themselves(builds: list[object]) -> None:
    module = perceptron()
    compiled = compiled_of(module)
    for batch in (3, 5, 9, 17, 4):
        x = torch.randn(batch, 8)
        torch.testing.assert_close(compiled(x), module(x))
    assert len(builds) == 2


@torch.no_grad()
def test_a_size_beyond_the_range_builds_again_with_a_wider_one(builds: list[object]) -> None:
    module = perceptron()
    compiled = torch.compile(module, backend="engineworks", options=OPTIONS, dynamic=True)
    for batch in (3, 100, 90, 20):
        x = torch.randn(batch, 8)
        torch.testing.assert_close(compiled(x), module(x))
    assert len(builds) == 2


@torch.no_grad()
def test_marked_sizes_are_dynamic_from_the_start(builds: list[object]) -> None:
    module = perceptron()
    compiled = compiled_of(module)
    for batch in (4, 7, 12):
        x = torch.randn(batch, 8)
        torch._dynamo.mark_dynamic(x, 0, min=2, max=16)
        torch.testing.assert_close(compiled(x), module(x))
    assert len(builds) == 1


def test_graph_breaks_make_several_graphs(builds: list[object]) -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        y = torch.sin(x) + 1
        if y.sum() > 5:
            return y * 2
        return y - 1

    compiled = compiled_of(function)
    for x in (torch.ones(5), torch.full((5,), -2.0)):
        torch.testing.assert_close(compiled(x), function(x))
    assert len(builds) == 3


@torch.no_grad()
def test_written_weights_build_the_engine_again(builds: list[object]) -> None:
    module = perceptron()
    compiled = compiled_of(module)
    x = torch.ones(2, 8)
    before = compiled(x).clone()
    module[0].weight.mul_(-1)
    assert not torch.equal(compiled(x), before)
    torch.testing.assert_close(compiled(x), module(x))
    assert len(builds) == 2


@torch.no_grad()
def test_layers_of_one_class_have_engines_of_their_own(builds: list[object]) -> None:
    layers = [nn.Linear(4, 4) for _ in range(3)]
    compiled = [compiled_of(layer) for layer in layers]
    x = torch.ones(2, 4)
    for _ in range(2):
        for layer, each in zip(layers, compiled, strict=True):
            torch.testing.assert_close(each(x), layer(x))
    assert len(builds) == 3


@torch.no_grad()
def test_what_no_engine_can_hold_runs_in_pytorch() -> None:
    module = Decomposing()
    x = torch.randn(3, 8)
    torch.testing.assert_close(compiled_of(module)(x), module(x))


def test_buffers_that_forward_changes_are_inputs(builds: list[object]) -> None:
    module = nn.BatchNorm1d(8).train()
    reference = nn.BatchNorm1d(8).train()
    compiled = compiled_of(module)
    x = torch.randn(4, 8)
    with torch.no_grad():
        for _ in range(3):
            torch.testing.assert_close(compiled(x), reference(x))
    torch.testing.assert_close(module.running_mean, reference.running_mean)
    assert len(builds) == 1


def test_gradients_are_refused_for_inputs_and_left_out_for_weights() -> None:
    compiled = compiled_of(perceptron())
    assert not compiled(torch.ones(2, 8)).requires_grad
    with pytest.raises(Exception, match=r"InvalidInput: an input \(.*\) requires grad"):
        compiled(torch.ones(2, 8, requires_grad=True))


def test_an_option_that_is_not_there_is_an_error() -> None:
    with pytest.raises(Exception, match="did you mean 'optimization_level'"):
        compiled_of(perceptron(), optimisation_level=1)(torch.ones(2, 8))


@torch.no_grad()
def test_the_face_compiles_lazily_too() -> None:
    compiled = torch_tensorrt.compile(perceptron(), ir="torch_compile", optimization_level=0)
    x = torch.ones(2, 8)
    torch.testing.assert_close(compiled(x), perceptron()(x))


def test_torch_compile_knows_the_names_after_the_import() -> None:
    program = (
        "import torch, engineworks.torch_tensorrt\n"
        "for name in ('engineworks', 'tensorrt', 'torch_tensorrt'):\n"
        "    torch._dynamo.reset()\n"
        "    f = torch.compile(lambda x: x + 1, backend=name, options={'effort': 0})\n"
        "    assert torch.equal(f(torch.ones(3)), torch.full((3,), 2.0))\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True)
