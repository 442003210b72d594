"""Whether a device runs what an engine was built for, and if not, every reason."""

from __future__ import annotations

from collections.abc import Sequence

from engineworks.core.target import Target, missing_features
from engineworks.engine.schema import Kernel, TargetRecord
from engineworks.runtime.device import Device

_AMPERE = (8, 0)
_WORDS = {
    "gpu": "GPU: the engine was tuned on {needed}, this is {present}",
    "processors": "multiprocessors: the engine was tuned for {needed}, this GPU has {present}",
}


def differences(record: TargetRecord, device: Device, kernels: Sequence[Kernel] = ()) -> list[str]:
    """What keeps `device` from running an engine for `record`, each difference in words; none when it can run.

    Args:
        kernels: the engine's, which may have code for other architectures.
    """
    present = device.target()
    needed = Target(record.device, record.arch, record.features)
    if needed.device != present.device or record.device != "cuda":
        return missing_features(needed, present)
    if record.compatible == "ampere_plus":
        return _older_or_translated(record.arch, present.arch, kernels)
    found = missing_features(needed, present)
    return found if record.compatible else [*found, *_other_model(record, device)]


def advice(record: TargetRecord) -> str:
    """What to do about a difference."""
    if record.device == "cuda":
        return (
            "Build it again for this GPU (--target cuda), or once for more: hardware_compatibility="
            "'same_compute_capability' for other models of its architecture, 'ampere_plus' for all from Ampere on."
        )
    return (
        "Build it again on this machine, or with --target cpu:avx2 for one that more machines can run."
        if record.device == "cpu"
        else "Build it again for this machine."
    )


def capability_of(arch: str) -> tuple[int, int]:
    """(9, 0) for 'sm_90', (12, 0) for 'sm_120'."""
    digits = arch.removeprefix("sm_").rstrip("abcdefghijklmnopqrstuvwxyz")
    return int(digits[:-1]), int(digits[-1])


def runs_cubin(built_for: str, present: str) -> bool:
    """Machine code runs within its major compute capability, from its minor one on (CUDA programming guide, binary
    compatibility).
    """
    built, here = capability_of(built_for), capability_of(present)
    return built[0] == here[0] and built[1] <= here[1]


def _older_or_translated(built_for: str, present: str, kernels: Sequence[Kernel]) -> list[str]:
    if runs_cubin(built_for, present):
        return []
    if capability_of(present) < max(_AMPERE, capability_of(built_for)):
        return [f"architecture: the engine needs {built_for} or newer, this is {present}"]
    bare = [k.symbol for k in kernels if not k.library and not k.ptx_size]
    if not bare:
        return []
    return [
        f"architecture: machine code for {built_for} does not run on {present}, and {len(bare)} of {len(kernels)} "
        f"kernels carry no PTX to translate (the first is {bare[0]})"
    ]


def _other_model(record: TargetRecord, device: Device) -> list[str]:
    """Differences from the GPU that the engine was tuned on."""
    here = device.facts()
    found = [
        words.format(needed=record.facts[name], present=here.get(name, "unknown"))
        for name, words in _WORDS.items()
        if record.facts.get(name) and record.facts[name] != here.get(name)
    ]
    needed, present = (_major(f.get("cuda", "")) for f in (record.facts, here))
    if needed and present and present < needed:
        found.append(
            f"driver: the engine needs one for CUDA {record.facts['cuda']}, this is for {here['cuda']}"
        )
    return found


def _major(version: str) -> int:
    head = version.partition(".")[0]
    return int(head) if head.isdigit() else 0
