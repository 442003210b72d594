"""The precision of each product: by prediction at effort 0, by measurement above, through the tuner's own cache."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from engineworks.builder.config import BuildConfig
from engineworks.builder.workloads import workload_of_node
from engineworks.core import dtypes
from engineworks.core.dtypes import DType
from engineworks.core.types import TensorType
from engineworks.ir.graph import Node, Value
from engineworks.ir.scalar import Scalar, apply, argument, cast, const
from engineworks.kernels import cost
from engineworks.kernels.backend import Backend, Candidate
from engineworks.kernels.workload import Epilogue, Operand, Workload
from engineworks.ops._kinds import Pointwise
from engineworks.ops._products import FACTORS
from engineworks.passes.precision import unwise_floats
from engineworks.tuner.choose import Progress, Tuner

BYTES_PER_S = 1.5e10
"""Of a conversion that no kernel can take over."""
LEAST_GAIN = 1.03
"""Narrower arithmetic must be so many times faster: what is not faster is more precise."""
TRIED = 2
"""Kernels that are measured for each precision of a product; the others are tuned once it is known."""
OPERANDS = {
    "bf16": (dtypes.bf16, dtypes.bf16),
    "int8": (dtypes.i8, dtypes.i8),
    "fp16": (dtypes.f32, dtypes.f16),
}
"""Activations and constants."""


def allowed_precisions(config: BuildConfig, backend: Backend, isa: Any) -> frozenset[str]:
    """Those beside fp32 and tf32 that the build may use; 'best' is what the target has fast arithmetic for, and what
    saves memory.
    """
    asked = set(config.precisions)
    if "best" in asked and backend.multiplies_narrow:
        asked |= {"fp16", "int8"}
    elif "best" in asked:
        fast = {"bf16": isa.has("amx-bf16") or isa.has("avx512bf16"), "fp16": True}
        fast["int8"] = isa.has("amx-int8") or isa.has("avx512vnni") or isa.has("avxvnni")
        asked |= {name for name, is_fast in fast.items() if is_fast}
    return frozenset(asked - {"fp32", "tf32", "best"})


def narrowest(node: Node, possible: Sequence[str]) -> tuple[str, str]:
    """A product's precision on a GPU, whose matrix units multiply narrow numbers several times as fast: no contest."""
    best = next((p for p in ("int8", "fp16", "bf16") if p in possible), "fp32")
    return best, "matrix units multiply it fastest" if best != "fp32" else "no narrower precision is allowed"


def ignored(done: int, total: int, what: str) -> None:
    """Progress that nobody watches."""


