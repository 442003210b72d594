"""The kernel of convolutions over positions: blocks of tiles by output channels, and the epilogue on their sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from engineworks.codegen.llvm.function import Function, Isa, Size
from engineworks.codegen.llvm.loads import load_vector, store_vector
from engineworks.codegen.llvm.stored import emit_stored
from engineworks.codegen.llvm.tile import TileOperand, by_columns, column_mask
from engineworks.core.dims import Dim, ceil_div
from engineworks.kernels.cpu.conv import known, ranges
from engineworks.kernels.cpu.conv_epilogue import finish_of, outputs_of, tile_operands
from engineworks.kernels.cpu.conv_positions import PositionsPlan, byte_offsets, step_table
from engineworks.kernels.cpu.conv_positions_stage import RowCopy
from engineworks.kernels.cpu.image_parts import ImageParts
from engineworks.kernels.cpu.words import Words
from engineworks.kernels.tactic import Word
from engineworks.kernels.workload import Workload, input_type


@dataclass(frozen=True, slots=True)
class BlockConfig:
    """One way to run over blocks.

    Attributes:
        rows: positions of a tile.
        row_tiles: tiles of a block along positions.
        width: output channels of a panel.
        order: what threads share out: 'positions' (each runs all panels over its blocks) or 'panels'.
        together: blocks that stay in cache while all panels pass over them; 0: all of a thread's.
        band: output rows whose part of x is copied just before they are computed, by who computes them; 0: a step of
            its own copies all of x.
    """

    rows: int
    row_tiles: int
    width: int
    order: Literal["positions", "panels"] = "positions"
    together: int = 1
    band: int = 0

    @property
    def height(self) -> int:
        """Positions of a block."""
        return self.rows * self.row_tiles


@dataclass(frozen=True, slots=True)
class BlockOperands:
    """A block that is to be multiplied.

    Attributes:
        tiles: address of each tile's first position.
        position_bytes: between positions.
        filters: address of the panel: step by step its k groups, each of `width` columns.
        panel: its number.
        offsets: address of the bytes from a position to each step, i64.
        saved: where the sums go, rows of `width` 4-byte numbers.
    """

    tiles: Sequence[str]
    position_bytes: int
    filters: str
    panel: Size
    offsets: str
    saved: str


class Multiplier(Protocol):
    """How a block is multiplied."""

    def begin(self, f: Function, words: Words) -> None:
        """Once, at the start of the kernel."""
        ...

    def multiply(self, f: Function, operands: BlockOperands) -> None:
        """The k loop over a block, and its sums saved."""
        ...

    def end(self, f: Function) -> None:
        """Once, at the end."""
        ...


def emit_tiles(
    parts: ImageParts, work: Workload, plan: PositionsPlan, config: BlockConfig, isa: Isa,
    source: Word, filters: Word, multiplier: Multiplier, prefix: str,
) -> None:  # fmt: skip
    """Append the step that multiplies; `prefix` begins the kernel's name. With bands the plan is that of one."""
    f = Function(prefix)
    kernel = _Kernel(f, isa, work, plan, config, parts, source, filters, multiplier)
    tasks = kernel.emit()
    parts.step(prefix, f, kernel.arguments, tasks)


