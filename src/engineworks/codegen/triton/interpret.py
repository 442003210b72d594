"""Runs kernels on the CPU, program by program, in Triton's interpreter: for their numbers, never for their speed.

Addresses are those of host memory. Operations behave as numpy's.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from engineworks.codegen.triton.compile import jit_function, triton_module
from engineworks.codegen.triton.function import Argument, KernelFunction


@dataclass(frozen=True, slots=True)
class HostTensorMap:
    """What a tensor map describes, on the host: address, sizes and strides in elements, outermost first."""

    address: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]


class Interpreted:
    """One kernel, ready to be run. Not for several threads at once: the interpreter patches Triton's language."""

    def __init__(self, function: KernelFunction) -> None:
        triton_module()
        from triton.runtime.interpreter import InterpretedFunction

        self.function = function
        self._jitted = jit_function(function, InterpretedFunction, overlaps=False, libdevice=_HostLibdevice())

    def run(self, grid: Sequence[int], words: Sequence[int | float | HostTensorMap]) -> None:
        """All programs of the grid, one after the other.

        Args:
            words: one for each argument: an address, a number or a tensor map.
        """
        import numpy as np
        from triton.runtime import interpreter

        given = [_argument(a, w) for a, w in zip(self.function.arguments, words, strict=True)]
        sizes = (*grid, 1, 1, 1)[:3]
        body = self._jitted.rewrite()
        with _patched_language(body), np.errstate(all="ignore"):  # GPUs do not warn
            interpreter.interpreter_builder.set_grid_dim(*sizes)
            for x, y, z in itertools.product(*(range(n) for n in sizes)):
                interpreter.interpreter_builder.set_grid_idx(x, y, z)
                body(*given)


@contextmanager
def _patched_language(body: Any) -> Iterator[None]:
    """Triton's language on numpy while a kernel runs, and compiling again afterwards.

    The interpreter has no public way in with plain addresses (its own entry takes torch tensors and copies them), does
    not take back what it patches for inner functions, and expects its library functions (tl.zeros, tl.sum …) to have
    been imported for interpretation.
    """
    from triton.language import standard
    from triton.runtime import interpreter

    swapped = _library_functions()
    convert = interpreter._convert_float
    # pyrefly: ignore[bad-assignment]
    interpreter._convert_float = functools.partial(_converted, convert)
    reduce = interpreter.ReduceOps.generic_reduce
    # pyrefly: ignore[bad-assignment, method-assign]
    interpreter.ReduceOps.generic_reduce = _reduced
    patch_language, patch_tensor = interpreter._patch_lang, interpreter._patch_lang_tensor
    interpreter._patch_lang_tensor = lambda tensor, scope: _patch_index(patch_tensor, tensor, scope)
    scopes = [patch_language(body), patch_language(standard.zeros.fn)]
    dot = interpreter.interpreter_builder.create_dot
    splat = interpreter.interpreter_builder.create_splat
    # pyrefly: ignore[method-assign, bad-assignment]
    interpreter.interpreter_builder.create_splat = functools.partial(_splat, splat)
    # pyrefly: ignore[method-assign, bad-assignment]
    interpreter.interpreter_builder.create_dot = functools.partial(_dot, dot)
    interpreter._patch_lang = lambda fn: interpreter._LangPatchScope()
    for home, name, _, interpreted in swapped:
        setattr(home, name, interpreted)
    try:
        yield
    finally:
        interpreter._convert_float = convert
        interpreter.ReduceOps.generic_reduce = reduce  # pyrefly: ignore[method-assign]
        # pyrefly: ignore[method-assign]
        interpreter.interpreter_builder.create_dot = dot
        # pyrefly: ignore[method-assign]
        interpreter.interpreter_builder.create_splat = splat
        interpreter._patch_lang, interpreter._patch_lang_tensor = patch_language, patch_tensor
        for home, name, compiled, _ in swapped:
            setattr(home, name, compiled)
        for scope in reversed(scopes):
            scope.restore()


def _splat(splat: Any, kind: Any, value: Any) -> Any:
    """As the interpreter does, but what comparing two numbers gives stays a truth (it becomes a number of their type,
    which has no bits to combine when they are floats).
    """
    import numpy as np
    from triton.runtime import interpreter

    if value.data.dtype != np.bool_:
        return splat(kind, value)
    return interpreter.TensorHandle(np.full(kind.shape, value.data.reshape(-1)[0]), value.dtype.scalar)


