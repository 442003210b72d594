"""Link kernel objects into one minimal shared library, at build time, without a linker.

The library has three loadable parts, each page-aligned and none both writable and executable: headers,
tables and data (rw), code (rx), constants (r). It needs no other library and has no undefined symbols, so
loading is one dlopen() of memory. Addresses equal file offsets, which also lets `loader.py` map the bytes
without dlopen().
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from engineworks.errors import BuildError
from engineworks.runtime.cpu import elf

PAGE = 4096
# R_X86_64_*: AMD64 ABI, table 4.9. S symbol, A addend, P place, G entry of the offset table.
R_64, R_PC32, R_PLT32, R_RELATIVE, R_GOTPCREL = 1, 2, 4, 8, 9
R_PC64, R_GOTPCRELX, R_REX_GOTPCRELX = 24, 41, 42
_GOT_KINDS = (R_GOTPCREL, R_GOTPCRELX, R_REX_GOTPCRELX)

PT_LOAD, PT_DYNAMIC, PT_GNU_STACK = 1, 2, 0x6474E551
_READ, _WRITE, _EXECUTE = 4, 2, 1
_DT_HASH, _DT_STRTAB, _DT_SYMTAB, _DT_RELA, _DT_RELASZ, _DT_RELAENT = 4, 5, 6, 7, 8, 9
_DT_STRSZ, _DT_SYMENT, _DT_NULL = 10, 11, 0

Place = tuple[int, int]
"""(object number, section number)."""


def link(objects: Sequence[bytes]) -> bytes:
    """One shared library with the code of all `objects`; every global function is exported.

    Raises:
        BuildError: a symbol is defined twice or nowhere, or a relocation is not position-independent
            (compile with reloc='pic', codemodel='small').
    """
    return _Linker([elf.parse(data) for data in objects]).image()


@dataclass(slots=True)
class _Linker:
    objects: list[elf.Object]
    addresses: dict[Place, int] = field(default_factory=dict)
    globals: dict[str, tuple[int, elf.Symbol]] = field(default_factory=dict)
    offset_table: dict[tuple[int, int], int] = field(default_factory=dict)
    absolute: list[tuple[int, int]] = field(default_factory=list)

    def image(self) -> bytes:
        self._collect_globals()
        exported = [name for name, (_, s) in sorted(self.globals.items()) if s.is_function]
        head = _Head(exported, self._count_absolute())
        data = self._of_kind(lambda s: bool(s.flags & elf.SHF_WRITE))
        code = self._of_kind(lambda s: bool(s.flags & elf.SHF_EXECUTE))
        constants = self._of_kind(lambda s: not s.flags & (elf.SHF_WRITE | elf.SHF_EXECUTE))
        table_start = _aligned(head.size, 16)
        self._lay_offset_table(table_start)
        data_end = self._place(data, table_start + 8 * len(self.offset_table))
        code_start = _aligned(data_end, PAGE)
        code_end = self._place(code, code_start)
        constants_start = _aligned(code_end, PAGE)
        end = self._place(constants, constants_start)
        image = bytearray(end)
        self._copy(image)
        self._relocate(image)
        segments = [
            (PT_LOAD, _READ | _WRITE, 0, data_end),
            (PT_LOAD, _READ | _EXECUTE, code_start, code_end - code_start),
        ]
        if end > constants_start:
            segments.append((PT_LOAD, _READ, constants_start, end - constants_start))
        symbols = [(self._address_of(*self.globals[n]), self.globals[n][1].size) for n in exported]
        head.write(image, segments, symbols, self.absolute)
        return bytes(image)

    def _collect_globals(self) -> None:
        for number, item in enumerate(self.objects):
            for symbol in item.symbols:
                if not symbol.is_global or symbol.section == elf.SHN_UNDEFINED:
                    continue
                if symbol.name in self.globals:
                    raise BuildError(
                        f"two kernel objects define the symbol '{symbol.name}': name kernels apart"
                    )
                self.globals[symbol.name] = (number, symbol)

    def _of_kind(self, wanted: Callable[[elf.Section], bool]) -> list[Place]:
        return [
            (number, index)
            for number, item in enumerate(self.objects)
            for index, section in enumerate(item.sections)
            if section.is_loaded and wanted(section)
        ]

    def _count_absolute(self) -> int:
        """Entries of the dynamic relocation table: absolute words, and one for each offset-table entry."""
        entries: set[tuple[int, int]] = set()
        words = 0
        for number, item in enumerate(self.objects):
            for relocation in item.relocations:
                words += relocation.kind == R_64
                if relocation.kind in _GOT_KINDS:
                    entries.add(self._definition(number, relocation.symbol))
        self.offset_table = dict.fromkeys(sorted(entries), 0)
        return words + len(entries)

    def _definition(self, number: int, symbol: int) -> tuple[int, int]:
        """(object, symbol number) of the definition that symbol `symbol` of object `number` refers to."""
        item = self.objects[number].symbols[symbol]
        if item.section != elf.SHN_UNDEFINED:
            return number, symbol
        if item.name not in self.globals:
            raise BuildError(
                f"generated code calls '{item.name}', which no kernel object defines: engines use no libraries; "
                f'expand it in the emitter, and keep the attribute "no-builtins"'
            )
        home, found = self.globals[item.name]
        return home, self.objects[home].symbols.index(found)

    def _lay_offset_table(self, start: int) -> None:
        self.offset_table = {key: start + 8 * i for i, key in enumerate(self.offset_table)}

    def _place(self, places: list[Place], start: int) -> int:
        position = start
        for number, index in places:
            section = self.objects[number].sections[index]
            position = _aligned(position, max(section.alignment, 16))
            self.addresses[number, index] = position
            position += section.size
        return position

    def _copy(self, image: bytearray) -> None:
        for (number, index), address in self.addresses.items():
            content = self.objects[number].sections[index].content
            image[address : address + len(content)] = content

    def _address_of(self, number: int, symbol: elf.Symbol) -> int:
        if symbol.section == elf.SHN_ABSOLUTE:
            return symbol.value
        return self.addresses[number, symbol.section] + symbol.value

    def _relocate(self, image: bytearray) -> None:
        targets: dict[tuple[int, int], tuple[tuple[int, int], int]] = {}
        for number, item in enumerate(self.objects):
            for r in item.relocations:
                if (number, r.symbol) not in targets:
                    home = self._definition(number, r.symbol)
                    targets[number, r.symbol] = (
                        home,
                        self._address_of(home[0], self.objects[home[0]].symbols[home[1]]),
                    )
                home, target = targets[number, r.symbol]
                place = self.addresses[number, r.section] + r.offset
                if r.kind in (R_PC32, R_PLT32):
                    struct.pack_into("<i", image, place, target + r.addend - place)
                elif r.kind in _GOT_KINDS:
                    struct.pack_into("<i", image, place, self.offset_table[home] + r.addend - place)
                elif r.kind == R_PC64:
                    struct.pack_into("<q", image, place, target + r.addend - place)
                elif r.kind == R_64:
                    self._absolute_word(image, place, target + r.addend)
                else:
                    raise BuildError(
                        f"relocation {r.kind} of '{item.symbols[r.symbol].name}' is not position-independent: "
                        f"compile with reloc='pic', codemodel='small'"
                    )
        for (number, index), place in self.offset_table.items():
            self._absolute_word(image, place, self._address_of(number, self.objects[number].symbols[index]))

    def _absolute_word(self, image: bytearray, place: int, address: int) -> None:
        """A word that the loader must add the library's base to."""
        struct.pack_into("<Q", image, place, address)
        self.absolute.append((place, address))


