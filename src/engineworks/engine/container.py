"""Read and write engine files. docs/reference/engine-format.md describes them byte by byte.

Reading maps the file and checks every length and offset before it is used; nothing in the file is executed
here.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from engineworks.engine import versions
from engineworks.engine.schema import Manifest, Section
from engineworks.engine.validate import problems
from engineworks.errors import CorruptEngine, NewerFormat

MAGIC = b"\x89ENG\r\n\x1a\n"
HEADER = struct.Struct("<8sIIQQ32s")
ALIGNMENT = 4096
MAX_MANIFEST = 1 << 30

Bytes = bytes | bytearray | memoryview

_decoder = msgspec.json.Decoder(Manifest)
_encoder = msgspec.json.Encoder(order="deterministic")


@dataclass(frozen=True, slots=True)
class Container:
    """An engine file, read.

    Attributes:
        manifest: checked for consistency.
        sections: read-only views into the mapped file, by name; they keep the mapping alive.
        origin: the path, or '<bytes>', for messages.
        is_mapped: sections are page-aligned memory of a mapped file.
    """

    manifest: Manifest
    sections: Mapping[str, memoryview] = field(repr=False)
    origin: str
    is_mapped: bool

    def verify(self, *names: str) -> None:
        """Compare the checksums of the named sections (all when none is named) with the manifest.

        Raises:
            CorruptEngine: a section's bytes are not those that were written.
        """
        for section in self.manifest.sections:
            if names and section.name not in names:
                continue
            if hashlib.sha256(self.sections[section.name]).hexdigest() != section.sha256:
                raise corrupt(self.origin, f"section '{section.name}' does not match its checksum")


def read(source: str | os.PathLike[str] | Bytes) -> Container:
    """The engine in a file (mapped) or in memory.

    Raises:
        CorruptEngine: not an engine, cut short or damaged.
        NewerFormat: written in a format version that this package cannot read.
        OSError: the file cannot be opened.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return _parse(memoryview(source).cast("B").toreadonly(), "<bytes>", is_mapped=False)
    origin = os.fspath(source)
    with open(origin, "rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise corrupt(origin, "the file is empty")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return _parse(memoryview(mapped), origin, is_mapped=True)


def encode(manifest: Manifest, sections: Mapping[str, Bytes]) -> bytes:
    """The engine file as bytes; `sections` in the order they shall lie in. Equal arguments give equal
    bytes.
    """
    return b"".join(_pieces(manifest, sections))


def write(path: str | os.PathLike[str], manifest: Manifest, sections: Mapping[str, Bytes]) -> int:
    """Write an engine file in one step: after a failure the path holds what it held before.

    Returns:
        the file's length in bytes.
    Raises:
        OSError: no room, no permission.
    """
    target = Path(path)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for piece in _pieces(manifest, sections):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
            length = file.tell()
            # mkstemp makes private files; an engine gets what open() would have given it.
            os.fchmod(file.fileno(), 0o666 & ~_umask())
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
    _sync_folder(target.parent)
    return length


def complete(manifest: Manifest, sections: Mapping[str, Bytes]) -> Manifest:
    """The manifest with its sections described."""
    described: list[Section] = []
    offset = 0
    for name, content in sections.items():
        size = memoryview(content).nbytes
        described.append(Section(name, offset, size, hashlib.sha256(content).hexdigest()))
        offset += -(-size // ALIGNMENT) * ALIGNMENT
    made = msgspec.structs.replace(manifest, sections=tuple(described))
    wrong = problems(made)
    assert not wrong, f"the builder made an inconsistent manifest: {wrong[0]}"
    return made


def encode_manifest(manifest: Manifest) -> bytes:
    """A complete manifest as `decode` reads it."""
    return _encoder.encode(manifest)


def decode(text: Bytes, origin: str) -> Manifest:
    """A manifest from its bytes, checked. Raises CorruptEngine."""
    try:
        manifest = _decoder.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise corrupt(origin, f"the manifest is not valid: {error}") from None
    wrong = problems(manifest)
    if wrong:
        raise corrupt(origin, f"the manifest contradicts itself: {wrong[0]}")
    return manifest


def _pieces(manifest: Manifest, sections: Mapping[str, Bytes]) -> Iterator[Bytes]:
    manifest = complete(manifest, sections)
    described = manifest.sections
    text = encode_manifest(manifest)
    start = _aligned(HEADER.size + len(text))
    length = start + (described[-1].offset + described[-1].size if described else 0)
    yield HEADER.pack(MAGIC, versions.CURRENT, 0, len(text), length, hashlib.sha256(text).digest())
    yield text
    position = HEADER.size + len(text)
    for section, content in zip(described, sections.values(), strict=True):
        yield bytes(start + section.offset - position)
        yield content
        position = start + section.offset + section.size
    if not described:
        yield bytes(start - position)


def _parse(view: memoryview, origin: str, *, is_mapped: bool) -> Container:
    manifest_length = _check_header(view, origin)
    text = view[HEADER.size : HEADER.size + manifest_length]
    if hashlib.sha256(text).digest() != bytes(view[32:64]):
        raise corrupt(origin, "the manifest does not match its checksum")
    manifest = decode(text, origin)
    sections = _cut(view, HEADER.size + manifest_length, manifest.sections, origin)
    return Container(manifest, sections, origin, is_mapped)


def _check_header(view: memoryview, origin: str) -> int:
    """Length of the manifest, after the fixed fields have been checked."""
    head = bytes(view[: HEADER.size])
    if len(head) < 8 or head[:8] != MAGIC:
        raise corrupt(origin, _why_not_magic(head))
    if len(head) < HEADER.size:
        raise corrupt(origin, f"cut short: {len(head)} bytes, the header alone takes {HEADER.size}")
    _, version, flags, manifest_length, file_length, _ = HEADER.unpack(head)
    if version > versions.CURRENT:
        raise NewerFormat(
            f"{origin}: engine format {version}; this Engineworks reads up to {versions.CURRENT}.\n"
            f"  Update Engineworks, or build the engine again with this version."
        )
    if version < versions.OLDEST:
        raise corrupt(origin, f"format version {version} never existed")
    if flags:
        raise corrupt(origin, f"unknown header flags {flags:#x}")
    if len(view) < file_length:
        raise corrupt(origin, f"cut short: {len(view):,} of {file_length:,} bytes")
    if len(view) > file_length:
        raise corrupt(origin, f"{len(view) - file_length:,} bytes follow the end of the engine")
    if not 2 <= manifest_length <= min(MAX_MANIFEST, file_length - HEADER.size):
        raise corrupt(origin, f"a manifest of {manifest_length:,} bytes does not fit")
    return manifest_length


def _why_not_magic(head: bytes) -> str:
    if head[:4] == MAGIC[:4] or head[:3] == MAGIC[1:4]:
        return "its first bytes were changed, as by a transfer in text mode"
    if head[:4] == b"ftrt":
        return "a TensorRT plan, not an Engineworks engine; build one from the model"
    return "not an engine (its first bytes are not those of one)"


def _cut(view: memoryview, end: int, described: tuple[Section, ...], origin: str) -> dict[str, memoryview]:
    """The sections' views. They must follow each other without holes, zero-padded to 4096 bytes."""
    start = _aligned(end)
    sections: dict[str, memoryview] = {}
    position = end
    for section in described:
        first = start + section.offset
        if first != _aligned(position) or first + section.size > len(view):
            raise corrupt(origin, f"section '{section.name}' lies outside the file or off its place")
        if view[position:first] != bytes(first - position):
            raise corrupt(origin, f"the padding before section '{section.name}' is not zero")
        sections[section.name] = view[first : first + section.size]
        position = first + section.size
    if max(position, start) != len(view):
        raise corrupt(origin, "bytes that belong to no section")
    return sections


def _aligned(position: int) -> int:
    return -(-position // ALIGNMENT) * ALIGNMENT


def corrupt(origin: str, why: str) -> CorruptEngine:
    """The error about a damaged file."""
    return CorruptEngine(
        f"{origin}: {why}.\n  Build the engine again, or copy the file again in binary mode."
    )


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """Make the new name durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
