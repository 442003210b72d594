"""Epilogues whose result is stored at once: a last rounding to bf16 is one instruction where the CPU has it."""

from __future__ import annotations

from collections.abc import Sequence

from engineworks.codegen.llvm.function import Function, Isa
from engineworks.codegen.llvm.prims import emit_epilogue
from engineworks.core import dtypes
from engineworks.ir.scalar import Scalar


def emit_stored(f: Function, isa: Isa, expression: Scalar, arguments: Sequence[str]) -> str:
    """Append an epilogue as `emit_epilogue` does, and return the stored value's name, in register form.

    vcvtneps2bf16 rounds to nearest even as `cast` does; it takes numbers below 2^-126 for zeros (Intel SDM, volume 2),
    which sums of products do not miss.
    """
    rounds = expression.head == "cast" and expression.dtype is dtypes.bf16
    if not (rounds and expression.args[0].dtype is dtypes.f32 and isa.lanes == 16 and isa.has("avx512bf16")):
        return emit_epilogue(f, isa, expression, arguments)
    f.require("avx512bf16")
    value = emit_epilogue(f, isa, expression.args[0], arguments)
    return f.call("<16 x bfloat>", "llvm.x86.avx512bf16.cvtneps2bf16.512", f"<16 x float> {value}")
