"""One candidate as a small engine of its own: bytes in, bytes out, so that layouts need no description."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engineworks.core.dims import Dim, evaluate
from engineworks.core.types import TensorType
from engineworks.engine import container, schema
from engineworks.kernels.backend import Backend, find
from engineworks.kernels.tactic import (
    Hardware,
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
from engineworks.kernels.workload import Workload
from engineworks.tuner.messages import Setup


@dataclass(frozen=True, slots=True)
class TrialData:
    """What a workload is tried on.

    Attributes:
        arrays: logical inputs, None where omitted.
        dims: value of each symbol.
    """

    arrays: tuple[np.ndarray | None, ...]
    dims: Mapping[str, int]


def bound_type(tensor: TensorType, dims: Mapping[str, int]) -> TensorType:
    """The type at these dims."""
    return TensorType(tensor.dtype, tuple(bound(d, dims) for d in tensor.shape), tensor.layout)


def to_memory(array: np.ndarray, tensor: TensorType) -> np.ndarray:
    """The bytes of a logical array lying as `tensor` says."""
    raw = np.zeros(int(tensor.size_bytes), np.uint8)  # type: ignore[call-overload]
    strided_view(raw, tensor)[...] = array
    return raw


def strided_view(raw: np.ndarray, tensor: TensorType) -> np.ndarray:
    """The logical array in these bytes."""
    itemsize = tensor.dtype.size_bytes
    strides = tuple(int(s) * itemsize for s in tensor.strides())  # type: ignore[call-overload]
    shape = tuple(int(d) for d in tensor.shape)  # type: ignore[call-overload]
    if raw.size == 0 or 0 in shape:
        return np.zeros(shape, tensor.dtype.numpy)
    return np.lib.stride_tricks.as_strided(raw.view(tensor.dtype.numpy), shape, strides)


def trial_bytes(work: Workload, image: KernelImage, data: TrialData, setup: Setup, cache: Any) -> bytes:
    """An engine file that runs `image` once. Inputs are i0, i1, …; outputs o0, …; all u8 vectors of their bytes.

    Args:
        cache: the backend's, of compiled functions.
    """
    backend = find(setup.target.device)
    assembly = _Assembly(work, image, data, backend, setup.isa)
    program, buffers, weights = assembly.records()
    inputs = tuple(
        schema.Tensor(f"i{k}", "u8", (int(bound_type(w.type, data.dims).size_bytes),))  # type: ignore[call-overload]
        for k, w in enumerate(work.inputs) if w is not None and not w.constant
    )  # fmt: skip
    outputs = tuple(
        schema.Tensor(f"o{k}", "u8", (int(bound_type(t, data.dims).size_bytes),))  # type: ignore[call-overload]
        for k, t in enumerate(work.outputs)
    )  # fmt: skip
    code = backend.code(image.functions, image.declarations, setup.isa, cache)
    manifest = schema.Manifest(
        package="trial",
        target=backend.target_record(setup.target, image.functions),
        inputs=inputs,
        outputs=outputs,
        buffers=tuple(buffers),
        kernels=tuple(
            schema.Kernel(s, **code.kernels.get(s, {})) for s in sorted({s.symbol for s in image.steps})
        ),
        maps=tuple(assembly.maps),
        program=tuple(program),
        scratch_bytes=-(-image.scratch_bytes // 64) * 64,
        arena_bytes=sum(int(b.size) for b in buffers if b.place == "arena"),
    )
    return container.encode(manifest, {"code": code.image, "weights": weights})


@dataclass(slots=True)
class _Assembly:
    """Buffers, weights and records of a trial. The numbers say where each kind of buffer starts."""

    work: Workload
    image: KernelImage
    data: TrialData
    backend: Backend
    isa: Hardware
    packed: list[int] = field(default_factory=list)
    plain: dict[int, int] = field(default_factory=dict)
    inputs: dict[int, int] = field(default_factory=dict)
    outputs: int = 0
    workspaces: int = 0
    weights: int = 0
    symbols: int = 0
    maps: list[schema.TensorMap] = field(default_factory=list)

    def records(self) -> tuple[list[schema.Record], list[schema.Buffer], bytes]:
        dims = self.data.dims
        buffers: list[schema.Buffer] = []
        number = 0
        for k, operand in enumerate(self.work.inputs):
            if operand is not None and not operand.constant:
                self.inputs[k] = len(buffers)
                buffers.append(schema.Buffer("input", number, int(bound_type(operand.type, dims).size_bytes)))  # type: ignore[call-overload]
                number += 1
        self.outputs = len(buffers)
        for k, t in enumerate(self.work.outputs):
            buffers.append(schema.Buffer("output", k, int(bound_type(t, dims).size_bytes)))  # type: ignore[call-overload]
        self.workspaces = len(buffers)
        offset = 0
        for size in self.image.workspace:
            taken = -(-max(bound(size, dims), 1) // 64) * 64
            buffers.append(schema.Buffer("arena", offset, taken))
            offset += taken
        weights = self._weights()
        self.weights, self.symbols = len(buffers), len(buffers) + 1
        buffers += [schema.Buffer("weights", 0, len(weights)), schema.Buffer("symbols", 0, 0)]
        kernels = {s: k for k, s in enumerate(sorted({s.symbol for s in self.image.steps}))}
        program = [
            schema.Record(
                kernel=kernels[step.symbol],
                words=tuple(self._word(w) for w in step.words),
                tasks=bound(step.tasks, dims),
                chunks=step.chunk_hint,
                single=step.single,
                grid=tuple(bound(d, dims) for d in step.grid),
                overlaps=self.backend.overlaps(self.image.functions[step.symbol], self.isa),
            )
            for step in self.image.steps
        ]
        return [*program, schema.Record(op="end")], buffers, weights

    def _weights(self) -> bytes:
        constants = {
            k: a for k, (w, a) in enumerate(zip(self.work.inputs, self.data.arrays, strict=True))
            if w is not None and w.constant and a is not None
        }  # fmt: skip
        out = bytearray()
        for each in self.image.packed:
            self.packed.append(_append(out, each.pack(constants)))
        for k, array in constants.items():
            self.plain[k] = _append(out, array)
        return bytes(out)

    def _word(self, word: Word) -> int | schema.Ref:
        match word:
            case Size():
                return bound(word.dim, self.data.dims)
            case Packed():
                return schema.Ref(self.weights, self.packed[word.index] + word.offset)
            case Workspace():
                return schema.Ref(self.workspaces + word.index, word.offset)
            case Output():
                return schema.Ref(self.outputs + word.index, word.offset)
            case Symbols():
                return schema.Ref(self.symbols, 0)
            case TensorMap():
                self.maps.append(
                    schema.TensorMap(
                        word.dtype.name,
                        tuple(bound(d, self.data.dims) for d in word.sizes),
                        tuple(bound(d, self.data.dims) for d in word.strides),
                        word.box,
                    )
                )
                base = self._word(word.base)
                assert isinstance(base, schema.Ref)
                return schema.Ref(base.buffer, base.offset, len(self.maps) - 1)
            case Input():
                if word.index in self.inputs:
                    return schema.Ref(self.inputs[word.index], word.offset)
                return schema.Ref(self.weights, self.plain[word.index] + word.offset)


def _append(out: bytearray, array: np.ndarray) -> int:
    out += bytes(-len(out) % 64)
    offset = len(out)
    out += np.ascontiguousarray(array).tobytes()
    return offset


def bound(dim: Dim, dims: Mapping[str, int]) -> int:
    """The dim's value."""
    return dim if isinstance(dim, int) else evaluate(dim, dict(dims))
