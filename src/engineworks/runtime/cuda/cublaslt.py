"""Matrix products by cuBLASLt. Numbers are those of NVIDIA's cublasLt.h and library_types.h, versions 12 and 13."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Sequence
from ctypes import byref, c_double, c_float, c_int, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass, field
from functools import cache
from threading import Lock
from typing import Any

from msgspec import DecodeError, json, structs

from engineworks.engine.library_calls import MatmulCall, Matrix, encode, value
from engineworks.errors import CorruptEngine, DeviceError
from engineworks.runtime.cuda.libraries_capture import loading_allowed
from engineworks.runtime.cuda.libraries_load import load

PROPOSALS = 16
"""Asked of the heuristics, always as many, so that the n-th is the same one whoever asks."""
PLANS = 64
"""Shapes that a call keeps its preparations of."""
POINTER_ALIGNMENT = 16
"""Bytes; no kernel of the library asks for more, so addresses that are multiples of it are alike."""
WORKSPACE_ALIGNMENT = 256

_DTYPES = {"f32": 0, "f64": 1, "f16": 2, "i8": 3, "i32": 10, "bf16": 14}
"""cudaDataType."""
_COMPUTE = {"f32": (68, "f32"), "tf32": (77, "f32"), "f64": (70, "f64"), "i32": (72, "i32")}
"""cublasComputeType_t, and the dtype of alpha and beta."""
_SCALARS: dict[str, Callable[[float], Any]] = {
    "f32": c_float,
    "f64": c_double,
    "i32": lambda x: c_int32(int(x)),
}
_NONE, _RELU, _BIAS = 1, 2, 4
"""Of cublasLtEpilogue_t."""
_SUMS_AS_COMPUTED = 2
"""CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE: parts of sums are added in f32, not in the output's dtype."""


class _Algorithm(ctypes.Structure):
    _fields_ = (("words", c_uint64 * 8),)


