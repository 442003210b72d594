"""LSTM, GRU and RNN layers: one product for the inputs of all steps, then kernels that go from step to step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from engineworks.codegen.triton.function import KernelFunction, named
from engineworks.codegen.triton.gpu import Gpu
from engineworks.core import dtypes
from engineworks.core.dims import Dim, Sym, ceil_div
from engineworks.core.types import Layout, TensorType
from engineworks.errors import NoTactic
from engineworks.kernels import cost
from engineworks.kernels.cuda.matmul import CudaMatMul
from engineworks.kernels.cuda.matmul_generic import CudaMatMulGeneric
from engineworks.kernels.cuda.recurrent_text import (
    LENGTHS,
    SUMS,
    RecurrentLayer,
    RecurrentText,
    RecurrentTiles,
)
from engineworks.kernels.tactic import (
    Effort,
    Input,
    KernelImage,
    Output,
    Packed,
    PackedConstant,
    Size,
    Step,
    Tactic,
    TensorMap,
    Word,
    Workspace,
)
from engineworks.kernels.workload import Operand, Workload, input_type
from engineworks.ops._recurrent import Recurrent
from engineworks.ops.matmul import MatMul

MOST_STEPS = 512
"""Up to so many launches a layer."""
WHOLE_SPACE: Effort = 5
STEP_S = 2.5e-6
"""One step as a launch of its own, with few sequences."""
READ_BYTES_PER_S = 60e9
"""Of weights by one processor."""
CANDIDATES = {0: 1, 1: 2, 2: 3, 3: 6, 4: 10, 5: 100}


class CudaRecurrent:
    """lstm, gru and rnn in f32, f16 or bf16 with sums and states in f32."""

    name = "cuda.recurrent"
    version = 1

    def propose(self, work: Workload, isa: Gpu, effort: Effort) -> Iterable[Tactic]:
        layer = _layer(work)
        found = [Tactic(self.name, c, _predict(layer, c, isa)) for c in _configs(layer)]
        return sorted(found, key=lambda t: t.predicted_s)[: CANDIDATES[effort]]

    def build(self, work: Workload, tactic: Tactic, isa: Gpu) -> KernelImage:
        tiles = tactic.config
        assert isinstance(tiles, RecurrentTiles), tactic.text()
        layer = _layer(work)
        product = _product(work, layer, isa)
        functions: dict[str, KernelFunction] = dict(product.functions)
        steps = list(product.steps)
        for chosen in _alike(layer.op):
            part = replace(layer, chosen=chosen)
            for function, step in _walk(part, tiles) if tiles.form == "walk" else _steps(part, tiles):
                functions[function.name] = function
                steps.append(step)
        return KernelImage(
            functions, frozenset(), tuple(steps), packed=product.packed,
            workspace=(*_workspaces(layer), *product.workspace),
        )  # fmt: skip


def _layer(work: Workload) -> RecurrentLayer:
    """The layer. Raises NoTactic: another op, or types or sizes that the kernels do not take."""
    op = work.anchor
    if not isinstance(op, Recurrent):
        raise NoTactic("not a recurrent layer")
    if work.epilogue is not None:
        raise NoTactic("recurrent layers take no pointwise work after them")
    types = tuple(None if o is None else o.type for o in work.inputs[: work.anchor_inputs])
    w, r = input_type(work, 1), input_type(work, 2)
    floats = [t for k, t in enumerate(types) if t is not None and k != LENGTHS]
    odd = [t for t in (*floats, *work.outputs) if t.dtype.name not in ("f32", "f16", "bf16")]
    if odd:
        raise NoTactic(f"recurrent layers of {odd[0].dtype} have no kernel")
    if not w.is_static or not r.is_static:
        raise NoTactic(f"weights of symbolic size: {w}, {r}")
    if w.layout is not None:
        raise NoTactic(f"the weights {w} are not row-major")
    if 0 in (*w.shape, *r.shape):
        raise NoTactic("there are no inputs or no units")
    precision = "tf32" if getattr(op, "allow_tf32", False) else "ieee"
    return RecurrentLayer(op, types, work.outputs, tuple(range(op.directions)), precision)


def _alike(op: Recurrent) -> list[tuple[int, ...]]:
    """Directions by kernel: both in one where they use the same activations."""
    each = op.per_direction
    halves = {
        tuple(zip(op.activations, op.alphas, op.betas, strict=True))[d * each : (d + 1) * each]
        for d in range(op.directions)
    }
    return [tuple(range(op.directions))] if len(halves) == 1 else [(d,) for d in range(op.directions)]


# -- configurations -------------------------------------------------------------------------------------------
def _configs(layer: RecurrentLayer) -> Iterable[RecurrentTiles]:
    hidden = layer.hidden
    units = sorted({min(u, max(16, 1 << (hidden - 1).bit_length())) for u in (16, 32, 64)})
    for width in units:
        depth = min(64 if layer.r.dtype is not dtypes.f32 else 32, max(16, 1 << (hidden - 1).bit_length()))
        if isinstance(layer.steps, int) and layer.steps <= MOST_STEPS:
            yield RecurrentTiles("steps", 16, width, depth, warps=4, stages=3)
        yield RecurrentTiles("walk", 16, width, depth, warps=8 if width > 32 else 4)


def _predict(layer: RecurrentLayer, tiles: RecurrentTiles, gpu: Gpu) -> float:
    """Seconds: steps are launches that read all weights once, walks read them by one processor."""
    steps, rows = cost.typical(layer.steps, 64), cost.typical(layer.rows, 8)
    op, hidden = layer.op, layer.hidden
    weights = op.gates * hidden * hidden * layer.r.dtype.size_bytes
    blocks = -(-rows // tiles.rows) * op.directions
    phases = 2 if layer.resets_before else 1
    if tiles.form == "walk":
        waves = -(-blocks // gpu.processors)
        return STEP_S + steps * waves * (weights / READ_BYTES_PER_S + phases * 2e-6)
    programs = blocks * -(-hidden // tiles.units)
    each = weights * blocks / min(programs, gpu.processors) / READ_BYTES_PER_S
    return 3 * STEP_S + steps * phases * (STEP_S + each)


# -- images ---------------------------------------------------------------------------------------------------
def _workspaces(layer: RecurrentLayer) -> tuple[Dim, ...]:
    """Bytes of those that recurrent_text names: x W, h twice, and what the cell keeps besides."""
    state = layer.state_count * 4
    return (layer.steps * layer.rows * layer.columns * 4, 2 * state, state, state)


def _walk(layer: RecurrentLayer, tiles: RecurrentTiles) -> Iterable[tuple[KernelFunction, Step]]:
    text = RecurrentText(layer, tiles)
    yield _launch(f"{layer.op.name}_walk", text.walk(), text, _row_blocks(layer, tiles))


def _steps(layer: RecurrentLayer, tiles: RecurrentTiles) -> Iterable[tuple[KernelFunction, Step]]:
    programs = _row_blocks(layer, tiles) * -(-layer.hidden // tiles.units)
    assert isinstance(layer.steps, int), "only a known number of steps can be launches"
    text = RecurrentText(layer, tiles)
    yield _launch(f"{layer.op.name}_start", text.single("start"), text, programs)
    phases = []
    for number in range(text.phases):
        text = RecurrentText(layer, tiles)
        phases.append((text, text.single("phase", number)))
    for t in range(layer.steps):
        for text, written in phases:
            yield _launch(f"{layer.op.name}_step", written, text, programs, t)
    text = RecurrentText(layer, tiles)
    yield _launch(f"{layer.op.name}_finish", text.single("finish"), text, programs)


def _row_blocks(layer: RecurrentLayer, tiles: RecurrentTiles) -> Dim:
    return ceil_div(layer.rows, tiles.rows) * len(layer.chosen)


def _launch(
    family: str, written: str, text: RecurrentText, programs: Dim, t: int | None = None
) -> tuple[KernelFunction, Step]:
    parameters, tiles = text.parameters, text.tiles
    function = named(
        family, written, parameters.arguments, warps=tiles.warps, stages=tiles.stages, waits=True
    )
    words = tuple(_word(w, t) for w in parameters.words)
    return function, Step(function.name, words, grid=(programs,))


def _word(word: object, t: int | None) -> Word:
    """Sizes are Dims, the number of the step is None; everything else is a word already."""
    if word is None:
        assert t is not None, "only steps have a number"
        return Size(t)
    return Size(word) if isinstance(word, (int, Sym)) else word  # type: ignore[return-value]


# -- x W ------------------------------------------------------------------------------------------------------
def _product(work: Workload, layer: RecurrentLayer, gpu: Gpu) -> KernelImage:
    """x W of all steps and directions, [T, B, D * G * H] in f32, as another family computes it."""
    x, w = input_type(work, 0), input_type(work, 1)
    if 0 in x.shape:
        return KernelImage({}, frozenset(), ())
    depth, columns = w.shape[2], layer.columns
    lines = (x.shape[0] * x.shape[1],) if x.layout is None else x.shape[:2]
    left = TensorType(x.dtype, (*lines, depth)).with_layout(x.layout)
    right = TensorType(w.dtype, (depth, columns)).with_layout(Layout((1, 0)))
    out = TensorType(dtypes.f32, (*lines, columns))
    given = work.inputs[1]
    assert given is not None, "input_type has seen it"
    op = MatMul(dtypes.f32, layer.precision == "tf32")
    product = Workload(op, (Operand(left), Operand(right, given.constant)), 2, (out,))
    return _placed(_best_product(product, gpu), columns)


def _best_product(product: Workload, gpu: Gpu) -> KernelImage:
    """The matmul family's first choice that rounds as the op says, else the generic one's."""
    for provider in (CudaMatMul(), CudaMatMulGeneric()):
        try:
            exact = [t for t in provider.propose(product, gpu, WHOLE_SPACE) if not t.is_loose]
        except NoTactic:
            continue
        if exact:
            return provider.build(product, exact[0], gpu)
    raise NoTactic(f"no kernel multiplies {product.inputs[0]} by {product.inputs[1]}")


def _placed(image: KernelImage, columns: int) -> KernelImage:
    """The image of x W with its operands where the layer has them."""
    own = 4  # workspaces of the layer stand before

    def word(w: Word) -> Word:
        match w:
            case Output():
                return Workspace(SUMS.index, w.offset)
            case Workspace():
                return Workspace(w.index + own, w.offset)
            case TensorMap():
                base = word(w.base)
                assert isinstance(base, (Input, Output, Packed, Workspace)), "words keep their kind"
                return replace(w, base=base)
            case _:
                return w

    def packed(constant: PackedConstant) -> PackedConstant:
        def pack(arrays: Mapping[int, np.ndarray]) -> np.ndarray:
            return constant.pack({1: np.asarray(arrays[1]).reshape(columns, -1).T})

        return PackedConstant(pack)

    steps = tuple(replace(s, words=tuple(word(w) for w in s.words)) for s in image.steps)
    return replace(image, steps=steps, packed=tuple(packed(p) for p in image.packed))


PROVIDERS = (CudaRecurrent(),)