@dataclass(slots=True)
class PrecisionChooser:
    """Compares a product's best kernels in each precision.

    Args:
        tuner: None predicts.
        progress: called with (done, total, what) while products are timed.
    """

    backend: Backend
    isa: Any
    tuner: Tuner | None
    effort: int
    strict: bool = False
    progress: Progress = ignored
    _total: int = 0
    _done: int = 0
    _known: dict[str, tuple[float, bool]] = field(default_factory=dict)

    def prepare(self, allowed: Collection[str], nodes: Sequence[Node]) -> None:
        """Compile what `choose` will measure for these products, on all cores."""
        self._total, self._done = len(nodes), 0
        if self.tuner is None:
            return
        works: dict[str, Workload] = {}
        for node in nodes:
            narrow = sorted({"bf16", "fp16"}.intersection(allowed) - unwise_floats(node).keys())
            for precision in ("fp32", *narrow) if narrow else ():
                work = narrow_work(node, precision)
                works[work.key()] = work
        problems = [(work, self._candidates(work)) for work in works.values()]
        self.tuner.prepare(
            problems, lambda done, total: self.progress(done, total, "compiling for precision")
        )

    def choose(self, node: Node, possible: Sequence[str]) -> tuple[str, str]:
        """The fastest precision for a product of f32, and the reason in words."""
        self._done += 1
        self.progress(self._done, max(self._total, self._done), f"precision of {'/'.join(node.origin)}")
        times: dict[str, float] = {}
        measured = True
        for precision in possible:
            seconds, is_measured = self._time(narrow_work(node, precision))
            times[precision] = seconds + (0.0 if precision == "fp32" else self._conversion_s(node, precision))
            measured &= is_measured
        how = "measured" if measured else "predicted"
        best = min(times, key=lambda p: times[p])
        if best != "fp32" and times["fp32"] >= LEAST_GAIN * times[best]:
            return best, f"{times['fp32'] / times[best]:.1f}x faster than fp32 ({how})"
        if "fp16" in times and times["fp16"] * 0.9 <= times["fp32"] and best != "bf16":
            return (
                "fp16",
                f"half the weights at {times['fp32'] / times['fp16']:.1f}x the speed of fp32 ({how})",
            )
        lost = ", ".join(f"{p} would be {_ratio(times['fp32'], t)}" for p, t in times.items() if p != "fp32")
        return "fp32", f"{lost} ({how})"

    def _time(self, work: Workload) -> tuple[float, bool]:
        key = work.key()
        if key not in self._known:
            self._known[key] = self._time_of(work, self._candidates(work))
        return self._known[key]

    def _candidates(self, work: Workload) -> list[Candidate]:
        return self.backend.propose(work, self.isa, min(self.effort, 1), strict=self.strict)[0][:TRIED]

    def _time_of(self, work: Workload, candidates: list[Candidate]) -> tuple[float, bool]:
        if not candidates:
            return float("inf"), False
        predicted = candidates[0].tactic.predicted_s
        if self.tuner is None:
            return predicted, False
        found = [t for t in self.tuner.measure(work, candidates).values() if isinstance(t, float)]
        return (min(found), True) if found else (predicted, False)

    def _conversion_s(self, node: Node, precision: str) -> float:
        """Time of converting activations that no kernel makes narrow: the graph's inputs, what native ops give."""
        total = 0.0
        for value in node.inputs[:2]:
            if value is None or value.is_constant or precision == "fp16" or self._is_fused(value):
                continue
            total += cost.typical(value.type.count, 1 << 20) * 5.0 / BYTES_PER_S
        return total

    def _is_fused(self, value: Value) -> bool:
        """A kernel with pointwise work behind it makes the value."""
        node = value.producer
        while node is not None and node.op.name in ("transpose", "reshape", "slice"):
            node = node.inputs[0].producer if node.inputs[0] is not None else None
        return node is not None and (
            isinstance(node.op, Pointwise)
            or node.op.name in self.backend.epilogue_ops
            or type(node.op).has("decompose")
        )


def _ratio(wide: float, narrow: float) -> str:
    return "no faster" if narrow <= wide * 1.02 else f"{narrow / wide:.1f}x slower"


def narrow_work(node: Node, precision: str) -> Workload:
    """The node's problem alone in another precision, storing what a kernel in that precision usually stores."""
    work = workload_of_node(node)
    if precision == "fp32":
        return work
    if node.op.name == "attention":
        narrow = tuple(
            None if w is None else Operand(_as(w.type, dtypes.bf16), w.constant) for w in work.inputs
        )
        outputs = tuple(_as(t, dtypes.bf16) for t in work.outputs)
        return Workload(work.anchor, narrow, work.anchor_inputs, outputs)
    activation, constant = OPERANDS[precision]
    total = dtypes.i32 if precision == "int8" else dtypes.f32
    inputs: list[Operand | None] = []
    for position, operand in enumerate(work.inputs):
        if operand is None or not operand.type.dtype.is_float:
            inputs.append(operand)
            continue
        is_factor = position < FACTORS[node.op.name]
        dtype = total if not is_factor else constant if operand.constant else activation
        inputs.append(Operand(_as(operand.type, dtype), operand.constant))
    op = dataclasses.replace(work.anchor, out_dtype=total)  # type: ignore[type-var]
    epilogue = _epilogue(precision, node)
    stored = total if epilogue is None else epilogue.expression.dtype
    outputs = tuple(_as(t, stored) for t in work.outputs)
    return Workload(op, tuple(inputs), work.anchor_inputs, outputs, epilogue)


def _as(tensor: TensorType, dtype: DType) -> TensorType:
    return dataclasses.replace(tensor, dtype=dtype)


def _epilogue(precision: str, node: Node) -> Epilogue | None:
    if precision == "int8":
        scaled: Scalar = cast(argument(0, dtypes.i32), dtypes.f32) * 0.001
        rounded = apply("round_even", scaled)
        low, high = const(-127.0, dtypes.f32), const(127.0, dtypes.f32)
        return Epilogue(cast(apply("min", apply("max", rounded, low), high), dtypes.i8))
    if precision == "bf16" and node.op.name == "conv":
        return Epilogue(cast(argument(0, dtypes.f32), dtypes.bf16))
    return None
