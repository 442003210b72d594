"""The recurrent kernel: a task walks one direction of a few sequences through all time steps.

The input's part of every sum was computed for all steps at once; a step adds h R to it tile by tile, with all gates of
a block of units in registers, and applies the cell there. States live in thread-private scratch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engineworks.codegen.llvm import amx
from engineworks.codegen.llvm.function import Function, Isa, Size
from engineworks.codegen.llvm.loads import iota_below, load_vector, splat, store_vector
from engineworks.codegen.llvm.multiply import F32, Multiply
from engineworks.codegen.llvm.prims import VectorEmitter
from engineworks.codegen.llvm.tile import Segment, Tile, accumulate
from engineworks.core import dtypes
from engineworks.core.dims import Dim, product
from engineworks.ir.scalar import Scalar, argument, cast
from engineworks.kernels.cpu.matmul_grid import Elements
from engineworks.kernels.cpu.matmul_rows import row_tiles
from engineworks.kernels.cpu.recurrent_weights import Gates
from engineworks.kernels.cpu.words import Words, finish, kernel_function
from engineworks.kernels.tactic import Step, Word
from engineworks.ops._recurrent import Recurrent
from engineworks.ops.gru import Gru
from engineworks.ops.lstm import Lstm
from engineworks.ops.rnn import Rnn


@dataclass(frozen=True, slots=True)
class State:
    """A tensor [direction][row][unit] in memory: its word and its strides in elements."""

    word: Word
    direction: Dim
    row: Dim


@dataclass(frozen=True, slots=True)
class Layer:
    """One recurrent layer, its operands where the kernel finds them.

    Attributes:
        gates: of all sums; the weights' panels are [direction][block][k][gate][lane].
        sums: the input's part of the sums, [time][row][direction][block][gate][lane].
        weights: recurrent panels; for a GRU that resets before multiplying: those of update and reset, and of hidden.
        hidden_bias: of a GRU that resets after multiplying, [direction][block][lane].
        outputs: Y's word and its strides (time, direction, row); finals: h, then c of an LSTM.
        initials: in the order of `finals`; None: zeros.
        directions: which of them this kernel walks; they share activations.
        multiply: of the recurrent product, in vector registers or in tiles. Where it reads narrow elements, states have
            a narrow copy for it.
    """

    op: Recurrent
    gates: Gates
    time: Dim
    rows: Dim
    sums: Word
    weights: tuple[Word, ...]
    hidden_bias: Word | None
    lengths: Word | None
    peepholes: Word | None
    initials: tuple[State | None, ...]
    output: tuple[Word, Dim, Dim, Dim]
    finals: tuple[State, ...]
    directions: tuple[int, ...]
    most_rows: int
    multiply: Multiply | amx.TileProduct = F32

    @property
    def elements(self) -> Elements:
        """What the recurrent product reads."""
        return elements_of(self.multiply)

    @property
    def is_narrow(self) -> bool:
        return self.elements.left is not dtypes.f32

    @property
    def left_row_bytes(self) -> int:
        """Of a row of h as the product reads it: whole steps of the panels."""
        return max(self.padded, self.gates.rounded(self.gates.hidden)) * self.elements.left.size_bytes

    @property
    def sums_bytes(self) -> int:
        """Of what tiles leave for the vector registers: [row][gate][lane]."""
        return self.most_rows * self.gates.width * 4 if isinstance(self.multiply, amx.TileProduct) else 0

    @property
    def padded(self) -> int:
        """Units rounded up to whole blocks."""
        return self.gates.blocks * self.gates.lanes

    @property
    def scratch_bytes(self) -> int:
        """h twice (old and new), c or the update gate, the reset h; then narrow copies of the three h, and sums."""
        narrow = 3 * self.left_row_bytes if self.is_narrow else 0
        return self.most_rows * (4 * 4 * self.padded + narrow) + self.sums_bytes


def elements_of(multiply: Multiply | amx.TileProduct) -> Elements:
    """What a product reads."""
    if isinstance(multiply, amx.TileProduct):
        return Elements(dtypes.bf16, dtypes.bf16, multiply.group, multiply.sums)
    return Elements(multiply.left, multiply.right, multiply.group, multiply.sums)


def emit_recurrent(layer: Layer, isa: Isa) -> tuple[str, str, frozenset[str], Step]:
    """(symbol, definition, declarations, the launch)."""
    kernel = _Kernel(layer, isa)
    with kernel.f.loop("%lo", "%hi") as task:
        kernel.task(task)
    if isinstance(layer.multiply, amx.TileProduct):
        amx.release(kernel.f)
    symbol, text = finish(kernel.f, layer.op.name)
    tasks = product([len(layer.directions), kernel.tiling.count])
    return symbol, text, frozenset(kernel.f.declarations), Step(symbol, tuple(kernel.words.words), tasks)


class _Kernel:
    """What all tasks share."""

    def __init__(self, layer: Layer, isa: Isa) -> None:
        self.layer, self.isa, self.lanes = layer, isa, isa.lanes
        self.f: Function = kernel_function()
        self.words = words = Words(self.f)
        self.tiling = row_tiles(layer.rows, layer.most_rows)
        self.time, self.rows = words.size(layer.time), words.size(layer.rows)
        self.tiles = words.size(self.tiling.count)
        self.sums = words.pointer(layer.sums)
        self.weights = [words.pointer(w) for w in layer.weights]
        self.hidden_bias, self.lengths, self.peepholes = (
            words.pointer(w) if w is not None else None
            for w in (layer.hidden_bias, layer.lengths, layer.peepholes)
        )
        self.initials = [self._state(s) if s is not None else None for s in layer.initials]
        self.finals = [self._state(s) for s in layer.finals]
        word, *steps = layer.output
        self.output, self.output_steps = words.pointer(word), [words.size(s * 4) for s in steps]

    def _state(self, state: State) -> tuple[str, Size, Size]:
        return (
            self.words.pointer(state.word),
            self.words.size(state.direction * 4),
            self.words.size(state.row * 4),
        )

    def task(self, task: str) -> None:
        f = self.f
        block, number = f.urem(task, self.tiles), f.udiv(task, self.tiles)
        direction = (
            f.add(number, self.layer.directions[0])
            if len(self.layer.directions) > 1
            else self.layer.directions[0]
        )
        self.tiling.emit(f, block, self.rows, lambda size, row: _Sequences(self, size, row, direction).emit())


class _Sequences:
    """`count` sequences from row `first` on, in one direction."""

    def __init__(self, kernel: _Kernel, count: int, first: Size, direction: Size) -> None:
        self.kernel, self.count, self.first, self.direction = kernel, count, first, direction
        self.layer, self.f, self.isa, self.lanes = kernel.layer, kernel.f, kernel.isa, kernel.lanes
        self.vector = f"<{self.lanes} x float>"
        self.row_bytes = self.layer.padded * 4
        self.buffer_bytes = self.layer.most_rows * self.row_bytes
        self.left_bytes = self.layer.elements.left.size_bytes
        self.old_left, self.new_left = "", ""
        """What the recurrent product reads, and where the next step's product will."""
        self.lengths = self._lengths()

    def emit(self) -> None:
        f = self.f
        self._each_block(self._begin)
        self._begin_left()
        if isinstance(self.layer.multiply, amx.TileProduct) and len(self.layer.weights) == 1:
            amx.configure(f, self._tiles(self.layer.multiply, self.layer.gates.count))
        with f.loop(0, self.kernel.time) as t:
            odd = f.value(f"and i64 {t}, 1")
            self.old = f.at("%scratch", f.mul(odd, self.buffer_bytes))
            self.new = f.at("%scratch", f.mul(f.sub(1, odd), self.buffer_bytes))
            self.old_left, self.new_left = self.old, self.new
            if self.layer.is_narrow:
                self.old_left, self.new_left = self._left(odd), self._left(f.sub(1, odd))
            self.positions = [self._position(t, r) for r in range(self.count)]
            self.active = [self._is_active(t, r) for r in range(self.count)]
            self._step()
        self._each_block(self._end)

    def _each_block(self, body: Callable[[Size, str], None]) -> None:
        """body(byte offset of the block's units, mask of the units that exist)."""
        f, gates = self.f, self.layer.gates
        with f.loop(0, gates.blocks) as block:
            unit = f.mul(block, self.lanes)
            body(block, iota_below(f, self.lanes, f.sub(gates.hidden, unit)))

    # -- states -----------------------------------------------------------------------------------------------
    def _state_at(self, buffer: int, row: int, block: Size) -> str:
        """Scratch: buffer 0 and 1 h, 2 c or the update gate, 3 the reset h."""
        f = self.f
        return f.at(
            "%scratch", f.add(f.mul(block, self.lanes * 4), buffer * self.buffer_bytes + row * self.row_bytes)
        )

    def _left(self, number: Size) -> str:
        """Scratch: the narrow copy 0 or 1 of h, or 2 of the reset h."""
        f = self.f
        narrow = self.layer.most_rows * self.layer.left_row_bytes
        return f.at("%scratch", f.add(4 * self.buffer_bytes, f.mul(number, narrow)))

    def _store_left(self, left: str, row: int, block: Size, value: str) -> None:
        """A state as the recurrent product reads it."""
        f, dtype = self.f, self.layer.elements.left
        at = f.at(left, f.add(f.mul(block, self.lanes * self.left_bytes), row * self.layer.left_row_bytes))
        if self.layer.is_narrow:
            (value,) = self._cell((cast(argument(0, dtypes.f32), dtype),), [value])
        store_vector(f, self.lanes, dtype, at, value)

    def _begin_left(self) -> None:
        """Zeros behind the last block, where the panels' last step reads on."""
        units_bytes = self.layer.padded * self.left_bytes
        if self.layer.left_row_bytes == units_bytes:
            return
        for number in range(3):
            for r in range(self.count):
                at = self.f.at(self._left(number), r * self.layer.left_row_bytes + units_bytes)
                self.f.line(f"store <{self.lanes} x i16> zeroinitializer, ptr {at}, align 2")

    def _in_memory(self, state: tuple[str, Size, Size], row: int, block: Size) -> str:
        f = self.f
        pointer, direction_step, row_step = state
        offset = f.add(f.mul(self.direction, direction_step), f.mul(f.add(self.first, row), row_step))
        return f.at(pointer, f.add(offset, f.mul(block, self.lanes * 4)))

    def _begin(self, block: Size, mask: str) -> None:
        for buffer, state in zip((0, 2), self.kernel.initials, strict=False):
            for r in range(self.count):
                value = "zeroinitializer"
                if state is not None:
                    value = load_vector(
                        self.f, self.lanes, dtypes.f32, self._in_memory(state, r, block), mask
                    )
                store_vector(self.f, self.lanes, dtypes.f32, self._state_at(buffer, r, block), value)
                if self.layer.is_narrow and buffer == 0:
                    self._store_left(self._left(0), r, block, value)

    def _end(self, block: Size, mask: str) -> None:
        f = self.f
        last = f.mul(f.urem(self.kernel.time, 2), self.buffer_bytes)
        for buffer, state in zip((0, 2), self.kernel.finals, strict=False):
            for r in range(self.count):
                at = self._state_at(buffer, r, block)
                value = self._load(f.at(at, last) if buffer == 0 else at)
                store_vector(f, self.lanes, dtypes.f32, self._in_memory(state, r, block), value, mask)

    # -- time -------------------------------------------------------------------------------------------------
    def _lengths(self) -> list[Size]:
        f = self.f
        if self.kernel.lengths is None:
            return [self.kernel.time] * self.count
        values: list[Size] = []
        for r in range(self.count):
            at = f.at(self.kernel.lengths, f.mul(f.add(self.first, r), 4))
            values.append(f.value(f"sext i32 {f.value(f'load i32, ptr {at}')} to i64"))
        return values

    def _is_active(self, t: str, row: int) -> str | None:
        """<lanes x i1>: the sequence is not over; None: always."""
        if self.kernel.lengths is None:
            return None
        return splat(self.f, self.lanes, "i1", self.f.compare("slt", t, self.lengths[row]))

    def _position(self, t: str, row: int) -> Size:
        """Where step t reads and writes: backwards from the sequence's end; past the end in order."""
        f, length = self.f, self.lengths[row]
        if self.layer.op.direction == "forward":
            return t
        backwards = f.sub(f.sub(length, 1), t)
        if self.kernel.lengths is not None:
            over = f.compare("sge", t, length)
            backwards = f.value(f"select i1 {over}, i64 {t}, i64 {backwards}")
        if self.layer.op.direction == "reverse":
            return backwards
        if isinstance(self.direction, int):
            return backwards if self.direction else t
        return f.value(f"select i1 {f.compare('eq', self.direction, 0)}, i64 {t}, i64 {backwards}")

    # -- one step ---------------------------------------------------------------------------------------------
    def _step(self) -> None:
        op = self.layer.op
        if isinstance(op, Lstm):
            self._each_block(self._lstm)
        elif isinstance(op, Gru) and op.linear_before_reset:
            self._each_block(self._gru_after)
        elif isinstance(op, Gru):
            self._each_block(self._gru_gates)
            self._each_block(self._gru_hidden)
        else:
            self._each_block(self._rnn)

    def _lstm(self, block: Size, mask: str) -> None:
        op, names = self.layer.op, range(4)
        assert isinstance(op, Lstm), op
        sums = self._sums(
            block, 0, 4, self.old_left, [[self._input(r, block, g) for g in names] for r in range(self.count)]
        )
        peepholes = self._peepholes(block, mask)
        leaves = [argument(k, dtypes.f32) for k in range(8)]
        h, c = op.cell(self.layer.directions[0], leaves[:4], leaves[4], leaves[5:] if peepholes else None)
        for r in range(self.count):
            at = self._state_at(2, r, block)
            old = self._load(at)
            new_h, new_c = self._cell((h, c), [*sums[r], old, *peepholes])
            self._keep(at, new_c, old, r)
            self._out(r, block, mask, new_h)

    def _gru_after(self, block: Size, mask: str) -> None:
        op = self.layer.op
        assert isinstance(op, Gru), op
        bias = self._hidden_bias(block)
        start = [[self._input(r, block, 0), self._input(r, block, 1), bias] for r in range(self.count)]
        sums = self._sums(block, 0, 3, self.old_left, start)
        leaves = [argument(k, dtypes.f32) for k in range(5)]
        h = op.cell(self.layer.directions[0], leaves[:3], leaves[3], leaves[4])
        for r in range(self.count):
            (new,) = self._cell((h,), [*sums[r], self._input(r, block, 2), self._old_h(r, block)])
            self._out(r, block, mask, new)

    def _gru_gates(self, block: Size, mask: str) -> None:
        """The update gate, and h as the reset gate lets it through."""
        op = self.layer.op
        assert isinstance(op, Gru), op
        sums = self._sums(
            block,
            0,
            2,
            self.old_left,
            [[self._input(r, block, g) for g in (0, 1)] for r in range(self.count)],
        )
        leaves = [argument(k, dtypes.f32) for k in range(3)]
        update, reset = (op.gate(self.layer.directions[0], leaves[k]) for k in (0, 1))
        for r in range(self.count):
            kept, passed = self._cell((update, reset * leaves[2]), [*sums[r], self._old_h(r, block)])
            store_vector(self.f, self.lanes, dtypes.f32, self._state_at(2, r, block), kept)
            self._store_left(self._reset_left(), r, block, passed)

    def _reset_left(self) -> str:
        """Where the reset h is, as the recurrent product reads it."""
        return self._left(2) if self.layer.is_narrow else self.f.at("%scratch", 3 * self.buffer_bytes)

    def _gru_hidden(self, block: Size, mask: str) -> None:
        op = self.layer.op
        assert isinstance(op, Gru), op
        sums = self._sums(
            block, 1, 1, self._reset_left(), [[self._input(r, block, 2)] for r in range(self.count)]
        )
        leaves = [argument(k, dtypes.f32) for k in range(3)]
        h = op.blend(self.layer.directions[0], *leaves)
        for r in range(self.count):
            (new,) = self._cell(
                (h,), [*sums[r], self._load(self._state_at(2, r, block)), self._old_h(r, block)]
            )
            self._out(r, block, mask, new)

    def _rnn(self, block: Size, mask: str) -> None:
        op = self.layer.op
        assert isinstance(op, Rnn), op
        sums = self._sums(block, 0, 1, self.old_left, [[self._input(r, block, 0)] for r in range(self.count)])
        h = op.cell(self.layer.directions[0], argument(0, dtypes.f32))
        for r in range(self.count):
            self._out(r, block, mask, self._cell((h,), sums[r])[0])

    # -- pieces of a step -------------------------------------------------------------------------------------
    def _sums(self, block: Size, weights: int, count: int, a: str, start: list[list[str]]) -> list[list[str]]:
        """start + a times the block's panel: [row][gate]."""
        f, gates, multiply = self.f, self.layer.gates, self.layer.multiply
        panel = gates.rounded(gates.hidden) * count * self.lanes * self.layer.elements.right.size_bytes
        number = f.add(f.mul(self.direction, gates.blocks), block)
        weights_at = f.at(self.kernel.weights[weights], f.mul(number, panel))
        if isinstance(multiply, amx.TileProduct):
            return self._sums_of_tiles(multiply, count, a, weights_at, start)
        # Units beyond the layer's are zero in the states and in the panels, so that a last group is whole.
        groups = -(-gates.hidden // multiply.group)
        segment = Segment(tuple(range(self.count)), ((groups, multiply.left_bytes, 1),))
        chains = 1
        while 2 * chains * self.count * count <= min(self.isa.registers // 2, 16) and chains < 4:
            chains *= 2
        tile = Tile(
            tuple(r * self.layer.left_row_bytes for r in range(self.count)),
            count,
            (segment,),
            count * self.lanes * multiply.column_bytes,
            unroll=4,
            chains=chains,
            b_align=self.lanes * 4,
            multiply=multiply,
        )
        return accumulate(f, self.isa, tile, a, weights_at, start)

    def _tiles(self, product: amx.TileProduct, count: int) -> amx.TileBlock:
        """A tile column for each gate."""
        return amx.TileBlock(product, (self.count,), count)

    def _sums_of_tiles(
        self, product: amx.TileProduct, count: int, a: str, panel: str, start: list[list[str]]
    ) -> list[list[str]]:
        """The same in tiles, by way of the scratch."""
        f, tiles = self.f, self._tiles(product, count)
        if len(self.layer.weights) > 1:
            amx.configure(f, tiles)  # the two products of a step differ in their gates
        amx.clear(f, tiles)
        row_bytes = count * amx.TILE_BYTES
        steps = -(-self.layer.gates.hidden // product.depth)
        amx.steps(f, tiles, steps, amx.Left([a], self.layer.left_row_bytes), amx.Right(panel, row_bytes))
        sums = f.at("%scratch", self.layer.scratch_bytes - self.layer.sums_bytes)
        amx.save(f, tiles, sums, row_bytes)
        places = [
            [f.at(sums, r * row_bytes + k * amx.TILE_BYTES) for k in range(count)] for r in range(self.count)
        ]
        return [
            [f.value(f"fadd {self.vector} {value}, {self._load(at)}") for value, at in zip(*row, strict=True)]
            for row in zip(start, places, strict=True)
        ]

    def _input(self, row: int, block: Size, gate: int) -> str:
        """The input's part of a gate's sum."""
        f, gates, kernel = self.f, self.layer.gates, self.kernel
        record = self.layer.op.directions * gates.blocks * gates.width
        line = f.mul(f.add(f.mul(self.positions[row], kernel.rows), f.add(self.first, row)), record)
        number = f.add(f.mul(self.direction, gates.blocks), block)
        offset = f.add(f.add(line, f.mul(number, gates.width)), gate * self.lanes)
        return self._load(f.at(kernel.sums, f.mul(offset, 4)))

    def _hidden_bias(self, block: Size) -> str:
        f = self.f
        if self.kernel.hidden_bias is None:
            return "zeroinitializer"
        number = f.add(f.mul(self.direction, self.layer.gates.blocks), block)
        return self._load(f.at(self.kernel.hidden_bias, f.mul(number, self.lanes * 4)))

    def _peepholes(self, block: Size, mask: str) -> list[str]:
        """The weights of input, output and forget gate; none when the layer has none."""
        f, hidden = self.f, self.layer.gates.hidden
        if self.kernel.peepholes is None:
            return []
        first = f.add(f.mul(self.direction, 3 * hidden), f.mul(block, self.lanes))
        return [
            load_vector(
                f,
                self.lanes,
                dtypes.f32,
                f.at(self.kernel.peepholes, f.mul(f.add(first, k * hidden), 4)),
                mask,
            )
            for k in range(3)
        ]

    def _cell(self, expressions: Sequence[Scalar], values: Sequence[str]) -> list[str]:
        """The expressions of these arguments; what they share is computed once."""
        emitter = VectorEmitter(self.f, self.isa, self.lanes, lambda leaf: values[leaf.payload])
        return [emitter.register(e) for e in expressions]

    def _old_h(self, row: int, block: Size) -> str:
        f = self.f
        return self._load(f.at(self.old, f.add(f.mul(block, self.lanes * 4), row * self.row_bytes)))

    def _keep(self, at: str, new: str, old: str, row: int) -> str:
        """Store a state, the old one where the sequence is over; what was stored."""
        active = self.active[row]
        if active is not None:
            new = self.f.value(
                f"select <{self.lanes} x i1> {active}, {self.vector} {new}, {self.vector} {old}"
            )
        store_vector(self.f, self.lanes, dtypes.f32, at, new)
        return new

    def _out(self, row: int, block: Size, mask: str, h: str) -> None:
        """h becomes the state and an element of Y; beyond a sequence's end Y is zero."""
        f, kernel = self.f, self.kernel
        at = f.at(self.new, f.add(f.mul(block, self.lanes * 4), row * self.row_bytes))
        active = self.active[row]
        kept = self._keep(at, h, self._old_h(row, block) if active is not None else h, row)
        if self.layer.is_narrow:
            self._store_left(self.new_left, row, block, kept)
        if active is not None:
            h = f.value(
                f"select <{self.lanes} x i1> {active}, {self.vector} {h}, {self.vector} zeroinitializer"
            )
        time_step, direction_step, row_step = kernel.output_steps
        offset = f.add(f.mul(self.positions[row], time_step), f.mul(self.direction, direction_step))
        offset = f.add(offset, f.add(f.mul(f.add(self.first, row), row_step), f.mul(block, self.lanes * 4)))
        store_vector(f, self.lanes, dtypes.f32, f.at(kernel.output, offset), h, mask)

    def _load(self, pointer: str) -> str:
        return load_vector(self.f, self.lanes, dtypes.f32, pointer)
