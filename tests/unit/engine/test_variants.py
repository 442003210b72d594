"""Files with plans for several targets: what a plan is of its file, and damage that must be found."""

from __future__ import annotations

import hashlib

import pytest
from msgspec import structs

from engineworks.engine import container
from engineworks.engine.schema import (
    Buffer,
    Kernel,
    Manifest,
    Piece,
    Record,
    Ref,
    TargetRecord,
    Tensor,
    Variant,
)
from engineworks.engine.validate import problems
from engineworks.engine.variants import plan, plan_manifest
from engineworks.errors import CorruptEngine

INTERFACE = {"inputs": (Tensor("x", "f32", (4,)),), "outputs": (Tensor("y", "f32", (4,)),)}
TARGETS = (TargetRecord("null", "wide"), TargetRecord("null", "narrow"))
SHARED = bytes(range(64)) + bytes([7] * 100) + bytes(28) + bytes([9] * 64)
"""Tensors at 0, 64 (100 bytes long) and 192."""
PIECES = ((Piece(0, 164),), (Piece(192, 64), Piece(0, 64)))
OWN = (SHARED[:164], SHARED[192:] + SHARED[:64])


def _plan(number: int) -> Manifest:
    return Manifest(
        package="1", target=TARGETS[number], **INTERFACE,
        buffers=(Buffer("input"), Buffer("output"), Buffer("weights", 0, len(OWN[number]))),
        kernels=(Kernel(f"k{number}"),), program=(Record(words=(Ref(0), Ref(1), Ref(2, 64))), Record(op="end")),
    )  # fmt: skip


def _parts(number: int) -> dict[str, bytes]:
    return {"code": b"code" * (number + 1), "weights": OWN[number], "report": b"{}"}


def _plan_text(number: int, **changes: object) -> bytes:
    manifest = structs.replace(container.complete(_plan(number), _parts(number)), **changes)
    return container.encode_manifest(manifest)


def _variant(number: int) -> Variant:
    names = (f"plan.{number}", f"code.{number}", f"report.{number}")
    return Variant(TARGETS[number], *names, PIECES[number])


OUTER = Manifest(package="1", target=TARGETS[0], **INTERFACE, variants=(_variant(0), _variant(1)))  # type: ignore[arg-type]


def _file(second: bytes | None = None, outer: Manifest = OUTER) -> bytes:
    sections: dict[str, bytes] = {}
    for number, text in enumerate((_plan_text(0), second or _plan_text(1))):
        parts = _parts(number)
        sections |= {
            f"plan.{number}": text,
            f"code.{number}": parts["code"],
            f"report.{number}": parts["report"],
        }
    return container.encode(outer, sections | {"weights": SHARED})


@pytest.mark.parametrize("number", [0, 1])
def test_a_plan_is_what_a_file_for_its_target_alone_holds(number: int) -> None:
    taken = plan(container.read(_file()), number)
    taken.verify()
    assert taken.manifest.target == TARGETS[number]
    assert container.encode(taken.manifest, taken.sections) == container.encode(_plan(number), _parts(number))


def test_weights_in_one_piece_stay_where_the_file_is_mapped(tmp_path) -> None:
    path = tmp_path / "fat.engine"
    path.write_bytes(_file())
    file = container.read(path)
    assert [plan(file, n).is_mapped for n in (0, 1)] == [True, False]
    assert bytes(plan(file, 1).sections["weights"]) == OWN[1]


def test_the_file_alone_tells_targets_and_interface() -> None:
    manifest = container.read(_file()).manifest
    assert [v.target.arch for v in manifest.variants] == ["wide", "narrow"]
    assert (manifest.inputs, manifest.outputs) == tuple(INTERFACE.values())


