"""Every primitive on every dtype it makes sense for: numpy's numbers in the interpreter, machine code on three GPUs."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("triton")

from engineworks.codegen.triton.compile import compile_cubin
from engineworks.codegen.triton.gpu import gpu_of
from engineworks.codegen.triton.prims import EMIT
from engineworks.core import dtypes
from engineworks.core.dtypes import DType
from engineworks.ir.scalar import PRIMS, Scalar, apply, argument, cast, const, evaluate
from tests.unit.codegen.test_prims import (
    FLOATS,
    INTEGERS,
    ON_INTEGERS,
    _comparable,
    _meaningful,
    floats,
    heads_of,
    samples,
)
from tests.unit.codegen.triton.scalar_kernel import kernel_of, run_expressions

SUB_BYTE = (dtypes.i4, dtypes.u4, dtypes.i2, dtypes.u2)
CODED = (dtypes.f8e4m3, dtypes.f8e5m2, dtypes.f8e4m3fnuz, dtypes.f8e5m2fnuz, dtypes.f8e8m0, dtypes.f4e2m1)
COARSE = {"exp", "tanh", "erf", "sigmoid", "tan", "pow", "expm1", "log1p", "log"}


def applied(head: str, dtype: DType) -> Scalar:
    return apply(head, *(argument(k, dtype) for k in range(PRIMS[head].arity)))


def test_every_primitive_has_a_rule() -> None:
    assert set(EMIT) == set(PRIMS)


@pytest.mark.parametrize("dtype", [dtypes.f32, dtypes.f64, dtypes.f16, dtypes.bf16, dtypes.f8e4m3], ids=str)
def test_float_primitives_match_numpy(dtype: DType) -> None:
    arguments = [samples(dtype, seed, 256) for seed in range(3)]
    expressions = {h: applied(h, dtype) for h in heads_of(dtype)}
    wide = np.float64 if dtype is dtypes.f64 else np.float32
    for head, got in run_expressions(expressions, arguments).items():
        given = [a.astype(wide) for a in arguments[: PRIMS[head].arity]]
        with np.errstate(all="ignore"):
            expected = evaluate(applied(head, dtypes.from_numpy(wide)), given).astype(got.dtype)
            nan = np.isnan(expected.astype(np.float64)) & np.isnan(got.astype(np.float64))
            least = (
                4 * float(np.finfo(np.float64 if dtype.bits == 64 else np.float32).eps)
                if dtype.bits >= 32
                else 2.0 ** -(3 if dtype.bits == 8 else 8)
            )
        np.testing.assert_allclose(
            np.where(nan, 0, got).astype(np.float64),
            np.where(nan, 0, expected).astype(np.float64),
            rtol=least if head in COARSE else least / 2, atol=0, err_msg=f"{head} {dtype}",
        )  # fmt: skip


@pytest.mark.parametrize("dtype", [*INTEGERS, dtypes.bool_], ids=str)
def test_integer_primitives_equal_numpy(dtype: DType) -> None:
    arguments = [samples(dtype, seed, 256) for seed in range(3)]
    expressions = {h: applied(h, dtype) for h in heads_of(dtype)}
    for head, got in run_expressions(expressions, arguments).items():
        given = arguments[: PRIMS[head].arity]
        keep = _meaningful(head, dtype, given)
        expected = evaluate(expressions[head], [a[keep] for a in given])
        np.testing.assert_array_equal(got[keep], expected, err_msg=f"{head} {dtype}")


@pytest.mark.parametrize("source", [*FLOATS, *INTEGERS, dtypes.bool_], ids=str)
def test_casts_match_numpy(source: DType) -> None:
    given = samples(source, 7, 256)
    targets = (*FLOATS, *INTEGERS, dtypes.bool_)
    for signed in (True, False):
        x = _castable(given, source, signed)
        chosen = [t for t in targets if signed == (t.kind != "uint")]
        made = run_expressions({str(t): cast(argument(0, source), t) for t in chosen}, [x])
        for target in chosen:
            with np.errstate(all="ignore"):
                expected = x.astype(target.numpy)
            np.testing.assert_array_equal(
                _comparable(made[str(target)]), _comparable(expected), err_msg=f"{source} to {target}"
            )


def _castable(given: np.ndarray, source: DType, signed: bool) -> np.ndarray:
    """Floats within the range of every integer type."""
    if not source.is_float:
        return given
    wide = given.astype(np.float64)
    keep = np.isfinite(wide) & (wide < 100) & (wide > (-100 if signed else 0))
    return np.where(keep, given, given.dtype.type(1))


@pytest.mark.parametrize("dtype", CODED, ids=str)
def test_rounding_to_floats_of_a_byte_matches_numpy(dtype: DType) -> None:
    x = np.concatenate(
        [floats(dtypes.f32, 768, 3), np.random.default_rng(1).normal(size=256).astype(np.float32) * 8]
    )
    narrow = run_expressions({"y": cast(argument(0, dtypes.f32), dtype)}, [x])["y"]
    again = run_expressions({"y": cast(argument(0, dtype), dtypes.f32)}, [narrow])["y"]
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(narrow.astype(np.float32), x.astype(dtype.numpy).astype(np.float32))
    np.testing.assert_array_equal(again, narrow.astype(np.float32))


@pytest.mark.parametrize("dtype", SUB_BYTE, ids=str)
def test_integers_of_less_than_a_byte_wrap(dtype: DType) -> None:
    x = np.arange(-64, 64, dtype=np.int32)
    y = argument(0, dtypes.i32)
    made = run_expressions(
        {"to": cast(y, dtype), "twice": cast(cast(y, dtype) + cast(y, dtype), dtypes.i32)}, [x]
    )
    np.testing.assert_array_equal(made["to"].astype(np.int32), x.astype(dtype.numpy).astype(np.int32))
    half = x.astype(dtype.numpy)
    np.testing.assert_array_equal(
        made["twice"], (half.astype(np.int32) * 2).astype(dtype.numpy).astype(np.int32)
    )


@pytest.mark.parametrize(("source", "target"), [
    (dtypes.f32, dtypes.i32), (dtypes.f16, dtypes.u16), (dtypes.bf16, dtypes.i16), (dtypes.f64, dtypes.i64),
    (dtypes.i32, dtypes.f32), (dtypes.u16, dtypes.bf16), (dtypes.i16, dtypes.f16), (dtypes.u8, dtypes.f8e4m3),
    (dtypes.f8e5m2, dtypes.u8), (dtypes.u8, dtypes.i8), (dtypes.u32, dtypes.f32),
], ids=str)  # fmt: skip
def test_bitcasts_keep_the_bits(source: DType, target: DType) -> None:
    x = samples(source, 5, 256)
    x = x[~np.isnan(x.astype(np.float64))].repeat(2)[:128] if source.is_float else x
    got = run_expressions({"y": apply("bitcast", argument(0, source), dtype=target)}, [x])["y"]
    np.testing.assert_array_equal(_comparable(got), _comparable(x.view(target.numpy)))


def test_constants_keep_their_dtype_and_sign() -> None:
    wide = const(0.1, dtypes.f64) + const(0.2, dtypes.f64)
    zero = const(-0.0, dtypes.f32)
    big = const(2**63 + 5, dtypes.u64)
    x = np.zeros(4, np.float32)
    made = run_expressions(
        {"wide": wide, "zero": zero * 1, "big": big, "nan": const(float("nan"), dtypes.f32),
         "chosen": apply("where", apply("lt", argument(0, dtypes.f32), const(1, dtypes.f32)), const(0.1, dtypes.f64), wide)},
        [x],
    )  # fmt: skip
    assert (made["wide"] == 0.1 + 0.2).all()
    assert np.signbit(made["zero"]).all()
    assert (made["big"] == np.uint64(2**63 + 5)).all()
    assert np.isnan(made["nan"]).all()
    assert (made["chosen"] == 0.1).all()


@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100"])
@pytest.mark.parametrize(
    "dtype", [dtypes.f32, dtypes.f64, dtypes.f8e4m3, dtypes.i64, dtypes.u8, dtypes.bool_], ids=str
)
def test_primitives_compile(dtype: DType, arch: str) -> None:
    heads = [h for h in heads_of(dtype) if h not in ("pow", "mod", "rem")] + (
        ["pow"] if dtype in (dtypes.f32, dtypes.i64) else []
    )
    expressions = {h: applied(h, dtype) for h in heads}
    compile_cubin(kernel_of(expressions, [dtype] * 3, 128), gpu_of(arch))


@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100"])
def test_casts_compile(arch: str) -> None:
    kinds = (
        dtypes.f32,
        dtypes.f64,
        dtypes.f16,
        dtypes.bf16,
        dtypes.f8e4m3,
        dtypes.i8,
        dtypes.u64,
        dtypes.bool_,
    )
    expressions = {
        f"{a} {b}": cast(argument(k, a), b) for k, a in enumerate(kinds) for b in kinds if a is not b
    }
    compile_cubin(kernel_of(expressions, kinds, 128), gpu_of(arch))


def test_equal_nodes_are_written_once() -> None:
    x = apply("exp", argument(0, dtypes.f32))
    text = kernel_of({"a": x * x + 1, "b": x * x - 1}, [dtypes.f32], 64).text
    assert text.count("tl.exp(") == 1
    assert ON_INTEGERS
