"""Products of bf16 and of bytes by AMX tiles, with the pointwise work after them done on each block of sums."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from engineworks.codegen.llvm import amx
from engineworks.codegen.llvm.function import Isa
from engineworks.core.dims import Dim, ceil_div
from engineworks.errors import NoTactic
from engineworks.kernels import cost
from engineworks.kernels.cpu.image_parts import ImageParts
from engineworks.kernels.cpu.matmul import CANDIDATES, copied_left, dense_right, left_in_place, right_source
from engineworks.kernels.cpu.matmul_amx_emit import ROWS, AmxConfig, emit_amx_matmul, scratch_bytes
from engineworks.kernels.cpu.matmul_grid import Sides
from engineworks.kernels.cpu.matmul_problem import Problem, problem_of
from engineworks.kernels.cpu.pack import PanelForm, emit_pack, packed_constant
from engineworks.kernels.tactic import Effort, KernelImage, Tactic, Word, Workspace
from engineworks.kernels.workload import Workload, input_type

PRODUCT_CYCLES = 16.0
"""Of one tile product; loading a tile takes half of it from the first cache."""


class CpuMatMulAmx:
    """matmul of bf16, or of 8-bit integers, on CPUs with tile registers."""

    name = "cpu.matmul_amx"
    version = 1

    def propose(self, work: Workload, isa: Isa, effort: Effort) -> Iterable[Tactic]:
        problem, product = _problem(work, isa)
        found = [Tactic(self.name, c, predict(problem, c, product)) for c in _configs(problem, product)]
        return sorted(found, key=lambda t: t.predicted_s)[: CANDIDATES[effort]]

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        problem, product = _problem(work, isa)
        config = tactic.config
        assert isinstance(config, AmxConfig), tactic.text()
        parts = ImageParts(scratch_bytes=scratch_bytes(config))
        sides = _sides(parts, work, problem, product, config, isa)
        parts.add(*emit_amx_matmul(work, problem, sides, product, config, isa))
        return parts.image()


def _problem(work: Workload, isa: Isa) -> tuple[Problem, amx.TileProduct]:
    if work.anchor is None or work.anchor.name != "matmul":
        raise NoTactic("not a matmul")
    if not isa.has("amx-tile"):
        raise NoTactic("the target has no tile registers (AMX)")
    problem = problem_of(work)
    left, right = (input_type(work, k).dtype for k in (problem.left_input, problem.right_input))
    product = amx.tile_product(left, right, isa)
    if product is None:
        raise NoTactic(f"no tile instruction multiplies {left} by {right}")
    return problem, product


def _configs(problem: Problem, product: amx.TileProduct) -> Iterator[AmxConfig]:
    """Two by two tiles where there are rows for it; with few rows one by several."""
    rows = problem.rows if isinstance(problem.rows, int) else None
    if rows is not None and rows <= amx.TILE_ROWS:
        for columns in (2, 4, 6, 1):
            if columns == 1 or (columns - 1) * amx.TILE_COLUMNS < cost.typical(problem.columns, 1 << 30):
                yield AmxConfig(max(rows, 1), columns)
        return
    steps = -(-cost.typical(problem.depth, 1 << 20) // product.depth)
    for high in (4, 8, 2, 1):
        if (high - 1) * ROWS >= cost.typical(problem.rows, 1 << 20):
            continue
        for part in (0, 12, 8, 16):
            if (part and high == 1) or part >= steps:
                continue
            yield AmxConfig(high * ROWS, 2, part)
            if cost.typical(problem.rows) > 2 * high * ROWS:
                yield AmxConfig(high * ROWS, 2, part, block=1)


# -- prediction -----------------------------------------------------------------------------------------------
def predict(problem: Problem, config: AmxConfig, product: amx.TileProduct) -> float:
    """Seconds on one thread: tile products or the loads they wait for, the epilogue, traffic from far."""
    rows, columns, depth = (cost.typical(d) for d in (problem.rows, problem.columns, problem.depth))
    batches = cost.typical(problem.batch_count)
    steps = -(-depth // product.depth)
    panels = -(-columns // (config.columns * amx.TILE_COLUMNS))
    tasks = max(-(-rows // config.rows), 1)
    high = -(-min(config.rows, max(rows, 1)) // amx.TILE_ROWS)
    lines = amx.TILE_ROWS * (high + config.columns)
    cycles = max(PRODUCT_CYCLES * high * config.columns, 1.4 * lines)
    block = cycles * steps + 3.0 * min(config.rows, rows) * config.columns + 60
    compute = block * panels * tasks * batches / cost.CORE.clock_hz
    size = 4 // product.group
    traffic = batches * (size * rows * depth + 4 * rows * columns) + size * depth * columns
    return cost.overlapped_s(compute, traffic, hidden=False) + cost.CORE.launch_s


# -- the image ------------------------------------------------------------------------------------------------
def panel_form(work: Workload, problem: Problem, product: amx.TileProduct, columns: int) -> PanelForm:
    """How the right side lies for tiles."""
    dtype = input_type(work, problem.right_input).dtype
    return PanelForm(columns * amx.TILE_COLUMNS, dtype, product.group, amx.TILE_ROWS)


def _sides(
    parts: ImageParts,
    work: Workload,
    problem: Problem,
    product: amx.TileProduct,
    config: AmxConfig,
    isa: Isa,
) -> Sides:
    form = panel_form(work, problem, product, config.columns)
    if problem.right_constant:
        panel: Dim = form.panel(problem.depth)
        right: Word = parts.constant(
            packed_constant(problem.right_input, form, transposed=problem.right_input == 0)
        )
        matrix = panel * ceil_div(problem.columns, form.width)
    else:
        right = Workspace(len(parts.workspace))
        made = emit_pack(right_source(work, problem), right, form, isa)
        parts.buffer(made.size_bytes)
        parts.add(made.symbol, made.text, made.declarations, made.step)
        panel, matrix = made.panel, made.matrix
    left = left_in_place(problem)
    if problem.left_depth != 1:
        left = copied_left(parts, work, problem, input_type(work, problem.left_input).dtype, isa)
    return Sides(
        left.word,
        right,
        left.row,
        left.depth,
        panel,
        form.width * form.group,
        dense_right(left.batches, matrix),
    )


PROVIDERS = (CpuMatMulAmx(),)
