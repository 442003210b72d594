"""Networks written in torch against eager PyTorch: as exported, and over the sizes of a profile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import engineworks  # noqa: E402  after the packages it needs are known to be there
from benchmarks import zoo  # noqa: E402
from benchmarks.models import convolutional, transformers  # noqa: E402
from benchmarks.models.recipe import Recipe, settled  # noqa: E402
from engineworks.builder import report  # noqa: E402
from tests.models import torch_networks as networks  # noqa: E402

ALLOWED = 1e-4
"""Of the largest value of each output."""


@dataclass(frozen=True)
class Case:
    """A module, an example call by input name, and the axes that may change: (lowest, highest) by input and axis."""

    make: Callable[[], torch.nn.Module]
    inputs: Mapping[str, np.ndarray]
    axes: Mapping[str, Mapping[int, tuple[int, int]]]


def _normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def _tokens(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 100, shape, np.int64)


def _of(recipe: Recipe, *parameters: str) -> Case:
    """A small network of the benchmarks; forward calls its inputs `parameters`."""
    sample = recipe.inputs("small")
    names = dict(zip(sample, parameters, strict=True))
    axes = {
        names[n]: {a: (axis.lo, min(axis.hi, 64)) for a, axis in per.items()}
        for n, per in recipe.axes.items()
    }
    return Case(lambda: recipe.module("small"), {names[n]: v for n, v in sample.items()}, axes)


def _images(make: Callable[[], torch.nn.Module], pixels: int) -> Case:
    return Case(make, {"image": _normal(2, 3, pixels, pixels)}, {"image": {0: (1, 5)}})


BATCH_AND_LENGTH = {0: (1, 4), 1: (1, 40)}
CASES = {
    "resnet50": _of(convolutional.RECIPES["resnet50"], "x"),
    "mobilenet_v3": _of(convolutional.RECIPES["mobilenet_v3_large"], "input"),
    "efficientnet": _images(networks.EfficientNet, 32),
    "convnext": _images(networks.ConvNext, 32),
    "swin": _images(networks.Swin, 64),
    "vit": _of(transformers.RECIPES["vit_b16"], "x"),
    "bert": _of(transformers.RECIPES["bert_base"], "ids", "mask", "kinds"),
    "gpt2": _of(transformers.RECIPES["gpt2"], "ids"),
    "t5": Case(
        networks.T5,
        {"input_ids": _tokens(2, 12), "decoder_input_ids": _tokens(2, 7)},
        {"input_ids": BATCH_AND_LENGTH, "decoder_input_ids": BATCH_AND_LENGTH},
    ),
    "whisper": Case(
        networks.WhisperEncoder,
        {"spectrogram": _normal(2, 20, 48)},
        {"spectrogram": {0: (1, 4), 2: (3, 128)}},
    ),
    "unet": Case(
        networks.DenoisingUNet,
        {"image": _normal(2, 3, 16, 16), "steps": np.array([3, 700])},
        {"image": {0: (1, 4)}, "steps": {0: (1, 4)}},
    ),
}


def _module(case: Case) -> torch.nn.Module:
    torch.manual_seed(0)
    made = case.make()
    return settled(made, dict(case.inputs)) if made.training else made


def _flat(result: object) -> list[np.ndarray]:
    return [t.detach().numpy() for t in torch.utils._pytree.tree_leaves(result)]


def _assert_same(
    engine: engineworks.Engine, module: torch.nn.Module, inputs: Mapping[str, np.ndarray]
) -> None:
    with torch.no_grad():
        wanted = _flat(module(*(torch.from_numpy(v) for v in inputs.values())))
    actual = list(engine.run(**inputs).values())
    assert len(actual) == len(wanted)
    for have, want in zip(actual, wanted, strict=True):
        assert have.shape == want.shape and have.dtype == want.dtype
        assert want.std() > 1e-3
        assert np.abs(have - want).max() <= ALLOWED * np.abs(want).max()


def _resized(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Cut, or repeated from the start."""
    for axis, size in enumerate(shape):
        values = values.take(np.arange(size) % values.shape[axis], axis=axis)
    return values


def _five(low: int, high: int) -> list[int]:
    """The ends of a range and three sizes between them, odd ones among them."""
    return [low, high, (low + high) // 2, min(low + 2, high), max(high - 1, low)]


@pytest.mark.parametrize("name", CASES)
def test_engine_of_a_module_gives_what_torch_gives(name: str) -> None:
    case = CASES[name]
    module = _module(case)
    engine = engineworks.build(module, args=tuple(map(torch.from_numpy, case.inputs.values())), effort=0)
    _assert_same(engine, module, case.inputs)


@pytest.mark.parametrize("name", CASES)
def test_engine_with_dynamic_sizes_gives_what_torch_gives(name: str) -> None:
    case = CASES[name]
    module = _module(case)
    ranges = {n: case.axes.get(n, {}) for n in case.inputs}
    profile = {
        n: tuple(
            tuple(ranges[n][a][end] if a in ranges[n] else d for a, d in enumerate(v.shape)) for end in (0, 1)
        )
        for n, v in case.inputs.items()
    }
    engine = engineworks.build(
        module,
        args=tuple(map(torch.from_numpy, case.inputs.values())),
        profile={n: (low, case.inputs[n].shape, high) for n, (low, high) in profile.items()},
        effort=0,
    )
    for number in range(5):
        shapes = {
            n: tuple(_five(*ranges[n][a])[number] if a in ranges[n] else d for a, d in enumerate(v.shape))
            for n, v in case.inputs.items()
        }
        _assert_same(engine, module, {n: _resized(v, shapes[n]) for n, v in case.inputs.items()})


@pytest.mark.parametrize("name", ["mobilenet_v3_large", "bert_base"])
def test_a_module_and_its_onnx_file_become_the_same_groups(name: str) -> None:
    module, _ = zoo.torch_module(name, "small")
    model = zoo.get(name, "small")
    example = tuple(map(torch.from_numpy, model.inputs.values()))
    engines = engineworks.build(module, args=example, effort=0), engineworks.build(model.path, effort=0)
    # The first operator alone: ONNX's opset 17 spells GELU in five.
    of_module, of_file = (
        [(g.kind, g.ops[0].partition("(")[0]) for g in report.decode(e.report).groups] for e in engines
    )
    assert of_module == of_file
