"""Triton text to machine code (cubin) for one architecture, on any machine: no GPU, no torch."""

from __future__ import annotations

import functools
import linecache
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engineworks.codegen.triton.function import KernelFunction
from engineworks.codegen.triton.gpu import Gpu
from engineworks.errors import BuildError, MissingExtra


@dataclass(frozen=True, slots=True)
class Cubin:
    """One compiled kernel.

    Attributes:
        entry: its name in `code`.
        threads: of a block. shared_bytes: of a block, static and dynamic.
        swizzles: CUtensorMapSwizzle of each tensor-map parameter, in order.
        ptx: what the code was assembled from.
    """

    code: bytes
    entry: str
    threads: int
    shared_bytes: int
    blocks: int = 1
    swizzles: tuple[int, ...] = ()
    ptx: str = ""


def triton_module() -> Any:
    """The package. Raises MissingExtra."""
    try:
        import triton
    except ImportError:
        raise MissingExtra("building for cuda needs triton: pip install 'engineworks[cuda]'") from None
    return triton


def triton_version() -> str:
    """For cache keys."""
    return f"triton {triton_module().__version__}"


def compile_cubin(function: KernelFunction, gpu: Gpu) -> Cubin:
    """The machine code of a kernel.

    Raises:
        BuildError: the compiler refuses it (too much shared memory, an operation the architecture lacks).
    """
    triton = triton_module()
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    jitted = jit_function(function, triton.jit, overlaps=gpu.has("pdl") and function.waits)
    source = ASTSource(
        fn=jitted,
        signature={a.name: a.type for a in function.arguments},
        constexprs={},
        attrs={(k,): [["tt.divisibility", 16]] for k, a in enumerate(function.arguments) if a.divisible},
    )
    options = {
        "num_warps": function.warps, "num_stages": function.stages, "num_ctas": function.blocks,
        "maxnreg": function.max_registers, "launch_pdl": gpu.has("pdl") and function.waits,
    }  # fmt: skip
    try:
        with _own_folder(triton):
            made = triton.compile(source, target=GPUTarget("cuda", gpu.capability, 32), options=options)
            shutil.rmtree(Path(next(iter(made.metadata_group.values()))).parent)
    except Exception as error:  # Triton raises many kinds
        raise BuildError(
            f"{function.name} does not compile for {gpu.arch}: {type(error).__name__}: {str(error)[:2000]}"
        ) from error
    facts = made.metadata
    if facts.shared > gpu.shared_bytes:
        raise BuildError(
            f"{function.name} needs {facts.shared} bytes of shared memory, {gpu.arch} has {gpu.shared_bytes}"
        )
    if facts.global_scratch_size:
        raise BuildError(
            f"{function.name} needs {facts.global_scratch_size} bytes of global scratch, which no launch has"
        )
    swizzles = tuple(int(t["swizzle"]) for t in facts.tensordesc_meta or ())
    return Cubin(
        made.asm["cubin"],
        facts.name,
        32 * facts.num_warps,
        facts.shared,
        function.blocks,
        swizzles,
        made.asm["ptx"],
    )


def jit_function(
    function: KernelFunction, decorate: Callable[[Any], Any], *, overlaps: bool, libdevice: Any = None
) -> Any:
    """The function of a text, under the decorator given.

    Args:
        overlaps: gdc_wait and gdc_launch_dependents are the real ones.
        libdevice: in place of CUDA's library of functions.
    """
    triton = triton_module()
    import triton.language as tl

    if libdevice is None:
        from triton.language.extra import libdevice
    file = f"<{function.name}{'' if overlaps else ' alone'}>"
    space: dict[str, Any] = {
        "triton": _Decorator(triton, decorate), "tl": tl, "libdevice": libdevice, "__name__": file,
    }  # fmt: skip
    text = f"{_OVERLAP if overlaps else _NO_OVERLAP}{function.text}"
    if overlaps:
        from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

        space |= {"gdc_wait": gdc_wait, "gdc_launch_dependents": gdc_launch_dependents}
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    exec(compile(text, file, "exec"), space)
    return space[function.name]


_lock = threading.Lock()


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Where Triton keeps files of this process, removed with the process."""
    return tempfile.TemporaryDirectory(prefix="engineworks-triton-", ignore_cleanup_errors=True)


@contextmanager
def _own_folder(triton: Any) -> Iterator[None]:
    """Triton's cache is not the user's: what is compiled is kept by its callers, under their own keys.

    Another thread's use of Triton meanwhile finds this folder, which stays as long as the process.
    """
    with _lock, triton.knobs.cache.scope():
        triton.knobs.cache.dir = _folder().name
        yield


_OVERLAP = """
@triton.jit
def prefetch(address, size: tl.constexpr):
    tl.inline_asm_elementwise(
        "{ .reg .pred first; .reg .u32 thread; mov.u32 thread, %tid.x; setp.eq.u32 first, thread, 0; "
        "@first cp.async.bulk.prefetch.L2.global [$1], $2; mov.u32 $0, 0; }",
        "=r,l,r", [address, size], dtype=tl.int32, is_pure=False, pack=1,
    )

"""
_NO_OVERLAP = """
@triton.jit
def gdc_wait():
    pass

@triton.jit
def gdc_launch_dependents():
    pass

@triton.jit
def prefetch(address, size: tl.constexpr):
    pass

"""


class _Decorator:
    """`triton` as kernel texts see it: everything of the package, with another `jit`."""

    def __init__(self, package: Any, decorate: Callable[[Any], Any]) -> None:
        self._package, self.jit = package, decorate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._package, name)


@functools.cache
def compiles_here() -> bool:
    """True when the package that compiles is installed."""
    try:
        triton_module()
    except MissingExtra:
        return False
    return True
