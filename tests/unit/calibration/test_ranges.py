"""Calibration caches: TensorRT's files are read, ours round-trip, damage is refused with its line."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engineworks.calibration.ranges import Ranges
from engineworks.errors import CalibrationError

# As TensorRT's sampleINT8 documents it, with a name that holds colons and spaces, and an unused tensor.
BY_HAND = b"""TRT-7000-EntropyCalibration2
data: 3c008912
conv1: 3c88edfc
(Unnamed Layer* 15) [Constant]_output: 0
model/block:0/Relu:0: 3f800000
"""


def test_a_file_written_by_hand_is_read() -> None:
    ranges = Ranges.decode(BY_HAND)
    assert (ranges.version, ranges.algorithm) == ("7000", "EntropyCalibration2")
    assert list(ranges) == ["data", "conv1", "(Unnamed Layer* 15) [Constant]_output", "model/block:0/Relu:0"]
    assert ranges["data"] == struct.unpack(">f", bytes.fromhex("3c008912"))[0]
    assert ranges["model/block:0/Relu:0"] == 1.0
    assert ranges.range_of("model/block:0/Relu:0") == 127.0


def test_a_scale_of_zero_and_a_missing_name_both_mean_no_range() -> None:
    ranges = Ranges.decode(BY_HAND)
    assert ranges.scale_of("(Unnamed Layer* 15) [Constant]_output") is None
    assert ranges.scale_of("nothing") is None
    assert ranges.range_of("nothing") is None


@pytest.mark.parametrize(
    "header", ["TRT-8601-MinMaxCalibration", "TRT-100300-EntropyCalibration2", "TRT-5.1.5-X"]
)
def test_any_version_is_read(header: str) -> None:
    assert Ranges.decode(f"{header}\r\na: 3f800000\r\n".encode())["a"] == 1.0


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"), min_size=1).filter(
    str.strip
)


@given(st.dictionaries(NAMES, st.floats(0, 2.0**100, width=32)))
def test_what_is_written_is_read(scales: dict[str, float]) -> None:
    written = Ranges(scales, "MinMaxCalibration", "8601")
    again = Ranges.decode(written.encode())
    assert again == written
    assert (list(again), again.algorithm, again.version) == (list(scales), "MinMaxCalibration", "8601")


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "m.cache"
    path.write_text("before")
    Ranges({"a": 0.5}).write(path)
    assert path.read_bytes() == b"TRT-101300-EntropyCalibration2\na: 3f000000\n"
    assert list(tmp_path.iterdir()) == [path]
    assert Ranges.read(path) == {"a": 0.5}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "line 1: a calibration cache begins with"),
        (b"conv1: 3c88edfc\n", "line 1: .* this one with 'conv1: 3c88edfc'"),
        (b"TRT-1-E\na: 3f800000\nb 3f800000\n", "line 3: expected 'tensor name: XXXXXXXX'"),
        (b"TRT-1-E\na: 3f80000g\n", "line 2: expected"),
        (b"TRT-1-E\na: 3f8000000\n", "line 2: expected"),
        (b"TRT-1-E\na: bf800000\n", "line 2: the scale of 'a' is -1.0"),
        (b"TRT-1-E\n\na: 7fc00000\n", "line 3: the scale of 'a' is nan"),
        (b"TRT-1-E\na: 3f800000\na: 3f000000\n", "line 3: tensor 'a' has another scale"),
        (b"TRT-1-E\na: 3f800000\n\xff: 3f800000\n", "line 3: is not UTF-8"),
    ],
)
def test_damage_is_refused_with_its_line(content: bytes, sentence: str) -> None:
    with pytest.raises(CalibrationError, match=sentence):
        Ranges.decode(content)


@pytest.mark.parametrize("scales", [{"a": -1.0}, {"a": float("nan")}, {"a": 1e39}, {"a\nb": 1.0}])
def test_scales_that_no_file_can_hold_are_refused(scales: dict[str, float]) -> None:
    with pytest.raises(CalibrationError):
        Ranges(scales)
