"""Types of a foreign model's inputs: its own dims, the shapes and ranges that the user gives, one scope of symbols."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from engineworks.core.dims import Dim, Scope, parse_dim, substitute, symbols_of
from engineworks.core.dtypes import DType
from engineworks.errors import InvalidModel
from engineworks.ir.foreign import ForeignGraph, ForeignInput, SizeOf

ShapeLike = Sequence[int | str | SizeOf]
Range = tuple[int, int | None]


def dim_name(text: str) -> str:
    """The identifier that stands for a foreign dim name such as 'batch size' or '2*N'."""
    name = re.sub(r"\W+", "_", text).strip("_") or "dim"
    return f"d_{name}" if name[0].isdigit() else name


class InputTypes:
    """The inputs' types under way.

    Args:
        shapes: by input name; integers fix a dim (wherever its name occurs), names name it.
        ranges: (lowest, highest) by dim name; default: at least 1.
        scope: where all dims are declared; unnamed ones are called after input and axis.
    """

    def __init__(
        self,
        foreign: ForeignGraph,
        shapes: Mapping[str, ShapeLike],
        ranges: Mapping[str, Range],
        scope: Scope,
    ) -> None:
        self.foreign = foreign
        self.shapes = shapes
        self.ranges = {dim_name(name): r for name, r in ranges.items()}
        self.scope = scope
        self.dims: dict[str, Dim] = {}
        """What each name of a dim stands for: a symbol of the scope, or a fixed size."""

    def by_name(self) -> dict[str, tuple[DType, tuple[Dim, ...]]]:
        """(dtype, shape) by input name. Raises InvalidModel: names that lead nowhere, shapes that clash."""
        unknown = sorted(self.shapes.keys() - {i.name for i in self.foreign.inputs})
        if unknown:
            names = ", ".join(f"'{i.name}'" for i in self.foreign.inputs) or "none"
            raise InvalidModel(f"a shape is given for {', '.join(unknown)}; the model's inputs are {names}.")
        spelled = {i.name: _spelled(i, self.shapes.get(i.name)) for i in self.foreign.inputs}
        fixed = _fixed_dims(self.foreign, self.shapes)
        self.dims.update(fixed)
        made = {i.name: (i.dtype, tuple(map(self._dim, spelled[i.name]))) for i in self.foreign.inputs}
        unused = sorted(self.ranges.keys() - self.scope.symbols.keys() - self.dims.keys())
        if unused:
            raise InvalidModel(
                f"a range is given for dim {', '.join(unused)}; "
                f"the model's dims are {', '.join(self.scope.symbols) or 'all fixed'}."
            )
        return made

    def _dim(self, d: int | str | SizeOf) -> Dim:
        if isinstance(d, int):
            return d
        return parse_dim(d.text, self._named) if isinstance(d, SizeOf) else self._named(d)

    def _named(self, name: str) -> Dim:
        if name not in self.dims:
            low, high = self.ranges.get(name, (1, None))
            if high is not None and high < low:
                raise InvalidModel(f"dim '{name}': the range {low} to {high} is empty.")
            self.dims[name] = low if low == high else self.scope.symbol(name, low, high)
        return self.dims[name]


def _spelled(given: ForeignInput, override: ShapeLike | None) -> tuple[int | str | SizeOf, ...]:
    """The shape as ints, identifiers and expressions over identifiers."""
    if given.dtype is None:
        raise InvalidModel(
            f"input '{given.name}' states no element type. Export the model with typed inputs."
        )
    if given.shape is None and override is None:
        raise InvalidModel(
            f"input '{given.name}' states no shape. Give one: input_shapes={{'{given.name}': (…)}}."
        )
    shape = tuple(override) if override is not None else given.shape
    assert shape is not None
    if given.shape is not None and len(shape) != len(given.shape):
        raise InvalidModel(
            f"the shape given for '{given.name}' has {len(shape)} dims {tuple(shape)}, "
            f"the model says {len(given.shape)}."
        )
    out: list[int | str | SizeOf] = []
    for axis, d in enumerate(shape):
        stated = given.shape[axis] if given.shape is not None else None
        if isinstance(d, (int, np.integer)) and isinstance(stated, int) and d != stated:
            raise InvalidModel(
                f"the shape given for '{given.name}' says {d} at axis {axis}, the model is fixed to {stated}."
            )
        if isinstance(d, str) and isinstance(stated, (int, SizeOf)):
            out.append(stated)
        elif isinstance(d, (int, np.integer)):
            out.append(int(d))
        elif isinstance(d, SizeOf):
            out.append(d)
        else:
            out.append(dim_name(d) if d is not None else f"{dim_name(given.name)}_{axis}")
    return tuple(out)


def _fixed_dims(foreign: ForeignGraph, shapes: Mapping[str, ShapeLike]) -> dict[str, int]:
    """Named dims that a given shape fixes: they are fixed everywhere."""
    fixed: dict[str, int] = {}
    for given in foreign.inputs:
        for stated, asked in zip(given.shape or (), shapes.get(given.name, ()), strict=False):
            if not isinstance(stated, (str, SizeOf)) or isinstance(asked, (str, SizeOf)):
                continue
            name, size = _solved(stated, int(asked), given.name)
            before = fixed.setdefault(name, size)
            if before != size:
                raise InvalidModel(
                    f"dim '{name}' is given as {before} and, at input '{given.name}', as {size}."
                )
    return fixed


def _solved(stated: str | SizeOf, asked: int, where: str) -> tuple[str, int]:
    """The name of the dim and its value where the size that is `stated` is `asked`."""
    if isinstance(stated, str):
        return dim_name(stated), asked
    name, slope, offset = linear_in_one(stated)
    if (asked - offset) % slope:
        raise InvalidModel(f"a size of input '{where}' is {stated.text}, which is never {asked}.")
    return name, (asked - offset) // slope


def linear_in_one(size: SizeOf) -> tuple[str, int, int]:
    """(name, slope, offset) of a size that is slope · name + offset, with a positive slope.

    Raises:
        InvalidModel: it is not of this form.
    """
    dim = parse_dim(size.text)
    names = symbols_of(dim)
    if len(names) == 1:
        (name,) = names
        offset = substitute(dim, {name: 0})
        slope = substitute(dim, {name: 1}) - offset
        if isinstance(offset, int) and isinstance(slope, int) and slope > 0:
            return name, slope, offset
    raise InvalidModel(
        f"an input has the size {size.text}, which does not follow from one axis by a factor and an offset. "
        f"Give the axis a size of its own, and let the model check how they are related."
    )


def range_of_symbol(size: SizeOf, least: int, most: int) -> tuple[str, tuple[int, int]]:
    """The dim that a size follows from, and its range where the size lies in [least, most]. Raises InvalidModel."""
    name, slope, offset = linear_in_one(size)
    return name, (-((offset - least) // slope), (most - offset) // slope)
