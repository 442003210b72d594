"""Small hand-written engines. Kernels: out[i] = in[i] + 1 and out[i] = a[i] * b[i], f32, one task an element."""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from engineworks.codegen.llvm.compile import compile_object, module_text
from engineworks.codegen.llvm.function import AVX2, Function
from engineworks.codegen.llvm.pool import pool_text
from engineworks.core.target import V3
from engineworks.engine import container
from engineworks.engine.schema import Buffer, Kernel, Manifest, Record, Ref, TargetRecord, Tensor
from engineworks.runtime.cpu.link import link

TARGET = TargetRecord("cpu", "x86-64-v3", V3)


def elementwise(name: str, operation: str, operands: int) -> Function:
    """out[i] = operands combined by an LLVM binary operation (with 1.0 when there is one operand)."""
    f = Function(name)
    pointers = [f.pointer(i) for i in range(operands + 1)]
    with f.loop("%lo", "%hi") as i:
        values = [f.value(f"load float, ptr {f.at(p, i, 'float')}, align 4") for p in pointers[:-1]]
        result = f.value(f"{operation} float {values[0]}, {values[1] if operands == 2 else '1.0'}")
        f.line(f"store float {result}, ptr {f.at(pointers[-1], i, 'float')}, align 4")
    return f


def code_of(functions: Sequence[Function]) -> bytes:
    """One object for each function and one for the pool, linked."""
    objects = [compile_object(module_text([f.text()], f.declarations, AVX2), AVX2) for f in functions]
    texts, declarations = pool_text(AVX2)
    return link([*objects, compile_object(module_text(texts, declarations, AVX2), AVX2)])


@pytest.fixture(scope="session")
def code() -> bytes:
    return code_of([elementwise("add_one", "fadd", 1), elementwise("multiply", "fmul", 2)])


KERNELS = (Kernel("add_one"), Kernel("multiply"))
WEIGHTS = np.arange(1000, dtype=np.float32)


@pytest.fixture
def weights() -> np.ndarray:
    return WEIGHTS


def _static_manifest(chunks: int = 0) -> Manifest:
    """y = (x + 1) * weights, 1000 elements: two records, one buffer between them."""
    return Manifest(
        package="test", target=TARGET, inputs=(Tensor("x", "f32", (10, 100)),), outputs=(Tensor("y", "f32", (10, 100)),),
        buffers=(
            Buffer("input", 0, 4000), Buffer("arena", 64, 4000), Buffer("weights", 0, 4000), Buffer("output", 0, 4000),
        ),
        kernels=KERNELS,
        program=(
            Record(kernel=0, words=(Ref(0), Ref(1)), tasks=1000, chunks=chunks, name="plus", writes=(1,)),
            Record(kernel=1, words=(Ref(1), Ref(2), Ref(3)), tasks=1000, chunks=chunks, name="times", writes=(3,)),
            Record(op="end"),
        ),
        arena_bytes=4096,
    )  # fmt: skip


@pytest.fixture
def static_manifest() -> Callable[..., Manifest]:
    return _static_manifest


@pytest.fixture
def static_engine(tmp_path, code):
    """Path of the engine of y = (x + 1) * weights."""
    path = tmp_path / "static.engine"
    container.write(path, _static_manifest(), {"code": code, "weights": WEIGHTS.tobytes()})
    return path
