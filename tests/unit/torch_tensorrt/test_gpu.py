"""Modules for GPUs: their engines run on the emulated one, whose memory is the host's; what decides is asked of fakes."""

from __future__ import annotations

import copy
import io
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch._subclasses import FakeTensorMode

from engineworks import torch_tensorrt
from engineworks.errors import InvalidInput, Unsupported
from engineworks.kernels.backend import find as find_backend
from engineworks.runtime.device import find as find_device
from engineworks.testing.emulated_gpu import emulated_backend, emulated_device
from engineworks.torch_tensorrt import opened
from engineworks.torch_tensorrt.compiler import _compiled
from engineworks.torch_tensorrt.input import Input
from engineworks.torch_tensorrt.places import place_of, place_of_graph, settled
from engineworks.torch_tensorrt.settings import settings_of
from engineworks.torch_tensorrt.signature import Signature
from tests.unit.torch_tensorrt.networks import Decomposing, perceptron

GPU = torch.device("cuda", 0)
X = torch.linspace(-1, 1, 24).reshape(3, 8)


place_of_device = opened.place_of


@pytest.fixture(scope="module")
def emulated() -> Iterator[None]:
    """Engines for cuda:sm_90 hold texts, and run here on tensors of the CPU."""
    device = emulated_device()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "engineworks.builder.build.find",
            lambda name: emulated_backend() if name == "cuda" else find_backend(name),
        )
        patch.setattr(
            "engineworks.runtime.device.find",
            lambda name, index=None: device if name == "cuda" else find_device(name, index),
        )
        patch.setattr(opened, "place_of", lambda device: torch.device("cpu"))
        yield


@pytest.fixture(scope="module")
def on_gpu(emulated: None) -> Any:
    """The perceptron for batches of 1 to 16."""
    inputs = [Input(min_shape=(1, 8), opt_shape=(4, 8), max_shape=(16, 8))]
    return torch_tensorrt.compile(
        perceptron(), inputs=inputs, target="cuda:sm_90", optimization_level=0, disable_tf32=True
    )


@pytest.fixture
def a_gpu_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch says that it sees two, the first of which is current."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)


# -- running
def test_a_module_for_a_gpu_computes_what_the_model_does(on_gpu: Any) -> None:
    for batch in (1, 3):
        torch.testing.assert_close(on_gpu(X[:batch]), perceptron()(X[:batch]))


def test_files_and_copies_of_it_do_so_too(on_gpu: Any) -> None:
    file = io.BytesIO()
    torch.jit.save(on_gpu, file)
    file.seek(0)
    expected = on_gpu(X)
    assert torch.equal(torch.jit.load(file)(X), expected)
    assert torch.equal(copy.deepcopy(on_gpu)(X), expected)


def test_what_no_engine_can_hold_runs_between_engines(emulated: None) -> None:
    module = Decomposing()
    compiled = torch_tensorrt.compile(
        module, inputs=[X[:, :8]], target="cuda:sm_90", optimization_level=0, min_block_size=1
    )
    assert len(compiled.engines()) == 2
    torch.testing.assert_close(compiled(X), module(X), rtol=1e-2, atol=1e-2)


@torch.no_grad()
def test_torch_compile_builds_for_the_target_too(emulated: None) -> None:
    options = {"target": "cuda:sm_90", "optimization_level": 0, "disable_tf32": True}
    compiled = torch.compile(perceptron(), backend="engineworks", options=options)
    torch.testing.assert_close(compiled(X), perceptron()(X))


def test_inputs_that_lie_elsewhere_are_refused(on_gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module = torch_tensorrt.embed_engine(on_gpu.engine_0.numpy().tobytes())
    monkeypatch.setattr(opened, "place_of", lambda device: GPU)
    with pytest.raises(
        InvalidInput, match=r"'input' lies on cpu; this engine computes on cuda:0. Move it: input.to"
    ):
        module(X)


def test_the_place_of_a_device_is_torchs() -> None:
    assert place_of_device(emulated_device()) == GPU
    assert place_of_device(find_device("cpu")) == torch.device("cpu")


def test_outputs_without_data_lie_where_inputs_do() -> None:
    parsed = Signature.parse("x: f32[N, 3] -> f16[N]")
    assert parsed.outputs_for([torch.empty(4, 3)], lambda: 7, torch.device("meta"))[0].is_meta


# -- moving
def test_it_stays_where_its_engines_run(on_gpu: Any, a_gpu_is_seen: None) -> None:
    assert on_gpu.device.type == "cuda"
    assert on_gpu.to("cuda") is on_gpu.cuda() is on_gpu.cuda(0) is on_gpu.to("cuda:0") is on_gpu


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            lambda m: m.cpu(),
            r"cannot move to 'cpu': its engines are code for the current GPU.*compile model.cpu\(\)",
        ),
        (lambda m: m.to("cpu"), "cannot move to 'cpu'"),
        (lambda m: m.cuda(1), "cannot move to 'cuda:1': its engines are code for the current GPU"),
        (lambda m: m.half(), "cannot change its dtype"),
    ],
)
def test_other_places_are_refused(on_gpu: Any, a_gpu_is_seen: None, change: Any, why: str) -> None:
    with pytest.raises(Unsupported, match=why):
        change(on_gpu)


# -- what is compiled for what
def faked(*shapes: tuple[int, ...], device: str = "cuda:0") -> list[torch.Tensor]:
    with FakeTensorMode():
        return [torch.empty(s, device=device) for s in shapes]