def test_a_file_for_one_target_says_nothing_of_variants() -> None:
    assert b"variants" not in container.encode(_plan(0), _parts(0))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"program": (Record(op="end"),)}, "'program' beside them"),
        ({"arena_bytes": 64}, "'arena_bytes' beside them"),
        ({"target": TARGETS[1]}, "not that of its first plan"),
    ],
)
def test_a_file_of_plans_has_nothing_beside_them(changes: dict[str, object], why: str) -> None:
    complete = container.read(_file()).manifest
    assert problems(complete) == []
    assert why in problems(structs.replace(complete, **changes))[0]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"manifest": "plan.9"}, "plan 1: there is no section 'plan.9'"),
        ({"code": "code.9"}, "plan 1: there is no section 'code.9'"),
        ({"report": "gone"}, "plan 1: there is no section 'gone'"),
        ({"weights": (Piece(32, 64),)}, "byte 32, which is no multiple of 64"),
        ({"weights": (Piece(192, 65),)}, "up to byte 257 of 256"),
        ({"weights": (Piece(0, 2**48),)}, f"up to byte {2**48} of 256"),
        ({"weights": (Piece(0, 256), Piece(0, 256))}, "more weights than the file has"),
    ],
)
def test_a_variant_that_names_what_is_not_there_is_damage(changes: dict[str, object], why: str) -> None:
    complete = container.read(_file()).manifest
    damaged = structs.replace(
        complete, variants=(complete.variants[0], structs.replace(complete.variants[1], **changes))
    )
    assert any(why in p for p in problems(damaged))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"target": TARGETS[0]}, "not the one that the file gives"),
        ({"inputs": (Tensor("x", "f16", (4,)),)}, "inputs and outputs are not those of the file"),
        ({"outputs": (Tensor("z", "f32", (4,)),)}, "inputs and outputs are not those of the file"),
        ({"program": (Record(kernel=3), Record(op="end"))}, "there is no kernel 3"),
        ({"program": (Record(words=(Ref(8),)), Record(op="end"))}, "there is no buffer 8"),
    ],
)
def test_a_plan_is_checked_as_a_file_is(changes: dict[str, object], why: str) -> None:
    file = container.read(_file(_plan_text(1, **changes)))
    plan_manifest(file, 0)
    with pytest.raises(CorruptEngine, match="plan 1: .*" + why):
        plan_manifest(file, 1)


def test_plans_have_no_plans() -> None:
    names = [f"{what}.{n}" for what in ("plan", "code", "report") for n in (0, 1)]
    nested = container.complete(OUTER, dict.fromkeys(names, b"x") | {"weights": SHARED})
    text = container.encode_manifest(structs.replace(nested, target=TARGETS[0]))
    outer = structs.replace(
        OUTER, variants=(OUTER.variants[0], structs.replace(OUTER.variants[1], target=TARGETS[0]))
    )
    with pytest.raises(CorruptEngine, match="plans of its own"):
        plan(container.read(_file(text, outer)), 1)


@pytest.mark.parametrize(
    ("section", "size", "why"),
    [
        ("code", 9, "'code' has 9 bytes, in the file 8"),
        ("weights", 192, "192 bytes of weights are 128 bytes"),
        ("weights", 127, "127 bytes of weights are 128 bytes"),
        ("ir", 0, "a plan has no section 'ir'"),
    ],
)
def test_sizes_of_a_plans_sections_are_those_of_the_file(section: str, size: int, why: str) -> None:
    described = container.complete(_plan(1), _parts(1)).sections
    kept = [s for s in described if s.name != section]
    changed = structs.replace(described[1], name=section, size=size)
    file = container.read(_file(_plan_text(1, sections=(*kept, changed), buffers=(), program=())))
    with pytest.raises(CorruptEngine, match=why):
        plan(file, 1)


def test_text_that_is_no_manifest_is_damage() -> None:
    with pytest.raises(CorruptEngine, match="plan 1: the manifest is not valid"):
        plan(container.read(_file(b"{not json")), 1)


def test_a_changed_byte_of_a_plan_is_found_before_it_is_read() -> None:
    data = bytearray(_file())
    data[data.index(_plan_text(1)) + 5] ^= 1
    with pytest.raises(CorruptEngine, match=r"section 'plan\.1' does not match its checksum"):
        plan(container.read(bytes(data)), 1)


def test_changed_weights_are_found_through_a_plan() -> None:
    data = bytearray(_file())
    data[data.index(bytes([9] * 64)) + 3] ^= 1
    taken = plan(container.read(bytes(data)), 1)
    with pytest.raises(CorruptEngine, match="section 'weights'"):
        taken.verify("weights")


def test_checksums_of_plans_are_of_their_own_bytes() -> None:
    sections = {s.name: s for s in plan_manifest(container.read(_file()), 1).sections}
    assert sections["weights"].sha256 == hashlib.sha256(OWN[1]).hexdigest()
