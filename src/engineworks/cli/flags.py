"""Flags of a build, made from the fields and the documentation of BuildConfig."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from engineworks.builder.config import BuildConfig
from engineworks.cli.arrays import parse_shapes

_NO_FLAGS = ("profile", "fixed_shapes", "calibrate")
"""Fields that --shapes gives; data comes from `engineworks calibrate`."""
_KINDS: dict[str, Any] = {
    "timing_cache": Path | None,
    "precision": str,
    "layer_precisions": Annotated[list[str] | None, Parameter(consume_multiple=True)],
    "calibration_cache": Path | None,
    "calibration_method": Literal["entropy", "entropy_v1", "minmax", "percentile", "legacy"],
}
"""Types of flags that are not those of the fields."""


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
        if field.name in _NO_FLAGS:
            continue
        kind = _KINDS.get(field.name, types[field.name])
        annotated = Annotated[kind, Parameter(help=texts.get(field.name, ""), negative="")]
        default = None if field.default is dataclasses.MISSING else field.default
        fields.append((field.name, annotated, dataclasses.field(default=default)))
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
    options["layer_precisions"] = _layers(options.get("layer_precisions") or [])
    asked = parse_shapes(shapes)
    options["profile"] = {name: s for name, s in asked.items() if len(s) == 3} or None
    options["fixed_shapes"] = {name: s[0] for name, s in asked.items() if len(s) == 1}
    return BuildConfig(**options)


def _layers(given: Sequence[str]) -> dict[str, str]:
    """NAME:PRECISION, where NAME may be a glob and hold colons itself. Raises UsageError."""
    from engineworks.cli.main import UsageError

    found = {}
    for text in given:
        name, colon, precision = text.rpartition(":")
        if not colon or not name:
            raise UsageError(f"--layer-precisions takes NAME:PRECISION, as in 'encoder*:fp32', not '{text}'")
        found[name] = precision
    return found
