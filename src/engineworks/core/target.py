"""What an engine is built for and what this machine offers, found without a compiler.

Feature names are LLVM's (`avx512vnni`, `bmi`), so that one list serves the code generator and the loader's
check.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import mmap
import platform
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

V3 = ("avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "popcnt")
"""x86-64-v3 of the x86-64 psABI, as far as generated code relies on it."""
V4 = (*V3, "avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl")
"""x86-64-v4."""
EXTRAS = (
    "amx-bf16", "amx-int8", "amx-tile", "avx512bf16", "avx512fp16", "avx512vbmi", "avx512vnni", "avxvnni",
)  # fmt: skip
"""Features beyond the levels that kernels may ask for."""

_ARCHES = {"x86-64-v3": V3, "x86-64-v4": V4}
_ALIASES = {"avx2": "x86-64-v3", "avx512": "x86-64-v4", **{name: name for name in _ARCHES}}


@dataclass(frozen=True, slots=True)
class Target:
    """A device and what its generated code may use.

    Args:
        device: 'cpu' or 'cuda'; other backends add theirs.
        arch: 'x86-64-v3', 'x86-64-v4', 'sm_90', …
        features: all that code for it may use, sorted; the level's own features included.
    """

    device: str
    arch: str
    features: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Equal for targets that run the same code: part of timing-cache keys."""
        text = "|".join((self.device, self.arch, *self.features))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def with_features(self, features: Iterable[str]) -> Target:
        """The target that has these features too."""
        return Target(self.device, self.arch, tuple(sorted({*self.features, *features})))

    def __str__(self) -> str:
        extra = [f for f in self.features if f not in _ARCHES.get(self.arch, ())]
        return f"{self.device}:{self.arch}" + "".join(f"+{f}" for f in extra)


def parse(text: str) -> Target:
    """The target called `text`.

    'cpu' is this machine with all its features; 'cpu:avx2' and 'cpu:avx512' (or 'cpu:x86-64-v4') are the
    plain levels, which more machines can run; '+feature' adds one: 'cpu:avx512+avx512vnni'. 'cuda:sm_90'
    names a GPU.

    Raises:
        ValueError: no such target; the message lists those there are.
    """
    device, _, rest = text.partition(":")
    if device != "cpu":
        if not re.fullmatch(r"[a-z]+:[\w]+", text):
            raise ValueError(
                f"'{text}' names no target; write 'cpu', 'cpu:avx2', 'cpu:avx512' or 'cuda:sm_90'"
            )
        return Target(device, rest)
    if rest in ("", "native"):
        return host()
    level, *added = rest.split("+")
    if level not in _ALIASES:
        raise ValueError(f"'{text}': no CPU level is called '{level}'; there are {', '.join(_ALIASES)}")
    unknown = [f for f in added if f not in EXTRAS]
    if unknown:
        raise ValueError(f"'{text}': no feature is called '{unknown[0]}'; there are {', '.join(EXTRAS)}")
    arch = _ALIASES[level]
    return Target("cpu", arch, tuple(sorted({*_ARCHES[arch], *added})))


@functools.cache
def host() -> Target:
    """This machine's CPU: the highest level it has, and the extra features that kernels can use.

    Raises:
        ValueError: the CPU is below x86-64-v3 (AVX2, 2013), or not x86-64.
    """
    present = host_features()
    for arch in ("x86-64-v4", "x86-64-v3"):
        if present.issuperset(_ARCHES[arch]):
            extras = present.intersection(EXTRAS)
            if arch == "x86-64-v3":
                extras = {f for f in extras if not f.startswith("avx512")}
            return Target("cpu", arch, tuple(sorted({*_ARCHES[arch], *extras})))
    lacking = ", ".join(sorted(set(V3) - present))
    raise ValueError(f"this CPU ({platform.machine()}) cannot run generated code: it lacks {lacking}")


def missing_features(needed: Target, present: Target) -> list[str]:
    """What `present` lacks to run code built for `needed`, each difference in words; none when it can run."""
    if needed.device != present.device:
        return [f"device: the engine needs {needed.device}, this is {present.device}"]
    if needed.device != "cpu":
        differs = needed.arch != present.arch
        return [f"architecture: the engine needs {needed.arch}, this is {present.arch}"] if differs else []
    return [f"cpu feature: {f}" for f in needed.features if f not in present.features]


# -- detection

