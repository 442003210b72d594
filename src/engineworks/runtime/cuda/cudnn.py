"""cuDNN's graphs in place of kernels."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock

from msgspec import DecodeError, json, structs

from engineworks.engine.library_calls import ConvolutionCall, GraphCall, encode, value
from engineworks.errors import CorruptEngine
from engineworks.runtime.cuda.cudnn_backend import Descriptor, check, descriptor, handle, library, version
from engineworks.runtime.cuda.cudnn_graph import addresses_of, graph_of, numbers_of
from engineworks.runtime.cuda.cudnn_plan import plan_from, plan_of
from engineworks.runtime.cuda.libraries_capture import loading_allowed

PLANS = 64
"""Shapes that a call keeps its plans of."""
WORKSPACE_WORD = 3
WORKSPACE_ALIGNMENT = 256
ALIGNMENT = 16
"""Bytes; engines ask for no more."""


@dataclass(slots=True)
class PreparedGraph:
    """A call on one device; see `libraries.Prepared`.

    Attributes:
        addresses: how many words are addresses; the others are sizes.
        numbers: what the host passes, by id.
    """

    call: GraphCall
    device: int
    addresses: int
    numbers: Mapping[int, ctypes.c_float]
    plans: dict[tuple[int, ...], Descriptor] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def ready(self, words: Sequence[int]) -> None:
        if not self._is_empty(words):
            with loading_allowed():
                self._plan(words)

    def launch(self, stream: int, words: Sequence[int]) -> None:
        if self._is_empty(words):
            return
        with loading_allowed():
            plan, mine = self._plan(words), handle(self.device)
            check(library().cudnnSetStream(mine, stream), "a stream")
            check(
                library().cudnnBackendExecute(mine, plan.pointer, self._operands(words).pointer), "a launch"
            )

    def pinned(self, words: Sequence[int]) -> str:
        """The call with the library's version and its plan for these words, which takes no choosing when loaded."""
        text = self._plan(words).text("json")
        return encode(structs.replace(self.call, version=version(), plan=text))

    def _is_empty(self, words: Sequence[int]) -> bool:
        return any(value(size, words) == 0 for size in self.call.y.dims)

    def _operands(self, words: Sequence[int]) -> Descriptor:
        held = {k + 1: words[k] for k in range(self.addresses) if k != WORKSPACE_WORD}
        held |= {name: ctypes.addressof(number) for name, number in self.numbers.items()}
        start = -(-words[WORKSPACE_WORD] // WORKSPACE_ALIGNMENT) * WORKSPACE_ALIGNMENT
        made = descriptor("variant pack").set("ids", "integer", *held)
        made.set("pointers", "pointer", *held.values()).set("workspace", "pointer", start)
        return made.finish()

    def _plan(self, words: Sequence[int]) -> Descriptor:
        alignment = min(_alignment(words[k]) for k in range(self.addresses) if k != WORKSPACE_WORD)
        key = (alignment, *words[self.addresses :])
        with self.lock:
            if key not in self.plans:
                if len(self.plans) >= PLANS:
                    del self.plans[next(iter(self.plans))]
                self.plans[key] = self._made(words, alignment)
            return self.plans[key]

    def _made(self, words: Sequence[int], alignment: int) -> Descriptor:
        call, mine = self.call, handle(self.device)
        if call.plan and alignment == ALIGNMENT:
            return plan_from(call.plan, mine)
        exact = isinstance(call, ConvolutionCall) and not call.rounds
        return plan_of(
            graph_of(call, words, mine, alignment), mine, heuristic=call.heuristic, exact=exact,
            workspace_bytes=max(call.workspace_bytes - WORKSPACE_ALIGNMENT, 0),
        )  # fmt: skip


def prepare(text: str, device: int) -> PreparedGraph:
    """The call on a device, of a version that fits; see `libraries.prepare`."""
    try:
        call = json.decode(text, type=GraphCall)
    except DecodeError as error:
        raise CorruptEngine(f"a call of cuDNN cannot be read: {error}") from None
    if call.plan and not call.version:
        raise CorruptEngine("a call of cuDNN has a plan, and does not say of which version")
    handle(device)
    return PreparedGraph(call, device, addresses_of(call), numbers_of(call))


def _alignment(address: int) -> int:
    return min(address & -address or ALIGNMENT, ALIGNMENT)