class _Proposal(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t."""

    _fields_ = (
        ("algorithm", _Algorithm),
        ("workspace_bytes", c_size_t),
        ("state", c_int),
        ("waves", c_float),
        ("reserved", c_int * 4),
    )


@dataclass(slots=True, weakref_slot=True, eq=False)
class _Object:
    """A descriptor of the library's with attributes, destroyed with this object. `kind`: as in its functions' names."""

    kind: str
    pointer: c_void_p = field(default_factory=c_void_p)

    def set(self, attribute: int, number: Any) -> None:
        """`number`: a ctypes integer of the width that the header says."""
        call = getattr(_library(), f"cublasLt{self.kind}SetAttribute")
        _check(
            call(self.pointer, c_int(attribute), byref(number), c_size_t(ctypes.sizeof(number))), self.kind
        )


def _create(kind: str, *arguments: Any) -> _Object:
    made = _Object(kind)
    _check(getattr(_library(), f"cublasLt{kind}Create")(byref(made.pointer), *arguments), kind)
    # pyrefly: ignore[missing-attribute]
    weakref.finalize(made, getattr(_library(), f"cublasLt{kind}Destroy"), made.pointer).atexit = False
    return made


def layout(matrix: Matrix, rows: int, columns: int, batch: int, words: Sequence[int]) -> _Object:
    """How a matrix of rows x columns lies, and those after it in the batch."""
    leading = max(value(matrix.leading, words), rows)  # of one column only, the distance means nothing
    made = _create(
        "MatrixLayout", c_int(_DTYPES[matrix.dtype]), c_uint64(rows), c_uint64(columns), c_int64(leading)
    )
    if batch != 1:
        made.set(5, c_int32(batch))
        made.set(6, c_int64(value(matrix.step, words)))
    return made


def description(call: MatmulCall) -> _Object:
    """What is computed, without the bias' address."""
    compute, scale = _COMPUTE[call.compute]
    made = _create("MatmulDesc", c_int(compute), c_int(_DTYPES[scale]))
    made.set(3, c_int32(call.a.transposed))
    made.set(4, c_int32(call.b.transposed))
    made.set(7, c_uint32((_BIAS * call.bias | _RELU * call.relu) or _NONE))
    return made


def preference(workspace_bytes: int, alignments: Sequence[int]) -> _Object:
    """What algorithms may use; the alignments of A, B, C and D in bytes."""
    made = _create("MatmulPreference")
    made.set(1, c_uint64(workspace_bytes))
    made.set(3, c_uint32(_SUMS_AS_COMPUTED))
    for attribute, alignment in enumerate(alignments, start=5):
        made.set(attribute, c_uint32(alignment))
    return made


@dataclass(frozen=True, slots=True)
class _Plan:
    """All that a launch passes but addresses."""

    description: _Object
    a: _Object
    b: _Object
    d: _Object
    algorithm: _Algorithm


@dataclass(slots=True)
class PreparedMatmul:
    """A `MatmulCall` on one device; see `libraries.Prepared`.

    The lock: a plan's description holds the address of the bias from its setting to the launch.
    """

    call: MatmulCall
    handle: c_void_p
    plans: dict[tuple[int, ...], _Plan] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def ready(self, words: Sequence[int]) -> None:
        with self.lock, loading_allowed():
            if self._sizes(words)[-1]:
                self._plan(words)

    def launch(self, stream: int, words: Sequence[int]) -> None:
        with self.lock, loading_allowed():
            if self._sizes(words)[-1]:  # else there is nothing to write
                self._launch(stream, words)

    def pinned(self, words: Sequence[int]) -> str:
        # The library proposes the same to everyone who asks the same, so the number of the proposal says it all.
        return encode(structs.replace(self.call, version=version()))

    def _launch(self, stream: int, words: Sequence[int]) -> None:
        plan, call = self._plan(words), self.call
        a, b, d, workspace, *rest = words
        scalar = _SCALARS[_COMPUTE[call.compute][1]]
        if call.bias:
            plan.description.set(8, c_uint64(rest[0]))
        c = rest[call.bias] if call.residual else d
        start = -(-workspace // WORKSPACE_ALIGNMENT) * WORKSPACE_ALIGNMENT
        status = _library().cublasLtMatmul(
            self.handle, plan.description.pointer, byref(scalar(call.alpha)), c_void_p(a), plan.a.pointer,
            c_void_p(b), plan.b.pointer, byref(scalar(call.residual)), c_void_p(c), plan.d.pointer,
            c_void_p(d), plan.d.pointer, byref(plan.algorithm), c_void_p(start),
            c_size_t(_usable(call.workspace_bytes)), c_void_p(stream),
        )  # fmt: skip
        _check(status, "Matmul")

    def _sizes(self, words: Sequence[int]) -> tuple[int, int, int, int, int]:
        """m, n, k, the batch, and the elements of the result."""
        call = self.call
        m, n, k, batch = (value(s, words) for s in (call.m, call.n, call.k, call.batch))
        return m, n, k, batch, m * n * batch

    def _plan(self, words: Sequence[int]) -> _Plan:
        call = self.call
        a, b, d, _, *rest = words
        operands = (a, b, rest[call.bias] if call.residual else d, d)
        alignments = tuple(_alignment(address) for address in operands)
        key = (*alignments, *rest[call.bias + call.residual :], _alignment(rest[0]) if call.bias else 0)
        if key not in self.plans:
            if len(self.plans) >= PLANS:
                del self.plans[next(iter(self.plans))]
            self.plans[key] = self._made(words, alignments)
        return self.plans[key]

    def _made(self, words: Sequence[int], alignments: Sequence[int]) -> _Plan:
        call = self.call
        m, n, k, batch, _ = self._sizes(words)
        described = description(call)
        if call.bias:
            described.set(8, c_uint64(words[4]))  # its alignment counts in the choice
        a_shape, b_shape = (
            ((k, m) if call.a.transposed else (m, k)),
            ((n, k) if call.b.transposed else (k, n)),
        )
        a = layout(call.a, *a_shape, batch, words)
        b = layout(call.b, *b_shape, batch, words)
        d = layout(call.d, m, n, batch, words)
        wishes = preference(_usable(call.workspace_bytes), alignments)
        proposals, found = (_Proposal * PROPOSALS)(), c_int(0)
        status = _library().cublasLtMatmulAlgoGetHeuristic(
            self.handle, described.pointer, a.pointer, b.pointer, d.pointer, d.pointer, wishes.pointer,
            c_int(PROPOSALS), proposals, byref(found),
        )  # fmt: skip
        usable = [p for p in proposals[: found.value] if p.state == 0]
        if status or not usable:
            raise DeviceError(
                f"cuBLASLt {version()} has no way to compute {call} with m={m}, n={n}, k={k}, batch={batch}"
                f"{f': {_name(status)}' if status else ''}.\n"
                f"  Build with tactic_sources that leave cublaslt out."
            )
        chosen = usable[min(call.heuristic, len(usable) - 1)]
        algorithm = _Algorithm.from_buffer_copy(chosen.algorithm)
        return _Plan(described, a, b, d, algorithm)


def prepare(text: str, device: int) -> PreparedMatmul:
    """The call on a device, of a version that fits; see `libraries.prepare`."""
    try:
        call = json.decode(text, type=MatmulCall)
    except DecodeError as error:
        raise CorruptEngine(f"a call of cuBLASLt cannot be read: {error}") from None
    return PreparedMatmul(call, _handle(device))


def version() -> int:
    """As the library says it: 130000 for 13.0.0."""
    call = _library().cublasLtGetVersion
    call.restype = c_size_t
    return call()


@cache
def _library() -> ctypes.CDLL:
    return load("cublaslt")


@cache
def _handle(device: int) -> c_void_p:
    """The library's state on a device: all threads may use it at once, and it lives as long as the process."""
    handle = c_void_p()
    _check(_library().cublasLtCreate(byref(handle)), f"Create on device {device}")
    return handle


def _alignment(address: int) -> int:
    return min(address & -address or POINTER_ALIGNMENT, POINTER_ALIGNMENT)


def _usable(workspace_bytes: int) -> int:
    """Of a workspace, when its beginning may have to move to a multiple of what the library asks for."""
    return max(workspace_bytes - WORKSPACE_ALIGNMENT, 0)


def _name(status: int) -> str:
    call = _library().cublasLtGetStatusName
    call.restype = ctypes.c_char_p
    return call(c_int(status)).decode()


def _check(status: int, what: str) -> None:
    if status:
        raise DeviceError(f"cublasLt{what} failed: {_name(status)}")
