"""torch's conventions for reductions: axes as numbers, lists or None, tensors of rank 0, results of another dtype."""

from __future__ import annotations

from engineworks.core import dtypes
from engineworks.core.dims import product
from engineworks.core.shapes import normalize_axes
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.foreign import ForeignNode, from_torch
from engineworks.ir.graph import Value
from engineworks.ops._reductions import reduce_wide


def axes_of_torch(n: ForeignNode, x: Value) -> tuple[int, ...]:
    """The argument `dim` counted from the front; () stands for all axes, also where it is None or missing."""
    given = n.arg("dim") if "dim" in n.foreign.attributes else None
    named = () if given is None else (given,) if isinstance(given, int) else given
    return normalize_axes(named, x.type.rank) if x.type.rank else ()


def keeps_axes(n: ForeignNode) -> bool:
    """The argument `keepdim`, where there is one."""
    return bool("keepdim" in n.foreign.attributes and n.arg("keepdim"))


def reduced_torch(g: GraphBuilder, name: str, x: Value, axes: tuple[int, ...], keepdims: bool) -> Value:
    """Our reduction called `name`; a tensor of rank 0 is reduced as a vector of one element."""
    if x.type.rank:
        return reduce_wide(g, name, x, axes, keepdims)
    return g.reshape_to(reduce_wide(g, name, g.reshape_to(x, (1,)), (0,), True), ())


def reduction_from_torch(name: str, *kinds: str, boolean: str | None = None) -> None:
    """Each of `kinds` is our reduction `name` in the dtype of torch's result; `boolean` is the one for booleans."""

    def importer(g: GraphBuilder, n: ForeignNode) -> Value:
        x = g.cast_to(n.arg("self"), n.result_dtype())
        axes, keepdims = axes_of_torch(n, x), keeps_axes(n)
        if boolean is None or x.type.dtype is not dtypes.bool_:
            return reduced_torch(g, name, x, axes, keepdims)
        return getattr(g, boolean)(x, axes=axes, keepdims=keepdims) if x.type.rank else x

    from_torch(*kinds)(importer)


def truth_from_torch(name: str, *kinds: str) -> None:
    """Each of `kinds` reduces whether elements are other than 0; an empty list of axes reduces nothing."""

    def importer(g: GraphBuilder, n: ForeignNode) -> Value:
        x = g.cast_to(n.arg("self"), dtypes.bool_)
        made = x
        if x.type.rank and not ("dim" in n.foreign.attributes and n.arg("dim") == ()):
            made = getattr(g, name)(x, axes=axes_of_torch(n, x), keepdims=keeps_axes(n))
        return g.cast_to(made, n.result_dtype())

    from_torch(*kinds)(importer)


def position_of(g: GraphBuilder, name: str, x: Value, axis: int, keepdims: bool) -> Value:
    """Our argmax or argmin along one axis; of a tensor of rank 0 it is 0."""
    x = g.cast_to(x, dtypes.u8) if x.type.dtype is dtypes.bool_ else x
    if x.type.rank:
        return getattr(g, name)(x, axes=(axis,), keepdims=keepdims)
    return g.reshape_to(getattr(g, name)(g.reshape_to(x, (1,)), axes=(0,), keepdims=True), ())


def position_from_torch(name: str, kind: str) -> None:
    """`kind` is our argmax or argmin; without an axis x is flattened."""

    def importer(g: GraphBuilder, n: ForeignNode) -> Value:
        x, axis, keepdims = n.arg("self"), n.arg("dim"), keeps_axes(n)
        if axis is not None:
            return position_of(g, name, x, axis, keepdims)
        found = position_of(g, name, g.reshape_to(x, (product(x.type.shape),)), 0, False)
        return g.reshape_to(found, (1,) * x.type.rank) if keepdims else found

    from_torch(kind)(importer)


def extreme_from_torch(reduction: str, position: str, boolean: str, *kinds: str) -> None:
    """Each of `kinds` gives the extreme along one axis, and where it is."""

    def importer(g: GraphBuilder, n: ForeignNode) -> tuple[Value | None, ...]:
        x, keepdims = n.arg("self"), keeps_axes(n)
        axes = axes_of_torch(n, x)
        found = position_of(g, position, x, axes[0] if axes else 0, keepdims) if n.output_names[1] else None
        if x.type.dtype is dtypes.bool_:
            return (getattr(g, boolean)(x, axes=axes, keepdims=keepdims) if x.type.rank else x), found
        return reduced_torch(g, reduction, x, axes, keepdims), found

    from_torch(*kinds)(importer)
