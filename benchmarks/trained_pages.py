"""PP-OCRv4 on rendered text and on the page of scikit-image: how much of the text is read.

Score: one minus the share of characters that are read wrongly (edit distance to what was printed, or to what fp32 reads
where the print is not known), over all pages.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from benchmarks import trained, trained_held_out
from benchmarks.trained import Batch, Network, Run, Task
from engineworks.cli import ocr
from engineworks.cli.demo import FILES, read_lines

HEIGHT, WIDTH = 224, 640
LINE_WIDTHS = (ocr.MIN_LINE_WIDTH, 320, ocr.MAX_LINE_WIDTH)
PRINTED = (
    ("Engineworks reads this line", "compiled for your CPU: 3 networks", "Hello, 2026!"),
    ("The quick brown fox jumps", "over the lazy dog 0123456789", "(and back again, twice)"),
    ("Invoice No. 48213 / 17", "Total: 1,299.50 EUR", "Due within 30 days."),
    ("Platform 9: departs 18:45", "Coach 12, seat 64, window", "Have a pleasant journey"),
)
"""Pages that are scored, line by line."""
OTHERS = (
    ("Fresh bread every morning", "Open from 7 to 19, closed Sunday", "Ring the bell"),
    ("Chapter 5. Of winds and tides", "The ship lay at anchor for 21 days", "and nobody complained."),
    ("WARNING: HIGH VOLTAGE", "Do not open this cabinet", "Call 555-0142 in emergencies"),
    ("Serves 4: 250 g flour, 3 eggs", "Bake at 180 degrees for 35 min", "Let it cool"),
    ("Width 12.75 mm, height 8.40 mm", "Tolerance +/- 0.05", "Material: steel, zinc plated"),
    ("Dear Ms. Okafor, thank you for", "your letter of 3 March. We have", "read it with great interest."),
)
"""Pages to calibrate with."""
INKS = ((0, 255), (40, 220), (240, 30))
"""Grey of their ink and paper."""


def task() -> Task:
    """Raises PackageMissing."""
    models = trained.folder("rapidocr_onnxruntime") / "models"
    trained.folder("skimage")
    low, typical, high = ((1, 3, ocr.LINE_HEIGHT, width) for width in LINE_WIDTHS)
    shapes = {
        "detection": {"fixed_shapes": {"x": (1, 3, HEIGHT, WIDTH)}},
        "direction": {"fixed_shapes": {"x": (1, 3, *ocr.DIRECTION_SIZE)}},
        "recognition": {"profile": {"x": (low, typical, high)}},
    }
    networks = {
        name: Network(models / file, functools.partial(_seen_by, name), shapes[name])
        for name, file in FILES.items()
    }
    return Task("pages", networks, score, functools.partial(score, held_out=True))


def score(runs: Mapping[str, Run], *, held_out: bool = False) -> float:
    """Share of the characters that are read right."""
    wrong = total = 0
    for image, wanted in _held_out() if held_out else _scored():
        wrong += distance(read(runs, image), wanted)
        total += len(wanted)
    return 1 - wrong / total


def read(runs: Mapping[str, Run], image: np.ndarray) -> str:
    """The text of an image [224, 640, 3] u8, its lines joined."""
    networks = {name: functools.partial(_first, run) for name, run in runs.items()}
    return _joined([line.text for line in read_lines(image, networks, _characters())])


def _first(run: Run, array: np.ndarray) -> np.ndarray:
    return np.array(next(iter(run(x=array).values())))


def distance(a: str, b: str) -> int:
    """Levenshtein's: the least number of characters to insert, delete or replace."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (left != right))
    return row[-1]


@functools.cache
def _scored() -> tuple[tuple[np.ndarray, str], ...]:
    """Images and their text without spaces, which detection may lose between boxes."""
    printed = [(rendered(lines), _joined(lines)) for lines in PRINTED]
    photograph = page()
    return (*printed, (photograph, read(_in_fp32(), photograph)))


@functools.cache
def _held_out() -> tuple[tuple[np.ndarray, str], ...]:
    return tuple(
        (rendered(lines, ink, paper, size), _joined(lines))
        for size, ink, paper, lines in trained_held_out.PAGES
    )


def _joined(lines: Sequence[str]) -> str:
    return "".join(lines).replace(" ", "")


def rendered(lines: Sequence[str], ink: int = 0, paper: int = 255, size: int = 34) -> np.ndarray:
    """[224, 640, 3] u8, in letters `size` pixels high and as far apart again."""
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.new("RGB", (WIDTH, HEIGHT), (paper,) * 3)
    draw = ImageDraw.Draw(picture)
    for number, text in enumerate(lines):
        draw.text((24, 16 + 2 * size * number), text, fill=(ink,) * 3, font=ImageFont.load_default(size))
    return np.asarray(picture)


def page() -> np.ndarray:
    """[224, 640, 3] u8: scikit-image's photograph of a printed page, its upper left part enlarged."""
    from PIL import Image

    with Image.open(trained.folder("skimage") / "data" / "page.png") as opened:
        part = opened.convert("RGB").crop((0, 0, 320, 112))
    return np.asarray(part.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))


def _seen_by(network: str) -> Iterator[Batch]:
    """The inputs that one network is given while pages to calibrate with are read in fp32."""
    seen: list[np.ndarray] = []

    def watched(x: np.ndarray) -> Mapping[str, np.ndarray]:
        seen.append(x)
        return _in_fp32()[network](x=x)

    for number, lines in enumerate(OTHERS):
        read({**_in_fp32(), network: watched}, rendered(lines, *INKS[number % len(INKS)]))
        yield from ({"x": x} for x in seen)
        seen.clear()


@functools.cache
def _in_fp32() -> Mapping[str, Run]:
    models = trained.folder("rapidocr_onnxruntime") / "models"
    return {name: trained.onnxruntime_run(models / file) for name, file in FILES.items()}


@functools.cache
def _characters() -> list[str]:
    from engineworks.frontends.onnx.reader import read_metadata

    path = trained.folder("rapidocr_onnxruntime") / "models" / FILES["recognition"]
    return read_metadata(path)["character"].splitlines()
