"""The demo's own work: resizing, boxes, decoding, and the whole on real networks where they are installed."""

from __future__ import annotations

import json
from importlib.util import find_spec

import numpy as np
import pytest

from engineworks.cli import ocr


def test_resize_keeps_a_flat_image_and_halves_a_ramp() -> None:
    assert (ocr.resize(np.full((9, 7, 3), 80, np.uint8), 20, 31) == 80).all()
    ramp = np.repeat(np.arange(0, 64, 2, dtype=np.uint8)[None, :, None], 3, axis=2)
    assert ocr.resize(ramp, 1, 16)[0, :, 0].tolist() == [int(np.rint(4 * k + 1)) for k in range(16)]


def test_network_input_is_blue_first_and_padded() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image[:, :, 2] = 255
    out = ocr.network_input(image, 4, 4, pad_to=6)
    assert out.shape == (1, 3, 4, 6)
    assert out[0, 0, 0].tolist() == [1, 1, 1, 1, 0, 0]
    assert out[0, 2, 0].tolist() == [-1, -1, -1, -1, 0, 0]


def test_boxes_grow_around_their_core_and_stand_in_reading_order() -> None:
    map_ = np.zeros((100, 200), np.float32)
    map_[60:70, 20:80] = 0.9
    map_[20:30, 120:180] = 0.9
    map_[22:31, 20:80] = 0.9
    map_[90:92, 2:4] = 0.9
    found = ocr.boxes(map_, 100, 200)
    assert [(b.left < 80, b.top < 50) for b in found] == [(True, True), (False, True), (True, False)]
    assert (found[2].top < 60, found[2].bottom > 70) == (True, True)
    assert (found[2].left < 20, found[2].right > 80) == (True, True)


def test_faint_regions_are_no_boxes() -> None:
    map_ = np.full((40, 40), 0.35, np.float32)
    assert ocr.boxes(map_, 40, 40) == []


def test_decode_joins_repeats_and_drops_blanks() -> None:
    path = [0, 1, 1, 0, 1, 2, 3, 3]
    scores = np.eye(4, dtype=np.float32)[path] * 0.8
    text, score = ocr.decode(scores, ["a", "b"])
    assert text == "aab "
    assert score == pytest.approx(0.8)


def test_decode_of_blanks_is_empty() -> None:
    assert ocr.decode(np.eye(3, dtype=np.float32)[[0, 0]], ["a"]) == ("", 0.0)


@pytest.mark.skipif(
    any(find_spec(m) is None for m in ("rapidocr_onnxruntime", "PIL", "scipy")),
    reason="the demo's extras are not installed",
)
def test_the_demo_reads_its_sample(command) -> None:
    outcome = command("demo", "--effort", "0", "--json")
    assert [line["text"] for line in json.loads(outcome.out)["lines"]] == [
        "Engineworks reads this line",
        "compiled for your CPU: 3 networks",
        "Hello, 2026!",
    ]
