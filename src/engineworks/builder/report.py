"""The build report: what was decided and why, as records that become JSON in the engine."""

from __future__ import annotations

import msgspec


class PhaseReport(msgspec.Struct, frozen=True):
    """One phase or pass and its time."""

    name: str
    duration_s: float
    nodes: int = 0


class AlternativeReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tactic that was considered."""

    tactic: str
    predicted_s: float
    measured_s: float | None = None
    rejected: str = ""


class GroupReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """One group of fused nodes.

    Attributes:
        origin: names of source nodes. ops: what was fused, in order.
        kind: 'anchor', 'loops', 'piece', 'alias'.
        notes: why fusion stopped here. refused: kernel families that do not compute it, and why.
        flops: of the anchor, 0 unless it is a product. bytes_moved: operands and results, each once.
    """

    number: str
    kind: str
    origin: tuple[str, ...]
    ops: tuple[str, ...]
    outputs: tuple[str, ...]
    tactic: str = ""
    measured_s: float | None = None
    predicted_s: float = 0.0
    flops: float = 0.0
    bytes_moved: float = 0.0
    alternatives: tuple[AlternativeReport, ...] = ()
    notes: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


class MissedReport(msgspec.Struct, frozen=True):
    """A rewrite that nearly applied, and why it did not."""

    rule: str
    origin: tuple[str, ...]
    why: str


class PrecisionReport(msgspec.Struct, frozen=True):
    """What one product computes in, and why."""

    origin: tuple[str, ...]
    op: str
    precision: str
    reason: str


class MemoryReport(msgspec.Struct, frozen=True):
    """The arena against its lower bound (peak of bytes alive at once), and weights."""

    arena_bytes: int
    lower_bound_bytes: int
    without_reuse_bytes: int
    weights_bytes: int
    scratch_bytes: int


class BuildReport(msgspec.Struct, frozen=True):
    """Everything the builder decided. Stored as JSON in the engine's 'report' section.

    Attributes:
        precisions: of products, in the order of computation. warnings: sentences for the user.
        steps: of calibrated tensors, by name: what one level of their integers stands for.
    """

    model: str
    target: str
    effort: int
    threads: int
    phases: tuple[PhaseReport, ...]
    rewrites: tuple[str, ...]
    missed: tuple[MissedReport, ...]
    groups: tuple[GroupReport, ...]
    memory: MemoryReport
    precisions: tuple[PrecisionReport, ...] = ()
    warnings: tuple[str, ...] = ()
    steps: dict[str, float] = {}


def encode(report: BuildReport) -> bytes:
    """JSON bytes; without times of phases, so that equal builds give equal bytes."""
    phases = tuple(PhaseReport(p.name, 0.0, p.nodes) for p in report.phases)
    return msgspec.json.encode(msgspec.structs.replace(report, phases=phases))


def decode(data: bytes) -> BuildReport:
    """The report in an engine's section."""
    return msgspec.json.decode(data, type=BuildReport)
