"""Reference pages name what the code has: fields of the engine file, commands, knobs, errors."""

from __future__ import annotations

import dataclasses
import inspect
import re

import msgspec
import pytest

import engineworks
from engineworks.cli.main import COMMANDS
from engineworks.engine import schema
from tests.architecture.sources import ROOT

STRUCTS = [
    s
    for _, s in inspect.getmembers(schema, inspect.isclass)
    if issubclass(s, msgspec.Struct) and not s.__struct_config__.array_like
]


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda s: s.__name__)
def test_the_engine_format_describes_every_field(struct: type[msgspec.Struct]) -> None:
    page = (ROOT / "docs/reference/engine-format.md").read_text()
    named = set(re.findall(r"`([a-z0-9_]+)", page))
    assert {f.encode_name for f in msgspec.structs.fields(struct)} - named == set()


def test_the_guide_shows_every_command() -> None:
    page = (ROOT / "docs/guides/command-line.md").read_text()
    assert [name for name in COMMANDS if f"engineworks {name}" not in page] == []


def test_the_guide_describes_every_knob_for_users() -> None:
    page = (ROOT / "docs/guides/python.md").read_text()
    for_debugging = {"verify", "rewrite_limit", "name", "precision"}
    knobs = {f.name for f in dataclasses.fields(engineworks.BuildConfig)} - for_debugging
    assert {name for name in knobs if f"`{name}`" not in page} == set()
