"""Matrix products by register tiles, with the pointwise work after them done in registers: floats and bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from engineworks.codegen.llvm.function import Isa
from engineworks.codegen.llvm.multiply import Multiply, multiplies
from engineworks.codegen.llvm.tile import CACHE_LINE
from engineworks.core.dims import Dim
from engineworks.errors import NoTactic
from engineworks.kernels import cost
from engineworks.kernels.cpu.matmul_cost import predict, rows_collide
from engineworks.kernels.cpu.matmul_emit import LeftForm, MatMulConfig, RightForm
from engineworks.kernels.cpu.matmul_image import matmul_image
from engineworks.kernels.cpu.matmul_problem import Problem, problem_of
from engineworks.kernels.tactic import Effort, KernelImage, Tactic
from engineworks.kernels.workload import Workload

CANDIDATES = (1, 2, 4, 8, 16, 1000)
"""How many candidates each effort gets."""
_TILES = {
    16: ((6, 4), (8, 3), (14, 2), (12, 2), (9, 3), (4, 4), (12, 1)),
    8: ((6, 2), (4, 3), (5, 2), (12, 1), (4, 2)),
}
"""(rows, vectors) by lanes: sums + one k row of B + a broadcast fit the register file."""
FEW_ROWS = 5
"""Up to here all rows fit one tile, and the product is bound by reading the right side."""
DEPTH_BLOCK = 768
"""k steps that one launch takes when the depth is blocked."""
MOST_TILES_TO_PREFETCH = 64


class CpuMatMul:
    """matmul of floats of 32 bits and fewer, or of bytes: any layouts, batches and sizes."""

    name = "cpu.matmul"
    version = 2

    def propose(self, work: Workload, isa: Isa, effort: Effort) -> Iterable[Tactic]:
        problem, ways = multiplies_of(work, isa)
        found = [
            Tactic(self.name, c, predict(problem, c, isa, way))
            for way in ways
            for c in _configs(problem, isa, way)
        ]
        return sorted(found, key=lambda t: t.predicted_s)[: CANDIDATES[effort]]

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        return build_matmul(work, tactic, isa)


def build_matmul(work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
    """The image of a MatMulConfig."""
    config = tactic.config
    assert isinstance(config, MatMulConfig), tactic.text()
    problem, ways = multiplies_of(work, isa)
    way = next(way for way in ways if way.form == config.form)
    return matmul_image(work, problem, config, way, isa)


def multiplies_of(work: Workload, isa: Isa) -> tuple[Problem, tuple[Multiply, ...]]:
    """The problem, and the ways to multiply its operands.

    Raises:
        NoTactic: not a matmul, or of other operands.
    """
    if work.anchor is None or work.anchor.name != "matmul":
        raise NoTactic("not a matmul")
    problem = problem_of(work)
    left, right = problem.left_type, problem.right_type
    ways = multiplies(left, right, isa, right_constant=problem.right_constant)
    if not ways:
        raise NoTactic(f"register tiles do not multiply {left} by {right}; the generic matmul does")
    if not problem.right_constant:
        ways = tuple(w for w in ways if w.form not in ("f16_weights", "bf16_weights"))
    return problem, ways


# -- the space ------------------------------------------------------------------------------------------------
def _configs(problem: Problem, isa: Isa, way: Multiply) -> Iterator[MatMulConfig]:
    lanes = isa.lanes
    left: LeftForm = "padded" if must_copy(problem, way) else "direct"
    for rows, vectors in _tiles(problem, lanes, left):
        if isinstance(problem.columns, int) and vectors > 1 and (vectors - 1) * lanes >= problem.columns:
            continue
        chains = 4 if rows * vectors <= 4 else 2 if rows * vectors <= 8 else 1
        base = MatMulConfig(rows, vectors, left=left, chains=chains, form=way.form)
        for form in _right_forms(problem, way):
            plain = _with_prefetch(problem, replace(base, right=form), lanes, way)
            yield plain
            if cost.typical(problem.rows) > 16 * rows and cost.typical(problem.columns) > vectors * lanes:
                yield replace(plain, block=8)
            if left == "padded":
                continue
            if way.form == "f32" and form == "constant" and _can_block_depth(problem):
                yield replace(plain, depth_block=_balanced(problem.depth, DEPTH_BLOCK))
            if rows_collide(problem.left_row, rows, way.left.size_bytes):
                yield replace(plain, left="padded")


def must_copy(problem: Problem, way: Multiply) -> bool:
    """Whether the left side is not as the kernel reads it: of another dtype, or with gaps in its k groups."""
    gaps = way.group > 1 and problem.left_depth != 1 and problem.depth != 1
    return problem.left_type is not way.left or gaps


def _with_prefetch(problem: Problem, config: MatMulConfig, lanes: int, way: Multiply) -> MatMulConfig:
    """With few row tiles for each panel, bringing in the next panel takes a part of the time worth hiding."""
    tiles = max(-(-cost.typical(problem.rows) // config.rows), 1)
    if (
        config.right == "direct"
        or tiles > MOST_TILES_TO_PREFETCH
        or problem.columns == config.vectors * lanes
    ):
        return config
    turn_bytes = config.unroll * config.vectors * lanes * way.column_bytes
    return replace(config, prefetch=-(-turn_bytes // (tiles * CACHE_LINE)))


def _balanced(depth: Dim, most: int) -> int:
    assert isinstance(depth, int)
    blocks = -(-depth // most)
    return -(-depth // blocks // 4) * 4


def _can_block_depth(problem: Problem) -> bool:
    if not isinstance(problem.depth, int) or not isinstance(problem.left_depth, int):
        return False
    return problem.depth >= 2 * DEPTH_BLOCK


def _tiles(problem: Problem, lanes: int, left: LeftForm) -> Iterator[tuple[int, int]]:
    """The tiles that suit the number of rows; rows at unknown strides need an address register each."""
    static_rows = isinstance(problem.left_row if left == "direct" else problem.depth, int)
    most = problem.rows if isinstance(problem.rows, int) else None
    if most is not None and most <= FEW_ROWS:
        for vectors in (2, 4, 1) if lanes == 16 else (4, 2, 1):
            yield max(most, 1), vectors
        return
    fitting = dict.fromkeys((rows if most is None else min(rows, most), v) for rows, v in _TILES[lanes])
    for rows, vectors in fitting:
        if static_rows or rows <= 6:
            yield rows, vectors


def _right_forms(problem: Problem, way: Multiply) -> tuple[RightForm, ...]:
    if problem.right_constant:
        return ("constant",)
    if way.form != "f32" or problem.right_type is not way.right:
        return ("packed",)
    if problem.right_column != 1 and problem.columns != 1:
        return ("packed",)
    return ("packed", "direct")


PROVIDERS = (CpuMatMul(),)
