"""Engine files written and read."""

from __future__ import annotations

import errno
import hashlib
import os
import struct
import time

import pytest

from engineworks.engine import container, versions
from engineworks.engine.schema import Manifest, TargetRecord, Tensor
from engineworks.errors import CorruptEngine, NewerFormat

SECTIONS = {"code": b"\x90" * 5000, "weights": b"w" * 4096, "empty": b"", "report": b"{}"}


@pytest.fixture
def manifest() -> Manifest:
    return Manifest(
        package="1.2",
        target=TargetRecord("cpu", "x86-64-v3"),
        inputs=(Tensor("x", "f32", (1, 2)),),
        outputs=(),
    )


def test_what_was_written_is_read(tmp_path, manifest):
    path = tmp_path / "a.engine"
    length = container.write(path, manifest, SECTIONS)
    read = container.read(path)
    assert length == path.stat().st_size
    assert {k: bytes(v) for k, v in read.sections.items()} == SECTIONS
    assert read.manifest.inputs == manifest.inputs
    read.verify()


def test_bytes_and_file_are_the_same_and_deterministic(tmp_path, manifest):
    path = tmp_path / "a.engine"
    container.write(path, manifest, SECTIONS)
    assert path.read_bytes() == container.encode(manifest, SECTIONS) == container.encode(manifest, SECTIONS)
    assert container.read(path.read_bytes()).manifest == container.read(path).manifest


def test_the_header_lies_as_documented(manifest):
    data = container.encode(manifest, SECTIONS)
    magic, version, flags, manifest_length, file_length, digest = struct.unpack_from("<8sIIQQ32s", data)
    assert magic == b"\x89ENG\r\n\x1a\n"
    assert (version, flags, file_length) == (versions.CURRENT, 0, len(data))
    assert digest == hashlib.sha256(data[64 : 64 + manifest_length]).digest()


def test_sections_start_at_multiples_of_a_page(manifest):
    data = container.encode(manifest, SECTIONS)
    start = -(-(64 + struct.unpack_from("<Q", data, 16)[0]) // 4096) * 4096
    for section in container.read(data).manifest.sections:
        assert section.offset % 4096 == 0
        assert data[start + section.offset :][: section.size] == SECTIONS[section.name]


def test_an_engine_without_sections_is_whole(manifest):
    assert container.read(container.encode(manifest, {})).sections == {}


@pytest.mark.parametrize("length", [0, 1, 7, 8, 63, 64, 100, 4095, 4096, 9000, -1])
def test_a_file_cut_short_is_refused(tmp_path, manifest, length):
    path = tmp_path / "cut.engine"
    path.write_bytes(container.encode(manifest, SECTIONS)[:length])
    with pytest.raises(CorruptEngine, match="cut.engine"):
        container.read(path)


def test_bytes_after_the_end_are_refused(manifest):
    with pytest.raises(CorruptEngine, match="follow the end"):
        container.read(container.encode(manifest, SECTIONS) + b"x")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x7fELF" + bytes(100), "not an engine"),
        (b"ftrt" + bytes(100), "TensorRT plan"),
        (b"\x89ENG\n\x1a\n" + bytes(100), "text mode"),
    ],
)
def test_other_files_are_named(data, message):
    with pytest.raises(CorruptEngine, match=message):
        container.read(data)


def test_a_newer_format_says_so(manifest):
    data = bytearray(container.encode(manifest, SECTIONS))
    struct.pack_into("<I", data, 8, versions.CURRENT + 1)
    with pytest.raises(NewerFormat, match="Update Engineworks"):
        container.read(data)


def test_a_changed_manifest_fails_its_checksum(manifest):
    data = container.encode(manifest, SECTIONS).replace(b'"1.2"', b'"1.3"')
    with pytest.raises(CorruptEngine, match="checksum"):
        container.read(data)


def test_a_changed_section_fails_verification_only(manifest):
    data = container.encode(manifest, SECTIONS).replace(b"wwww", b"wxww", 1)
    read = container.read(data)
    read.verify("code")
    with pytest.raises(CorruptEngine, match="'weights'"):
        read.verify()


def test_padding_must_be_zero(manifest):
    data = bytearray(container.encode(manifest, SECTIONS))
    data[64 + struct.unpack_from("<Q", data, 16)[0]] = 1
    with pytest.raises(CorruptEngine, match="padding"):
        container.read(data)


def _with_manifest(text: bytes) -> bytes:
    """An engine of this manifest text, with a right checksum and no sections."""
    length = -(-(64 + len(text)) // 4096) * 4096
    head = struct.pack("<8sIIQQ32s", container.MAGIC, 1, 0, len(text), length, hashlib.sha256(text).digest())
    return (head + text).ljust(length, b"\0")


@pytest.mark.parametrize(
    "text",
    [
        b"{}", b"[]", b"nonsense", b"[" * 100000, b"\xff\xfe",
        b'{"package":"","target":{"device":"cpu","arch":"x"},"inputs":[],"outputs":[],"unknown":1}',
        b'{"package":"","target":{"device":"cpu","arch":"x"},"inputs":[{"name":"x","dtype":"f33","dims":[]}],"outputs":[]}',
        b'{"package":"","target":{"device":"cpu","arch":"x"},"inputs":[{"name":"x","dtype":"f32","dims":[-1]}],"outputs":[]}',
        b'{"package":"","target":{"device":"cpu","arch":"x"},"inputs":[{"name":"x","dtype":"f32","dims":["Q"]}],"outputs":[]}',
    ],
)  # fmt: skip
def test_a_wrong_manifest_with_a_right_checksum_is_refused(text):
    with pytest.raises(CorruptEngine):
        container.read(_with_manifest(text))


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, manifest, monkeypatch, failure):
    path = tmp_path / "a.engine"
    path.write_bytes(b"old")

    def fail(_descriptor):
        raise failure

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(type(failure)):
        container.write(path, manifest, SECTIONS)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.engine"]


def test_a_missing_file_is_the_usual_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        container.read(tmp_path / "none.engine")


def test_reading_takes_no_time_for_large_weights(tmp_path, manifest):
    path = tmp_path / "large.engine"
    container.write(path, manifest, {"code": b"c", "weights": bytes(100_000_000)})
    durations = []
    for _ in range(5):
        start = time.perf_counter()
        container.read(path)
        durations.append(time.perf_counter() - start)
    assert min(durations) < 0.03
