"""engineworks compare: how far an engine is from its model, value by value."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from cyclopts import Parameter

from engineworks.cli.arrays import given_arrays
from engineworks.cli.console import emit_json, say, table
from engineworks.cli.engines import open_engine

if TYPE_CHECKING:
    from engineworks.runtime.capture import Captured
    from engineworks.runtime.engine import Engine


@dataclass(frozen=True, slots=True)
class Distance:
    """How far one value is from the reference.

    Attributes:
        largest: greatest absolute difference.
        relative: `largest` over the reference's greatest magnitude.
        cosine: of the angle between both as vectors; 1 when they point the same way.
    """

    name: str
    largest: float
    relative: float
    cosine: float
    record: int = -1


def compare(
    model: Path,
    engine: Path | None = None,
    /,
    *,
    layers: Annotated[bool, Parameter(negative="")] = False,
    tolerance: float = 1e-3,
    reference: Literal["auto", "onnxruntime", "interpreter"] = "auto",
    input: Annotated[list[str] | None, Parameter(alias="-i", negative="", consume_multiple=True)] = None,
    shapes: Annotated[list[str] | None, Parameter(alias="-s", negative="", consume_multiple=True)] = None,
    seed: int = 0,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Run model and engine on the same inputs and measure the distance. Exit status 1 when it is too large.

    Args:
        model: the ONNX file.
        engine: its engine; built on the spot when left out.
        layers: compare every value that the engine keeps, in order, and say where the error starts.
        tolerance: the greatest difference allowed, relative to the largest value of each output.
        reference: what computes the model's own answer; 'auto' takes ONNX Runtime where it is installed.
        input: NAME=FILE; inputs not given are random.
        shapes: NAME=1x3x8 for random inputs with dynamic axes.
        seed: of the random inputs.
        json: print the result as JSON.
    """
    opened = open_engine(engine or model, shapes or [])
    arrays = given_arrays(opened.manifest, input or [], shapes or [], seed)
    steps_of = _steps(opened)
    captured = {
        c.name: (c.record, _in_numbers(c.array, steps_of.get(c.name))) for c in _captured(opened, arrays) if c.name
    } if layers else {}  # fmt: skip
    outputs = opened.run(**arrays)
    expected = reference_values(model, arrays, [*captured, *outputs], reference)
    ends = [distance(n, a, expected[n]) for n, a in outputs.items()]
    steps = [distance(n, a, expected[n], record) for n, (record, a) in captured.items() if n in expected]
    start = next((d for d in steps if not d.relative <= tolerance), None)
    is_close = all(d.relative <= tolerance for d in ends)
    if json:
        result = {"outputs": [asdict(d) for d in ends], "layers": [asdict(d) for d in steps]}
        emit_json(result | {"is_close": is_close, "starts_at": start.name if start else None})
    else:
        _print(ends, steps, start, tolerance, is_close)
    return 0 if is_close else 1


def _steps(engine: Engine) -> dict[str, float]:
    """What one level of a calibrated tensor's integers stands for, by name."""
    import msgspec

    data = engine.report
    return msgspec.json.decode(data).get("steps", {}) if data else {}


def _in_numbers(array: np.ndarray, step: float | None) -> np.ndarray:
    """A tensor as the model has it: integers of a calibrated one as what they stand for."""
    return array * np.float32(step) if step is not None and array.dtype.kind in "iu" else array


def _captured(engine: Engine, arrays: Mapping[str, np.ndarray]) -> Iterator[Captured]:
    from engineworks.runtime.capture import capture

    return capture(engine.context(), **arrays)


def reference_values(
    model: Path, arrays: Mapping[str, np.ndarray], names: Collection[str], how: str
) -> dict[str, np.ndarray]:
    """The model's own values by name: those of `names` that it computes."""
    if how == "onnxruntime" or (how == "auto" and find_spec("onnxruntime")):
        return _by_onnxruntime(model, arrays, names)
    return _by_interpreter(model, arrays, names)


def _by_onnxruntime(
    model: Path, arrays: Mapping[str, np.ndarray], names: Collection[str]
) -> dict[str, np.ndarray]:
    import onnxruntime

    from engineworks.frontends.onnx.outputs import with_outputs

    data, present = with_outputs(model, names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    values = session.run(None, dict(arrays))
    return {name: np.asarray(value) for name, value in zip(present, values, strict=True)}


def _by_interpreter(
    model: Path, arrays: Mapping[str, np.ndarray], names: Collection[str]
) -> dict[str, np.ndarray]:
    from engineworks.frontends.importer import import_model
    from engineworks.frontends.onnx.reader import read
    from engineworks.ir.graph import Node
    from engineworks.ir.interpret import interpret

    wanted = set(names)
    found: dict[str, np.ndarray] = {}

    def watch(node: Node, results: object) -> None:
        for value, array in zip(node.outputs, results, strict=True):  # type: ignore[call-overload]
            if value.name in wanted:
                found[value.name] = array

    graph = import_model(read(model), input_shapes={n: a.shape for n, a in arrays.items()})
    return found | interpret(graph, arrays, watch=watch)


def distance(name: str, actual: np.ndarray, expected: np.ndarray, record: int = -1) -> Distance:
    """Distances in float64; infinite when shapes differ or only one of both is finite somewhere."""
    if actual.shape != np.shape(expected) or actual.dtype.kind in "OUS":
        same = actual.shape == np.shape(expected) and bool((actual == expected).all())
        return Distance(
            name, 0.0 if same else float("inf"), 0.0 if same else float("inf"), float(same), record
        )
    a, e = np.asarray(actual, np.float64).ravel(), np.asarray(expected, np.float64).ravel()
    if not a.size:
        return Distance(name, 0.0, 0.0, 1.0, record)
    with np.errstate(all="ignore"):
        equal = (a == e) | (np.isnan(a) & np.isnan(e))
        error = np.where(equal, 0.0, np.abs(a - e))
        largest = float(np.where(np.isnan(error), np.inf, error).max())
        finite = np.abs(e[np.isfinite(e)])
        scale = float(finite.max()) if finite.size else 0.0
        relative = 0.0 if largest == 0 else largest / scale if scale else float("inf")
        norms = float(np.linalg.norm(a) * np.linalg.norm(e))
        cosine = float(a @ e / norms) if norms and np.isfinite(norms) else float(equal.all())
    return Distance(name, largest, relative, cosine, record)


def _print(
    ends: list[Distance], steps: list[Distance], start: Distance | None, tolerance: float, is_close: bool
) -> None:
    columns = ["output", "largest difference", "relative", "cosine"]
    table(
        columns,
        [(d.name, f"{d.largest:.3g}", f"{d.relative:.3g}", f"{d.cosine:.9f}") for d in ends],
        right=(1, 2, 3),
    )
    if steps:
        rows = [
            (
                d.record,
                d.name,
                f"{d.largest:.3g}",
                f"{d.relative:.3g}",
                "<- starts here" if d is start else "",
            )
            for d in steps
        ]
        table(["record", "value", "largest difference", "relative", ""], rows, "layers", right=(0, 2, 3))
    if start is not None:
        say(f"the error starts at '{start.name}', which differs by {start.relative:.3g} of its largest value")
    say(
        f"{'close enough' if is_close else 'TOO FAR'}: the limit is {tolerance:g} of each output's largest value"
    )
