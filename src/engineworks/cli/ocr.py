"""What surrounds the three networks of the demo: boxes from a text map, crops, and characters from scores.

The networks are PP-OCRv4's. Detection gives for each pixel the probability that it lies in the shrunk core of a text
line (Liao et al., "Real-time Scene Text Detection with Differentiable Binarization", AAAI 2020); recognition gives for
each column the probability of each character, with a blank (Graves et al., "Connectionist Temporal Classification",
ICML 2006).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CORE_THRESHOLD, SCORE_THRESHOLD, UNCLIP = 0.3, 0.5, 1.6
"""A pixel is core above the first; a box counts above the second; area / perimeter times the third is added around."""
MIN_SIDE = 3
LINE_HEIGHT, MIN_LINE_WIDTH, MAX_LINE_WIDTH = 48, 48, 1280
DIRECTION_SIZE = (48, 192)
STRIDE = 32


@dataclass(frozen=True, slots=True)
class Box:
    """An upright rectangle in pixels, the ends exclusive, and the mean probability inside of its core."""

    left: int
    top: int
    right: int
    bottom: int
    score: float


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text where it was found, and how sure the recognition is (0 to 1)."""

    box: Box
    text: str
    score: float


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """image [H, W, 3] uint8 at another size, bilinear with pixel centres aligned."""
    rows = np.clip((np.arange(height) + 0.5) * image.shape[0] / height - 0.5, 0, image.shape[0] - 1)
    columns = np.clip((np.arange(width) + 0.5) * image.shape[1] / width - 0.5, 0, image.shape[1] - 1)
    top, left = rows.astype(int), columns.astype(int)
    below, beside = np.minimum(top + 1, image.shape[0] - 1), np.minimum(left + 1, image.shape[1] - 1)
    down, along = (rows - top)[:, None, None], (columns - left)[None, :, None]
    upper = image[top][:, left] * (1 - along) + image[top][:, beside] * along
    lower = image[below][:, left] * (1 - along) + image[below][:, beside] * along
    return np.rint(upper * (1 - down) + lower * down).astype(np.uint8)


def network_input(image: np.ndarray, height: int, width: int, pad_to: int | None = None) -> np.ndarray:
    """[1, 3, height, pad_to or width] float32 in [-1, 1], blue first; zeros are padded on the right."""
    values = resize(image, height, width)[:, :, ::-1].astype(np.float32) / 127.5 - 1
    out = np.zeros((1, 3, height, pad_to or width), np.float32)
    out[0, :, :, :width] = values.transpose(2, 0, 1)
    return out


def detection_size(image: np.ndarray) -> tuple[int, int]:
    """The size at which detection sees an image: sides that are multiples of the network's stride."""
    height, width = image.shape[:2]
    return max(STRIDE, round(height / STRIDE) * STRIDE), max(STRIDE, round(width / STRIDE) * STRIDE)


def boxes(probabilities: np.ndarray, height: int, width: int) -> list[Box]:
    """Rectangles around the text lines of an image of this size, top to bottom, then left to right.

    Args:
        probabilities: [h, w] float32, of the image resized to h × w.
    """
    from scipy import ndimage

    labels, _ = ndimage.label(ndimage.binary_dilation(probabilities > CORE_THRESHOLD, np.ones((2, 2))))
    found = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        tall, wide = rows.stop - rows.start, columns.stop - columns.start
        score = float(probabilities[rows, columns][labels[rows, columns] == number].mean())
        if min(tall, wide) < MIN_SIDE or score < SCORE_THRESHOLD:
            continue
        margin = tall * wide * UNCLIP / (2 * (tall + wide))
        down, along = height / probabilities.shape[0], width / probabilities.shape[1]
        left, right = (columns.start - margin) * along, (columns.stop + margin) * along
        top, bottom = (rows.start - margin) * down, (rows.stop + margin) * down
        found.append(
            Box(
                max(0, int(left)),
                max(0, int(top)),
                min(width, int(right) + 1),
                min(height, int(bottom) + 1),
                score,
            )
        )
    return _reading_order(found)


def _reading_order(found: Sequence[Box]) -> list[Box]:
    """Boxes whose middles lie within another's height stand in one row."""
    rows: list[list[Box]] = []
    for box in sorted(found, key=lambda b: b.top + b.bottom):
        middle = (box.top + box.bottom) / 2
        if rows and rows[-1][-1].top <= middle <= rows[-1][-1].bottom:
            rows[-1].append(box)
        else:
            rows.append([box])
    return [box for row in rows for box in sorted(row, key=lambda b: b.left)]


def line_input(image: np.ndarray, box: Box) -> np.ndarray:
    """The recognition input of one line, its width in proportion."""
    crop = image[box.top : box.bottom, box.left : box.right]
    width = round(crop.shape[1] * LINE_HEIGHT / crop.shape[0])
    width = min(max(width, MIN_LINE_WIDTH), MAX_LINE_WIDTH)
    return network_input(crop, LINE_HEIGHT, width)


def direction_input(image: np.ndarray, box: Box) -> np.ndarray:
    """The input of the network that tells upright lines from those upside down."""
    crop = image[box.top : box.bottom, box.left : box.right]
    height, full = DIRECTION_SIZE
    width = min(full, max(1, round(crop.shape[1] * height / crop.shape[0])))
    return network_input(crop, height, width, full)


def decode(scores: np.ndarray, characters: Sequence[str]) -> tuple[str, float]:
    """The text and its mean probability: the best class of each column, repeats joined, blanks (class 0) dropped.

    Args:
        scores: [columns, classes] float32 probabilities.
        characters: of classes 1, 2, …; the class after them is the space.
    """
    best, sure = scores.argmax(axis=1), scores.max(axis=1)
    is_new = np.concatenate([[True], best[1:] != best[:-1]]) & (best != 0)
    alphabet = [*characters, " "]
    text = "".join(alphabet[c - 1] for c in best[is_new])
    return text, float(sure[is_new].mean()) if is_new.any() else 0.0
