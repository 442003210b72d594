"""Compiled kernels, kept on disk between builds, and the code section made of them."""

from __future__ import annotations

import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from engineworks.codegen.triton.compile import Cubin, compile_cubin, triton_version
from engineworks.codegen.triton.function import KernelFunction
from engineworks.codegen.triton.gpu import Gpu
from engineworks.errors import BuildError

ALIGNMENT = 64


class CubinCache:
    """Cubins by the key of their function.

    Args:
        folder: where they are kept; None keeps them for this process only.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._held: dict[str, Cubin] = {}

    def cubin(self, function: KernelFunction, gpu: Gpu) -> Cubin:
        """The compiled function. Raises BuildError: it does not compile."""
        key = cubin_key(function, gpu)
        found = self._held.get(key) or self._read(key)
        if found is None:
            found = compile_cubin(function, gpu)
            self._write(key, found)
        self._held[key] = found
        return found

    def has(self, function: KernelFunction, gpu: Gpu) -> bool:
        """True when `cubin` will not compile."""
        key = cubin_key(function, gpu)
        return key in self._held or (self.folder is not None and (self.folder / f"{key}.cubin").exists())

    def _read(self, key: str) -> Cubin | None:
        path = self.folder / f"{key}.cubin" if self.folder else None
        if path is None or not path.exists():
            return None
        try:
            return msgspec.msgpack.decode(path.read_bytes(), type=Cubin)
        except msgspec.DecodeError:
            return None  # a damaged file is compiled again

    def _write(self, key: str, cubin: Cubin) -> None:
        if self.folder is None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as file:
                file.write(msgspec.msgpack.encode(asdict(cubin)))
            os.replace(file.name, self.folder / f"{key}.cubin")  # two builds may write the same one at once
        except OSError as error:
            raise BuildError(
                f"the cache of compiled kernels '{self.folder}' cannot be written: {error.strerror}.\n"
                f"  Free space, or name another folder in ENGINEWORKS_CACHE_DIR."
            ) from error


def cubin_key(function: KernelFunction, gpu: Gpu) -> str:
    """Name of a compiled function in the cache."""
    version = triton_version().replace(" ", "-")
    return f"{version}-{gpu.arch}-{function.key()}"


def code_section(
    cubins: dict[str, Cubin], *, with_ptx: bool = False
) -> tuple[bytes, dict[str, dict[str, Any]]]:
    """The cubins in a row, and what the manifest says about each, by symbol."""
    code = bytearray()
    facts: dict[str, dict[str, Any]] = {}
    for symbol, cubin in cubins.items():
        code += bytes(-len(code) % ALIGNMENT)
        facts[symbol] = {
            "offset": len(code), "size": len(cubin.code), "entry": cubin.entry, "threads": cubin.threads,
            "shared_bytes": cubin.shared_bytes, "cluster": cubin.blocks, "swizzles": cubin.swizzles,
        }  # fmt: skip
        code += cubin.code
        if with_ptx:
            code += bytes(-len(code) % ALIGNMENT)
            facts[symbol] |= {"ptx_offset": len(code), "ptx_size": len(cubin.ptx) + 1}
            code += cubin.ptx.encode() + b"\0"
    return bytes(code), facts
