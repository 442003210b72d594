"""Trained networks that lie in packages of the index: PP-OCRv4, magika, silero-vad.

Only the .onnx files are read; the packages are not imported (`pip install --no-deps` is enough).
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.models.recipe import Axis, Inputs, Recipe, Size

PINS = {"rapidocr_onnxruntime": "1.4.4", "magika": "1.0.3", "silero_vad": "6.2.3"}


class PackageMissing(LookupError):
    """The package that holds a network is not installed."""


def packaged_file(package: str, inside: str) -> Path:
    """Path of a file in an installed package, which is not imported."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pin = f"{package.replace('_', '-')}=={PINS[package]}"
        raise PackageMissing(f"{inside} lies in {pin}: pip install --no-deps {pin}")
    return Path(spec.submodule_search_locations[0]) / inside


def _recipe(package: str, inside: str, inputs, axes: Mapping[str, Mapping[int, Axis]]) -> Recipe:
    def write(size: Size, dynamic: bool, path: Path) -> None:
        import onnx

        model = onnx.load(os.fspath(packaged_file(package, inside)))
        if not dynamic:
            _fix_shapes(model, inputs(size))
        onnx.save(model, os.fspath(path))

    return Recipe(write, inputs, axes)


def _fix_shapes(model, values: Inputs) -> None:
    """Write the sizes of `values` into the inputs, and infer the rest again."""
    import onnx

    del model.graph.value_info[:]
    for value in model.graph.input:
        for dim, size in zip(value.type.tensor_type.shape.dim, values[value.name].shape, strict=True):
            dim.Clear()
            dim.dim_value = size
    for value in model.graph.output:
        for dim in value.type.tensor_type.shape.dim:
            dim.Clear()
    model.CopyFrom(onnx.shape_inference.infer_shapes(model))


def page(height: int, width: int) -> np.ndarray:
    """[1, 3, height, width] f32 in [-1, 1]: dark strokes of letter-like shapes in lines on a light ground."""
    source = np.random.default_rng(7)
    ink = np.zeros((height, width), np.float32)
    for top in range(8, height - 20, 28) if height > 60 else [height // 2 - 10]:
        for left in range(8, width - 14, 13):
            for _ in range(3):
                y, x = top + source.integers(0, 17), left + source.integers(0, 9)
                if source.integers(0, 2):
                    ink[y : y + 3, left : left + 11] = 1
                else:
                    ink[top : top + 20, x : x + 3] = 1
    return np.repeat((1 - 2 * ink)[None, None] * 0.9, 3, axis=1).astype(np.float32)


def _source_code(size: Size) -> Inputs:
    """The bytes of this file as magika takes them: its first and last 1,024, 256 where there is none."""
    text = Path(__file__).read_bytes().strip()
    ends = np.full((1, 2048), 256, np.int32)
    ends[0, :1024] = np.frombuffer(text[:1024], np.uint8)
    ends[0, 1024:] = np.frombuffer(text[-1024:], np.uint8)
    return {"bytes": np.repeat(ends, 8 if size == "full" else 1, axis=0)}


def voice(samples: int) -> np.ndarray:
    """[samples] f32 at 16 kHz: a buzz of 120 Hz with three formants, which silero-vad takes for a vowel."""
    t = np.arange(samples) / 16_000
    harmonics = np.arange(1, 40)
    gains = sum(np.exp(-(((120 * harmonics - f) / 120) ** 2)) for f in (700, 1200, 2600)) + 0.02
    wave = (gains[:, None] * np.sin(2 * np.pi * 120 * harmonics[:, None] * t)).sum(0)
    return (0.3 * wave / np.abs(wave).max()).astype(np.float32)


def _voice_frame(size: Size) -> Inputs:
    return {
        "input": voice(576)[None],
        "sr": np.array(16_000, np.int64),
        "state": 0.1 * np.random.default_rng(3).standard_normal((2, 1, 128), np.float32),
    }


def _voice_sequence(size: Size) -> Inputs:
    frames = 32 if size == "full" else 4
    source = np.random.default_rng(3)
    wave = voice(64 + 512 * frames)
    return {
        "input": np.stack([wave[512 * n : 512 * n + 576] for n in range(frames)]),
        "h": 0.1 * source.standard_normal((1, 1, 128), np.float32),
        "c": 0.1 * source.standard_normal((1, 1, 128), np.float32),
    }


PAGE = {0: Axis("batch", 1, 4), 2: Axis("height", 32, 960), 3: Axis("width", 32, 960)}
OCR = "rapidocr_onnxruntime"

RECIPES = {
    "ppocr_det": _recipe(
        OCR,
        "models/ch_PP-OCRv4_det_infer.onnx",
        lambda s: {"x": page(*((640, 640) if s == "full" else (96, 128)))},
        {"x": PAGE},
    ),
    "ppocr_rec": _recipe(
        OCR,
        "models/ch_PP-OCRv4_rec_infer.onnx",
        lambda s: {"x": page(48, 320 if s == "full" else 96)},
        {"x": {0: Axis("batch", 1, 8), 3: Axis("width", 16, 960)}},
    ),
    "ppocr_cls": _recipe(
        OCR,
        "models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        lambda s: {"x": page(48, 192)},
        {"x": {0: Axis("batch", 1, 8)}},
    ),
    "magika": _recipe(
        "magika", "models/standard_v3_3/model.onnx", _source_code, {"bytes": {0: Axis("batch", 1, 64)}}
    ),
    "silero_vad": _recipe(
        "silero_vad",
        "data/silero_vad_op18_ifless.onnx",
        _voice_frame,
        {"input": {0: Axis("batch", 1, 8), 1: Axis("samples", 576, 576)}, "state": {1: Axis("batch", 1, 8)}},
    ),
    "silero_vad_sequence": _recipe(
        "silero_vad",
        "data/silero_vad_16k_sequence.onnx",
        _voice_sequence,
        {"input": {0: Axis("frames", 1, 512)}},
    ),
}
