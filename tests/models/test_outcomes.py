"""What trained networks are for still comes out of their engines: file types, speech, text."""

from __future__ import annotations

import gzip
import json
import struct
import zlib

import numpy as np
import pytest

onnxruntime = pytest.importorskip("onnxruntime")

import engineworks  # noqa: E402  after the packages it needs are known to be there
from benchmarks.models.packaged import PackageMissing, packaged_file  # noqa: E402

RATE = 16000


def _packaged(package: str, inside: str):
    try:
        return packaged_file(package, inside)
    except PackageMissing as missing:
        pytest.skip(str(missing))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 65), np.uint8)
    pixels[:, 0] = 0
    header = struct.pack(">IIBBBBB", 64, 64, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(pixels.tobytes()))
        + _chunk(b"IEND", b"")
    )


FILES = {
    "python": b"import os\nfrom pathlib import Path\n\n\ndef main(argv: list[str]) -> int:\n"
    b'    """List the files of a folder."""\n    for path in sorted(Path(argv[1]).iterdir()):\n'
    b"        print(path.name, os.path.getsize(path))\n    return 0\n" * 3,
    "json": json.dumps({"items": [{"id": k, "name": f"item {k}", "price": k / 3} for k in range(60)]}, indent=1).encode(),
    "html": b"<!DOCTYPE html>\n<html><head><title>A page</title></head>\n<body>\n"
    + b"<p class='x'>Some <b>text</b></p>\n" * 40 + b"</body></html>\n",
    "c": b"#include <stdio.h>\n#include <stdlib.h>\n\nint main(int argc, char **argv) {\n    for (int i = 0; i < argc; i++) {\n"
    b'        printf("%s\\n", argv[i]);\n    }\n    return EXIT_SUCCESS;\n}\n' * 4,
    "png": _png(),
    "gzip": gzip.compress(np.random.default_rng(1).bytes(3000)),
}  # fmt: skip


def _both_ends(content: bytes, count: int, blank: int) -> np.ndarray:
    """Magika's view of a file: its first and its last bytes, blanks behind and before."""
    text = content.strip()
    row = np.full(2 * count, blank, np.int32)
    head, tail = text[:count], text[-count:]
    row[: len(head)] = np.frombuffer(head, np.uint8)
    row[2 * count - len(tail) :] = np.frombuffer(tail, np.uint8)
    return row


def test_magika_tells_file_types() -> None:
    model = _packaged("magika", "models/standard_v3_3/model.onnx")
    config = json.loads(model.with_name("config.min.json").read_text())
    rows = np.stack([_both_ends(c, config["beg_size"], config["padding_token"]) for c in FILES.values()])
    shapes = ((1, 2048), (4, 2048), (8, 2048))
    engine = engineworks.build(model, profile={"bytes": shapes}, effort=0, threads=2)
    (scores,) = engine(bytes=rows).values()
    assert [config["target_labels_space"][k] for k in scores.argmax(axis=1)] == list(FILES)


def _voice() -> np.ndarray:
    """Two seconds at 16 kHz like a voice: a falling tone's harmonics through moving formants, in syllables; then silence."""
    time = np.arange(2 * RATE) / RATE
    pitch = 130 + 25 * np.sin(2 * np.pi * 0.7 * time) - 15 * time
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    first, second = (
        500 + 250 * np.sin(2 * np.pi * 2.1 * time),
        1500 + 500 * np.sin(2 * np.pi * 1.7 * time + 1),
    )
    out = np.zeros_like(time)
    for number in range(1, 30):
        frequency = number * pitch
        gain = sum(
            np.exp(-(((frequency - f) / w) ** 2)) for f, w in ((first, 120), (second, 200), (2600, 300))
        )
        out += gain * np.sin(number * phase) / np.sqrt(number)
    syllables = np.clip(1.5 * np.sin(2 * np.pi * 3.5 * time), 0, 1) ** 0.5
    voice = 0.25 * out * syllables / np.abs(out).max()
    noise = np.random.default_rng(3).normal(0, 1e-4, 2 * len(time))
    return (np.concatenate([voice, np.zeros_like(voice)]) + noise).astype(np.float32)


def _probabilities(run, samples: np.ndarray) -> np.ndarray:
    """Speech probability of each 32 ms frame; `run` takes and returns the state."""
    state, context, found = np.zeros((2, 1, 128), np.float32), np.zeros(64, np.float32), []
    for start in range(0, len(samples) - 511, 512):
        frame = samples[start : start + 512]
        probability, state = run(np.concatenate([context, frame])[None], state)
        context = frame[-64:]
        found.append(float(probability.squeeze()))
    return np.array(found)


def test_silero_hears_the_same_as_onnx_runtime() -> None:
    model = _packaged("silero_vad", "data/silero_vad_op18_ifless.onnx")
    shapes = {"input": (1, 576), "state": (2, 1, 128)}
    engine = engineworks.build(model, fixed_shapes=shapes, effort=0, threads=1)
    session = onnxruntime.InferenceSession(str(model))
    rate = {i.name: np.array(RATE, np.int64) for i in session.get_inputs() if i.name == "sr"}

    def ours(frame: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        made = engine(
            input=frame,
            state=state,
            **{k: v for k, v in rate.items() if k in {t.name for t in engine.inputs}},
        )
        return tuple(made[t.name] for t in engine.outputs)  # type: ignore[return-value]

    def theirs(frame: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return tuple(session.run(None, {"input": frame, "state": state, **rate}))  # type: ignore[return-value]

    samples = _voice()
    heard, wanted = _probabilities(ours, samples), _probabilities(theirs, samples)
    np.testing.assert_allclose(heard, wanted, atol=1e-4)
    half = len(heard) // 2
    assert heard[:half].max() > 0.5 and heard[half + 15 :].max() < 0.2
