"""Pointwise operators, reductions, normalisations and quantisation against independent references.

Three meanings of an operator are compared: its numpy reference, what kernels compute (`element`, `before`, `after`,
`decompose`), and outside of Engineworks the node cases of the ONNX standard, torch, scipy and onnxruntime.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import scipy.special
import torch

from engineworks.core import dtypes
from engineworks.core.dims import evaluate, symbol
from engineworks.core.types import TensorType
from engineworks.ir import scalar
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.cases import Example
from engineworks.ir.graph import Graph, Node, Value
from engineworks.ir.interpret import bind_op, interpret, reference_by_element, run_node
from engineworks.ir.op import REGISTRY, Op
from engineworks.ops._kinds import Pointwise, Reduction
from engineworks.testing.onnx_backend import node_cases, run_by_interpreter, run_node_case

_NAMES = """Abs Neg Exp Log Sqrt Reciprocal Floor Ceil Round Sign Erf Sin Cos Tan Asin Acos Atan Sinh Cosh Tanh Asinh Acosh
Atanh Sigmoid HardSigmoid HardSwish Relu LeakyRelu Elu Celu Selu PRelu ThresholdedRelu Softplus Softsign Mish Gelu
Swish Clip Add Sub Mul Div Pow Mod Min Max Sum Mean And Or Xor Not BitwiseAnd BitwiseOr BitwiseXor BitwiseNot
BitShift Equal Greater GreaterOrEqual Less LessOrEqual Where IsNaN IsInf Cast CastLike Identity Dropout ReduceSum
ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSum ReduceLogSumExp ArgMax
ArgMin Softmax LogSoftmax Hardmax BatchNormalization InstanceNormalization LayerNormalization GroupNormalization
RMSNormalization MeanVarianceNormalization LpNormalization LRN Gemm MatMul Einsum DynamicQuantizeLinear
QuantizeLinear DequantizeLinear MatMulInteger QLinearMatMul Shrink BitCast"""
OPERATORS = set(_NAMES.split())

ABSENT_TYPES = ("FLOAT4E2M1", "FNUZ", "INT2", "E8M0", "float4e2m1", "int2", "FLOAT6", "float6")
"""Element types that Engineworks lacks."""
EXCLUDED = {
    "test_identity_opt": "an optional as graph input",
    "test_identity_sequence": "a sequence as graph input",
    "test_training_dropout": "training drops at random",
    "test_training_dropout_default": "training drops at random",
    "test_training_dropout_default_mask": "training drops at random",
    "test_training_dropout_mask": "training drops at random",
}


def _kinds(case: Any) -> set[str]:
    return {node.op_type for node in case.model.graph.node}


CASES = sorted(
    name
    for name, case in node_cases().items()
    if _kinds(case) <= OPERATORS and name not in EXCLUDED and not any(t in name for t in ABSENT_TYPES)
)


# -- the meanings of an operator -------------------------------------------------------------------------------
def run_reduction(op: Reduction, x: np.ndarray) -> np.ndarray:
    """`before`, the monoid, `after`, as a loop kernel does them."""
    axes = op.normal_axes(x.ndim)
    body = scalar.evaluate(op.before(scalar.argument(0, dtypes.from_numpy(x.dtype))), [x])
    count = np.int64(np.prod([x.shape[a] for a in axes], dtype=np.int64))
    limits = (-np.inf, np.inf) if body.dtype.kind not in "iub" else _limits(body.dtype)
    over: dict[str, Any] = {"axis": axes, "keepdims": op.keepdims}
    combine: dict[str, Callable[[], np.ndarray]] = {
        "sum": lambda: np.sum(body, dtype=body.dtype, **over),
        "prod": lambda: np.prod(body, dtype=body.dtype, **over),
        "max": lambda: np.max(body, initial=limits[0], **over),
        "min": lambda: np.min(body, initial=limits[1], **over),
        "any": lambda: np.any(body, **over),
        "all": lambda: np.all(body, **over),
        "argmax_first": lambda: _position(body, axes[0], op.keepdims, np.argmax),
        "argmin_first": lambda: _position(body, axes[0], op.keepdims, np.argmin),
        "argmax_last": lambda: _position(body, axes[0], op.keepdims, np.argmax, last=True),
        "argmin_last": lambda: _position(body, axes[0], op.keepdims, np.argmin, last=True),
    }
    total = np.asarray(combine[op.monoid]())
    formal = (scalar.argument(0, dtypes.from_numpy(total.dtype)), scalar.argument(1, dtypes.i64))
    return scalar.evaluate(op.after(*formal), [total, count])


def _limits(dtype: np.dtype) -> tuple[Any, Any]:
    return (False, True) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)


def _position(
    x: np.ndarray, axis: int, keepdims: bool, find: Callable[..., Any], last: bool = False
) -> np.ndarray:
    found = find(np.flip(x, axis) if last else x, axis=axis, keepdims=keepdims)
    return x.shape[axis] - 1 - found if last else found


def run_as_kernels_do(graph: Graph, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The graph without references: by `element`, by `before` and `after`, or decomposed."""
    values = {id(v): np.asarray(feeds[v.name]) for v in graph.inputs}
    for node in graph.nodes:
        arrays = [None if v is None else v.array if v.is_constant else values[id(v)] for v in node.inputs]
        for value, array in zip(node.outputs, _run_one(node, arrays), strict=True):
            values[id(value)] = array
    outputs = zip(graph.output_names, graph.outputs, strict=True)
    return {name: v.array if v.is_constant else values[id(v)] for name, v in outputs}


