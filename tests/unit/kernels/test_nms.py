"""non_max_suppression against its numpy reference."""

from __future__ import annotations

import numpy as np
import pytest

from engineworks.codegen.llvm.function import AVX2, AVX512, Isa
from engineworks.core.dims import Dim, symbol
from engineworks.kernels.cpu.nms import CpuNonMaxSuppression
from engineworks.ops.non_max_suppression import NonMaxSuppression
from engineworks.testing.native import reference, run_op


def check(
    boxes: np.ndarray,
    scores: np.ndarray,
    most: int,
    overlap: float,
    least: float | None = None,
    *,
    centre: bool = False,
    limit: Dim | None = None,
    isa: Isa = AVX512,
    n: Dim | None = None,
) -> int:
    """How many boxes are kept, after comparing them all."""
    count = boxes.shape[1]
    arrays = [boxes, scores, np.array(most, np.int64), np.array(overlap, np.float32)]
    arrays += [] if least is None else [np.array(least, np.float32)]
    size = count if n is None else n
    op = NonMaxSuppression(count=symbol("kept", 0), limit=size if limit is None else limit, centre=centre)
    shapes = [(boxes.shape[0], size, 4), (*scores.shape[:2], size), (), (), ()][: len(arrays)]
    (kept,) = run_op(CpuNonMaxSuppression(), op, arrays, shapes, {"N": count}, split=2, isa=isa)
    np.testing.assert_array_equal(kept, reference(op, arrays, {"N": count})[0])
    return len(kept)


def random(batch: int, classes: int, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    boxes = rng.uniform(0, 10, (batch, n, 2, 2)).astype(np.float32).reshape(batch, n, 4)
    return boxes, rng.uniform(0, 1, (batch, classes, n)).astype(np.float32)


@pytest.mark.parametrize("isa", [AVX512, AVX2])
@pytest.mark.parametrize("n", [1, 20, 33, 200])
def test_boxes_of_all_images_and_classes(n: int, isa: Isa) -> None:
    assert check(*random(2, 3, n), most=n, overlap=0.3, least=0.2, isa=isa) > 0


def test_only_the_best_few_are_kept() -> None:
    assert check(*random(1, 2, 100), most=4, overlap=0.5, limit=4) == 8


def test_without_a_lowest_score_and_with_none_allowed() -> None:
    boxes, scores = random(1, 1, 60)
    check(boxes, scores - 0.5, most=60, overlap=0.9)
    assert check(boxes, scores, most=0, overlap=0.5, limit=0) == 0


def test_centre_boxes() -> None:
    boxes, scores = random(2, 1, 70, seed=1)
    check(boxes, scores, most=70, overlap=0.2, centre=True)


def test_equal_scores_keep_the_first_box() -> None:
    boxes, _ = random(1, 1, 50, seed=2)
    check(boxes, np.full((1, 1, 50), 0.5, np.float32), most=50, overlap=0.1, least=0.0)


def test_empty_boxes_never_overlap() -> None:
    check(
        np.zeros((1, 40, 4), np.float32),
        np.random.default_rng(3).random((1, 1, 40)).astype(np.float32),
        most=40,
        overlap=0.0,
    )


def test_a_size_known_at_run_time() -> None:
    for size in (symbol("N", 1), symbol("N", 1, 100)):
        check(*random(1, 2, 90), most=30, overlap=0.4, least=0.1, n=size)


def test_no_boxes_give_none() -> None:
    assert (
        check(np.zeros((1, 0, 4), np.float32), np.zeros((1, 3, 0), np.float32), most=5, overlap=0.5, limit=0)
        == 0
    )
