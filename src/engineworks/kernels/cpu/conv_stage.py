"""The first step of some convolutions: a channels-last copy of x that holds its padding.

It serves inputs that are laid out otherwise (an image as [N, C, H, W]) and sizes that are not known at build.
"""

from __future__ import annotations

from collections.abc import Callable

from engineworks.codegen.llvm.function import Function, Isa, Size
from engineworks.codegen.llvm.loads import load_vector, store_vector
from engineworks.core import dtypes
from engineworks.core.dims import Dim
from engineworks.core.types import TensorType
from engineworks.kernels.cpu.conv import Geometry
from engineworks.kernels.cpu.image_parts import ImageParts
from engineworks.kernels.cpu.words import Words
from engineworks.kernels.tactic import Input, Word

MAX_SHUFFLED_CHANNELS = 4
"""Planes of up to this many channels are interleaved in registers."""


def stage_input(parts: ImageParts, source: TensorType, g: Geometry, target: Geometry, isa: Isa) -> Word:
    """Append the copying step; the workspace that holds x as `target` (`padded(g)`) describes it.

    Args:
        source: the type of input 0, [N, C, spatial…] f32 in any layout.
    """
    size = target.x_strides[0] * g.batch * 4
    buffer = parts.buffer(size + 64)
    f = Function("stage_input")
    arguments = Words(f)
    x, copy = arguments.pointer(Input(0)), arguments.pointer(buffer)
    depths, rows, width = arguments.sizes(target.size)
    old = arguments.sizes(g.size)
    before = arguments.sizes(g.before)
    to = arguments.sizes(target.x_strides)
    strides = source.strides()
    spatial = (*[0] * (3 - len(strides[2:])), *strides[2:])
    image, channel, *steps = arguments.sizes((strides[0], strides[1], *spatial))
    with f.loop("%lo", "%hi") as task:
        row = f.urem(task, rows)
        depth = f.urem(f.udiv(task, rows), depths)
        number = f.udiv(task, f.mul(rows, depths))
        line = f.at(copy, f.add(f.mul(number, to[0]), f.add(f.mul(depth, to[1]), f.mul(row, to[2]))), "float")
        old_row, old_depth = f.sub(row, before[1]), f.sub(depth, before[0])
        inside = _all_true(f, [(old_row, old[1]), (old_depth, old[0])])
        offset = f.add(f.mul(number, image), f.add(f.mul(old_depth, steps[0]), f.mul(old_row, steps[1])))
        source_line = f.value(f"getelementptr float, ptr {x}, i64 {offset}")

        def fill() -> None:
            _fill(f, isa, line, f.mul(before[2], to[3]))
            start = f.at(line, f.mul(before[2], to[3]), "float")
            _copy_line(f, isa, g, source_line, start, old[2], (steps[2], channel), to[3])
            done = f.add(before[2], old[2])
            _fill(f, isa, f.at(line, f.mul(done, to[3]), "float"), f.mul(f.sub(width, done), to[3]))

        f.branch(inside, fill, lambda: _fill(f, isa, line, f.mul(width, to[3])))
    tasks: Dim = g.batch * target.size[0] * target.size[1]
    parts.step("conv_stage", f, arguments, tasks)
    return buffer


def _all_true(f: Function, pairs: list[tuple[Size, Size]]) -> str:
    """0 <= index < size for all."""
    tests = [f.value(f"icmp ult i64 {index}, {size}") for index, size in pairs]
    return f.value(f"and i1 {tests[0]}, {tests[1]}")


def _fill(f: Function, isa: Isa, pointer: str, count: Size) -> None:
    """`count` zeros."""
    if count == 0:
        return
    zero = "zeroinitializer"
    _by_vectors(
        f,
        isa,
        count,
        lambda at, mask: store_vector(f, isa.lanes, dtypes.f32, f.at(pointer, at, "float"), zero, mask),
    )


def _by_vectors(f: Function, isa: Isa, count: Size, emit: Callable[[Size, str | None], None]) -> None:
    """emit(offset, mask) over `count` elements: whole registers, then a masked one."""
    from engineworks.codegen.llvm.loads import iota_below

    lanes = isa.lanes
    whole = f.mul(f.udiv(count, lanes), lanes)
    if whole != 0:
        with f.loop(0, whole, lanes) as at:
            emit(at, None)
    if isinstance(count, int) and count == whole:
        return
    rest = f.sub(count, whole)
    if isinstance(rest, int):
        emit(whole, iota_below(f, lanes, rest))
        return
    with f.when(f.compare("sgt", rest, 0)):
        emit(whole, iota_below(f, lanes, rest))


