"""LSTM, GRU and RNN layers: one product for the inputs of all steps, then a kernel that walks the sequences.

In f32, or with products of bf16 operands summed in f32.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from engineworks.codegen.llvm import amx
from engineworks.codegen.llvm.function import Isa
from engineworks.codegen.llvm.multiply import BF16_DOT, F32, Multiply
from engineworks.core import dtypes
from engineworks.core.dims import Dim
from engineworks.core.types import TensorType
from engineworks.errors import NoTactic
from engineworks.ir.scalar import argument
from engineworks.kernels import cost
from engineworks.kernels.cpu.image_parts import ImageParts
from engineworks.kernels.cpu.matmul_amx_emit import AmxConfig, emit_amx_matmul, scratch_bytes
from engineworks.kernels.cpu.matmul_emit import MatMulConfig, emit_matmul
from engineworks.kernels.cpu.matmul_grid import Sides
from engineworks.kernels.cpu.matmul_problem import problem_of
from engineworks.kernels.cpu.recurrent_emit import Layer, State, elements_of, emit_recurrent
from engineworks.kernels.cpu.recurrent_weights import Gates, bias_word, input_panels_word, weights_word
from engineworks.kernels.tactic import Effort, Input, KernelImage, Output, Tactic, Word
from engineworks.kernels.workload import Epilogue, Operand, Workload, input_type
from engineworks.ops._recurrent import Recurrent
from engineworks.ops.gru import Gru
from engineworks.ops.lstm import Lstm
from engineworks.ops.matmul import MatMul

AMX_INPUT_ROWS = 64
_X, _W, _R, _BIAS, _LENGTHS, _H, _C, _PEEPHOLES = range(8)


@dataclass(frozen=True, slots=True)
class RecurrentConfig:
    """rows: sequences that a task walks together; input_rows: the tile of the inputs' product."""

    rows: int
    input_rows: int