def _run_one(node: Node, arrays: list[np.ndarray | None]) -> tuple[np.ndarray, ...]:
    op = node.op
    strings = any(a is not None and a.dtype == object for a in arrays)
    if isinstance(op, Reduction):
        assert arrays[0] is not None
        with np.errstate(all="ignore"):
            return (run_reduction(op, arrays[0]).astype(node.output.type.dtype.numpy),)
    if op.has("element") and not strings:
        return (reference_by_element(op, arrays),)
    if op.has("decompose"):
        return (run_decomposed(op, arrays),)
    return run_node(node, arrays, {})


def run_decomposed(
    op: Op, arrays: list[np.ndarray | None], types: list[TensorType | None] | None = None
) -> np.ndarray:
    """The op's decomposition; `types` may have symbolic shapes, which the arrays then bind."""
    g = GraphBuilder()
    inputs: list[Value | None] = []
    for k, array in enumerate(arrays):
        if array is None:
            inputs.append(None)
            continue
        kind = types[k] if types else None
        dtype, shape = (kind.dtype, kind.shape) if kind else (dtypes.from_numpy(array.dtype), array.shape)
        inputs.append(g.input(f"x{k}", dtype, shape))
    g.output(op.decompose(g, *inputs), "y")  # type: ignore[arg-type]
    feeds = {f"x{k}": a for k, a in enumerate(arrays) if a is not None}
    return (interpret if types else run_as_kernels_do)(g.graph, feeds)["y"]


# -- the standard's cases --------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", CASES)
def test_node_case_gives_the_outputs_of_the_standard(name: str) -> None:
    assert run_node_case(node_cases()[name], run_by_interpreter) == ""


@pytest.mark.parametrize("name", CASES)
def test_node_case_gives_the_outputs_of_the_standard_without_references(name: str) -> None:
    assert run_node_case(node_cases()[name], run_as_kernels_do) == ""


# -- examples ----------------------------------------------------------------------------------------------------
def _torch(function: Callable[..., Any]) -> Callable[..., np.ndarray]:
    return lambda *arrays, **attributes: function(*map(torch.from_numpy, arrays), **attributes).numpy()


