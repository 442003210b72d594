"""From the user's profile to what the importer needs: fixed shapes and ranges of named dims."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from engineworks.builder.config import BuildConfig
from engineworks.builder.symbols import typical_values
from engineworks.errors import InvalidModel
from engineworks.frontends.input_types import linear_in_one, range_of_symbol
from engineworks.ir.foreign import ForeignGraph, ForeignInput, SizeOf
from engineworks.ir.graph import Graph

Ranges = dict[str, tuple[int, int | None]]
Shapes = dict[str, tuple[int | str | SizeOf, ...]]


def shapes_and_ranges(foreign: ForeignGraph, config: BuildConfig) -> tuple[Shapes, Ranges]:
    """Arguments of `import_model` for this build.

    Raises:
        InvalidModel: an input has a dynamic axis that neither the profile nor fixed shapes bound; a profile names an
            input that is not there, or contradicts the model.
    """
    shapes: Shapes = {name: tuple(int(d) for d in shape) for name, shape in config.fixed_shapes.items()}
    ranges: Ranges = {}
    profile = config.profile or {}
    _check_names(foreign, {*profile, *shapes})
    for given in foreign.inputs:
        if given.name in shapes:
            continue
        if given.name in profile:
            shapes[given.name] = _profiled(given, profile, ranges)
    missing = [g for g in foreign.inputs if g.name not in shapes and _is_dynamic(g, ranges)]
    if missing:
        raise InvalidModel(_missing_message(missing))
    _check_ranges(foreign, ranges)
    return shapes, ranges


def with_stated_ranges(foreign: ForeignGraph, config: BuildConfig) -> BuildConfig:
    """The config with a profile for each input that has none and whose sizes the model itself bounds.

    Smallest and largest are the model's limits, typical is the example it was exported with.
    """
    named = {*(config.profile or {}), *config.fixed_shapes}
    made = {}
    for given in foreign.inputs:
        if given.name in named or given.shape is None or all(isinstance(d, int) for d in given.shape):
            continue
        limits = [_limits(d, foreign.ranges) for d in given.shape]
        low, high = [a for a, _ in limits], [b for _, b in limits if b is not None]
        if len(high) == len(limits):
            made[given.name] = (low, given.example or high, high)
    return dataclasses.replace(config, profile={**made, **(config.profile or {})}) if made else config


def _limits(
    d: int | str | SizeOf | None, stated: Mapping[str, tuple[int, int | None]]
) -> tuple[int, int | None]:
    """The smallest and the largest that a size of an input can be."""
    if isinstance(d, int):
        return d, d
    if isinstance(d, SizeOf):
        name, slope, offset = linear_in_one(d)
        low, high = stated.get(name, (1, None))
        return slope * low + offset, None if high is None else slope * high + offset
    return stated.get(d, (1, None)) if d is not None else (1, None)


def _check_ranges(foreign: ForeignGraph, ranges: Ranges) -> None:
    """Raises InvalidModel: the user asks for sizes that the model rules out."""
    for name, (low, high) in ranges.items():
        least, most = foreign.ranges.get(name, (0, None))
        if low < least or (most is not None and (high is None or high > most)):
            limits = f"at least {least}" + (f" and at most {most}" if most is not None else "")
            raise InvalidModel(
                f"the profile asks for '{name}' from {low} to {high}; the model was exported with {limits}. "
                f"Narrow the profile, or export with other limits."
            )


def _profiled(
    given: ForeignInput, profile: Mapping[str, object], ranges: Ranges
) -> tuple[int | str | SizeOf, ...]:
    """The input's shape with a name for each axis whose range is more than one value."""
    low, typical, high = (tuple(int(d) for d in s) for s in profile[given.name])  # type: ignore[attr-defined]
    rank = len(given.shape) if given.shape is not None else len(low)
    if not len(low) == len(typical) == len(high) == rank:
        raise InvalidModel(
            f"profile of '{given.name}': shapes {low}, {typical}, {high} must all have rank {rank}"
        )
    out: list[int | str | SizeOf] = []
    for axis, (least, usual, most) in enumerate(zip(low, typical, high, strict=True)):
        if not least <= usual <= most:
            raise InvalidModel(
                f"profile of '{given.name}', axis {axis}: min {least} <= opt {usual} <= max {most} does not hold"
            )
        stated = given.shape[axis] if given.shape is not None else None
        if isinstance(stated, int) and not least == most == stated:
            raise InvalidModel(
                f"profile of '{given.name}', axis {axis}: the model fixes it at {stated}, not {least} to {most}"
            )
        if least == most:
            out.append(least)
            continue
        if isinstance(stated, SizeOf):
            name, here = range_of_symbol(stated, least, most)
            out.append(stated)
        else:
            name, here = stated if isinstance(stated, str) else f"{given.name}_{axis}", (least, most)
            out.append(name)
        before = ranges.get(name, here)
        ranges[name] = (
            max(here[0], before[0]),
            min(here[1], before[1] if before[1] is not None else here[1]),
        )
    return tuple(out)


def _is_dynamic(given: ForeignInput, ranges: Ranges) -> bool:
    """Whether a size of the input is left that neither the file nor `ranges` bound."""
    if given.shape is None:
        return True
    names = (
        linear_in_one(d)[0] if isinstance(d, SizeOf) else d for d in given.shape if not isinstance(d, int)
    )
    return any(name is None or name not in ranges for name in names)


def _check_names(foreign: ForeignGraph, named: set[str]) -> None:
    there = {g.name for g in foreign.inputs}
    wrong = sorted(named - there)
    if wrong:
        raise InvalidModel(
            f"a profile names input {', '.join(map(repr, wrong))}; the model has {', '.join(map(repr, sorted(there)))}"
        )


def _missing_message(missing: list[ForeignInput]) -> str:
    lines = []
    for given in missing:
        shape = (
            "unknown rank"
            if given.shape is None
            else "x".join("?" if d is None else str(d) for d in given.shape)
        )
        lines.append(f"  {given.name}: {shape}")
    name = missing[0].name
    sample = "x".join("1" if not isinstance(d, int) else str(d) for d in missing[0].shape or ("?",))
    return (
        "these inputs have dynamic axes and no profile bounds them:\n" + "\n".join(lines) + "\n"
        f"  Give each a range, --shapes {name}={sample}:{sample}:{sample} (min:opt:max), or one fixed shape, "
        f"--shapes {name}={sample}; in Python profile={{'{name}': (min, opt, max)}}."
    )


def typical_dims(graph: Graph, config: BuildConfig) -> dict[str, int]:
    """The profile's typical value of each symbol of the graph's inputs."""
    profile = config.profile or {}
    return typical_values([(v.type, profile[v.name][1] if v.name in profile else None) for v in graph.inputs])