class CpuRecurrent:
    """lstm, gru and rnn."""

    name = "cpu.recurrent"
    version = 3

    def propose(self, work: Workload, isa: Isa, effort: Effort) -> Iterable[Tactic]:
        op, _ = _require(work, isa)
        most = {16: {4: 6, 3: 6, 1: 8}, 8: {4: 2, 3: 3, 1: 8}}[isa.lanes][op.gates]
        inputs = {16: {4: 6, 3: 8, 1: 14}, 8: {4: 2, 3: 4, 1: 8}}[isa.lanes][op.gates]
        rows = input_type(work, _X).shape[1]
        sizes = [min(most, max(rows, 1))] if isinstance(rows, int) else [min(most, 4)]
        if sizes[0] > 2 and effort > 0:
            sizes.append(sizes[0] // 2)  # more tasks for more threads
        return [Tactic(self.name, RecurrentConfig(s, inputs), _predict(work, op, s)) for s in sizes]

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        assert isinstance(tactic.config, RecurrentConfig), tactic.text()
        return _build(work, tactic.config, isa)


def _require(work: Workload, isa: Isa) -> tuple[Recurrent, Multiply | amx.TileProduct]:
    """The op and how its products are multiplied, when the kernel takes the workload."""
    op = work.anchor
    if not isinstance(op, Recurrent):
        raise NoTactic("not a recurrent layer")
    if work.epilogue is not None:
        raise NoTactic("recurrent layers take no pointwise work after them")
    w, r = (input_type(work, k) for k in (_W, _R))
    multiply = _multiply(work, op, isa)
    if not w.is_static or not r.is_static:
        raise NoTactic(f"weights of symbolic size: {w}, {r}")
    for t in (*work.outputs, *(input_type(work, k) for k in (_H, _C) if _given(work, k))):
        if t.strides()[-1] != 1:
            raise NoTactic(f"{t} is not contiguous along the units")
    return op, multiply


def _multiply(work: Workload, op: Recurrent, isa: Isa) -> Multiply | amx.TileProduct:
    dtype = input_type(work, _X).dtype
    if (op.out_dtype or dtype) is not dtypes.f32 or dtype not in (dtypes.f32, dtypes.bf16):
        raise NoTactic(f"recurrent layers of {dtype} that give {op.out_dtype or dtype} have no kernel")
    if dtype is dtypes.f32:
        return F32
    if not (_is_constant(work, _W) and _is_constant(work, _R)):
        raise NoTactic("bf16 weights that are not constant")
    product = amx.tile_product(dtype, dtype, isa)
    if product is not None:
        return product
    if not isa.has("avx512bf16") or isa.lanes != 16:
        raise NoTactic("the target multiplies no bf16")
    return BF16_DOT


def _given(work: Workload, index: int) -> bool:
    return index < work.anchor_inputs and work.inputs[index] is not None


def _is_constant(work: Workload, index: int) -> bool:
    operand = work.inputs[index]
    return operand is not None and operand.constant


def _build(work: Workload, config: RecurrentConfig, isa: Isa) -> KernelImage:
    op, multiply = _require(work, isa)
    hidden = int(input_type(work, _R).shape[2])  # type: ignore[arg-type]
    depth_step = multiply.depth if isinstance(multiply, amx.TileProduct) else isa.lanes
    gates = Gates(0, op.gates, op.gates, hidden, isa.lanes, depth_step)
    parts = ImageParts()
    sums = _input_sums(work, op, gates, config, isa, parts, multiply)
    layer = _layer(work, op, gates, config, isa, parts, sums, multiply)
    for directions in (
        [tuple(range(op.directions))] if _directions_agree(op) else [(d,) for d in range(op.directions)]
    ):
        parts.add(*emit_recurrent(replace(layer, directions=directions), isa))
    parts.scratch_bytes = max(parts.scratch_bytes, layer.scratch_bytes)
    return parts.image()


def _directions_agree(op: Recurrent) -> bool:
    """Both directions use the same activations, so one kernel does both."""
    halves = [
        tuple(zip(op.activations, op.alphas, op.betas, strict=True))[d * op.per_direction :][
            : op.per_direction
        ]
        for d in range(op.directions)
    ]
    return len(set(halves)) == 1


def _input_sums(
    work: Workload,
    op: Recurrent,
    gates: Gates,
    config: RecurrentConfig,
    isa: Isa,
    parts: ImageParts,
    multiply: Multiply | amx.TileProduct,
) -> Word:
    """x W + bias for all steps: [time][row][direction][block][gate][lane]."""
    x, w, elements = input_type(work, _X), input_type(work, _W), elements_of(multiply)
    depth = int(w.shape[2])  # type: ignore[arg-type]
    columns = op.directions * gates.blocks * gates.width
    out = TensorType(dtypes.f32, (*x.shape[:2], columns))
    operands = [Operand(x), Operand(TensorType(x.dtype, (depth, columns)), True)]
    epilogue, extra = None, ()
    if _given(work, _BIAS):
        # A GRU that resets after multiplying needs the hidden gate's recurrent bias inside the reset.
        halves = tuple((True, not (_resets_after(op) and gate == 2)) for gate in range(op.gates))
        extra = (bias_word(parts, _BIAS, input_type(work, _BIAS), _is_constant(work, _BIAS), gates, halves),)
        operands.append(Operand(TensorType(dtypes.f32, (columns,))))
        epilogue = Epilogue(argument(0, dtypes.f32) + argument(1, dtypes.f32), ("channel",))
    product = Workload(MatMul(dtypes.f32), tuple(operands), 2, (out,), epilogue)
    problem, sums = problem_of(product), parts.buffer(out.size_bytes)
    if isinstance(multiply, amx.TileProduct):
        width = 2 * amx.TILE_COLUMNS
        panels = input_panels_word(parts, _W, gates, elements, width)
    else:
        width = gates.width
        panels = weights_word(parts, _W, w, _is_constant(work, _W), gates, isa, elements)
    sides = Sides(
        Input(_X),
        panels,
        problem.left_row,
        problem.left_depth,
        gates.rounded(depth) * width,
        width * elements.group,
        problem.batches,
        sums,
        extra,
    )
    if isinstance(multiply, amx.TileProduct):
        tiles = AmxConfig(_input_tile_rows(problem.rows), 2)
        parts.scratch_bytes = scratch_bytes(tiles)
        parts.add(*emit_amx_matmul(product, problem, sides, multiply, tiles, isa))
        return sums
    few = min(config.input_rows, max(problem.rows, 1)) if isinstance(problem.rows, int) else config.input_rows
    chains = 4 if few * op.gates <= 4 else 2 if few * op.gates <= 8 else 1
    tiling = MatMulConfig(few, op.gates, chains=chains, form=multiply.form)
    parts.add(*emit_matmul(product, problem, sides, tiling, isa, multiply=multiply))
    return sums


def _input_tile_rows(rows: Dim) -> int:
    """Rows of a task of the inputs' product by tiles."""
    return max(rows, 1) if isinstance(rows, int) and rows <= amx.TILE_ROWS else AMX_INPUT_ROWS


def _resets_after(op: Recurrent) -> bool:
    return isinstance(op, Gru) and op.linear_before_reset


def _layer(
    work: Workload,
    op: Recurrent,
    gates: Gates,
    config: RecurrentConfig,
    isa: Isa,
    parts: ImageParts,
    sums: Word,
    multiply: Multiply | amx.TileProduct,
) -> Layer:
    x, r = input_type(work, _X), input_type(work, _R)
    constant = _is_constant(work, _R)
    phases = [gates]
    if isinstance(op, Gru) and not op.linear_before_reset:
        phases = [replace(gates, first=0, count=2), replace(gates, first=2, count=1)]
    bias = None
    if _resets_after(op) and _given(work, _BIAS):
        hidden = replace(gates, first=2, count=1)
        bias = bias_word(
            parts, _BIAS, input_type(work, _BIAS), _is_constant(work, _BIAS), hidden, ((False, True),)
        )
    elements = elements_of(multiply)
    states = (_H, _C) if isinstance(op, Lstm) else (_H,)
    y_time, y_direction, y_row, _ = work.outputs[0].strides()
    return Layer(
        op=op, gates=gates, time=x.shape[0], rows=x.shape[1], sums=sums,
        weights=tuple(weights_word(parts, _R, r, constant, phase, isa, elements) for phase in phases), hidden_bias=bias,
        lengths=Input(_LENGTHS) if _given(work, _LENGTHS) else None,
        peepholes=Input(_PEEPHOLES) if _given(work, _PEEPHOLES) else None,
        initials=tuple(_state(Input(k), input_type(work, k)) if _given(work, k) else None for k in states),
        output=(Output(0), y_time, y_direction, y_row),
        finals=tuple(_state(Output(k), work.outputs[k]) for k in range(1, len(work.outputs))),
        directions=(0,), most_rows=config.rows, multiply=multiply,
    )  # fmt: skip


def _state(word: Word, t: TensorType) -> State:
    direction, row, _ = t.strides()
    return State(word, direction, row)


def _predict(work: Workload, op: Recurrent, rows: int) -> float:
    """Seconds on one thread: the sums' tiles; few rows wait for the weights to come from the second cache."""
    x, r = input_type(work, _X), input_type(work, _R)
    time, count, depth = (cost.typical(d) for d in x.shape)
    hidden = cost.typical(r.shape[2])
    per_step = float(r.dtype.size_bytes) * op.gates * hidden * hidden / cost.CORE.near_bytes_per_s
    tiles = -(-count // rows)
    walk = (
        time
        * op.directions
        * tiles
        * max(per_step, rows * op.gates * hidden * hidden / 32 / cost.CORE.clock_hz)
    )
    inputs = time * count * op.directions * op.gates * hidden * depth / 32 / cost.CORE.clock_hz
    return walk + inputs + 2 * cost.CORE.launch_s


PROVIDERS = (CpuRecurrent(),)
