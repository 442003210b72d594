"""Symbols from the shapes of the inputs, and everything that follows from them: computed once for each set
of shapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engineworks.core.expression import evaluate, names_of
from engineworks.engine.schema import Check, Manifest, Profile, Range, Symbol, Tensor
from engineworks.errors import InvalidInput

_RELATIONS = {
    "==": int.__eq__, "!=": int.__ne__, "<=": int.__le__, "<": int.__lt__, ">=": int.__ge__, ">": int.__gt__,
}  # fmt: skip

Dims = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Solution:
    """Values of all symbols; data-dependent ones at their upper bounds.

    Attributes:
        values: by name, in slot order.
        output_dims: what to allocate: for data-dependent outputs the upper bound.
    """

    values: Mapping[str, int]
    output_dims: tuple[Dims, ...]


class ShapeSolver:
    """Solves one engine's symbols within one profile."""

    def __init__(self, manifest: Manifest, profile: Profile | None) -> None:
        self._manifest = manifest
        ranges = profile.ranges if profile else {}
        self._profile = f" in profile '{profile.name}'" if profile else ""
        self._bounds = {s.name: (ranges.get(s.name) or s) for s in manifest.symbols}
        data = {s.name for s in manifest.symbols if s.is_data_dependent}
        self._data = data
        self._checks_before = [c for c in manifest.checks if not data & _check_names(c)]
        self._checks_after = [c for c in manifest.checks if data & _check_names(c)]

    def solve(self, shapes: Sequence[Dims]) -> Solution:
        """Everything that follows from the inputs' shapes, in input order.

        Raises:
            InvalidInput: a rank, a dim, a range or a run-time check is not met.
            ValueError: an expression of the engine has no value, or a negative one.
        """
        manifest = self._manifest
        for tensor, shape in zip(manifest.inputs, shapes, strict=True):
            if len(shape) != len(tensor.dims):
                raise InvalidInput(
                    f"input '{tensor.name}': expected {describe(tensor)}, got {len(shape)} axes: {list(shape)}"
                )
        values: dict[str, int] = {}
        for symbol in manifest.symbols:
            if not symbol.is_data_dependent:
                value = self._value(symbol, shapes[symbol.input][symbol.axis], values)
                values[symbol.name] = self._in_range(symbol, value)
        for tensor, shape in zip(manifest.inputs, shapes, strict=True):
            self._compare(tensor, shape, values)
        for symbol in manifest.symbols:
            if symbol.is_data_dependent:
                values[symbol.name] = evaluate(symbol.max, values)
        _require(self._checks_before, values)
        ordered = {s.name: values[s.name] for s in manifest.symbols}
        return Solution(ordered, tuple(dims_of(t, values) for t in manifest.outputs))

    def check_after(self, values: Mapping[str, int]) -> None:
        """Checks on data-dependent symbols, once a run has given them values.

        Raises:
            InvalidInput: one does not hold.
        """
        _require(self._checks_after, values)

    def _value(self, symbol: Symbol, size: int, values: Mapping[str, int]) -> int:
        """The symbol's value when its axis has this size; a value that does not fit is found by `_compare`."""
        dim = self._manifest.inputs[symbol.input].dims[symbol.axis]
        if isinstance(dim, int) or dim.strip("`") == symbol.name:
            return size
        offset = evaluate(dim, {**values, symbol.name: 0})
        slope = evaluate(dim, {**values, symbol.name: 1}) - offset
        return (size - offset) // slope if slope else size

    def _in_range(self, symbol: Symbol, value: int) -> int:
        bounds = self._bounds[symbol.name]
        fits = bounds.min <= value <= _upper(bounds)
        if not fits or value % symbol.multiple:
            tensor = self._manifest.inputs[symbol.input]
            steps = f" in multiples of {symbol.multiple}" if symbol.multiple > 1 else ""
            raise InvalidInput(
                f"input '{tensor.name}': axis {symbol.axis} ('{symbol.name}') is {value}; the engine was built for "
                f"{bounds.min} to {bounds.max}{steps}{self._profile}.\n"
                f"  Build it again with a wider range, or use another profile."
            )
        return value

    def _compare(self, tensor: Tensor, shape: Dims, values: Mapping[str, int]) -> None:
        for axis, (dim, got) in enumerate(zip(tensor.dims, shape, strict=True)):
            expected = evaluate(dim, values)
            if expected == got:
                continue
            why = ""
            if isinstance(dim, str):
                why = f" = {expected}, since " + ", ".join(
                    f"{s.name} is {values[s.name]} (axis {s.axis} of '{self._manifest.inputs[s.input].name}')"
                    for s in self._manifest.symbols
                    if s.name in values
                )
            raise InvalidInput(
                f"input '{tensor.name}': expected {describe(tensor)}, got {list(shape)}: "
                f"axis {axis} must be {dim}{why}"
            )


def dims_of(tensor: Tensor, values: Mapping[str, int]) -> Dims:
    """The tensor's shape for these symbols; ValueError when that is no shape."""
    dims = tuple(evaluate(d, values) for d in tensor.dims)
    if min(dims, default=0) < 0:
        raise ValueError(f"'{tensor.name}' would have the shape {list(dims)}")
    return dims


def describe(tensor: Tensor) -> str:
    """'f32[B, 3, 224, 224]'."""
    return f"{tensor.dtype}[{', '.join(str(d) for d in tensor.dims)}]"


def _upper(bounds: Symbol | Range) -> int:
    assert isinstance(bounds.max, int), "only a data-dependent symbol has an expression for its maximum"
    return bounds.max


def _require(checks: Sequence[Check], values: Mapping[str, int]) -> None:
    for check in checks:
        left, right = evaluate(check.left, values), evaluate(check.right, values)
        if not _RELATIONS[check.relation](left, right):
            raise InvalidInput(
                f"{check.message}\n  {check.left} {check.relation} {check.right} does not hold: {left} against {right}"
            )


def _check_names(check: Check) -> set[str]:
    return {*names_of(check.left), *names_of(check.right)}