F = torch.nn.functional
INDEPENDENT: dict[str, Callable[..., Any]] = {
    "abs": _torch(torch.abs), "neg": _torch(torch.neg), "exp": _torch(torch.exp), "log": _torch(torch.log),
    "sqrt": _torch(torch.sqrt), "rsqrt": _torch(torch.rsqrt), "reciprocal": _torch(torch.reciprocal),
    "floor": _torch(torch.floor), "ceil": _torch(torch.ceil), "round": _torch(torch.round), "sign": _torch(torch.sign),
    "erf": scipy.special.erf, "sin": _torch(torch.sin), "cos": _torch(torch.cos), "tan": _torch(torch.tan),
    "asin": _torch(torch.asin), "acos": _torch(torch.acos), "atan": _torch(torch.atan), "sinh": _torch(torch.sinh),
    "cosh": _torch(torch.cosh), "tanh": _torch(torch.tanh), "asinh": _torch(torch.asinh), "acosh": _torch(torch.acosh),
    "atanh": _torch(torch.atanh), "sigmoid": scipy.special.expit, "relu": _torch(torch.relu),
    "hard_sigmoid": lambda x, alpha=0.2, beta=0.5: np.clip(alpha * x + beta, 0, 1), "hard_swish": _torch(F.hardswish),
    "leaky_relu": lambda x, alpha=0.01: _torch(F.leaky_relu)(x, negative_slope=alpha), "elu": _torch(F.elu),
    "celu": _torch(F.celu), "softplus": _torch(F.softplus), "softsign": _torch(F.softsign), "mish": _torch(F.mish),
    "thresholded_relu": lambda x, alpha=1.0: F.threshold(torch.from_numpy(x), alpha, 0).numpy(),
    "selu": lambda x, alpha=1.6732632: 1.0507009873554805 * np.where(x > 0, x, alpha * np.expm1(x)),
    "gelu": lambda x, tanh=False: _torch(F.gelu)(x, approximate="tanh" if tanh else "none"),
    "silu": lambda x, alpha=1.0: x * scipy.special.expit(alpha * x),
    "prelu": lambda x, slope: np.maximum(x, 0) + slope * np.minimum(x, 0),
    "add": _torch(torch.add), "sub": _torch(torch.sub), "mul": _torch(torch.mul), "pow": _torch(torch.pow),
    "div": lambda a, b: _torch(torch.div)(a, b, rounding_mode="trunc" if a.dtype.kind == "i" else None),
    "mod": _torch(torch.remainder), "rem": _torch(torch.fmod), "min": _torch(torch.minimum), "max": _torch(torch.maximum),
    "logical_and": _torch(torch.logical_and), "logical_or": _torch(torch.logical_or), "logical_xor": _torch(torch.logical_xor),
    "logical_not": _torch(torch.logical_not), "bitwise_and": _torch(torch.bitwise_and), "bitwise_or": _torch(torch.bitwise_or),
    "bitwise_xor": _torch(torch.bitwise_xor), "bitwise_not": _torch(torch.bitwise_not), "equal": _torch(torch.eq),
    "bit_shift": lambda x, y, right=False: _shift(x, y, right),
    "greater": _torch(torch.gt), "greater_or_equal": _torch(torch.ge), "less": _torch(torch.lt), "less_or_equal": _torch(torch.le),
    "where": _torch(torch.where), "is_nan": _torch(torch.isnan),
    "is_inf": lambda x, positive=True, negative=True: np.isposinf(x) & positive | np.isneginf(x) & negative,
    "softmax": lambda x, axis=-1: scipy.special.softmax(x, axis), "log_softmax": lambda x, axis=-1: scipy.special.log_softmax(x, axis),
    "reduce_log_sum_exp": lambda x, axes=None, keepdims=True: scipy.special.logsumexp(x, axes, keepdims=keepdims),
    "layer_normalization": lambda *a, axis=-1, epsilon=1e-5: _layer_normalization(*a, axis=axis, epsilon=epsilon),
    "group_normalization": lambda x, s, b, groups, epsilon=1e-5: _torch(lambda *t: F.group_norm(t[0], groups, t[1], t[2], epsilon))(x, s, b),
    "batch_normalization": lambda x, s, b, m, v, epsilon=1e-5: _torch(lambda *t: F.batch_norm(*t, eps=epsilon))(x, m, v, s, b),
    "rms_normalization": lambda x, s, axis=-1, epsilon=1e-5: _torch(lambda t, w: F.rms_norm(t, w.shape, w, epsilon))(x, s),
    "shrink": lambda x, lambd=0.5, bias=0.0: (F.softshrink if bias else F.hardshrink)(torch.from_numpy(x), lambd).numpy(),
    "lrn": lambda x, size, alpha=1e-4, beta=0.75, bias=1.0: _lrn(x, size, alpha, beta, bias),
}  # fmt: skip


def _shift(x: np.ndarray, y: np.ndarray, right: bool) -> np.ndarray:
    bits = x.dtype.itemsize * 8
    shifted = [(int(a) >> min(int(b), bits) if right else int(a) << int(b)) for a, b in np.broadcast(x, y)]
    return np.array([s & 0xFF for s in shifted] if x.dtype == np.uint8 else shifted).reshape(x.shape)


def _layer_normalization(*arrays: np.ndarray, axis: int, epsilon: float) -> np.ndarray:
    x, *parameters = (torch.from_numpy(a) for a in arrays)
    return F.layer_norm(x, x.shape[axis % x.ndim :], *parameters, eps=epsilon).numpy()


def _lrn(x: np.ndarray, size: int, alpha: float, beta: float, bias: float) -> np.ndarray:
    """torch pads size // 2 before and (size - 1) // 2 after, ONNX the other way round: channels are reversed."""
    flipped = torch.from_numpy(np.ascontiguousarray(x[:, ::-1]))
    return F.local_response_norm(flipped, size, alpha, beta, bias).numpy()[:, ::-1]


