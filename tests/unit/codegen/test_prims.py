"""Every primitive on every dtype it makes sense for, against numpy."""

from __future__ import annotations

import numpy as np
import pytest

from engineworks.codegen.llvm.function import AVX2, AVX512, Isa
from engineworks.codegen.llvm.prims import EMIT
from engineworks.core import dtypes
from engineworks.core.dtypes import DType
from engineworks.ir.scalar import PRIMS, Scalar, apply, argument, cast, const, evaluate, expand
from tests.unit.codegen.harness import run_expressions

FLOATS = (dtypes.f32, dtypes.f64, dtypes.f16, dtypes.bf16, dtypes.f8e4m3, dtypes.f8e5m2)
INTEGERS = (dtypes.i64, dtypes.i32, dtypes.i16, dtypes.i8, dtypes.u64, dtypes.u32, dtypes.u16, dtypes.u8)
ANY = (
    "add",
    "sub",
    "mul",
    "min",
    "max",
    "eq",
    "ne",
    "lt",
    "le",
    "neg",
    "abs",
    "fma",
    "div",
    "mod",
    "rem",
    "sign",
    "pow",
)
ON_FLOATS = frozenset(PRIMS) - {"floordiv", "and", "or", "xor", "not", "shl", "shr", "where"}
ON_INTEGERS = frozenset(ANY) | {"floordiv", "and", "or", "xor", "not", "shl", "shr", "floor", "ceil", "trunc"}
ON_BOOL = frozenset({"and", "or", "xor", "not", "eq", "ne", "lt", "le", "min", "max", "add", "mul"})
EDGES = (0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, 3.0, -3.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 1e-40, 3e38, -3e38,
         88.7, -88.7, 103.9, 65536.0, -1e10, 2.0**127)  # fmt: skip
ULP = {"tanh": 5.0, "erf": 5.0, "tan": 4.0, "pow": 8.0, "asin": 3.0, "atan": 3.0, "expm1": 2.5}


