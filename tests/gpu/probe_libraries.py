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
from engineworks.ir.scalar import apply, argument, const
from engineworks.kernels.cuda import attention_cudnn, conv_cublaslt, conv_cudnn, matmul_cublaslt
from engineworks.kernels.tactic import TacticProvider
from engineworks.ops.attention import Attention
from engineworks.ops.conv import Conv
from engineworks.ops.matmul import MatMul
from engineworks.runtime.cuda import libraries
from engineworks.runtime.cuda.driver import driver_of
from tests.gpu.library_run import OnGpu
from tests.unit.kernels.cuda import attention_library_cases
from tests.unit.kernels.cuda.conv_library_cases import case, channel, last
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


LAYERS = (
    (32, 56, 64, 64, 3, 1), (32, 14, 256, 256, 3, 1), (32, 7, 512, 512, 3, 1), (32, 56, 64, 256, 1, 1),
    (32, 14, 1024, 256, 1, 1), (1, 56, 64, 64, 3, 1), (1, 14, 256, 256, 3, 1), (1, 14, 1024, 256, 1, 1),
)  # fmt: skip
"""Batch, height and width, channels in and out, kernel, stride: those of design tables and ResNet-50."""


def layers() -> Iterator[Case]:
    f16 = dtypes.f16
    relu = apply("max", argument(0, f16) + argument(1, f16), const(0, f16))
    for n, size, c, k, kernel, stride in LAYERS:
        op = Conv(strides=(stride,) * 2, pads=(kernel // 2,) * 4)
        inputs = [last("f16", n, c, size, size), tensor("f16", k, c, kernel, kernel), tensor("f16", k)]
        yield case(
            f"{n} x {size}^2 x {c} -> {k}, {kernel}x{kernel}/{stride} + bias + relu", op, inputs,
            lambda y, b: np.maximum(y + channel(b), 0), expression=relu, kinds=("channel",), constants=(1, 2),
        )  # fmt: skip


HEADS = ((1, 12, 128, 64), (32, 12, 128, 64), (32, 12, 197, 64), (1, 16, 4096, 128))
"""Batch, heads, rows, width: BERT-base, ViT-B/16, a long one."""


def attentions() -> Iterator[Case]:
    for b, h, s, d in HEADS:
        inputs = attention_library_cases.alike("f16", *[(b, h, s, d)] * 3, order=(0, 2, 1, 3))
        yield attention_library_cases.case(
            f"attention {b} x {h} x {s} x {d}", Attention(scale=d**-0.5), inputs
        )


def measure(case: Case, provider: TacticProvider, *, checks: bool) -> None:
    """One line for each proposal. `checks`: compare with float64, which takes the CPU seconds for a large layer."""
    driver, gpu = driver_of(0), gpu_of("sm_90")
    for tactic in provider.propose(case.work, gpu, 2):
        try:
            run = OnGpu(driver, case, provider.build(case.work, tactic, gpu))
            result = run.result(captured=False)
            said = f"{run.seconds() * 1e6:8.2f} us"
            if checks:
                said += f"   error {case.check(result, case.arrays()):.1e}"
        except (Error, AssertionError) as why:
            said = f"    {type(why).__name__}: {why}"
        sys.stdout.write(f"{case.name:48} {tactic.text():34} {said}\n")


def main() -> None:
    """The table."""
    for library in ("cublaslt", "cudnn"):
        sys.stdout.write(f"{library} {libraries.version(library)}\n")
    for product in products():
        measure(product, matmul_cublaslt.PROVIDERS[0], checks=product.name.startswith("128 "))
    for layer in layers():
        small = layer.name.startswith("1 ")
        measure(layer, conv_cudnn.PROVIDERS[0], checks=small)
        if "1x1/1" in layer.name:
            measure(layer, conv_cublaslt.PROVIDERS[0], checks=small)
    for each in attentions():
        measure(each, attention_cudnn.PROVIDERS[0], checks=" 1 x 12" in each.name)


if __name__ == "__main__":
    main()
