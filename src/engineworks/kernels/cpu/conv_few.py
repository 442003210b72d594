"""Convolutions with very few outputs: registers run over the inputs of a window, and a tree adds up their lanes.

The register tile of `conv_direct` would leave most lanes of its panels empty. Here each (pixel, output) pair of a block
has a register of partial sums; a block has at most as many pairs as a register has lanes, and they are stored as one.
A transposed convolution whose kernel equals its stride is the same with one row of taps a task.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from engineworks.codegen.llvm.function import Function, Isa
from engineworks.core.dims import Dim
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.conv import Geometry, geometry_of, known, padded, pixel_strides, require_f32
from engineworks.kernels.cpu.conv_cost import CYCLES_PER_SECOND, typical
from engineworks.kernels.cpu.conv_epilogue import finish_of
from engineworks.kernels.cpu.conv_few_emit import FewKernel, FewProblem
from engineworks.kernels.cpu.conv_stage import stage_input
from engineworks.kernels.cpu.conv_transpose import phases_of
from engineworks.kernels.cpu.image_parts import ImageParts
from engineworks.kernels.cpu.words import Words
from engineworks.kernels.tactic import Effort, Input, KernelImage, Tactic, Word
from engineworks.kernels.workload import Workload, input_type
from engineworks.ops.conv import Conv
from engineworks.ops.conv_transpose import ConvTranspose

MOST_OUTPUTS = 4


@dataclass(frozen=True, slots=True)
class FewConfig:
    """`pixels`: of a block; 0 takes as many as fit one register of results."""

    pixels: int = 0


class CpuConvFew:
    """f32 convolutions, and transposed ones with kernel = stride, of at most four outputs and constant filters."""

    name = "cpu.conv_few"
    version = 1

    def propose(self, work: Workload, isa: Isa, effort: Effort) -> Iterable[Tactic]:
        """One tactic.

        Raises:
            NoTactic: more outputs, groups, dilated rows, outputs that are not dense, filters not known at build.
        """
        problem = _problem_of(work)
        g, results = problem.g, problem.results
        pairs = isa.lanes // results * results
        chunks = g.kernel[0] * g.kernel[1] * -(-problem.run // isa.lanes)
        windows = (
            typical(g.batch) * typical(g.out[0]) * typical(g.out[1]) * typical(g.out[2]) * problem.fine[0]
        )
        block = chunks * pairs / 2 + 3 * isa.lanes / 2 + 12
        return [Tactic(self.name, FewConfig(), windows * results / pairs * block / CYCLES_PER_SECOND)]

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        """[copy x], then one step."""
        problem, end, parts = _problem_of(work), finish_of(work), ImageParts()
        filters = parts.pack(lambda values: pack_runs(np.asarray(values[1]), problem.fine, isa.lanes))
        source: Word = Input(0)
        if pixel_strides(input_type(work, 0)) is None or problem.g.has_padding:
            target = padded(problem.g)
            target = replace(target, x_strides=_dense(target))
            source = stage_input(parts, input_type(work, 0), problem.g, target, isa)
            problem = replace(problem, g=target)
        f = Function("conv_few")
        few = FewKernel(f, isa, problem, work, end, Words(f), source, filters)
        parts.step("conv_few", f, few.arguments, few.emit())
        return parts.image()


def _dense(g: Geometry) -> tuple[Dim, ...]:
    """Pixels without anything between them: rows of a window must be runs."""
    row = g.size[2] * g.channels
    return (row * g.size[1] * g.size[0], row * g.size[1], row, g.channels)


def _problem_of(work: Workload) -> FewProblem:
    if not isinstance(work.anchor, (Conv, ConvTranspose)):
        raise NoTactic(f"{work.anchor} is neither a conv nor a conv_transpose")
    require_f32(work)
    finish_of(work)
    if not work.inputs[1] or not work.inputs[1].constant:
        raise NoTactic("the filters must be known when the engine is built")
    problem = (
        _transposed(work) if isinstance(work.anchor, ConvTranspose) else FewProblem(geometry_of(work), (1, 1))
    )
    g = problem.g
    if g.groups != 1 or g.outputs > MOST_OUTPUTS or problem.results > 8:
        raise NoTactic(f"{g.outputs} outputs in {g.groups} groups are not few outputs of one group")
    if g.dilations[2] != 1 and g.kernel[2] > 1:
        raise NoTactic("rows of dilated windows do not lie together")
    if g.y_strides[3] != g.outputs * problem.fine[1]:
        raise NoTactic("the output's pixels do not lie one after another")
    copied = pixel_strides(input_type(work, 0)) is None or g.has_padding
    if not copied and g.x_strides[3] != g.channels and g.kernel[2] > 1:
        raise NoTactic("the input's pixels do not lie one after another")
    return problem


def _transposed(work: Workload) -> FewProblem:
    """A transposed conv as 1x1 windows with stride x stride outputs each."""
    op = work.anchor
    assert isinstance(op, ConvTranspose), f"{op} is not a transposed convolution"
    first = phases_of(work)[0].geometry
    kernel = tuple(known(k) for k in input_type(work, 1).shape[2:])
    pads = any(op.pads) or any(op.output_padding) or any(d != 1 for d in op.dilations)
    if len(kernel) != 2 or tuple(op.strides) != kernel or pads:
        raise NoTactic(
            "transposed convolutions need a kernel that equals its stride over two axes, without padding"
        )
    down, across = kernel
    return FewProblem(replace(first, out=first.size), (down, across))


def pack_runs(w: np.ndarray, fine: tuple[int, int], lanes: int) -> np.ndarray:
    """[O, C, kernel…] to [rows of taps, chunks, O, lanes]; transposed [C, O, s, t] to [s, chunks, t x O, lanes]."""
    if fine != (1, 1):
        rows = np.transpose(w, (2, 3, 1, 0)).reshape(fine[0], -1, w.shape[0])  # s, (t, o), c
    else:
        kernel_rows = int(np.prod(w.shape[2:-1]))
        rows = (
            w.reshape(w.shape[0], w.shape[1], kernel_rows, -1)
            .transpose(2, 0, 3, 1)
            .reshape(kernel_rows, w.shape[0], -1)
        )
    run = rows.shape[2]
    split = np.pad(rows, [(0, 0), (0, 0), (0, -run % lanes)]).reshape(rows.shape[0], rows.shape[1], -1, lanes)
    return np.ascontiguousarray(split.swapaxes(1, 2), np.float32)


PROVIDERS = (CpuConvFew(),)
