"""compile: structures, constants, state, dtypes at the border, and what runs in PyTorch."""

from __future__ import annotations

import io
import logging
import pickle
from collections import namedtuple
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils import _pytree

import engineworks
from engineworks import torch_tensorrt
from engineworks.errors import (
    CalibrationError,
    InvalidInput,
    InvalidModel,
    NoTactic,
    Unsupported,
    UnsupportedOperator,
)
from engineworks.torch_tensorrt import Input
from tests.unit.torch_tensorrt.networks import Counting, Decomposing, perceptron

X = torch.linspace(-2, 2, 16).reshape(2, 8)
Pair = namedtuple("Pair", ["low", "high"])


def compiled_of(module: nn.Module, args: tuple = (), **options: Any) -> Any:
    return torch_tensorrt.compile(module.eval(), arg_inputs=args, optimization_level=0, **options)


def loaded(module: Any) -> Any:
    """As torch.jit.load gives it after torch.jit.save."""
    file = io.BytesIO()
    torch.jit.save(module, file)
    file.seek(0)
    return torch.jit.load(file)


def assert_same(got: Any, expected: Any) -> None:
    assert _pytree.tree_structure(got) == _pytree.tree_structure(expected)
    torch.testing.assert_close(_pytree.tree_leaves(got), _pytree.tree_leaves(expected), atol=1e-5, rtol=1e-5)


class Structured(nn.Module):
    def forward(self, pair: Any, named: Any) -> Any:
        total = pair[0] + named["k"]
        return {"sum": total, "parts": [pair[1] * 2, total], "deep": (named["k"].sin(), {"x": total})}


class Constants(nn.Module):
    def forward(self, x: Any, twice: bool = True, scale: float = 2.0, mask: Any = None) -> Any:
        y = x * scale if twice else x
        return (y if mask is None else y * mask), None, 3, X.shape[1]


class Named(nn.Module):
    def forward(self, x: Any) -> Any:
        return Pair(x - 1, [x + 1])


CASES = [
    (Structured(), ((X, X + 1), {"k": X}), {}),
    (Constants(), (X,), {"twice": True}),
    (Constants(), (X, False), {}),
    (Constants(), (X,), {"mask": X > 0}),
    (Named(), (X,), {}),
]


@pytest.mark.parametrize(("module", "args", "kwargs"), CASES, ids=[type(c[0]).__name__ for c in CASES])
def test_arguments_and_results_keep_their_structure(module: nn.Module, args: tuple, kwargs: dict) -> None:
    compiled = torch_tensorrt.compile(module, arg_inputs=args, kwarg_inputs=kwargs, optimization_level=0)
    assert_same(compiled(*args, **kwargs), module(*args, **kwargs))
    assert_same(pickle.loads(pickle.dumps(compiled))(*args, **kwargs), module(*args, **kwargs))
    again = _pytree.tree_leaves(loaded(compiled)(*args, **kwargs))
    torch.testing.assert_close(again, _pytree.tree_leaves(module(*args, **kwargs)))


def test_a_constant_argument_must_stay_what_it_was() -> None:
    compiled = compiled_of(Constants(), (X, True))
    with pytest.raises(InvalidInput, match="^twice was compiled for True; compile again for another value$"):
        compiled(X, False)


def test_parameters_keep_their_names() -> None:
    class Two(nn.Module):
        def forward(self, image: Any, shift: Any) -> Any:
            return image + shift

    compiled = compiled_of(Two(), (X, X))
    assert_same(compiled(shift=X, image=X), X + X)


def test_what_no_engine_can_hold_runs_in_pytorch_between_engines() -> None:
    module = Decomposing()
    compiled = compiled_of(module, (X,), min_block_size=1)
    assert len(compiled.engines()) == 2
    assert [e.operator for e in compiled.report.eager] == ["aten.linalg_qr.default"]
    with torch.no_grad():
        assert_same(compiled(X), module(X))
        assert_same(loaded(compiled)(X), module(X))


def test_engines_below_the_block_size_run_in_pytorch_too() -> None:
    compiled = compiled_of(Decomposing(), (X,), min_block_size=5)
    reasons = {e.operator: e.why for e in compiled.report.eager}
    assert "min_block_size=5" in reasons["aten.softmax.int"]
    assert len(compiled.engines()) == 1


def test_operators_that_the_user_names_run_in_pytorch() -> None:
    plan = compiled_of(
        perceptron(), (X,), dryrun=True, torch_executed_ops={torch.ops.aten.relu}, min_block_size=1
    )
    assert [(e.operator, e.why) for e in plan.eager] == [("aten.relu.default", "it is in torch_executed_ops")]
    assert len(plan.engines) == 2


