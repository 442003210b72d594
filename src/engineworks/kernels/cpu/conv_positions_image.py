"""What the families over positions share: which problems they take, orders of blocks, and the image around a kernel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from engineworks.codegen.llvm.function import Isa
from engineworks.core.dtypes import DType
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.conv import geometry_of, known, pixel_strides
from engineworks.kernels.cpu.conv_cost import typical
from engineworks.kernels.cpu.conv_positions import PositionsPlan, Product, banded, pack_filters, plan_of
from engineworks.kernels.cpu.conv_positions_emit import BlockConfig, Multiplier, emit_tiles
from engineworks.kernels.cpu.conv_positions_stage import stage_rows
from engineworks.kernels.cpu.image_parts import ImageParts
from engineworks.kernels.tactic import Input, KernelImage, Word
from engineworks.kernels.workload import Workload, input_type
from engineworks.ops._product_types import product_dtype
from engineworks.ops.conv import Conv

COPY_BYTES = 1 << 20
"""Copies up to this size stay in the second cache until they are read."""
BAND_BYTES = 3 << 18
NEAR_BYTES_PER_CYCLE = 12
FAR_BYTES_PER_CYCLE = 5


def operand_dtypes(work: Workload) -> tuple[DType, DType]:
    """Of x and of the filters of a convolution. Raises NoTactic for other ops."""
    if not isinstance(work.anchor, Conv):
        raise NoTactic(f"{work.anchor} is not a convolution")
    return input_type(work, 0).dtype, input_type(work, 1).dtype


def problem_of(work: Workload, product: Product, *, copies: bool = False) -> PositionsPlan:
    """The plan of a convolution by `product`; `copies` even what could be read in place.

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
    return plan_of(g, x.dtype, product, channels_innermost=pixel_strides(x) is not None, copies=copies)


def orders(plan: PositionsPlan, base: BlockConfig) -> list[BlockConfig]:
    """The orders in which blocks and panels may meet, and x may be copied."""
    out = [base]
    if -(-plan.group_outputs // base.width) * plan.groups > 1:
        out += [replace(base, together=0), replace(base, order="panels"), replace(base, together=4)]
    band = band_rows(plan)
    if band:
        out += [replace(c, band=band) for c in out if c.order == "positions"]
    return out


def band_rows(plan: PositionsPlan) -> int:
    """Output rows whose part of x fits the second cache; 0 where all of x does, or sizes are not known."""
    p, g = plan.placed, plan.g
    flat = p.depth.whole == 1 and g.out[0] == 1
    if not (p.copied and flat and isinstance(p.image_bytes, int) and p.image_bytes > COPY_BYTES):
        return 0
    reach = known(p.height.size) - known(g.out[1])
    row = p.height.phases * known(p.row_bytes)
    rows = BAND_BYTES // row - reach
    bands = -(-known(g.out[1]) // max(rows, 1))
    return -(-known(g.out[1]) // bands) if rows > 2 * reach else 0


def copy_cycles(plan: PositionsPlan, config: BlockConfig) -> float:
    """Predicted for the copy of x, with reading it again."""
    p, g = plan.placed, plan.g
    images = typical(g.batch)
    if config.band:
        bands = -(-known(g.out[1]) // config.band)
        return (
            images
            * bands
            * (100 + known(banded(plan, config.band).placed.image_bytes) / NEAR_BYTES_PER_CYCLE)
        )
    far = typical(p.image_bytes) > COPY_BYTES
    return 500 + images * typical(p.image_bytes) / (FAR_BYTES_PER_CYCLE if far else NEAR_BYTES_PER_CYCLE)


def positions_image(
    work: Workload, plan: PositionsPlan, config: BlockConfig, isa: Isa, multiplier: Multiplier, prefix: str,
    parts: ImageParts | None = None,
) -> KernelImage:  # fmt: skip
    """[copy x], then the blocks. `parts` holds what `multiplier` asked for already."""
    parts = parts or ImageParts()
    filters = parts.pack(lambda values: pack_filters(np.asarray(values[1]), plan, config.width))
    source: Word = Input(0)
    if config.band:
        plan = banded(plan, config.band)
    elif plan.placed.copied:
        source = stage_rows(parts, input_type(work, 0), plan, isa)
    emit_tiles(parts, work, plan, config, isa, source, filters, multiplier, prefix)
    return parts.image()
