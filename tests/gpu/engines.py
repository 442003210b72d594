"""Small hand-written engines for GPUs: their kernels, and a way to put them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engineworks.codegen.triton.function import Argument, KernelFunction, named
from engineworks.codegen.triton.gpu import gpu_of
from engineworks.engine import container
from engineworks.engine.schema import (
    Buffer,
    Kernel,
    Manifest,
    Record,
    Ref,
    Symbol,
    TargetRecord,
    Tensor,
    Value,
)
from engineworks.kernels.backend import Backend

BLOCK = 128


def _pointers(*names: str, dtype: str = "fp32") -> tuple[Argument, ...]:
    return tuple(Argument(n, f"*{dtype}", divisible=True) for n in names)


COUNT = Argument("n", "i32")

ADD = named(
    "add",
    """
@triton.jit
def KERNEL(a, b, out, n):
    at = tl.program_id(0) * 128 + tl.arange(0, 128)
    inside = at < n
    gdc_wait()
    gdc_launch_dependents()
    tl.store(out + at, tl.load(a + at, mask=inside) + tl.load(b + at, mask=inside), mask=inside)
""",
    (*_pointers("a", "b", "out"), COUNT),
    warps=1,
    waits=True,
)
"""out = a + b, f32."""

SUM_BEFORE = named(
    "sum_before",
    """
@triton.jit
def KERNEL(x, out, n):
    at = tl.program_id(0) * 128 + tl.arange(0, 128)
    inside = at < n
    gdc_wait()
    gdc_launch_dependents()
    # Each block reads what another block of the kernel before wrote.
    mirrored = tl.load(x + n - 1 - at, mask=inside)
    tl.store(out + at, mirrored * 2.0 + 1.0, mask=inside)
""",
    (*_pointers("x", "out"), COUNT),
    warps=1,
    waits=True,
)
"""out[i] = 2·x[n-1-i] + 1: wrong at once when it starts before its predecessor has ended."""

COPY_TILES = named(
    "copy_tiles",
    """
@triton.jit
def KERNEL(source, out, columns):
    row, column = tl.program_id(0) * 64, tl.program_id(1) * 128
    tile = source.load([row, column])
    rows, across = row + tl.arange(0, 64), column + tl.arange(0, 128)
    inside = across[None, :] < columns
    tl.store(out + rows[:, None] * columns + across[None, :], tile, mask=inside)
""",
    (
        Argument("source", "tensordesc<fp16[64, 128]>"),
        *_pointers("out", dtype="fp16"),
        Argument("columns", "i32"),
    ),
)
"""out = source, f16, through a tensor map: 128 columns of 2 bytes are two rows of the widest swizzle."""

COUNT_POSITIVE = named(
    "count_positive",
    """
@triton.jit
def KERNEL(x, found, n):
    at = tl.arange(0, 128)
    positive = tl.where(at < n, tl.load(x + at, mask=at < n, other=0.0), 0.0) > 0
    tl.store(found, tl.sum(positive.to(tl.int64), 0))
""",
    (*_pointers("x"), Argument("found", "*i64"), COUNT),
)
"""found = how many of at most 128 values are positive."""

DECREASE = named(
    "decrease",
    """
@triton.jit
def KERNEL(counter, flag):
    left = tl.load(counter) - 1.0
    tl.store(counter, left)
    tl.store(flag, (left > 0).to(tl.uint8))
