"""Contradictions in manifests are found before anything is used."""

from __future__ import annotations

import msgspec
import pytest

from engineworks.engine.schema import (
    Buffer,
    Check,
    Kernel,
    Manifest,
    Profile,
    Range,
    Record,
    Ref,
    Section,
    Symbol,
    TargetRecord,
    Tensor,
    Value,
    words_base,
)  # fmt: skip
from engineworks.engine.validate import problems

GOOD = Manifest(
    package="1", target=TargetRecord("cpu", "x86-64-v3"),
    inputs=(Tensor("x", "f32", ("B", 4)),), outputs=(Tensor("y", "f32", ("B", "n")),),
    symbols=(Symbol("B", 1, 4, 8, 0, 0), Symbol("n", 0, 1, "4*B")),
    profiles=(Profile("only", {"B": Range(1, 2, 4)}, 64, (0, 0, 0)),),
    buffers=(Buffer("input", 0), Buffer("arena", 0, 64), Buffer("weights", 64, 64)),
    kernels=(Kernel("k"),),
    program=(Record(kernel=0, words=(Ref(0), 3, "B", Ref(1, "4*B"))), Record(op="end")),
    arena_bytes=64, sections=(Section("weights", 0, 128, "0" * 64),),
)  # fmt: skip


def test_a_good_manifest_has_no_problems():
    assert problems(GOOD) == []


BAD = [
    ({"inputs": (Tensor("x", "f32", ("B", 4)), Tensor("x", "f32", ()))}, "two tensors are called 'x'"),
    ({"outputs": (Tensor("y", "f32", ("C",)),)}, "'C', which is no symbol"),
    ({"outputs": (Tensor("y", "f32", ("B +",)),)}, "expected a number"),
    ({"outputs": (Tensor("y", "f99", ()),)}, "no dtype"),
    ({"symbols": (Symbol("B", 5, 4, 8, 0, 0), Symbol("n", 0, 0, 1))}, "not ascending"),
    ({"symbols": (Symbol("B", 1, 4, 8, 0, 1), Symbol("n", 0, 0, 1))}, "does not tell its value"),
    ({"symbols": (Symbol("B", 1, 4, 8, 7, 0), Symbol("n", 0, 0, 1))}, "input 7 has no axis 0"),
    ({"symbols": (Symbol("B", 1, 4, 8, 0, 0), Symbol("n", 0, 1, "n + 1"))}, "'n', which is no symbol"),
    ({"profiles": (Profile("p", {"Z": Range(1, 1, 1)}),)}, "'Z' is no symbol"),
    ({"profiles": (Profile("p", {"B": Range(3, 2, 1)}),)}, "not ascending"),
    ({"profiles": (Profile("p", {}, 64, (0,)),)}, "1 offsets for 3 buffers"),
    ({"profiles": (Profile("p", {}, 32, (0, 0, 0)),)}, "ends at byte 64 of an arena of 32"),
    ({"checks": (Check("B", "==", "Q", "no"),)}, "'Q', which is no symbol"),
    ({"buffers": (Buffer("input", 1), Buffer("arena", 0, 64), Buffer("weights"))}, "there is no input 1"),
    ({"buffers": (Buffer("input", 0), Buffer("arena", 0, 64), Buffer("weights", 100, 64))}, "of 128 bytes of weights"),
    ({"buffers": (Buffer("input", 0), Buffer("arena", 0, 64, Value("v", "f32", (2,), (1,))), Buffer("plan"))}, "does not order"),
    ({"scratch_bytes": 63}, "multiple of 64"),
    ({"program": ()}, None),
    ({"program": (Record(kernel=0),)}, "does not end"),
    ({"program": (Record(kernel=4), Record(op="end"))}, "there is no kernel 4"),
    ({"program": (Record(op="jump", target=2), Record(op="end"))}, "jumps to record 2 of 2"),
    ({"program": (Record(op="jump_if_zero", words=(3,)), Record(op="end"))}, "a condition is one address"),
    ({"program": (Record(words=(Ref(9),)), Record(op="end"))}, "there is no buffer 9"),
    ({"program": (Record(words=(Ref(1, 65),)), Record(op="end"))}, "byte 65 of buffer 1"),
    ({"program": (Record(tasks="n"), Record(op="end"))}, "data-dependent"),
    ({"program": (Record(writes=(3,)), Record(op="end"))}, "there is no buffer 3"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), BAD)
def test_each_contradiction_is_named(change, message):
    found = problems(msgspec.structs.replace(GOOD, **change))
    assert any(message in p for p in found) if message else not found


def test_argument_words_follow_the_records_without_gaps():
    assert words_base(GOOD.program) == [16, 20, 20]


def test_the_manifest_survives_json():
    assert msgspec.json.decode(msgspec.json.encode(GOOD), type=Manifest) == GOOD
