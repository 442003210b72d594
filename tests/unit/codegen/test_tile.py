"""The register-tile emitter against numpy: segments, strides, chains, masks, epilogues at the edge."""

from __future__ import annotations

import numpy as np
import pytest

from engineworks.codegen.llvm.function import AVX2, AVX512, Function, Isa
from engineworks.codegen.llvm.tile import (
    Segment,
    Store,
    Tile,
    accumulate,
    by_columns,
    column_mask,
    plain_tile,
    store_tile,
)
from engineworks.kernels.tactic import KernelImage
from engineworks.testing.kernels import load_image

ISAS = pytest.mark.parametrize("isa", [AVX512, AVX2], ids=lambda i: i.name)


def run(f: Function, isa: Isa, *words: np.ndarray | int) -> None:
    """Call the kernel with arrays and integers as its argument words."""
    values = np.array([w.ctypes.data if isinstance(w, np.ndarray) else w for w in words], np.int64)
    image = KernelImage({f.name: f.text()}, frozenset(f.declarations), ())
    load_image(image, isa).call(f.name, values.ctypes.data, 0, 1, 0)


def aligned(*shape: int) -> np.ndarray:
    count = int(np.prod(shape))
    raw = np.zeros(count + 16, np.float32)
    start = -(raw.ctypes.data // 4) % 16
    return raw[start : start + count].reshape(shape)


@ISAS
@pytest.mark.parametrize("symbolic", [False, True])
@pytest.mark.parametrize(
    ("rows", "vectors", "k", "n", "chains"),
    [(6, 2, 37, 45, 1), (1, 2, 3, 5, 4), (4, 1, 64, 64, 2), (3, 2, 0, 20, 1)],
)
def test_packed_product_with_a_narrow_last_panel(
    isa: Isa, symbolic: bool, rows: int, vectors: int, k: int, n: int, chains: int
) -> None:
    width = vectors * isa.lanes
    panels = -(-n // width)
    f = Function("product")
    a, b, c = (f.pointer(i) for i in range(3))
    depth, columns = (f.word(3), f.word(4)) if symbolic else (k, n)
    with f.loop(0, panels) as panel:
        tile = plain_tile(
            [f.mul(f.mul(r, depth), 4) for r in range(rows)], vectors, depth, isa, chains=chains
        )
        sums = accumulate(f, isa, tile, a, f.at(b, f.mul(f.mul(panel, depth), width * 4)))
        target = f.at(c, f.mul(panel, width * 4))
        offsets = tuple(f.mul(r, columns) for r in range(rows))
        by_columns(
            f,
            width,
            f.sub(columns, f.mul(panel, width)),
            columns,
            lambda left: store_tile(f, isa, sums, Store(target, offsets, columns=left)),
        )
    rng = np.random.default_rng(0)
    left, right = (
        rng.standard_normal((rows, k)).astype(np.float32),
        rng.standard_normal((k, n)).astype(np.float32),
    )
    packed = aligned(panels, k, width)
    for p in range(panels):
        part = right[:, p * width : (p + 1) * width]
        packed[p, :, : part.shape[1]] = part
    out = np.full(rows * n + 32, 7, np.float32)
    run(f, isa, left, packed, out, k, n)
    np.testing.assert_allclose(
        out[: rows * n].reshape(rows, n), left.astype(np.float64) @ right, rtol=1e-5, atol=1e-5
    )
    assert (out[rows * n :] == 7).all()


@ISAS
def test_nested_segments_leave_rows_out(isa: Isa) -> None:
    f = Function("segments")
    a, b, c = (f.pointer(i) for i in range(3))
    whole = Segment((0, 1), ((2, 40, 3), (3, 4, 1)))
    lower = Segment((1,), ((2, 4, 1),), a_offset=80, b_offset=6)
    tile = Tile((0, 400), 1, (whole, lower), isa.lanes * 4)
    store_tile(f, isa, accumulate(f, isa, tile, a, b), Store(c, (0, isa.lanes)))
    rng = np.random.default_rng(0)
    left, right = (
        rng.standard_normal((2, 100)).astype(np.float32),
        rng.standard_normal((8, isa.lanes)).astype(np.float32),
    )
    out = np.zeros((2, isa.lanes), np.float32)
    run(f, isa, left, right, out)
    taken = left[:, [0, 1, 2, 10, 11, 12, 20, 21]].astype(np.float64)
    taken[0, 6:] = 0
    np.testing.assert_allclose(out, taken @ right, rtol=1e-5, atol=1e-5)


@ISAS
def test_unpacked_columns_are_masked_and_sums_continue(isa: Isa) -> None:
    n = isa.lanes + 3
    f = Function("unpacked")
    a, b, c = (f.pointer(i) for i in range(3))
    masks = tuple(column_mask(f, isa.lanes, n, j) for j in range(2))
    tile = Tile((0,), 2, (Segment((0,), ((9, 4, 1),)),), n * 4, b_masks=masks, prefetch=(b, 1))
    first = accumulate(f, isa, tile, a, b)
    store_tile(f, isa, accumulate(f, isa, tile, a, b, first), Store(c, (0,), columns=n))
    left, right = (
        np.arange(9, dtype=np.float32),
        np.random.default_rng(0).standard_normal((9, n)).astype(np.float32),
    )
    out = np.zeros(n, np.float32)
    run(f, isa, left, right, out)
    np.testing.assert_allclose(out, 2 * (left.astype(np.float64) @ right), rtol=1e-5, atol=1e-5)
