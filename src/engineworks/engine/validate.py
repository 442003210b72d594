"""What must hold between the fields of a manifest before any of them is used."""

from __future__ import annotations

from collections.abc import Iterator

from engineworks.core import dtypes, expression
from engineworks.engine.gpu_rules import gpu_kernel_problems, gpu_problems
from engineworks.engine.schema import Buffer, Dim, Manifest, Record, Ref, Symbol, Tensor, words_base
from engineworks.engine.variant_rules import variant_problems


def problems(manifest: Manifest) -> list[str]:
    """Contradictions in the manifest, in words; none for a good one."""
    return list(_problems(manifest))


def _problems(manifest: Manifest) -> Iterator[str]:
    yield from _duplicates("section", [s.name for s in manifest.sections])
    yield from _duplicates("symbol", [s.name for s in manifest.symbols])
    yield from _duplicates("tensor", [t.name for t in manifest.inputs + manifest.outputs])
    names = {s.name for s in manifest.symbols}
    for tensor in manifest.inputs:
        yield from _tensor_problems(tensor, {s.name for s in manifest.symbols if not s.is_data_dependent})
    for tensor in manifest.outputs:
        yield from _tensor_problems(tensor, names)
    for symbol in manifest.symbols:
        yield from _symbol_problems(symbol, manifest)
    yield from _profile_problems(manifest)
    for check in manifest.checks:
        yield from _dim_problems(check.left, names, f"check '{check.message[:40]}'")
        yield from _dim_problems(check.right, names, f"check '{check.message[:40]}'")
    for number, buffer in enumerate(manifest.buffers):
        yield from _buffer_problems(number, buffer, manifest, names)
    if manifest.scratch_bytes % 64:
        yield f"{manifest.scratch_bytes} bytes of scratch, which must be a multiple of 64"
    yield from _program_problems(manifest, names)
    yield from variant_problems(manifest)
    if manifest.target.device == "cuda":
        yield from gpu_kernel_problems(manifest)
        for number, each in enumerate(manifest.maps):
            yield from (
                p for d in (*each.sizes, *each.strides) for p in _dim_problems(d, names, f"map {number}")
            )


def _duplicates(what: str, names: list[str]) -> Iterator[str]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            yield f"two {what}s are called '{name}'"
        seen.add(name)


def _dim_problems(dim: Dim, names: set[str], where: str) -> Iterator[str]:
    if isinstance(dim, int):
        return
    try:
        unknown = [n for n in expression.parse(dim).names if n not in names]
    except ValueError as error:
        yield f"{where}: {error}"
        return
    if unknown:
        yield f"{where}: '{dim}' uses '{unknown[0]}', which is no symbol"


def _tensor_problems(tensor: Tensor, names: set[str]) -> Iterator[str]:
    try:
        dtypes.by_name(tensor.dtype)
    except ValueError as error:
        yield f"tensor '{tensor.name}': {error}"
    for dim in tensor.dims:
        yield from _dim_problems(dim, names, f"tensor '{tensor.name}'")


def _symbol_problems(symbol: Symbol, manifest: Manifest) -> Iterator[str]:
    where = f"symbol '{symbol.name}'"
    if isinstance(symbol.max, int):
        if not symbol.min <= symbol.opt <= symbol.max:
            yield f"{where}: {symbol.min} … {symbol.opt} … {symbol.max} is not ascending"
    else:
        # Upper bounds are computed in slot order, after all symbols of input axes.
        slot = manifest.symbols.index(symbol)
        known = {s.name for i, s in enumerate(manifest.symbols) if i < slot or not s.is_data_dependent}
        yield from _dim_problems(symbol.max, known, where)
    if symbol.is_data_dependent:
        return
    if not isinstance(symbol.max, int):
        yield f"{where}: only a data-dependent symbol has an expression for its maximum"
    if symbol.input >= len(manifest.inputs) or symbol.axis >= len(manifest.inputs[symbol.input].dims):
        yield f"{where}: input {symbol.input} has no axis {symbol.axis}"
    else:
        yield from _source_problems(symbol, manifest)


def _source_problems(symbol: Symbol, manifest: Manifest) -> Iterator[str]:
    """The input axis gives the symbol's value, once the symbols before it are known."""
    dim = manifest.inputs[symbol.input].dims[symbol.axis]
    before = {s.name for s in manifest.symbols[: manifest.symbols.index(symbol)]}
    try:
        names = set(expression.names_of(dim))
    except ValueError:
        return  # reported with the tensor
    if symbol.name not in names or not names <= before | {symbol.name}:
        yield f"symbol '{symbol.name}': axis {symbol.axis} of input {symbol.input}, '{dim}', does not tell its value"


def _profile_problems(manifest: Manifest) -> Iterator[str]:
    yield from _duplicates("profile", [p.name for p in manifest.profiles])
    bounds = {s.name: s for s in manifest.symbols if not s.is_data_dependent}
    for profile in manifest.profiles:
        where = f"profile '{profile.name}'"
        if profile.offsets and len(profile.offsets) != len(manifest.buffers):
            yield f"{where}: {len(profile.offsets)} offsets for {len(manifest.buffers)} buffers"
        for name, span in profile.ranges.items():
            if name not in bounds:
                yield f"{where}: '{name}' is no symbol of an input axis"
            elif not span.min <= span.opt <= span.max:
                yield f"{where}: {span.min} … {span.opt} … {span.max} of '{name}' is not ascending"


