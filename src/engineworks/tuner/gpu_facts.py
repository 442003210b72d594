"""What GPU a measurement holds for: of this machine, or as a timing cache carried here from another one says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engineworks.errors import Error
from engineworks.runtime.device import find
from engineworks.tuner import nvml
from engineworks.tuner.cache import Conditions

METHOD = "graphs 1"
"""How candidates are timed (gpu_trials.py: weights from memory, activations from the cache); part of every key."""
LIBRARIES = ("cublaslt", "cudnn")
Facts = Mapping[str, str]
"""'arch', 'gpu', 'processors', 'cuda', 'driver', 'tools' (what compiles), and versions of libraries by name."""


def facts_here(tools: str) -> dict[str, str] | None:
    """Of this machine's GPU; None where there is none that can be used."""
    try:
        device = find("cuda")
        arch = device.target().arch
    except Error:
        return None
    described = getattr(device, "facts", dict)()
    found = {"arch": arch, **described, "driver": nvml.driver_version() or "", "tools": tools}
    return found | _libraries()


def _libraries() -> dict[str, str]:
    """Versions of those that are installed."""
    from engineworks.runtime.cuda.libraries import version

    found = {}
    for name in LIBRARIES:
        try:
            found[name] = str(version(name))
        except Error:
            continue
    return found


def newest_of(recorded: Sequence[Facts], arch: str, tools: str) -> Facts | None:
    """The last of a cache's facts for this architecture whose kernels were compiled by the same tools."""
    fitting = [f for f in recorded if f.get("arch") == arch and f.get("tools") == tools]
    return fitting[-1] if fitting else None


def conditions_of(facts: Facts) -> Conditions:
    """The part of a timing's key that is about the machine."""
    hardware = ("arch", "gpu", "processors")
    tools = ";".join(f"{k}={v}" for k, v in sorted(facts.items()) if k not in hardware)
    return Conditions(";".join(facts.get(k, "") for k in hardware), f"{tools};{METHOD}", 1)


def described(facts: Facts) -> str:
    """For a sentence: 'NVIDIA H200, driver 580.159.04, triton 3.6.0'."""
    return f"{facts.get('gpu', '?')}, driver {facts.get('driver') or '?'}, {facts.get('tools', '?')}"
