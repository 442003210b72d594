"""Products of bf16 and of bytes by AMX tiles, with the pointwise work after them done on each block of sums."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from engineworks.codegen.llvm import amx
from engineworks.codegen.llvm.function import Isa
from engineworks.core.dims import Dim, ceil_div
from engineworks.errors import NoTactic
from engineworks.kernels import cost
from engineworks.kernels.cpu.image_parts import ImageParts
from engineworks.kernels.cpu.matmul import CANDIDATES, dense_right
from engineworks.kernels.cpu.matmul_amx_emit import AmxConfig, emit_amx_matmul, scratch_bytes
from engineworks.kernels.cpu.matmul_grid import Sides
from engineworks.kernels.cpu.matmul_problem import Problem, problem_of
from engineworks.kernels.cpu.pack import PanelForm, packed_constant
from engineworks.kernels.tactic import Effort, Input, KernelImage, Tactic
from engineworks.kernels.workload import Workload, input_type

PRODUCT_CYCLES = 16.0
"""Of one tile product; loading a tile takes half of it from the first cache."""


class CpuMatMulAmx:
    """matmul of bf16, or of 8-bit integers, on CPUs with tile registers."""

    name = "cpu.matmul_amx"
    version = 1

    def propose(self, work: Workload, isa: Isa, effort: Effort) -> Iterable[Tactic]:
        problem, product = _problem(work, isa)
        found = [Tactic(self.name, c, predict(problem, c, product)) for c in _configs(problem)]
        return sorted(found, key=lambda t: t.predicted_s)[: CANDIDATES[effort]]

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        problem, product = _problem(work, isa)
        config = tactic.config
        assert isinstance(config, AmxConfig), tactic.text()
        parts = ImageParts(scratch_bytes=scratch_bytes(config))
        sides = _right(parts, work, problem, product, config, isa)
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
    if problem.left_depth != 1:
        raise NoTactic("the depth is not contiguous on the left side")
    if not problem.right_constant:
        raise NoTactic("the right side is not constant")
    return problem, product


def _configs(problem: Problem) -> Iterator[AmxConfig]:
    """Two by two tiles where there are rows for it; with few rows one by several."""
    rows = problem.rows if isinstance(problem.rows, int) else None
    if rows is not None and rows <= amx.TILE_ROWS:
        for columns in (4, 2, 6, 1):
            if columns == 1 or (columns - 1) * amx.TILE_COLUMNS < cost.typical(problem.columns, 1 << 30):
                yield AmxConfig(max(rows, 1), columns)
        return
    most = 2 * amx.TILE_ROWS
    for config in (AmxConfig(most, 2), AmxConfig(most, 1), AmxConfig(amx.TILE_ROWS, 4)):
        yield config
        if cost.typical(problem.rows) > 8 * config.rows:
            yield AmxConfig(config.rows, config.columns, block=4)


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


def _right(
    parts: ImageParts,
    work: Workload,
    problem: Problem,
    product: amx.TileProduct,
    config: AmxConfig,
    isa: Isa,
) -> Sides:
    form = panel_form(work, problem, product, config.columns)
    panel: Dim = form.panel(problem.depth)
    right = parts.constant(packed_constant(problem.right_input, form, transposed=problem.right_input == 0))
    matrix = panel * ceil_div(problem.columns, form.width)
    return Sides(
        Input(problem.left_input),
        right,
        problem.left_row,
        problem.left_depth,
        panel,
        form.width * form.group,
        dense_right(problem.batches, matrix),
    )


PROVIDERS = (CpuMatMulAmx(),)
