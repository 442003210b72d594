"""Depthwise convolution, channels-last: which tiles, at what predicted time, and packed filters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from engineworks.codegen.llvm.function import Function, Isa
from engineworks.core import dtypes
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.conv import (
    Geometry,
    geometry_of,
    pixel_strides,
)
from engineworks.kernels.cpu.conv_cost import CYCLES_PER_SECOND, typical
from engineworks.kernels.cpu.conv_epilogue import finish_of
from engineworks.kernels.cpu.depthwise_emit import (
    HELD_TAPS,
    MAX_UNROLLED_TAPS,
    DepthwiseConfig,
    DepthwiseKernel,
    border_tiles,
)
from engineworks.kernels.cpu.image_parts import ImageParts
from engineworks.kernels.cpu.words import Words
from engineworks.kernels.tactic import Effort, Input, KernelImage, Tactic, Word
from engineworks.kernels.workload import Workload, input_type
from engineworks.ops._product_types import product_dtype
from engineworks.ops.conv import Conv

MAX_VARIANTS = 40
EXACT_F32 = 1 << 24
"""Integers up to here are f32 numbers."""


class CpuDepthwise:
    """Convolutions with one input and one output channel a group, over at most two axes, with sums in f32 or i32."""

    name = "cpu.depthwise"
    version = 2

    def propose(self, work: Workload, isa: Isa, effort: Effort) -> Iterable[Tactic]:
        """Tiles by predicted time.

        Raises:
            NoTactic: not depthwise, another dtype, or channels that are not innermost in memory.
        """
        g = _geometry(work)
        finish_of(work)
        small = g.kernel[1] * g.kernel[2] <= MAX_UNROLLED_TAPS
        shapes = [(1, 4), (1, 8), (2, 4), (1, 7), (2, 7), (4, 4), (1, 14), (2, 2), (4, 2), (1, 2)]
        registers = isa.registers - 2 - min(g.kernel[1] * g.kernel[2], HELD_TAPS)
        configs = (
            [DepthwiseConfig(h, w) for h, w in shapes if h * w <= registers and _is_unrollable(g, h, w)]
            if small
            else []
        )
        configs = configs or [DepthwiseConfig(1, w, "rows") for w in (4, 8, 2)]
        seen = [Tactic(self.name, c, _seconds(g, isa, c)) for c in configs]
        seen.sort(key=lambda t: t.predicted_s)
        return seen[: (1, 2, 3, 6, 10, 16)[effort]]

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        """One step: all channels of some output pixels are a task."""
        g, end, parts = _geometry(work), finish_of(work), ImageParts()
        config: DepthwiseConfig = tactic.config
        filters = (
            parts.pack(lambda values: pack_taps(values, isa.lanes))
            if _constant(work)
            else _pack_step(parts, g, isa)
        )
        f = Function("depthwise")
        kernel = DepthwiseKernel(f, isa, g, config, work, end, Words(f), filters)
        tasks = kernel.static(parts) if config.borders == "static" else kernel.rows()
        parts.step("depthwise", f, kernel.arguments, tasks)
        return parts.image()


def _geometry(work: Workload) -> Geometry:
    g = geometry_of(work)
    if g.groups != g.channels or g.outputs != g.channels or g.kernel[0] != 1 or g.before[0] != 0:
        raise NoTactic(f"{work.anchor} is not depthwise over at most two axes")
    if g.channels == 1:
        raise NoTactic("a single channel leaves nothing to vectorise over")
    if pixel_strides(input_type(work, 0)) is None:
        raise NoTactic(f"the input {input_type(work, 0)} does not have its channels innermost in memory")
    _require_exact_sums(work, g)
    return g


def _require_exact_sums(work: Workload, g: Geometry) -> None:
    """Raises NoTactic unless sums in f32 give the anchor's result."""
    x, w = input_type(work, 0).dtype, input_type(work, 1).dtype
    assert isinstance(work.anchor, Conv), f"{work.anchor} is not a convolution"
    total = product_dtype(x, w, work.anchor.out_dtype)
    largest = 1 if total.is_float else g.kernel[1] * g.kernel[2] << (x.bits + w.bits)
    if total not in (dtypes.f32, dtypes.i32) or x.bits > 32 or largest > EXACT_F32:
        raise NoTactic(f"sums of {g.kernel[1] * g.kernel[2]} products of {x} and {w} are not made in f32")
    if w is not dtypes.f32 and not _constant(work):
        raise NoTactic(f"filters of {w} that are computed at run time are not packed")


def _constant(work: Workload) -> bool:
    operand = work.inputs[1]
    return operand is not None and operand.constant


def _is_unrollable(g: Geometry, height: int, width: int) -> bool:
    return g.is_static and len(border_tiles(g, height, width)) <= MAX_VARIANTS


def pack_taps(values: Mapping[int, np.ndarray], lanes: int) -> np.ndarray:
    """[C, 1, kernel…] to [taps, C rounded up to registers], zeros beyond."""
    w = np.asarray(values[1], np.float32)
    flat = w.reshape(w.shape[0], -1).T
    return np.ascontiguousarray(np.pad(flat, [(0, 0), (0, -w.shape[0] % lanes)]))


def _pack_step(parts: ImageParts, g: Geometry, isa: Isa) -> Word:
    """Transpose filters that are computed at run time."""
    taps, padded = g.kernel[1] * g.kernel[2], -(-g.channels // isa.lanes) * isa.lanes
    target = parts.buffer(taps * padded * 4)
    f = Function("pack_taps")
    arguments = Words(f)
    source, out = arguments.pointer(Input(1)), arguments.pointer(target)
    with f.loop("%lo", "%hi") as tap, f.loop(0, padded) as channel:
        to = f.at(out, f.add(f.mul(tap, padded), channel), "float")
        f.line(f"store float 0.0, ptr {to}")
        with f.when(f.compare("slt", channel, g.channels)):
            value = f.value(f"load float, ptr {f.at(source, f.add(f.mul(channel, taps), tap), 'float')}")
            f.line(f"store float {value}, ptr {to}")
    parts.step("depthwise_pack", f, arguments, taps)
    return target


def _seconds(g: Geometry, isa: Isa, c: DepthwiseConfig) -> float:
    """Multiply-adds, loads and stores at two a cycle, tile by tile."""
    taps = g.kernel[1] * g.kernel[2]
    rows, columns = (c.height - 1) * g.strides[1] + g.kernel[1], (c.width - 1) * g.strides[2] + g.kernel[2]
    loads = rows * columns if taps <= HELD_TAPS else c.height * g.kernel[1] * columns
    pixels = c.height * c.width
    cycles = (
        max(pixels * taps / 2, loads / 2, taps * 4 / max(1, pixels / 2))
        + (taps if taps <= HELD_TAPS else 0) / 2
        + pixels
        + 4
    )
    tiles = -(-typical(g.out[1]) // c.height) * -(-typical(g.out[2]) // c.width) * typical(g.batch)
    slow = 1.1 if c.borders == "rows" else 1.0
    return slow * tiles * (cycles * -(-g.channels // isa.lanes) + 20) / CYCLES_PER_SECOND


PROVIDERS = (CpuDepthwise(),)