def _copy_line(
    f: Function,
    isa: Isa,
    g: Geometry,
    source: str,
    target: str,
    pixels: Size,
    steps: tuple[Size, Size],
    pixel_step: Size,
) -> None:
    """One row of `pixels` pixels with their channels; `steps` are the source's strides along (pixel, channel)."""
    if steps[1] == 1 or g.channels == 1:
        _copy_pixels(f, isa, g.channels, source, target, pixels, steps[0], pixel_step)
    else:
        _copy_planes(f, isa, g.channels, source, target, pixels, steps, pixel_step)


def _copy_pixels(
    f: Function, isa: Isa, channels: int, source: str, target: str, pixels: Size, step: Size, pixel_step: Size
) -> None:
    """Channels are innermost in the source too: vectors of them."""
    with f.loop(0, pixels) as pixel:
        from_ = f.at(source, f.mul(pixel, step), "float")
        to = f.at(target, f.mul(pixel, pixel_step), "float")

        def copy(at: Size, mask: str | None) -> None:
            there = f.at(to, at, "float")
            value = load_vector(f, isa.lanes, dtypes.f32, f.at(from_, at, "float"), mask)
            store_vector(f, isa.lanes, dtypes.f32, there, value, mask)

        _by_vectors(f, isa, channels, copy)


def _copy_planes(
    f: Function,
    isa: Isa,
    channels: int,
    source: str,
    target: str,
    pixels: Size,
    steps: tuple[Size, Size],
    pixel_step: Size,
) -> None:
    """Each channel is a plane of its own: a few are interleaved in registers, others go element by element."""
    step, channel_step = steps
    first: Size = 0
    if step == 1 and 2 <= channels <= MAX_SHUFFLED_CHANNELS and pixel_step == channels:
        first = f.mul(f.udiv(pixels, isa.lanes), isa.lanes)
        with f.loop(0, first, isa.lanes) as pixel:
            here = f.at(source, pixel, "float")
            there = f.at(target, f.mul(pixel, pixel_step), "float")
            _interleave(f, isa, channels, here, there, channel_step)
    with f.loop(0, channels) as channel:
        plane = f.at(source, f.mul(channel, channel_step), "float")
        column = f.at(target, channel, "float")
        with f.loop(first, pixels) as pixel:
            value = f.value(f"load float, ptr {f.at(plane, f.mul(pixel, step), 'float')}, align 4")
            f.line(f"store float {value}, ptr {f.at(column, f.mul(pixel, pixel_step), 'float')}, align 4")


def _interleave(f: Function, isa: Isa, channels: int, source: str, target: str, channel_step: Size) -> None:
    """A register of each plane to `lanes` pixels with their channels side by side."""
    lanes = isa.lanes
    planes = [
        load_vector(f, lanes, dtypes.f32, f.at(source, f.mul(c, channel_step), "float"))
        for c in range(channels)
    ]
    planes += ["poison"] * (4 - channels)
    pairs = [_join(f, lanes, planes[0], planes[1]), _join(f, lanes, planes[2], planes[3])]
    every = _join(f, 2 * lanes, pairs[0], pairs[1])
    order = ", ".join(f"i32 {c * lanes + pixel}" for pixel in range(lanes) for c in range(channels))
    kind, result = f"<{4 * lanes} x float>", f"<{channels * lanes} x float>"
    mixed = f.value(f"shufflevector {kind} {every}, {kind} poison, <{channels * lanes} x i32> <{order}>")
    f.line(f"store {result} {mixed}, ptr {target}, align 4")


def _join(f: Function, lanes: int, a: str, b: str) -> str:
    """Two vectors one after the other."""
    order = ", ".join(f"i32 {i}" for i in range(2 * lanes))
    kind = f"<{lanes} x float>"
    return f.value(f"shufflevector {kind} {a}, {kind} {b}, <{2 * lanes} x i32> <{order}>")
