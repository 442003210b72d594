"""LoopKernels that the tests run: one entry a shape of loop nest."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import Dim, symbol
from engineworks.core.dtypes import DType, bool_, f16, f32, i64
from engineworks.core.types import Layout, TensorType
from engineworks.ir.kernel import LoopKernel, MonoidName, Reduce, Store
from engineworks.ir.scalar import Scalar, apply, axis, cast, const, load, size, stage, where

A = tuple(axis(k) for k in range(5))
NHWC = Layout((0, 2, 3, 1))
PADDED = Layout((0, 2, 3, 1), 16)
BATCH, LENGTH = symbol("B", 1, 64), symbol("S", 1, 512)
DIMS = {"B": 3, "S": 50}

Case = tuple[LoopKernel, list[np.ndarray], dict[str, int]]


def tensor(*shape: Dim, dtype: DType = f32, layout: Layout | None = None) -> TensorType:
    return TensorType(dtype, tuple(shape), layout)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng((seed, *shape)).normal(size=shape).astype(np.float32)


def read(operand: int, *index: Scalar, dtype: DType = f32) -> Scalar:
    return load(operand, index, dtype)


def whole(value: int) -> Scalar:
    return const(value, i64)


def pointwise(
    shape: Sequence[Dim], operands: Sequence[TensorType], body: Scalar, layout: Layout | None = None
) -> LoopKernel:
    """One store over the whole domain."""
    out = TensorType(body.dtype, tuple(shape), layout)
    return LoopKernel(tuple(shape), (), tuple(operands), (out,), (Store(0, A[: len(shape)], body, False),))


def relu(x: Scalar) -> Scalar:
    return apply("max", x, const(0, x.dtype))


def bias_channels_last() -> Case:
    x = tensor(2, 20, 5, 7, layout=PADDED)
    kernel = pointwise(x.shape, [x, tensor(20)], relu(read(0, *A[:4]) + read(1, A[1])), PADDED)
    return kernel, [normal(2, 20, 5, 7), normal(20)], {}


def mixed_layouts() -> Case:
    x, y = tensor(2, 20, 5, 7, layout=NHWC), tensor(2, 20, 5, 7)
    return (
        pointwise(x.shape, [x, y], read(0, *A[:4]) + read(1, *A[:4])),
        [normal(2, 20, 5, 7), normal(2, 20, 5, 7, seed=1)],
        {},
    )


def to_channels_last() -> Case:
    x = tensor(1, 48, 6, 9)
    return pointwise(x.shape, [x], read(0, *A[:4]), PADDED), [normal(1, 48, 6, 9)], {}


def transpose(dtype: DType = f32) -> Case:
    x = tensor(45, 67, dtype=dtype)
    data = (normal(45, 67) * 20).astype(dtype.numpy)
    return pointwise((67, 45), [x], read(0, A[1], A[0], dtype=dtype)), [data], {}


def transpose_small() -> Case:
    return pointwise((50, 3), [tensor(3, 50)], read(0, A[1], A[0])), [normal(3, 50)], {}


def pad_rows() -> Case:
    i = A[1] - 2
    inside = apply("and", apply("le", whole(0), i), apply("lt", i, whole(33)))
    return (
        pointwise((5, 40), [tensor(5, 33)], where(inside, read(0, A[0], i), const(7.0, f32))),
        [normal(5, 33)],
        {},
    )


def pad_outer() -> Case:
    i = A[0] - 1
    inside = apply("and", apply("le", whole(0), i), apply("lt", i, whole(5)))
    return (
        pointwise((7, 33), [tensor(5, 33)], where(inside, read(0, i, A[1]), const(7.0, f32))),
        [normal(5, 33)],
        {},
    )


def concat(inner: bool) -> Case:
    place = A[1] if inner else A[0]
    first = apply("lt", place, whole(17))
    shifted = (A[0], A[1] - 17) if inner else (A[0] - 17, A[1])
    shapes = ((5, 17), (5, 23), (5, 40)) if inner else ((17, 5), (23, 5), (40, 5))
    body = where(first, read(0, A[0], A[1]), read(1, *shifted))
    return (
        pointwise(shapes[2], [tensor(*shapes[0]), tensor(*shapes[1])], body),
        [normal(*shapes[0]), normal(*shapes[1])],
        {},
    )


def gather(inner: bool) -> Case:
    raw = load(1, (A[1] if inner else A[0],), i64)
    index = where(apply("lt", raw, whole(0)), raw + 10, raw)
    table = (37, 10) if inner else (10, 37)
    shape = (37, 12) if inner else (12, 37)
    body = read(0, A[0], index) if inner else read(0, index, A[1])
    indices = np.random.default_rng(3).integers(-10, 10, 12)
    return pointwise(shape, [tensor(*table), tensor(12, dtype=i64)], body), [normal(*table), indices], {}


def reshape(source: tuple[int, int], target: tuple[int, int], order: tuple[int, int] = (0, 1)) -> Case:
    """A row-major reshape of the source, read transposed when order is (1, 0)."""
    flat = A[0] * target[1] + A[1]
    sizes = [source[k] for k in order]
    parts = [apply("floordiv", flat, whole(sizes[1])), apply("mod", flat, whole(sizes[1]))]
    index = [parts[order.index(k)] for k in range(2)]
    return pointwise(target, [tensor(*source)], read(0, *index)), [normal(*source)], {}


def strided_slice() -> Case:
    return pointwise((5, 20), [tensor(5, 61)], read(0, A[0], A[1] * 3 + 1)), [normal(5, 61)], {}


def reversed_slice() -> Case:
    return (
        pointwise((5, 40), [tensor(5, 40)], read(0, A[0], apply("sub", whole(39), A[1]))),
        [normal(5, 40)],
        {},
    )


def upsample() -> Case:
    half = [apply("floordiv", a, whole(2)) for a in A[:2]]
    return pointwise((14, 38), [tensor(7, 19)], read(0, *half)), [normal(7, 19)], {}


def positions() -> Case:
    return pointwise((9, 21), [], cast(A[0] * 100 + A[1], f32)), [], {}


def triangle() -> Case:
    """A causal mask: which branch is chosen depends on both axes."""
    body = where(apply("le", A[1], A[0]), read(0, A[0], A[1]), const(float("-inf"), f32))
    return pointwise((33, 33), [tensor(33, 33)], body), [normal(33, 33)], {}


def many_types() -> Case:
    x, y, z = read(0, *A[:2], dtype=f16), read(1, *A[:2], dtype=i64), read(2, *A[:2], dtype=bool_)
    body = where(z, cast(x, f32) * cast(y, f32), const(-1.0, f32))
    data = [normal(7, 53).astype(np.float16), np.arange(371).reshape(7, 53) - 100, normal(7, 53) > 0]
    return (
        pointwise(
            (7, 53), [tensor(7, 53, dtype=f16), tensor(7, 53, dtype=i64), tensor(7, 53, dtype=bool_)], body
        ),
        data,
        {},
    )


def narrow_floats() -> Case:
    """bf16 plus f8, stored as f8: rounded after each primitive."""
    x, y = read(0, *A[:2], dtype=dtypes.bf16), read(1, *A[:2], dtype=dtypes.f8e5m2)
    body = cast(x * const(1.5, dtypes.bf16) + cast(y, dtypes.bf16), dtypes.f8e4m3)
    data = [normal(7, 53).astype(dtypes.bf16.numpy), normal(7, 53, seed=1).astype(dtypes.f8e5m2.numpy)]
    return (
        pointwise((7, 53), [tensor(7, 53, dtype=dtypes.bf16), tensor(7, 53, dtype=dtypes.f8e5m2)], body),
        data,
        {},
    )


def scalar_output() -> Case:
    return pointwise((), [tensor()], read(0) + 1), [np.float32(3).reshape(())], {}


def empty() -> Case:
    return pointwise((0, 5), [tensor(0, 5)], read(0, *A[:2]) + 1), [normal(0, 5)], {}


def two_outputs() -> Case:
    x = tensor(9, 35)
    stores = (
        Store(0, A[:2], relu(read(0, *A[:2])), False),
        Store(1, (A[1], A[0]), apply("exp", read(0, *A[:2])), False),
    )
    return LoopKernel((9, 35), (), (x,), (x, tensor(35, 9)), stores), [normal(9, 35)], {}


def reduction(
    monoid: MonoidName, dtype: DType, shape: tuple[int, ...], over: tuple[int, ...], data: np.ndarray
) -> Case:
    """Reduce `shape` over the axes `over`."""
    kept = [k for k in range(len(shape)) if k not in over]
    places = {k: A[n] for n, k in enumerate((*kept, *over))}
    body = load(0, [places[k] for k in range(len(shape))], dtype)
    result = i64 if monoid.startswith("arg") else dtype
    parallel = tuple(shape[k] for k in kept)
    stages = (Reduce(monoid, body, result), Store(0, A[: len(kept)], stage(0, result), False))
    kernel = LoopKernel(
        parallel,
        tuple(shape[k] for k in over),
        (tensor(*shape, dtype=dtype),),
        (tensor(*parallel, dtype=result),),
        stages,
    )
    return kernel, [data], {}


def softmax(rows: Dim, length: Dim, data: np.ndarray, dims: dict[str, int], last: bool = True) -> Case:
    index = (A[0], A[1]) if last else (A[1], A[0])
    x = read(0, *index)
    power = apply("exp", x - stage(0, f32))
    type_ = tensor(rows, length) if last else tensor(length, rows)
    stages = (Reduce("max", x, f32), Reduce("sum", power, f32), Store(0, index, power / stage(1, f32), True))
    return LoopKernel((rows,), (length,), (type_,), (type_,), stages), [data], dims


def layer_norm(rows: int, length: int) -> Case:
    x = read(0, A[0], A[1])
    centred = x - stage(0, f32) * (1 / length)
    scale = apply("rsqrt", stage(1, f32) * (1 / length) + 1e-5)
    type_ = tensor(rows, length)
    stages = (
        Reduce("sum", x, f32), Reduce("sum", centred * centred, f32),
        Store(0, A[:2], centred * scale * read(1, A[1]) + read(2, A[1]), True),
    )  # fmt: skip
    kernel = LoopKernel((rows,), (length,), (type_, tensor(length), tensor(length)), (type_,), stages)
    return kernel, [normal(rows, length), normal(length), normal(length, seed=1)], {}


def average_pool() -> Case:
    """Windows of 3 x 3 with padding, channels last."""
    y, x = A[2] * 2 + A[4] - 1, A[3] * 2 + axis(5) - 1
    inside = apply("and", apply("and", apply("le", whole(0), y), apply("lt", y, whole(14))),
                   apply("and", apply("le", whole(0), x), apply("lt", x, whole(14))))  # fmt: skip
    body = where(inside, read(0, A[0], A[1], y, x), const(0, f32))
    stages = (Reduce("sum", body, f32), Store(0, A[:4], stage(0, f32) / 9, False))
    source, out = tensor(1, 20, 14, 14, layout=NHWC), tensor(1, 20, 7, 7, layout=NHWC)
    return LoopKernel((1, 20, 7, 7), (3, 3), (source,), (out,), stages), [normal(1, 20, 14, 14)], {}


def dynamic_bias() -> Case:
    kernel = pointwise(
        (BATCH, LENGTH), [tensor(BATCH, LENGTH), tensor(LENGTH)], read(0, *A[:2]) * read(1, A[1])
    )
    return kernel, [normal(3, 50), normal(50)], DIMS


def dynamic_transpose() -> Case:
    return pointwise((LENGTH, BATCH), [tensor(BATCH, LENGTH)], read(0, A[1], A[0])), [normal(3, 50)], DIMS


def dynamic_split() -> Case:
    index = (apply("floordiv", A[0], size(LENGTH)), apply("mod", A[0], size(LENGTH)))
    return pointwise((BATCH * LENGTH,), [tensor(BATCH, LENGTH)], read(0, *index)), [normal(3, 50)], DIMS


def dynamic_pad() -> Case:
    i = A[1] - 2
    inside = apply("and", apply("le", whole(0), i), apply("lt", i, size(LENGTH)))
    kernel = pointwise(
        (BATCH, LENGTH + 5), [tensor(BATCH, LENGTH)], where(inside, read(0, A[0], i), const(0, f32))
    )
    return kernel, [normal(3, 50)], DIMS


CASES: dict[str, Callable[[], Case]] = {
    made.__name__: made
    for made in (
        bias_channels_last, mixed_layouts, to_channels_last, transpose, transpose_small, pad_rows, pad_outer,
        strided_slice, reversed_slice, upsample, positions, triangle, many_types, narrow_floats, scalar_output, empty,
        two_outputs, average_pool, dynamic_bias, dynamic_transpose, dynamic_split, dynamic_pad,
    )
} | {
    "transpose_f16": lambda: transpose(f16), "transpose_i64": lambda: transpose(i64),
    "transpose_i8": lambda: transpose(dtypes.i8), "transpose_bool": lambda: transpose(bool_),
    "concat_inner": lambda: concat(True), "concat_outer": lambda: concat(False),
    "gather_inner": lambda: gather(True), "gather_outer": lambda: gather(False),
    "reshape": lambda: reshape((4, 24), (8, 12)), "reshape_odd": lambda: reshape((21, 3), (9, 7)),
    "reshape_transposed": lambda: reshape((8, 12), (8, 12), (1, 0)),
    "softmax": lambda: softmax(37, 131, normal(37, 131) * 5, {}),
    "softmax_first": lambda: softmax(37, 131, normal(131, 37) * 5, {}, last=False),
    "softmax_dynamic": lambda: softmax(BATCH, LENGTH, normal(3, 50), DIMS),
    "softmax_dynamic_first": lambda: softmax(BATCH, LENGTH, normal(50, 3), DIMS, last=False),
    "layer_norm": lambda: layer_norm(19, 96),
}  # fmt: skip
