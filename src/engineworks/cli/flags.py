"""Flags of a build, made from the fields and the documentation of BuildConfig."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from engineworks.builder.config import BuildConfig
from engineworks.cli.arrays import parse_shapes

_FROM_SHAPES = ("profile", "fixed_shapes")
"""Fields that --shapes gives."""


def field_help(config: type) -> dict[str, str]:
    """The text of each field in the Attributes section of a class's docstring, on one line."""
    text = inspect.getdoc(config) or ""
    section = text.partition("Attributes:\n")[2]
    found = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", section, re.MULTILINE)
    return {name: " ".join(body.split()) for name, body in found}


def _made() -> type:
    types, texts = typing.get_type_hints(BuildConfig), field_help(BuildConfig)
    fields: list[tuple[str, Any, Any]] = []
    for field in dataclasses.fields(BuildConfig):
        if field.name in _FROM_SHAPES:
            continue
        kind: Any = Path | None if field.name == "timing_cache" else types[field.name]
        annotated = Annotated[kind, Parameter(help=texts.get(field.name, ""), negative="")]
        fields.append((field.name, annotated, dataclasses.field(default=field.default)))
    off = Annotated[
        bool, Parameter(name="--no-timing-cache", help="Neither read nor write measurements.", negative="")
    ]
    fields.append(("without_timing_cache", off, dataclasses.field(default=False)))
    made = dataclasses.make_dataclass("BuildFlags", fields, frozen=True, kw_only=True)
    made.__module__ = __name__  # cyclopts takes a class of module `types` for a plain value
    return made


BuildFlags: Any = _made()
"""A dataclass with a field for each flag."""


def config_of(flags: Any, shapes: Sequence[str], **more: Any) -> BuildConfig:
    """The configuration that flags and --shapes ask for. Raises UsageError for a malformed shape."""
    options = {f.name: getattr(flags, f.name) for f in dataclasses.fields(flags)} | more
    if options.pop("without_timing_cache"):
        options["timing_cache"] = False
    asked = parse_shapes(shapes)
    options["profile"] = {name: s for name, s in asked.items() if len(s) == 3} or None
    options["fixed_shapes"] = {name: s[0] for name, s in asked.items() if len(s) == 1}
    return BuildConfig(**options)
