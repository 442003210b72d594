"""non_max_suppression: a block for each class of each image, then all kept boxes in order.

A block keeps the best candidate that is left, and strikes out those that overlap it too much while it looks for the
next one: as many rounds as boxes are kept, without sorting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engineworks.codegen.triton.gpu import Gpu
from engineworks.core import dtypes
from engineworks.core.dims import Dim, dim_max
from engineworks.kernels.cost import typical
from engineworks.kernels.cuda.native import (
    LAUNCH_S,
    NativeKernels,
    Way,
    image,
    power_of_two,
    streamed_s,
)
from engineworks.kernels.cuda.sorting import ordering
from engineworks.kernels.cuda.words import Launch, Part, index_cast
from engineworks.kernels.tactic import Input, KernelImage, Output, Tactic, Workspace
from engineworks.kernels.workload import Workload, input_type
from engineworks.ops.non_max_suppression import NonMaxSuppression


@dataclass(frozen=True, slots=True)
class Rounds:
    """A block looks at so many candidates at a time."""

    block: int
    warps: int


_CHOOSE = """
{helpers}
@triton.jit
def KERNEL({parameters}):
    {wait}
    task = tl.program_id(0).to({index})
    of_task = scores + task * {count}
    of_image = boxes + task // {classes} * ({count} * 4)
    items = candidates + task * {count}
    most = tl.minimum(tl.load(limit).to(tl.int64), {limit})
    highest = tl.load(overlap)
{least}
    number = tl.full((), 0, tl.int32)
    best = tl.full((), 0, tl.uint64)
    for start in range(0, {count}, {block}):
        box = start + tl.arange(0, {block})
        score = tl.load(of_task + box, mask=box < {count}, other=0.0)
        wanted = (box < {count}){exceeds}
        key = ordered(score.to(tl.uint32, bitcast=True)).to(tl.uint64)
        item = tl.where(wanted, (key << 32) | (0xFFFFFFFF - box.to(tl.int64)).to(tl.uint64), 0)
        place = number + tl.cumsum(wanted.to(tl.int32), 0) - 1
        tl.store(items + place, item, mask=wanted)
        number += tl.sum(wanted.to(tl.int32), 0)
        best = tl.maximum(best, tl.max(item, 0))
    tl.debug_barrier()
    held = tl.full((), 0, tl.int32)
    while (best != 0) & (held < most):
        chosen = 0xFFFFFFFF - (best & 0xFFFFFFFF).to(tl.int64)
        tl.store(kept + task * {limit} + held, chosen)
        held += 1
        own = of_image + chosen * 4
        low0, low1, high0, high1 = corners(tl.load(own), tl.load(own + 1), tl.load(own + 2), tl.load(own + 3))
        area = (high0 - low0) * (high1 - low1)
        next = tl.full((), 0, tl.uint64)
        for start in range(0, number, {block}):
            at = start + tl.arange(0, {block})
            item = tl.load(items + at, mask=at < number, other=0)
            alive = (item != 0) & (item != best)
            other = 0xFFFFFFFF - (item & 0xFFFFFFFF).to(tl.int64)
            a = tl.load(of_image + other * 4, mask=alive, other=0.0)
            b = tl.load(of_image + other * 4 + 1, mask=alive, other=0.0)
            c = tl.load(of_image + other * 4 + 2, mask=alive, other=0.0)
            d = tl.load(of_image + other * 4 + 3, mask=alive, other=0.0)
            other0, other1, top0, top1 = corners(a, b, c, d)
            side0 = tl.minimum(high0, top0) - tl.maximum(low0, other0)
            side1 = tl.minimum(high1, top1) - tl.maximum(low1, other1)
            shared = side0 * side1
            theirs = (top0 - other0) * (top1 - other1)
            union = area + theirs - shared
            meets = (side0 > 0) & (side1 > 0) & (shared > 0) & (tl.minimum(area, theirs) > 0) & (union > 0)
            falls = meets & (tl.div_rn(shared, union) > highest)
            item = tl.where(alive & (falls == 0), item, 0)
            tl.store(items + at, item, mask=at < number)
            next = tl.maximum(next, tl.max(item, 0))
        tl.debug_barrier()
        best = next
    tl.store(counts + task, held)
"""
_CORNERS = """
@triton.jit
def corners(a, b, c, d):
    return tl.minimum(a, c), tl.minimum(b, d), tl.maximum(a, c), tl.maximum(b, d)
"""
_CORNERS_OF_CENTRES = """
@triton.jit
def corners(a, b, c, d):
    return a - c * 0.5, b - d * 0.5, a + c * 0.5, b + d * 0.5
