"""Networks quantised by torchao against torch's own run of them: PT2E, static, dynamic and trained, and quantize_."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchao", reason="torchao is not installed: pip install --no-deps torchao==0.18.0")
pytestmark = pytest.mark.filterwarnings("ignore")  # of torchao and of torch.export, about themselves

from torch import nn  # noqa: E402  after the packages it needs are known to be there
from torch.nn import functional  # noqa: E402
from torchao.quantization import (  # noqa: E402
    Int8DynamicActivationInt8WeightConfig,
    Int8DynamicActivationIntxWeightConfig,
    Int8WeightOnlyConfig,
    IntxWeightOnlyConfig,
    quantize_,
)
from torchao.quantization.granularity import PerAxis, PerGroup  # noqa: E402
from torchao.quantization.pt2e import move_exported_model_to_eval  # noqa: E402
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e, prepare_qat_pt2e  # noqa: E402
from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (  # noqa: E402
    X86InductorQuantizer,
    get_default_x86_inductor_quantization_config,
)

import engineworks  # noqa: E402
from engineworks import torch_tensorrt  # noqa: E402

WIDTH = 64


class Residual(nn.Module):
    """A stem with a normalisation, a maximum, two blocks with shortcuts (one strided), a mean, a linear."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.first, self.second = nn.Conv2d(16, 16, 3, 1, 1), nn.Conv2d(16, 16, 3, 1, 1)
        self.third, self.fourth = nn.Conv2d(16, 32, 3, 2, 1), nn.Conv2d(32, 32, 3, 1, 1)
        self.shortcut = nn.Conv2d(16, 32, 1, 2)
        self.mean, self.classes = nn.AdaptiveAvgPool2d(1), nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(torch.relu(self.norm(self.stem(x))))
        x = torch.relu(self.second(torch.relu(self.first(x))) + x)
        x = torch.relu(self.fourth(torch.relu(self.third(x))) + self.shortcut(x))
        return self.classes(torch.flatten(self.mean(x), 1))


class Block(nn.Module):
    """A transformer's block: attention of four heads and a multilayer perceptron, each behind a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        y = self.before(x)
        q, k, v = (
            f(y).view(batch, length, 4, width // 4).transpose(1, 2)
            for f in (self.query, self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        x = x + self.out(mixed.reshape(batch, length, width))
        return x + self.down(functional.gelu(self.up(self.between(x))))


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "residual": (Residual, (2, 3, 32, 32), 7),
    "block": (Block, (2, 12, WIDTH), 6),
}
"""Network, its input's shape, and how many products with weights it has."""


def _made(name: str) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    make, shape, _ = CASES[name]
    return make().eval(), torch.randn(shape)


def _quantiser(*, dynamic: bool = False, trained: bool = False) -> X86InductorQuantizer:
    options = get_default_x86_inductor_quantization_config(is_dynamic=dynamic, is_qat=trained)
    return X86InductorQuantizer().set_global(options)


def _pt2e(name: str, *, dynamic: bool = False, trained: bool = False) -> tuple[nn.Module, torch.Tensor]:
    """The network as PT2E converts it after some batches, and an input."""
    module, x = _made(name)
    exported = torch.export.export(module.train() if trained else module, (x,)).module()
    prepare = prepare_qat_pt2e if trained else prepare_pt2e
    prepared = prepare(exported, _quantiser(dynamic=dynamic, trained=trained))
    for seed in range(4):
        prepared(torch.randn(x.shape, generator=torch.Generator().manual_seed(seed)))
    if trained:
        move_exported_model_to_eval(prepared)
    return convert_pt2e(prepared), x


def _torchao(config: Any) -> tuple[nn.Module, torch.Tensor]:
    """The transformer's block with linears as quantize_ makes them, and an input."""
    module, x = _made("block")
    quantize_(module, config)
    return module, x


def _built(module: nn.Module, x: torch.Tensor) -> tuple[engineworks.Engine, dict[str, Any]]:
    engine = engineworks.build(torch.export.export(module, (x,)), effort=0, timing_cache=False)
    return engine, json.loads(engine.report)


def _error(engine: engineworks.Engine, module: nn.Module, x: torch.Tensor) -> float:
    """The largest difference from torch, of the largest value."""
    with torch.no_grad():
        wanted = module(x).numpy()
    (actual,) = engine.run(x=x.numpy()).values()
    return float(np.abs(actual - wanted).max() / np.abs(wanted).max())


