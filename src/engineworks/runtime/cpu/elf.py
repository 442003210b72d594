"""Relocatable ELF objects, read: sections, symbols and relocations of x86-64 code.

Sources: System V ABI (gabi), chapter 4, and its AMD64 supplement, section 4.4.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from engineworks.errors import BuildError

_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")

SHT_SYMTAB, SHT_RELA, SHT_NOBITS = 2, 4, 8
SHF_WRITE, SHF_ALLOC, SHF_EXECUTE = 1, 2, 4
SHN_UNDEFINED, SHN_ABSOLUTE = 0, 0xFFF1


@dataclass(frozen=True, slots=True)
class Section:
    """One section; `content` is empty for zero-initialised ones (`size` says how much)."""

    name: str
    kind: int
    flags: int
    size: int
    alignment: int
    link: int
    info: int
    content: memoryview

    @property
    def is_loaded(self) -> bool:
        # Nothing unwinds through kernels, and the frames' relocations would have to be kept.
        return bool(self.flags & SHF_ALLOC) and self.size > 0 and self.name != ".eh_frame"


@dataclass(frozen=True, slots=True)
class Symbol:
    """One symbol; `section` is an index, SHN_UNDEFINED or SHN_ABSOLUTE."""

    name: str
    is_global: bool
    is_function: bool
    section: int
    value: int
    size: int


@dataclass(frozen=True, slots=True)
class Relocation:
    """`kind` of R_X86_64_*: the place `offset` in section `section` refers to symbol number `symbol`."""

    section: int
    offset: int
    kind: int
    symbol: int
    addend: int


@dataclass(frozen=True, slots=True)
class Object:
    """A relocatable object: what the linker needs of it."""

    sections: list[Section]
    symbols: list[Symbol]
    relocations: list[Relocation]


def parse(data: bytes) -> Object:
    """The object file in `data`.

    Raises:
        BuildError: not a relocatable x86-64 ELF object.
    """
    if data[:6] != b"\x7fELF\x02\x01" or struct.unpack_from("<HH", data, 16) != (1, 62):
        raise BuildError("not a relocatable x86-64 ELF object: compile kernels for x86_64-unknown-linux-gnu")
    sections = _sections(data)
    table = next((s for s in sections if s.kind == SHT_SYMTAB), None)
    symbols = _symbols(table, bytes(sections[table.link].content)) if table else []
    relocations = [
        Relocation(section.info, offset, info & 0xFFFFFFFF, info >> 32, addend)
        for section in sections
        if section.kind == SHT_RELA and sections[section.info].is_loaded
        for offset, info, addend in _RELOCATION.iter_unpack(section.content)
    ]
    return Object(sections, symbols, relocations)


def _sections(data: bytes) -> list[Section]:
    (start,) = struct.unpack_from("<Q", data, 0x28)
    count, names_index = struct.unpack_from("<HH", data, 0x3C)
    view = memoryview(data)
    raw = [_SECTION.unpack_from(data, start + i * _SECTION.size) for i in range(count)]
    names = data[raw[names_index][4] : raw[names_index][4] + raw[names_index][5]]
    return [
        Section(
            _text(names, name), kind, flags, size, max(alignment, 1), link, info,
            view[:0] if kind == SHT_NOBITS else view[offset : offset + size],
        )
        for name, kind, flags, _, offset, size, link, info, alignment, _ in raw
    ]  # fmt: skip


def _symbols(table: Section, names: bytes) -> list[Symbol]:
    return [
        Symbol(_text(names, name), info >> 4 != 0, info & 15 == 2, section, value, size)
        for name, info, _, section, value, size in _SYMBOL.iter_unpack(table.content)
    ]


def _text(table: bytes, offset: int) -> str:
    return table[offset : table.index(b"\0", offset)].decode()
