"""Run one `KernelImage` in this process, single-threaded: for kernel tests and examples, not for speed figures."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from engineworks.codegen.llvm.compile import compile_object, module_text
from engineworks.codegen.llvm.function import Isa, required_features
from engineworks.core import target as targets
from engineworks.core.dims import evaluate
from engineworks.core.types import TensorType
from engineworks.errors import EngineMismatch
from engineworks.ir.kernel import LoopKernel, Reduce
from engineworks.ir.scalar import Scalar
from engineworks.ir.scalar import evaluate as evaluate_scalar
from engineworks.kernels.tactic import Input, KernelImage, Output, Packed, Size, Symbols, Word, Workspace

GUARD_BYTES = 64
"""Bytes before and after every output, workspace and scratch that a kernel must leave alone."""
_GUARD = 0xA5


class Guarded:
    """64-byte aligned zeroed memory between two guard zones."""

    def __init__(self, size_bytes: int, what: str) -> None:
        self.what, self.size_bytes = what, size_bytes
        self._raw = np.full(size_bytes + 2 * GUARD_BYTES + 64, _GUARD, np.uint8)
        self._start = GUARD_BYTES + -(self._raw.ctypes.data + GUARD_BYTES) % 64
        self.bytes = self._raw[self._start : self._start + size_bytes]
        self.bytes[:] = 0
        self.address = self._raw.ctypes.data + self._start

    def check(self) -> None:
        """Raise AssertionError when a guard zone was written."""
        before, after = self._raw[: self._start], self._raw[self._start + self.size_bytes :]
        assert (before == _GUARD).all(), f"a kernel wrote before the start of {self.what}"
        assert (after == _GUARD).all(), (
            f"a kernel wrote beyond the end of {self.what} ({self.size_bytes} bytes)"
        )


def _holding(array: np.ndarray, what: str) -> Guarded:
    block = Guarded(array.nbytes, what)
    block.bytes[:] = array.reshape(-1).view(np.uint8)
    return block


def to_memory(value: np.ndarray, type_: TensorType, dims: Mapping[str, int] | None = None) -> np.ndarray:
    """The bytes of a logical array as `type_` lays it out; the padding of rows holds 0x7F (NaN-like for floats)."""
    values = dict(dims or {})
    raw = np.full(max(1, evaluate(type_.size_bytes, values)), 0x7F, np.uint8)
    if value.size:
        _view(raw, type_, values)[...] = np.asarray(value).astype(type_.dtype.numpy, copy=False)
    return raw


def from_memory(raw: np.ndarray, type_: TensorType, dims: Mapping[str, int] | None = None) -> np.ndarray:
    """The logical array (a copy, row-major) that lies in `raw`."""
    return np.array(_view(raw, type_, dict(dims or {})))


def _view(raw: np.ndarray, type_: TensorType, dims: dict[str, int]) -> np.ndarray:
    shape = [evaluate(d, dims) for d in type_.shape]
    strides = [evaluate(s, dims) * type_.dtype.size_bytes for s in type_.strides()]
    if 0 in shape:
        return np.empty(shape, type_.dtype.numpy)
    return np.ndarray(shape, type_.dtype.numpy, buffer=raw, strides=strides)


def run_image(
    image: KernelImage,
    inputs: Sequence[tuple[np.ndarray, TensorType] | None],
    outputs: Sequence[TensorType],
    isa: Isa,
    dims: Mapping[str, int] | None = None,
    *,
    split: int = 1,
    symbols: Sequence[str] = (),
) -> list[np.ndarray]:
    """Compile the image, run its steps in order, and return the outputs as logical row-major arrays.

    Args:
        inputs: (logical array, type with layout) of each workload input; None where omitted.
        outputs: types with layouts.
        dims: values of the symbols; `symbols` names the slots of the symbol vector for kernels that write them.
        split: each step's task space is done in so many calls (2 or more shows dependence between tasks).
    Raises:
        AssertionError: a kernel wrote outside of its outputs, workspace or scratch.
    """
    values = dict(dims or {})
    loaded = load_image(image, isa)
    given = [
        None if i is None else _holding(to_memory(*i, values), f"input {k}") for k, i in enumerate(inputs)
    ]
    arrays = {k: np.asarray(i[0]) for k, i in enumerate(inputs) if i is not None}
    made = [Guarded(evaluate(t.size_bytes, values), f"output {k}") for k, t in enumerate(outputs)]
    packed = [
        _holding(np.ascontiguousarray(p.pack(arrays)), f"packed {k}") for k, p in enumerate(image.packed)
    ]
    work = [Guarded(evaluate(size, values), f"workspace {k}") for k, size in enumerate(image.workspace)]
    scratch = Guarded(image.scratch_bytes, "scratch")
    slots = np.array([values.get(name, 0) for name in symbols], np.int64)

    blocks = {Input: given, Output: made, Packed: packed, Workspace: work}

    def word(w: Word) -> int:
        if isinstance(w, Size):
            return evaluate(w.dim, values)
        if isinstance(w, Symbols):
            return slots.ctypes.data + 8 * list(symbols).index(w.name)
        # pyrefly: ignore[bad-index, missing-attribute]
        return blocks[type(w)][w.index].address + w.offset

    for step in image.steps:
        words = np.array([word(w) for w in step.words] or [0], np.int64)
        tasks = evaluate(step.tasks, values)
        cuts = sorted({tasks * part // split for part in range(split + 1)})
        for low, high in itertools.pairwise(cuts):
            loaded.call(step.symbol, words.ctypes.data, low, high, scratch.address)
    for block in [*made, *work, scratch, *packed, *(m for m in given if m is not None)]:
        block.check()
    values.update(zip(symbols, slots.tolist(), strict=True))
    return [from_memory(block.bytes, t, values) for block, t in zip(made, outputs, strict=True)]


class LoadedImage:
    """Kernels of one image as callables; keep it alive while they are used."""

    def __init__(self, image: KernelImage, isa: Isa) -> None:
        import llvmlite.binding as llvm

        object_code = compile_object(module_text(image.functions.values(), image.declarations, isa), isa)
        host = llvm.Target.from_default_triple().create_target_machine()
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), host)
        self._object = llvm.ObjectFileRef.from_data(object_code)
        self._engine.add_object_file(self._object)
        self._engine.finalize_object()
        self._functions: dict[str, ctypes._CFuncPtr] = {}

    def call(self, symbol: str, args: int, low: int, high: int, scratch: int) -> None:
        """Run tasks low … high-1 of one kernel."""
        function = self._functions.get(symbol)
        if function is None:
            address = self._engine.get_function_address(symbol)
            assert address, f"the image's object has no kernel '{symbol}'"
            kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
            function = self._functions[symbol] = kind(address)
        function(args, low, high, scratch)


def load_image(image: KernelImage, isa: Isa) -> LoadedImage:
    """The image compiled and loaded into this process.

    Raises:
        EngineMismatch: this machine lacks features that the code uses.
    """
    needed = {f.lstrip("+") for f in isa.features.split(",")}.union(
        *(required_features(text) for text in image.functions.values())
    )
    lacking = needed - targets.host_features()
    if lacking:
        raise EngineMismatch(f"{isa.name} code needs {', '.join(sorted(lacking))}, which this CPU lacks")
    return LoadedImage(image, isa)


# -- what a LoopKernel means ----------------------------------------------------------------------------------
def reference_loops(
    kernel: LoopKernel, inputs: Sequence[np.ndarray], dims: Mapping[str, int] | None = None
) -> list[np.ndarray]:
    """The outputs of a kernel in numpy, every expression in the dtype it has (sums of floats in f64)."""
    values = dict(dims or {})
    parallel = [evaluate(d, values) for d in kernel.parallel]
    reduced = [evaluate(d, values) for d in kernel.reduced]
    shape = (*parallel, *reduced)
    axes = {
        k: np.arange(n).reshape([-1 if j == k else 1 for j in range(len(shape))]) for k, n in enumerate(shape)
    }
    made = [np.zeros([evaluate(d, values) for d in t.shape], t.dtype.numpy) for t in kernel.outputs]
    results: dict[int, np.ndarray] = {}

    def load(operand: int, indices: tuple[np.ndarray, ...]) -> np.ndarray:
        source = inputs[operand]
        if source.size == 0:
            return np.zeros(np.broadcast_shapes(*(np.shape(i) for i in indices)), source.dtype)
        return source[tuple(np.clip(i, 0, n - 1) for i, n in zip(indices, source.shape, strict=True))]

    def value(expr: Scalar) -> np.ndarray:
        return evaluate_scalar(expr, load=load, axes=axes, dims=values, stages=results)

    over = tuple(range(len(parallel), len(shape)))
    for number, stage in enumerate(kernel.stages):
        if isinstance(stage, Reduce):
            body = np.broadcast_to(value(stage.body), shape)
            results[number] = _reduced(stage, body, over).reshape([*parallel, *(1 for _ in reduced)])
            continue
        domain = shape if stage.over_reduced else (*parallel, *(1 for _ in reduced))
        index = tuple(np.broadcast_to(value(i), domain) for i in stage.index)
        body = np.broadcast_to(value(stage.body), domain)
        made[stage.output][index] = body if index else body.reshape(-1)[-1]
    return made


def _reduced(stage: Reduce, body: np.ndarray, over: tuple[int, ...]) -> np.ndarray:
    twin = stage.dtype.numpy
    if stage.monoid.startswith("arg"):
        (along,) = over
        pick = np.argmax if stage.monoid.startswith("argmax") else np.argmin
        if stage.monoid.endswith("first"):
            return pick(body, axis=along).astype(twin)
        return (body.shape[along] - 1 - pick(np.flip(body, along), axis=along)).astype(twin)
    wide = body.astype(np.float64) if stage.dtype.is_float else body
    match stage.monoid:
        case "sum" | "prod":
            return getattr(np, stage.monoid)(
                wide, axis=over, dtype=None if stage.dtype.is_float else twin
            ).astype(twin)
        case "max" | "min":
            start = (-np.inf if stage.monoid == "max" else np.inf) if stage.dtype.is_float else None
            extra = {"initial": start} if start is not None else {}
            return getattr(np, stage.monoid)(wide, axis=over, **extra).astype(twin)
    return getattr(np, stage.monoid)(body, axis=over)
