"""Damaged engine files give our own errors, whatever the damage."""

from __future__ import annotations

import hashlib
import json
import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from engineworks.engine import container
from engineworks.engine.schema import (
    Buffer,
    Check,
    Kernel,
    Manifest,
    Profile,
    Range,
    Record,
    Ref,
    Symbol,
    TargetRecord,
    Tensor,
    Value,
)  # fmt: skip
from engineworks.errors import CorruptEngine, EngineError, NewerFormat, RunError
from engineworks.runtime.engine import Engine
from engineworks.runtime.null.device import NullDevice

MANIFEST = Manifest(
    package="1", target=TargetRecord("null", "none"),
    inputs=(Tensor("x", "f32", ("B", 4)),), outputs=(Tensor("y", "f32", ("B", "n")),),
    symbols=(Symbol("B", 1, 4, 8, 0, 0), Symbol("n", 0, 1, "4*B")),
    profiles=(Profile("only", {"B": Range(1, 2, 4)}, 64, (0, 0, 0)),),
    checks=(Check("B", "<=", "n + 8", "why"),),
    buffers=(Buffer("input", 0), Buffer("arena", 0, 64, Value("v", "f32", (2, 8), (1, 0))), Buffer("weights", 64, 64)),
    kernels=(Kernel("k"),),
    program=(Record(kernel=0, words=(Ref(0), 3, "B", Ref(1, "4*B")), tasks="B//2"), Record(op="end")), arena_bytes=64,
)  # fmt: skip
ENGINE = container.encode(MANIFEST, {"weights": bytes(range(128)), "code": b"code"})
LENGTH = struct.unpack_from("<Q", ENGINE, 16)[0]
TEXT = ENGINE[64 : 64 + LENGTH]


@given(st.lists(st.tuples(st.integers(0, len(ENGINE) - 1), st.integers(1, 255)), min_size=1, max_size=4))
def test_changed_bytes_are_found_or_harmless(changes):
    data = bytearray(ENGINE)
    for position, mask in changes:
        data[position] ^= mask
    try:
        read = container.read(bytes(data))
        read.verify()
    except (CorruptEngine, NewerFormat):
        return
    assert bytes(data) == ENGINE


@given(st.integers(0, len(ENGINE) - 1))
def test_every_truncation_is_found(length):
    try:
        container.read(ENGINE[:length])
    except CorruptEngine:
        return
    raise AssertionError(f"{length} bytes were accepted")


@given(st.binary(max_size=300))
def test_random_bytes_are_no_engine(data):
    try:
        container.read(container.MAGIC + data)
    except (CorruptEngine, NewerFormat):
        return
    raise AssertionError("accepted")


def _sealed(text: bytes) -> bytes:
    """The engine with another manifest and a right checksum, sections in their place."""
    start = -(-(64 + LENGTH) // 4096) * 4096
    room = -(-(64 + len(text)) // 4096) * 4096
    body = ENGINE[start:]
    head = struct.pack(
        "<8sIIQQ32s", container.MAGIC, 1, 0, len(text), room + len(body), hashlib.sha256(text).digest()
    )
    return (head + text).ljust(room, b"\0") + body


def _paths(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _paths(inner, (*path, key))


PATHS = [p for p in _paths(json.loads(TEXT)) if p]
JUNK = st.sampled_from(
    [
        None,
        True,
        -1,
        0,
        1,
        7,
        2**31,
        2**63,
        1.5,
        "",
        "B",
        "n",
        "B//0",
        "B - 9",
        "(((",
        "x" * 9000,
        [],
        [0],
        [0, "B"],
        {},
        "input",
        "jump",
    ]
)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(PATHS), JUNK), min_size=1, max_size=2))
def test_a_manifest_with_wrong_values_is_refused_or_runs_with_our_errors(changes):
    tree = json.loads(TEXT)
    for path, junk in changes:
        place = tree
        try:
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = junk
        except (KeyError, IndexError, TypeError):
            continue
    import numpy as np

    try:
        engine = Engine.open(_sealed(json.dumps(tree).encode()), device=NullDevice())
        engine(x=np.zeros((2, 4), np.float32))
    except (EngineError, RunError):
        return
