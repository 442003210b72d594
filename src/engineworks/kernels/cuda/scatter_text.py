"""The texts of scattering kernels; scatter.py says what they are made for."""

from __future__ import annotations

COMBINED = {
    "none": "update",
    "add": "value + update",
    "mul": "value * update",
    "max": "tl.maximum(value, update{nan})",
    "min": "tl.minimum(value, update{nan})",
}
EACH_ELEMENT = """
{conversions}
@triton.jit
def KERNEL({parameters}):
    {wait}
    element = tl.program_id(0).to({index}) * {block} + tl.arange(0, {block})
    inside = element < {total}
    value = held(tl.load(x + element, mask=inside, other=0))
{line}
    for number in range(0, {looked_at}):
        at = source + number * {apart}
        place = tl.load(indices + at, mask=reached, other=0).to({index})
        place = tl.where(place < 0, place + {extent}, place)
        named = reached & (place == coordinate)
        update = held(tl.load(updates + at, mask=named, other=0))
        value = tl.where(named, {combined}, value)
    tl.store(y + element, stored(value), mask=inside)
"""
EACH_SLICE = """
{conversions}
@triton.jit
def KERNEL({parameters}):
    {wait}
    element = tl.program_id(0).to({index}) * {block} + tl.arange(0, {block})
    inside = element < {total}
    value = held(tl.load(x + element, mask=inside, other=0))
    place = element // {inner}
    column = element % {inner}
    for number in range(0, {looked_at}):
{target}
        named = inside & (place == target)
        update = held(tl.load(updates + (column * 0 + number) * {inner} + column, mask=named, other=0))
        value = tl.where(named, {combined}, value)
    tl.store(y + element, stored(value), mask=inside)
"""
CLEAR = """
@triton.jit
def KERNEL({parameters}):
    {wait}
    at = tl.program_id(0).to({index}) * {block} + tl.arange(0, {block})
    tl.store(winners + at, -1, mask=at < {places})
"""
WINNERS = """
@triton.jit
def KERNEL({parameters}):
    {wait}
    number = tl.program_id(0).to({index}) * {block} + tl.arange(0, {block})
    given = number < {count}
{target}
    tl.atomic_max(winners + target, number.to(tl.int32), mask=given & (target >= 0), sem="relaxed")
"""
TAKE = """
@triton.jit
def KERNEL({parameters}):
    {wait}
    element = tl.program_id(0).to({index}) * {block} + tl.arange(0, {block})
    inside = element < {total}
    winner = tl.load(winners + element // {inner}, mask=inside, other=-1).to({index})
    taken = inside & (winner >= 0)
    update = tl.load(updates + winner * {inner} + element % {inner}, mask=taken, other=0)
    kept = tl.load(x + element, mask=inside & (winner < 0), other=0)
    tl.store(y + element, tl.where(taken, update, kept), mask=inside)
"""
COPY = """
@triton.jit
def KERNEL({parameters}):
    {wait}
    element = tl.program_id(0).to({index}) * {block} + tl.arange(0, {block})
    inside = element < {total}
    tl.store(y + element, tl.load(x + element, mask=inside, other=0), mask=inside)
"""
ATOMICS = """
@triton.jit
def KERNEL({parameters}):
    {wait}
    at = tl.program_id(0).to({index}) * {block} + tl.arange(0, {block})
    given = at < {count} * {inner}
    number = at // {inner}
{target}
    update = tl.load(updates + at, mask=given, other=0)
    tl.atomic_{how}(y + target * {inner} + at % {inner}, update, mask=given & (target >= 0), sem="relaxed")
"""
PLACES = """
@triton.jit
def KERNEL({parameters}):
    {wait}
    number = tl.program_id(0).to({index}) * {block} + tl.arange(0, {block})
    given = number < {count}
{target}
    tl.store(keys + number, target.to(tl.uint32), mask=given)
"""
COMBINE = """
{conversions}
@triton.jit
def KERNEL({parameters}):
    {wait}
    program = tl.program_id(0)
    column = program % {columns} * {width} + tl.arange(0, {width})[None, :]
    position = (program // {columns}).to({index}) * {block} + tl.arange(0, {block})[:, None]
    key = tl.load(items + position, mask=position < {count}, other={last}) >> 32
    before = tl.load(items + position - 1, mask=(position > 0) & (position < {count}), other={last}) >> 32
    active = (key != {nowhere}) & ((position == 0) | (key != before))
    to = key.to({index}) * {inner} + column
    wanted = active & (column < {inner})
    value = held(tl.load(x + to, mask=wanted, other=0))
    next = position
    while tl.max(tl.max(active.to(tl.int32), 1), 0) > 0:
        item = tl.load(items + next, mask=active & (next < {count}), other={last})
        active = active & (next < {count}) & ((item >> 32) == key)
        number = (item & 0xFFFFFFFF).to({index})
        update = held(tl.load(updates + number * {inner} + column, mask=active & (column < {inner}), other=0))
        value = tl.where(active, {combined}, value)
        next += 1
    tl.store(y + to, stored(value), mask=wanted)
"""
