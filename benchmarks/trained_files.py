"""magika on files of many kinds: the share whose kind is named rightly.

Score 1: all of them. The files are made here, so their kinds are known.
"""

from __future__ import annotations

import functools
import gzip
import io
import json
import struct
import wave
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from benchmarks import trained, trained_held_out
from benchmarks.trained import Batch, Network, Run, Task

BATCH, ENDS = 10, 1024
"""Files at once; the bytes that are looked at on either end of a file."""
_WORDS = """
engine model tensor value graph kernel memory thread buffer index layer shape weight input output result time file name
number table state error check build load write read size block
"""
WORDS = _WORDS.split()


def task() -> Task:
    """Raises PackageMissing."""
    path = trained.folder("magika") / "models" / "standard_v3_3" / "model.onnx"
    network = Network(path, calibration, {"fixed_shapes": {"bytes": (BATCH, 2 * ENDS)}})
    return Task("files", {"classifier": network}, score, functools.partial(held_out_score, path=path))


def calibration() -> Iterator[Batch]:
    """Files of the same kinds with other content, and the sources of this repository."""
    for seed in range(1, 5):
        yield {"bytes": seen(list(made(seed).values()))}
    root = Path(__file__).resolve().parent.parent
    found = [
        p
        for pattern in ("*.toml", "*.md", "Makefile", "src/*/*.py", "docs/*/*.md")
        for p in sorted(root.glob(pattern))
    ]
    for start in range(0, min(len(found), 4 * BATCH) - BATCH + 1, BATCH):
        yield {"bytes": seen([p.read_bytes() for p in found[start : start + BATCH]])}


def score(runs: Mapping[str, Run]) -> float:
    """Share of the files whose kind is named."""
    scored = made(seed=0)
    return float(
        np.mean(
            [a == b for a, b in zip(kinds(runs["classifier"], list(scored.values())), scored, strict=True)]
        )
    )


def held_out_score(runs: Mapping[str, Run], path: Path) -> float:
    """Share of the held-out files with fp32's kind, of those that it is sure of by magika's own measure."""
    contents = _held_out()
    wanted = probabilities(trained.onnxruntime_run(path), contents)
    sure = wanted.max(axis=1) >= _config()["medium_confidence_threshold"]
    found = probabilities(runs["classifier"], contents).argmax(axis=1)
    return float(np.mean((found == wanted.argmax(axis=1))[sure]))


def kinds(run: Run, contents: list[bytes]) -> list[str]:
    """magika's labels; the number of files is a multiple of the batch."""
    return [_config()["target_labels_space"][k] for k in probabilities(run, contents).argmax(axis=1)]


def probabilities(run: Run, contents: list[bytes]) -> np.ndarray:
    """[files, kinds] f32; the number of files is a multiple of the batch."""
    batches = [seen(contents[start : start + BATCH]) for start in range(0, len(contents), BATCH)]
    return np.concatenate([np.array(next(iter(run(bytes=batch).values()))) for batch in batches])


