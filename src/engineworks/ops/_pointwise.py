"""Bases of pointwise operators: arithmetic that also works on dims, formulas that 16-bit floats evaluate in f32, and
how ONNX broadcasts two operands.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import Dim
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.foreign import ForeignNode, from_onnx, same_as_onnx
from engineworks.ir.graph import Value
from engineworks.ir.scalar import Scalar, cast
from engineworks.ops._kinds import Pointwise


class DimPointwise(Pointwise):
    """Pointwise on numbers through `scalar`, and on object arrays of Dims (or strings) through `on_dims`."""

    keeps_dims = True

    def on_dims(self, *dims: Any) -> Any:
        """One element from one Dim (or bool, or str) of each input. Raises Undecided when it depends on sizes."""
        raise NotImplementedError

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray:
        if not any(np.asarray(a).dtype == object for a in inputs):
            return super().reference(*inputs)
        # pyrefly: ignore[no-matching-overload]
        out = np.asarray(np.frompyfunc(self.on_dims, len(inputs), 1)(*inputs), dtype=object)
        return out.astype(bool) if self.result is dtypes.bool_ else out


class Formula(Pointwise):
    """Several primitives in a row. f16 and bf16 are computed in f32 and rounded once, at the end."""

    accepts = ("float",)

    def formula(self, *xs: Scalar) -> Scalar:
        """One output element; the operands are f32 or f64."""
        raise NotImplementedError

    def scalar(self, *xs: Scalar) -> Scalar:
        narrow = xs[0].dtype
        if narrow.bits >= 32:
            return self.formula(*xs)
        return cast(self.formula(*(cast(x, dtypes.f32) for x in xs)), narrow)


def is_symbolic(*dims: Dim) -> bool:
    """True when a dim among them is not a plain integer."""
    return any(not isinstance(d, (int, np.integer)) for d in dims)


def broadcasting_from_onnx(kind: str, op: type[Pointwise]) -> None:
    """Register ONNX's `kind`, of two operands, as `op`. Since opset 7 operands broadcast as in numpy; before, only
    the second did, and attribute `axis` could say at which axis of the first its own axes begin.
    """

    def aligned(g: GraphBuilder, n: ForeignNode) -> Value:
        a, b = n[0], n[1]
        if n.attr("broadcast", 0) and n.attr("axis") is not None:
            after = a.type.rank - n.attr("axis") % a.type.rank - b.type.rank
            b = g.reshape_to(b, (*b.type.shape, *[1] * after))
        return g.add_node(op(), [a, b])[0]

    same_as_onnx(kind, op, since=7)
    from_onnx(kind)(aligned)
