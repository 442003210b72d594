"""One engine file of the plans for several targets, with equal weights once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from msgspec import structs

from engineworks.builder.emit import Emitted
from engineworks.builder.weights import WeightsSection
from engineworks.engine import container
from engineworks.engine.schema import Manifest, Piece, Profile, Record, Ref, Variant, Word
from engineworks.engine.variant_rules import interface
from engineworks.errors import BuildError

IN_PLACE = frozenset({"cpu"})
"""Devices whose kernels read weights where the file is mapped, so that a plan's lie in one piece of it."""


@dataclass(frozen=True, slots=True)
class _Placed:
    """A tensor's bytes in its plan's own weights, and in those of the file."""

    own: int
    size: int
    shared: int


def assemble(parts: Sequence[Emitted]) -> Emitted:
    """The engine that holds all of them.

    Raises:
        BuildError: they do not take and give the same names and dtypes.
    """
    first = parts[0].manifest
    for part in parts[1:]:
        _check_interface(first, part.manifest)
    weights = WeightsSection()
    placed = [_place(part, weights) for part in parts]
    content = weights.tobytes()
    sections: dict[str, bytes | bytearray] = {}
    variants: list[Variant] = []
    for number, (part, tensors) in enumerate(zip(parts, placed, strict=True)):
        manifest, pieces, own = _own(part, tensors, content)
        names = {"manifest": f"plan.{number}", "code": f"code.{number}"}
        described = {**part.sections, "weights": own}
        sections[names["manifest"]] = container.encode_manifest(container.complete(manifest, described))
        sections[names["code"]] = part.sections["code"]
        if "report" in part.sections:
            names["report"] = f"report.{number}"
            sections[names["report"]] = part.sections["report"]
        variants.append(Variant(target=manifest.target, weights=pieces, **names))
    sections["weights"] = content
    return Emitted(_outer(first, variants), sections, parts[0].memory)


def _outer(first: Manifest, variants: Sequence[Variant]) -> Manifest:
    return Manifest(
        package=first.package, target=first.target, inputs=first.inputs, outputs=first.outputs, name=first.name,
        symbols=first.symbols, profiles=tuple(Profile(p.name, p.ranges) for p in first.profiles),
        variants=tuple(variants),
    )  # fmt: skip


def _check_interface(first: Manifest, other: Manifest) -> None:
    for what, one, two in (
        ("inputs", first.inputs, other.inputs),
        ("outputs", first.outputs, other.outputs),
    ):
        if interface(one) != interface(two):
            wanted, found = (", ".join(f"{n}: {d}" for n, d, _ in interface(t)) for t in (one, two))
            raise BuildError(
                f"the {what} for {first.target.device}:{first.target.arch} are {wanted}; for {other.target.device}:"
                f"{other.target.arch} they are {found}. Plans of one file take and give the same: leave keep_io_types "
                f"on, or build a file for each target."
            )


def _place(part: Emitted, weights: WeightsSection) -> list[_Placed]:
    content = np.frombuffer(part.sections["weights"], np.uint8)
    return [
        _Placed(t.offset, t.size, weights.add(content[t.offset : t.offset + t.size])) for t in part.tensors
    ]


def _own(
    part: Emitted, tensors: Sequence[_Placed], content: bytearray
) -> tuple[Manifest, tuple[Piece, ...], bytes | bytearray | memoryview]:
    """The plan's manifest, the pieces that are its weights, and those weights."""
    if part.manifest.target.device not in IN_PLACE:
        return part.manifest, _compact(tensors), part.sections["weights"]
    start = min((t.shared for t in tensors), default=0)
    size = max((t.shared + t.size for t in tensors), default=0) - start
    pieces = (Piece(start, size),) if size else ()
    return _moved(part.manifest, tensors, start, size), pieces, memoryview(content)[start : start + size]


def _compact(tensors: Sequence[_Placed]) -> tuple[Piece, ...]:
    """The tensors in the plan's own order, so that pieces put together are its own weights; neighbours joined."""
    pieces: list[Piece] = []
    shift: int | None = None
    for tensor in tensors:
        if not tensor.size:
            continue
        if pieces and tensor.shared - tensor.own == shift:
            start = pieces.pop().offset
        else:
            start, shift = tensor.shared, tensor.shared - tensor.own
        pieces.append(Piece(start, tensor.shared + tensor.size - start))
    return tuple(pieces)


def _moved(manifest: Manifest, tensors: Sequence[_Placed], start: int, size: int) -> Manifest:
    """The manifest with its addresses of weights counted from byte `start` of the file's."""
    starts = [t.own for t in tensors]

    def at(own: int) -> int:
        tensor = tensors[bisect_right(starts, own) - 1]
        return tensor.shared + own - tensor.own - start

    def word_moved(word: Word) -> Word:
        if not isinstance(word, Ref) or word.buffer not in held:
            return word
        assert isinstance(word.offset, int), "addresses of weights are known at build"
        return Ref(word.buffer, at(word.offset), word.map)

    held = {k for k, b in enumerate(manifest.buffers) if b.place == "weights"}

    def moved(record: Record) -> Record:
        return structs.replace(record, words=tuple(word_moved(w) for w in record.words))

    buffers = tuple(structs.replace(b, size=size) if b.place == "weights" else b for b in manifest.buffers)
    return structs.replace(manifest, buffers=buffers, program=tuple(moved(r) for r in manifest.program))
