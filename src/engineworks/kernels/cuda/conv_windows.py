"""Windows over x in kernels that take one tap at a time: where each begins, and which taps lie in x."""

from __future__ import annotations

from engineworks.codegen.triton.lines import Lines
from engineworks.core.dims import Dim
from engineworks.kernels.cuda.conv_end import AXIS_NAMES, coordinates, inside, weighted
from engineworks.kernels.cuda.conv_shape import AXES, ConvShape
from engineworks.kernels.cuda.conv_words import Words, is_narrow

MOST_UNROLLED_TAPS = 49
"""Larger windows loop over their taps at run time."""


def emit_firsts(lines: Lines, words: Words, shape: ConvShape, pixels: int) -> tuple[str, ...]:
    """Names of (image, first index along depth, row, column) of the pixels `m`, divisors not yet applied.

    Pixels beyond the last are taken to be the last one.
    """
    beyond = inside(shape.pixels, pixels, "m", words)
    pixel = lines.let(f"tl.minimum(m, {words.size(shape.pixels)} - 1)", "pixel") if beyond else "m"
    image, *places = coordinates(lines, words, shape, pixel, "p")
    firsts = []
    for a, place in enumerate(places):
        moved = f"{place} * {shape.strides[a]}" if shape.strides[a] != 1 else place
        block = " + m * 0" if place == "0" else ""
        firsts.append(lines.let(f"{moved} - {words.size(shape.before[a])}{block}", AXIS_NAMES[a]))
    return (image, *firsts)


def emit_tap(
    lines: Lines, words: Words, shape: ConvShape, firsts: tuple[str, ...], taps: tuple[str, ...], reach: Dim
) -> tuple[str, list[str], list[str]]:
    """(elements from the start of x to each pixel's element of a tap in channel 0, conditions that it lies in x, the
    indices along the axes).

    Args:
        firsts: of `emit_firsts`. taps: (depth, row, column) of the tap. reach: elements of x.
    """
    image, *starts = firsts
    terms, conditions, indices = [(image, shape.x_strides[0])], [], []
    for a in range(AXES):
        moved = f" + {taps[a]} * {shape.steps[a]}" if taps[a] != "0" else ""
        index = lines.let(f"{starts[a]}{moved}", "i")
        divisor = shape.divisors[a]
        if shape.may_leave(a) or divisor != 1:
            conditions.append(f"({index} >= 0)")
        if divisor != 1:
            conditions.append(f"({index} % {divisor} == 0)")
            index = lines.let(f"{index} // {divisor}", "i")
        if shape.may_leave(a) or divisor != 1:
            conditions.append(f"({index} < {words.size(shape.size[a])})")
        indices.append(index)
        terms.append((index, shape.x_strides[2 + a]))
    at = weighted(terms, words, reach)
    return (at if at != "0" else "m * 0"), conditions, indices


def tap_range(taps: int) -> str:
    """The loop over taps: unrolled where they are few."""
    return f"{'tl.static_range' if taps <= MOST_UNROLLED_TAPS else 'range'}({taps})"


def in_reach(name: str, reach: Dim) -> str:
    """An index in i64 where elements may not be counted in 31 bits."""
    return name if is_narrow(reach) else f"{name}.to(tl.int64)"