def test_modules_that_the_user_names_run_in_pytorch() -> None:
    plan = compiled_of(perceptron(), (X,), dryrun=True, torch_executed_modules={nn.Sigmoid}, min_block_size=1)
    assert [e.operator for e in plan.eager] == ["aten.sigmoid.default"]


def test_full_compilation_names_all_that_cannot_be_with_the_users_lines() -> None:
    with pytest.raises(UnsupportedOperator, match=r"aten.linalg_qr.default x1: .*networks.py:\d+ in forward"):
        compiled_of(Decomposing(), (X,), require_full_compilation=True)


def test_a_dry_run_builds_nothing_and_explains(tmp_path: Any) -> None:
    plan = compiled_of(Decomposing(), (X,), dryrun=str(tmp_path / "plan.txt"), min_block_size=1)
    text = (tmp_path / "plan.txt").read_text()
    assert str(plan) + "\n" == text
    assert " in 2 engines\n" in text and "takes x: float32[2, 8]; gives " in text
    assert "in PyTorch: 1 operation\n  aten.linalg_qr.default x1: there is no rule for the operator" in text


def test_what_weights_alone_decide_is_computed_once() -> None:
    class Transposing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.eye(8) * 2)

        def forward(self, x: Any) -> Any:
            return torch.linalg.qr(x.T @ x).R @ self.weight.T.exp()

    compiled = compiled_of(Transposing(), (X,), torch_executed_ops={"aten.matmul", "aten.mm"})
    assert "exp" not in compiled.code.replace("exp_folded", "")
    assert_same(compiled(X), Transposing()(X).detach())


def test_state_changes_between_calls_as_in_the_module() -> None:
    compiled = compiled_of(Counting(), (X,))
    assert_same([compiled(X), compiled(X)], [X, X * 2])
    assert_same(loaded(compiled)(X), X * 3)


@pytest.mark.parametrize("batch", [1, 3, 4, 9, 16])
def test_one_engine_serves_all_sizes_of_its_range(compiled: Any, batch: int) -> None:
    x = torch.randn(batch, 8, generator=torch.Generator().manual_seed(batch))
    with torch.no_grad():
        assert_same(compiled(x), perceptron()(x))


def test_sizes_of_several_inputs_may_be_one(caplog: pytest.LogCaptureFixture) -> None:
    class Adding(nn.Module):
        def forward(self, a: Any, b: Any) -> Any:
            return (a + b).reshape(-1, 4)

    given = {"min_shape": (1, 8), "opt_shape": (2, 8), "max_shape": (8, 8), "shared_dims": {0: "batch"}}
    compiled = compiled_of(Adding(), (Input(**given), Input(**given)))
    assert_same(compiled(X, X), (X + X).reshape(-1, 4))
    with pytest.raises(InvalidInput, match="axis 0 must be"):
        compiled(X, X[:1])


def test_half_inputs_of_a_float_module_are_converted_at_the_border(caplog: pytest.LogCaptureFixture) -> None:
    module = perceptron()
    with caplog.at_level(logging.WARNING, "engineworks"):
        compiled = compiled_of(module, (Input((2, 8), dtype=torch.half),), enabled_precisions={torch.half})
    assert "Sequential has weights in torch.float32, and its inputs are torch.float16" in caplog.text
    got = compiled(X.half())
    assert got.dtype is torch.half
    torch.testing.assert_close(got.float(), module(X).detach(), atol=3e-3, rtol=1e-2)
    assert not module._forward_hooks and not module._forward_pre_hooks


def test_float64_may_be_computed_as_float32() -> None:
    module = perceptron().double()
    compiled = compiled_of(module, (Input((2, 8), dtype=torch.double),), truncate_double=True)
    assert compiled(X.double()).dtype is torch.double
    torch.testing.assert_close(compiled(X.double()), module(X.double()).detach(), atol=1e-5, rtol=1e-5)
    assert next(module.parameters()).dtype is torch.double


def test_an_exported_program_is_compiled_as_it_is() -> None:
    program = torch.export.export(perceptron(), (X,))
    compiled = torch_tensorrt.dynamo.compile(program, [X], optimization_level=0)
    assert_same(compiled(X), perceptron()(X).detach())
    assert_same(torch_tensorrt.dynamo.trace(perceptron(), [Input((2, 8))]).module()(X), perceptron()(X))


