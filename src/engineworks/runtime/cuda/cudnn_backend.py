"""cuDNN's backend interface: descriptors with attributes. Numbers are those of NVIDIA's cudnn_graph.h, version 9."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from ctypes import byref, c_char, c_char_p, c_double, c_float, c_int, c_int64, c_size_t, c_uint8, c_void_p
from dataclasses import dataclass, field
from functools import cache
from threading import local
from typing import Any

from engineworks.errors import DeviceError
from engineworks.runtime.cuda.libraries_load import load

DTYPES = {"f32": 0, "f64": 1, "f16": 2, "i8": 3, "i32": 4, "bf16": 9, "i64": 10, "bool": 11}
"""cudnnDataType_t."""

KINDS = {
    "pointwise": 0, "convolution": 1, "engine": 2, "engine config": 3, "heuristics": 4, "plan": 5,
    "convolution operation": 10, "pointwise operation": 13, "graph": 15, "variant pack": 16, "tensor": 17,
    "matmul": 18, "matmul operation": 19, "reduction": 21, "reduction operation": 22, "device": 38,
}  # fmt: skip
"""cudnnBackendDescriptorType_t."""

ATTRIBUTES = {
    "pointwise": {"mode": 0, "precision": 1, "lower clip": 3, "axis": 9},
    "convolution": {
        "precision": 100, "mode": 101, "dilations": 102, "strides": 103, "pads after": 104, "pads before": 105,
        "axes": 106,
    },
    "heuristics": {"mode": 200, "graph": 201, "results": 202, "device": 204},
    "engine config": {"engine": 300},
    "plan": {"handle": 400, "config": 401, "workspace": 402, "json": 405, "device": 407},
    "convolution operation": {"alpha": 700, "beta": 701, "convolution": 702, "w": 703, "x": 704, "y": 705},
    "pointwise operation": {"pointwise": 750, "x": 751, "b": 752, "y": 753, "t": 758},
    "graph": {"handle": 800, "operations": 801},
    "tensor": {
        "alignment": 900, "dtype": 901, "dims": 902, "strides": 903, "id": 906, "virtual": 907, "by value": 908,
    },
    "variant pack": {"ids": 1000, "pointers": 1001, "workspace": 1003},
    "engine": {"numerical notes": 1303},
    "matmul": {"precision": 1500},
    "matmul operation": {"a": 1520, "b": 1521, "c": 1522, "matmul": 1523},
    "reduction": {"operator": 1600, "precision": 1601},
    "reduction operation": {"x": 1610, "y": 1611, "reduction": 1612},
    "device": {"json": 2702},
}  # fmt: skip
"""cudnnBackendAttributeName_t by kind of descriptor."""

TYPES: dict[str, tuple[int, Any]] = {
    "handle": (0, c_void_p), "dtype": (1, c_int), "boolean": (2, c_uint8), "integer": (3, c_int64),
    "float": (4, c_float), "double": (5, c_double), "pointer": (6, c_void_p), "convolution mode": (7, c_int),
    "heuristic mode": (8, c_int), "numerical note": (11, c_int), "pointwise mode": (14, c_int),
    "descriptor": (15, c_void_p), "reduction operator": (18, c_int), "text": (24, c_char),
}  # fmt: skip
"""cudnnBackendAttributeType_t, and what one element is."""


class Refusal(DeviceError):
    """cuDNN does not support what was asked for; other engines may."""


@dataclass(slots=True, weakref_slot=True, eq=False)
class Descriptor:
    """A descriptor, destroyed with this object; it keeps those alive that it was given."""

    kind: str
    pointer: c_void_p = field(default_factory=c_void_p)
    parts: list[Descriptor] = field(default_factory=list)

    def set(self, attribute: str, type_name: str, *values: Any) -> Descriptor:
        """Give an attribute its elements."""
        code, element = TYPES[type_name]
        if type_name == "descriptor":
            self.parts += values
            values = tuple(v.pointer.value for v in values)
        array = (element * len(values))(*values)
        self._check(
            library().cudnnBackendSetAttribute(
                self.pointer, ATTRIBUTES[self.kind][attribute], code, len(values), array
            ),
            attribute,
        )
        return self

    def get(self, attribute: str, type_name: str, most: int) -> list[Any]:
        """The elements of an attribute, at most `most`."""
        code, element = TYPES[type_name]
        array, count = (element * most)(), c_int64()
        call = library().cudnnBackendGetAttribute
        self._check(
            call(self.pointer, ATTRIBUTES[self.kind][attribute], code, most, byref(count), array), attribute
        )
        return list(array[: min(count.value, most)])

    def fill(self, attribute: str, parts: Sequence[Descriptor]) -> int:
        """Have descriptors (of the right kind, not finished) filled from an attribute; how many there are."""
        code, element = TYPES["descriptor"]
        array, count = (element * len(parts))(*(p.pointer.value for p in parts)), c_int64()
        call = library().cudnnBackendGetAttribute
        name = ATTRIBUTES[self.kind][attribute]
        self._check(call(self.pointer, name, code, len(parts), byref(count), array), attribute)
        return count.value

    def text(self, attribute: str) -> str:
        """An attribute that is text."""
        count = c_int64()
        call, name = library().cudnnBackendGetAttribute, ATTRIBUTES[self.kind][attribute]
        self._check(call(self.pointer, name, TYPES["text"][0], 0, byref(count), None), attribute)
        array = (c_char * count.value)()
        self._check(call(self.pointer, name, TYPES["text"][0], count.value, byref(count), array), attribute)
        return array.value.decode()

    def set_text(self, attribute: str, text: str) -> Descriptor:
        """Give a text."""
        raw = text.encode()
        call, name = library().cudnnBackendSetAttribute, ATTRIBUTES[self.kind][attribute]
        self._check(call(self.pointer, name, TYPES["text"][0], len(raw), c_char_p(raw)), attribute)
        return self

    def finish(self) -> Descriptor:
        """Make it usable. Raises Refusal: cuDNN does not support it."""
        self._check(library().cudnnBackendFinalize(self.pointer), "all it says")
        return self

    def _check(self, status: int, attribute: str) -> None:
        check(status, f"of a descriptor '{self.kind}', {attribute}")


def descriptor(kind: str) -> Descriptor:
    """An empty descriptor."""
    made = Descriptor(kind)
    check(library().cudnnBackendCreateDescriptor(KINDS[kind], byref(made.pointer)), f"a descriptor '{kind}'")
    end = weakref.finalize(made, library().cudnnBackendDestroyDescriptor, c_void_p(made.pointer.value))
    # pyrefly: ignore[missing-attribute]
    end.atexit = False  # a plan gives back code to a driver that may be gone by then
    return made


@cache
def library() -> ctypes.CDLL:
    """cuDNN, with the types of the functions that take 64-bit numbers."""
    found = load("cudnn")
    found.cudnnBackendSetAttribute.argtypes = (c_void_p, c_int, c_int, c_int64, c_void_p)
    found.cudnnBackendGetAttribute.argtypes = (c_void_p, c_int, c_int, c_int64, c_void_p, c_void_p)
    for name in ("Finalize", "DestroyDescriptor"):
        getattr(found, f"cudnnBackend{name}").argtypes = (c_void_p,)
    found.cudnnBackendExecute.argtypes = (c_void_p, c_void_p, c_void_p)
    found.cudnnSetStream.argtypes = (c_void_p, c_void_p)
    found.cudnnGetLastErrorString.argtypes = (c_char_p, c_size_t)
    found.cudnnGetLastErrorString.restype = None
    found.cudnnGetErrorString.restype = c_char_p
    found.cudnnGetVersion.restype = c_size_t
    return found


def version() -> int:
    """As the library says it: 91500 for 9.15.0."""
    return library().cudnnGetVersion()


_HANDLES = local()


def handle(device: int) -> c_void_p:
    """The library's state for this thread and a device, whose context is current: one thread may use it at a time."""
    held: dict[int, c_void_p] = _HANDLES.__dict__.setdefault("by_device", {})
    if device not in held:
        made = c_void_p()
        check(library().cudnnCreate(byref(made)), f"a handle on device {device}")
        held[device] = made
    return held[device]


NOT_SUPPORTED = range(3000, 4000)
"""Of cudnnStatus_t; what is wrong with parameters is 2000 to 2999, and also said of unsupported combinations."""


def check(status: int, what: str) -> None:
    """Raise unless a call succeeded: Refusal for what is not supported, else DeviceError."""
    if not status:
        return
    said = ctypes.create_string_buffer(512)
    library().cudnnGetLastErrorString(said, len(said))
    message = (
        f"cuDNN {version()} {what}: {library().cudnnGetErrorString(status).decode()} ({said.value.decode()})"
    )
    raise Refusal(message) if status in NOT_SUPPORTED or 2000 <= status < 3000 else DeviceError(message)
