"""Random expressions and random loop nests compute what numpy computes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engineworks.codegen.llvm.function import AVX2, AVX512, Isa
from engineworks.core import dtypes
from engineworks.core.dims import Dim, symbol
from engineworks.core.dims import evaluate as dim_value
from engineworks.core.dtypes import DType
from engineworks.core.types import Layout, TensorType
from engineworks.ir.kernel import LoopKernel, Reduce, Store
from engineworks.ir.scalar import Scalar, apply, argument, axis, cast, const, evaluate, load, stage, where
from engineworks.kernels.cpu.loops import CpuLoops
from engineworks.kernels.workload import Operand, Workload
from engineworks.testing.kernels import reference_loops, run_image
from tests.unit.codegen.harness import run_expressions

BINARY = ("add", "sub", "mul", "min", "max")
UNARY = {"f32": ("neg", "abs", "floor", "exp", "tanh", "sigmoid", "sqrt"), "i32": ("neg", "abs", "not")}
COMPARE = ("eq", "ne", "lt", "le")
ISA = st.sampled_from([AVX512, AVX2])


@st.composite
def expressions(draw: st.DrawFn, dtype: DType, depth: int = 4) -> Scalar:
    """Expressions over argument(0), f32, and argument(1), i32."""
    kind = draw(st.integers(0, 6)) if depth else 0
    if kind <= 1:
        own = argument(0, dtypes.f32) if dtype is dtypes.f32 else argument(1, dtypes.i32)
        return draw(st.sampled_from([own, const(draw(st.integers(-3, 3)), dtype)]))
    if kind == 2:
        return apply(draw(st.sampled_from(UNARY[dtype.name])), draw(expressions(dtype, depth - 1)))
    if kind == 3:
        source = draw(st.sampled_from([dtypes.f32, dtypes.i32]))
        inner = draw(expressions(source, depth - 1))
        bounded = apply("min", apply("max", inner, const(-100, source)), const(100, source))
        # NaN has no integer.
        usable = where(apply("eq", bounded, bounded), bounded, const(0, source))
        return cast(usable, dtype)
    if kind == 4:
        condition = apply(
            draw(st.sampled_from(COMPARE)), draw(expressions(dtypes.i32, depth - 1)), const(1, dtypes.i32)
        )
        return where(condition, draw(expressions(dtype, depth - 1)), draw(expressions(dtype, depth - 1)))
    return apply(
        draw(st.sampled_from(BINARY)),
        draw(expressions(dtype, depth - 1)),
        draw(expressions(dtype, depth - 1)),
    )


@settings(max_examples=60, deadline=None)
@given(
    isa=ISA,
    exprs=st.lists(st.one_of(expressions(dtypes.f32), expressions(dtypes.i32)), min_size=1, max_size=5),
)
def test_expressions_match_numpy(isa: Isa, exprs: list[Scalar]) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=64).astype(np.float32), rng.integers(-9, 9, 64).astype(np.int32)
    named = {f"e{k}": e for k, e in enumerate(exprs)}
    for name, got in run_expressions(named, [x, y], isa, isa.lanes).items():
        expected = np.broadcast_to(evaluate(named[name], [x, y]), got.shape)
        if got.dtype.kind == "i":
            # A cast may truncate a value that a last bit moved over an integer.
            assert np.mean(got != expected) < 0.1
        else:
            close = np.isclose(got, expected, rtol=2e-4, atol=1e-4, equal_nan=True)
            assert np.mean(~close) < 0.1, (got[~close], expected[~close])


@st.composite
def kernels(draw: st.DrawFn) -> tuple[LoopKernel, dict[str, int]]:
    """Up to five axes, some of unknown size; operands see any of them in any order, strided or guarded."""
    numbers = draw(st.lists(st.sampled_from([1, 2, 3, 5, 8, 16, 17, 33, 40]), min_size=1, max_size=3))
    reduced = draw(st.lists(st.sampled_from([1, 2, 3, 7, 16, 19, 70]), max_size=2))
    lengths = [*numbers, *reduced]
    dims = {f"d{k}": n for k, n in enumerate(lengths) if draw(st.integers(0, 3)) == 0}
    extents: list[Dim] = [symbol(f"d{k}", 1, 100) if f"d{k}" in dims else n for k, n in enumerate(lengths)]
    sizes, inner = extents[: len(numbers)], extents[len(numbers) :]
    operands: list[TensorType] = []
    body: Scalar | None = None
    for _ in range(draw(st.integers(1, 3))):
        chosen = draw(st.permutations(range(len(extents))))[: draw(st.integers(0, len(extents)))]
        step = [draw(st.sampled_from([1, 1, 1, 2])) for _ in chosen]
        shape = tuple(extents[a] * s for a, s in zip(chosen, step, strict=True))
        dtype = draw(st.sampled_from([dtypes.f32, dtypes.f32, dtypes.f16, dtypes.i32, dtypes.bool_]))
        value: Scalar = load(len(operands), [axis(a) * s for a, s in zip(chosen, step, strict=True)], dtype)
        if chosen and draw(st.integers(0, 3)) == 0:
            limit = const(draw(st.integers(0, lengths[chosen[0]])), dtypes.i64)
            shifted = [axis(a) * s - (1 if a == chosen[0] else 0) for a, s in zip(chosen, step, strict=True)]
            inside = apply(
                "and", apply("lt", axis(chosen[0]), limit), apply("le", const(1, dtypes.i64), axis(chosen[0]))
            )
            value = where(inside, load(len(operands), shifted, dtype), const(0, dtype))
        operands.append(TensorType(dtype, shape, draw(layouts(len(shape)))))
        value = cast(value, dtypes.f32)
        body = value if body is None else apply(draw(st.sampled_from(BINARY)), body, value)
    assert body is not None
    order = draw(st.permutations(range(len(sizes))))
    out = TensorType(dtypes.f32, tuple(sizes[a] for a in order), draw(layouts(len(sizes))))
    index = tuple(axis(a) for a in order)
    if not reduced:
        return LoopKernel(tuple(sizes), (), tuple(operands), (out,), (Store(0, index, body, False),)), dims
    monoid = draw(st.sampled_from(["sum", "max", "min"]))
    stages = (Reduce(monoid, body, dtypes.f32), Store(0, index, stage(0, dtypes.f32) * 2, False))
    return LoopKernel(tuple(sizes), tuple(inner), tuple(operands), (out,), stages), dims


@st.composite
def layouts(draw: st.DrawFn, rank: int) -> Layout | None:
    if not rank or draw(st.booleans()):
        return None
    return Layout(tuple(draw(st.permutations(range(rank)))), draw(st.sampled_from([0, 3, 16])))


@pytest.mark.parametrize("effort", [0, 5])
@settings(max_examples=60, deadline=None)
@given(made=kernels(), isa=ISA)
def test_loop_nests_match_numpy(effort: int, made: tuple[LoopKernel, dict[str, int]], isa: Isa) -> None:
    kernel, dims = made
    rng = np.random.default_rng(1)
    inputs = [
        np.round(rng.normal(size=[dim_value(d, dims) for d in t.shape]) * 4).astype(t.dtype.numpy)
        for t in kernel.operands
    ]
    (expected,) = reference_loops(kernel, inputs, dims)
    work = Workload(
        None, tuple(Operand(t) for t in kernel.operands), len(inputs), kernel.outputs, None, kernel
    )
    provider = CpuLoops()
    tactic = list(provider.propose(work, isa, effort))[-1]
    image = provider.build(work, tactic, isa)
    (got,) = run_image(
        image, list(zip(inputs, kernel.operands, strict=True)), kernel.outputs, isa, dims, split=2
    )
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-3, err_msg=tactic.text())
