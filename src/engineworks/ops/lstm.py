"""Long short-term memory layers, as ONNX's LSTM defines them."""

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


@op("lstm")
class Lstm(Recurrent):
    """Gates in the order input, output, forget, cell.

    i = f(x Wi + h Ri + Pi c + bi);  f = f(… + Pf c);  C = f c + i g(x Wc + h Rc + bc);  o = f(… + Po C);  H = o h(C)

    Inputs: those of Recurrent, then the initial c [D, B, H] or None and the peepholes [D, 3H] (i, o, f) or None.
    Outputs: Y [T, D, B, H], the last h [D, B, H], the last c [D, B, H].

    Attributes:
        input_forget: the forget gate is 1 - the input gate.
    """

    direction: str = "forward"
    activations: tuple[str, ...] = ("sigmoid", "tanh", "tanh")
    alphas: tuple[float, ...] = (0.0, 0.0, 0.0)
    betas: tuple[float, ...] = (0.0, 0.0, 0.0)
    clip: float = 0.0
    input_forget: bool = False
    out_dtype: DType | None = None
    allow_tf32: bool = False

    gates = 4
    per_direction = 3
    states = 2

    def cell(
        self, direction: int, sums: Sequence[Scalar], c: Scalar, peepholes: Sequence[Scalar] | None
    ) -> tuple[Scalar, Scalar]:
        """(H, C) from the four sums, the old c, and the peephole weights (i, o, f)."""
        f, g, h = self.functions(direction)
        i, o, forget, candidate = sums
        if peepholes is not None:
            i, forget = i + peepholes[0] * c, forget + peepholes[2] * c
        i = f(self.clipped(i))
        forget = 1 - i if self.input_forget else f(self.clipped(forget))
        new = forget * c + i * g(self.clipped(candidate))
        if peepholes is not None:
            o = o + peepholes[1] * new
        return f(self.clipped(o)) * h(new), new

    def step(
        self, direction: int, x: np.ndarray, weights: Weights, state: list[np.ndarray]
    ) -> list[np.ndarray]:
        h, c = state
        sums = np.split(x @ weights.w.T + h @ weights.r.T + weights.bias.sum(axis=0), 4, axis=1)
        extra = weights.extra
        peepholes = [] if extra is None else [np.broadcast_to(p, c.shape) for p in np.split(extra, 3)]
        return in_f64(lambda a: self.cell(direction, a[:4], a[4], a[5:] or None), [*sums, c, *peepholes])

    examples = (
        example(f32(5, 2, 3), f32(1, 16, 3, constant=True), f32(1, 16, 4, constant=True)),
        example(
            f32("T", "B", 6),
            f32(2, 80, 6, constant=True),
            f32(2, 80, 20, constant=True),
            f32(2, 160, constant=True),
            dims={"T": (1, 4), "B": (1, 7)},
            direction="bidirectional",
            activations=("sigmoid", "tanh", "tanh") * 2,
            alphas=(0.0,) * 6,
            betas=(0.0,) * 6,
        ),
        example(
            f32(4, 3, 3),
            f32(1, 20, 3),
            f32(1, 20, 5),
            f32(1, 40),
            i32(3, values=[4, 2, 1]),
            f32(1, 3, 5),
            f32(1, 3, 5),
            f32(1, 15),
            direction="reverse",
            clip=0.8,
        ),
    )


@from_onnx("LSTM")
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value, ...]:
    attributes = attributes_of(n, ("sigmoid", "tanh", "tanh"))
    forget = bool(n.attr("input_forget", 0))
    return import_recurrent(g, n, lambda inputs: g.lstm(*inputs, input_forget=forget, **attributes))


@from_torch("aten.lstm.input")
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value, ...]:
    """torch's gates are input, forget, cell, output."""
    return torch_layers(g, n, n.arg("hx"), (0, 3, 1, 2), _torch_layer)


def _torch_layer(g: GraphBuilder, inputs: list[Value | None], directions: int) -> tuple[Value, ...]:
    usual = Lstm()
    return tuple(
        g.add_node(
            Lstm(
                "bidirectional" if directions > 1 else "forward",
                usual.activations * directions, usual.alphas * directions, usual.betas * directions,
            ),
            inputs,
        )
    )  # fmt: skip
