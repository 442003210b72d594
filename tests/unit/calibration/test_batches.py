"""Calibration data in its many forms: what is taken, and the sentences for what is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engineworks.calibration.batches import FittingBatches, InputNeed, length_of
from engineworks.core import dtypes
from engineworks.core.dims import symbol
from engineworks.core.types import TensorType
from engineworks.errors import CalibrationError

N = symbol("N", 2, 4)
IMAGE = InputNeed("image", TensorType(dtypes.f32, (2, 3)))
MANY = InputNeed("image", TensorType(dtypes.f32, (N, 3)))
TOKENS = InputNeed("tokens", TensorType(dtypes.i64, (2, 5)))
RATE = InputNeed("rate", TensorType(dtypes.i64, ()))


def taken(data: Any, *needs: InputNeed) -> list[dict[str, np.ndarray]]:
    return list(FittingBatches(data, needs or (IMAGE,)))


X = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize(
    "data",
    [[X], [{"image": X}], [(X,)], [[X]], iter([X]), lambda: [X], X, {"image": X}, [X.astype(np.float64)]],
)
def test_forms_of_one_batch(data: Any) -> None:
    (batch,) = taken(data)
    np.testing.assert_array_equal(batch["image"], X)
    assert batch["image"].dtype == np.float32


def test_torch_tensors_and_loaders() -> None:
    torch = pytest.importorskip("torch")
    (batch,) = taken([torch.tensor(X, requires_grad=True)])
    np.testing.assert_array_equal(batch["image"], X)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.tensor(X)), batch_size=1)
    assert length_of(loader) == 2
    (batch,) = taken(loader)
    np.testing.assert_array_equal(batch["image"], X)


def test_tuples_follow_the_order_of_the_inputs_and_integers_may_be_narrower() -> None:
    (batch,) = taken([(X, np.ones((2, 5), np.int32))], IMAGE, TOKENS)
    assert {n: a.dtype for n, a in batch.items()} == {"image": np.float32, "tokens": np.int64}


def test_samples_are_cut_and_wait_for_their_batch() -> None:
    samples = np.arange(33, dtype=np.float32).reshape(11, 3)
    fitting = FittingBatches([samples[:3], samples[3:4], samples[4]], (IMAGE,))
    found = list(fitting)
    np.testing.assert_array_equal(np.concatenate([b["image"] for b in found]), samples[:4])
    assert fitting.left_out == 1


def test_a_range_of_sizes_is_filled_up_to_its_largest() -> None:
    samples = np.arange(33, dtype=np.float32).reshape(11, 3)
    sizes = [len(b["image"]) for b in taken([samples], MANY)]
    assert sizes == [4, 4, 3]
    assert [len(b["image"]) for b in taken([samples[:5], samples[5:]], MANY)] == [4, 4, 3]


def test_inputs_without_a_shared_first_axis_are_taken_as_they_are() -> None:
    (batch,) = taken([{"image": X, "rate": 16000}], IMAGE, RATE)
    assert batch["rate"].shape == ()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ([{"imgae": X}], "batch 1: no input is called 'imgae'; did you mean 'image'?"),
        ([{}], "batch 1: input 'image' is missing"),
        ([X, (X, X)], "batch 2 holds 2 arrays, and the model has 1 inputs.*labels"),
        ([X.astype(np.uint8)], "the model takes f32, got uint8.*normalised"),
        ([np.zeros((2, 3, 1, 1), np.float32)], r"takes f32\[2, 3\], got an array of shape \[2, 3, 1, 1\]"),
        (
            [np.full((2, 3), np.nan, np.float32)],
            "batch 1, input 'image': there are values that are NaN or infinite",
        ),
        ([np.array([[object()] * 3] * 2)], "got object"),
        (7, "must be an iterable of batches, not int"),
        ("images/", "must be an iterable of batches, not str"),
    ],
)
def test_what_does_not_fit_is_said_with_its_batch(data: Any, sentence: str) -> None:
    with pytest.raises(CalibrationError, match="(?s)" + sentence):
        taken(data)


def test_integers_that_do_not_fit_are_refused() -> None:
    small = InputNeed("ids", TensorType(dtypes.i8, (2,)))
    with pytest.raises(CalibrationError, match="values of int64 do not fit into i8"):
        taken([np.array([1, 300])], small)
    with pytest.raises(CalibrationError, match="takes i8, got float32"):
        taken([np.array([1, 2], np.float32)], small)


def test_lengths_known_ahead() -> None:
    assert [length_of([X, X]), length_of(X), length_of({"image": X}), length_of(iter([X]))] == [2, 1, 1, None]
