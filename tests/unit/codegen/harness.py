"""Kernels around single expressions, for the tests of the emitters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from engineworks.codegen.llvm.function import Function, Isa
from engineworks.codegen.llvm.prims import emit
from engineworks.codegen.llvm.vector import constant, storage_kind, vector_type
from engineworks.core import dtypes
from engineworks.core.dtypes import DType
from engineworks.core.types import TensorType
from engineworks.ir.scalar import Scalar
from engineworks.kernels.tactic import Input, KernelImage, Output, Step
from engineworks.testing.kernels import run_image


def run_expressions(
    expressions: Mapping[str, Scalar], arguments: Sequence[np.ndarray], isa: Isa, lanes: int
) -> dict[str, np.ndarray]:
    """Each expression over the arguments (1-D, equally long, a multiple of `lanes`), all in one module."""
    types = [TensorType(dtypes.from_numpy(a.dtype), a.shape) for a in arguments]
    outputs = [TensorType(e.dtype, arguments[0].shape) for e in expressions.values()]
    functions, declarations, steps = {}, set(), []
    for number, (name, expr) in enumerate(expressions.items()):
        f = _kernel(f"test_{name}", expr, [t.dtype for t in types], isa, lanes, arguments[0].size)
        functions[f.name] = f.text()
        declarations |= f.declarations
        steps.append(Step(f.name, (*(Input(k) for k in range(len(types))), Output(number)), 1))
    image = KernelImage(functions, frozenset(declarations), tuple(steps))
    results = run_image(image, list(zip(arguments, types, strict=True)), outputs, isa)
    return dict(zip(expressions, results, strict=True))


def _kernel(name: str, expr: Scalar, types: Sequence[DType], isa: Isa, lanes: int, count: int) -> Function:
    f = Function(name)
    pointers = [f.pointer(k) for k in range(len(types) + 1)]
    with f.loop(0, count, lanes) as index:
        values = [_load(f, pointers[k], index, dtype, lanes) for k, dtype in enumerate(types)]
        result = emit(f, isa, lanes, expr, lambda leaf: values[leaf.payload])
        kind = storage_kind(expr.dtype)
        if expr.dtype.kind == "bool":
            result = f.value(f"zext {vector_type('i1', lanes)} {result} to {vector_type('i8', lanes)}")
        f.line(f"store {vector_type(kind, lanes)} {result}, ptr {f.at(pointers[-1], index, kind)}, align 1")
    return f


def _load(f: Function, base: str, index: str, dtype: DType, lanes: int) -> str:
    kind = storage_kind(dtype)
    value = f.value(f"load {vector_type(kind, lanes)}, ptr {f.at(base, index, kind)}, align 1")
    if dtype.kind == "bool":
        return f.value(f"icmp ne {vector_type('i8', lanes)} {value}, {constant('i8', lanes, 0)}")
    return value
