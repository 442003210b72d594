"""Data from files: folders, archives, scripts, images; and what is said of those that cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engineworks.calibration.batches import InputNeed
from engineworks.calibration.images import ImagePreparation
from engineworks.calibration.sources import data_from
from engineworks.core import dtypes
from engineworks.core.types import TensorType
from engineworks.errors import CalibrationError, MissingExtra

NEEDS = (InputNeed("image", TensorType(dtypes.f32, (1, 3, 4, 6))),)
RNG = np.random.default_rng(0)
SAMPLES = RNG.standard_normal((5, 3, 4, 6)).astype(np.float32)


def test_a_folder_of_arrays_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    for number in (3, 1, 0, 2):
        np.save(tmp_path / f"{number}.npy", SAMPLES[number])
    np.savez(tmp_path / "4.npz", image=SAMPLES[4:])
    (tmp_path / "notes.txt").write_text("not data")
    data = data_from(str(tmp_path), NEEDS, batch=3)
    assert len(data) == 2
    first, second, third = list(data)  # an array without a name does not join one with a name
    np.testing.assert_array_equal(first, SAMPLES[:3])
    np.testing.assert_array_equal(second, SAMPLES[3:4])
    np.testing.assert_array_equal(third["image"], SAMPLES[4:])
    (limited,) = list(data_from(str(tmp_path), NEEDS, limit=2))
    assert len(limited) == 2


def test_samples_of_different_shapes_are_not_joined(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((3, 4, 6), np.float32))
    np.save(tmp_path / "b.npy", np.zeros((3, 4, 8), np.float32))
    assert [item.shape for item in data_from(str(tmp_path), NEEDS)] == [(1, 3, 4, 6), (1, 3, 4, 8)]


def test_an_archive_holds_an_array_for_each_input(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, ids=np.arange(10).reshape(5, 2), mask=np.ones((5, 2), bool))
    data = data_from(str(path), NEEDS, batch=2, limit=3)
    assert len(data) == 2
    assert [item["ids"].tolist() for item in data] == [[[0, 1], [2, 3]], [[4, 5]]]
    np.savez(path, ids=np.arange(10), rate=np.int64(16000))
    (whole,) = list(data_from(str(path), NEEDS))
    assert whole["ids"].shape == (10,)


def test_a_function_of_a_script(tmp_path: Path) -> None:
    path = tmp_path / "data.py"
    path.write_text(
        "import numpy as np\ndef batches():\n    for k in range(9):\n        yield np.full((2, 3), k)\n"
    )
    assert len(list(data_from(f"{path}:batches", NEEDS))) == 9
    assert len(list(data_from(f"{path}:batches", NEEDS, limit=5))) == 3
    with pytest.raises(CalibrationError, match="defines no function 'other'; there are batches"):
        data_from(f"{path}:other", NEEDS)
    with pytest.raises(CalibrationError, match="there is no file"):
        data_from(f"{tmp_path}/none.py:f", NEEDS)


def test_what_is_no_data(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="no such folder or file"):
        data_from(str(tmp_path / "none"), NEEDS)
    with pytest.raises(CalibrationError, match="holds no .npy"):
        data_from(str(tmp_path), NEEDS)
    (tmp_path / "broken.npy").write_bytes(b"nonsense")
    with pytest.raises(CalibrationError, match=r"broken.npy' cannot be read"):
        list(data_from(str(tmp_path), NEEDS))
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(CalibrationError, match="holds arrays .* and images"):
        data_from(str(tmp_path), NEEDS)
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(CalibrationError, match="another ending"):
        data_from(str(tmp_path / "a.txt"), NEEDS)


def need(*shape: int) -> tuple[InputNeed, ...]:
    return (InputNeed("image", TensorType(dtypes.f32, shape)),)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """8 wide, 4 high: red on the left, blue on the right."""
    image = pytest.importorskip("PIL.Image")
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:, :4, 0] = 255
    pixels[:, 4:, 2] = 51
    image.fromarray(pixels).save(tmp_path / "p.png")
    return tmp_path


def test_images_are_scaled_normalised_and_laid_out(picture: Path) -> None:
    prepare = ImagePreparation(mean=(0.5, 0.0, 0.1), std=(0.25, 1.0, 0.5))
    (found,) = list(data_from(str(picture), need(1, 3, 4, 8), images=prepare))
    assert found.shape == (1, 3, 4, 8)
    np.testing.assert_allclose(found[0, :, 0, 0], [2.0, 0.0, -0.2], rtol=1e-6)
    np.testing.assert_allclose(found[0, :, 3, 7], [-2.0, 0.0, 0.2], rtol=1e-6)
    (last,) = list(data_from(str(picture), need(1, 4, 8, 3), images=ImagePreparation(colors="BGR")))
    np.testing.assert_allclose(last[0, 0, 7], [0.2, 0.0, 0.0], rtol=1e-6)
    (gray,) = list(data_from(str(picture), need(1, 1, 2, 2)))
    assert gray.shape == (1, 1, 2, 2)


def test_cropping_takes_the_middle(picture: Path) -> None:
    (stretched,) = list(data_from(str(picture), need(1, 3, 4, 4)))
    (cropped,) = list(data_from(str(picture), need(1, 3, 4, 4), images=ImagePreparation(fit="crop")))
    assert stretched[0, 0, 1, 0] == cropped[0, 0, 1, 0] == 1.0
    assert stretched.shape == cropped.shape
    assert not np.array_equal(stretched, cropped)


@pytest.mark.parametrize(
    ("needs", "options", "sentence"),
    [
        (need(1, 3, 4), {}, "models of one input with four axes"),
        (need(1, 3, 4, 6) * 2, {}, "models of one input with four axes"),
        (need(1, 8, 8, 8), {}, "does not tell where its channels are: give --layout"),
        (need(1, 3, 8, 8), {"colors": "L"}, "images of L have 1 channels"),
        (need(1, 3, 8, 8), {"mean": (1.0, 2.0)}, "mean has 2 values for 3 channels"),
    ],
)
def test_inputs_that_take_no_images(picture: Path, needs: tuple, options: dict, sentence: str) -> None:
    with pytest.raises(CalibrationError, match=sentence):
        data_from(str(picture), needs, images=ImagePreparation(**options))


def test_damaged_images_are_named(picture: Path) -> None:
    (picture / "q.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(CalibrationError, match=r"q.png' cannot be read as an image"):
        list(data_from(str(picture), need(1, 3, 4, 4)))


def test_images_need_pillow(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engineworks.calibration.images.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="pip install pillow"):
        data_from(str(picture), need(1, 3, 4, 4))
