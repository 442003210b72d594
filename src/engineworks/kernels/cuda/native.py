"""What kernels of single operators share: claiming an op, predictions from bytes moved, images of their launches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from engineworks.codegen.triton.gpu import Gpu
from engineworks.core.dims import Dim, ceil_div, product
from engineworks.core.types import TensorType
from engineworks.kernels.cost import typical
from engineworks.kernels.cuda.words import Part, functions_of, slot_name, steps_of
from engineworks.kernels.native import plain_operands
from engineworks.kernels.tactic import Effort, KernelImage, Tactic
from engineworks.kernels.workload import Workload

TYPICAL = 1 << 16
"""What is planned for where a size has no bound."""
LAUNCH_S = 2.5e-6
"""A small kernel of a graph from its start to the start of the next."""
TRIED = (1, 4, 12, 20, 40, 1000)
"""Tactics given, by effort."""


@dataclass(frozen=True, slots=True)
class OneWay:
    """The configuration of a family that knows a single way."""


Way = tuple[Any, float]
"""A configuration and its predicted seconds."""


class NativeKernels:
    """A provider of one op on row-major tensors without an epilogue.

    Class attributes:
        name, version: of the provider.
        op: name of the op.
        any_order: its operands may lie in any order of axes, rows not padded.
    """

    name: str
    version = 1
    op: str
    any_order = False

    def propose(self, work: Workload, isa: Gpu, effort: Effort) -> Iterable[Tactic]:
        """The ways there are. Raises NoTactic for other ops, layouts, an epilogue, or what `refuse` names."""
        plain_operands(work, self.op, any_order=self.any_order)
        self.refuse(work)
        ways = sorted(self.ways(work, isa), key=lambda way: way[1])
        return [Tactic(self.name, config, seconds) for config, seconds in ways[: TRIED[effort]]]

    def refuse(self, work: Workload) -> None:
        """Raise NoTactic where the kernels cannot do what the op asks."""

    def ways(self, work: Workload, gpu: Gpu) -> Sequence[Way]:
        """Every configuration that can compute `work`, at least one."""
        return [(OneWay(), streamed_s(gpu, work))]

    def build(self, work: Workload, tactic: Tactic, isa: Gpu) -> KernelImage:
        raise NotImplementedError


def streamed_s(gpu: Gpu, work: Workload, *, passes: float = 1.0, launches: int = 1) -> float:
    """Seconds to read and write all operands so many times, and to launch."""
    types = [*(i.type for i in work.inputs if i is not None), *work.outputs]
    return passes * sum(bytes_of(t) for t in types) / gpu.bytes_per_s + launches * LAUNCH_S


def bytes_of(tensor: TensorType) -> int:
    """Bytes of a tensor, or those to plan for."""
    return typical(tensor.count, TYPICAL) * tensor.dtype.size_bytes


def image(parts: Sequence[Part], *, workspace: Sequence[Dim] = (), writes: Sequence[Dim] = ()) -> KernelImage:
    """The image of finished launches.

    Args:
        writes: sizes that they find out, constant ones among them.
    """
    names = tuple(slot_name(d) for d in writes if not isinstance(d, int))
    return KernelImage(
        functions_of(parts), frozenset(), steps_of(parts), workspace=tuple(workspace), writes_symbols=names
    )


def lines_of(shape: Sequence[Dim], axis: int) -> tuple[Dim, Dim, Dim]:
    """(lines outside, elements of a line, distance between neighbours) along `axis` of a row-major tensor."""
    return product(shape[:axis]), shape[axis], product(shape[axis + 1 :])


def piece_of(count: Dim, pieces: int, block: int) -> Dim:
    """Elements of one of so many pieces: whole blocks, so that accesses stay aligned; the last pieces may be empty."""
    return ceil_div(count, pieces * block) * block


def power_of_two(number: int) -> int:
    """The smallest power of two that is not below."""
    return 1 << max(0, number - 1).bit_length()