@functools.cache
def _held_out() -> list[bytes]:
    """A few files of each suffix in some installed packages."""
    out: list[bytes] = []
    for package in trained_held_out.PACKAGES:
        by_suffix: dict[str, list[bytes]] = {}
        for path in sorted(p for p in trained.folder(package).rglob("*.*") if p.is_file()):
            of_kind = by_suffix.setdefault(path.suffix, [])
            small, large = trained_held_out.FILE_SIZES
            if len(of_kind) < trained_held_out.FILES and small <= path.stat().st_size <= large:
                of_kind.append(path.read_bytes())
        out += [content for contents in by_suffix.values() for content in contents]
    return out[: len(out) // BATCH * BATCH]


def seen(contents: list[bytes]) -> np.ndarray:
    """[files, 2048] i32: first and last bytes, blanks behind and before."""
    out = np.full((len(contents), 2 * ENDS), _config()["padding_token"], np.int32)
    for row, content in zip(out, contents, strict=True):
        text = content.strip()
        head, tail = text[:ENDS], text[-ENDS:]
        row[: len(head)] = np.frombuffer(head, np.uint8)
        row[2 * ENDS - len(tail) :] = np.frombuffer(tail, np.uint8)
    return out


@functools.cache
def _config() -> dict:
    path = trained.folder("magika") / "models" / "standard_v3_3" / "config.min.json"
    return json.loads(path.read_text())


def made(seed: int) -> dict[str, bytes]:
    """Contents by magika's name of their kind, seeded."""
    source = np.random.default_rng(seed)
    return {kind: make(source) for kind, make in _MAKERS.items()}


def _words(source: np.random.Generator, count: int, between: str = " ") -> str:
    return between.join(source.choice(WORDS, count))


def _repeated(template: str, count: int):
    """A maker of head, `count` blocks and tail, which dashes separate; «1» to «3» stand for words, «n» for a number."""
    head, block, tail = template.split("-----\n")

    def make(source: np.random.Generator) -> bytes:
        blocks = []
        for _ in range(count):
            filled = block.replace("«n»", str(source.integers(2, 9999)))
            for mark in ("«1»", "«2»", "«3»"):
                filled = filled.replace(mark, _words(source, 2, "_"))
            blocks.append(filled)
        return "".join([head, *blocks, tail]).encode()

    return make


def _png(source: np.random.Generator) -> bytes:
    pixels = source.integers(0, 256, (48, 49), np.uint8)
    pixels[:, 0] = 0

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 48, 48, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(pixels.tobytes()))
        + chunk(b"IEND", b"")
    )


def _wav(source: np.random.Generator) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        tone = np.sin(np.arange(8000) * source.uniform(0.05, 0.3)) * 9000 + source.normal(0, 200, 8000)
        file.writeframes(tone.astype("<i2").tobytes())
    return out.getvalue()


def _zip(source: np.random.Generator) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for number in range(3):
            file.writestr(f"{_words(source, 1)}{number}.txt", _words(source, 300))
    return out.getvalue()


def _json(source: np.random.Generator) -> bytes:
    items = [
        {"id": k, "name": _words(source, 2), "price": round(float(source.uniform(1, 99)), 2)}
        for k in range(40)
    ]
    return json.dumps({"items": items}, indent=1).encode()


PYTHON = """import os
from pathlib import Path


-----
def «1»(argv: list[str]) -> int:
    '''Count the «2».'''
    total = 0
    for path in sorted(Path(argv[1]).iterdir()):
        total += os.path.getsize(path) + «n»
    return total


-----
if __name__ == '__main__':
    main()
"""
C = r"""#include <stdio.h>
#include <stdlib.h>

-----
static int «1»(const char *text, size_t size) {
    for (size_t i = 0; i < size; i++) {
        printf("%c «2»\n", text[i]);
    }
    return «n»;
}

-----
int main(void) {
    return EXIT_SUCCESS;
}
"""
HTML = """<!DOCTYPE html>
<html><head><title>A page</title></head>
<body>
-----
<p class='x'>The <b>«1»</b> has <a href='/«2»'>«n»</a> parts</p>
-----
</body></html>
"""
JAVASCRIPT = """-----
function «1»(items) {
  const found = items.filter((x) => x.«2» === «n»);
  console.log(`${found.length} «3»`);
  return found.map((x) => x.id);
}

-----
"""
SHELL = """#!/bin/bash
set -euo pipefail
-----
for «1» in "$@"; do
  if [ -f "$«1»" ]; then
    echo "«2» «n»" >> /tmp/log.txt
  fi
done
-----
exit 0
"""
_MAKERS = {
    "python": _repeated(PYTHON, 8),
    "c": _repeated(C, 8),
    "html": _repeated(HTML, 25),
    "json": _json,
    "javascript": _repeated(JAVASCRIPT, 10),
    "shell": _repeated(SHELL, 10),
    "png": _png,
    "gzip": lambda source: gzip.compress(_words(source, 4000).encode(), mtime=0),
    "zip": _zip,
    "wav": _wav,
}