"""
_ROWS = """
@triton.jit
def KERNEL({parameters}):
    {wait}
    task = tl.program_id(0).to({index})
    before = tl.full((), 0, tl.int64)
    every = tl.full((), 0, tl.int64)
    for start in range(0, {tasks}, 128):
        each = start + tl.arange(0, 128)
        number = tl.load(counts + each, mask=each < {tasks}, other=0).to(tl.int64)
        before += tl.sum(tl.where(each < task, number, 0), 0)
        every += tl.sum(number, 0)
    if task == 0:
        tl.store(slot, every)
    own = tl.load(counts + task, mask=task < {tasks}, other=0)
    for start in range(0, own, 64):
        at = start + tl.arange(0, 64)
        row = y + (before + at) * 3
        tl.store(row, task // {classes} + at.to(tl.int64) * 0, mask=at < own)
        tl.store(row + 1, task % {classes} + at.to(tl.int64) * 0, mask=at < own)
        tl.store(row + 2, tl.load(kept + task * {limit} + at, mask=at < own, other=0), mask=at < own)
"""


class CudaNonMaxSuppression(NativeKernels):
    """non_max_suppression of f32 boxes."""

    name = "cuda.nms"
    op = "non_max_suppression"

    def ways(self, work: Workload, gpu: Gpu) -> Sequence[Way]:
        assert isinstance(work.anchor, NonMaxSuppression)
        tasks, count, limit = (typical(d, 1024) for d in (*_tasks(work), work.anchor.limit))
        found: list[Way] = []
        for block, warps in ((256, 4), (1024, 4), (1024, 8), (4096, 16)):
            if block > 256 and block > power_of_two(count):
                continue
            rounds = -(-count // block)
            a_round = 1.0e-6 + rounds * 0.4e-6 * max(1.0, block / (warps * 128))
            waves = -(-tasks // (gpu.processors * max(1, 32 // warps)))
            seconds = 2 * LAUNCH_S + streamed_s(gpu, work) + waves * a_round * min(limit, count)
            found.append((Rounds(block, warps), seconds))
        return found

    def build(self, work: Workload, tactic: Tactic, isa: Gpu) -> KernelImage:
        op = work.anchor
        assert isinstance(op, NonMaxSuppression)
        tasks, count = _tasks(work)
        parts = [_choose(work, op, tactic.config), _rows(work, op)]
        return image(parts, workspace=[tasks * op.limit * 8, tasks * 4, tasks * count * 8], writes=[op.count])


def _tasks(work: Workload) -> tuple[Dim, Dim]:
    """(classes of all images, boxes of one)."""
    batch, classes, count = input_type(work, 1).shape
    return batch * classes, count


def _launch(work: Workload, op: NonMaxSuppression) -> Launch:
    tasks, count = _tasks(work)
    launch = Launch().elements("kept", Workspace(0), dtypes.i64).elements("counts", Workspace(1), dtypes.i32)
    launch.sizes(tasks=tasks, count=count, classes=input_type(work, 1).shape[1], limit=op.limit)
    return launch.fill(index=index_cast(tasks * count * 4))


def _choose(work: Workload, op: NonMaxSuppression, way: Rounds) -> Part:
    """The kept boxes of each class go to workspace 0, how many there are to 1; 2 has the candidates."""
    launch = _launch(work, op).elements("candidates", Workspace(2), dtypes.u64)
    launch.elements("boxes", Input(0), dtypes.f32).elements("scores", Input(1), dtypes.f32)
    launch.elements("limit", Input(2), input_type(work, 2).dtype).elements("overlap", Input(3), dtypes.f32)
    has_least = len(work.inputs) > 4 and work.inputs[4] is not None
    if has_least:
        launch.elements("threshold", Input(4), dtypes.f32)
    launch.fill(
        helpers=ordering(dtypes.f32) + (_CORNERS_OF_CENTRES if op.centre else _CORNERS), block=way.block,
        least="    least = tl.load(threshold)" if has_least else "", exceeds=" & (score > least)" if has_least else "",
    )  # fmt: skip
    return launch.step("nms", _CHOOSE, (_tasks(work)[0],), warps=way.warps)


def _rows(work: Workload, op: NonMaxSuppression) -> Part:
    launch = _launch(work, op).elements("y", Output(0), dtypes.i64).symbol("slot", op.count)
    return launch.step("nms_rows", _ROWS, (dim_max(_tasks(work)[0], 1),), warps=1)


PROVIDERS = (CudaNonMaxSuppression(),)
