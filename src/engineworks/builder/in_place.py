"""Which results may lie where an operand lies: those of loop nests that read each element just before they write it."""

from __future__ import annotations

from collections.abc import Sequence

from engineworks.ir import scalar
from engineworks.ir.kernel import LoopKernel, Store
from engineworks.kernels.cpu.loops import CpuLoops
from engineworks.tuner.choice import Choice


def replaceable_operands(choice: Choice, storages: Sequence[int | None]) -> list[int]:
    """Numbers of operands whose memory the kernel may overwrite with its only output.

    Args:
        storages: of each operand, None for constants. An operand that shares its storage with another one (a view of
            it) stays: the other is read in its own order.

    Kernels behind native ops read their operands when they like, and reductions read rows again; they are left out.
    """
    kernel = choice.work.loops
    if kernel is None or choice.tactic.provider != CpuLoops.name or len(choice.image.steps) != 1:
        return []
    if kernel.reduced or len(kernel.stages) != 1:
        return []
    return [
        number for number, storage in enumerate(storages)
        if storage is not None and list(storages).count(storage) == 1 and _is_read_in_step(kernel, number)
    ]  # fmt: skip


def _is_read_in_step(kernel: LoopKernel, operand: int) -> bool:
    """Element for element as the output is written."""
    (store,) = kernel.stages
    assert isinstance(store, Store), "a nest without reduced axes has no folds"
    loads = [n for n in scalar.leaves_of(store.body, "load") if n.payload == operand]
    same_place = kernel.operands[operand] == kernel.outputs[store.output]
    return same_place and bool(loads) and all(n.args == store.index for n in loads)
