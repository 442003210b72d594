"""Monoids in Triton: how partial results combine, element by element and across a block."""

from __future__ import annotations

from engineworks.codegen.llvm.loops_reduce import identity
from engineworks.codegen.triton.casts import held_type
from engineworks.codegen.triton.lines import Lines
from engineworks.codegen.triton.scalars import constant
from engineworks.core.dtypes import DType
from engineworks.ir.kernel import MonoidName

_NUMBERS = """
@triton.jit
def {name}(a, b):
    return {expression}
"""
_PLACES = """
@triton.jit
def {name}(a, i, b, j):
    ahead = {ahead}
    level = {level}
    takes = (j >= 0) & (ahead | (level & (j {nearer} i)) | (i < 0))
    return tl.where(takes, b, a), tl.where(takes, j, i)
"""
"""The better of two elements with their places; place -1 has no element. NaN is ahead of everything."""

_COMBINE = {
    "sum": "{0} + {1}", "prod": "{0} * {1}", "any": "{0} | {1}", "all": "{0} & {1}",
    "max": "tl.maximum({0}, {1}, propagate_nan=tl.PropagateNan.ALL)",
    "min": "tl.minimum({0}, {1}, propagate_nan=tl.PropagateNan.ALL)",
}  # fmt: skip


class Monoid:
    """One reduction's operations; `helper` is the text of the function that it needs above the kernel ('' for none)."""

    def __init__(self, name: MonoidName, dtype: DType) -> None:
        self.name, self.dtype = name, dtype
        self.has_place = name.startswith("arg")
        self.function = f"{name}_of_{dtype}"
        self.helper = self._helper()
        self.identity = constant(identity(name, dtype), dtype)

    def _helper(self) -> str:
        if self.has_place:
            relation = ">" if self.name.startswith("argmax") else "<"
            is_float = self.dtype.is_float
            return _PLACES.format(
                name=self.function,
                ahead=f"(b {relation} a) | ((b != b) & (a == a))" if is_float else f"b {relation} a",
                level="(b == a) | ((b != b) & (a != a))" if is_float else "b == a",
                nearer="<" if self.name.endswith("first") else ">",
            )
        if self.name in ("prod", "max", "min"):
            return _NUMBERS.format(name=self.function, expression=self.combined("a", "b"))
        return ""

    def combined(self, a: str, b: str) -> str:
        """Two values as one (not for places)."""
        if self.dtype.kind == "bool" and self.name in ("max", "min"):
            return f"{a} | {b}" if self.name == "max" else f"{a} & {b}"
        if not self.dtype.is_float and self.name in ("max", "min"):
            return f"tl.{self.name}imum({a}, {b})"
        return _COMBINE[self.name].format(a, b)

    def across(self, lines: Lines, value: str, axis: int, rank: int) -> str:
        """The block folded along `axis`, which keeps extent 1 where the block has other dimensions."""
        keep = f", keep_dims={rank > 1}"
        if self.name in ("any", "all"):
            fold = "max" if self.name == "any" else "min"
            return lines.let(f"tl.{fold}({value}.to(tl.int32), axis={axis}{keep}) != 0")
        if self.dtype.kind == "bool" and self.name in ("max", "min"):
            return lines.let(f"tl.{self.name}({value}.to(tl.int32), axis={axis}{keep}) != 0")
        if self.name == "sum":
            return lines.let(f"tl.sum({value}, axis={axis}{keep}).to({held_type(self.dtype)})")
        return lines.let(f"tl.reduce({value}, {axis}, {self.function}{keep})")

    def place_across(self, lines: Lines, value: str, place: str, axis: int, rank: int) -> str:
        """The place of the extreme along `axis`."""
        best, where = lines.name(), lines.name()
        lines.line(
            f"{best}, {where} = tl.reduce(({value}, {place}), {axis}, {self.function}, keep_dims={rank > 1})"
        )
        return where
