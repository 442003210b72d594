"""Gated recurrent units, as ONNX's GRU defines them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engineworks.core.dtypes import DType
from engineworks.ir import ForeignNode, GraphBuilder, Value, example, f32, from_onnx, from_torch, i32, op
from engineworks.ir.scalar import Scalar
from engineworks.ops._recurrent import (
    Recurrent,
    Weights,
    attributes_of,
    import_recurrent,
    in_f64,
    torch_layers,
)


@op("gru")
class Gru(Recurrent):
    """Gates in the order update, reset, hidden.

    z = f(x Wz + h Rz + b);  r = f(x Wr + h Rr + b);  n = g(x Wh + (r h) Rh + b), or with linear_before_reset
    n = g(x Wh + b + r (h Rh + b'));  H = (1 - z) n + z h

    Inputs: those of Recurrent. Outputs: Y [T, D, B, H], the last h [D, B, H].
    """

    direction: str = "forward"
    activations: tuple[str, ...] = ("sigmoid", "tanh")
    alphas: tuple[float, ...] = (0.0, 0.0)
    betas: tuple[float, ...] = (0.0, 0.0)
    clip: float = 0.0
    linear_before_reset: bool = False
    out_dtype: DType | None = None
    allow_tf32: bool = False

    gates = 3
    per_direction = 2

    def gate(self, direction: int, total: Scalar) -> Scalar:
        """Update or reset gate from its sum."""
        return self.functions(direction)[0](self.clipped(total))

    def blend(self, direction: int, hidden: Scalar, update: Scalar, h: Scalar) -> Scalar:
        """H from the hidden gate's sum, the update gate and the old h."""
        new = self.functions(direction)[1](self.clipped(hidden))
        return (1 - update) * new + update * h

    def cell(self, direction: int, sums: Sequence[Scalar], hidden_input: Scalar, h: Scalar) -> Scalar:
        """H with linear_before_reset: sums of update, reset, and of the hidden gate's recurrent part."""
        update, reset = (self.gate(direction, s) for s in sums[:2])
        return self.blend(direction, hidden_input + reset * sums[2], update, h)

    def step(
        self, direction: int, x: np.ndarray, weights: Weights, state: list[np.ndarray]
    ) -> list[np.ndarray]:
        (h,) = state
        wz, wr, wh = np.split(x @ weights.w.T + weights.bias[0], 3, axis=1)
        rz, rr, rh = np.split(weights.r, 3)
        bz, br, bh = np.split(weights.bias[1], 3)
        z, reset = wz + h @ rz.T + bz, wr + h @ rr.T + br
        if self.linear_before_reset:
            return in_f64(
                lambda a: [self.cell(direction, a[:3], a[3], a[4])], [z, reset, h @ rh.T + bh, wh, h]
            )
        (reset,) = in_f64(lambda a: [self.gate(direction, a[0])], [reset])
        hidden = wh + (reset * h) @ rh.T + bh
        return in_f64(
            lambda a: [self.blend(direction, a[0], self.gate(direction, a[1]), a[2])], [hidden, z, h]
        )

    examples = (
        example(f32(5, 2, 3), f32(1, 12, 3, constant=True), f32(1, 12, 4, constant=True)),
        example(
            f32("T", "B", 6),
            f32(2, 60, 6, constant=True),
            f32(2, 60, 20, constant=True),
            f32(2, 120, constant=True),
            dims={"T": (1, 4), "B": (1, 7)},
            direction="bidirectional",
            activations=("sigmoid", "tanh") * 2,
            alphas=(0.0,) * 4,
            betas=(0.0,) * 4,
            linear_before_reset=True,
        ),
        example(
            f32(4, 3, 3),
            f32(1, 15, 3),
            f32(1, 15, 5),
            f32(1, 30),
            i32(3, values=[4, 2, 1]),
            f32(1, 3, 5),
            direction="reverse",
            clip=0.8,
        ),
    )


@from_onnx("GRU")
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value, ...]:
    attributes = attributes_of(n, ("sigmoid", "tanh"))
    before = bool(n.attr("linear_before_reset", 0))
    return import_recurrent(g, n, lambda inputs: g.gru(*inputs, linear_before_reset=before, **attributes))


@from_torch("aten.gru.input")
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value, ...]:
    """torch's gates are reset, update, new; the reset gate works on the finished recurrent sum."""
    return torch_layers(g, n, (n.arg("hx"),), (1, 0, 2), _torch_layer)


def _torch_layer(g: GraphBuilder, inputs: list[Value | None], directions: int) -> tuple[Value, ...]:
    usual = Gru()
    return tuple(
        g.add_node(
            Gru(
                "bidirectional" if directions > 1 else "forward",
                usual.activations * directions, usual.alphas * directions, usual.betas * directions,
                linear_before_reset=True,
            ),
            inputs,
        )
    )  # fmt: skip
