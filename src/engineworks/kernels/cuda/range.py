"""range with limits known at run time: every block finds the count anew; the first one stores it to its symbol."""

from __future__ import annotations

from engineworks.codegen.triton.casts import held_type
from engineworks.codegen.triton.gpu import Gpu
from engineworks.core.dims import bounds
from engineworks.errors import NoTactic
from engineworks.kernels.cuda.native import NativeKernels, image
from engineworks.kernels.cuda.words import Launch
from engineworks.kernels.tactic import Input, KernelImage, Output, Tactic
from engineworks.kernels.workload import Workload, input_type
from engineworks.ops.range import Range

BLOCK = 1024
_TEXT = """
@triton.jit
def KERNEL({parameters}):
    {wait}
    start = tl.load(first).to({wide})
    end = tl.load(limit).to({wide})
    step = tl.load(delta).to({wide})
{count}
    if tl.program_id(0) == 0:
        tl.store(slot, count)
    for begin in range(tl.program_id(0).to(tl.int64) * {block}, count, {stride}):
        at = begin + tl.arange(0, {block})
        value = start + at.to({wide}) * step
        tl.store(y + at, value.to({narrow}), mask=at < count)
"""
_COUNT_OF_FLOATS = """\
    whole = tl.ceil((end - start) / step)
    whole = tl.where(whole < 1.0e15, whole, 1.0e15)
    count = tl.where(whole > 0, whole, 0.0).to(tl.int64)"""
_COUNT_OF_INTEGERS = """\
    step = tl.where(step == 0, 1, step)
    falls = step < 0
    size = tl.where(falls, -step, step)
    span = tl.maximum(tl.where(falls, start - end, end - start), 0)
    count = (span + size - 1) // size"""
_LIMITED = "\n    count = tl.where(count <= {most}, count, -1)"


class CudaRange(NativeKernels):
    """range of f32, f64 and integers."""

    name = "cuda.range"
    op = "range"

    def refuse(self, work: Workload) -> None:
        dtype = input_type(work, 0).dtype
        if dtype.kind not in ("int", "uint") and dtype.name not in ("f32", "f64"):
            raise NoTactic(f"no range of {dtype}; make one of f32 and cast it")

    def build(self, work: Workload, tactic: Tactic, isa: Gpu) -> KernelImage:
        op = work.anchor
        assert isinstance(op, Range)
        dtype, most = input_type(work, 0).dtype, bounds(op.count)[1]
        blocks = isa.processors if most is None else max(1, min(isa.processors, -(-most // BLOCK)))
        launch = Launch()
        for number, name in enumerate(("first", "limit", "delta")):
            launch.numbers(name, Input(number), dtype)
        launch.numbers("y", Output(0), dtype).symbol("slot", op.count)
        # Floats in f64, rounded once.
        count = _COUNT_OF_FLOATS if dtype.is_float else _COUNT_OF_INTEGERS
        launch.fill(
            count=count + ("" if most is None else _LIMITED.format(most=most)), block=BLOCK, stride=BLOCK * blocks,
            wide="tl.float64" if dtype.is_float else "tl.int64", narrow=held_type(dtype),
        )  # fmt: skip
        return image([launch.step("range", _TEXT, (blocks,))], writes=[op.count])


PROVIDERS = (CudaRange(),)
