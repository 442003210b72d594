"""Products of a few rows with weights: bound by reading the weights, so they are streamed once and in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from engineworks.codegen.llvm.function import Isa
from engineworks.codegen.llvm.multiply import Multiply
from engineworks.core.dims import bounds
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.matmul import CANDIDATES, build_matmul, multiplies_of, must_copy
from engineworks.kernels.cpu.matmul_cost import predict
from engineworks.kernels.cpu.matmul_emit import LeftForm, MatMulConfig
from engineworks.kernels.cpu.matmul_problem import Problem
from engineworks.kernels.tactic import Effort, KernelImage, Tactic
from engineworks.kernels.workload import Workload

MOST_ROWS = 4
_SHAPES = ((2, 4, 2048), (2, 8, 2048), (4, 4, 0), (1, 8, 0))
"""(vectors, unroll, bytes fetched ahead): two cache lines a step and 2 KiB ahead keep the memory busy with any rows."""


class CpuGemv:
    """matmul of at most four rows with constant weights."""

    name = "cpu.gemv"
    version = 2

    def propose(self, work: Workload, isa: Isa, effort: Effort) -> Iterable[Tactic]:
        problem, ways = multiplies_of(work, isa)
        _, most = bounds(problem.rows)
        if not problem.right_constant or most is None or not 0 < most <= MOST_ROWS:
            raise NoTactic(f"gemv is for at most {MOST_ROWS} rows and constant weights; rows: {problem.rows}")
        found = [
            Tactic(self.name, config, predict(problem, config, isa, way))
            for way in ways
            for config in _configs(most, isa, problem, way)
        ]
        return sorted(found, key=lambda t: t.predicted_s)[: CANDIDATES[effort]]

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        return build_matmul(work, tactic, isa)


def _configs(rows: int, isa: Isa, problem: Problem, way: Multiply) -> Iterator[MatMulConfig]:
    left: LeftForm = "padded" if must_copy(problem, way) else "direct"
    for zmm, unroll, ahead in _SHAPES:
        vectors = zmm * 16 // isa.lanes if rows == 1 else zmm
        chains = 4 if rows * vectors <= 2 else 2 if rows * vectors <= 6 else 1
        yield MatMulConfig(rows, vectors, unroll, left=left, chains=chains, ahead=ahead, form=way.form)


PROVIDERS = (CpuGemv(),)