def test_sizes_that_an_exported_program_leaves_open_are_bounded_by_inputs() -> None:
    program = torch.export.export(perceptron(), (X,), dynamic_shapes=({0: torch.export.Dim("n")},))
    with pytest.raises(InvalidInput, match=r"axis 0 of 'input' \(s\d+\) has no largest size"):
        torch_tensorrt.compile(program, optimization_level=0)
    given = Input(min_shape=(1, 8), opt_shape=(2, 8), max_shape=(5, 8))
    compiled = torch_tensorrt.compile(program, inputs=[given], optimization_level=0)
    assert_same(compiled(X[:1]), perceptron()(X[:1]).detach())
    with pytest.raises(InvalidInput, match="built for 1 to 5"):
        compiled(X.repeat(3, 1))


def test_arguments_that_forward_changes_are_changed() -> None:
    class Accumulating(nn.Module):
        def forward(self, total: Any, x: Any) -> Any:
            total.add_(x)
            return total * 2

    total = torch.zeros(2, 8)
    compiled = compiled_of(Accumulating(), (total.clone(), X))
    assert_same([compiled(total, X), compiled(total, X)], [X * 2, X * 4])
    assert_same(total, X * 2)


def test_a_whole_module_becomes_an_engine_file() -> None:
    file = torch_tensorrt.convert_method_to_trt_engine(perceptron(), inputs=[X], optimization_level=0)
    expected = perceptron()(X).detach()
    assert_same(engineworks.load(file)(input=X)["output"], expected)
    assert_same(torch_tensorrt.embed_engine(file)(X), expected)


def test_training_mode_is_left_as_it_was() -> None:
    module = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 2)).train()
    torch_tensorrt.compile(module, inputs=[X], dryrun=True)
    assert all(part.training for part in module.modules())


@pytest.mark.parametrize(
    ("module", "options", "error", "why"),
    [
        (perceptron(), {}, InvalidInput, "inputs must be given"),
        (perceptron(), {"inputs": [X], "arg_inputs": [X]}, InvalidInput, "two names of the same"),
        (perceptron(), {"inputs": [X], "ir": "fx"}, Unsupported, "ir='fx' is not there"),
        (torch.relu, {"inputs": [X]}, InvalidModel, "takes a torch.nn.Module"),
        (torch.jit.trace(perceptron(), X), {"inputs": [X]}, Unsupported, "TorchScript module"),
    ],
)
def test_what_cannot_be_compiled_says_why(module: Any, options: dict, error: type, why: str) -> None:
    with pytest.raises(error, match=why):
        torch_tensorrt.compile(module, **options)


def test_a_module_that_torch_cannot_export_has_torchs_own_words() -> None:
    class Branching(nn.Module):
        def forward(self, x: Any) -> Any:
            return x if x.sum() > 0 else -x

    with pytest.raises(InvalidModel, match="torch.export cannot export Branching"):
        compiled_of(Branching(), (X,))


def test_int8_is_calibrated_with_what_reaches_each_engine(tmp_path: Any) -> None:
    module = Decomposing()
    batches = [torch.randn(2, 8, generator=torch.Generator().manual_seed(k)) for k in range(8)]
    options = {"enabled_precisions": {torch.int8}, "min_block_size": 1}
    compiled = compiled_of(module, (X,), calibrate=batches, calibration_cache=str(tmp_path / "c"), **options)
    assert {p.name for p in tmp_path.iterdir()} == {"c.0", "c.1"}
    torch.testing.assert_close(compiled(X), module(X).detach(), atol=0.05, rtol=0.1)
    with pytest.raises(CalibrationError, match="only once"):
        compiled_of(module, (X,), calibrate=iter(batches), **options)


def test_int8_of_one_engine_reads_its_cache_again(tmp_path: Any) -> None:
    module = perceptron()
    options = {"enabled_precisions": {torch.int8}, "calibration_cache": str(tmp_path / "cache")}
    compiled = compiled_of(module, (X,), calibrate=(b for b in [X, -X]), **options)
    again = compiled_of(module, (X,), **options)
    assert torch.equal(compiled(X), again(X))
    torch.testing.assert_close(compiled(X), module(X).detach(), atol=0.05, rtol=0.1)


def test_a_part_whose_engine_cannot_be_built_runs_in_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any) -> Any:
        raise NoTactic("no kernel for a test")

    monkeypatch.setattr("engineworks.torch_tensorrt.plan.build_piece", failing)
    compiled = compiled_of(perceptron(), (X,))
    assert not compiled.engines() and "no kernel for a test" in compiled.report.eager[0].why
    assert_same(compiled(X), perceptron()(X).detach())
    for option in ("pass_through_build_failures", "require_full_compilation"):
        with pytest.raises(NoTactic):
            compiled_of(perceptron(), (X,), **{option: True})
