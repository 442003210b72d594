"""Times of an engine's launches beside what its report says that they compute."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from engineworks.codegen.triton.gpu import Gpu


@dataclass(slots=True)
class LayerTime:
    """The launches of one group.

    Attributes:
        group: the report's number of it. origin, ops, outputs: as the report has them.
        seconds: of one inference.
        flops, bytes_moved: of its anchor, and of its operands and results, each once; 0 where sizes are not known.
    """

    group: str
    tactic: str
    origin: tuple[str, ...] = ()
    ops: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    flops: float = 0.0
    bytes_moved: float = 0.0
    launches: int = 0
    seconds: float = 0.0

    def of_roofline(self, gpu: Gpu) -> float:
        """What the operations (as of f16) or the bytes, whichever take longer, would take at the GPU's best, as a share
        of the time. Above 1 where operands stay in caches.
        """
        floor_s = max(self.flops / gpu.half_flops, self.bytes_moved / gpu.bytes_per_s)
        return floor_s / self.seconds if self.seconds else 0.0


def layer_times(report: Mapping[str, Any], launches: Iterable[tuple[str, str, float]]) -> list[LayerTime]:
    """Groups of launches, slowest first.

    Args:
        report: the engine's, decoded.
        launches: (group, tactic, seconds of one inference) of each.
    """
    groups = {g["number"]: g for g in report.get("groups", ())}
    found: dict[str, LayerTime] = {}
    for number, tactic, seconds in launches:
        group = groups.get(number, {})
        layer = found.setdefault(
            number,
            LayerTime(
                number,
                group.get("tactic") or tactic,
                tuple(group.get("origin", ())),
                tuple(op.partition("(")[0] for op in group.get("ops", ())),
                tuple(group.get("outputs", ())),
                group.get("flops", 0.0),
                group.get("bytes_moved", 0.0),
            ),
        )
        layer.seconds += seconds
        layer.launches += 1
    return sorted(found.values(), key=lambda layer: -layer.seconds)
