"""Calls as cuDNN's operation graphs, and the plans that it makes of graphs.

The id of a tensor in a graph is the number of the word that holds its address, plus one; other ids are of values that
stay inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import c_void_p

from engineworks.engine.library_calls import ConvolutionCall, Tensor, value
from engineworks.errors import DeviceError
from engineworks.runtime.cuda.cudnn_backend import (
    ATTRIBUTES,
    DTYPES,
    Descriptor,
    Refusal,
    descriptor,
    version,
)

Place = c_void_p | Descriptor
"""What a plan is for: the GPU of a handle, or the one that a descriptor 'device' describes."""

INSIDE = 1000
"""The first id of a value that stays inside."""
_ADD, _RELU = 0, 100
"""Of cudnnPointwiseMode_t."""
_CROSS_CORRELATION = 1
_BEST, _FALLBACK = 3, 2
"""Of cudnnBackendHeurMode_t: A, and engines that take nearly everything."""
_PROPOSALS = 48
_TENSOR_CORE, _NARROW_SUMS = 0, 2
_LOOSE = frozenset({1, _NARROW_SUMS, 3, 5, 6, 7, 8})
"""Of cudnnBackendNumericalNote_t: rounded inputs, narrow sums, Fourier transforms and Winograd's algorithms."""


def tensor(name: int, t: Tensor, words: Sequence[int], alignment: int = 16) -> Descriptor:
    """A tensor in memory, at a multiple of `alignment` bytes."""
    dims, strides = ([value(s, words) for s in row] for row in (t.dims, t.strides))
    return (
        descriptor("tensor")
        .set("dtype", "dtype", DTYPES[t.dtype])
        .set("dims", "integer", *dims)
        .set("strides", "integer", *strides)
        .set("id", "integer", name)
        .set("alignment", "integer", alignment)
        .finish()
    )


def inside(name: int, like: Tensor, words: Sequence[int]) -> Descriptor:
    """A value in f32 that lies nowhere."""
    dims, strides = ([value(s, words) for s in row] for row in (like.dims, like.strides))
    return (
        descriptor("tensor")
        .set("dtype", "dtype", DTYPES["f32"])
        .set("dims", "integer", *dims)
        .set("strides", "integer", *strides)
        .set("id", "integer", name)
        .set("alignment", "integer", 16)
        .set("virtual", "boolean", True)
        .finish()
    )


def convolution_graph(
    call: ConvolutionCall, words: Sequence[int], place: Place, alignment: int = 16
) -> Descriptor:
    """The call as a graph: convolution, then residual, bias and relu, the one order that cuDNN fuses."""
    y = tensor(3, call.y, words, alignment)
    channels = call.y.dims[1]
    ones = tuple(1 for _ in call.strides)
    across = Tensor(call.y.dtype, (1, channels, *ones), (channels, 1, *(channels for _ in ones)))
    steps: list[tuple[int, Descriptor | None]] = []
    if call.residual:
        steps.append((_ADD, tensor(5 + call.bias, call.y, words, alignment)))
    if call.bias:
        steps.append((_ADD, tensor(5, across, words, alignment)))
    if call.relu:
        steps.append((_RELU, None))
    values = [*(inside(INSIDE + k, call.y, words) for k in range(len(steps))), y]
    operations = [_convolution(call, words, values[0], alignment)]
    for (mode, operand), source, to in zip(steps, values, values[1:], strict=False):
        operations.append(_pointwise(mode, source, operand, to))
    return placed(descriptor("graph").set("operations", "descriptor", *operations), place).finish()


def _convolution(call: ConvolutionCall, words: Sequence[int], y: Descriptor, alignment: int) -> Descriptor:
    before, after = ([value(s, words) for s in row] for row in (call.pads_before, call.pads_after))
    how = (
        descriptor("convolution")
        .set("precision", "dtype", DTYPES["f32"])
        .set("mode", "convolution mode", _CROSS_CORRELATION)
        .set("axes", "integer", len(call.strides))
        .set("strides", "integer", *call.strides)
        .set("dilations", "integer", *call.dilations)
        .set("pads before", "integer", *before)
        .set("pads after", "integer", *after)
        .finish()
    )
    return (
        descriptor("convolution operation")
        .set("convolution", "descriptor", how)
        .set("x", "descriptor", tensor(1, call.x, words, alignment))
        .set("w", "descriptor", tensor(2, call.w, words, alignment))
        .set("y", "descriptor", y)
        .set("alpha", "float", 1.0)
        .set("beta", "float", 0.0)
        .finish()
    )


def _pointwise(mode: int, x: Descriptor, b: Descriptor | None, y: Descriptor) -> Descriptor:
    how = (
        descriptor("pointwise")
        .set("mode", "pointwise mode", mode)
        .set("precision", "dtype", DTYPES["f32"])
        .finish()
    )
    made = descriptor("pointwise operation").set("pointwise", "descriptor", how)
    made.set("x", "descriptor", x).set("y", "descriptor", y)
    return (made if b is None else made.set("b", "descriptor", b)).finish()


# -- plans
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
    """The plan of proposal number `heuristic`, of those that become plans within the workspace; else the last.

    Raises:
        DeviceError: no engine computes the graph; the message has the last engine's reason.
    """
    made: Descriptor | None = None
    count, reason = 0, "it proposes no engine that computes this exactly enough"
    for config in proposals(graph, place, exact=exact):
        try:
            plan = placed(descriptor("plan"), place).set("config", "descriptor", config).finish()
        except Refusal as why:
            reason = str(why)
            continue
        (needed,) = plan.get("workspace", "integer", 1)
        if needed > workspace_bytes:
            reason = f"an engine wants {needed:,} bytes of workspace; there are {workspace_bytes:,}"
            continue
        made = plan
        if count == heuristic:
            break
        count += 1
    if made is None:
        raise DeviceError(
            f"cuDNN {version()} cannot compute this: {reason}.\n"
            f"  Build with tactic_sources that leave cudnn out."
        )
    return made


def plan_from(text: str, place: Place) -> Descriptor:
    """A plan that was written as text by this version of the library, for this kind of GPU."""
    return placed(descriptor("plan"), place).set_text("json", text).finish()