def _products(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [p for p in report["precisions"] if p["op"] in ("conv", "matmul")]


LEVEL = 1 / 100
"""One level of what the last product reads, in its sums, of the largest value: rounding may differ at halves."""


@pytest.mark.parametrize(
    ("name", "trained"),
    # torchao looks for convolutions with norms behind them for 20 s where these are trained.
    [
        ("residual", False),
        ("block", False),
        ("block", True),
        pytest.param("residual", True, marks=pytest.mark.slow),
    ],
)
def test_a_static_pt2e_network_runs_in_integers(name: str, trained: bool) -> None:
    module, x = _pt2e(name, trained=trained)
    engine, report = _built(module, x)
    assert [p["precision"] for p in _products(report)] == ["int8"] * CASES[name][2]
    assert _error(engine, module, x) < LEVEL


def test_convolutions_of_a_pt2e_network_give_each_other_bytes() -> None:
    """Also where two meet in a sum, of which torch quantises one; the last sum alone is f32, for the mean."""
    _, report = _built(*_pt2e("residual"))
    groups = [g for g in report["groups"] if g["ops"][0].startswith("conv(")]
    assert [g["outputs"][0].partition("[")[0] for g in groups] == ["u8"] * 5 + ["f32"]


def test_a_dynamic_pt2e_network_runs_in_integers() -> None:
    module, x = _pt2e("block", dynamic=True)
    engine, report = _built(module, x)
    assert [p["precision"] for p in _products(report)] == ["int8"] * 6
    assert _error(engine, module, x) < LEVEL


def test_dynamic_quantisation_by_quantize_runs_in_integers() -> None:
    module, x = _torchao(Int8DynamicActivationInt8WeightConfig())
    engine, report = _built(module, x)
    assert [p["precision"] for p in _products(report)] == ["int8"] * 6
    assert _error(engine, module, x) < LEVEL


@pytest.mark.parametrize(
    "config",
    [Int8WeightOnlyConfig(), IntxWeightOnlyConfig(torch.int8, granularity=PerAxis(0))],
    ids=["Int8WeightOnly", "IntxWeightOnly"],
)
def test_weights_quantised_alone_stay_bytes(config: Any) -> None:
    module, x = _torchao(config)
    engine, report = _built(module, x)
    assert {p["reason"] for p in _products(report)} == {"f32 by weights that stay in 8 bits"}
    assert _error(engine, module, x) < 1e-5
    _, floats = _built(*_made("block"))
    assert report["memory"]["weights_bytes"] < 0.3 * floats["memory"]["weights_bytes"]
    added = [g["ops"] for g in report["groups"] if g["ops"][0].startswith("matmul")]
    assert all("add" in ops for ops in added)  # the biases, behind torchao's reshapes


@pytest.mark.parametrize(
    "config",
    [
        IntxWeightOnlyConfig(torch.int8, granularity=PerGroup(32)),
        IntxWeightOnlyConfig(torch.int4, granularity=PerGroup(32)),
        Int8DynamicActivationIntxWeightConfig(torch.int4, weight_granularity=PerGroup(32)),
    ],
    ids=["int8 by groups", "int4 by groups", "int4 by groups, dynamic"],
)
def test_weights_in_groups_mean_what_torch_makes_of_them(config: Any) -> None:
    module, x = _torchao(config)
    engine, report = _built(module, x)
    reasons = {p["reason"] for p in _products(report)}
    assert reasons == {"the weights have scales by groups: they are dequantised at build"}
    assert _error(engine, module, x) < LEVEL


@pytest.mark.parametrize(
    "make",
    [lambda: _pt2e("residual"), lambda: _torchao(Int8WeightOnlyConfig())],
    ids=["pt2e", "weights alone"],
)
def test_a_quantised_module_goes_through_torch_tensorrt(
    make: Callable[[], tuple[nn.Module, torch.Tensor]],
) -> None:
    module, x = make()
    program = torch.export.export(module, (x,))
    compiled = torch_tensorrt.dynamo.compile(program, inputs=[x], require_full_compilation=True)
    with torch.no_grad():
        wanted = module(x)
    assert (compiled(x) - wanted).abs().max() < LEVEL * wanted.abs().max()


@pytest.mark.parametrize(
    "make",
    [lambda: _pt2e("block"), lambda: _torchao(Int8DynamicActivationInt8WeightConfig())],
    ids=["pt2e", "dynamic"],
)
def test_a_quantised_module_is_compiled_as_it_is(make: Callable[[], tuple[nn.Module, torch.Tensor]]) -> None:
    """Not exported by its user: PT2E's modules refuse eval(), which compiling would call."""
    module, x = make()
    compiled = torch_tensorrt.compile(module, inputs=[x], require_full_compilation=True)
    with torch.no_grad():
        wanted = module(x)
    assert (compiled(x) - wanted).abs().max() < LEVEL * wanted.abs().max()
