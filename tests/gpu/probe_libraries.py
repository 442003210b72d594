"""Prints how fast the libraries are: `python tests/gpu/probe_libraries.py`, from the root of the repository."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engineworks.codegen.triton.gpu import gpu_of
from engineworks.core import dtypes
from engineworks.errors import Error
from engineworks.ir.scalar import argument
from engineworks.kernels.cuda.matmul_cublaslt import PROVIDERS
from engineworks.ops.matmul import MatMul
from engineworks.runtime.cuda import libraries
from engineworks.runtime.cuda.driver import driver_of
from tests.gpu.library_run import OnGpu
from tests.unit.kernels.cuda.library_case import Case, tensor

PRODUCTS = ((128, 768, 768), (128, 3072, 768), (128, 768, 3072), (4096, 3072, 768), (4096, 768, 3072))


def products() -> Iterator[Case]:
    f16 = dtypes.f16
    for m, n, k in PRODUCTS:
        inputs = [tensor("f16", m, k), tensor("f16", k, n), tensor("f16", n)]
        yield Case(
            f"{m} x {n} x {k} + bias", MatMul(), inputs, tensor("f16", m, n), lambda a, b, c: a @ b + c,
            argument(0, f16) + argument(1, f16), ("channel",), constants=(1, 2),
        )  # fmt: skip


def measure(case: Case, provider: object, out: object) -> None:
    driver = driver_of(0)
    for tactic in provider.propose(case.work, gpu_of("sm_90"), 2):  # type: ignore[attr-defined]
        try:
            run = OnGpu(driver, case, provider.build(case.work, tactic, gpu_of("sm_90")))  # type: ignore[attr-defined]
            error = case.check(run.result(captured=False), case.arrays())
            said = f"{run.seconds() * 1e6:8.2f} us   error {error:.1e}"
        except (Error, AssertionError) as why:
            said = f"    {type(why).__name__}: {why}"
        out.write(f"{case.name:44} {tactic.text():34} {said}\n")  # type: ignore[attr-defined]


def main() -> None:
    out = sys.stdout
    for library in ("cublaslt",):
        out.write(f"{library} {libraries.version(library)}\n")
    np.seterr(all="ignore")
    for case in products():
        measure(case, PROVIDERS[0], out)


if __name__ == "__main__":
    main()
