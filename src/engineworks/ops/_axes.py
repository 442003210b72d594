"""Integer lists of ONNX nodes that are an attribute in old opsets and an input in new ones."""

from __future__ import annotations

from engineworks.ir.foreign import ForeignNode


def ints_of(n: ForeignNode, position: int, name: str) -> tuple[int, ...] | None:
    """Input `position`, else attribute `name`, as ints; None when neither is given.

    Raises:
        UnsupportedOperator: the input is computed at run time.
    """
    array = n.constant(position, name)
    if array is not None:
        return tuple(int(a) for a in array.ravel())
    given = n.attr(name)
    return None if given is None else tuple(int(a) for a in given)


def axes_of(n: ForeignNode, position: int) -> tuple[int, ...] | None:
    """The axes, as `ints_of` reads them."""
    return ints_of(n, position, "axes")
