"""What must hold in the manifest of a file with plans for several targets, and between it and each plan's own."""

from __future__ import annotations

from collections.abc import Iterator

from engineworks.engine.schema import WEIGHTS_ALIGNMENT, Manifest, Piece, Tensor, Variant

PLAN_SECTIONS = ("code", "weights", "report")
"""Sections that a plan may have."""
_OF_PLANS = ("program", "kernels", "buffers", "maps", "checks", "weights", "arena_bytes")


def variant_problems(manifest: Manifest) -> Iterator[str]:
    """Contradictions in `variants`, in words."""
    if not manifest.variants:
        return
    for name in _OF_PLANS:
        if getattr(manifest, name):
            yield f"it has plans for several targets, and '{name}' beside them"
    if manifest.target != manifest.variants[0].target:
        yield "its target is not that of its first plan"
    sizes = {s.name: s.size for s in manifest.sections}
    for number, variant in enumerate(manifest.variants):
        for name in (variant.manifest, variant.code, variant.report):
            if name and name not in sizes:
                yield f"plan {number}: there is no section '{name}'"
        yield from _piece_problems(f"plan {number}", variant, sizes.get("weights", 0))


def _piece_problems(where: str, variant: Variant, room: int) -> Iterator[str]:
    for piece in variant.weights:
        if piece.offset % WEIGHTS_ALIGNMENT:
            yield f"{where}: weights from byte {piece.offset}, which is no multiple of {WEIGHTS_ALIGNMENT}"
        if piece.offset + piece.size > room:
            yield f"{where}: weights up to byte {piece.offset + piece.size} of {room}"
    # Pieces may be gathered, so what they claim together must not be more than there is.
    if sum(p.size for p in variant.weights) > room:
        yield f"{where}: more weights than the file has"


def plan_problems(plan: Manifest, number: int, whole: Manifest) -> Iterator[str]:
    """Contradictions between a plan's manifest and that of its file, in words."""
    variant = whole.variants[number]
    if plan.variants:
        yield "it has plans of its own"
    if plan.target != variant.target:
        yield "its target is not the one that the file gives for it"
    if interface(plan.inputs) != interface(whole.inputs) or interface(plan.outputs) != interface(
        whole.outputs
    ):
        yield "its inputs and outputs are not those of the file"
    sizes = {s.name: s.size for s in whole.sections}
    there = {"code": sizes.get(variant.code, 0), "report": sizes.get(variant.report, 0)}
    for section in plan.sections:
        if section.name not in PLAN_SECTIONS:
            yield f"a plan has no section '{section.name}'"
        elif section.name == "weights":
            end = end_of(variant.weights)
            if not end <= section.size < end + WEIGHTS_ALIGNMENT:
                yield f"its {section.size} bytes of weights are {end} bytes in the file"
        elif section.size != there[section.name]:
            yield f"its '{section.name}' has {section.size} bytes, in the file {there[section.name]}"


def interface(tensors: tuple[Tensor, ...]) -> tuple[tuple[str, str, int], ...]:
    """Name, dtype and rank of each: what all plans of a file must agree on."""
    return tuple((t.name, t.dtype, len(t.dims)) for t in tensors)


def starts_of(pieces: tuple[Piece, ...]) -> Iterator[int]:
    """Where each piece begins in the plan's own weights."""
    position = 0
    for piece in pieces:
        position = -(-position // WEIGHTS_ALIGNMENT) * WEIGHTS_ALIGNMENT
        yield position
        position += piece.size


def end_of(pieces: tuple[Piece, ...]) -> int:
    """Bytes of the plan's own weights."""
    return max((at + p.size for at, p in zip(starts_of(pieces), pieces, strict=True)), default=0)