class _Head:
    """The part before data: ELF header, program headers, hash table, symbols, strings, relocations,
    dynamic section.
    """

    def __init__(self, names: Sequence[str], relocations: int) -> None:
        self.names = names
        self.strings = b"\0" + b"".join(n.encode() + b"\0" for n in names)
        self.hash_at = 64 + 56 * 5
        hash_bytes = 4 * (2 + max(1, len(names)) + len(names) + 1)
        self.symbols_at = _aligned(self.hash_at + hash_bytes, 8)
        self.strings_at = self.symbols_at + 24 * (len(names) + 1)
        self.relocations_at = _aligned(self.strings_at + len(self.strings), 8)
        self.relocations = relocations
        self.dynamic_at = _aligned(self.relocations_at + 24 * relocations, 16)
        self.dynamic_bytes = 16 * 9
        self.size = self.dynamic_at + self.dynamic_bytes

    def write(
        self,
        image: bytearray,
        segments: list[tuple[int, int, int, int]],
        symbols: list[tuple[int, int]],
        absolute: list[tuple[int, int]],
    ) -> None:
        segments = [
            *segments,
            (PT_DYNAMIC, _READ | _WRITE, self.dynamic_at, self.dynamic_bytes),
            (PT_GNU_STACK, _READ | _WRITE, 0, 0),
        ]
        identity = b"\x7fELF\x02\x01\x01" + bytes(9)
        image[:64] = identity + struct.pack(
            "<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, len(segments), 64, 0, 0
        )
        for i, (kind, flags, start, size) in enumerate(segments):
            page = PAGE if kind == PT_LOAD else 16
            struct.pack_into(
                "<IIQQQQQQ", image, 64 + 56 * i, kind, flags, start, start, start, size, size, page
            )
        self._write_hash(image)
        offset = 1
        for i, (name, (address, size)) in enumerate(zip(self.names, symbols, strict=True), 1):
            # 0x12: global function. The section index only has to differ from 'undefined'.
            struct.pack_into("<IBBHQQ", image, self.symbols_at + 24 * i, offset, 0x12, 0, 1, address, size)
            offset += len(name.encode()) + 1
        image[self.strings_at : self.strings_at + len(self.strings)] = self.strings
        for i, (place, address) in enumerate(absolute):
            struct.pack_into("<QQq", image, self.relocations_at + 24 * i, place, R_RELATIVE, address)
        dynamic = {
            _DT_HASH: self.hash_at, _DT_STRTAB: self.strings_at, _DT_SYMTAB: self.symbols_at,
            _DT_STRSZ: len(self.strings), _DT_SYMENT: 24, _DT_RELA: self.relocations_at,
            _DT_RELASZ: 24 * self.relocations, _DT_RELAENT: 24, _DT_NULL: 0,
        }  # fmt: skip
        for i, (tag, value) in enumerate(dynamic.items()):
            struct.pack_into("<QQ", image, self.dynamic_at + 16 * i, tag, value)

    def _write_hash(self, image: bytearray) -> None:
        count = max(1, len(self.names))
        buckets, chain = [0] * count, [0] * (len(self.names) + 1)
        for i, name in enumerate(self.names, 1):
            bucket = _sysv_hash(name) % count
            chain[i], buckets[bucket] = buckets[bucket], i
        words = [count, len(self.names) + 1, *buckets, *chain]
        struct.pack_into(f"<{len(words)}I", image, self.hash_at, *words)


def _sysv_hash(name: str) -> int:
    """The hash of the System V ABI, chapter 5."""
    value = 0
    for byte in name.encode():
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ high >> 24) & ~high
    return value & 0xFFFFFFFF


def _aligned(position: int, alignment: int) -> int:
    return -(-position // alignment) * alignment