def test_one_gpu_among_the_tensors_is_the_place() -> None:
    assert place_of(faked((2,)) + faked((2,), device="cpu")) == GPU
    assert place_of([torch.ones(1)]) == torch.device("cpu")
    assert place_of([]) is None
    with pytest.raises(Unsupported, match=r"lies on 2 GPUs \(cuda:0, cuda:1\)"):
        place_of(faked((2,)) + faked((2,), device="cuda:1"))


@pytest.mark.parametrize(
    ("options", "place", "target"),
    [
        ({}, "cpu", "cpu"),
        ({}, "cuda:0", "cuda"),
        ({"device": "cuda:0"}, "cuda:0", "cuda"),
        ({"device": torch_tensorrt.Device("gpu")}, "cuda:0", "cuda"),
        ({"gpu_id": 0}, "cuda:0", "cuda"),
        ({"device": "cpu"}, "cpu", "cpu"),
        ({"target": "cuda:sm_80"}, "cpu", "cuda:sm_80"),
    ],
)
def test_the_place_of_a_model_is_the_target(
    a_gpu_is_seen: None, options: dict[str, Any], place: str, target: str
) -> None:
    assert settled(settings_of(options), torch.device(place)).config().target == target


@pytest.mark.parametrize(
    ("options", "place", "why"),
    [
        ({"device": "cuda:0"}, "cpu", r"device=cuda:0, and the model lies on cpu. .*model.to\('cuda:0'\)"),
        ({"device": "cpu"}, "cuda:0", "device=cpu, and the model lies on cuda:0"),
        ({}, "cuda:1", r"for cuda:0, the current GPU. Call torch.cuda.set_device\(1\)"),
    ],
)
def test_a_model_elsewhere_is_refused(
    a_gpu_is_seen: None, options: dict[str, Any], place: str, why: str
) -> None:
    with pytest.raises(Unsupported, match=why):
        settled(settings_of(options), torch.device(place))


def test_a_gpu_that_is_not_there_is_a_wish(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with caplog.at_level(logging.WARNING, "engineworks"):
        settings = settings_of({"device": "cuda:0"})
    assert "PyTorch sees no GPU here; engines are built for the CPU" in caplog.text
    assert settled(settings, torch.device("cpu")).target == "cpu"


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        ({"disable_tf32": True}, "tf32", False),
        ({}, "tf32", True),
        (
            {"hardware_compatible": True, "target": "cuda"},
            "hardware_compatibility",
            "same_compute_capability",
        ),
        ({"hardware_compatible": True, "target": "cuda:sm_80"}, "hardware_compatibility", "ampere_plus"),
        ({"target": "cuda"}, "hardware_compatibility", "exact"),
    ],
)
def test_options_of_gpus_are_those_of_a_build(options: dict[str, Any], field: str, value: object) -> None:
    assert getattr(settings_of(options).config(), field) == value


def test_compatible_hardware_goes_another_way_on_the_cpu() -> None:
    with pytest.raises(Unsupported, match=r"for the CPU there is no such option; instead: .*cpu:avx2"):
        settings_of({"hardware_compatible": True}).config()


class Mixing(torch.nn.Module):
    """Adds a number that lies on the CPU, and a constant from there."""

    def forward(self, x: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        return torch.relu(x * s) + torch.arange(8).to(x.device)


def exported_with_gpu(module: torch.nn.Module, *devices: str) -> Any:
    """The program of a module whose inputs [3, 8] and [] are faked on these devices."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        args = tuple(torch.empty(s, device=d) for s, d in zip([(3, 8), ()], devices, strict=True))
        return torch.export.export(module, args, strict=False)


def test_what_lies_elsewhere_runs_in_pytorch() -> None:
    program = exported_with_gpu(Mixing(), "cuda:0", "cpu")
    assert place_of_graph(program.graph) == GPU
    inputs = [Input((3, 8)), Input(())]
    settings = settings_of({"dryrun": True, "min_block_size": 1, "target": "cuda:sm_90"})
    plan = _compiled(program, ("x", "s"), "Mixing", inputs, settings)
    assert {e.operator: e.why for e in plan.eager} == {
        "aten.mul.Tensor": "it has to do with tensors on cpu, and engines are for cuda:0"
    }
    assert ["aten.relu.default" in dict(e.operators) for e in plan.engines] == [True]


def test_a_build_for_this_machines_gpu_says_when_there_is_none() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(Exception, match="(?i)cuda"):
        torch_tensorrt.compile(perceptron(), inputs=[X], target="cuda", optimization_level=0)


@pytest.mark.parametrize(
    ("kind", "rest"), [("flash", ()), ("efficient", (None, False)), ("cudnn", (None, False))]
)
def test_attention_is_in_engines_whichever_kernel_torch_chose(kind: str, rest: tuple) -> None:
    chosen = getattr(torch.ops.aten, f"_scaled_dot_product_{kind}_attention").default

    class Attending(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return chosen(x, x, x, *rest)[0]

    with FakeTensorMode():
        x = torch.empty(2, 4, 16, 32, device="cuda:0", dtype=torch.half)
        program = torch.export.export(Attending(), (x,), strict=False)
    settings = settings_of({"dryrun": True, "target": "cuda:sm_90"})
    assert _compiled(program, ("x",), "Attending", [Input(x.shape, dtype=x.dtype)], settings).eager == ()
