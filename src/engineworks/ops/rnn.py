"""Plain recurrent layers, as ONNX's RNN defines them."""

from __future__ import annotations

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


@op("rnn")
class Rnn(Recurrent):
    """H = f(x W + h R + b). Inputs: those of Recurrent. Outputs: Y [T, D, B, H], the last h [D, B, H]."""

    direction: str = "forward"
    activations: tuple[str, ...] = ("tanh",)
    alphas: tuple[float, ...] = (0.0,)
    betas: tuple[float, ...] = (0.0,)
    clip: float = 0.0
    out_dtype: DType | None = None
    allow_tf32: bool = False

    gates = 1
    per_direction = 1

    def cell(self, direction: int, total: Scalar) -> Scalar:
        """H from the sum."""
        return self.functions(direction)[0](self.clipped(total))

    def step(
        self, direction: int, x: np.ndarray, weights: Weights, state: list[np.ndarray]
    ) -> list[np.ndarray]:
        total = x @ weights.w.T + state[0] @ weights.r.T + weights.bias.sum(axis=0)
        return in_f64(lambda a: [self.cell(direction, a[0])], [total])

    examples = (
        example(f32(5, 2, 3), f32(1, 4, 3, constant=True), f32(1, 4, 4, constant=True)),
        example(f32(4, 3, 3), f32(2, 5, 3), f32(2, 5, 5), f32(2, 10), i32(3, values=[4, 2, 1]), f32(2, 3, 5),
                direction="bidirectional", activations=("relu", "affine"), alphas=(0.0, 0.5), betas=(0.0, 0.1)),
    )  # fmt: skip


@from_onnx("RNN")
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value, ...]:
    attributes = attributes_of(n, ("tanh",))
    return import_recurrent(g, n, lambda inputs: g.rnn(*inputs, **attributes))


@from_torch("aten.rnn_tanh.input", "aten.rnn_relu.input")
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value, ...]:
    function = "tanh" if n.foreign.kind == "aten.rnn_tanh.input" else "relu"

    def layer(g: GraphBuilder, inputs: list[Value | None], directions: int) -> tuple[Value, ...]:
        usual, way = Rnn(), "bidirectional" if directions > 1 else "forward"
        made = Rnn(way, (function,) * directions, usual.alphas * directions, usual.betas * directions)
        return tuple(g.add_node(made, inputs))

    return torch_layers(g, n, (n.arg("hx"),), (0,), layer)
