"""How a network of the zoo becomes an ONNX file with inputs and a profile."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    import torch

Size = Literal["full", "small"]
Inputs = dict[str, np.ndarray]
Shapes = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""The smallest, the usual and the largest shape of an input."""

OPSET = 17


@dataclass(frozen=True, slots=True)
class Axis:
    """A dynamic axis of an input: its name and range in the profile."""

    name: str
    lo: int
    hi: int


@dataclass(frozen=True, slots=True)
class Recipe:
    """One network.

    Attributes:
        write: (size, dynamic, path) writes the ONNX file.
        inputs: seeded sample inputs.
        axes: the dynamic axes, by input and axis.
        module: the same network in torch, with the same weights; None where there is none.
        outputs: names of what the module returns.
    """

    write: Callable[[Size, bool, Path], None]
    inputs: Callable[[Size], Inputs]
    axes: Mapping[str, Mapping[int, Axis]] = field(default_factory=dict)
    module: Callable[[Size], torch.nn.Module] | None = None
    outputs: tuple[str, ...] = ()

    def profile(self, size: Size) -> dict[str, Shapes]:
        """The range of shapes of each input, as `engineworks.build` takes it."""
        out = {}
        for name, value in self.inputs(size).items():
            axes = self.axes.get(name, {})
            least = tuple(axes[a].lo if a in axes else d for a, d in enumerate(value.shape))
            most = tuple(axes[a].hi if a in axes else d for a, d in enumerate(value.shape))
            out[name] = (least, value.shape, most)
        return out


def from_torch(
    make: Callable[[Size], torch.nn.Module],
    inputs: Callable[[Size], Inputs],
    outputs: Sequence[str],
    axes: Mapping[str, Mapping[int, Axis]] | None = None,
    output_axes: Mapping[str, Mapping[int, str]] | None = None,
    finish: Callable[[torch.nn.Module, Size, Path], None] | None = None,
) -> Recipe:
    """A network written in torch, exported with seeded random weights.

    Args:
        output_axes: names of the outputs' dynamic axes; the exporter cannot always tell.
        finish: changes the written file, for what torch cannot express.
    """
    axes = axes or {}

    def seeded(size: Size) -> torch.nn.Module:
        import torch

        torch.manual_seed(0)
        return settled(make(size), inputs(size))

    def write(size: Size, dynamic: bool, path: Path) -> None:
        import torch

        sample = inputs(size)
        module = seeded(size)
        names = {n: {a: axis.name for a, axis in per.items()} for n, per in axes.items()} | dict(
            output_axes or {}
        )
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # the exporter announces its successor at each call
            torch.onnx.export(
                module,
                tuple(torch.from_numpy(v) for v in sample.values()),
                os.fspath(path),
                input_names=list(sample),
                output_names=list(outputs),
                dynamic_axes=names if dynamic else None,
                opset_version=OPSET,
                dynamo=False,
            )
        if finish is not None:
            finish(module, size, path)

    if finish is not None:
        return Recipe(write, inputs, axes)
    return Recipe(write, inputs, axes, seeded, tuple(outputs))


def settled(module: torch.nn.Module, sample: Inputs) -> torch.nn.Module:
    """The module with random weights that keep signals alive, and normalisation statistics to match.

    Default initialisation leaves deep networks with outputs of 1e-11 or with heads of zeros; a comparison of
    such outputs says nothing.
    """
    import torch
    from torch import nn

    with torch.no_grad():
        for part in module.modules():
            for name, p in part.named_parameters(recurse=False):
                if isinstance(part, (nn.BatchNorm2d, nn.LayerNorm)) and name == "weight":
                    p.uniform_(0.8, 1.2)
                elif p.ndim == 1:
                    p.normal_(0, 0.05)
                elif isinstance(part, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.LSTM)):
                    gain = 2.0 if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)) else 1.0
                    fan_in = p.numel() // p.shape[1 if isinstance(part, nn.ConvTranspose2d) else 0]
                    p.normal_(0, (gain / fan_in) ** 0.5)
                else:  # embeddings, class tokens
                    p.normal_(0, 0.5)
        norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = 1.0  # the statistics of the batch below
        if norms:
            module.train()
            # Few pixels give statistics so rough that their errors multiply from layer to layer.
            module(*(torch.randn(2 + 200_000 // v[0, 0].size, *v.shape[1:]) for v in sample.values()))
        module.eval()
        if hasattr(module, "settle"):
            module.settle(*(torch.from_numpy(v) for v in sample.values()))
    return module


def image(size: int, seed: int = 0, channels: int = 3) -> np.ndarray:
    """[1, channels, size, size] f32, normal."""
    return np.random.default_rng(seed).standard_normal((1, channels, size, size), np.float32)


def tokens(length: int, vocabulary: int, seed: int = 0, batch: int = 1) -> np.ndarray:
    """[batch, length] i64 in [0, vocabulary)."""
    return np.random.default_rng(seed).integers(0, vocabulary, (batch, length), np.int64)
