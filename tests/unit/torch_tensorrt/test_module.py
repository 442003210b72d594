"""What compile returns: copies and files, what it tells, and what it refuses with a sentence."""

from __future__ import annotations

import copy
import io
import pickle
from typing import TYPE_CHECKING, Any

import pytest
import torch

import engineworks
from engineworks.errors import InvalidInput, Unsupported
from tests.unit.torch_tensorrt.networks import perceptron

if TYPE_CHECKING:
    from collections.abc import Callable

    from engineworks.torch_tensorrt import EngineModule

X = torch.linspace(-1, 1, 24).reshape(3, 8)


def test_it_is_a_script_module_that_tells_its_engines(compiled: EngineModule) -> None:
    assert isinstance(compiled, torch.jit.ScriptModule)
    assert "input: f32[input_0, 8] -> f32[input_0, 4]" in repr(compiled)
    assert "in PyTorch" not in repr(compiled)


def test_its_state_are_engine_files(compiled: EngineModule) -> None:
    assert list(compiled.state_dict()) == ["engine_0"] and list(compiled.parameters()) == []
    engine = engineworks.load(compiled.engines()["engine_0"].numpy().tobytes())
    assert torch.equal(engine(input=X)["sigmoid"], compiled(X))


def through_torch_save(module: Any) -> Any:
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, through_torch_save, lambda m: pickle.loads(pickle.dumps(m))],
    ids=["copy", "deepcopy", "torch.save", "pickle"],
)
def test_copies_give_the_same(compiled: EngineModule, again: Callable[[Any], Any]) -> None:
    copied = again(compiled)
    assert copied is not compiled and type(copied) is type(compiled)
    assert torch.equal(copied(X), compiled(X))


def test_loading_only_weights_is_refused_since_engines_are_code(compiled: EngineModule) -> None:
    file = io.BytesIO()
    torch.save(compiled, file)
    file.seek(0)
    with pytest.raises(pickle.UnpicklingError, match=r"engineworks\.torch_tensorrt\.module"):
        torch.load(file, weights_only=True)


def test_staying_where_it_is_is_no_change(compiled: EngineModule) -> None:
    assert (
        compiled.eval() is compiled.to("cpu") is compiled.cpu() is compiled.requires_grad_(False) is compiled
    )
    assert compiled.train(False) is compiled and not compiled.training


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda m: m.train(), "cannot be trained: an engine computes no gradients"),
        (lambda m: m.to("cuda"), "cannot move to 'cuda': its engines are code for the CPU"),
        (lambda m: m.cuda(), "cannot move to 'cuda'.*compile model.cuda"),
        (lambda m: m.to(torch.half), "cannot become torch.float16: the dtypes of an engine are fixed"),
        (lambda m: m.half(), "cannot change its dtype"),
        (lambda m: m.requires_grad_(), "has no gradients"),
        (lambda m: m.load_state_dict({}), "weights are inside of the engines"),
    ],
)
def test_what_engines_cannot_be_is_refused(
    compiled: EngineModule, change: Callable[[Any], Any], why: str
) -> None:
    with pytest.raises(Unsupported, match=why):
        change(compiled)


@pytest.mark.parametrize(
    ("x", "why"),
    [
        (torch.ones(3, 9), "axis 1 must be 8"),
        (torch.ones(17, 8), "is 17; the engine was built for 1 to 16"),
        (
            torch.ones(3, 8, dtype=torch.half),
            r"takes torch.float32, got torch.float16. Convert it: input.to\(torch.float32\)",
        ),
        (torch.ones(3, 8, requires_grad=True), "requires grad, and engines compute no gradients"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(compiled: EngineModule, x: torch.Tensor, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        compiled(x)


def test_gradients_are_not_asked_for_in_inference_mode(compiled: EngineModule) -> None:
    with torch.inference_mode():
        assert torch.equal(compiled(X.clone().requires_grad_()), compiled(X))


def test_inputs_may_lie_in_any_order(compiled: EngineModule) -> None:
    assert torch.equal(compiled(X.T.contiguous().T), compiled(X))
    assert torch.equal(compiled(X.repeat(1, 2)[:, ::2].contiguous()), compiled(X.repeat(1, 2)[:, ::2]))


def test_a_module_of_engines_is_part_of_other_modules(compiled: EngineModule) -> None:
    whole = torch.nn.Sequential(torch.nn.Linear(8, 8), compiled).eval()
    with torch.no_grad():
        torch.testing.assert_close(whole(X), perceptron()(whole[0](X)))
        torch.testing.assert_close(torch.compile(whole, backend="eager")(X), whole(X))


def test_threads_share_a_module(compiled: EngineModule) -> None:
    from concurrent.futures import ThreadPoolExecutor

    given = [torch.randn(1 + k % 16, 8) for k in range(64)]
    with ThreadPoolExecutor(4) as pool:
        for x, y in zip(given, pool.map(compiled, given), strict=True):
            assert torch.equal(y, compiled(x))
