"""non_max_suppression on CUDA against its numpy reference."""

from __future__ import annotations

import numpy as np
import pytest

from engineworks.core.dims import Dim, symbol
from engineworks.kernels.cuda.nms import CudaNonMaxSuppression, Rounds
from engineworks.kernels.tactic import Tactic
from engineworks.ops.non_max_suppression import NonMaxSuppression
from engineworks.testing.native import reference
from tests.unit.kernels.cuda.native_case import GPU, compiles, run, workload


def check(
    boxes: np.ndarray, scores: np.ndarray, most: int, overlap: float, least: float | None = None, *,
    centre: bool = False, limit: Dim | None = None, n: Dim | None = None, block: int = 64,
) -> int:  # fmt: skip
    """How many boxes are kept, after comparing them all."""
    count = boxes.shape[1]
    arrays = [boxes, scores, np.array(most, np.int64), np.array(overlap, np.float32)]
    arrays += [] if least is None else [np.array(least, np.float32)]
    size = count if n is None else n
    op = NonMaxSuppression(count=symbol("kept", 0), limit=size if limit is None else limit, centre=centre)
    shapes = [(boxes.shape[0], size, 4), (*scores.shape[:2], size), (), (), ()][: len(arrays)]
    work = workload(op, arrays, shapes)
    image = CudaNonMaxSuppression().build(work, Tactic("", Rounds(block, 4)), GPU)
    (kept,) = run(image, work, arrays, {"N": count})
    np.testing.assert_array_equal(kept, reference(op, arrays, {"N": count})[0])
    return len(kept)


def random(batch: int, classes: int, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    boxes = rng.uniform(0, 10, (batch, n, 2, 2)).astype(np.float32).reshape(batch, n, 4)
    return boxes, rng.uniform(0, 1, (batch, classes, n)).astype(np.float32)


@pytest.mark.parametrize("overlap", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("least", [None, 0.5, 2.0])
@pytest.mark.parametrize("block", [64, 256])
def test_the_best_boxes_that_do_not_overlap(overlap: float, least: float | None, block: int) -> None:
    kept = check(*random(2, 3, 130), 9, overlap, least, block=block)
    assert (kept == 0) == (least == 2.0)


def test_centres_and_sizes() -> None:
    boxes, scores = random(1, 2, 60)
    check(boxes, scores, 60, 0.2, centre=True)


def test_ties_go_to_the_lower_box_and_nan_comes_first() -> None:
    boxes, scores = random(1, 1, 40)
    scores = np.round(scores * 3).astype(np.float32)
    scores[0, 0, 7] = np.nan
    check(boxes, scores, 40, 0.1)
    check(boxes, scores, 40, 0.1, 0.5)


@pytest.mark.parametrize("most", [0, 3, 100])
def test_no_more_than_asked_for(most: int) -> None:
    check(*random(1, 2, 30), most, 0.5, limit=min(most, 30))


def test_boxes_without_area_and_sizes_known_at_run_time() -> None:
    boxes, scores = random(1, 2, 50)
    boxes[:, ::3, 2:] = boxes[:, ::3, :2]
    check(boxes, scores, 100, 0.5, n=symbol("N", 1))


def test_kernels_compile() -> None:
    boxes, scores = random(1, 80, 8400)
    arrays = [boxes, scores, np.array(100), np.float32(0.5), np.float32(0.1)]
    compiles(CudaNonMaxSuppression(), workload(NonMaxSuppression(count=symbol("kept", 0), limit=100), arrays))
