"""Predicted seconds of tile kernels: arithmetic, bytes through the level-2 cache, waiting for copies, launches.

The constants were fitted to an H200: (128, 768, 768) in 3.5 µs, (128, 768, 3072) in 7.0 µs without cutting the depth,
4096 x 3072 x 768 at 560 TFLOP/s. Only the order of predictions matters beyond effort 0.
"""

from __future__ import annotations

from dataclasses import dataclass

from engineworks.codegen.triton.gpu import Gpu
from engineworks.core.dims import Dim
from engineworks.kernels.cost import typical
from engineworks.kernels.cpu.matmul_problem import Problem
from engineworks.kernels.cuda.matmul_arithmetic import Arithmetic
from engineworks.kernels.cuda.matmul_corrections import keeps_blocks, normalising_epsilon
from engineworks.kernels.cuda.matmul_tiling import TileConfig
from engineworks.kernels.workload import Workload

LAUNCH_S = 1.0e-6
"""From one kernel of a graph to the next."""
FILL_S = 0.9e-6
"""From a program's start to its first product, and from its last one to the end of the store."""
COPY_S = 0.65e-6
"""From asking for a block in the level-2 cache to having it."""
STEP_S = 60e-9
"""Of each step along the depth: barriers, and starting the matrix units again."""
ONE_BYTES_PER_S = 75e9
"""What one processor gets from the level-2 cache."""
NEAR_FACTOR = 1.9
"""What all processors get from the level-2 cache, over the rate of device memory."""
ADD_S = 0.3e-6
"""Of the launch that adds the parts, beside reading them."""
NORMALISE_S = 2.1e-11
"""Of each element of a row that is normalised, in one program: 4.7 instructions of one of 128 lanes."""
EXCHANGE_S = 1.1e-11
"""More of each, where threads add up their sums in each step: counted in the machine code of 64 x 64 x 256."""
HIDDEN = 0.15
"""Part of the shorter of computing and reading memory that the longer does not hide."""
MAP_S = 40e-9
"""Of each stage of tensor maps, before the first copy and behind the last product: barriers are made and ended."""
ALONE_S = 0.25e-6
"""What is lost where a program and one of the next kernel do not fit one processor, so that the next starts late."""
TYPICAL = 1024
"""Planned for where a size is not known."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """A problem in numbers, unknown sizes guessed."""

    rows: int
    columns: int
    depth: int
    batch: int


def sizes_of(problem: Problem) -> Sizes:
    """Sizes to plan for."""
    rows, columns, depth, batch = problem.rows, problem.columns, problem.depth, problem.batch_count
    return Sizes(*(max(1, guess(d)) for d in (rows, columns, depth, batch)))


def guess(dim: Dim) -> int:
    """A value to plan for."""
    return typical(dim, TYPICAL)


def predict(work: Workload, problem: Problem, config: TileConfig, way: Arithmetic, gpu: Gpu) -> float:
    """Seconds of one call among other kernels."""
    sizes, item = sizes_of(problem), item_bytes(problem)
    tiles = _over(sizes.rows, config.rows) * _over(sizes.columns, config.columns) * sizes.batch
    each_s = _normalising_s(config) if normalising_epsilon(work) is not None else 0.0
    body_s = _body_s(config, way, gpu, tiles, sizes, item, each_s)
    stored = sizes.rows * sizes.columns * work.outputs[0].dtype.size_bytes
    read = sizes.depth * (sizes.rows * item[0] + sizes.columns * item[1])
    memory_s = sizes.batch * (stored + read) / gpu.bytes_per_s
    seconds = LAUNCH_S + FILL_S + max(body_s, memory_s) + HIDDEN * min(body_s, memory_s)
    if config.maps and not config.persistent:
        seconds += MAP_S * config.stages
    alone = 2 * shared_bytes(config, item) > gpu.shared_bytes - 2048
    if alone and gpu.has("pdl") and tiles * config.parts <= gpu.processors:
        seconds += ALONE_S
    if config.parts > 1:
        partial = (tiles - config.uncut) * config.parts * config.rows * config.columns * way.sum.size_bytes
        seconds += LAUNCH_S + ADD_S + 2 * partial / (NEAR_FACTOR * gpu.bytes_per_s)
    return seconds


def item_bytes(problem: Problem) -> tuple[int, int]:
    """Of an element of the left and of the right factor."""
    return problem.left_type.size_bytes, problem.right_type.size_bytes


def _normalising_s(config: TileConfig) -> float:
    """Seconds of a step for the moments of its rows."""
    seconds = NORMALISE_S if keeps_blocks(config) else NORMALISE_S + EXCHANGE_S
    return seconds * config.rows * config.depth


def _body_s(
    config: TileConfig,
    way: Arithmetic,
    gpu: Gpu,
    tiles: int,
    sizes: Sizes,
    item: tuple[int, int],
    each_s: float,
) -> float:
    """Seconds of all programs, without the start of the first and the end of the last.

    Args:
        each_s: more in each step than multiplying.
    """
    steps = _over(sizes.depth, config.depth)
    program_s = _program_s(config, way, gpu, steps, item, tiles * config.parts, each_s)
    part = _over(steps, config.parts) / steps
    if config.uncut:
        units = config.uncut + (tiles - config.uncut) * config.parts * part
        body_s = max(units / gpu.processors, 1.0) * program_s + part * program_s / 2
    else:
        body_s = _over(tiles * config.parts, gpu.processors) * part * program_s
    if config.persistent:
        return body_s * (0.99 if config.mapped_store else 1.0)
    waves = _over(tiles, gpu.processors * residents(config, item, gpu))
    return body_s + (waves - 1) * 0.5 * FILL_S


def _program_s(
    config: TileConfig,
    way: Arithmetic,
    gpu: Gpu,
    steps: int,
    item: tuple[int, int],
    programs: int,
    each_s: float,
) -> float:
    """Seconds of one tile over its whole depth, when so many programs are to run."""
    elements = config.rows * config.columns
    efficiency = 0.95 * elements / (elements + 2400)
    if config.rows < 64 and not config.turned:
        efficiency *= 0.6  # narrow products take the older instructions
    flops_s = 2 * elements * config.depth / (gpu.half_flops * way.rate / gpu.processors) / efficiency
    bytes_ = (config.rows * item[0] + config.columns * item[1]) * config.depth
    rate = min(ONE_BYTES_PER_S, NEAR_FACTOR * gpu.bytes_per_s / min(programs, gpu.processors))
    copy_s = bytes_ / rate * (0.95 if config.maps else 1.0)
    shares = programs > 1.5 * gpu.processors and not config.persistent
    resident = residents(config, item, gpu) if shares else 1
    waiting_s = (COPY_S + copy_s) / max(1, config.stages - 1) / resident
    step_s = STEP_S * (0.8 if config.maps else 1.0) / resident
    return steps * (max(flops_s + each_s, copy_s, waiting_s) + step_s)


def residents(config: TileConfig, sizes: tuple[int, int], gpu: Gpu) -> int:
    """Programs that share a processor: by shared memory and registers, two at most are counted on."""
    registers = config.rows * config.columns // (32 * config.warps) + 64
    by_registers = 65536 // (registers * 32 * config.warps)
    return max(1, min(2, by_registers, gpu.shared_bytes // max(1, shared_bytes(config, sizes))))


def shared_bytes(config: TileConfig, sizes: tuple[int, int], out_bytes: int = 2) -> int:
    """Shared memory that a kernel takes, about: blocks on their way, and the sums on the way to the store."""
    pipeline = config.stages * config.depth * (config.rows * sizes[0] + config.columns * sizes[1])
    end = config.rows * config.columns * max(out_bytes, 2)
    return pipeline + end + 256 if config.persistent else max(pipeline, end) + 256


def _over(count: int, by: int) -> int:
    return -(-count // by)
