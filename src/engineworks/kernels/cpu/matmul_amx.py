"""Products of bf16 and of bytes by AMX tiles, with the pointwise work after them done on each block of sums."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from engineworks.codegen.llvm import amx
from engineworks.codegen.llvm.function import Isa
from engineworks.errors import NoTactic
from engineworks.kernels import cost
from engineworks.kernels.cpu.image_parts import ImageParts
from engineworks.kernels.cpu.matmul import CANDIDATES
from engineworks.kernels.cpu.matmul_amx_emit import ROWS, AmxConfig, emit_amx_matmul, scratch_bytes
from engineworks.kernels.cpu.matmul_grid import Sides
from engineworks.kernels.cpu.matmul_problem import Problem, problem_of
from engineworks.kernels.cpu.matmul_sides import copied_left, left_in_place, packed_right
from engineworks.kernels.cpu.pack import PanelForm
from engineworks.kernels.tactic import Effort, KernelImage, Tactic
from engineworks.kernels.workload import Workload

PRODUCT_CYCLES = 16.0
"""Of one tile product."""
FIRST_CACHE_CYCLES, SECOND_CACHE_CYCLES = 0.8, 2.0
"""Of loading one row of a tile, measured on Sapphire Rapids: two by two tiles from the second cache take twice as long
as their products.
"""
FIRST_CACHE_BYTES = 16 << 10
"""Of a panel's part that stays near while rows of A pass by."""
KEPT_CYCLES = 256
"""Of sums that are written and read again between two parts of the depth."""


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
        sides = _sides(parts, problem, product, config, isa)
        parts.add(*emit_amx_matmul(work, problem, sides, product, config, isa))
        return parts.image()


def _problem(work: Workload, isa: Isa) -> tuple[Problem, amx.TileProduct]:
    if work.anchor is None or work.anchor.name != "matmul":
        raise NoTactic("not a matmul")
    if not isa.has("amx-tile"):
        raise NoTactic("the target has no tile registers (AMX)")
    problem = problem_of(work)
    left, right = problem.left_type, problem.right_type
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
        for part in (8, 0, 12):
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
    blocks = max(-(-rows // ROWS), 1)
    high = -(-min(ROWS, max(rows, 1)) // amx.TILE_ROWS)
    part = max(min(config.steps or steps, steps), 1)
    part_bytes = part * amx.TILE_ROWS * config.columns * amx.TILE_BYTES
    is_near = config.rows > ROWS and part_bytes <= FIRST_CACHE_BYTES
    right = FIRST_CACHE_CYCLES if is_near else SECOND_CACHE_CYCLES
    loads = SECOND_CACHE_CYCLES * high + right * config.columns
    block = max(PRODUCT_CYCLES * high * config.columns, amx.TILE_ROWS * loads) * steps
    block += KEPT_CYCLES * (-(-steps // part) - 1) + 3.0 * min(ROWS, rows) * config.columns + 60
    compute = block * panels * blocks * batches / cost.CORE.clock_hz
    size = 4 // product.group
    traffic = batches * (size * rows * depth + 4 * rows * columns) + size * depth * columns
    return cost.overlapped_s(compute, traffic, hidden=False) + cost.CORE.launch_s


# -- the image ------------------------------------------------------------------------------------------------
def _sides(
    parts: ImageParts, problem: Problem, product: amx.TileProduct, config: AmxConfig, isa: Isa
) -> Sides:
    left = left_in_place(problem)
    if problem.left_depth != 1 and problem.depth != 1:
        left = copied_left(parts, problem, problem.left_type, isa)
    width = config.columns * amx.TILE_COLUMNS
    form = PanelForm(width, problem.right_type, product.group, amx.TILE_ROWS)
    right = packed_right(parts, problem, left.batches, form, isa)
    step = width * form.group
    return Sides(left.word, right.word, left.row, left.depth, right.panel, step, right.batches)


PROVIDERS = (CpuMatMulAmx(),)
