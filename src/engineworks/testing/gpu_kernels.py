"""Run one `KernelImage` of the CUDA backend on the CPU, in Triton's interpreter: for kernel tests, not for speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from engineworks.codegen.triton.compile import compile_cubin
from engineworks.codegen.triton.function import KernelFunction
from engineworks.codegen.triton.gpu import Gpu
from engineworks.codegen.triton.interpret import HostTensorMap, Interpreted
from engineworks.core.dims import evaluate
from engineworks.core.types import TensorType
from engineworks.kernels.tactic import (
    Input,
    KernelImage,
    Output,
    Packed,
    Size,
    Symbols,
    TensorMap,
    Word,
    Workspace,
)
from engineworks.testing.kernels import Guarded, from_memory, to_memory

Given = tuple[np.ndarray, TensorType]


def interpret_image(
    image: KernelImage,
    inputs: Sequence[Given | None],
    outputs: Sequence[TensorType],
    dims: Mapping[str, int] | None = None,
    *,
    symbols: Sequence[str] = (),
) -> list[np.ndarray]:
    """Run the image's steps in order, and return the outputs as logical row-major arrays.

    Outputs and workspaces hold NaN-like bytes before, so that what is not written shows.

    Args:
        inputs: (logical array, type with layout) of each workload input; None where omitted.
        outputs: types with layouts.
        dims: values of the symbols; `symbols` names the slots of the symbol vector for kernels that write them.
    Raises:
        AssertionError: a kernel wrote outside of its outputs or workspace.
    """
    values = dict(dims or {})
    given = [
        None if i is None else _holding(to_memory(*i, values), f"input {k}") for k, i in enumerate(inputs)
    ]
    arrays = {k: np.asarray(i[0]) for k, i in enumerate(inputs) if i is not None}
    made = [_poisoned(evaluate(t.size_bytes, values), f"output {k}") for k, t in enumerate(outputs)]
    packed = [
        _holding(np.ascontiguousarray(p.pack(arrays)), f"packed {k}") for k, p in enumerate(image.packed)
    ]
    work = [_poisoned(evaluate(size, values), f"workspace {k}") for k, size in enumerate(image.workspace)]
    slots = np.array([values.get(name, 0) for name in symbols], np.int64)
    blocks = {Input: given, Output: made, Packed: packed, Workspace: work}

    def word(w: Word) -> int | HostTensorMap:
        match w:
            case Size():
                return evaluate(w.dim, values)
            case Symbols():
                return slots.ctypes.data + 8 * list(symbols).index(w.name)
            case TensorMap():
                base = word(w.base)
                assert isinstance(base, int)
                sizes, strides = ([evaluate(d, values) for d in row] for row in (w.sizes, w.strides))
                return HostTensorMap(base, tuple(sizes), tuple(strides))
        # pyrefly: ignore[missing-attribute]
        return blocks[type(w)][w.index].address + w.offset

    for step in image.steps:
        function = image.functions[step.symbol]
        assert isinstance(function, KernelFunction), f"{step.symbol} is no kernel of ours"
        grid = [evaluate(d, values) for d in step.grid]
        Interpreted(function).run(grid, [word(w) for w in step.words])
    for block in [*made, *work, *packed, *(m for m in given if m is not None)]:
        block.check()
    values.update(zip(symbols, slots.tolist(), strict=True))
    return [from_memory(block.bytes, t, values) for block, t in zip(made, outputs, strict=True)]


def compile_image(image: KernelImage, *gpus: Gpu) -> None:
    """Compile every kernel of an image for each architecture. Raises BuildError."""
    for gpu in gpus:
        for function in image.functions.values():
            if isinstance(function, KernelFunction):
                compile_cubin(function, gpu)


def _holding(array: np.ndarray, what: str) -> Guarded:
    block = Guarded(array.nbytes, what)
    block.bytes[:] = array.reshape(-1).view(np.uint8)
    return block


def _poisoned(size_bytes: int, what: str) -> Guarded:
    block = Guarded(size_bytes, what)
    block.bytes[:] = 0x7F
    return block