def floats(dtype: DType, count: int, seed: int) -> np.ndarray:
    """Edge cases, moderate values, and values of all magnitudes."""
    rng = np.random.default_rng(seed)
    wide = rng.normal(size=count) * 10.0 ** rng.uniform(-30, 30, count)
    near = rng.uniform(-4, 4, count)
    edges = np.resize(rng.permutation(np.array(EDGES)), count // 4)
    with np.errstate(all="ignore"):
        return np.concatenate([edges, near[: count // 2], wide[: count // 4]])[:count].astype(dtype.numpy)


def integers(dtype: DType, count: int, seed: int) -> np.ndarray:
    """The dtype's extremes, zeros, small and arbitrary values."""
    rng = np.random.default_rng(seed)
    info = np.iinfo(dtype.numpy)
    edges = np.array([0, 1, info.max, info.min, 2, 3, 7, max(info.min, -1), max(info.min, -2)], dtype.numpy)
    spread = rng.integers(info.min, info.max, count, dtype.numpy, endpoint=True)
    small = rng.integers(max(info.min, -9), 10, count).astype(dtype.numpy)
    return np.concatenate(
        [np.resize(rng.permutation(edges), count // 4), small[: count // 2], spread[: count // 4]]
    )


def samples(dtype: DType, seed: int, count: int = 1024) -> np.ndarray:
    if dtype.kind == "bool":
        return np.random.default_rng(seed).integers(0, 2, count).astype(bool)
    return floats(dtype, count, seed) if dtype.is_float else integers(dtype, count, seed)


def heads_of(dtype: DType) -> list[str]:
    return sorted(ON_FLOATS if dtype.is_float else ON_BOOL if dtype.kind == "bool" else ON_INTEGERS)


def reference(expr: Scalar, arguments: list[np.ndarray]) -> np.ndarray:
    """numpy's result; f32 and narrower floats are computed in f64 and f64 in long double where numpy can."""
    return evaluate(expr, arguments)


def wide_reference(head: str, dtype: DType, arguments: list[np.ndarray]) -> np.ndarray:
    """The exact result in a wider type (f64, or long double for f64)."""
    wide = np.longdouble if dtype is dtypes.f64 and head != "erf" else np.float64
    with np.errstate(all="ignore"):
        return np.asarray(PRIMS[head].numpy(*(a.astype(wide) for a in arguments)))


def assert_close(
    head: str, dtype: DType, got: np.ndarray, exact: np.ndarray, arguments: list[np.ndarray]
) -> None:
    """NaN and infinities agree, and finite values are within the primitive's ULP bound."""
    with np.errstate(all="ignore"):
        expected = exact.astype(dtype.numpy)
        nan, got_nan = np.isnan(expected.astype(np.float64)), np.isnan(got.astype(np.float64))
        where = np.flatnonzero(nan != got_nan)
        assert not where.size, (
            f"{head} {dtype}: NaN for {[a[where[:4]] for a in arguments]}: {got[where[:4]]}, not {expected[where[:4]]}"
        )
        value, wanted = got.astype(np.longdouble)[~nan], expected.astype(np.longdouble)[~nan]
        step = np.abs(np.spacing(np.abs(expected[~nan]))).astype(np.longdouble)
        if head == "sigmoid":  # 1 / (1 + inf): below the normal range it is zero
            step = np.maximum(step, np.longdouble(2.0) ** (-126 if dtype.bits <= 32 else -1022))
        error = np.where(
            value == wanted, 0, np.abs(value - np.where(np.isinf(wanted), wanted, exact[~nan])) / step
        )
        worst = int(np.argmax(error))
        bound = ULP.get(head, 2.2)
        at = [a[~nan][worst] for a in arguments]
        assert error[worst] <= bound, (
            f"{head} {dtype} at {at}: {value[worst]}, not {exact[~nan][worst]} ({error[worst]:.2f} ulp)"
        )


def test_every_primitive_has_code_or_an_expansion() -> None:
    missing = [h for h, prim in PRIMS.items() if h not in EMIT and prim.expand is None]
    assert not missing


def test_every_primitive_is_tested_on_some_dtype() -> None:
    assert ON_FLOATS | ON_INTEGERS | ON_BOOL | {"where"} == set(PRIMS)


CASES = [(AVX512, 16), (AVX2, 8), (AVX2, 1)]


@pytest.mark.parametrize(("isa", "lanes"), CASES, ids=["avx512", "avx2", "scalar"])
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_float_primitives_match_numpy(dtype: DType, isa: Isa, lanes: int) -> None:
    # log1p, pow … of long double and f64 differ from these bounds only where the reference itself is exact.
    arguments = [samples(dtype, seed) for seed in range(3)]
    expressions = {h: apply(h, *(argument(k, dtype) for k in range(PRIMS[h].arity))) for h in heads_of(dtype)}
    for head, result in run_expressions(expressions, arguments, isa, lanes).items():
        given, got = arguments[: PRIMS[head].arity], result
        if expressions[head].dtype is dtypes.bool_:
            np.testing.assert_array_equal(got, reference(expressions[head], given), err_msg=head)
            continue
        if dtype.bits < 32:
            exact = evaluate(_in_f32(head), [a.astype(np.float32) for a in given]).astype(np.float64)
        else:
            exact = wide_reference(head, dtype, given)
        if head == "fma":
            # numpy rounds twice where we round once.
            finite = np.isfinite(exact) & (np.abs(exact) > 1e-3 * np.abs(given[2].astype(np.float64)))
            got, exact, given = got[finite], exact[finite], [a[finite] for a in given]
        assert_close(head, dtype, got, exact, given)


def _in_f32(head: str) -> Scalar:
    return apply(head, *(argument(k, dtypes.f32) for k in range(PRIMS[head].arity)))


@pytest.mark.parametrize(("isa", "lanes"), CASES, ids=["avx512", "avx2", "scalar"])
@pytest.mark.parametrize("dtype", [*INTEGERS, dtypes.bool_], ids=str)
def test_integer_primitives_equal_numpy(dtype: DType, isa: Isa, lanes: int) -> None:
    arguments = [samples(dtype, seed) for seed in range(3)]
    expressions = {h: apply(h, *(argument(k, dtype) for k in range(PRIMS[h].arity))) for h in heads_of(dtype)}
    for head, got in run_expressions(expressions, arguments, isa, lanes).items():
        given = arguments[: PRIMS[head].arity]
        keep = _meaningful(head, dtype, given)
        expected = reference(expressions[head], [a[keep] for a in given])
        np.testing.assert_array_equal(got[keep], expected, err_msg=f"{head} {dtype}")


def _meaningful(head: str, dtype: DType, given: list[np.ndarray]) -> np.ndarray:
    """Division by zero and shifts or powers by negative numbers have no promised value."""
    keep = np.ones(given[0].shape, bool)
    if head in ("div", "floordiv", "mod", "rem"):
        keep &= given[1] != 0
        if dtype.kind == "int":
            keep &= ~((given[1] == -1) & (given[0] == np.iinfo(dtype.numpy).min))
    if head in ("shl", "shr", "pow"):
        keep &= given[1] >= 0
    return keep


@pytest.mark.parametrize("isa", [AVX512, AVX2], ids=["avx512", "avx2"])
def test_integer_division_by_zero_does_not_trap(isa: Isa) -> None:
    a = np.array([5, -5, 0, -(2**31)] * 4, np.int32)
    b = np.array([0, 0, 0, -1] * 4, np.int32)
    x, y = argument(0, dtypes.i32), argument(1, dtypes.i32)
    made = run_expressions(
        {h: apply(h, x, y) for h in ("div", "floordiv", "mod", "rem")}, [a, b], isa, isa.lanes
    )
    assert all(v.shape == a.shape for v in made.values())


@pytest.mark.parametrize("divisor", [1, 2, 3, 7, 16, 64, -1, -4, 1000003])
def test_division_by_constants_equals_numpy(divisor: int) -> None:
    a = integers(dtypes.i64, 512, 1)
    x = argument(0, dtypes.i64)
    expressions = {h: apply(h, x, const(divisor, dtypes.i64)) for h in ("div", "floordiv", "mod", "rem")}
    keep = ~((a == np.iinfo(np.int64).min) & (divisor == -1))
    for head, got in run_expressions(expressions, [a], AVX512, 8).items():
        np.testing.assert_array_equal(got[keep], evaluate(expressions[head], [a[keep]]), err_msg=head)


@pytest.mark.parametrize("isa", [AVX512, AVX2], ids=["avx512", "avx2"])
@pytest.mark.parametrize("source", [*FLOATS, *INTEGERS, dtypes.bool_], ids=str)
def test_casts_match_numpy(source: DType, isa: Isa) -> None:
    given = samples(source, 7)
    for target in (*FLOATS, *INTEGERS, dtypes.bool_):
        x = given
        if source.is_float and target.is_integer:
            limit = 100.0 if target.bits == 8 else 3e4
            wide = given.astype(np.float64)
            low = 0.0 if target.kind == "uint" else -limit
            x = np.where(np.isfinite(wide) & (wide < limit) & (wide > low), given, given.dtype.type(1))
        expr = cast(argument(0, source), target)
        got = run_expressions({"cast": expr}, [x], isa, isa.lanes)["cast"]
        with np.errstate(all="ignore"):
            expected = x.astype(target.numpy)
        np.testing.assert_array_equal(
            _comparable(got), _comparable(expected), err_msg=f"{source} to {target}"
        )


def _comparable(a: np.ndarray) -> np.ndarray:
    return a.astype(np.float64) if a.dtype.kind not in "iub" else a


def test_where_and_bitcast() -> None:
    a, b = samples(dtypes.f32, 1), samples(dtypes.f32, 2)
    x, y = argument(0, dtypes.f32), argument(1, dtypes.f32)
    expressions = {
        "where": apply("where", apply("lt", x, y), x, y),
        "bits": apply("bitcast", x, dtype=dtypes.i32),
    }
    made = run_expressions(expressions, [a, b], AVX512, 16)
    np.testing.assert_array_equal(made["where"], np.where(a < b, a, b))
    np.testing.assert_array_equal(made["bits"], a.view(np.int32))


def test_expansions_mean_what_the_primitives_mean() -> None:
    x = samples(dtypes.f32, 3)
    for head, prim in PRIMS.items():
        if prim.expand is None or prim.arity != 1:
            continue
        node = apply(head, argument(0, dtypes.f32))
        expanded = expand(node)
        assert expanded is not None
        np.testing.assert_allclose(evaluate(expanded, [x]), evaluate(node, [x]), rtol=2e-5, atol=1e-6)
