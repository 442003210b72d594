"""torch's dynamic quantisation (PT2E): scale and zero point from the tensor's own range."""

from __future__ import annotations

from engineworks.core import dtypes
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_torch


@from_torch("quantized_decomposed.choose_qparams.tensor")
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value, Value]:
    """scale = (max - min) / (quant_max - quant_min) over a range widened to hold 0, at least eps; the zero point is
    where 0 comes to lie. One number each, computed in f32.
    """
    lowest, highest = n.arg("quant_min"), n.arg("quant_max")
    low, high = _range(g, n.arg("input"))
    scale = g.max(g.div(g.sub(high, low), float(highest - lowest)), n.arg("eps"))
    point = g.sub(g.constant(lowest, dtypes.f32), g.round(g.div(low, scale)))
    return _results(g, scale, g.min(g.max(point, float(lowest)), float(highest)))


@from_torch("quantized_decomposed.choose_qparams_symmetric.tensor")
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value, Value]:
    """scale = the largest magnitude / half of the levels, at least eps; the zero point is 0, of u8 128."""
    low, high = _range(g, n.arg("input"))
    half = (n.arg("quant_max") - n.arg("quant_min")) / 2
    scale = g.max(g.div(g.max(g.neg(low), high), half), n.arg("eps"))
    return _results(g, scale, g.constant(128.0 if n.arg("dtype") is dtypes.u8 else 0.0, dtypes.f32))


def _range(g: GraphBuilder, x: Value) -> tuple[Value, Value]:
    """Least and largest element, with 0 among them, in f32."""
    zero = g.constant(0, dtypes.f32)
    low, high = (
        g.cast_to(v, dtypes.f32) for v in (g.reduce_min(x, keepdims=False), g.reduce_max(x, keepdims=False))
    )
    return g.min(low, zero), g.max(high, zero)


def _results(g: GraphBuilder, scale: Value, point: Value) -> tuple[Value, Value]:
    """In the shapes and dtypes that torch states."""
    return (
        g.cast(g.reshape_to(scale, (1,)), dtype=dtypes.f64),
        g.cast(g.reshape_to(point, (1,)), dtype=dtypes.i64),
    )
