"""f32 attention in one kernel after a step that packs the keys."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from engineworks.codegen.llvm.function import Isa
from engineworks.core.dims import Dim, bounds, product
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
FEW_QUERIES = 4


class CpuAttention:
    """f32 attention of any number of queries and keys, shared heads, additive and causal masks."""

    name = "cpu.attention"
    version = 1

    def propose(self, work: Workload, isa: Isa, effort: Effort) -> Iterable[Tactic]:
        problem = attention_problem(work)
        configs = dict.fromkeys(_configs(problem, isa))
        found = [Tactic(self.name, c, predict(problem, c, isa)) for c in configs]
        return sorted(found, key=lambda t: t.predicted_s)[: CANDIDATES[effort]]

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        problem, config = attention_problem(work), tactic.config
        assert isinstance(config, AttentionConfig), tactic.text()
        packs: list[PackedPanels] = []
        key, values = problem.key, problem.values
        if not config.dot:
            packs.append(_packed_keys(problem, Workspace(0), config.vectors * isa.lanes, isa))
            key = _panels(problem, key, packs[-1], Workspace(0))
        if config.pack_values or problem.values.column != 1:
            target = Workspace(len(packs))
            packs.append(_packed_values(problem, target, config.across_values * isa.lanes, isa))
            values = _panels(problem, values, packs[-1], target)
        symbol, text, declarations, step = emit_attention(
            replace(problem, key=key, values=values), config, isa
        )
        return KernelImage(
            {**{p.symbol: p.text for p in packs}, symbol: text},
            frozenset().union(declarations, *(p.declarations for p in packs)),
            (*(p.step for p in packs), step), (), tuple(p.size_bytes for p in packs),
            scratch_of(problem, config, isa).size_bytes,
        )  # fmt: skip


def _configs(problem: AttentionProblem, isa: Isa) -> Iterable[AttentionConfig]:
    _, most = bounds(problem.queries)
    if most is not None and most <= FEW_QUERIES and problem.query.column == 1 and problem.key.column == 1:
        keys = BLOCK_KEYS
        if isinstance(problem.keys, int) and problem.keys <= WHOLE_KEYS:
            keys = max(-(-problem.keys // isa.lanes), 1) * isa.lanes
        yield AttentionConfig(max(most, 1), 1, keys, dot=True, value_vectors=4 if most == 1 else 2)
    static = isinstance(problem.query.row, int) and isinstance(problem.queries, int)
    for rows, vectors in _TILES[isa.lanes]:
        if not static and rows > 8:
            continue
        rows_here = min(rows, max(problem.queries, 1)) if isinstance(problem.queries, int) else rows
        width = vectors * isa.lanes
        if isinstance(problem.keys, int) and problem.keys <= WHOLE_KEYS:
            base = AttentionConfig(rows_here, vectors, max(-(-problem.keys // width), 1) * width)
        else:
            base = AttentionConfig(rows_here, vectors, BLOCK_KEYS, 8 if static else 4)
        yield base
        if problem.values.column == 1 and cost.typical(problem.queries) > 4 * rows:
            yield replace(base, pack_values=True)


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
    source = PackSource(
        values.word, problem.keys, problem.value_width, values.row, values.column, _copies(problem, values)
    )
    return emit_pack(source, target, width, isa)


def _panels(problem: AttentionProblem, source: Matrix, packed: PackedPanels, word: Workspace) -> Matrix:
    """Where the packed matrices of `source` lie: heads innermost, then the batch axes along which they differ."""
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
    score = (
        queries * (depth / isa.lanes * (isa.lanes + 1) / 2 + 70 + isa.lanes)
        if config.dot
        else step * depth + 40
    )
    value = cost.tile_cycles(-(-queries // tiles), config.across_values, 4 if queries == 1 else 1)
    products = tiles * (
        panels * score + -(-problem.value_width // (config.across_values * isa.lanes)) * (value * keys + 40)
    )
    exponentials = queries * (panels * width / isa.lanes * 14 + 60)
    packing = 0.0 if config.dot else 3 * 4 * keys * depth / cost.CORE.near_bytes_per_s
    seconds = copies * ((products + exponentials) / cost.CORE.clock_hz + packing)
    if config.pack_values:
        seconds += (
            copies * 2 * 4 * keys * problem.value_width / cost.CORE.near_bytes_per_s + cost.CORE.launch_s
        )
    elif keys >= 512 and _rows_crowd(problem.values.row):
        seconds *= 1.4
    if config.group > 1:
        seconds *= 1 + 0.1 / config.group
    return seconds + 2 * cost.CORE.launch_s


def _rows_crowd(row: Dim) -> bool:
    """Whether rows lie so that long columns of values use a small part of the second cache's sets."""
    return isinstance(row, int) and row * 4 % 2048 == 0


PROVIDERS = (CpuAttention(),)