def _converted(convert: Any, value: Any, source: Any, target: Any, rounding: Any) -> Any:
    """As the interpreter converts floats, but bf16 is rounded to nearest even, as GPUs do (it truncates, and gets
    subnormal numbers wrong).
    """
    import ml_dtypes
    import numpy as np
    import triton.language as tl

    if source == tl.float32 and target == tl.bfloat16:
        return value.astype(ml_dtypes.bfloat16).view(np.uint16)
    if source == tl.bfloat16 and target == tl.float32:
        return (value.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return convert(value, source, target, rounding)


def _dot(dot: Any, a: Any, b: Any, *rest: Any) -> Any:
    """As the interpreter multiplies matrices, but bf16 as numbers, not as the bits that it holds them in."""
    import triton.language as tl
    from triton.runtime import interpreter

    def widened(handle: Any) -> Any:
        if handle.dtype.scalar != tl.bfloat16:
            return handle
        return interpreter.TensorHandle(
            interpreter._convert_float(handle.data, tl.bfloat16, tl.float32, None), tl.float32
        )

    return dot(widened(a), widened(b), *rest)


def _reduced(operation: Any, given: tuple[Any, ...]) -> list[Any]:
    """A reduction by any function, in halves of whole arrays (the interpreter goes element by element)."""
    import numpy as np
    import triton.language as tl
    from triton.runtime import interpreter

    kinds = [g.handle.dtype for g in given]
    rank = given[0].handle.data.ndim
    axis = operation.axis
    rows = [np.moveaxis(g.handle.data, axis, 0) if axis is not None else g.handle.data.ravel() for g in given]

    def block(data: Any, kind: Any) -> Any:
        return tl.tensor(interpreter.TensorHandle(data, kind), tl.block_type(kind, list(data.shape)))

    while len(rows[0]) > 1:
        half = len(rows[0]) // 2
        pairs = [*((r[:half], k) for r, k in zip(rows, kinds, strict=True)),
                 *((r[half : 2 * half], k) for r, k in zip(rows, kinds, strict=True))]  # fmt: skip
        made = operation.combine_fn.fn(*(block(*p) for p in pairs))
        made = made if isinstance(made, tuple) else (made,)
        rows = [np.concatenate([m.handle.data, r[2 * half :]]) for m, r in zip(made, rows, strict=True)]
    results = [r[0] for r in rows]
    if operation.keep_dims:
        shape = [1] * rank
        results = [np.expand_dims(r, axis) if axis is not None else r.reshape(shape) for r in results]
    return [operation.to_tensor(r, k) for r, k in zip(results, kinds, strict=True)]


def _patch_index(patch_tensor: Any, tensor: Any, scope: Any) -> None:
    """As the interpreter does, but numbers, which it holds in arrays of one element, still serve as bounds of loops:
    numpy 2.4 no longer converts such arrays.
    """
    patch_tensor(tensor, scope)
    scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))


@functools.cache
def _library_functions() -> list[tuple[Any, str, Any, Any]]:
    """(module, name, compiled, interpreted) of each."""
    import triton.language as tl
    from triton.language import standard
    from triton.runtime.interpreter import InterpretedFunction
    from triton.runtime.jit import JITFunction

    twins: dict[int, Any] = {}
    found = []
    for home in (tl, standard):
        for name, value in vars(home).items():
            if isinstance(value, JITFunction):
                twin = twins.setdefault(id(value), InterpretedFunction(value.fn))
                found.append((home, name, value, twin))
    return found


class _HostLibdevice:
    """libdevice's functions by numpy, under the same names."""

    def __getattr__(self, name: str) -> Any:
        import numpy as np
        from triton.runtime import interpreter

        twin = _NUMPY_NAMES.get(name, name)
        numpy_function = getattr(np, twin, None) or _SPECIAL[twin]

        def apply(*given: Any) -> Any:
            import triton.language as tl

            tensors = [interpreter.interpreter_semantic.to_tensor(g) for g in given]
            like = next((t for t in tensors if t.type.is_block()), tensors[0])
            with np.errstate(all="ignore"):
                data = numpy_function(*(t.handle.data for t in tensors)).astype(like.handle.data.dtype)
            return tl.tensor(interpreter.TensorHandle(data, like.handle.dtype), like.type)

        return apply


_NUMPY_NAMES = {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh",
    "pow": "power", "rint": "rint", "nearbyint": "rint", "fabs": "abs",
}  # fmt: skip


def _erf(x: Any) -> Any:
    import math

    import numpy as np

    return np.vectorize(math.erf, otypes=[np.float64])(x)


_SPECIAL = {"erf": _erf}


def _argument(argument: Argument, word: int | float | HostTensorMap) -> Any:
    """The interpreter's value of one parameter."""
    import numpy as np
    import triton.language as tl
    from triton.runtime import interpreter

    described = re.fullmatch(r"tensordesc<(\w+)\[([\d, ]+)\]>", argument.type)
    if described:
        assert isinstance(word, HostTensorMap), f"{argument.name} takes a tensor map"
        base = _argument(Argument(argument.name, f"*{described[1]}"), word.address)
        integers = [_argument(Argument("", "i32"), n) for n in word.sizes]
        strides = [_argument(Argument("", "i64"), n) for n in word.strides[:-1]]
        return interpreter.interpreter_semantic.make_tensor_descriptor(
            base,
            integers,
            [*strides, tl.constexpr(1)],
            [tl.constexpr(int(n)) for n in described[2].split(",")],
            "zero",
        )
    kind = tl.str_to_ty(argument.type, None)
    dtype = np.uint64 if kind.is_ptr() else interpreter._get_np_dtype(kind)
    return tl.tensor(interpreter.TensorHandle(np.array([word], dtype=dtype), kind), kind)
