"""Damaged files of several plans give our own errors, whatever the damage."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engineworks.engine import container, versions
from engineworks.engine.schema import Manifest, Piece, Profile, Variant
from engineworks.errors import CorruptEngine, EngineError, NewerFormat, RunError
from engineworks.runtime.engine import Engine
from engineworks.runtime.null.device import NullDevice
from tests.property.test_container_fuzz import JUNK, MANIFEST, _paths

SHARED = bytes(range(128)) + bytes(64)
PLAN = container.encode_manifest(
    container.complete(MANIFEST, {"code": b"code", "weights": SHARED[128:] + SHARED[:64], "report": b"{}"})
)
OUTER = Manifest(
    package="1", target=MANIFEST.target, inputs=MANIFEST.inputs, outputs=MANIFEST.outputs, symbols=MANIFEST.symbols,
    profiles=tuple(Profile(p.name, p.ranges) for p in MANIFEST.profiles),
    variants=(Variant(MANIFEST.target, "plan.0", "code.0", "report.0", (Piece(128, 64), Piece(0, 64))),),
)  # fmt: skip
SECTIONS = {"plan.0": PLAN, "code.0": b"code", "report.0": b"{}", "weights": SHARED}
ENGINE = container.encode(OUTER, SECTIONS)
COMPLETE = container.encode_manifest(container.complete(OUTER, SECTIONS))
OUTER_PATHS, PLAN_PATHS = ([p for p in _paths(json.loads(text)) if p] for text in (COMPLETE, PLAN))


def _changed(text: bytes, changes: list[tuple[tuple[Any, ...], Any]]) -> bytes:
    tree = json.loads(text)
    for path, junk in changes:
        place = tree
        try:
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = junk
        except (KeyError, IndexError, TypeError):
            continue
    return json.dumps(tree).encode()


def _sealed(text: bytes) -> bytes:
    """The engine with another manifest and a right checksum, sections in their place."""
    start, room = (-(-(container.HEADER.size + len(t)) // 4096) * 4096 for t in (COMPLETE, text))
    digest = hashlib.sha256(text).digest()
    length = room + len(ENGINE) - start
    head = container.HEADER.pack(container.MAGIC, versions.CURRENT, 0, len(text), length, digest)
    return (head + text).ljust(room, b"\0") + ENGINE[start:]


def _try(data: bytes) -> None:
    try:
        Engine.open(data, device=NullDevice())(x=np.zeros((2, 4), np.float32))
    except (EngineError, RunError):
        return


def test_what_is_damaged_here_runs_when_it_is_whole() -> None:
    assert _sealed(COMPLETE) == ENGINE
    assert (
        Engine.open(ENGINE, device=NullDevice(), verify=True)(x=np.zeros((2, 4), np.float32))["y"].shape[0]
        == 2
    )


@given(st.lists(st.tuples(st.integers(0, len(ENGINE) - 1), st.integers(1, 255)), min_size=1, max_size=4))
def test_changed_bytes_are_found_or_harmless(changes) -> None:
    data = bytearray(ENGINE)
    for position, mask in changes:
        data[position] ^= mask
    try:
        Engine.open(bytes(data), device=NullDevice(), verify=True)
    except (CorruptEngine, NewerFormat):
        return
    assert bytes(data) == ENGINE


@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from(OUTER_PATHS), JUNK), min_size=1, max_size=2))
def test_a_manifest_with_wrong_values_is_refused_or_runs_with_our_errors(changes) -> None:
    _try(_sealed(_changed(COMPLETE, changes)))


@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from(PLAN_PATHS), JUNK), min_size=1, max_size=2))
def test_a_plan_with_wrong_values_is_refused_or_runs_with_our_errors(changes) -> None:
    _try(container.encode(OUTER, SECTIONS | {"plan.0": _changed(PLAN, changes)}))
