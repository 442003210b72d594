"""Kernel texts to one linked image, with compiled objects kept on disk between builds."""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from engineworks.codegen.llvm.compile import compile_object, llvm_version, module_text
from engineworks.codegen.llvm.function import Isa, required_features
from engineworks.codegen.llvm.pool import pool_text
from engineworks.core.target import Target
from engineworks.engine.schema import TargetRecord
from engineworks.errors import BuildError
from engineworks.runtime.cpu.link import link


class ObjectCache:
    """Objects by the hash of their text.

    Args:
        folder: where they are kept; None keeps them for this process only.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._held: dict[str, bytes] = {}

    def object(self, text: str, isa: Isa) -> bytes:
        """The compiled object of a module's text."""
        key = object_key(text, isa)
        found = self._held.get(key) or self._read(key)
        if found is None:
            found = compile_object(text, isa)
            self._write(key, found)
        self._held[key] = found
        return found

    def has(self, text: str, isa: Isa) -> bool:
        """True when `object` will not compile."""
        key = object_key(text, isa)
        return key in self._held or (self.folder is not None and (self.folder / f"{key}.o").exists())

    def _read(self, key: str) -> bytes | None:
        path = self.folder / f"{key}.o" if self.folder else None
        if path is None or not path.exists():
            return None
        data = path.read_bytes()
        digest, body = data[:32], data[32:]
        return body if hashlib.sha256(body).digest() == digest else None  # a damaged file is compiled again

    def _write(self, key: str, data: bytes) -> None:
        if self.folder is None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as file:
                try:
                    file.write(hashlib.sha256(data).digest() + data)
                    file.close()
                    os.replace(
                        file.name, self.folder / f"{key}.o"
                    )  # two builds may write the same object at once
                except BaseException:
                    os.unlink(file.name)
                    raise
        except OSError as error:
            raise BuildError(
                f"the cache of compiled kernels '{self.folder}' cannot be written: {error.strerror}.\n"
                f"  Free space, or name another folder in ENGINEWORKS_CACHE_DIR."
            ) from error


def object_key(text: str, isa: Isa) -> str:
    """Name of a module's object in the cache."""
    return hashlib.sha256(f"{llvm_version()}\n{isa.base}\n{text}".encode()).hexdigest()[:32]


@functools.cache
def object_cache(folder: Path | None) -> ObjectCache:
    """The cache of this process for a folder: what one build compiled, the next one has."""
    return ObjectCache(folder)


@functools.cache
def _pool_module(isa: Isa) -> str:
    functions, declarations = pool_text(isa)
    return module_text(functions, declarations, isa)


def image_of(
    functions: Mapping[str, str], declarations: Iterable[str], isa: Isa, cache: ObjectCache
) -> bytes:
    """The shared library with the thread pool, the record runner and all kernels."""
    declared = sorted(set(declarations))
    texts = [_pool_module(isa)] + [
        function_module(text, declared, isa) for _, text in sorted(functions.items())
    ]
    return link([cache.object(text, isa) for text in texts])


def target_record(level: Target, functions: Mapping[str, str]) -> TargetRecord:
    """What an engine with these functions needs of the CPU: the level, and what the functions require beyond it."""
    used = {f for text in functions.values() for f in required_features(text)}
    target = level.with_features(used)
    return TargetRecord(target.device, target.arch, target.features)


def function_module(text: str, declarations: Iterable[str], isa: Isa) -> str:
    """One function as a module with just the declarations it calls, so that its key does not depend on its company."""
    needed = [d for d in declarations if d.split("@", 1)[1].split("(", 1)[0] + "(" in text]
    return module_text([text], needed, isa)
