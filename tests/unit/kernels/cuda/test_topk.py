"""top_k on CUDA against its numpy reference: every way, any k, ties, NaN, axes, sizes known at run time."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from engineworks.core.dims import Dim, symbol
from engineworks.kernels.cuda.topk import CudaTopK, Pieces, SortAll, Whole
from engineworks.kernels.tactic import Tactic
from engineworks.ops.top_k import TopK
from engineworks.testing.native import reference
from tests.unit.kernels.cuda.native_case import GPU, compiles, images, run, workload

WAYS = [Whole(1, 128, 1), Whole(4, 128, 4), Pieces(1, 128, 4), Pieces(3, 128, 4), SortAll()]


def check(
    x: np.ndarray,
    k: Dim,
    axis: int = -1,
    largest: bool = True,
    way: object = None,
    shapes: list[tuple[Dim, ...]] | None = None,
    dims: dict[str, int] | None = None,
) -> None:
    """The way given, or the one proposed."""
    op = TopK(k=k, axis=axis, largest=largest)
    work = workload(op, [x], shapes)
    provider = CudaTopK()
    if way is None:
        ((_, image),) = images(provider, work, 0)
    else:
        image = provider.build(work, Tactic(provider.name, way), GPU)
    values, indices = run(image, work, [x], dims)
    right = reference(op, [x], dims)
    np.testing.assert_array_equal(indices, right[1])
    comparable = (
        np.float32 if x.dtype.kind == "V" else x.dtype
    )  # numpy does not know that narrow floats hold NaN
    np.testing.assert_array_equal(values.astype(comparable), right[0].astype(comparable))


@pytest.mark.parametrize("k", [0, 1, 5, 100])
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_every_way_gives_the_best_in_order(k: int, way: object) -> None:
    x = np.random.default_rng(k).normal(size=(3, 100)).astype(np.float32)
    check(x, k, way=way)
    check(x, k, largest=False, way=way)


@pytest.mark.parametrize(
    "dtype",
    [np.float64, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, np.int64, np.int32, np.int8, np.uint8]
    + [np.uint16, np.uint32, np.uint64],
)  # fmt: skip
def test_ties_go_to_the_lower_index(dtype: Any) -> None:
    x = np.random.default_rng(1).integers(-3, 4, (2, 90)).astype(dtype)
    check(x, 70)
    check(x, 3, largest=False)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
def test_nan_is_largest_and_both_zeros_are_equal(dtype: Any) -> None:
    values = np.array([0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 1], dtype)
    x = np.random.default_rng(2).choice(values, (3, 80))
    check(x, 60)
    check(x, 60, largest=False)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_axes_with_neighbours_apart(way: object) -> None:
    check(np.random.default_rng(3).normal(size=(2, 50, 3)).astype(np.float32), 7, axis=1, way=way)


@pytest.mark.parametrize("n", [1, 33, 200])
@pytest.mark.parametrize("highest", [None, 300])
def test_sizes_known_at_run_time(n: int, highest: int | None) -> None:
    x = np.random.default_rng(4).normal(size=(2, n)).astype(np.float32)
    count = symbol("N", 1, highest)
    check(x, count, shapes=[(2, count)], dims={"N": n})
    check(x, 1, shapes=[(2, count)], dims={"N": n})


@pytest.mark.parametrize(("dtype", "length"), [(np.float32, 4500), (np.float64, 700)])
def test_long_lines_are_merged(dtype: Any, length: int) -> None:
    x = np.random.default_rng(5).normal(size=length).astype(dtype)
    check(x, 100, way=SortAll())


@pytest.mark.parametrize("order", ["random", "rising", "falling", "equal"])
def test_long_lines_in_any_order_are_searched(order: str) -> None:
    x = np.random.default_rng(5).normal(size=(2, 1301)).astype(np.float32)
    x = {"random": x, "rising": np.sort(x), "falling": -np.sort(-x), "equal": np.ones_like(x)}[order]
    check(x, 30, way=Pieces(5, 256, 4))
    check(x, 30, way=Pieces(1, 1024, 4), largest=False)


def test_no_lines_do_nothing() -> None:
    check(np.zeros((0, 5), np.float32), 2)


@pytest.mark.parametrize(
    ("dtype", "shape", "k"),
    [(np.float32, (1, 130_000), 50), (np.float16, (512, 64), 8), (np.int64, (3, 500), 4)],
)  # fmt: skip
def test_kernels_compile(dtype: Any, shape: tuple[int, int], k: int) -> None:
    compiles(CudaTopK(), workload(TopK(k=k), [np.zeros(shape, dtype)]))
