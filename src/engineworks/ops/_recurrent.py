"""What LSTM, GRU and RNN share: activations as scalar expressions, types, walking through time, ONNX spellings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import known_equal
from engineworks.core.dtypes import DType
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir import ForeignNode, GraphBuilder, Op, Value
from engineworks.ir.scalar import Scalar, apply, argument, const, evaluate, where

Activation = Callable[[Scalar], Scalar]

DIRECTIONS = ("forward", "reverse", "bidirectional")
_DEFAULTS: dict[str, tuple[float, float]] = {
    "affine": (1.0, 0.0), "leakyrelu": (0.01, 0.0), "thresholdedrelu": (1.0, 0.0), "scaledtanh": (1.0, 1.0),
    "hardsigmoid": (0.2, 0.5), "elu": (1.0, 0.0),
}  # fmt: skip
"""(alpha, beta) where a model gives none (ONNX LSTM-22, the activations' own operators)."""
_TAKES_BETA = ("affine", "scaledtanh", "hardsigmoid")


def activation(name: str, alpha: float, beta: float) -> Activation:
    """ONNX's activation function `name` (any case) as a scalar expression."""

    def clamp01(x: Scalar) -> Scalar:
        return apply("min", apply("max", x, const(0, x.dtype)), const(1, x.dtype))

    def below(x: Scalar, otherwise: Scalar) -> Scalar:
        return where(apply("lt", x, const(0, x.dtype)), otherwise, x)

    functions: dict[str, Activation] = {
        "relu": lambda x: apply("max", x, const(0, x.dtype)),
        "tanh": lambda x: apply("tanh", x),
        "sigmoid": lambda x: apply("sigmoid", x),
        "affine": lambda x: x * alpha + beta,
        "leakyrelu": lambda x: below(x, x * alpha),
        "thresholdedrelu": lambda x: where(apply("lt", x, const(alpha, x.dtype)), const(0, x.dtype), x),
        "scaledtanh": lambda x: apply("tanh", x * beta) * alpha,
        "hardsigmoid": lambda x: clamp01(x * alpha + beta),
        "elu": lambda x: below(x, apply("expm1", x) * alpha),
        "softsign": lambda x: x / (apply("abs", x) + 1),
        "softplus": lambda x: (
            apply("max", x, const(0, x.dtype)) + apply("log1p", apply("exp", -apply("abs", x)))
        ),
    }
    if name.lower() not in functions:
        raise InvalidModel(f"no activation is called '{name}'; there are {', '.join(functions)}")
    return functions[name.lower()]


@dataclass(frozen=True, slots=True)
class Weights:
    """Of one direction, f64: w [G*H, I], r [G*H, H], bias [2, G*H], and what else the cell needs."""

    w: np.ndarray
    r: np.ndarray
    bias: np.ndarray
    extra: np.ndarray | None


class Recurrent(Op):
    """Base of the three. Subclasses have the fields below and give `gates`, `per_direction` and `step`.

    Inputs: x [T, B, I], w [D, G*H, I], r [D, G*H, H], bias [D, 2*G*H] or None, lengths [B] i32 or None,
    initial h [D, B, H] or None, and what else the cell needs. x, w and r have one dtype.

    Attributes:
        out_dtype: of the outputs, of sums, states and all other operands; None: that of x. f32 beside x, w and r in
            bf16 is a product of narrow operands: h is rounded to bf16 where it meets r.
        direction: 'forward', 'reverse' or 'bidirectional' (D = 2).
        activations, alphas, betas: resolved; `per_direction` of them for each direction.
        clip: sums are limited to [-clip, clip] before activations; 0: they are not.
    Class attributes:
        gates, per_direction: how many, and activations of each direction.
        states: how many the cell hands on, h first; initial ones are inputs 5 on, what else the cell needs comes next.
    """

    direction: str
    activations: tuple[str, ...]
    alphas: tuple[float, ...]
    betas: tuple[float, ...]
    clip: float
    out_dtype: DType | None
    gates: ClassVar[int]
    per_direction: ClassVar[int]
    states: ClassVar[int] = 1

    @property
    def directions(self) -> int:
        return 2 if self.direction == "bidirectional" else 1

    def functions(self, direction: int) -> list[Activation]:
        """The activations of one direction."""
        chosen = slice(direction * self.per_direction, (direction + 1) * self.per_direction)
        rows = zip(self.activations[chosen], self.alphas[chosen], self.betas[chosen], strict=True)
        return [activation(*row) for row in rows]

    def clipped(self, x: Scalar) -> Scalar:
        """x as activations see it."""
        if not self.clip:
            return x
        return apply("min", apply("max", x, const(-self.clip, x.dtype)), const(self.clip, x.dtype))

    def sequence_types(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, TensorType]:
        """(Y [T, D, B, H], a final state [D, B, H])."""
        x, w, r = inputs[:3]
        assert x is not None and w is not None and r is not None, "a recurrent layer takes x, w and r"
        if (x.rank, w.rank, r.rank) != (3, 3, 3) or not x.dtype.is_float:
            raise InvalidModel(f"x {x}, w {w}, r {r}: three axes each, and a floating dtype, are wanted")
        if self.direction not in DIRECTIONS:
            raise InvalidModel(f"direction '{self.direction}'; there are {', '.join(DIRECTIONS)}")
        hidden = r.shape[2]
        for what, a, b in (
            ("sizes of the input", w.shape[2], x.shape[2]),
            ("gates of w", w.shape[1], hidden * self.gates),
            ("gates of r", r.shape[1], hidden * self.gates),
            ("directions", w.shape[0], self.directions),
        ):
            if known_equal(a, b) is False:
                raise InvalidModel(f"x {x}, w {w}, r {r}: the {what} are {a} and {b}")
        if len(self.activations) != self.per_direction * self.directions:
            raise InvalidModel(
                f"{len(self.activations)} activations; {self.per_direction * self.directions} are wanted"
            )
        if len({x.dtype, w.dtype, r.dtype}) > 1:
            raise InvalidModel(f"x {x}, w {w}, r {r}: one dtype is wanted; cast first")
        dtype = self.out_dtype or x.dtype
        state = TensorType(dtype, (self.directions, x.shape[1], hidden))
        return TensorType(dtype, (x.shape[0], self.directions, x.shape[1], hidden)), state

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        y, state = self.sequence_types(inputs)
        return (y, *[state] * self.states)

    def decompose(self, g: GraphBuilder, *inputs: Value | None) -> tuple[Value, ...]:
        """In f32, where no kernel multiplies narrower operands."""
        x = inputs[0]
        assert x is not None
        wide = [v if v is None or not v.type.dtype.is_float else g.cast_to(v, dtypes.f32) for v in inputs]
        outputs = g.add_node(replace(self, out_dtype=None), wide)  # type: ignore[type-var]
        return tuple(g.cast_to(y, self.out_dtype or x.type.dtype) for y in outputs)

    # -- reference ----------------------------------------------------------------------------------------------
    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        end = 5 + self.states
        given = [*inputs, *[None] * (end + 1 - len(inputs))]
        return self.run(given, given[5:end], given[end])

    def step(
        self, direction: int, x: np.ndarray, weights: Weights, state: list[np.ndarray]
    ) -> list[np.ndarray]:
        """The next state (h first) of all rows from x [B, I] in f64."""
        raise NotImplementedError

    def run(
        self,
        inputs: Sequence[np.ndarray | None],
        states: Sequence[np.ndarray | None],
        extra: np.ndarray | None = None,
    ) -> tuple[np.ndarray, ...]:
        """Y and the final states, walking each sequence as far as its length."""
        x, w, r = (np.asarray(a, np.float64) for a in inputs[:3])
        steps, rows, hidden = x.shape[0], x.shape[1], r.shape[2]
        given = inputs[3] if len(inputs) > 3 else None
        bias = (
            np.zeros((self.directions, 2, w.shape[1]))
            if given is None
            else np.asarray(given, np.float64).reshape(self.directions, 2, -1)
        )
        lengths = inputs[4] if len(inputs) > 4 else None
        lengths = np.full(rows, steps) if lengths is None else np.asarray(lengths)
        out = np.zeros((steps, self.directions, rows, hidden))
        finals = [
            np.zeros((self.directions, rows, hidden)) if s is None else np.array(s, np.float64)
            for s in states
        ]
        for d in range(self.directions):
            weights = Weights(
                w[d], r[d], bias[d], None if extra is None else np.asarray(extra, np.float64)[d]
            )
            backwards = d == 1 or self.direction == "reverse"
            for t in range(steps):
                active = np.flatnonzero(t < lengths)
                at = lengths[active] - 1 - t if backwards else np.full(len(active), t)
                state = self.step(d, x[at, active], weights, [s[d, active] for s in finals])
                for final, new in zip(finals, state, strict=True):
                    final[d, active] = new
                out[at, d, active] = state[0]
        return (out, *finals)


def arguments(count: int, dtype: Any = dtypes.f32) -> list[Scalar]:
    """argument(0) … argument(count - 1)."""
    return [argument(k, dtype) for k in range(count)]


def in_f64(
    expressions: Callable[[list[Scalar]], Sequence[Scalar]], arrays: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Scalar expressions of f64 arguments, evaluated."""
    return [evaluate(e, arrays) for e in expressions(arguments(len(arrays), dtypes.f64))]


# -- ONNX -----------------------------------------------------------------------------------------------------
def attributes_of(n: ForeignNode, defaults: Sequence[str]) -> dict[str, Any]:
    """The fields that the three share, from the node's attributes; `defaults`: activations of one direction."""
    direction = _text(n.attr("direction", "forward")).lower()
    count = len(defaults) * (2 if direction == "bidirectional" else 1)
    names = [_text(a) for a in n.attr("activations", ())] or [*defaults] * (count // len(defaults))
    alphas, betas = list(n.attr("activation_alpha", ())), list(n.attr("activation_beta", ()))
    resolved = []
    for name in names:
        # Values are consumed in the order of the functions that take them.
        alpha, beta = _DEFAULTS.get(name.lower(), (0.0, 0.0))
        if name.lower() in _DEFAULTS and alphas:
            alpha = float(alphas.pop(0))
        if name.lower() in _TAKES_BETA and betas:
            beta = float(betas.pop(0))
        resolved.append((alpha, beta))
    return {
        "direction": direction,
        "activations": tuple(name.lower() for name in names),
        "alphas": tuple(a for a, _ in resolved),
        "betas": tuple(b for _, b in resolved),
        "clip": float(n.attr("clip", 0.0) or 0.0),
    }


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def import_recurrent(
    g: GraphBuilder, n: ForeignNode, make: Callable[[list[Value | None]], tuple[Value, ...]]
) -> tuple[Value, ...]:
    """Build the op on time-major operands; layout 1 has batches outermost, in states and outputs too."""
    inputs = [n[k] for k in range(max(len(n), 3))]
    if not n.attr("layout", 0):
        return make(inputs)
    inputs[0] = g.transpose(inputs[0], perm=(1, 0, 2))
    for k in (5, 6):
        if k < len(inputs) and inputs[k] is not None:
            inputs[k] = g.transpose(inputs[k], perm=(1, 0, 2))
    y, *states = make(inputs)
    return (g.transpose(y, perm=(2, 0, 1, 3)), *(g.transpose(s, perm=(1, 0, 2)) for s in states))


# -- torch ----------------------------------------------------------------------------------------------------
Layer = Callable[[GraphBuilder, list[Value | None], int], tuple[Value, ...]]
"""Makes one layer from the inputs of Recurrent and the number of directions."""


def torch_layers(
    g: GraphBuilder, n: ForeignNode, states: Sequence[Value], order: Sequence[int], layer: Layer
) -> tuple[Value, ...]:
    """torch's stacked layers: the sequence [T, B, D*H], or batch first, and the last states [layers*D, B, H].

    Args:
        states: the initial ones, h first, [layers*D, B, H].
        order: our gates as numbers of torch's.
    """
    if n.arg("train") and n.arg("dropout"):
        raise n.unsupported("dropout between layers; export the module after module.eval()")
    directions, x = 2 if n.arg("bidirectional") else 1, n.arg("input")
    each = 4 if n.arg("has_biases") else 2
    parameters = n.arg("params")
    if len(parameters) != each * directions * n.arg("num_layers"):
        raise n.unsupported("projections of the hidden state (proj_size)")
    x = g.transpose(x, perm=(1, 0, 2)) if n.arg("batch_first") else x
    finals: list[tuple[Value, ...]] = []
    for k in range(n.arg("num_layers")):
        own = parameters[k * directions * each : (k + 1) * directions * each]
        stacks = [_stacked(g, own[part::each], order) for part in range(each)]
        bias = g.concat(*stacks[2:], axis=1) if n.arg("has_biases") else None
        rows = (k * directions,), ((k + 1) * directions,)
        first = [g.slice(s, starts=rows[0], ends=rows[1], axes=(0,)) for s in states]
        y, *last = layer(g, [x, stacks[0], stacks[1], bias, None, *first], directions)
        finals.append(tuple(last))
        steps, _, batch, hidden = y.type.shape
        x = g.reshape_to(g.transpose(y, perm=(0, 2, 1, 3)), (steps, batch, directions * hidden))
    x = g.transpose(x, perm=(1, 0, 2)) if n.arg("batch_first") else x
    return (x, *(s[0] if len(s) == 1 else g.concat(*s, axis=0) for s in zip(*finals, strict=True)))


def _stacked(g: GraphBuilder, weights: Sequence[Value], order: Sequence[int]) -> Value:
    """One parameter of all directions, [D, gates*H, …], its gates in our order."""
    turned = []
    for weight in weights:
        size = weight.type.shape[0] // len(order)
        parts = [g.slice(weight, starts=(k * size,), ends=((k + 1) * size,), axes=(0,)) for k in order]
        turned.append(g.unsqueeze(parts[0] if len(parts) == 1 else g.concat(*parts, axis=0), (0,)))
    return turned[0] if len(turned) == 1 else g.concat(*turned, axis=0)
