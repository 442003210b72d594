"""One tile of query rows of the attention kernel by AMX: the sums of both products lie in the thread's scratch."""

from __future__ import annotations

from engineworks.codegen.llvm import amx
from engineworks.codegen.llvm.function import Size
from engineworks.codegen.llvm.loads import load_vector, splat
from engineworks.codegen.llvm.tile import Store, store_tile
from engineworks.core import dtypes
from engineworks.kernels.cpu.attention_rows import RowTile


class TileRows(RowTile):
    """As RowTile, with rows taken one after another between the products."""

    def _block(self) -> amx.TileBlock:
        product = amx.tile_product(dtypes.bf16, dtypes.bf16, self.isa)
        assert product is not None, "the form 'tiles' is for targets that have them"
        full, rest = divmod(self.rows, amx.TILE_ROWS)
        rows = (amx.TILE_ROWS,) * full + ((rest,) if rest else ())
        return amx.TileBlock(product, rows, self.kernel.config.vectors)

    def _configure(self) -> None:
        """Set the shapes unless the tile of rows before had them."""
        f, configured = self.f, self.kernel.configured
        with f.when(f.compare("ne", f.get("i64", configured), self.rows)):
            amx.configure(f, self._block())
            f.set("i64", configured, self.rows)

    # -- scores -----------------------------------------------------------------------------------------------
    def scores(self, first: Size, count: Size) -> None:
        """As RowTile's; the ends of the queries' rows are copied first."""
        f, kernel, query = self.f, self.kernel, self.kernel.operands["queries"]
        self._configure()
        depth = self._block().product.depth
        self.whole, self.rest = f.udiv(kernel.depth, depth), f.urem(kernel.depth, depth)
        self.a = f.at(kernel.base["queries"], f.mul(self.row, query.row))
        if self.rest != 0:
            end = f.at(self.a, f.mul(self.whole, amx.TILE_BYTES))
            ends = f.at("%scratch", kernel.scratch.ends)
            amx.copy_tail(f, self.rows, end, query.row, f.mul(self.rest, 2), ends)
        super().scores(first, count)

    def _panel_sums(self, first: Size, count: Size, panel: Size) -> list[list[str]]:
        f, kernel, block = self.f, self.kernel, self._block()
        query, keys = kernel.operands["queries"], kernel.operands["keys"]
        number = f.add(f.udiv(first, kernel.width), panel)
        b, group_bytes = f.at(kernel.base["keys"], f.mul(number, keys.panel)), kernel.width * 4
        tiles = [f.at(self.a, f.mul(start, query.row)) for start in block.firsts]
        amx.clear(f, block)
        amx.steps(f, block, self.whole, amx.Left(tiles, query.row), amx.Right(b, group_bytes))
        if self.rest != 0:
            ends = f.at("%scratch", kernel.scratch.ends)
            copies = [f.at(ends, start * amx.TILE_BYTES) for start in block.firsts]
            last = f.at(b, f.mul(self.whole, amx.TILE_ROWS * group_bytes))
            amx.steps(f, block, 1, amx.Left(copies, amx.TILE_BYTES), amx.Right(last, group_bytes))
        at = f.at("%scratch", f.mul(panel, kernel.width * 4))
        amx.save(f, block, at, kernel.scratch.stride)
        return []

    def _keep_scores(self, sums: list[list[str]], first: Size, column: Size, left: Size | None) -> None:
        f, scratch = self.f, self.kernel.scratch
        with f.loop(0, self.rows) as r:
            row = f.at("%scratch", f.add(f.mul(r, scratch.stride), f.mul(column, 4)))
            loaded = [
                load_vector(f, self.lanes, dtypes.f32, f.at(row, j * self.lanes * 4))
                for j in range(self.kernel.config.vectors)
            ]
            self._keep_row(loaded, r, first, column, left)

    # -- results ----------------------------------------------------------------------------------------------
    def results(self, first: Size, *, carried: bool) -> None:
        """Weights times values, added to the carried results or to nothing, in the scratch."""
        f, kernel, scratch, block = self.f, self.kernel, self.kernel.scratch, self._block()
        values = kernel.operands["values"]
        weights = [f.at("%scratch", start * scratch.stride) for start in block.firsts]
        # The weights of keys that are not there are zeros up to whole panels, as are their packed values.
        count = f.mul(self.panels, kernel.width // block.product.depth)
        group_bytes = kernel.value_width * 4
        for column in range(0, kernel.problem.value_width, kernel.value_width):
            panel = f.mul(column // kernel.value_width, values.panel)
            start = f.mul(f.udiv(first, block.product.group), group_bytes)
            b = f.at(kernel.base["values"], f.add(panel, start))
            at = f.at(self._slot(scratch.results, scratch.result_row), column * 4)
            if carried:
                amx.resume(f, block, at, scratch.result_row)
            else:
                amx.clear(f, block)
            amx.steps(f, block, count, amx.Left(weights, scratch.stride), amx.Right(b, group_bytes))
            amx.save(f, block, at, scratch.result_row)
        if not carried:
            self.finish()

    def finish(self) -> None:
        """Results divided by the sums of their weights, stored."""
        f, kernel, scratch = self.f, self.kernel, self.kernel.scratch
        out, width = kernel.operands["out"], kernel.problem.value_width
        with f.loop(0, self.rows) as r:
            total = load_vector(f, self.lanes, dtypes.f32, self._slot(scratch.sums, 4, r), broadcast=True)
            inverse = f.value(f"fdiv {self.vector} {splat(f, self.lanes, 'float', '1.0')}, {total}")
            source = self._slot(scratch.results, scratch.result_row, r)
            values = []
            for column in range(0, width, self.lanes):
                value = load_vector(f, self.lanes, dtypes.f32, f.at(source, column * 4))
                values.append(f.value(f"fmul {self.vector} {value}, {inverse}"))
            at = f.at(kernel.base["out"], f.mul(f.add(self.row, r), out.row))
            store_tile(f, self.isa, [values], Store(at, (0,), out.dtype, width, self._rounded()))
