"""Attention in one kernel after a step that packs the keys."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from engineworks.codegen.llvm import amx
from engineworks.codegen.llvm.function import Isa
from engineworks.core import dtypes
from engineworks.core.dims import Dim, bounds, ceil_div, product
from engineworks.core.dtypes import DType
from engineworks.kernels import cost
from engineworks.kernels.cpu.attention_emit import AttentionConfig, AttentionForm, emit_attention, scratch_of
from engineworks.kernels.cpu.attention_problem import AttentionProblem, Matrix, attention_problem
from engineworks.kernels.cpu.copy_rows import RowSource, emit_row_copy
from engineworks.kernels.cpu.image_parts import ImageParts
from engineworks.kernels.cpu.matmul import CANDIDATES
from engineworks.kernels.cpu.pack import PackSource, PanelForm, emit_pack
from engineworks.kernels.tactic import Effort, KernelImage, Tactic, Workspace
from engineworks.kernels.workload import Workload

_TILES = {16: ((14, 2), (12, 2), (8, 2), (6, 4)), 8: ((6, 2), (4, 2))}
WHOLE_KEYS = 1024
"""Up to here all keys are one block."""
BLOCK_KEYS = 512
FEW_QUERIES = 4


class CpuAttention:
    """Attention in f32, bf16 or f16 of any number of queries and keys, shared heads, additive and causal masks."""

    name = "cpu.attention"
    version = 2

    def propose(self, work: Workload, isa: Isa, effort: Effort) -> Iterable[Tactic]:
        problem = attention_problem(work)
        configs = dict.fromkeys(_configs(problem, isa))
        found = [Tactic(self.name, c, predict(problem, c, isa)) for c in configs]
        return sorted(found, key=lambda t: t.predicted_s)[: CANDIDATES[effort]]

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        problem, config = attention_problem(work), tactic.config
        assert isinstance(config, AttentionConfig), tactic.text()
        parts = ImageParts(scratch_bytes=scratch_of(problem, config, isa).size_bytes)
        dtype = dtypes.bf16 if config.form in ("bf16_dot", "tiles") else dtypes.f32
        query, key, values = problem.query, problem.key, problem.values
        if config.form == "f32" and query.dtype is not dtypes.f32:
            query = _widened_queries(parts, problem, isa)
        if not config.dot:
            key = _packed_keys(parts, problem, _panel_form(config.vectors * isa.lanes, dtype), isa)
        if config.pack_values or values.column != 1:
            values = _packed_values(parts, problem, _panel_form(config.across_values * isa.lanes, dtype), isa)
        parts.add(*emit_attention(replace(problem, query=query, key=key, values=values), config, isa))
        return parts.image()


def _panel_form(width: int, dtype: DType) -> PanelForm:
    return PanelForm(width, dtype, 4 // dtype.size_bytes, 16)


def _configs(problem: AttentionProblem, isa: Isa) -> Iterable[AttentionConfig]:
    _, most = bounds(problem.queries)
    if most is not None and most <= FEW_QUERIES and problem.query.column == 1 and problem.key.column == 1:
        keys = BLOCK_KEYS
        if isinstance(problem.keys, int) and problem.keys <= WHOLE_KEYS:
            keys = max(-(-problem.keys // isa.lanes), 1) * isa.lanes
        if problem.values.column == 1 or problem.values.dtype is dtypes.f32:
            form: AttentionForm = "f32" if problem.query.dtype is dtypes.f32 else "rows"
            across = 4 if most == 1 else 2
            yield AttentionConfig(max(most, 1), 1, keys, dot=True, value_vectors=across, form=form)
    yield from _bf16_configs(problem, isa)
    narrow = problem.query.dtype is not dtypes.f32
    static = isinstance(problem.query.row, int) and isinstance(problem.queries, int)
    for rows, vectors in _TILES[isa.lanes]:
        if not static and rows > 8:
            continue
        rows_here = min(rows, max(problem.queries, 1)) if isinstance(problem.queries, int) else rows
        base = _blocked(problem, AttentionConfig(rows_here, vectors, pack_values=narrow), isa)
        yield base
        if not narrow and problem.values.column == 1 and cost.typical(problem.queries) > 4 * rows:
            yield replace(base, pack_values=True)


def _bf16_configs(problem: AttentionProblem, isa: Isa) -> Iterable[AttentionConfig]:
    """Products of bf16 where the target has them."""
    if problem.query.dtype is not dtypes.bf16 or problem.query.column != 1:
        return
    forms: list[tuple[AttentionForm, int]] = []
    if isa.has("amx-tile", "amx-bf16"):
        forms.append(("tiles", 2 * amx.TILE_ROWS))
    if isa.has("avx512bf16") and isa.lanes == 16:
        forms.append(("bf16_dot", 8))
    for form, most in forms:
        rows = min(most, problem.queries) if isinstance(problem.queries, int) else most
        yield _blocked(problem, AttentionConfig(rows, 2, pack_values=True, form=form), isa)


def _blocked(problem: AttentionProblem, config: AttentionConfig, isa: Isa) -> AttentionConfig:
    """The configuration with as many keys in a block as suit the problem, and rows to share them."""
    width = config.vectors * isa.lanes
    if isinstance(problem.keys, int) and problem.keys <= WHOLE_KEYS:
        return replace(config, keys=max(-(-problem.keys // width), 1) * width)
    static = isinstance(problem.query.row, int) and isinstance(problem.queries, int)
    return replace(config, keys=BLOCK_KEYS, group=8 if static else 4)


def _copies(problem: AttentionProblem, matrix: Matrix) -> tuple[tuple[Dim, Dim], ...]:
    """(size, stride) of the axes along which keys or values differ."""
    axes = [(size, stride) for size, stride in zip(problem.batch, matrix.batch, strict=True) if stride != 0]
    return (*axes, (problem.shared_heads, matrix.head))


def _widened_queries(parts: ImageParts, problem: AttentionProblem, isa: Isa) -> Matrix:
    """Queries copied as f32."""
    query = problem.query
    stride = ceil_div(problem.depth, 16) * 16
    axes = [(size, step) for size, step in zip(problem.batch, query.batch, strict=True) if step != 0]
    axes.append((problem.heads, query.head))
    source = RowSource(
        query.word, problem.queries, problem.depth, query.row, query.column, query.dtype, tuple(axes)
    )
    target = parts.buffer(product([*(size for size, _ in axes), problem.queries]) * stride * 4)
    parts.add(*emit_row_copy(source, target, dtypes.f32, stride, isa))
    head = problem.queries * stride
    return Matrix(target, _dense(problem, query, head * problem.heads), head, stride, 1)


def _packed_keys(parts: ImageParts, problem: AttentionProblem, form: PanelForm, isa: Isa) -> Matrix:
    key = problem.key
    source = PackSource(
        key.word, problem.depth, problem.keys, key.column, key.row, _copies(problem, key), key.dtype
    )
    return _panels(parts, problem, key, source, form, isa)


def _packed_values(parts: ImageParts, problem: AttentionProblem, form: PanelForm, isa: Isa) -> Matrix:
    values, copies = problem.values, _copies(problem, problem.values)
    source = PackSource(
        values.word, problem.keys, problem.value_width, values.row, values.column, copies, values.dtype
    )
    return _panels(parts, problem, values, source, form, isa)


def _panels(
    parts: ImageParts,
    problem: AttentionProblem,
    matrix: Matrix,
    source: PackSource,
    form: PanelForm,
    isa: Isa,
) -> Matrix:
    """Where the packed matrices lie: heads innermost, then the batch axes along which they differ."""
    target = Workspace(len(parts.workspace))
    made = emit_pack(source, target, form, isa)
    parts.buffer(made.size_bytes)
    parts.add(made.symbol, made.text, made.declarations, made.step)
    batch = _dense(problem, matrix, made.matrix * problem.shared_heads)
    return Matrix(target, batch, made.matrix, 0, 0, made.panel, form.dtype)


def _dense(problem: AttentionProblem, source: Matrix, step: Dim) -> tuple[Dim, ...]:
    """Steps along the batch axes of matrices that follow each other, `step` apart along the innermost."""
    batch: list[Dim] = []
    for size, stride in zip(reversed(problem.batch), reversed(source.batch), strict=True):
        batch.insert(0, 0 if stride == 0 else step)
        step = step if stride == 0 else step * size
    return tuple(batch)


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
    if config.form == "tiles":
        steps = -(-depth // 32) * panels + -(-keys // 32) * -(-problem.value_width // 32)
        products = tiles * steps * 90.0 + queries * (panels + problem.value_width / 16) * 10
    elif config.form == "bf16_dot":
        products *= 1.05
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
