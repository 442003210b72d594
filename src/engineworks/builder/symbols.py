"""Where the symbols of a graph get their values: which axis of which input tells each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engineworks.core.dims import Dim, substitute, symbols_of
from engineworks.core.types import TensorType
from engineworks.errors import BuildError

Places = dict[str, tuple[int, int]]
"""(input, axis) by symbol."""


def defining_axes(inputs: Sequence[TensorType]) -> Places:
    """For each symbol of the inputs' shapes an axis that tells it once the symbols before it are known.

    An axis whose size is the symbol itself is preferred; otherwise its size is linear in the symbol.

    Raises:
        BuildError: no axis tells a symbol.
    """
    axes = [(dim, (number, axis)) for number, t in enumerate(inputs) for axis, dim in enumerate(t.shape)]
    named = [(next(iter(symbols_of(dim))), place) for dim, place in axes if _is_symbol(dim)]
    found: Places = {}
    for name, place in named:
        found.setdefault(name, place)
    wanted = {name for dim, _ in axes for name in symbols_of(dim)}
    while len(found) < len(wanted):
        before = len(found)
        for dim, place in axes:
            unknown = symbols_of(dim) - found.keys()
            if len(unknown) == 1 and _is_linear(dim, *unknown):
                # pyrefly: ignore[no-matching-overload]
                found.setdefault(*unknown, place)
        if len(found) == before:
            missing = ", ".join(sorted(wanted - found.keys()))
            shapes = ", ".join(map(str, inputs))
            raise BuildError(
                f"the sizes of the inputs {shapes} do not tell {missing}; give it an axis of its own"
            )
    return found


def typical_values(shapes: Sequence[tuple[TensorType, Sequence[int] | None]]) -> dict[str, int]:
    """The symbols' values when the inputs have these shapes (None: not stated)."""
    stated = [(t, usual) for t, usual in shapes if usual is not None]
    values: dict[str, int] = {}
    for name, (number, axis) in _tellable(stated).items():
        tensor, usual = stated[number]
        dim, size = tensor.shape[axis], int(usual[axis])
        offset = substitute(dim, {**values, name: 0})
        slope = substitute(dim, {**values, name: 1}) - offset
        if isinstance(offset, int) and isinstance(slope, int) and slope:
            values[name] = (size - offset) // slope
    return values


def _tellable(stated: Sequence[tuple[TensorType, Sequence[int]]]) -> Mapping[str, tuple[int, int]]:
    try:
        return defining_axes([t for t, _ in stated])
    except BuildError:
        return {}  # the input that tells them is not among the stated ones


def _is_symbol(dim: Dim) -> bool:
    names = symbols_of(dim)
    return len(names) == 1 and str(dim).strip("`") in names


def _is_linear(dim: Dim, name: str) -> bool:
    """The dim is a · symbol + b, where neither a nor b holds the symbol."""
    offset = substitute(dim, {name: 0})
    slope = substitute(dim, {name: 1}) - offset
    return (
        substitute(dim, {name: 2}) - offset == 2 * slope and substitute(dim, {name: 3}) - offset == 3 * slope
    )
