"""Which plan of an engine file this machine runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from engineworks.core.target import Target
from engineworks.engine import variants
from engineworks.engine.container import Container
from engineworks.engine.schema import TargetRecord
from engineworks.errors import EngineMismatch, MissingExtra
from engineworks.runtime import device as devices
from engineworks.runtime.compatibility import capability_of, differences
from engineworks.runtime.device import Device

_LOG = logging.getLogger("engineworks")
_Made = TypeVar("_Made")


def first_that_loads(
    file: Container, device: Device | int | None, load: Callable[[Container, Device], _Made]
) -> _Made:
    """What `load` makes of the best plan that this machine runs: of the file itself, where it has but one.

    Args:
        device: to load on; its number, where the machine has several; None finds the devices that plans are for.
        load: given the plan and its device. A plan that it refuses with EngineMismatch is passed over.
    Raises:
        EngineMismatch: no plan runs here; why, for each.
        MissingExtra: the one plan's device needs a package that is not installed.
    """
    records = [v.target for v in file.manifest.variants]
    if not records:
        name = file.manifest.target.device
        return load(file, devices.find(name, device) if device is None or isinstance(device, int) else device)
    found, reasons = _devices(records, device)
    for number in preferred(records, {name: d.target() for name, d in found.items()}):
        record = records[number]
        here = found[record.device]
        why = differences(record, here)
        if not why:
            try:
                made = load(variants.plan(file, number), here)
            except EngineMismatch as mismatch:
                why = [_first_line(mismatch)]
            else:
                passed = "".join(
                    f"\n  {_named(records[n])}: {reason}" for n, reason in sorted(reasons.items())
                )
                before = f"; passed over:{passed}" if passed else ""
                _LOG.info("%s: plan %d, for %s, is loaded%s", file.origin, number, _named(record), before)
                return made
        reasons[number] = "; ".join(why)
    listed = "".join(f"\n  {_named(r)}: {reasons[n]}" for n, r in enumerate(records))
    raise EngineMismatch(
        f"{file.origin} has {len(records)} plans, and none of them runs here:{listed}\n"
        f"  Build it again with a target that this machine has, or with cpu:avx2 among them, which most can run."
    )


def preferred(records: Sequence[TargetRecord], present: Mapping[str, Target]) -> list[int]:
    """Plans in the order in which to try them, those for devices that are not `present` left out.

    GPUs before CPUs. For a GPU: a plan of exactly its architecture, tuned on a known model before those that were not,
    then the newest architecture. For a CPU: the most features. Equal ones in the file's order.

    Args:
        present: targets of the devices here, by name.
    """

    def rank(number: int) -> tuple[object, ...]:
        record = records[number]
        if record.device != "cuda":
            return (record.device == "cpu", False, False, -len(record.features))
        exact = record.arch == present[record.device].arch
        major, minor = capability_of(record.arch)
        return (False, not exact, not (record.facts and not record.compatible), -(100 * major + minor))

    return sorted((n for n, r in enumerate(records) if r.device in present), key=rank)


def _devices(
    records: Sequence[TargetRecord], given: Device | int | None
) -> tuple[dict[str, Device], dict[int, str]]:
    """The devices that can be used, by name, and for plans without one the reason, by number."""
    found: dict[str, Device] = {}
    reasons: dict[str, str] = {}
    for name in dict.fromkeys(r.device for r in records):
        if given is not None and not isinstance(given, int):
            if given.name == name:
                found[name] = given
            else:
                reasons[name] = f"it is to be loaded on '{given.name}'"
            continue
        try:
            found[name] = devices.find(name, given)
        except (EngineMismatch, MissingExtra) as why:
            reasons[name] = _first_line(why)
    return found, {n: reasons[r.device] for n, r in enumerate(records) if r.device in reasons}


def _named(record: TargetRecord) -> str:
    return str(Target(record.device, record.arch, record.features))


def _first_line(error: Exception) -> str:
    """What is wrong; the advice behind it is about files of one plan."""
    return str(error).partition("\n")[0]
