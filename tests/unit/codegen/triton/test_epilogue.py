"""Epilogues on an accumulator: bias, residual and activation in fp32, rounded once."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("triton")

from engineworks.codegen.triton.epilogue import accumulated_dtype, emit_epilogue
from engineworks.codegen.triton.function import named, pointer
from engineworks.codegen.triton.interpret import Interpreted
from engineworks.codegen.triton.lines import Lines
from engineworks.codegen.triton.scalars import held, stored
from engineworks.core.dtypes import f16, f32, i32
from engineworks.ir.scalar import apply, argument, cast, const
from engineworks.kernels.workload import Epilogue

TEXT = """
@triton.jit
def KERNEL(bias, residual, out):
    m, n = tl.arange(0, 4)[:, None], tl.arange(0, 8)[None, :]
    sums = (m * 8 + n - 12).to({kind})
{body}
    tl.store(out + m * 8 + n, {value})
"""


def test_bias_and_residual_are_added_in_fp32_and_rounded_once() -> None:
    x = cast(argument(0, f16), f32) + cast(argument(1, f16), f32)
    work = Epilogue(
        cast(apply("max", x, const(0, f32)) * cast(argument(2, f16), f32), f16), ("channel", "full")
    )
    lines = Lines(1)

    def load(operand: int, kind: str) -> str:
        place = "n" if kind == "channel" else "m * 8 + n"
        return held(f"tl.load({('bias', 'residual')[operand]} + {place})", f16)

    value = emit_epilogue(lines, work, "sums", load)
    text = TEXT.format(body=lines, value=stored(value, f16), kind="tl.float32")
    function = named("epilogue", text, (pointer("bias", f16), pointer("residual", f16), pointer("out", f16)))
    bias = np.linspace(-3, 4, 8).astype(np.float16)
    residual = np.linspace(0.1, 9, 32).astype(np.float16).reshape(4, 8)
    out = np.zeros((4, 8), np.float16)
    Interpreted(function).run((1,), [a.ctypes.data for a in (bias, residual, out)])
    sums = np.arange(32, dtype=np.float32).reshape(4, 8) - 12
    expected = np.maximum(sums + bias.astype(np.float32), 0) * residual.astype(np.float32)
    np.testing.assert_array_equal(out, expected.astype(np.float16))


def test_without_an_epilogue_the_accumulator_is_stored() -> None:
    lines = Lines()
    assert emit_epilogue(lines, None, "sums", lambda operand, kind: "") == "sums"
    assert accumulated_dtype(None, f32) is f32


def test_the_accumulator_is_taken_in_the_dtype_of_argument_0() -> None:
    work = Epilogue(cast(argument(0, i32), f32) * 0.5)
    assert accumulated_dtype(work, f32) is i32
