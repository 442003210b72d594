"""Map an engine's code image into this process and find its functions.

The image is a shared library in memory: dlopen() of a memfd, so that its symbols show in perf and gdb.
Where that is forbidden (no /proc, a noexec policy), the same bytes are mapped by hand: written while
writable, then made executable.
"""

from __future__ import annotations

import _ctypes
import ctypes
import os
import struct
import sys
import weakref
from collections.abc import Iterable

from engineworks.errors import CorruptEngine, DeviceError

_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_STRTAB, _DT_SYMTAB, _DT_RELA, _DT_RELASZ = 5, 6, 7, 8
_PROT_READ, _PROT_WRITE, _PROT_EXEC = 1, 2, 4
_MAP_PRIVATE_ANONYMOUS = 0x22
_MAP_FAILED = 2**64 - 1
_PAGE = 4096


class Image:
    """Loaded code; it stays mapped as long as this object lives.

    Attributes:
        addresses: of the functions asked for, by symbol.
        way: 'dlopen' or 'map', for reports.
    """

    def __init__(self, addresses: dict[str, int], way: str) -> None:
        self.addresses = addresses
        self.way = way


def load(code: bytes | memoryview, symbols: Iterable[str]) -> Image:
    """Load a library made by `link.link`.

    Raises:
        CorruptEngine: it is no such library, or a function is missing.
        DeviceError: the operating system forbids running generated code.
    """
    if bytes(code[:4]) != b"\x7fELF":
        raise CorruptEngine("the code image is not a library: the engine is damaged; build it again")
    try:
        return _load_library(code, symbols)
    except OSError:
        return load_flat(code, symbols)


def _load_library(code: bytes | memoryview, symbols: Iterable[str]) -> Image:
    descriptor = os.memfd_create("engineworks", os.MFD_CLOEXEC)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(code)
        library = ctypes.CDLL(f"/proc/self/fd/{descriptor}", mode=os.RTLD_NOW | os.RTLD_LOCAL)
    except BaseException:
        os.close(descriptor)
        raise
    image = Image({}, "dlopen")
    # The descriptor stays open for as long as the library is loaded: dlopen() gives back an earlier
    # library of the same path, and a closed descriptor's number is used again.
    # pyrefly: ignore[missing-attribute]
    weakref.finalize(image, _unload, library._handle, descriptor).atexit = False
    for name in symbols:
        try:
            image.addresses[name] = _ctypes.dlsym(library._handle, name)
        except OSError:
            raise _missing(name) from None
    return image


def _unload(handle: int, descriptor: int) -> None:
    # While Python shuts down, threads of a pool may still sleep in the library's code.
    if not sys.is_finalizing():
        _ctypes.dlclose(handle)
        os.close(descriptor)


def _missing(name: str) -> CorruptEngine:
    return CorruptEngine(f"the code image has no function '{name}': the engine is damaged; build it again")


# -- without dlopen


def load_flat(code: bytes | memoryview, symbols: Iterable[str]) -> Image:
    """The same, by mapping memory ourselves.

    Raises:
        CorruptEngine: a function is missing.
        DeviceError: the operating system forbids it.
    """
    libc = _libc()
    size = -(-len(code) // _PAGE) * _PAGE
    base = libc.mmap(None, size, _PROT_READ | _PROT_WRITE, _MAP_PRIVATE_ANONYMOUS, -1, 0)
    if base is None or base == _MAP_FAILED:
        raise DeviceError(f"no {size:,} bytes for generated code: {os.strerror(ctypes.get_errno())}")
    image = Image({}, "map")
    # pyrefly: ignore[missing-attribute]
    weakref.finalize(image, libc.munmap, base, size).atexit = False
    ctypes.memmove(base, bytes(code), len(code))
    headers = _program_headers(code)
    dynamic = _dynamic(code, headers)
    for at in range(dynamic[_DT_RELA], dynamic[_DT_RELA] + dynamic[_DT_RELASZ], 24):
        place, _, address = struct.unpack_from("<QQq", code, at)
        ctypes.c_uint64.from_address(base + place).value = base + address
    for kind, flags, offset, _, _, _, length, _ in headers:
        protection = (flags & 4 and _PROT_READ) | (flags & 2 and _PROT_WRITE) | (flags & 1 and _PROT_EXEC)
        if kind == _PT_LOAD and libc.mprotect(base + offset, length, protection):
            raise DeviceError(
                f"this system forbids running generated code ({os.strerror(ctypes.get_errno())}): "
                f"allow memfd_create with exec, or anonymous executable memory"
            )
    table = _symbol_table(code, dynamic)
    for name in symbols:
        if name not in table:
            raise _missing(name)
        image.addresses[name] = base + table[name]
    return image


def _program_headers(code: bytes | memoryview) -> list[tuple[int, ...]]:
    (count,) = struct.unpack_from("<H", code, 56)
    return [_PROGRAM_HEADER.unpack_from(code, 64 + 56 * i) for i in range(count)]


def _dynamic(code: bytes | memoryview, headers: list[tuple[int, ...]]) -> dict[int, int]:
    header = next(h for h in headers if h[0] == _PT_DYNAMIC)
    return dict(struct.iter_unpack("<QQ", code[header[2] : header[2] + header[5]]))


def _symbol_table(code: bytes | memoryview, dynamic: dict[int, int]) -> dict[str, int]:
    raw = bytes(code[: dynamic[_DT_RELA]])
    table: dict[str, int] = {}
    # `link.py` puts the strings right after the symbols.
    for name, _, _, _, address, _ in struct.iter_unpack(
        "<IBBHQQ", raw[dynamic[_DT_SYMTAB] : dynamic[_DT_STRTAB]]
    ):
        start = dynamic[_DT_STRTAB] + name
        table[raw[start : raw.index(b"\0", start)].decode()] = address
    return table


def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_long,
    ]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return libc
