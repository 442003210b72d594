"""What must hold in the manifest of a GPU's engine beyond `validate.py`."""

from __future__ import annotations

from collections.abc import Iterator

from engineworks.core import dtypes
from engineworks.engine.schema import Kernel, Manifest, Record, Ref

_MOST_THREADS = 1024
_MOST_BLOCKS = (2**31 - 1, 65535, 65535)
"""Along x, y and z (CUDA programming guide, technical specifications)."""
_MOST_AXES = 5
"""Of a tensor map."""
_SWIZZLES = range(4)


def gpu_kernel_problems(manifest: Manifest) -> Iterator[str]:
    """Contradictions in kernels and maps, in words."""
    room = next((s.size for s in manifest.sections if s.name == "code"), 0)
    for kernel in manifest.kernels:
        yield from _kernel_problems(kernel, room)
    for number, each in enumerate(manifest.maps):
        ranks = {len(each.sizes), len(each.strides), len(each.box)}
        if len(ranks) != 1 or not 1 <= len(each.sizes) <= _MOST_AXES:
            yield f"map {number}: sizes, strides and box of {sorted(ranks)} axes"
        try:
            dtypes.by_name(each.dtype)
        except ValueError as error:
            yield f"map {number}: {error}"


def _kernel_problems(kernel: Kernel, room: int) -> Iterator[str]:
    where = f"kernel '{kernel.symbol}'"
    if kernel.library:
        return
    if not kernel.entry:
        yield f"{where}: neither a function nor a library's call"
    for what, offset, size in (
        ("code", kernel.offset, kernel.size),
        ("PTX", kernel.ptx_offset, kernel.ptx_size),
    ):
        if offset + size > room:
            yield f"{where}: its {what} ends at byte {offset + size} of {room} bytes of code"
    if not 1 <= kernel.threads <= _MOST_THREADS:
        yield f"{where}: blocks of {kernel.threads} threads"
    if kernel.cluster < 1:
        yield f"{where}: clusters of {kernel.cluster} blocks"
    if any(s not in _SWIZZLES for s in kernel.swizzles):
        yield f"{where}: swizzles {kernel.swizzles}"


def gpu_problems(record: Record, manifest: Manifest, where: str) -> Iterator[str]:
    """Contradictions in one record, in words."""
    if len(record.grid) > len(_MOST_BLOCKS):
        yield f"{where}: a grid of {len(record.grid)} axes"
    for size, most in zip(record.grid, _MOST_BLOCKS, strict=False):
        if isinstance(size, int) and size > most:
            yield f"{where}: a grid of {list(record.grid)} blocks"
    for word in record.words:
        if not isinstance(word, Ref) or word.buffer >= len(manifest.buffers):
            continue  # reported with the words
        if manifest.buffers[word.buffer].place == "plan":
            yield f"{where}: a GPU's program has no plan to write to"
    maps = [w.map for w in record.words if isinstance(w, Ref) and w.map >= 0]
    missing = [m for m in maps if m >= len(manifest.maps)]
    if missing:
        yield f"{where}: there is no map {missing[0]}"
    if record.op == "call" and record.kernel < len(manifest.kernels):
        swizzles = manifest.kernels[record.kernel].swizzles
        if swizzles and len(swizzles) != len(maps):
            yield f"{where}: {len(maps)} maps for a kernel that takes {len(swizzles)}"