def _buffer_problems(number: int, buffer: Buffer, manifest: Manifest, names: set[str]) -> Iterator[str]:
    where = f"buffer {number}"
    yield from _dim_problems(buffer.size, names, where)
    if buffer.value is not None:
        for dim in buffer.value.dims:
            yield from _dim_problems(dim, names, where)
        if buffer.value.order and sorted(buffer.value.order) != list(range(len(buffer.value.dims))):
            yield f"{where}: {buffer.value.order} does not order {len(buffer.value.dims)} axes"
    match buffer.place:
        case "input" | "output":
            tensors = manifest.inputs if buffer.place == "input" else manifest.outputs
            if buffer.offset >= len(tensors):
                yield f"{where}: there is no {buffer.place} {buffer.offset}"
        case "arena":
            yield from _arena_problems(number, buffer, manifest)
        case "weights":
            yield from _weights_problems(where, buffer, manifest)
        case "symbols" | "plan":
            if buffer.offset:
                yield f"{where}: '{buffer.place}' starts at 0"


def _weights_problems(where: str, buffer: Buffer, manifest: Manifest) -> Iterator[str]:
    room = next((s.size for s in manifest.sections if s.name == "weights"), 0)
    size = buffer.size if isinstance(buffer.size, int) else 0
    if buffer.offset + size > room:
        yield f"{where}: ends at byte {buffer.offset + size} of {room} bytes of weights"


def _arena_problems(number: int, buffer: Buffer, manifest: Manifest) -> Iterator[str]:
    size = buffer.size if isinstance(buffer.size, int) else 0
    plans = [
        (p.offsets[number], p.arena_bytes)
        for p in manifest.profiles
        if len(p.offsets) == len(manifest.buffers)
    ]
    if len(plans) < len(manifest.profiles) or not manifest.profiles:
        plans.append((buffer.offset, manifest.arena_bytes))
    for offset, room in plans:
        if offset + size > room:
            yield f"buffer {number}: ends at byte {offset + size} of an arena of {room}"


def _program_problems(manifest: Manifest, names: set[str]) -> Iterator[str]:
    if manifest.program and manifest.program[-1].op not in ("end", "jump"):
        yield "the program does not end"
    for number, record in enumerate(manifest.program):
        where = f"record {number}"
        if record.op == "call" and record.kernel >= len(manifest.kernels):
            yield f"{where}: there is no kernel {record.kernel}"
        if record.op in ("jump", "jump_if_zero") and record.target >= len(manifest.program):
            yield f"{where}: jumps to record {record.target} of {len(manifest.program)}"
        if record.op == "jump_if_zero" and not (len(record.words) == 1 and isinstance(record.words[0], Ref)):
            yield f"{where}: a condition is one address"
        found = [p for d in (record.tasks, *record.grid) for p in _dim_problems(d, names, where)]
        if manifest.target.device == "cuda":
            found += gpu_problems(record, manifest, where)
        elif record.op == "resolve":
            found.append(f"{where}: only a GPU's program has 'resolve' records")
        found += _word_problems(record, manifest, names, where)
        yield from found or _size_problems(record, manifest, where)


def _size_problems(record: Record, manifest: Manifest, where: str) -> Iterator[str]:
    """The runtime cannot know a data-dependent size before the run; a `resolve` kernel or record can, in its midst."""
    data = {s.name for s in manifest.symbols if s.is_data_dependent}
    if not data or manifest.resolves_itself or any(r.op == "resolve" for r in manifest.program):
        return
    for dim in (record.tasks, *record.grid, *(w for w in record.words if isinstance(w, str))):
        if isinstance(dim, str) and data.intersection(expression.names_of(dim)):
            yield f"{where}: '{dim}' is data-dependent, and the program has no `resolve` record"


def _word_problems(record: Record, manifest: Manifest, names: set[str], where: str) -> Iterator[str]:
    for word in record.words:
        if isinstance(word, Ref):
            if word.buffer >= len(manifest.buffers):
                yield f"{where}: there is no buffer {word.buffer}"
            elif isinstance(word.offset, int):
                size = _room(manifest.buffers[word.buffer], manifest)
                if isinstance(size, int) and word.offset > size:
                    yield f"{where}: byte {word.offset} of buffer {word.buffer}, which has {size}"
            else:
                yield from _dim_problems(word.offset, names, where)
        elif isinstance(word, str):
            yield from _dim_problems(word, names, where)
    for written in record.writes:
        if written >= len(manifest.buffers):
            yield f"{where}: there is no buffer {written}"


def _room(buffer: Buffer, manifest: Manifest) -> Dim:
    """Bytes that a buffer has."""
    match buffer.place:
        case "symbols":
            return 8 * len(manifest.symbols)
        case "plan":
            return 8 * words_base(manifest.program)[-1]
        case _:
            return buffer.size
