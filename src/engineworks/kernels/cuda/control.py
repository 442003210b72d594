"""The small kernels around a loop's records: counting rounds, deciding on another, and moving bytes between rounds.

Their words are those of the CPU's (codegen/llvm/counting.py).
"""

from __future__ import annotations

from engineworks.codegen.triton.function import Argument, named
from engineworks.kernels.backend import Control
from engineworks.kernels.tactic import Step

COPY_BYTES = 1 << 12
"""Bytes that one block copies."""

_START = """
@triton.jit
def KERNEL(counter, flag, limit, condition):
    tl.store(counter, 0)
    goes_on = (tl.load(condition) != 0) & (tl.load(limit) > 0)
    tl.store(flag, goes_on.to(tl.uint8))
"""
_NEXT = """
@triton.jit
def KERNEL(counter, flag, limit, condition):
    done = tl.load(counter) + 1
    tl.store(counter, done)
    goes_on = (tl.load(condition) != 0) & (tl.load(limit) > done)
    tl.store(flag, goes_on.to(tl.uint8))
"""
_COUNT = """
@triton.jit
def KERNEL(counter, symbol):
    tl.store(symbol, tl.load(counter))
"""
_COPY = """
@triton.jit
def KERNEL(to, source, count):
    at = tl.program_id(0).to(tl.int64) * {block} + tl.arange(0, {block})
    tl.store(to + at, tl.load(source + at, mask=at < count), mask=at < count)
"""
_COPY_BY_ROUND = """
@triton.jit
def KERNEL(to, source, count, counter):
    at = tl.program_id(0).to(tl.int64) * {block} + tl.arange(0, {block})
    tl.store(to + tl.load(counter) * count + at, tl.load(source + at, mask=at < count), mask=at < count)
"""


def loop_control(what: str) -> Control:
    """The kernel called `what`; see `Backend.loop_control`."""
    counter, flag = Argument("counter", "*i64"), Argument("flag", "*u8")
    limit, condition = Argument("limit", "*i64"), Argument("condition", "*u8")
    to, source, count = Argument("to", "*u8"), Argument("source", "*u8"), Argument("count", "i64")
    text, arguments = {
        "start": (_START, (counter, flag, limit, condition)),
        "next": (_NEXT, (counter, flag, limit, condition)),
        "count": (_COUNT, (counter, Argument("symbol", "*i64"))),
        "copy": (_COPY, (to, source, count)),
        "copy_by_round": (_COPY_BY_ROUND, (to, source, count, counter)),
    }[what]
    function = named(f"loop_{what}", text.format(block=COPY_BYTES), arguments)
    return Control({function.name: function}, frozenset(), Step(function.name, (), grid=(1,)))
