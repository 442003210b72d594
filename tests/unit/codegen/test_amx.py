"""Tile registers against numpy: all products, block shapes, the end of the depth, sums that continue."""

from __future__ import annotations

import numpy as np
import pytest

from engineworks.codegen.llvm import amx
from engineworks.codegen.llvm.function import AVX512, Function
from engineworks.core import dtypes
from engineworks.core.dtypes import DType
from engineworks.core.target import host
from engineworks.kernels.tactic import KernelImage
from engineworks.testing.kernels import load_image

ISA = AVX512.with_extras("amx-tile", "amx-bf16", "amx-int8")
needs_tiles = pytest.mark.skipif(
    not {"amx-tile", "amx-bf16", "amx-int8"} <= set(host().features), reason="this CPU has no AMX"
)
PAIRS = [("bf16", "bf16"), ("i8", "i8"), ("i8", "u8"), ("u8", "i8"), ("u8", "u8")]


def test_targets_without_tiles_have_no_product() -> None:
    assert amx.tile_product(dtypes.i8, dtypes.i8, AVX512) is None
    assert amx.tile_product(dtypes.bf16, dtypes.bf16, AVX512.with_extras("amx-tile", "amx-int8")) is None
    assert amx.tile_product(dtypes.f16, dtypes.f16, ISA) is None


def random(rng: np.random.Generator, dtype: DType, *shape: int) -> np.ndarray:
    if dtype.is_float:
        return rng.standard_normal(shape).astype(dtype.numpy)
    limits = np.iinfo(dtype.numpy)
    return rng.integers(limits.min, limits.max, shape, endpoint=True).astype(dtype.numpy)


def packed(right: np.ndarray, group: int, groups: int) -> np.ndarray:
    """[K, N] -> [groups][N][group], zeros beyond K."""
    full = np.zeros((groups * group, right.shape[1]), right.dtype)
    full[: len(right)] = right
    return np.ascontiguousarray(full.reshape(groups, group, -1).swapaxes(1, 2))


@needs_tiles
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
@pytest.mark.parametrize(
    ("rows", "columns", "depth"), [((16, 16), 2, 200), ((5,), 6, 64), ((16, 3), 1, 129), ((1, 1, 1), 1, 7)]
)
def test_block_of_products(pair: tuple[str, str], rows: tuple[int, ...], columns: int, depth: int) -> None:
    left_type, right_type = (dtypes.by_name(name) for name in pair)
    product = amx.tile_product(left_type, right_type, ISA)
    assert product is not None
    block = amx.TileBlock(product, rows, columns)
    size = left_type.size_bytes
    whole, rest = divmod(depth, product.depth)
    f = Function("block")
    a, b, c, scratch = (f.pointer(i) for i in range(4))
    height = sum(rows)
    starts = [f.at(a, first * depth * size) for first in block.firsts]
    group_bytes = columns * 64
    amx.configure(f, block)
    amx.clear(f, block)
    amx.steps(f, block, whole, amx.Left(starts, depth * size), amx.Right(b, group_bytes))
    amx.save(f, block, c, block.width * 4)
    amx.clear(f, block)
    amx.resume(f, block, c, block.width * 4)
    if rest:
        amx.copy_tail(f, height, f.at(a, whole * 64), depth * size, rest * size, scratch)
        tails = [f.at(scratch, first * amx.TILE_BYTES) for first in block.firsts]
        right = amx.Right(f.at(b, whole * amx.TILE_ROWS * group_bytes), group_bytes)
        amx.steps(f, block, 1, amx.Left(tails, amx.TILE_BYTES), right)
    amx.save(f, block, c, block.width * 4)
    amx.release(f)

    rng = np.random.default_rng(0)
    left = random(rng, left_type, height, depth)
    right = random(rng, right_type, depth, block.width)
    weights = packed(right, product.group, (whole + 1) * amx.TILE_ROWS)
    out = np.zeros((height, block.width), product.sums.numpy)
    space = np.full(height * 64, 0x7F, np.uint8)
    words = np.array([x.ctypes.data for x in (left, weights, out, space)], np.int64)
    image = KernelImage({f.name: f.text()}, frozenset(f.declarations), ())
    load_image(image, ISA).call(f.name, words.ctypes.data, 0, 1, 0)

    if left_type.is_float:
        wide = left.astype(np.float64) @ right.astype(np.float64)
        np.testing.assert_allclose(out, wide, rtol=1e-5, atol=1e-4)
    else:
        np.testing.assert_array_equal(out, left.astype(np.int64) @ right.astype(np.int64))
