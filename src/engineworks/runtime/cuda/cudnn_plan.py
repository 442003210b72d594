"""Which of cuDNN's engines computes a graph, and the plans that they become."""

from __future__ import annotations

from ctypes import c_void_p

from engineworks.errors import DeviceError
from engineworks.runtime.cuda.cudnn_backend import ATTRIBUTES, Descriptor, Refusal, descriptor, version

Place = c_void_p | Descriptor
"""What a plan is for: the GPU of a handle, or the one that a descriptor 'device' describes."""

_BEST, _FALLBACK = 3, 2
"""Of cudnnBackendHeurMode_t: A, and engines that take nearly everything."""
_PROPOSALS = 48
_TENSOR_CORE, _NARROW_SUMS = 0, 2
_LOOSE = frozenset({1, _NARROW_SUMS, 3, 5, 6, 7, 8})
"""Of cudnnBackendNumericalNote_t: rounded inputs, narrow sums, Fourier transforms and Winograd's algorithms."""


def placed(made: Descriptor, place: Place) -> Descriptor:
    """A descriptor that says which GPU it is for, where its kind does."""
    name, type_name = ("device", "descriptor") if isinstance(place, Descriptor) else ("handle", "handle")
    if name not in ATTRIBUTES[made.kind]:
        return made
    return made.set(name, type_name, place if isinstance(place, Descriptor) else place.value)


def proposals(graph: Descriptor, place: Place, *, exact: bool) -> list[Descriptor]:
    """Engine configurations that compute the graph without a loss beyond the rounding of f32 sums, best first.

    Args:
        exact: nor do they round f32 factors.
    """
    refused = _LOOSE | {_TENSOR_CORE} if exact else _LOOSE
    found: list[Descriptor] = []
    for mode in (_BEST, _FALLBACK):
        asked = placed(descriptor("heuristics").set("graph", "descriptor", graph), place)
        try:
            asked.set("mode", "heuristic mode", mode).finish()
        except Refusal:
            continue  # this mode knows no engine
        configs = [descriptor("engine config") for _ in range(_PROPOSALS)]
        found += configs[: asked.fill("results", configs)]
    return [config for config in found if refused.isdisjoint(_notes(config))]


def _notes(config: Descriptor) -> list[int]:
    engine = descriptor("engine")
    config.fill("engine", [engine])
    return engine.get("numerical notes", "numerical note", 16)


def plan_of(
    graph: Descriptor, place: Place, *, heuristic: int, exact: bool, workspace_bytes: int
) -> Descriptor:
    """The plan of proposal number `heuristic`, or of the first one behind it (then in front) that becomes a plan within
    the workspace; the last proposal where there are fewer.

    Raises:
        DeviceError: no engine computes the graph; the message has the last engine's reason.
    """
    found = proposals(graph, place, exact=exact)
    first = min(heuristic, max(len(found) - 1, 0))
    reason = "it proposes no engine that computes this exactly enough"
    for config in (*found[first:], *found[:first]):
        try:
            plan = placed(descriptor("plan"), place).set("config", "descriptor", config).finish()
        except Refusal as why:
            reason = str(why)
            continue
        (needed,) = plan.get("workspace", "integer", 1)
        if needed <= workspace_bytes:
            return plan
        reason = f"an engine wants {needed:,} bytes of workspace; there are {workspace_bytes:,}"
    raise DeviceError(
        f"cuDNN {version()} cannot compute this: {reason}.\n  Build with tactic_sources that leave cudnn out."
    )


def plan_from(text: str, place: Place) -> Descriptor:
    """A plan that was written as text by this version of the library, for this kind of GPU."""
    return placed(descriptor("plan"), place).set_text("json", text).finish()
