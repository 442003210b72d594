"""The small kernels around a loop's records: counting rounds, deciding on another, and moving bytes between rounds."""

from __future__ import annotations

from engineworks.codegen.llvm.function import Function, Size

COPY_BYTES = 1 << 14
"""Bytes that one task of a copy moves."""
VECTOR_BYTES = 32


def emit_loop_start(name: str) -> Function:
    """Words: address of the counter (i64), of the flag (i8), of the limit (i64), of the first condition (i8).

    The counter becomes 0, the flag whether there is a first round.
    """
    f = Function(name)
    counter, flag, limit, condition = (f.pointer(k) for k in range(4))
    f.line(f"store i64 0, ptr {counter}")
    _decide(f, flag, f.value(f"load i8, ptr {condition}"), 0, f.value(f"load i64, ptr {limit}, align 8"))
    return f


def emit_loop_next(name: str) -> Function:
    """Words: as `emit_loop_start`, the condition being the body's. Counts the round, decides on another."""
    f = Function(name)
    counter, flag, limit, condition = (f.pointer(k) for k in range(4))
    done = f.add(f.value(f"load i64, ptr {counter}"), 1)
    f.line(f"store i64 {done}, ptr {counter}")
    _decide(f, flag, f.value(f"load i8, ptr {condition}"), done, f.value(f"load i64, ptr {limit}, align 8"))
    return f


def _decide(f: Function, flag: str, condition: str, done: Size, limit: str) -> None:
    wanted = f.value(f"icmp ne i8 {condition}, 0")
    goes_on = f.value(f"and i1 {wanted}, {f.compare('slt', done, limit)}")
    f.line(f"store i8 {f.value(f'zext i1 {goes_on} to i8')}, ptr {flag}")


def emit_loop_count(name: str) -> Function:
    """Words: address of the counter, and of the symbol that becomes the number of rounds."""
    f = Function(name)
    f.line(f"store i64 {f.value(f'load i64, ptr {f.pointer(0)}')}, ptr {f.pointer(1)}")
    return f


def emit_copy(name: str, *, by_round: bool) -> Function:
    """Words: address to copy to, address to copy from, bytes; tasks of COPY_BYTES.

    Args:
        by_round: a fourth word is the address of the counter; the copy is written `counter` times the bytes further on.
    """
    f = Function(name)
    to, source, count = f.pointer(0), f.pointer(1), f.word(2)
    if by_round:
        to = f.at(to, f.mul(f.value(f"load i64, ptr {f.pointer(3)}"), count))
    first = f.mul("%lo", COPY_BYTES)
    last = f.smin(f.mul("%hi", COPY_BYTES), count)
    whole = f.add(first, f.mul(f.udiv(f.sub(last, first), VECTOR_BYTES), VECTOR_BYTES))
    for low, high, step in ((first, whole, VECTOR_BYTES), (whole, last, 1)):
        with f.loop(low, high, step) as at:
            value = f.value(f"load <{step} x i8>, ptr {f.at(source, at)}, align 1")
            f.line(f"store <{step} x i8> {value}, ptr {f.at(to, at)}, align 1")
    return f
