"""The `resolve` kernel: writes sizes that depend on symbols into a program's plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engineworks.codegen.llvm.function import Function, Size
from engineworks.core.dims import Dim, fold_dim


def emit_resolve(name: str, slots: Mapping[str, int], writes: Sequence[tuple[int, Dim]]) -> Function:
    """A kernel with two words, the address of the symbols and that of the plan.

    Args:
        slots: int64 index of each symbol.
        writes: (int64 index into the plan, dim) pairs.
    """
    f = Function(name)
    symbols, plan = f.pointer(0), f.pointer(1)
    known: dict[str, str] = {}

    def read(symbol: str) -> Size:
        if symbol not in known:
            known[symbol] = f.value(f"load i64, ptr {f.at(symbols, slots[symbol] * 8)}")
        return known[symbol]

    def floor_divide(a: Size, b: Size) -> Size:
        """Divisors are positive constants; numerators may be negative."""
        if isinstance(a, int) and isinstance(b, int):
            return a // b
        quotient = f.value(f"sdiv i64 {a}, {b}")
        rest = f.value(f"srem i64 {a}, {b}")
        below = f.value(f"ashr i64 {rest}, 63")
        return f.add(quotient, below)

    def modulo(a: Size, b: Size) -> Size:
        return f.sub(a, f.mul(floor_divide(a, b), b))

    for index, dim in writes:
        value = fold_dim(dim, const=lambda c: c, symbol=read, add=f.add, mul=f.mul, floordiv=floor_divide, mod=modulo,
                         min=f.smin, max=f.smax)  # fmt: skip
        f.line(f"store i64 {value}, ptr {f.at(plan, index * 8)}")
    return f
