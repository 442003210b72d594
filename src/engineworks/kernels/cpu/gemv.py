"""f32 products of a few rows with weights: bound by reading the weights, so they are streamed once and in order."""

from __future__ import annotations

from collections.abc import Iterable

from engineworks.codegen.llvm.function import Isa
from engineworks.core.dims import bounds
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.matmul import CANDIDATES, build_matmul, predict, require_f32_matmul
from engineworks.kernels.cpu.matmul_emit import MatMulConfig
from engineworks.kernels.cpu.matmul_problem import problem_of
from engineworks.kernels.tactic import Effort, KernelImage, Tactic
from engineworks.kernels.workload import Workload

MOST_ROWS = 4
_SHAPES = ((2, 4, 2048), (2, 8, 2048), (4, 4, 0), (1, 8, 0))
"""(vectors, unroll, bytes fetched ahead): two cache lines a step and 2 KiB ahead keep the memory busy with any rows."""


class CpuGemv:
    """f32 matmul of at most four rows with constant weights."""

    name = "cpu.gemv"
    version = 1

    def propose(self, work: Workload, isa: Isa, effort: Effort) -> Iterable[Tactic]:
        require_f32_matmul(work)
        problem = problem_of(work)
        _, most = bounds(problem.rows)
        if not problem.right_constant or most is None or not 0 < most <= MOST_ROWS:
            raise NoTactic(f"gemv is for at most {MOST_ROWS} rows and constant weights; rows: {problem.rows}")
        configs = []
        for zmm, unroll, ahead in _SHAPES:
            vectors = zmm * 16 // isa.lanes if most == 1 else zmm
            chains = 4 if most * vectors <= 2 else 2 if most * vectors <= 6 else 1
            configs.append(MatMulConfig(most, vectors, unroll, chains=chains, ahead=ahead))
        found = [Tactic(self.name, c, predict(problem, c, isa)) for c in configs]
        return found[: CANDIDATES[effort]]

    def build(self, work: Workload, tactic: Tactic, isa: Isa) -> KernelImage:
        return build_matmul(work, tactic, isa)


PROVIDERS = (CpuGemv(),)
