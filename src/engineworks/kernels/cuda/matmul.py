"""Matrix products by tiles on the matrix units, with the pointwise work after them done in registers."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace

from engineworks.codegen.triton.gpu import Gpu
from engineworks.core import dtypes
from engineworks.core.dims import bounds
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.matmul_problem import Problem, problem_of
from engineworks.kernels.cuda import matmul_cost as cost
from engineworks.kernels.cuda.matmul_arithmetic import Arithmetic, arithmetics
from engineworks.kernels.cuda.matmul_corrections import NORMALISED, is_dense, normalising_epsilon
from engineworks.kernels.cuda.matmul_image import sides_of, tile_image
from engineworks.kernels.cuda.matmul_sides import Side
from engineworks.kernels.cuda.matmul_text import divides
from engineworks.kernels.cuda.matmul_tiling import TileConfig
from engineworks.kernels.tactic import Effort, KernelImage, Tactic
from engineworks.kernels.workload import Workload

CANDIDATES = (1, 4, 8, 16, 32, 4000)
"""How many candidates each effort gets."""
MOST_SUMS = 128
"""Registers of sums that a thread holds; half as many where the operands take registers too."""
MOST_STAGES = 6
PARTS = (2, 3, 4, 6, 8, 12, 16)
MAP_ALIGNMENT = 16
"""Bytes that strides of a tensor map are a multiple of."""


class CudaMatMul:
    """matmul of the types that matrix units multiply: any layouts, batches and sizes."""

    name = "cuda.matmul"
    version = 1

    def propose(self, work: Workload, isa: Gpu, effort: Effort) -> Iterable[Tactic]:
        problem, ways = ways_of(work, isa)
        found = [
            Tactic(self.name, config, cost.predict(work, problem, config, way, isa), way.is_loose)
            for way in ways
            for config in dict.fromkeys(_configs(work, problem, way, isa))
        ]
        return _chosen(sorted(found, key=lambda t: t.predicted_s), CANDIDATES[effort])

    def build(self, work: Workload, tactic: Tactic, isa: Gpu) -> KernelImage:
        config = tactic.config
        assert isinstance(config, TileConfig), tactic.text()
        problem, ways = ways_of(work, isa)
        way = next(way for way in ways if way.precision == config.precision)
        return tile_image(work, problem, config, way, isa)


def ways_of(work: Workload, gpu: Gpu) -> tuple[Problem, tuple[Arithmetic, ...]]:
    """The problem, and the ways to multiply its operands.

    Raises:
        NoTactic: not a matmul, or of types that matrix units do not multiply.
    """
    if work.anchor is None or work.anchor.name not in ("matmul", NORMALISED):
        raise NoTactic("not a matmul")
    problem = problem_of(work)
    left, right = problem.left_type, problem.right_type
    if work.anchor.name == NORMALISED:
        _refuse_other_rows(work, problem)
    allowed = getattr(work.anchor, "allow_tf32", False)
    ways = tuple(arithmetics(left, right, gpu, allow_tf32=allowed))
    if not ways:
        raise NoTactic(
            f"matrix units of {gpu.arch} do not multiply {left} by {right}; the generic matmul does"
        )
    return problem, ways


def _refuse_other_rows(work: Workload, problem: Problem) -> None:
    """Raises NoTactic: the left rows are not normalised as they are read."""
    if problem.left_input != 0 or problem.batches or not problem.right_constant:
        raise NoTactic(
            "rows are normalised for one product by a constant, whose columns are contiguous in the output"
        )
    if not is_dense(work) or not problem.left_type.is_float or problem.left_type is dtypes.f64:
        raise NoTactic(f"rows of {work.inputs[0]} are not normalised as they are read")
    if problem.depth == 0:
        raise NoTactic("rows of no elements have no mean")


def _chosen(tactics: list[Tactic], count: int) -> list[Tactic]:
    """The best, and others nearly as good but different: small differences of predictions are not to be trusted.

    Args:
        tactics: best first.
    """
    if count >= len(tactics):
        return tactics
    found: list[Tactic] = []
    penalties = [t.predicted_s for t in tactics]
    while len(found) < count:
        place = min(range(len(tactics)), key=penalties.__getitem__)
        found.append(tactics[place])
        penalties[place] = float("inf")
        taken = tactics[place].config
        for number, tactic in enumerate(tactics):
            penalties[number] *= _likeness(taken, tactic.config)
    return sorted(found, key=lambda t: t.predicted_s)


def _likeness(taken: TileConfig, other: TileConfig) -> float:
    """1 for configurations that have little in common, more for those that have."""
    tile = (taken.rows, taken.columns, taken.parts) == (other.rows, other.columns, other.parts)
    steps = (taken.depth, taken.stages) == (other.depth, other.stages)
    form = _form(taken) == _form(other)
    return (
        (1.04 if tile else 1.0)
        * (1.02 if steps else 1.0)
        * (1.01 if form else 1.0)
        * (1.1 if tile and steps else 1.0)
    )


def _form(config: TileConfig) -> tuple[bool, ...]:
    return config.maps, config.persistent, config.turned, config.mapped_store


# -- the space ------------------------------------------------------------------------------------------------
def _configs(work: Workload, problem: Problem, way: Arithmetic, gpu: Gpu) -> Iterator[TileConfig]:
    sizes = cost.sizes_of(problem)
    item = cost.item_bytes(problem)
    most = _most_sums(work, problem, way)
    for rows, columns in _tiles(sizes, way):
        for depth, warps in itertools.product(_depths(sizes.depth, way), (4, 8)):
            per_thread = rows * columns * way.sum.size_bytes // (4 * 32 * warps)
            # The smallest tile is small for four warps, but products of few rows and columns have no other.
            least = (2 if rows * columns <= 256 else 4) if warps == 4 else 16
            if not least <= per_thread <= most:
                continue
            base = TileConfig(rows, columns, depth, warps, precision=way.precision)
            for config in _staged(base, sizes, item, gpu):
                yield config
                yield from _variants(work, problem, config, sizes, way, gpu)


def _most_sums(work: Workload, problem: Problem, way: Arithmetic) -> int:
    """Registers for sums; where rows of the output are not aligned, each element takes two more for its address."""
    most = MOST_SUMS // 2 if way.needs_registers else MOST_SUMS
    if not divides(max(1, MAP_ALIGNMENT // work.outputs[0].dtype.size_bytes), problem.out_row):
        full = work.epilogue is not None and "full" in work.epilogue.kinds
        most = min(most, MOST_SUMS // 4 if full else MOST_SUMS // 2)
    return most


def _tiles(sizes: cost.Sizes, way: Arithmetic) -> Iterator[tuple[int, int]]:
    most_rows, most_columns = _power(sizes.rows), _power(sizes.columns)
    largest = 128 if way.needs_registers or way.precision == "ieee" else 256
    for rows, columns in itertools.product((16, 32, 64, 128, 256), (16, 32, 64, 128, 256)):
        if rows > max(16, most_rows) or columns > max(16, most_columns) or max(rows, columns) > largest:
            continue
        if max(rows, columns) > 8 * min(rows, columns):
            continue
        if rows < 64 and rows < most_rows and sizes.rows * sizes.columns > 1 << 22:
            continue
        yield rows, columns


def _power(count: int) -> int:
    return 1 << max(0, count - 1).bit_length()


def _depths(depth: int, way: Arithmetic) -> tuple[int, ...]:
    """Steps of 64 to 256 bytes of the operands as they are multiplied."""
    size = way.operand.size_bytes
    least = 32 if size == 1 else 16
    found = [n // size for n in (64, 128, 256, 512) if n // size >= least]
    return tuple(n for n in found if n <= max(least, _power(depth))) or (least,)


def _staged(base: TileConfig, sizes: cost.Sizes, item: tuple[int, int], gpu: Gpu) -> Iterator[TileConfig]:
    """As many blocks on their way as fit, and fewer where two programs then share a processor."""
    steps = -(-sizes.depth // base.depth)
    found: set[int] = set()
    for share in (1, 2):
        fitting = [
            s for s in range(2, MOST_STAGES + 1)
            if cost.shared_bytes(replace(base, stages=s), item) <= gpu.shared_bytes // share - 1024
        ]  # fmt: skip
        if fitting:
            found.add(min(max(fitting), max(2, steps)))
    for stages in sorted(found, reverse=True):
        yield replace(base, stages=stages)


def _variants(
    work: Workload, problem: Problem, config: TileConfig, sizes: cost.Sizes, way: Arithmetic, gpu: Gpu
) -> Iterator[TileConfig]:
    """Other ways to walk over the same tiles."""
    tiles = -(-sizes.rows // config.rows) * -(-sizes.columns // config.columns) * sizes.batch
    forms = [config]
    if _maps(work, problem, config, gpu):
        forms.append(replace(config, maps=True))
        yield forms[1]
        if tiles > gpu.processors:
            yield from _persistent(work, problem, forms[1], gpu)
            if _stores_by_map(work, problem):
                yield from _persistent(work, problem, replace(forms[1], mapped_store=True), gpu)
    if config.rows < 64 <= config.columns and way.operand.bits <= 16 and gpu.capability in (90, 100):
        yield from (replace(form, turned=True) for form in forms)
    for parts, uncut in _cuts(work, problem, tiles, -(-sizes.depth // config.depth), gpu):
        yield from (replace(form, parts=parts, uncut=uncut) for form in forms)


def _beside(work: Workload, config: TileConfig) -> int:
    """Bytes of shared memory through which a 'full' operand passes while a stored tile still lies in its own."""
    full = work.epilogue is not None and "full" in work.epilogue.kinds
    return config.rows * config.columns if full and config.mapped_store else 0


def _persistent(work: Workload, problem: Problem, config: TileConfig, gpu: Gpu) -> Iterator[TileConfig]:
    """With as many stages as fit beside the sums on their way out."""
    item, beside = cost.item_bytes(problem), _beside(work, config)
    for stages in range(MOST_STAGES, 1, -1):
        found = replace(config, persistent=True, stages=stages)
        if cost.shared_bytes(found, item) + beside <= gpu.shared_bytes - 1024:
            yield found
            return


def _cuts(work: Workload, problem: Problem, tiles: int, steps: int, gpu: Gpu) -> Iterator[tuple[int, int]]:
    """(parts, tiles that are not cut): all tiles where they are few, else those that would be a last, short wave."""
    unsigned = dtypes.u8 in (problem.left_type, problem.right_type) and problem.left_type.is_integer
    if unsigned or normalising_epsilon(work) is not None:
        return
    for parts in PARTS:
        if tiles * parts > 3 * gpu.processors or steps < 2 * parts:
            break
        yield parts, 0
    rest = tiles % gpu.processors
    if _is_static(problem) and tiles > gpu.processors and 0 < rest < 0.6 * gpu.processors and steps >= 8:
        yield max(2, min(8, gpu.processors // rest, steps // 4)), tiles - rest


def _is_static(problem: Problem) -> bool:
    return all(
        isinstance(d, int) for d in (problem.rows, problem.columns, problem.depth, problem.batch_count)
    )


def _maps(work: Workload, problem: Problem, config: TileConfig, gpu: Gpu) -> bool:
    """Both factors can be described by tensor maps."""
    if not gpu.has("tma"):
        return False
    if any(
        (bounds(d)[0] or 0) < 1 for d in (problem.rows, problem.columns, problem.depth, problem.batch_count)
    ):
        return False
    left, right, _ = sides_of(work, problem, config)
    return all(_has_map(side) for side in (left, right))


def _stores_by_map(work: Workload, problem: Problem) -> bool:
    out = work.outputs[0].dtype
    item = MAP_ALIGNMENT // out.size_bytes
    strides = (problem.out_row, *(b.out for b in problem.batches))
    return (
        out.is_float and out.bits in (16, 32) and len(strides) <= 3 and all(divides(item, s) for s in strides)
    )


def _has_map(side: Side) -> bool:
    if side.dtype in (dtypes.u8, dtypes.f64):
        return False
    inner, outer = (side.depth, side.outer) if side.depth == 1 else (side.outer, side.depth)
    item = MAP_ALIGNMENT // side.dtype.size_bytes
    used = [s for s in (*side.batches, outer) if s != 0]
    return inner == 1 and outer != 0 and len(used) <= 3 and all(divides(item, s) for s in used)


PROVIDERS = (CudaMatMul(),)
