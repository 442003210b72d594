"""What the families over positions share: which problems they take, orders of blocks, and the image around a kernel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from engineworks.codegen.llvm.function import Isa
from engineworks.core.dtypes import DType
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.conv import geometry_of, pixel_strides
from engineworks.kernels.cpu.conv_positions import PositionsPlan, Product, pack_filters, plan_of
from engineworks.kernels.cpu.conv_positions_emit import BlockConfig, Multiplier, emit_tiles
from engineworks.kernels.cpu.conv_positions_stage import stage_rows
from engineworks.kernels.cpu.image_parts import ImageParts
from engineworks.kernels.tactic import Input, KernelImage, Word
from engineworks.kernels.workload import Workload, input_type
from engineworks.ops._product_types import product_dtype
from engineworks.ops.conv import Conv


def operand_dtypes(work: Workload) -> tuple[DType, DType]:
    """Of x and of the filters of a convolution. Raises NoTactic for other ops."""
    if not isinstance(work.anchor, Conv):
        raise NoTactic(f"{work.anchor} is not a convolution")
    return input_type(work, 0).dtype, input_type(work, 1).dtype


def problem_of(work: Workload, product: Product) -> PositionsPlan:
    """The plan of a convolution by `product`.

    Raises:
        NoTactic: a result of another dtype, filters known at run time only, depthwise groups, no elements,
            or an output that does not have its channels innermost.
    """
    assert isinstance(work.anchor, Conv), f"{work.anchor} is not a convolution"
    x, w = input_type(work, 0), input_type(work, 1)
    total = product_dtype(x.dtype, w.dtype, work.anchor.out_dtype)
    if total is not product.sums:
        raise NoTactic(f"the sums are {product.sums}; {total} is asked for")
    filters = work.inputs[1]
    if filters is None or not filters.constant:
        raise NoTactic("filters that are computed at run time are not packed for tiles")
    g = geometry_of(work)
    if g.group_channels == g.group_outputs == 1 and g.groups > 1:
        raise NoTactic("depthwise convolutions would fill tiles with zeros")
    if 0 in (*g.out, g.batch, g.channels, g.outputs):
        raise NoTactic("there are no elements")
    return plan_of(g, x.dtype, product, channels_innermost=pixel_strides(x) is not None)


def orders(plan: PositionsPlan, base: BlockConfig) -> list[BlockConfig]:
    """The orders in which blocks and panels may meet."""
    if -(-plan.group_outputs // base.width) * plan.groups == 1:
        return [base]
    return [base, replace(base, together=0), replace(base, order="panels"), replace(base, together=4)]


def positions_image(
    work: Workload, plan: PositionsPlan, config: BlockConfig, isa: Isa, multiplier: Multiplier, prefix: str,
    parts: ImageParts | None = None,
) -> KernelImage:  # fmt: skip
    """[copy x], then the blocks. `parts` holds what `multiplier` asked for already."""
    parts = parts or ImageParts()
    filters = parts.pack(lambda values: pack_filters(np.asarray(values[1]), plan, config.width))
    source: Word = stage_rows(parts, input_type(work, 0), plan, isa) if plan.placed.copied else Input(0)
    emit_tiles(parts, work, plan, config, isa, source, filters, multiplier, prefix)
    return parts.image()
