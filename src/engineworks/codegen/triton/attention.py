"""Attention as Triton text: one program for a block of query rows of one head.

The scores of a row either go by in blocks of keys with a running maximum ('flash'), are all held at once ('whole'), or
are shared between programs whose partial results a second kernel joins ('split').
"""

from __future__ import annotations

from engineworks.codegen.triton.attention_parameters import Parameters
from engineworks.codegen.triton.attention_shape import (
    LOG2_E,
    SPELLINGS,
    AttentionShape,
    AttentionTiles,
    Strided,
    parts_of,
    zeros_where_no_keys,
)
from engineworks.codegen.triton.lines import Lines
from engineworks.core.dims import Dim, bounds
from engineworks.core.dtypes import f32

FEW_BLOCKS = 8
"""Up to so many blocks of keys, asking of every key whether it is there costs less than a second loop."""


class AttentionText:
    """Writes the kernel of one shape and tiling; `parameters` has its arguments afterwards."""

    def __init__(self, shape: AttentionShape, tiles: AttentionTiles) -> None:
        self.shape, self.tiles = shape, tiles
        self.parameters = p = Parameters()
        self.lines = Lines(1)
        self.depth_parts, self.width_parts = parts_of(shape.depth), parts_of(shape.width)
        for name, operand in self._operands():
            p.pointer(name, shape.dtype, operand.word)
        if tiles.form == "split":
            assert shape.partials is not None, "the form 'split' wants workspaces"
            for name, word in zip(("sums", "tops", "totals"), shape.partials, strict=True):
                p.pointer(name, f32, word)
        self.queries, self.keys, self.past = p.size(shape.queries), p.size(shape.keys), p.size(shape.past)
        self.element = SPELLINGS[shape.dtype.name]

    def _operands(self) -> list[tuple[str, Strided]]:
        s = self.shape
        named = [("q", s.q), ("k", s.k), ("v", s.v)]
        if s.mask is not None:
            named.append(("mask", s.mask))
        return named if self.tiles.form == "split" else [*named, ("out", s.out)]

    # -- the kernel ---------------------------------------------------------------------------------------------
    def text(self) -> str:
        """The function, called KERNEL."""
        self._place()
        self.lines.line("gdc_wait()\ngdc_launch_dependents()")
        self._columns()
        if self.tiles.form == "whole":
            self._whole()
        else:
            self._queries()
            self._blocks()
        if self.tiles.form == "split":
            self._store_partials()
        else:
            self._store()
        return f"@triton.jit\ndef KERNEL({self.parameters.names}):\n{self.lines}"

    def _place(self) -> None:
        """Which rows of which head, and where its operands begin."""
        let, shape, tiles = self.lines.line, self.shape, self.tiles
        folded = self._folds
        self.rows = f"{self.queries} * {shape.sharing}" if folded else self.queries
        let(f"place = tl.program_id(0)\nblocks = tl.cdiv({self.rows}, {tiles.rows})")
        if tiles.form == "split":
            let(f"split = place % {tiles.splits}\nplace = place // {tiles.splits}")
        let("block = place % blocks\nline = place // blocks")
        if shape.causal and not folded:
            let("block = blocks - 1 - block  # those that see most keys start first")
        heads = self.parameters.size(shape.shared_heads if folded else shape.heads)
        let(f"head = (line % {heads}).to(tl.int64)\nrest = line // {heads}")
        batch = dict(self._operands())
        for axis in reversed(range(len(shape.batch))):
            if axis == 0:
                let("batch0 = rest.to(tl.int64)")
            else:
                size = self.parameters.size(shape.batch[axis])
                let(f"batch{axis} = (rest % {size}).to(tl.int64)\nrest = rest // {size}")
        shared = "head" if folded or shape.sharing == 1 else f"(head // {shape.sharing})"
        own = f"(head * {shape.sharing})" if folded and shape.sharing > 1 else "head"
        for name, operand in batch.items():
            index = shared if name in "kv" else own
            terms = [f"{index} * {self._stride(operand.head)}"] if operand.head != 0 else []
            terms += [
                f"batch{axis} * {self._stride(step)}" for axis, step in enumerate(operand.batch) if step != 0
            ]
            let(f"{name} = {' + '.join([name, *terms])}")
        let(f"row = block * {tiles.rows} + tl.arange(0, {tiles.rows})")
        let(f"there = row < {self.rows}")
        if folded:
            let(f"query = row % {self.queries}\ntwin = (row // {self.queries}).to(tl.int64)")
        else:
            let("query = row")

    @property
    def _folds(self) -> bool:
        """The heads that share keys are rows of one program."""
        return self.tiles.form == "split"

    def _stride(self, dim: Dim) -> str:
        return self.parameters.stride(dim)

    def _row_offsets(self, operand: Strided) -> str:
        """Elements from the operand's start to each row's."""
        text = f"query.to(tl.int64) * {self._stride(operand.row)}"
        return f"{text} + twin * {self._stride(operand.head)}" if self._folds and operand.head != 0 else text

    def _columns(self) -> None:
        """Numbers of the columns of keys and values."""
        for name, parts in (("depth", self.depth_parts), ("column", self.width_parts)):
            for n, (start, width) in enumerate(parts):
                self.lines.line(f"{name}{n} = {start} + tl.arange(0, {width})")

    def _queries(self) -> None:
        """Load the queries."""
        let, shape = self.lines.line, self.shape
        let(f"q_rows = q + ({self._row_offsets(shape.q)})")
        for n, (start, width) in enumerate(self.depth_parts):
            here = "there[:, None]" + self._fits(f"depth{n}[None, :]", start + width, shape.depth)
            offsets = f"depth{n}[None, :] * {self._stride(shape.q.column)}"
            let(f"q{n} = tl.load(q_rows[:, None] + {offsets}, mask={here}, other=0.0)")
        if shape.mask is not None:
            let(f"mask_rows = mask + ({self._row_offsets(shape.mask)})")

    @staticmethod
    def _fits(index: str, end: int, size: int) -> str:
        return f" & ({index} < {size})" if end > size else ""

    # -- keys in blocks -----------------------------------------------------------------------------------------
    def _blocks(self) -> None:
        let, shape, tiles = self.lines.line, self.shape, self.tiles
        let(f"top = tl.full([{tiles.rows}], float('-inf'), tl.float32)")
        let(f"total = tl.zeros([{tiles.rows}], tl.float32)")
        for n, (_, width) in enumerate(self.width_parts):
            let(f"sum{n} = tl.zeros([{tiles.rows}, {width}], tl.float32)")
        begin = self._range()
        let(f"k_at = k + {self._wide(begin)} * {self._stride(shape.k.row)}")
        let(f"v_at = v + {self._wide(begin)} * {self._stride(shape.v.row)}")
        let(f"span = tl.arange(0, {tiles.keys})")
        if not self._all_masked:
            with self.lines.block(f"for first in tl.range({begin}, full, {tiles.keys}):"):
                self._block(masked=False)
        if not self._always_full:
            begin = begin if self._all_masked else "full"
            with self.lines.block(f"for first in tl.range({begin}, end, {tiles.keys}):"):
                self._block(masked=True)

    @staticmethod
    def _wide(begin: str) -> str:
        return begin if begin == "0" else f"{begin}.to(tl.int64)"

    @property
    def _always_full(self) -> bool:
        """No block of keys is cut."""
        keys = self.shape.keys
        step = self.tiles.keys * self.tiles.splits
        return isinstance(keys, int) and keys % step == 0 and not self.shape.causal

    @property
    def _all_masked(self) -> bool:
        """Blocks are so few that asking of every key whether it is there costs less than a second loop, whose loads
        begin when the first has ended.
        """
        _, most = bounds(self.shape.keys)
        return not self._always_full and most is not None and most <= FEW_BLOCKS * self.tiles.keys

    def _range(self) -> str:
        """Define `full`, up to where blocks need no masks, and `end`; the first key's text."""
        let, tiles = self.lines.line, self.tiles
        let(f"end = {self.keys}")
        if self.shape.causal:
            last = self.queries if self._folds else f"tl.minimum({self.queries}, (block + 1) * {tiles.rows})"
            let(f"end = tl.maximum(tl.minimum(end, {self.past} + {last}), 0)")
        begin = "0"
        if tiles.form == "split":
            let(f"share = tl.cdiv(tl.cdiv({self.keys}, {tiles.keys}), {tiles.splits}) * {tiles.keys}")
            let("begin = tl.minimum(split * share, end)\nend = tl.minimum(begin + share, end)")
            begin = "begin"
        if self._all_masked:
            return begin
        let("full = end")
        if self.shape.causal:
            first = "0" if self._folds else f"block * {tiles.rows}"
            let(f"full = tl.maximum(tl.minimum(end, {self.past} + {first} + 1), {begin})")
        if not self._always_full:
            count = "full" if begin == "0" else "(full - begin)"
            let(f"full = {begin} + {count} // {tiles.keys} * {tiles.keys}")
        return begin

    def _block(self, *, masked: bool) -> None:
        """One block of keys from `first`, at k_at and v_at."""
        let, shape, tiles = self.lines.line, self.shape, self.tiles
        let("key = first + span")
        end = "end" if masked else None
        self._load_mask("extra", "key", end)
        self._load_keys("keys", "k_at", "key", "span", end)
        self._scores("score", "keys", "extra", "key", end)
        let(f"peak = tl.maximum(top, {self._peak('score')})")
        let("safe = tl.where(peak == float('-inf'), 0.0, peak)")
        let(f"weight = {self._power('score', 'safe[:, None]')}")
        let(f"shrink = {self._shrunk('top', 'safe')}")
        let("total = total * shrink + tl.sum(weight, 1)")
        let(f"near = weight.to({self.element})")
        for n, (start, width) in enumerate(self.width_parts):
            there = ["(key < end)[:, None]"] if masked else []
            let(f"value = {self._values('v_at', 'span', n, start + width, there)}")
            product_ = f"tl.dot(near, value, sum{n} * shrink[:, None], {self._way})"
            let(f"sum{n} = {product_}")
        let("top = peak")
        let(f"k_at += {tiles.keys} * {self._stride(shape.k.row)}")
        let(f"v_at += {tiles.keys} * {self._stride(shape.v.row)}")

    @property
    def _way(self) -> str:
        """How matrices of f32 are multiplied."""
        return f'input_precision="{self.tiles.precision}"'

    def _load_keys(self, name: str, base: str, key: str, span: str, end: str | None) -> None:
        """Parts of the keys numbered `key`, `span` rows from `base`; zeros from `end` on (None: there are none)."""
        shape = self.shape
        for n, (start, width) in enumerate(self.depth_parts):
            offsets = (
                f"{span}[None, :] * {self._stride(shape.k.row)} + "
                f"depth{n}[:, None] * {self._stride(shape.k.column)}"
            )
            there = [f"({key} < {end})[None, :]"] if end else []
            if start + width > shape.depth:
                there.append(f"(depth{n}[:, None] < {shape.depth})")
            self.lines.line(f"{name}{n} = tl.load({base} + ({offsets}){self._where(there)})")

    def _load_mask(self, name: str, key: str, end: str | None) -> None:
        """What is added to the scores of the keys numbered `key`, asked for before the products that need not wait."""
        mask = self.shape.mask
        if mask is None:
            return
        there = [f"({key} < {end})"] if end and mask.column != 0 else []
        if mask.row == 0 and not (self._folds and mask.head != 0):
            at = f"mask + {key} * {self._stride(mask.column)}" if mask.column != 0 else "mask"
            loaded = f"tl.load({at}{self._where(there)}).to(tl.float32)"
            self.lines.line(f"{name} = {loaded}{'[None, :]' if mask.column != 0 else ''}")
            return
        at = "mask_rows[:, None]"
        if mask.column != 0:
            at = f"{at} + {key}[None, :] * {self._stride(mask.column)}"
        there = ["there[:, None]", *(f"{t}[None, :]" for t in there)]
        self.lines.line(f"{name} = tl.load({at}{self._where(there)}).to(tl.float32)")

    def _scores(self, name: str, keys: str, extra: str, key: str, end: str | None) -> None:
        """Products of the queries with loaded keys; -inf for those from `end` on and those that causality hides."""
        let, shape = self.lines.line, self.shape
        for n in range(len(self.depth_parts)):
            before = f", {name}" if n else ""
            let(f"{name} = tl.dot(q{n}, {keys}{n}{before}, {self._way})")
        if not shape.in_bits:
            let(f"{name} = {name} * {shape.scale!r}")
        if shape.mask is not None:
            let(f"{name} += {extra}")
        if end:
            seen = f"({key} < {end})[None, :]"
            if shape.causal:
                seen = f"{seen} & ({key}[None, :] <= query[:, None] + {self.past})"
            let(f"{name} = tl.where({seen}, {name}, float('-inf'))")

    def _values(self, base: str, span: str, n: int, end: int, there: list[str]) -> str:
        shape = self.shape
        offsets = f"{span}[:, None] * {self._stride(shape.v.row)} + column{n}[None, :] * {self._stride(shape.v.column)}"
        if end > shape.width:
            there = [*there, f"(column{n}[None, :] < {shape.width})"]
        return f"tl.load({base} + ({offsets}){self._where(there)})"

    @staticmethod
    def _where(there: list[str]) -> str:
        return f", mask={' & '.join(there)}, other=0.0" if there else ""

    # -- powers of e --------------------------------------------------------------------------------------------
    def _peak(self, score: str) -> str:
        factor = f" * {self.shape.scale * LOG2_E!r}" if self.shape.in_bits else ""
        return f"tl.max({score}, 1){factor}"

    def _power(self, score: str, peak: str) -> str:
        if self.shape.in_bits:
            return f"tl.exp2({score} * {self.shape.scale * LOG2_E!r} - {peak})"
        return f"tl.exp2(({score} - {peak}) * {LOG2_E!r})"

    def _shrunk(self, old: str, new: str) -> str:
        return f"tl.exp2({old} - {new})" if self.shape.in_bits else f"tl.exp2(({old} - {new}) * {LOG2_E!r})"

    # -- all keys at once ---------------------------------------------------------------------------------------
    def _whole(self) -> None:
        let, shape = self.lines.line, self.shape
        assert isinstance(shape.keys, int), "only a known number of keys is held whole"
        parts = parts_of(shape.keys)
        hidden = [shape.causal or start + width > shape.keys for start, width in parts]
        # All loads first, so that they take their time together; queries last, as a barrier stands on their way into
        # the matrix units.
        for n, (start, width) in enumerate(parts):
            let(f"key{n} = {start} + tl.arange(0, {width})")
            self._load_keys(f"keys{n}_", "k", f"key{n}", f"key{n}", self.keys if hidden[n] else None)
        for n, (start, width) in enumerate(parts):
            there = [f"(key{n} < {shape.keys})[:, None]"] if start + width > shape.keys else []
            for c, (first, columns) in enumerate(self.width_parts):
                let(f"values{n}_{c} = {self._values('v', f'key{n}', c, first + columns, there)}")
        self._queries()
        for n in range(len(parts)):
            self._load_mask(f"extra{n}", f"key{n}", self.keys if hidden[n] else None)
        for n in range(len(parts)):
            self._scores(f"score{n}", f"keys{n}_", f"extra{n}", f"key{n}", self.keys if hidden[n] else None)
            peak = self._peak(f"score{n}")
            let(f"peak = {peak if n == 0 else f'tl.maximum(peak, {peak})'}")
        let("safe = tl.where(peak == float('-inf'), 0.0, peak)")
        for n in range(len(parts)):
            let(f"weight{n} = {self._power(f'score{n}', 'safe[:, None]')}")
        let(f"total = {' + '.join(f'tl.sum(weight{n}, 1)' for n in range(len(parts)))}")
        for n in range(len(parts)):
            for c in range(len(self.width_parts)):
                before = f", sum{c}" if n else ""
                let(f"sum{c} = tl.dot(weight{n}.to({self.element}), values{n}_{c}{before}, {self._way})")

    # -- results ------------------------------------------------------------------------------------------------
    def _store(self) -> None:
        let, out = self.lines.line, self.shape.out
        let(zeros_where_no_keys(self.shape.keys, self.keys))
        let(f"out_rows = out + ({self._row_offsets(out)})")
        for n, (start, width) in enumerate(self.width_parts):
            here = "there[:, None]" + self._fits(f"column{n}[None, :]", start + width, self.shape.width)
            at = f"out_rows[:, None] + column{n}[None, :] * {self._stride(out.column)}"
            let(f"tl.store({at}, (sum{n} / total[:, None]).to({self.element}), mask={here})")

    def _store_partials(self) -> None:
        """[split][line][row], and a row of columns for each."""
        let, shape = self.lines.line, self.shape
        lines = self.parameters.size(shape.lines)
        let(f"at = (split.to(tl.int64) * {lines} + line) * ({self.rows}) + row")
        let("tl.store(tops + at, top, mask=there)\ntl.store(totals + at, total, mask=there)")
        for n, (start, width) in enumerate(self.width_parts):
            here = "there[:, None]" + self._fits(f"column{n}[None, :]", start + width, shape.width)
            let(f"tl.store(sums + at[:, None] * {shape.width} + column{n}[None, :], sum{n}, mask={here})")
