"""One step of a recurrent layer as Triton text: products of h with the gates' weights, and the cell.

A program computes `units` units of `rows` sequences. Either each step is a launch of its own ('steps'), or one program
walks all steps of its sequences ('walk'); the states lie in workspaces in f32, h twice, so that a step reads one and
writes the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from engineworks.codegen.triton.attention_parameters import Parameters
from engineworks.codegen.triton.lines import Lines
from engineworks.codegen.triton.scalars import ScalarEmitter
from engineworks.core import dtypes
from engineworks.core.dims import Dim
from engineworks.core.dtypes import DType
from engineworks.core.types import TensorType
from engineworks.ir.scalar import Scalar, argument
from engineworks.kernels.tactic import Input, Output, Word, Workspace
from engineworks.ops._recurrent import Recurrent
from engineworks.ops.gru import Gru
from engineworks.ops.lstm import Lstm
from engineworks.ops.rnn import Rnn

Form = Literal["steps", "walk"]
Cell = Callable[[list[Scalar]], Sequence[Scalar]]
_TYPES = {"f32": "tl.float32", "f16": "tl.float16", "bf16": "tl.bfloat16"}


@dataclass(frozen=True, slots=True)
class RecurrentTiles:
    """rows, units, depth: sequences and units of a tile, elements of h in one product; warps, stages: of a program."""

    form: Form
    rows: int
    units: int
    depth: int
    warps: int = 4
    stages: int = 1


@dataclass(frozen=True, slots=True)
class RecurrentLayer:
    """What the kernels compute.

    Attributes:
        types: of the op's inputs, None where omitted; outputs: of the op's.
        chosen: directions that these kernels do; they have the same activations.
        precision: of products of f32.
    """

    op: Recurrent
    types: tuple[TensorType | None, ...]
    outputs: tuple[TensorType, ...]
    chosen: tuple[int, ...]
    precision: str

    @property
    def x(self) -> TensorType:
        return self._type(0)

    @property
    def r(self) -> TensorType:
        return self._type(2)

    @property
    def hidden(self) -> int:
        size = self.r.shape[2]
        assert isinstance(size, int), "the provider refuses weights of symbolic size"
        return size

    @property
    def steps(self) -> Dim:
        return self.x.shape[0]

    @property
    def rows(self) -> Dim:
        return self.x.shape[1]

    @property
    def columns(self) -> int:
        """Of x W."""
        return self.op.directions * self.op.gates * self.hidden

    @property
    def state_count(self) -> Dim:
        """Elements of one state of all directions."""
        return self.op.directions * self.rows * self.hidden

    @property
    def resets_before(self) -> bool:
        """A GRU whose hidden gate multiplies r h, which must be there first: two phases a step."""
        return isinstance(self.op, Gru) and not self.op.linear_before_reset

    def optional(self, index: int) -> TensorType | None:
        """Type of an input, None where it is omitted."""
        return self.types[index] if index < len(self.types) else None

    def _type(self, index: int) -> TensorType:
        found = self.types[index]
        assert found is not None, f"input {index} of {self.op.name} is omitted"
        return found


SUMS, H, SECOND, THIRD = (Workspace(k) for k in range(4))
"""x W; h twice; c of an LSTM, or the update gate; r h of a GRU in two phases."""
BIAS, LENGTHS, FIRST_STATE, PEEPHOLES = 3, 4, 5, 7

_WALK = """
@triton.jit
def KERNEL({parameters}):
    blocks = tl.cdiv({count}, {rows})
    row = tl.program_id(0) % blocks * {rows} + tl.arange(0, {rows})
    direction = tl.program_id(0) // blocks + {first_direction}
    there = row < {count}
    gdc_wait()
    gdc_launch_dependents()
{start}
    tl.debug_barrier()
    for t in tl.range(0, {steps}, num_stages=1):
{body}
{finish}
"""
_PHASE = """
for first in tl.range(0, {hidden}, {units}, num_stages=1):
{body}
tl.debug_barrier()
"""
_STEP = """
@triton.jit
def KERNEL({parameters}):
    blocks = tl.cdiv({count}, {rows})
    place = tl.program_id(0)
    row = place % blocks * {rows} + tl.arange(0, {rows})
    place = place // blocks
    first = place % {unit_blocks} * {units}
    direction = place // {unit_blocks} + {first_direction}
    there = row < {count}
    gdc_wait()
    gdc_launch_dependents()
{body}
"""


class RecurrentText:
    """Writes one kernel of a layer; make a new one for each. `parameters` has its arguments afterwards."""

    def __init__(self, layer: RecurrentLayer, tiles: RecurrentTiles) -> None:
        self.layer, self.tiles = layer, tiles
        self.parameters = Parameters()
        self._pointers: dict[str, str] = {}
        self.hidden = layer.hidden
        self.count = self.parameters.size(layer.rows)
        self.steps = self.parameters.size(layer.steps)

    # -- whole kernels ------------------------------------------------------------------------------------------
    def walk(self) -> str:
        """All steps of some sequences."""
        phases = "".join(
            _PHASE.format(hidden=self.hidden, units=self.tiles.units, body=_indented(self.phase(n), 1))
            for n in range(self.phases)
        )
        loop = f"for first in tl.range(0, {self.hidden}, {self.tiles.units}, num_stages=1):\n"
        start = loop + _indented(self.start(), 1)
        finish = loop + _indented(self.finish(), 1)
        return self._filled(
            _WALK, start=_indented(start, 1), body=_indented(phases, 2), finish=_indented(finish, 1)
        )

    def single(self, what: Literal["start", "finish", "phase"], phase: int = 0) -> str:
        """One part as a kernel of its own, on one block of units."""
        if what == "phase":
            self.parameters.number("t")
        body = {"start": self.start, "finish": self.finish}.get(what, lambda: self.phase(phase))()
        return self._filled(_STEP, body=_indented(body, 1), unit_blocks=-(-self.hidden // self.tiles.units))

    @property
    def phases(self) -> int:
        """Of one step."""
        return 2 if self.layer.resets_before else 1

    def _filled(self, template: str, **pieces: object) -> str:
        tiles = self.tiles
        return template.format(
            parameters=self.parameters.names, count=self.count, rows=tiles.rows, units=tiles.units,
            steps=self.steps, first_direction=self.layer.chosen[0], **pieces,
        )  # fmt: skip

    # -- parts --------------------------------------------------------------------------------------------------
    def start(self) -> str:
        """Initial states into the workspaces."""
        lines = self._units()
        for k in range(self.layer.op.states):
            value = f"tl.zeros([{self.tiles.rows}, {self.tiles.units}], tl.float32)"
            if self.layer.optional(FIRST_STATE + k) is not None:
                value = (
                    f"{self._loaded(self._state_at(Input(FIRST_STATE + k), f'initial{k}'))}.to(tl.float32)"
                )
            target = self._workspace(H if k == 0 else SECOND, "h" if k == 0 else "second")
            lines.line(f"tl.store({target} + place_of_state, {value}, mask=seen)")
        return str(lines)

    def finish(self) -> str:
        """States after the last step to the outputs."""
        lines = self._units()
        total = self.parameters.stride(self.layer.state_count)
        h = self._workspace(H, "h")
        lines.line(f"last_h = {h} + {self.steps} % 2 * {total}")
        for k in range(self.layer.op.states):
            source = "last_h" if k == 0 else self._workspace(SECOND, "second")
            at = self._state_at(Output(1 + k), f"final{k}")
            kind = _TYPES[self.layer.outputs[1 + k].dtype.name]
            lines.line(f"value = {self._loaded(f'{source} + place_of_state')}")
            lines.line(f"tl.store({at}, value.to({kind}), mask=seen)")
        return str(lines)

    def phase(self, number: int) -> str:
        """One step of one block of units, or half of it."""
        layer, lines = self.layer, self._units()
        total = self.parameters.stride(layer.state_count)
        h = self._workspace(H, "h")
        lines.line(f"h_old = {h} + t % 2 * {total}\nh_new = {h} + (t + 1) % 2 * {total}")
        self._times(lines)
        lines.line(f"before = {self._loaded('h_old + place_of_state')}")
        gates = [*range(layer.op.gates)]
        if layer.resets_before:
            gates = [2] if number else [0, 1]
        source = self._workspace(THIRD, "third") if layer.resets_before and number else "h_old"
        self._products(lines, gates, source)
        for gate in gates:
            self._add_inputs(lines, gate)
        self._cell(lines, number)
        return str(lines)

    def _units(self) -> Lines:
        """Which units, and where their states lie."""
        lines = Lines()
        lines.line(f"unit = first + tl.arange(0, {self.tiles.units})")
        lines.line(f"seen = there[:, None] & (unit < {self.hidden})[None, :]")
        lines.line(f"line_of_state = (direction * {self.count} + row).to(tl.int64) * {self.hidden}")
        lines.line("place_of_state = line_of_state[:, None] + unit[None, :]")
        return lines

    def _times(self, lines: Lines) -> None:
        """`at`: the position that each sequence is at; `active`: those that go on."""
        layer = self.layer
        backwards = {"forward": "", "reverse": "True"}.get(layer.op.direction, "direction == 1")
        if layer.optional(LENGTHS) is not None:
            lengths = self._pointer("lengths", dtypes.i32, Input(LENGTHS))
            lines.line(
                f"length = tl.load({lengths} + row, mask=there, other=0)\nactive = (t < length) & there"
            )
            position = "length - 1 - t"
            position = position if backwards == "True" else f"tl.where({backwards}, {position}, t)"
            # A sequence that has ended writes zeros where it has nothing.
            lines.line(f"at = tl.where(active, {position if backwards else 't'}, t)")
            return
        lines.line("active = there")
        last = f"{self.steps} - 1 - t"
        position = {"": "t", "True": last}.get(backwards, f"tl.where({backwards}, {last}, t)")
        lines.line(f"at = {position} + tl.zeros([{self.tiles.rows}], tl.int32)")

    def _products(self, lines: Lines, gates: Sequence[int], source: str) -> None:
        """`product{g}`: h, or what lies in its place, times the weights of each gate."""
        tiles, layer = self.tiles, self.layer
        for gate in gates:
            lines.line(f"product{gate} = tl.zeros([{tiles.rows}, {tiles.units}], tl.float32)")
        weights = self._pointer("r", layer.r.dtype, Input(2))
        direction, unit, deep = (self.parameters.stride(s) for s in layer.r.strides())
        lines.line(
            f"r_at = {weights} + direction.to(tl.int64) * {direction} + unit[None, :].to(tl.int64) * {unit}"
        )
        kind = _TYPES[layer.r.dtype.name]
        # In a walk the tile that is read was just written by this program: nothing may be fetched ahead.
        ahead = "" if tiles.form == "steps" else ", num_stages=1"
        with lines.block(f"for k in tl.range(0, {self.hidden}, {tiles.depth}{ahead}):"):
            lines.line(f"deep = k + tl.arange(0, {tiles.depth})\nin_depth = deep < {self.hidden}")
            there = "there[:, None] & in_depth[None, :]"
            at = f"{source} + line_of_state[:, None] + deep[None, :]"
            lines.line(f"near = tl.load({at}, mask={there}, other=0.0).to({kind})")
            there = f"in_depth[:, None] & (unit < {self.hidden})[None, :]"
            for gate in gates:
                at = f"r_at + {gate * self.hidden} * {unit} + deep[:, None] * {deep}"
                lines.line(f"weight = tl.load({at}, mask={there}, other=0.0)")
                lines.line(
                    f'product{gate} = tl.dot(near, weight, product{gate}, input_precision="{layer.precision}")'
                )

    def _add_inputs(self, lines: Lines, gate: int) -> None:
        """`input{g}`: x W and its bias; `product{g}` gets the recurrent bias."""
        layer, hidden = self.layer, self.hidden
        sums = self._workspace(SUMS, "x_sums")
        lines.line(f"sum_line = at.to(tl.int64) * {self.count} + row")
        column = f"(direction * {layer.op.gates} + {gate}) * {hidden} + unit"
        place = f"sum_line[:, None] * {layer.columns} + ({column})[None, :]"
        lines.line(f"input{gate} = {self._loaded(f'{sums} + {place}')}")
        t = layer.optional(BIAS)
        if t is None:
            return
        bias = self._pointer("bias", t.dtype, Input(BIAS))
        line_step, step = (self.parameters.stride(s) for s in t.strides())
        for name, half in ((f"input{gate}", 0), (f"product{gate}", layer.op.gates)):
            at = f"{bias} + direction * {line_step} + ({(half + gate) * hidden} + unit) * {step}"
            loaded = f"tl.load({at}, mask=unit < {hidden}, other=0.0).to(tl.float32)"
            lines.line(f"{name} += {loaded}[None, :]")

    # -- cells --------------------------------------------------------------------------------------------------
    def _cell(self, lines: Lines, phase: int) -> None:
        op, direction = self.layer.op, self.layer.chosen[0]
        match op:
            case Lstm():
                self._lstm(lines, op, direction)
            case Gru() if op.linear_before_reset:
                names = ["input0 + product0", "input1 + product1", "product2", "input2", "before"]
                made = self._emitted(lines, names, lambda a: [op.cell(direction, a[:3], a[3], a[4])])
                self._store(lines, made[0])
            case Gru() if phase == 0:
                names = ["input0 + product0", "input1 + product1"]
                update, reset = self._emitted(lines, names, lambda a: [op.gate(direction, s) for s in a])
                second, third = self._workspace(SECOND, "second"), self._workspace(THIRD, "third")
                lines.line(f"tl.store({second} + place_of_state, {update}, mask=seen)")
                lines.line(f"tl.store({third} + place_of_state, {reset} * before, mask=seen)")
            case Gru():
                second = self._workspace(SECOND, "second")
                names = ["input2 + product2", self._loaded(f"{second} + place_of_state"), "before"]
                made = self._emitted(lines, names, lambda a: [op.blend(direction, a[0], a[1], a[2])])
                self._store(lines, made[0])
            case Rnn():
                made = self._emitted(lines, ["input0 + product0"], lambda a: [op.cell(direction, a[0])])
                self._store(lines, made[0])

    def _lstm(self, lines: Lines, op: Lstm, direction: int) -> None:
        second = self._workspace(SECOND, "second")
        names = [f"input{g} + product{g}" for g in range(4)]
        names.append(self._loaded(f"{second} + place_of_state"))
        t = self.layer.optional(PEEPHOLES)
        if t is not None:
            line_step, step = (self.parameters.stride(s) for s in t.strides())
            pointer = self._pointer("peepholes", t.dtype, Input(PEEPHOLES))
            for part in range(3):
                at = f"{pointer} + direction * {line_step} + ({part * self.hidden} + unit) * {step}"
                loaded = f"tl.load({at}, mask=unit < {self.hidden}, other=0.0).to(tl.float32)"
                names.append(
                    f"{loaded}[None, :] + tl.zeros([{self.tiles.rows}, {self.tiles.units}], tl.float32)"
                )
        h, c = self._emitted(lines, names, lambda a: list(op.cell(direction, a[:4], a[4], a[5:] or None)))
        lines.line(f"tl.store({second} + place_of_state, {c}, mask=seen & active[:, None])")
        self._store(lines, h)

    def _emitted(self, lines: Lines, names: Sequence[str], cell: Cell) -> list[str]:
        """Names of the values of expressions over arguments with these texts."""
        given = [lines.let(name) for name in names]
        emitter = ScalarEmitter(lines, lambda node, _: given[int(node.payload)])
        return [emitter.value(e) for e in cell([argument(k, dtypes.f32) for k in range(len(names))])]

    def _store(self, lines: Lines, h: str) -> None:
        """The new h, the old one where the sequence has ended, and the output."""
        out = self.layer.outputs[0]
        lines.line(f"tl.store(h_new + place_of_state, tl.where(active[:, None], {h}, before), mask=seen)")
        pointer = self._pointer("y", out.dtype, Output(0))
        time, direction, row, unit = (self.parameters.stride(s) for s in out.strides())
        lines.line(f"y_line = at.to(tl.int64) * {time} + direction * {direction} + row.to(tl.int64) * {row}")
        value = f"tl.where(active[:, None], {h}, 0.0).to({_TYPES[out.dtype.name]})"
        lines.line(f"tl.store({pointer} + y_line[:, None] + unit[None, :] * {unit}, {value}, mask=seen)")

    # -- memory -------------------------------------------------------------------------------------------------
    @staticmethod
    def _loaded(at: str) -> str:
        return f"tl.load({at}, mask=seen, other=0.0)"

    def _pointer(self, name: str, dtype: DType, word: Word) -> str:
        if name not in self._pointers:
            self._pointers[name] = self.parameters.pointer(name, dtype, word)
        return name

    def _workspace(self, word: Workspace, name: str) -> str:
        return self._pointer(name, dtypes.f32, word)

    def _state_at(self, word: Input | Output, name: str) -> str:
        """Address of the state's elements in an input or output."""
        t = self.layer.types[word.index] if isinstance(word, Input) else self.layer.outputs[word.index]
        assert t is not None, "the caller asks for what is there"
        pointer = self._pointer(name, t.dtype, word)
        direction, row, unit = (self.parameters.stride(s) for s in t.strides())
        line = f"(direction * {direction} + row.to(tl.int64) * {row})"
        return f"{pointer} + {line}[:, None] + unit[None, :] * {unit}"


def _indented(text: str, levels: int) -> str:
    space = " " * 4 * levels
    return "\n".join(f"{space}{line}" if line else "" for line in text.strip("\n").split("\n"))
