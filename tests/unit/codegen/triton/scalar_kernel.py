"""Expressions over arguments as one Triton kernel: run in the interpreter, or compiled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from engineworks.codegen.triton.casts import from_memory, into_memory, portable_pointer
from engineworks.codegen.triton.function import KernelFunction, named
from engineworks.codegen.triton.interpret import Interpreted
from engineworks.codegen.triton.lines import Lines
from engineworks.codegen.triton.scalars import ScalarEmitter
from engineworks.core.dtypes import DType, from_numpy
from engineworks.ir.scalar import Scalar, cast

TEXT = """
@triton.jit
def KERNEL({parameters}):
    at = tl.arange(0, {block})
{body}"""


def kernel_of(expressions: Mapping[str, Scalar], arguments: Sequence[DType], block: int) -> KernelFunction:
    """Stores expression k, element by element, to pointer `out{k}`."""
    lines = Lines(1)
    emitter = ScalarEmitter(
        lines,
        lambda leaf, _: from_memory(lines, lines.let(f"tl.load(in{leaf.payload} + at)"), leaf.dtype),
    )
    for k, expr in enumerate(expressions.values()):
        value = emitter.value(cast(expr, expr.dtype))
        if expr.dtype.is_float and expr.dtype.bits <= 8:
            from engineworks.codegen.triton.casts import rounded

            value = lines.let(rounded(lines, value, expr.dtype))
        made = lines.let(into_memory(lines, value, expr.dtype))
        lines.line(f"tl.store(out{k} + at, tl.broadcast_to({made}, ({block},)))")
    pointers = [portable_pointer(f"in{k}", d) for k, d in enumerate(arguments)]
    pointers += [portable_pointer(f"out{k}", e.dtype) for k, e in enumerate(expressions.values())]
    text = TEXT.format(parameters=", ".join(p.name for p in pointers), block=block, body=lines)
    return named("scalars", text, tuple(pointers))


def run_expressions(
    expressions: Mapping[str, Scalar], arguments: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
    """Each expression's values, as the interpreter computes them."""
    count = len(arguments[0])
    function = kernel_of(expressions, [from_numpy(a.dtype) for a in arguments], count)
    made = {name: np.zeros(count, e.dtype.numpy) for name, e in expressions.items()}
    given = [np.ascontiguousarray(a) for a in arguments]
    Interpreted(function).run((1,), [a.ctypes.data for a in (*given, *made.values())])
    return made
