"""f32 attention in one kernel after a step that packs the keys."""
from __future__ import annotations

from collections.abc import Iterable

from engineworks.codegen.llvm.function import Isa
from engineworks.core.dims import Dim, product
from engineworks.kernels import cost
from engineworks.kernels.cpu.attention_emit import AttentionConfig, emit_attention, scratch_of
from engineworks.kernels.cpu.attention_problem import AttentionProblem, Matrix, attention_problem
from engineworks.kernels.cpu.matmul import CANDIDATES
from engineworks.kernels.cpu.pack import PackedPanels, PackSource, emit_pack
from engineworks.kernels.tactic import Effort, KernelImage, Tactic, Workspace
from engineworks.kernels.workload import Workload

_TILES = {16: ((14, 2), (12, 2), (8, 2), (6, 4)), 8: ((6, 2), (4, 2))}
WHOLE_KEYS = 1024
"""Up to here all keys are one block."""
BLOCK_KEYS = 512


class CpuAttention:
    """f32 attention of any number of queries and keys, shared heads, additive and causal masks."""

    name = "cpu.attention"
    version = 1

    def propose(self, work: Workload, isa: Isa, effort: Effort) -> Iterable[Tactic]:
        problem = attention_problem(work)
        found = [Tactic(self.name, c, predict(problem, c, isa)) for c in _configs(problem, isa)]
        return sorted(found, key=lambda t: t.predicted_s)[: CANDIDATES[effort]]

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        problem, config = attention_problem(work), tactic.config
        assert isinstance(config, AttentionConfig), tactic.text()
        width = config.vectors * isa.lanes
        packs = [_packed_keys(problem, Workspace(0), width, isa)]
        key = _panels(problem, packs[0], Workspace(0))
        values = None
        if problem.values.column != 1:
            packs.append(_packed_values(problem, Workspace(1), width, isa))
            values = _panels(problem, packs[1], Workspace(1))
        symbol, text, declarations, step = emit_attention(problem.with_packed(key, values), config, isa)
        return KernelImage(
            {**{p.symbol: p.text for p in packs}, symbol: text},
            frozenset().union(declarations, *(p.declarations for p in packs)),
            (*(p.step for p in packs), step), (), tuple(p.size_bytes for p in packs),
            scratch_of(problem, config, isa).size_bytes,
        )  # fmt: skip


def _configs(problem: AttentionProblem, isa: Isa) -> Iterable[AttentionConfig]:
    static = isinstance(problem.query.row, int) and isinstance(problem.queries, int)
    for rows, vectors in _TILES[isa.lanes]:
        if not static and rows > 8:
            continue
        if isinstance(problem.queries, int):
            rows = min(rows, max(problem.queries, 1))
        width = vectors * isa.lanes
        if isinstance(problem.keys, int) and problem.keys <= WHOLE_KEYS:
            yield AttentionConfig(rows, vectors, max(-(-problem.keys // width), 1) * width)
            continue
        yield AttentionConfig(rows, vectors, BLOCK_KEYS, 4)
        if static:
            yield AttentionConfig(rows, vectors, BLOCK_KEYS, 8)


def _copies(problem: AttentionProblem, matrix: Matrix) -> tuple[tuple[Dim, Dim], ...]:
    """(size, stride) of the axes along which keys or values differ."""
    axes = [(size, stride) for size, stride in zip(problem.batch, matrix.batch, strict=True) if stride != 0]
    return (*axes, (problem.shared_heads, matrix.head))


def _packed_keys(problem: AttentionProblem, target: Workspace, width: int, isa: Isa) -> PackedPanels:
    key = problem.key
    source = PackSource(key.word, problem.depth, problem.keys, key.column, key.row, _copies(problem, key))
    return emit_pack(source, target, width, isa)


def _packed_values(problem: AttentionProblem, target: Workspace, width: int, isa: Isa) -> PackedPanels:
    values = problem.values
    source = PackSource(values.word, problem.keys, problem.value_width, values.row, values.column, _copies(problem, values))
    return emit_pack(source, target, width, isa)


def _panels(problem: AttentionProblem, packed: PackedPanels, word: Workspace) -> Matrix:
    """Where the packed matrices lie: heads innermost, then the batch axes along which they differ."""
    source = problem.key if word.index == 0 else problem.values
    step: Dim = packed.matrix * problem.shared_heads
    batch: list[Dim] = []
    for size, stride in zip(reversed(problem.batch), reversed(source.batch), strict=True):
        batch.insert(0, 0 if stride == 0 else step)
        step = step if stride == 0 else step * size
    return Matrix(word, tuple(batch), packed.matrix, 0, 0, packed.panel)


def predict(problem: AttentionProblem, config: AttentionConfig, isa: Isa) -> float:
    """Seconds on one thread: two products, the exponentials, packing."""
    queries, keys, depth = (cost.typical(d) for d in (problem.queries, problem.keys, problem.depth))
    copies = cost.typical(product([*problem.batch, problem.heads]))
    width = config.vectors * isa.lanes
    tiles = -(-queries // config.rows)
    panels = -(-keys // width)
    step = cost.tile_cycles(-(-queries // tiles), config.vectors)
    products = tiles * (panels * (step * depth + 40) + -(-problem.value_width // width) * (step * keys + 40))
    exponentials = queries * (panels * width / isa.lanes * 14 + 60)
    packing = 3 * 4 * keys * depth / cost.CORE.near_bytes_per_s
    seconds = copies * ((products + exponentials) / cost.CORE.clock_hz + packing)
    if config.group > 1:
        seconds *= 1 + 0.1 / config.group
    return seconds + 2 * cost.CORE.launch_s


PROVIDERS = (CpuAttention(),)
