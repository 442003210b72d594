"""Transposed convolutions of bf16, f16 and bytes: the phases of the stride (`conv_transpose.py`) over positions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from engineworks.codegen.llvm import amx
from engineworks.codegen.llvm.function import Isa
from engineworks.codegen.llvm.multiply import Multiply, multiplies
from engineworks.core import dtypes
from engineworks.core.dtypes import DType
from engineworks.errors import NoTactic
from engineworks.kernels.cpu import conv_amx, conv_dot
from engineworks.kernels.cpu.conv import pixel_strides
from engineworks.kernels.cpu.conv_epilogue import finish_of
from engineworks.kernels.cpu.conv_positions import PositionsPlan, Product, pack_filters, plan_of
from engineworks.kernels.cpu.conv_positions_emit import BlockConfig, emit_tiles
from engineworks.kernels.cpu.conv_positions_stage import stage_rows
from engineworks.kernels.cpu.conv_transpose import Phase, phase_filters, phases_of
from engineworks.kernels.cpu.image_parts import ImageParts
from engineworks.kernels.tactic import Effort, Input, KernelImage, Tactic, Word
from engineworks.kernels.workload import Workload, input_type
from engineworks.ops._product_types import product_dtype
from engineworks.ops.conv_transpose import ConvTranspose

TILES = "tiles"


@dataclass(frozen=True, slots=True)
class NarrowTransposeConfig:
    """`form`: 'tiles' of AMX or that of a `Multiply`; `rank`: which block of each phase, by predicted time."""

    form: str
    rank: int


@dataclass(frozen=True, slots=True)
class _Way:
    """How a phase may be multiplied, and its blocks by predicted time."""

    plan: PositionsPlan
    how: amx.TileProduct | Multiply
    blocks: list[tuple[float, BlockConfig]]

    def at(self, rank: int) -> tuple[float, BlockConfig]:
        return self.blocks[min(rank, len(self.blocks) - 1)]


class CpuConvTransposeNarrow:
    """Transposed convolutions of narrow floats and bytes with constant filters, every output reached by a tap."""

    name = "cpu.conv_transpose_narrow"
    version = 1

    def propose(self, work: Workload, isa: Isa, effort: Effort) -> Iterable[Tactic]:
        """Ways to multiply, each with its best blocks.

        Raises:
            NoTactic: not such an op, f32 by f32, no way to multiply, outputs that no tap reaches, or what
                `phases_of` refuses.
        """
        phases = _phases(work)
        finish_of(work)
        seen: list[Tactic] = []
        for form in _forms(work, isa):
            ways = [_way(work, phase, form, isa) for phase in phases]
            for rank in range((1, 1, 2, 3, 4, 6)[effort]):
                seconds = sum(way.at(rank)[0] for way in ways)
                seen.append(Tactic(self.name, NarrowTransposeConfig(form, rank), seconds))
        seen.sort(key=lambda t: t.predicted_s)
        return seen[: (1, 1, 2, 3, 4, 8)[effort]]

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        """For each phase [copy x], then its blocks."""
        config: NarrowTransposeConfig = tactic.config
        parts = ImageParts()
        for phase in _phases(work):
            _phase_steps(parts, work, phase, config, isa)
        return parts.image()


def _phase_steps(
    parts: ImageParts, work: Workload, phase: Phase, config: NarrowTransposeConfig, isa: Isa
) -> None:
    way = _way(work, phase, config.form, isa)
    plan, (_, blocks) = way.plan, way.at(config.rank)

    def filters(values: Mapping[int, np.ndarray]) -> np.ndarray:
        return phase_filters(np.asarray(values[1]), phase.taps, phase.geometry.groups)

    packed = parts.pack(lambda values: pack_filters(filters(values), plan, blocks.width))
    if isinstance(way.how, Multiply):
        start = None
        if way.how.flips_left:
            start = parts.pack(lambda values: conv_dot.flipped_start(filters(values), plan, blocks.width))
        multiplier = conv_dot.RegisterMultiplier(isa, way.how, plan, blocks, start)
    else:
        multiplier = conv_amx.TileMultiplier(way.how, plan, blocks)
    source: Word = stage_rows(parts, input_type(work, 0), plan, isa) if plan.placed.copied else Input(0)
    emit_tiles(parts, work, plan, blocks, isa, source, packed, multiplier, "conv_transpose")


def _operands(work: Workload) -> tuple[DType, DType, DType]:
    """Of x, the filters and the result."""
    op = work.anchor
    if not isinstance(op, ConvTranspose):
        raise NoTactic(f"{op} is not a transposed convolution")
    x, w = input_type(work, 0).dtype, input_type(work, 1).dtype
    return x, w, product_dtype(x, w, op.out_dtype)


def _phases(work: Workload) -> list[Phase]:
    x, w, _ = _operands(work)
    if x is w is dtypes.f32:
        raise NoTactic("f32 by f32 is for the other family")
    phases = phases_of(work)
    if any(not taps for phase in phases for taps in phase.taps):
        raise NoTactic("there are outputs that no tap reaches")
    return phases


def _forms(work: Workload, isa: Isa) -> list[str]:
    x, w, total = _operands(work)
    product = amx.tile_product(x, w, isa)
    found = [TILES] if product is not None and product.sums is total else []
    found += [m.form for m in conv_dot.panel_multiplies(x, w, isa) if m.sums is total]
    if not found:
        raise NoTactic(f"nothing multiplies {x} by {w} to {total}")
    return found


def _way(work: Workload, phase: Phase, form: str, isa: Isa) -> _Way:
    x, w, _ = _operands(work)
    innermost = pixel_strides(input_type(work, 0)) is not None
    if form == TILES:
        tiles = amx.tile_product(x, w, isa)
        assert tiles is not None, "the form was proposed for a target with tiles"
        plan = plan_of(
            phase.geometry, x, Product(x, w, tiles.sums, amx.TILE_BYTES), channels_innermost=innermost
        )
        found = [(conv_amx.seconds(plan, work, c), c) for c in conv_amx.configs_of(plan)]
        return _Way(plan, tiles, sorted(found, key=lambda each: each[0]))
    how = next(m for m in multiplies(x, w, isa, right_constant=True) if m.form == form)
    plan = plan_of(phase.geometry, x, Product(how.left, how.right, how.sums), channels_innermost=innermost)
    found = [(conv_dot.seconds(plan, how, work, c, isa), c) for c in conv_dot.configs_of(plan, isa)]
    return _Way(plan, how, sorted(found, key=lambda each: each[0]))


PROVIDERS = (CpuConvTransposeNarrow(),)
