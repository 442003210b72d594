"""The networks that Engineworks is tested and measured with, written as ONNX files when first asked for.

    from benchmarks import zoo
    model = zoo.get("resnet50", size="small")        # .path, .inputs, .profile

Files lie in build/zoo, named after what they are made from; a changed recipe replaces its file.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import os
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.models.recipe import Inputs, Recipe, Shapes, Size

if TYPE_CHECKING:
    import torch

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / "build" / "zoo"

MODULES = MappingProxyType(
    {
        "resnet50": "convolutional",
        "mobilenet_v3_large": "convolutional",
        "efficientnet_lite0": "convolutional",
        "unet": "convolutional",
        "yolo": "detector",
        "bert_base": "transformers",
        "minilm": "transformers",
        "vit_b16": "transformers",
        "gpt2": "transformers",
        "lstm_tagger": "tagger",
        "ppocr_det": "packaged",
        "ppocr_rec": "packaged",
        "ppocr_cls": "packaged",
        "magika": "packaged",
        "silero_vad": "packaged",
        "silero_vad_sequence": "packaged",
    }
)
"""The file of each network under benchmarks/models; names can be listed without importing torch."""

USES = MappingProxyType({"detector": ("convolutional",)})


@dataclass(frozen=True, slots=True)
class ZooModel:
    """A network on disk.

    Attributes:
        inputs: seeded arrays by input name; the outputs they give are not vacuous.
        profile: for dynamic networks the smallest, usual and largest shape of each input.
    """

    name: str
    size: Size
    path: Path
    inputs: Inputs
    profile: dict[str, Shapes] | None


def names() -> tuple[str, ...]:
    """All networks, in the order of the documentation."""
    return tuple(MODULES)


def get(name: str, size: Size = "full", dynamic: bool = False) -> ZooModel:
    """The network, written first if need be.

    Args:
        size: "small" has fewer layers, channels and pixels: for tests.
        dynamic: with symbolic sizes, and a profile.
    Raises:
        ValueError: no such network.
        PackageMissing: it lies in a package that is not installed; the message says which.
    """
    if name not in MODULES:
        raise ValueError(f"no network is called {name!r}; there are {', '.join(MODULES)}")
    path = CACHE / f"{name}-{size}{'-dynamic' if dynamic else ''}-{_digest(MODULES[name])}.onnx"
    recipe = _recipe(name)
    if not path.exists():
        _write(recipe, size, dynamic, path)
    return ZooModel(name, size, path, recipe.inputs(size), recipe.profile(size) if dynamic else None)


def inputs_at(name: str, size: Size = "full", **sizes: int) -> Inputs:
    """The sample inputs with other sizes: cut, or repeated from their start.

    Args:
        sizes: by the name of a dynamic axis, such as batch=3, length=17.
    Raises:
        ValueError: the network has no such axis.
    """
    recipe = _recipe(name)
    known = {axis.name for per in recipe.axes.values() for axis in per.values()}
    if not sizes.keys() <= known:
        raise ValueError(f"{name} has the dynamic axes {', '.join(sorted(known))}, not {', '.join(sizes)}")
    values = recipe.inputs(size)
    for given, per in recipe.axes.items():
        for number, axis in per.items():
            if axis.name in sizes:
                count = values[given].shape[number]
                values[given] = values[given].take(np.arange(sizes[axis.name]) % count, axis=number)
    return values


def torch_module(name: str, size: Size = "full") -> tuple[torch.nn.Module, tuple[str, ...]] | None:
    """The network as a torch module in evaluation mode with the file's weights, and its outputs' names.

    None: it has no equal in torch (packaged networks; those with a part written in ONNX).
    """
    recipe = _recipe(name)
    return None if recipe.module is None else (recipe.module(size), recipe.outputs)


def _recipe(name: str) -> Recipe:
    return importlib.import_module(f"benchmarks.models.{MODULES[name]}").RECIPES[name]


def _write(recipe: Recipe, size: Size, dynamic: bool, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written beside and renamed: several processes may want the same file at the same time.
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        beside = Path(folder) / path.name
        recipe.write(size, dynamic, beside)
        os.replace(beside, path)
    of_older_recipes = path.name.rpartition("-")[0] + "-" + "[0-9a-f]" * 12 + ".onnx"
    for old in path.parent.glob(of_older_recipes):
        if old != path:
            old.unlink(missing_ok=True)


@functools.cache
def _digest(module: str) -> str:
    """Twelve digits that stand for the recipe: its source, what it uses, and the exporter's version."""
    state = hashlib.sha256()
    for used in ("recipe", *USES.get(module, ()), module):
        state.update((ROOT / "benchmarks" / "models" / f"{used}.py").read_bytes())
    for package in ("torch", "onnx"):
        try:
            state.update(version(package).encode())
        except PackageNotFoundError:
            state.update(b"none")
    return state.hexdigest()[:12]
