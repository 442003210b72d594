"""Networks on a real GPU against the same modules in f64: in f16 and f32, with TF32 and without."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the networks are torch's")

import engineworks as ew  # noqa: E402
from benchmarks.gpu_networks import NETWORKS, Network, network  # noqa: E402

pytestmark = pytest.mark.gpu
ALLOWED = {"fp16": 2e-2, "tf32": 5e-3, "fp32": 1e-4}
"""Largest difference in parts of the largest value: TF32 and f16 round factors to 11 bits, and f16 everything else."""


def _example(given: Network, dtype: torch.dtype) -> list[torch.Tensor]:
    return [t.to(dtype) if t.is_floating_point() else t for t in given.inputs.values()]


def _expected(name: str, batch: int, dtype: torch.dtype) -> torch.Tensor:
    """In f64, of the weights and inputs that `dtype` holds."""
    given = network(name, batch, small=True)
    module = given.module.to(dtype).double().cuda()
    inputs = [t.double() if t.is_floating_point() else t for t in _example(given, dtype)]
    with torch.no_grad():
        return module(*(t.cuda() for t in inputs))


def _error(engine: ew.Engine, inputs: list[torch.Tensor], wanted: torch.Tensor) -> float:
    named = {t.name: x.cuda() for t, x in zip(engine.inputs, inputs, strict=True)}
    (made,) = engine.run(**named).values()
    return float((made.double() - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("batch", [1, 3])
def test_halves(name: str, batch: int) -> None:
    given = network(name, batch, small=True)
    inputs = _example(given, torch.float16)
    engine = ew.build(given.module.half(), args=tuple(inputs), target="cuda", effort=0)
    assert _error(engine, inputs, _expected(name, batch, torch.float16)) < ALLOWED["fp16"]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("mode", ["tf32", "fp32"])
def test_floats(name: str, mode: str) -> None:
    given = network(name, 2, small=True)
    inputs = _example(given, torch.float32)
    engine = ew.build(given.module, args=tuple(inputs), target="cuda", effort=0, tf32=mode == "tf32")
    assert _error(engine, inputs, _expected(name, 2, torch.float32)) < ALLOWED[mode]


@pytest.mark.parametrize("name", ["bert", "resnet50"])
def test_floats_with_f16_allowed(name: str) -> None:
    given = network(name, 2, small=True)
    inputs = _example(given, torch.float32)
    engine = ew.build(given.module, args=tuple(inputs), target="cuda", effort=0, precision="fp16")
    assert _error(engine, inputs, _expected(name, 2, torch.float32)) < ALLOWED["fp16"]


def test_tuned_kernels_of_a_network_are_right() -> None:
    given = network("bert", 2, small=True)
    inputs = _example(given, torch.float16)
    engine = ew.build(given.module.half(), args=tuple(inputs), target="cuda", effort=1)
    assert _error(engine, inputs, _expected("bert", 2, torch.float16)) < ALLOWED["fp16"]
