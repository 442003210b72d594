"""Predicted times of products by register tiles."""

from __future__ import annotations

from engineworks.codegen.llvm.function import Isa
from engineworks.codegen.llvm.multiply import Multiply
from engineworks.core.dims import Dim, product
from engineworks.kernels import cost
from engineworks.kernels.cpu.matmul_emit import MatMulConfig
from engineworks.kernels.cpu.matmul_problem import Problem
from engineworks.kernels.cpu.matmul_rows import row_tiles


def rows_collide(row_stride: Dim, rows: int, size: int) -> bool:
    """Whether a tile's rows crowd few sets of the first cache: 64 sets of 64 bytes, so addresses repeat at 4096, and
    at least eight ways.
    """
    if not isinstance(row_stride, int) or row_stride == 0:
        return False
    step = row_stride * size
    return step % 1024 == 0 and rows > 8 * (4096 // min(step & -step, 4096))


def predict(problem: Problem, config: MatMulConfig, isa: Isa, way: Multiply) -> float:
    """Seconds on one thread: multiplying by tiles, traffic that the second cache cannot hold, packing, launches."""
    rows, columns, depth = (cost.typical(d) for d in (problem.rows, problem.columns, problem.depth))
    batches = cost.typical(problem.batch_count)
    width = config.vectors * isa.lanes
    panels = -(-columns // width)
    tiling = row_tiles(rows, config.rows)
    cycles = sum(
        count * (_group_cycles(size, config, way) * -(-depth // way.group) + 40 + 2 * size)
        for size, count in tiling.split
    )
    if config.left == "direct" and rows_collide(problem.left_row, config.rows, way.left.size_bytes):
        cycles *= 1.15
    multiply = cycles * panels * batches / cost.CORE.clock_hz
    right_copies = cost.typical(product(b.size for b in problem.right_batches))
    left_size, right_size = way.left.size_bytes, way.right.size_bytes
    left, right, out = left_size * rows * depth, right_size * depth * columns, 4 * rows * columns
    left_reads, right_reads = _reads(
        config, cost.typical(tiling.count), panels, depth, left, right, width * right_size * depth
    )
    traffic = batches * (left * left_reads + 2 * out) + right_copies * right * right_reads
    seconds = cost.overlapped_s(multiply, traffic, hidden=config.prefetch > 0 or config.ahead > 0)
    blocks = -(-depth // config.depth_block) if config.depth_block else 1
    seconds += blocks * cost.CORE.launch_s + (blocks - 1) * 2 * batches * out / cost.CORE.near_bytes_per_s
    if config.right == "packed":
        seconds += cost.CORE.launch_s + 3 * right_copies * right / cost.CORE.near_bytes_per_s
    elif config.right == "direct" and panels > 1:
        seconds *= 1.1  # rows of B lie apart: each k step may miss the TLB and the prefetcher
    if config.left == "padded":
        seconds += cost.CORE.launch_s + 2 * left / cost.CORE.far_bytes_per_s
    return seconds


def _group_cycles(rows: int, config: MatMulConfig, way: Multiply) -> float:
    """Cycles of one k group of a register tile."""
    core, vectors = cost.CORE, config.vectors
    widening = vectors * way.load_cost / core.multiplies_per_cycle
    if way.flips_left:
        widening += rows / core.multiplies_per_cycle
    products = rows * vectors * way.cost / core.multiplies_per_cycle
    loads = (rows * (2 if way.form == "bf16_weights" else 1) + vectors) / core.loads_per_cycle
    return max(products + widening, loads, core.latency_cycles * way.cost / config.chains)


def _reads(
    config: MatMulConfig, tiles: int, panels: int, depth: int, left: int, right: int, panel: int
) -> tuple[int, int]:
    """How often the left and the right side come from beyond the second cache."""
    near = cost.CORE.near_bytes
    if not config.block:
        part = config.depth_block / depth if config.depth_block else 1.0
        return (1 if (left + 2 * panel) * part <= near else panels), 1
    blocks = -(-tiles // config.block)
    return 1, (1 if right + left // max(blocks, 1) <= near else blocks)