class _Kernel:
    """One kernel while it is emitted."""

    def __init__(
        self, f: Function, isa: Isa, work: Workload, plan: PositionsPlan, config: BlockConfig,
        parts: ImageParts, source: Word, filters: Word, multiplier: Multiplier,
    ) -> None:  # fmt: skip
        self.f, self.isa, self.plan, self.config, self.multiplier = f, isa, plan, config, multiplier
        self.end = end = finish_of(work)
        self.arguments = arguments = Words(f)
        self.x = "%scratch" if config.band else arguments.pointer(source)
        self.w = arguments.pointer(filters)
        self.outputs = outputs_of(arguments, work, end)
        g, placed = plan.g, plan.placed
        self.in_place = not placed.copied
        self.is_flat = self.in_place and g.writes_pixels
        self.slices: Dim = 1 if self.in_place else g.batch * g.out[0]
        self.positions, self.pitch = arguments.size(placed.positions), arguments.size(placed.pitch)
        self.blocks_dim: Dim = ceil_div(placed.positions, config.height)
        self.blocks = arguments.size(self.blocks_dim)
        self.slice_count = arguments.size(self.slices)
        self.depths, self.down, self.across = arguments.sizes(g.out)
        self.plane_bytes = arguments.size(placed.plane_bytes)
        self.image_bytes = arguments.size(placed.image_bytes)
        self.y_strides = arguments.sizes(g.y_strides)
        self.y_pixel, self.y_first = known(g.y_strides[3]), arguments.size(g.y_first)
        self.panels = -(-plan.group_outputs // config.width)
        self.steps = self._step_offsets(parts)
        self.saved = f.variable(f"[{config.height * config.width} x i32]")
        self.band_shift: Size = 0
        if config.band:
            self.copy = RowCopy(f, isa, input_type(work, 0), plan, arguments)
            parts.scratch_bytes = max(parts.scratch_bytes, known(placed.image_bytes))
        multiplier.begin(f, arguments)

    def _step_offsets(self, parts: ImageParts) -> str:
        """Address of the bytes from a position to each step of its k loop."""
        table, f = step_table(self.plan), self.f
        if all(isinstance(d, int) for d in (self.plan.placed.row_bytes, self.plan.placed.plane_bytes)):
            offsets = byte_offsets(self.plan, table)
            return self.arguments.pointer(parts.pack(lambda _: offsets))
        rows = self.arguments.pointer(parts.pack(lambda _: table))
        placed = self.plan.placed
        depth_size, row_size = self.arguments.sizes((placed.depth.size, placed.height.size))
        row_bytes = self.arguments.size(placed.row_bytes)
        found = f.variable(f"[{len(table)} x i64]")
        with f.loop(0, len(table)) as step:
            at = f.at(rows, f.mul(step, 40))
            word = [f.value(f"load i64, ptr {f.at(at, 8 * k)}") for k in range(5)]
            depth = f.mul(f.add(f.mul(word[0], depth_size), word[1]), self.plane_bytes)
            row = f.mul(f.add(f.mul(word[2], row_size), word[3]), row_bytes)
            total = f.add(f.add(depth, row), word[4])
            f.line(f"store i64 {total}, ptr {f.at(found, f.mul(step, 8))}")
        return found

    # -- the task space -----------------------------------------------------------------------------------------
    def emit(self) -> Dim:
        """The loops over panels, slices and blocks; the size of the task space."""
        f, config = self.f, self.config
        panels = self.panels * self.plan.groups
        if config.band:
            return self._bands(panels)
        each = f.mul(self.slice_count, self.blocks)
        if config.order == "panels":
            with f.loop(f.udiv("%lo", each), f.ceil_div("%hi", each)) as panel:
                start = f.mul(panel, each)
                low, high = f.smax(f.sub("%lo", start), 0), f.smin(f.sub("%hi", start), each)
                with ranges(f, low, high, self.slices, self.blocks) as (number, first, end):
                    self._blocks(number, first, end, panel, panel)
        else:
            with ranges(f, "%lo", "%hi", self.slices, self.blocks) as (number, first, end):
                self._chunks(number, first, end, panels)
        self.multiplier.end(f)
        tasks = self.slices * self.blocks_dim
        return tasks * panels if config.order == "panels" else tasks

    def _bands(self, panels: int) -> Dim:
        """A task copies the rows of x that a band needs, and computes the band."""
        f, g, config = self.f, self.plan.g, self.config
        bands = -(-known(g.out[1]) // config.band)
        with ranges(f, "%lo", "%hi", g.batch, bands) as (image, first, end), f.loop(first, end) as band:
            start = f.mul(band, config.band)
            with f.loop(0, known(self.plan.placed.height.whole)) as row:
                self.copy.row(self.x, image, 0, row, start)
            rows = f.smin(f.sub(g.out[1], start), config.band)  # type: ignore[arg-type]
            self.positions = f.add(f.mul(f.sub(rows, 1), self.pitch), self.across)
            self.band_shift = f.add(f.mul(image, self.y_strides[0]), f.mul(start, self.y_strides[2]))
            self._chunks(0, 0, f.ceil_div(self.positions, config.height), panels)
        self.multiplier.end(f)
        return g.batch * bands

    def _chunks(self, number: Size, first: Size, end: Size, panels: int) -> None:
        f, together = self.f, self.config.together
        if not together or panels == 1:
            self._blocks(number, first, end, 0, panels)
            return
        with f.loop(first, end, together) as start:
            self._blocks(number, start, f.smin(f.add(start, together), end), 0, panels)

    def _blocks(self, number: Size, first: Size, end: Size, panel: Size, panels: Size) -> None:
        """Blocks [first, end) of a slice with the panel, or with all of `panels` (an int)."""
        f = self.f
        if panel != 0 or panels == 1:
            with f.loop(first, end) as block:
                self._tiles(number, block, panel)
            return
        with f.loop(0, panels) as one, f.loop(first, end) as block:
            self._tiles(number, block, one)

    # -- one block ----------------------------------------------------------------------------------------------
    def _tiles(self, number: Size, block: Size, panel: Size) -> None:
        f, plan, config = self.f, self.plan, self.config
        group, within = (
            (0, panel) if plan.groups == 1 else (f.udiv(panel, self.panels), f.urem(panel, self.panels))
        )
        column = f.mul(within, config.width)
        channel = f.add(f.mul(group, plan.group_outputs), column)
        image, depth = f.udiv(number, self.depths), f.urem(number, self.depths)
        x = f.mul(group, plan.group_channels * plan.element_bytes)
        y = f.add(f.add(channel, self.y_first), self.band_shift)
        if not self.in_place:
            x = f.add(x, f.add(f.mul(image, self.image_bytes), f.mul(depth, self.plane_bytes)))
            y = f.add(y, f.add(f.mul(image, self.y_strides[0]), f.mul(depth, self.y_strides[1])))
        first = f.mul(block, config.height)
        wanted = [f.add(first, k * config.rows) for k in range(config.row_tiles)]
        starts = [self._start(q) for q in wanted]
        base = f.at(self.x, x)
        self._multiply([f.at(base, f.mul(s, plan.placed.position_bytes)) for s in starts], panel)

        def store(count: Size | None) -> None:
            for k, (start, q) in enumerate(zip(starts, wanted, strict=True)):
                self._store(k, start, f.sub(q, start), (y, channel), count)

        by_columns(f, config.width, f.sub(plan.group_outputs, column), plan.group_outputs, store)

    def _start(self, position: Size) -> Size:
        """Where a tile begins: in place it must not read beyond x, so the last one reaches back."""
        if not self.in_place:
            return position
        return self.f.smin(position, self.f.sub(self.positions, self.config.rows))

    def _multiply(self, tiles: Sequence[str], panel: Size) -> None:
        f, plan = self.f, self.plan
        filters = f.at(self.w, f.mul(panel, plan.panel_bytes(self.config.width)))
        pixel = plan.placed.position_bytes
        self.multiplier.multiply(f, BlockOperands(tiles, pixel, filters, panel, self.steps, self.saved))

    # -- the epilogue -------------------------------------------------------------------------------------------
    def _store(
        self, tile: int, start: Size, skip: Size, place: tuple[Size, Size], count: Size | None
    ) -> None:
        """Rows `skip` … of a tile whose row 0 is position `start`, without positions that are no outputs.

        Args:
            place: the output element of position 0 in this panel's first channel, and that channel.
            count: channels that exist, None for all.
        """
        f = self.f
        rows = _Rows(self, tile, place, count)
        if self.is_flat:
            with f.loop(skip, self.config.rows) as row:
                rows.store(row, f.mul(f.add(start, row), self.y_pixel))
            return
        row_variable = f.variable("i64", skip)
        limit = f.smin(f.sub(self.positions, start), self.config.rows)
        head, inside, end = f.fresh("run"), f.fresh("runs"), f.fresh("ran")
        f.line(f"br label %{head}")
        f.label(head)
        row = f.get("i64", row_variable)
        f.line(f"br i1 {f.compare('slt', row, limit)}, label %{inside}, label %{end}")
        f.label(inside)
        position = f.add(start, row)
        line = f.udiv(position, self.pitch)
        begin = f.mul(line, self.pitch)
        stop = f.smin(f.sub(f.add(begin, self.across), start), limit)
        element = f.sub(self._line(line), f.mul(f.sub(begin, start), self.y_pixel))
        with f.loop(row, stop) as each:
            rows.store(each, f.add(element, f.mul(each, self.y_pixel)))
        f.set("i64", row_variable, f.sub(f.add(begin, self.pitch), start))
        f.line(f"br label %{head}")
        f.label(end)

    def _line(self, line: Size) -> Size:
        """Elements from a slice's first output to the first one of row `line`; in place the slice is everything."""
        f, (image, depth, row, _) = self.f, self.y_strides
        if not self.in_place:
            return f.mul(line, row)
        plane, within = f.udiv(line, self.down), f.urem(line, self.down)
        planes = f.add(f.mul(f.udiv(plane, self.depths), image), f.mul(f.urem(plane, self.depths), depth))
        return f.add(planes, f.mul(within, row))


class _Rows:
    """Rows of one tile on their way to the output."""

    def __init__(self, kernel: _Kernel, tile: int, place: tuple[Size, Size], count: Size | None) -> None:
        self.kernel, self.tile, self.place = kernel, tile, place
        f, lanes, width = kernel.f, kernel.isa.lanes, kernel.config.width
        vectors = width // lanes if not isinstance(count, int) else -(-count // lanes)
        self.masks = [column_mask(f, lanes, count, j) for j in range(vectors)]
        given = tile_operands(f, kernel.outputs.operands, kernel.end, 0, place[1])
        self.operands = [[self._fixed(o, j) for o in given] for j in range(vectors)]

    def _fixed(self, operand: TileOperand, j: int) -> str | TileOperand:
        """The vector of an operand that is the same for all rows, else the operand."""
        f, lanes = self.kernel.f, self.kernel.isa.lanes
        if operand.kind == "channel":
            at = f.at(operand.pointer, j * lanes * operand.dtype.size_bytes)
            return load_vector(f, lanes, operand.dtype, at, self.masks[j])
        if operand.kind == "scalar":
            return load_vector(f, lanes, operand.dtype, operand.pointer, None, broadcast=True)
        return operand

    def store(self, row: Size, element: Size) -> None:
        """Saved row `row` to `element` elements behind the slice's first."""
        kernel, f, lanes = self.kernel, self.kernel.f, self.kernel.isa.lanes
        width, out = kernel.config.width, kernel.outputs
        sums = f.at(kernel.saved, f.mul(f.add(row, self.tile * kernel.config.rows), width * 4))
        first = f.add(self.place[0], element)
        for j, mask in enumerate(self.masks):
            at = f.add(first, j * lanes)
            value = load_vector(f, lanes, kernel.plan.product.sums, f.at(sums, j * lanes * 4), align=64)
            if kernel.end.expression is not None:
                arguments = [value, *(self._argument(o, at, mask) for o in self.operands[j])]
                value = emit_stored(f, kernel.isa, kernel.end.expression, arguments)
            pointer = f.value(f"getelementptr i8, ptr {out.y}, i64 {f.mul(at, out.dtype.size_bytes)}")
            store_vector(f, lanes, out.dtype, pointer, value, mask)

    def _argument(self, operand: str | TileOperand, element: Size, mask: str | None) -> str:
        if isinstance(operand, str):
            return operand
        f = self.kernel.f
        at = f.mul(element, operand.dtype.size_bytes)
        pointer = f.value(f"getelementptr i8, ptr {operand.pointer}, i64 {at}")
        return load_vector(f, self.kernel.isa.lanes, operand.dtype, pointer, mask)