MINE = sorted(INDEPENDENT) + [
    "reduce_sum", "reduce_mean", "reduce_max", "reduce_min", "reduce_prod", "reduce_l1", "reduce_l2", "reduce_sum_square",
    "reduce_log_sum", "reduce_any", "reduce_all", "argmax", "argmin", "hardmax", "cast", "identity", "quantize_linear",
    "dequantize_linear", "bit_cast",
]  # fmt: skip
Drawn = tuple[Op, list[np.ndarray | None], list[TensorType | None], dict[str, int]]


def _drawn(name: str) -> list[Drawn]:
    """Every example of an op with its arrays, its types over symbols, and the symbols' values."""
    rng = np.random.default_rng(7)
    return [draw_one(name, e, dims, rng) for e in REGISTRY[name].examples for dims in e.bindings()]


def draw_one(name: str, given: Example, dims: dict[str, int], rng: np.random.Generator) -> Drawn:
    op = REGISTRY[name](**given.attributes)  # type: ignore[call-arg]
    arrays = [None if s is None else s.draw(rng, dims) for s in given.inputs]
    types = [
        None
        if s is None
        else TensorType(s.dtype, tuple(symbol(d) if isinstance(d, str) else d for d in s.shape))
        for s in given.inputs
    ]
    return op, arrays, types, dims


def _close(actual: np.ndarray, right: Any, dtype: np.dtype) -> None:
    tolerance = (
        {2: 2e-3, 4: 2e-6, 8: 1e-12}[max(2, np.dtype(dtype).itemsize)] if dtype.kind not in "iub" else 0.0
    )
    np.testing.assert_allclose(
        np.asarray(actual, np.float64),
        np.asarray(right, np.float64),
        rtol=tolerance * 4,
        atol=tolerance,
        equal_nan=True,
    )


@pytest.mark.parametrize("name", sorted(INDEPENDENT))
def test_reference_agrees_with_another_library_on_the_examples(name: str) -> None:
    for op, arrays, _, dims in _drawn(name):
        with np.errstate(all="ignore"):
            actual = bind_op(op, dims).reference(*arrays)
        shown = {k: v for k, v in op.attributes().items() if v != _default(op, k)}
        right = INDEPENDENT[name](*arrays, **shown)
        dtype = np.asarray(right).dtype if right is not None else np.dtype(np.float32)
        _close(
            np.asarray(actual).astype(dtype),
            right,
            np.asarray(arrays[0]).dtype if dtype.kind == "f" else dtype,
        )


def _default(op: Op, name: str) -> Any:
    return next(f.default for f in dataclasses.fields(op) if f.name == name)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", MINE)
def test_inferred_type_is_that_of_the_reference(name: str) -> None:
    for op, arrays, types, dims in _drawn(name):
        (out,) = op.infer(*types)
        with np.errstate(all="ignore"):
            result = np.asarray(bind_op(op, dims).reference(*arrays))
        assert tuple(evaluate(d, dims) for d in out.shape) == result.shape
        if isinstance(op, Pointwise):
            assert result.dtype == out.dtype.numpy


@pytest.mark.parametrize("name", MINE)
def test_what_kernels_compute_agrees_with_the_reference_on_the_examples(name: str) -> None:
    for op, arrays, types, dims in _drawn(name):
        with np.errstate(all="ignore"):
            right = np.asarray(bind_op(op, dims).reference(*arrays))
            if isinstance(op, Reduction):
                assert arrays[0] is not None
                actual = run_reduction(op, arrays[0])
            elif op.has("element"):
                actual = reference_by_element(op, arrays)
            else:
                actual = run_decomposed(op, arrays, types)
        _close(actual, right.astype(actual.dtype), actual.dtype)


@pytest.mark.parametrize(
    "name", [n for n in MINE if REGISTRY[n].has("decompose") and not n.startswith("reduce")]
)
def test_16_bit_decompositions_round_once(name: str) -> None:
    for op, arrays, _, dims in _drawn(name):
        narrow = [None if a is None else a.astype(np.float16) for a in arrays]
        bound = bind_op(op, dims)
        right = np.asarray(bound.reference(*narrow)).astype(np.float16)
        actual = run_decomposed(bound, narrow)
        assert actual.dtype == np.float16
        np.testing.assert_allclose(
            actual.astype(np.float64), right.astype(np.float64), rtol=1.5e-3, atol=1e-6
        )
