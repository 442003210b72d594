"""Attention in one kernel, or for few queries of many keys in programs that share the keys and one that joins them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from engineworks.codegen.triton.attention import AttentionText
from engineworks.codegen.triton.attention_join import join_text
from engineworks.codegen.triton.attention_parameters import Parameters
from engineworks.codegen.triton.attention_shape import (
    AttentionShape,
    AttentionTiles,
    Precision,
    Strided,
)
from engineworks.codegen.triton.function import KernelFunction, named
from engineworks.codegen.triton.gpu import Gpu
from engineworks.core import dtypes
from engineworks.core.dims import Dim, ceil_div
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.attention_problem import Matrix, attention_problem
from engineworks.kernels.cuda.attention_cost import predict
from engineworks.kernels.cuda.attention_tiles import tilings
from engineworks.kernels.tactic import Effort, KernelImage, Size, Step, Tactic, Word, Workspace
from engineworks.kernels.workload import Workload

WIDEST = 256
"""Columns of a head whose results a program can hold."""
CANDIDATES = {0: 1, 1: 4, 2: 8, 3: 16, 4: 24, 5: 200}


class CudaAttention:
    """Attention in f32, bf16 or f16, of any number of queries and keys, shared heads, additive and causal masks."""

    name = "cuda.attention"
    version = 1

    def propose(self, work: Workload, isa: Gpu, effort: Effort) -> Iterable[Tactic]:
        shape = attention_shape(work)
        found = [
            Tactic(self.name, c, predict(shape, c, isa), is_loose=c.precision == "tf32x3")
            for precision in _precisions(shape, work)
            for c in tilings(shape, isa, precision)
        ]
        if not found:
            raise NoTactic(f"{isa.arch} does not hold one block of keys of size {shape.depth}")
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


def _precisions(shape: AttentionShape, work: Workload) -> tuple[Precision, ...]:
    if shape.dtype is not dtypes.f32:
        return ("ieee",)
    return ("tf32",) if getattr(work.anchor, "allow_tf32", False) else ("ieee", "tf32x3")


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
