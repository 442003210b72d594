"""Attention in one kernel, or for few queries of many keys in programs that share the keys and one that joins them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from engineworks.codegen.triton.attention import AttentionText
from engineworks.codegen.triton.attention_join import join_text
from engineworks.codegen.triton.attention_parameters import Parameters
from engineworks.codegen.triton.attention_shape import (
    LEAST_PART,
    AttentionShape,
    AttentionTiles,
    Precision,
    Strided,
    parts_of,
)
from engineworks.codegen.triton.function import KernelFunction, named
from engineworks.codegen.triton.gpu import Gpu
from engineworks.core import dtypes
from engineworks.core.dims import Dim, bounds, ceil_div
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.attention_problem import Matrix, attention_problem
from engineworks.kernels.cuda.attention_cost import predict
from engineworks.kernels.tactic import Effort, KernelImage, Size, Step, Tactic, Word, Workspace
from engineworks.kernels.workload import Workload

WIDEST = 256
"""Columns of a head whose results a program can hold."""
WHOLE_KEYS = 256
"""Up to here the scores of all keys are held at once."""
MOST_HELD = 128
"""Registers of a thread for the scores, or for keys and values on their way."""
MOST_HELD_F32: Mapping[Precision, int] = {"tf32": 128, "tf32x3": 64, "ieee": 32}
"""Of f32, where products by parts or outside of the matrix units hold more besides."""
FEW_ROWS = 16
"""Up to here the rows that read one head of keys leave most of the GPU idle unless keys are split."""
CANDIDATES = {0: 1, 1: 4, 2: 8, 3: 16, 4: 24, 5: 200}


class CudaAttention:
    """Attention in f32, bf16 or f16, of any number of queries and keys, shared heads, additive and causal masks."""

    name = "cuda.attention"
    version = 1

    def propose(self, work: Workload, isa: Gpu, effort: Effort) -> Iterable[Tactic]:
        shape = attention_shape(work)
        found = [
            Tactic(self.name, c, predict(shape, c, isa), is_loose=c.precision == "tf32x3")
            for c in _configs(shape, work, isa)
        ]
        return _varied(sorted(found, key=lambda t: t.predicted_s), CANDIDATES[effort])

    def build(self, work: Workload, tactic: Tactic, isa: Gpu) -> KernelImage:
        config = tactic.config
        assert isinstance(config, AttentionTiles), tactic.text()
        shape = attention_shape(work)
        if config.form == "split":
            return _split_image(shape, config)
        text = AttentionText(shape, config)
        function = _function(text.text(), text.parameters, config)
        blocks = ceil_div(shape.queries, config.rows)
        lines = shape.lines * shape.sharing
        return KernelImage(
            {function.name: function}, frozenset(), (_step(function, text.parameters, blocks * lines),)
        )


def _varied(tactics: Sequence[Tactic], count: int) -> list[Tactic]:
    """The best, of one depth of pipelining each before there are two; best prediction first.

    Predictions tell tiles apart better than depths.
    """
    seen: dict[AttentionTiles, int] = {}
    ranked = []
    for place, tactic in enumerate(tactics):
        tile = replace(tactic.config, stages=0)
        seen[tile] = seen.get(tile, -1) + 1
        ranked.append((seen[tile], place))
    kept = sorted(place for _, place in sorted(ranked)[:count])
    return [tactics[place] for place in kept]


def attention_shape(work: Workload) -> AttentionShape:
    """The workload's shape.

    Raises:
        NoTactic: not attention of f32, bf16 or f16, or a form that the kernels do not take (the decomposition does).
    """
    problem = attention_problem(work)
    if not isinstance(problem.depth, int):
        raise NoTactic("the size of the heads is symbolic")
    if max(problem.depth, problem.value_width) > WIDEST:
        raise NoTactic(
            f"heads of size {max(problem.depth, problem.value_width)}; up to {WIDEST} are held in registers"
        )
    return AttentionShape(
        dtype=problem.query.dtype, batch=problem.batch, heads=problem.heads, sharing=problem.sharing,
        queries=problem.queries, keys=problem.keys, depth=problem.depth, width=problem.value_width,
        scale=problem.scale, causal=problem.causal, past=problem.past,
        q=_strided(problem.query), k=_strided(problem.key), v=_strided(problem.values),
        mask=None if problem.mask is None else _strided(problem.mask), out=_strided(problem.out),
    )  # fmt: skip


def _strided(matrix: Matrix) -> Strided:
    return Strided(matrix.word, matrix.batch, matrix.head, matrix.row, matrix.column)


# -- configurations -------------------------------------------------------------------------------------------
def _configs(shape: AttentionShape, work: Workload, gpu: Gpu) -> Iterable[AttentionTiles]:
    for precision in _precisions(shape, work):
        most = MOST_HELD if shape.dtype is not dtypes.f32 else MOST_HELD_F32[precision]
        for config in (*_whole(shape, most), *_flash(shape, gpu), *_splits(shape, gpu)):
            yield replace(config, precision=precision)


def _precisions(shape: AttentionShape, work: Workload) -> tuple[Precision, ...]:
    if shape.dtype is not dtypes.f32:
        return ("ieee",)
    return ("tf32",) if getattr(work.anchor, "allow_tf32", False) else ("ieee", "tf32x3")


def _row_tiles(shape: AttentionShape) -> list[tuple[int, int]]:
    """(rows, warps) worth trying; on matrix units of f16 64 rows are one group of four warps."""
    _, most = bounds(shape.queries)
    tiles = [(16, 1), (16, 2), (16, 4), (32, 2), (32, 4), (64, 4), (128, 8), (128, 4)]
    if shape.dtype is dtypes.f32:
        tiles = [(16, 2), (16, 4), (32, 4), (64, 4), (64, 8)]
    return [t for t in tiles if most is None or t[0] < 2 * most or t[0] == LEAST_PART]


def _whole(shape: AttentionShape, most_held: int) -> Iterable[AttentionTiles]:
    if not isinstance(shape.keys, int) or shape.keys > WHOLE_KEYS:
        return
    held = sum(width for _, width in parts_of(shape.keys))
    sides = sum(width for size in (shape.depth, shape.width) for _, width in parts_of(size))
    for rows, warps in _row_tiles(shape):
        threads = 32 * warps
        loaded = held * sides * shape.dtype.size_bytes // 4
        if max(rows * held, loaded) <= most_held * threads:
            yield AttentionTiles("whole", rows, held, warps, 1)


def _flash(shape: AttentionShape, gpu: Gpu) -> Iterable[AttentionTiles]:
    _, most = bounds(shape.keys)
    depth, width = (sum(w for _, w in parts_of(d)) for d in (shape.depth, shape.width))
    for rows, warps in _row_tiles(shape):
        for keys in (32, 64, 128):
            if most is not None and keys >= most and keys > 32:
                continue  # one block is better held whole
            if rows * (keys + width) > 160 * 32 * warps:
                continue
            for stages in (2, 3, 4):
                tile_bytes = (rows * depth + stages * keys * (depth + width)) * shape.dtype.size_bytes
                useful = most is None or stages <= max(2, 1 + -(-most // keys))
                if useful and tile_bytes <= gpu.shared_bytes:
                    yield AttentionTiles("flash", rows, keys, warps, stages)


def _splits(shape: AttentionShape, gpu: Gpu) -> Iterable[AttentionTiles]:
    _, most = bounds(shape.queries)
    _, keys = bounds(shape.keys)
    if most is None or most * shape.sharing > 4 * FEW_ROWS or (keys is not None and keys <= WHOLE_KEYS):
        return
    rows = LEAST_PART if most * shape.sharing <= 16 else 32 if most * shape.sharing <= 32 else 64
    for splits in (4, 8, 16, 32, 64):
        for block in (32, 64, 128):
            if keys is None or splits * block <= 2 * keys:
                tile_bytes = 4 * block * (shape.depth + shape.width) * shape.dtype.size_bytes
                if tile_bytes <= gpu.shared_bytes:
                    yield AttentionTiles("split", rows, block, 4, 3, splits)


# -- images ---------------------------------------------------------------------------------------------------
def _split_image(shape: AttentionShape, tiles: AttentionTiles) -> KernelImage:
    partials = (Workspace(0), Workspace(1), Workspace(2))
    shape = replace(shape, partials=partials)
    text = AttentionText(shape, tiles)
    function = _function(text.text(), text.parameters, tiles)
    rows = shape.queries * shape.sharing
    blocks = ceil_div(rows, tiles.rows)
    joined, parameters = join_text(shape, tiles)
    join = named("attention_join", joined, parameters.arguments, warps=4, stages=1, waits=True)
    steps = (
        _step(function, text.parameters, blocks * shape.lines * tiles.splits),
        _step(join, parameters, shape.lines * rows),
    )
    count = shape.lines * rows * tiles.splits * 4
    workspace = (count * shape.width, count, count)
    return KernelImage({function.name: function, join.name: join}, frozenset(), steps, workspace=workspace)


def _function(text: str, parameters: Parameters, config: AttentionTiles) -> KernelFunction:
    return named(
        f"attention_{config.form}",
        text,
        parameters.arguments,
        warps=config.warps,
        stages=config.stages,
        waits=True,
    )


def _step(function: KernelFunction, parameters: Parameters, programs: Dim) -> Step:
    words = tuple(_word(w) for w in parameters.words)
    return Step(function.name, words, grid=(programs,))


def _word(word: object) -> Word:
    """Sizes are Dims; everything else is a word already."""
    from engineworks.core.polynomial import Sym

    return Size(word) if isinstance(word, (int, Sym)) else word  # type: ignore[return-value]


PROVIDERS = (CudaAttention(),)