""",
    (*_pointers("counter"), Argument("flag", "*u8")),
)
"""counter -= 1; flag = counter > 0."""


@dataclass(slots=True)
class Draft:
    """An engine before it is put together; `call` adds records."""

    backend: Backend
    arch: str = "sm_90"
    functions: dict[str, KernelFunction] = field(default_factory=dict)
    records: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def call(
        self, function: KernelFunction, *words: Any, grid: Sequence[int | str] = (1,), **more: Any
    ) -> None:
        """One launch of a kernel."""
        self.functions[function.name] = function
        self.records.append((function.name, {"words": words, "grid": tuple(grid), **more}))

    def op(self, name: str, **fields: Any) -> None:
        """A record that is no launch."""
        self.records.append(("", {"op": name, **fields}))

    def engine(self, *, weights: bytes = b"", **manifest: Any) -> bytes:
        """The engine file: the records so far, and 'end'."""
        isa = gpu_of(self.arch)
        code = self.backend.code(self.functions, (), isa, self.backend.cache(None))
        symbols = sorted(self.functions)
        records = [
            Record(kernel=symbols.index(name) if name else 0, **fields)
            for name, fields in [*self.records, ("", {"op": "end"})]
        ]
        return container.encode(
            Manifest(
                package="test",
                target=manifest.pop("target", TargetRecord("cuda", self.arch)),
                kernels=tuple(Kernel(s, **code.kernels[s]) for s in symbols),
                program=tuple(records),
                **manifest,
            ),
            {"code": code.image, "weights": weights},
        )


def blocks(size: str | int) -> str | int:
    """Blocks of 128 elements."""
    return -(-size // BLOCK) if isinstance(size, int) else f"({size} + {BLOCK - 1})//{BLOCK}"


VECTOR = Symbol("N", 1, 100, 1000, input=0, axis=0)


def chain(backend: Backend, arch: str = "sm_90", **manifest: Any) -> bytes:
    """y = 4·(a + b) + 3 of dynamic length N up to 1000, in three overlapping launches."""
    draft = Draft(backend, arch)
    draft.call(ADD, Ref(0), Ref(1), Ref(3), "N", grid=(blocks("N"),), overlaps=True, writes=(3,))
    draft.call(SUM_BEFORE, Ref(3), Ref(4), "N", grid=(blocks("N"),), overlaps=True)
    draft.call(SUM_BEFORE, Ref(4), Ref(2), "N", grid=(blocks("N"),), overlaps=True)
    given: dict[str, Any] = {
        "inputs": (Tensor("a", "f32", ("N",)), Tensor("b", "f32", ("N",))),
        "outputs": (Tensor("y", "f32", ("N",)),),
        "symbols": (VECTOR,),
        "buffers": (
            Buffer("input", 0), Buffer("input", 1), Buffer("output", 0),
            Buffer("arena", 0, 4096, Value("sum", "f32", ("N",))), Buffer("arena", 4096, 4096),
        ),
        "arena_bytes": 8192,
    }  # fmt: skip
    return draft.engine(**{**given, **manifest})


def repeated(backend: Backend, arch: str = "sm_90") -> bytes:
    """y = x + n·1, f32[100], in a loop of n rounds, n ≥ 1."""
    draft = Draft(backend, arch)
    draft.call(ADD, Ref(0), Ref(5), Ref(3), 100)  # buffer 5 is the weights: 100 zeros, 100 ones
    draft.call(ADD, Ref(1), Ref(5), Ref(4), 1)
    draft.call(ADD, Ref(3), Ref(5, 400), Ref(3), 100)
    draft.call(DECREASE, Ref(4), Ref(6))
    draft.op("jump_if_zero", words=(Ref(6),), target=6)
    draft.op("jump", target=2)
    draft.call(ADD, Ref(3), Ref(5), Ref(2), 100)
    return draft.engine(
        inputs=(Tensor("x", "f32", (100,)), Tensor("n", "f32", (1,))),
        outputs=(Tensor("y", "f32", (100,)),),
        buffers=(
            Buffer("input", 0), Buffer("input", 1), Buffer("output", 0), Buffer("arena", 0, 400),
            Buffer("arena", 512, 4), Buffer("weights", 0, 800), Buffer("arena", 768, 1),
        ),
        arena_bytes=1024,
        weights=np.repeat(np.float32([0, 1]), 100).tobytes(),
    )  # fmt: skip


def counted(backend: Backend, arch: str = "sm_90") -> bytes:
    """y = 2·x[:k], where k of the 100 values of x are positive, these first."""
    draft = Draft(backend, arch)
    draft.call(COUNT_POSITIVE, Ref(0), Ref(2), 100)
    draft.op("resolve")
    draft.call(ADD, Ref(0), Ref(0), Ref(3), "K", grid=(blocks("K"),))
    draft.call(ADD, Ref(3), Ref(4), Ref(1), "K", grid=(blocks("K"),))
    return draft.engine(
        inputs=(Tensor("x", "f32", (100,)),),
        outputs=(Tensor("y", "f32", ("K",)),),
        symbols=(Symbol("K", 0, 100, 100),),
        buffers=(
            Buffer("input"), Buffer("output"), Buffer("symbols"), Buffer("arena", 0, 400), Buffer("weights", 0, 400),
        ),
        arena_bytes=512,
        weights=bytes(400),
    )  # fmt: skip