# leaf, subleaf, register (0 eax, 1 ebx, 2 ecx, 3 edx), bit: Intel SDM volume 2A, CPUID; AMD APM volume 3,
# appendix E.
_BITS: dict[str, tuple[int, int, int, int]] = {
    "fma": (1, 0, 2, 12), "movbe": (1, 0, 2, 22), "popcnt": (1, 0, 2, 23), "avx": (1, 0, 2, 28),
    "f16c": (1, 0, 2, 29), "bmi": (7, 0, 1, 3), "avx2": (7, 0, 1, 5), "bmi2": (7, 0, 1, 8),
    "avx512f": (7, 0, 1, 16), "avx512dq": (7, 0, 1, 17), "avx512cd": (7, 0, 1, 28), "avx512bw": (7, 0, 1, 30),
    "avx512vl": (7, 0, 1, 31), "avx512vbmi": (7, 0, 2, 1), "avx512vnni": (7, 0, 2, 11), "amx-bf16": (7, 0, 3, 22),
    "avx512fp16": (7, 0, 3, 23), "amx-tile": (7, 0, 3, 24), "amx-int8": (7, 0, 3, 25), "avxvnni": (7, 1, 0, 4),
    "avx512bf16": (7, 1, 0, 5), "lzcnt": (0x80000001, 0, 2, 5),
}  # fmt: skip
_OSXSAVE = (1, 0, 2, 27)
_YMM_STATE, _ZMM_STATE, _TILE_STATE = 0x6, 0xE6, 0x60000
"""Bits of XCR0 that say the operating system saves these registers."""

# push rbx; mov r8, rdx; mov eax, edi; mov ecx, esi; cpuid; mov [r8], eax; mov [r8+4], ebx; mov [r8+8], ecx;
# mov [r8+12], edx; pop rbx; ret
_CPUID_CODE = bytes.fromhex("53 4989d0 89f8 89f1 0fa2 418900 41895804 41894808 4189500c 5b c3")
# xor ecx, ecx; xgetbv; shl rdx, 32; or rax, rdx; ret
_XGETBV_CODE = bytes.fromhex("31c9 0f01d0 48c1e220 4809d0 c3")


@functools.cache
def host_features() -> frozenset[str]:
    """The feature names that this CPU has and whose registers the operating system saves."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return frozenset()
    try:
        return _from_cpuid()
    except (OSError, PermissionError):
        # Executable anonymous memory is forbidden here (as by a seccomp or SELinux policy).
        return _from_proc(Path("/proc/cpuinfo").read_text())


def _from_cpuid() -> frozenset[str]:
    memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(_CPUID_CODE.ljust(64, b"\xcc") + _XGETBV_CODE)
    anchor = ctypes.c_char.from_buffer(memory)
    base = ctypes.addressof(anchor)
    cpuid = ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p)(base)
    xgetbv = ctypes.CFUNCTYPE(ctypes.c_uint64)(base + 64)

    def bit(leaf: int, subleaf: int, register: int, position: int) -> bool:
        out = (ctypes.c_uint32 * 4)()
        cpuid(leaf & 0x80000000, 0, out)
        if out[0] < leaf:
            return False
        cpuid(leaf, subleaf, out)
        return bool(out[register] >> position & 1)

    saved = xgetbv() if bit(*_OSXSAVE) else 0
    found = {name for name, where in _BITS.items() if bit(*where) and _is_saved(name, saved)}
    del anchor
    return frozenset(found)


def _is_saved(feature: str, saved: int) -> bool:
    if feature.startswith("amx"):
        return saved & _TILE_STATE == _TILE_STATE and _may_use_tiles()
    if feature.startswith("avx512"):
        return saved & _ZMM_STATE == _ZMM_STATE
    if feature in ("avx", "avx2", "fma", "f16c", "avxvnni"):
        return saved & _YMM_STATE == _YMM_STATE
    return True


_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA = 158, 0x1023, 18
"""Linux's system call, ARCH_REQ_XCOMP_PERM and the number of the state (arch/x86/include/uapi/asm/prctl.h)."""


@functools.cache
def _may_use_tiles() -> bool:
    """Ask Linux to let this process (all of its threads) use AMX's tile registers, which it grants on request only.

    Where the kernel is too old or a policy forbids it, this machine counts as one without AMX.
    """
    libc = ctypes.CDLL(None)
    libc.syscall.restype = ctypes.c_long
    return (
        libc.syscall(
            ctypes.c_long(_ARCH_PRCTL), ctypes.c_long(_REQUEST_PERMISSION), ctypes.c_long(_TILE_DATA)
        )
        == 0
    )


_PROC_NAMES = {"bmi1": "bmi", "abm": "lzcnt", "avx_vnni": "avxvnni"}


def _from_proc(text: str) -> frozenset[str]:
    """The kernel's own list, which leaves out what it does not save."""
    line = next((x for x in text.splitlines() if x.startswith("flags")), "")
    flags = {_PROC_NAMES.get(f, f) for f in line.partition(":")[2].split()}
    flags |= {f.replace("avx512_", "avx512") for f in flags} | {f.replace("amx_", "amx-") for f in flags}
    if not (flags & {"amx-tile"} and _may_use_tiles()):
        flags -= {f for f in flags if f.startswith("amx")}
    return frozenset(flags & set(_BITS))
