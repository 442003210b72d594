"""Images as inputs of a model: size, scale, order of axes. Reading them needs pillow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np

from engineworks.calibration.batches import InputNeed
from engineworks.core.dims import Dim
from engineworks.errors import CalibrationError, MissingExtra

IMAGE_ENDINGS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True, slots=True)
class ImagePreparation:
    """From an image file to an array: (pixel / 255 - mean) / std, a channel at a time.

    Attributes:
        size: (height, width); None takes the model's own.
        fit: 'stretch' resizes both sides; 'crop' resizes the shorter side to size / 0.875 and takes the middle.
        mean, std: for each channel, or one for all.
        layout: order of the input's axes; None where the shape tells (an axis of 1 or 3 channels).
        colors: order of the channels; 'L' is one of brightness.
    """

    size: tuple[int, int] | None = None
    fit: Literal["stretch", "crop"] = "stretch"
    mean: Sequence[float] = (0.0,)
    std: Sequence[float] = (1.0,)
    layout: Literal["NCHW", "NHWC"] | None = None
    colors: Literal["RGB", "BGR", "L"] | None = None

    def reader(self, needs: Sequence[InputNeed]) -> Callable[[Path], np.ndarray]:
        """A function from a file to one sample, [1, …] in the input's dtype.

        Raises:
            MissingExtra: pillow is not installed.
            CalibrationError: the model's inputs do not take an image; a number of means that is not the channels'.
        """
        if find_spec("PIL") is None:
            raise MissingExtra(
                "reading images needs pillow: pip install pillow. Or save the prepared arrays as .npy files."
            )
        if len(needs) != 1 or needs[0].type.rank != 4:
            takes = ", ".join(map(str, needs))
            raise CalibrationError(
                f"a folder of images is for models of one input with four axes; this takes {takes}"
            )
        need = needs[0]
        layout = self.layout or _layout(need)
        height, width, channels = (need.type.shape[layout.index(axis)] for axis in "HWC")
        size = self.size or _size(need, height, width)
        colors = self.colors or ("L" if channels == 1 else "RGB")
        count = len(colors)
        if isinstance(channels, int) and channels != count:
            raise CalibrationError(f"images of {colors} have {count} channels, input {need} takes {channels}")
        mean, std = _per_channel(self.mean, count, "mean"), _per_channel(self.std, count, "std")

        def read(path: Path) -> np.ndarray:
            pixels = _pixels(path, size, self.fit, "L" if colors == "L" else "RGB")
            if colors == "BGR":
                pixels = pixels[..., ::-1]
            scaled = (pixels / np.float32(255) - mean) / std
            ordered = scaled.transpose(2, 0, 1) if layout == "NCHW" else scaled
            return np.ascontiguousarray(ordered[None]).astype(need.type.dtype.numpy)

        return read


def _layout(need: InputNeed) -> Literal["NCHW", "NHWC"]:
    """Where the channels are. Raises CalibrationError: the shape does not tell."""
    first, last = need.type.shape[1] in (1, 3), need.type.shape[3] in (1, 3)
    if first == last:
        raise CalibrationError(
            f"input {need} does not tell where its channels are: give --layout NCHW or NHWC"
        )
    return "NCHW" if first else "NHWC"


def _size(need: InputNeed, height: Dim, width: Dim) -> tuple[int, int]:
    if not isinstance(height, int) or not isinstance(width, int):
        raise CalibrationError(f"input {need} takes images of several sizes: give --size HEIGHTxWIDTH")
    return height, width


def _per_channel(values: Sequence[float], channels: int, what: str) -> np.ndarray:
    if len(values) not in (1, channels):
        raise CalibrationError(
            f"{what} has {len(values)} values for {channels} channels: {', '.join(map(str, values))}"
        )
    return np.asarray(values, np.float32)


def _pixels(path: Path, size: tuple[int, int], fit: str, mode: str) -> np.ndarray:
    """The image at this size: uint8 [height, width, channels]. Raises CalibrationError: it cannot be read."""
    from PIL import Image

    height, width = size
    try:
        with Image.open(path) as opened:
            image = opened.convert(mode)
    except OSError as error:
        raise CalibrationError(f"'{path}' cannot be read as an image: {error}") from error
    if fit == "crop":
        scale = max(height / image.height, width / image.width) / 0.875
        wide, high = round(image.width * scale), round(image.height * scale)
        left, top = (wide - width) // 2, (high - height) // 2
        image = image.resize((wide, high), Image.Resampling.BILINEAR).crop(
            (left, top, left + width, top + height)
        )
    else:
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(height, width, -1)
