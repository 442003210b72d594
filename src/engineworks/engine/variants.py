"""Plans for several targets in one file: each is a whole engine, whose sections are parts of the file's."""

from __future__ import annotations

from engineworks.engine import container
from engineworks.engine.container import Container
from engineworks.engine.schema import Manifest, Piece
from engineworks.engine.variant_rules import plan_problems, starts_of


def plan_manifest(file: Container, number: int) -> Manifest:
    """What plan `number` says about itself, checked as a file's own manifest is.

    Raises:
        CorruptEngine: its bytes are not those that were written, or contradict the file.
    """
    variant = file.manifest.variants[number]
    file.verify(variant.manifest)
    origin = f"{file.origin}, plan {number}"
    manifest = container.decode(file.sections[variant.manifest], origin)
    for problem in plan_problems(manifest, number, file.manifest):
        raise container.corrupt(origin, problem)
    return manifest


def plan(file: Container, number: int) -> Container:
    """Plan `number` as an engine of its own: what a file for its target alone would hold.

    Weights that lie together in the file stay there; otherwise they are copied together, without the bytes between.

    Raises:
        CorruptEngine: as `plan_manifest`.
    """
    manifest = plan_manifest(file, number)
    variant = file.manifest.variants[number]
    empty = memoryview(b"")
    found = {
        "code": file.sections.get(variant.code, empty), "report": file.sections.get(variant.report, empty),
    }  # fmt: skip
    sections: dict[str, memoryview] = {}
    for section in manifest.sections:
        if section.name == "weights":
            whole = file.sections.get("weights", empty)
            sections["weights"] = _weights(whole, variant.weights, section.size)
        else:
            sections[section.name] = found[section.name]
    return Container(manifest, sections, file.origin, file.is_mapped and len(variant.weights) == 1)


def _weights(content: memoryview, pieces: tuple[Piece, ...], size: int) -> memoryview:
    if len(pieces) == 1 and pieces[0].size == size:
        return content[pieces[0].offset : pieces[0].offset + size]
    gathered = bytearray(size)
    for at, piece in zip(starts_of(pieces), pieces, strict=True):
        gathered[at : at + piece.size] = content[piece.offset : piece.offset + piece.size]
    return memoryview(gathered).toreadonly()
