"""ONNX's own node cases: run them and say in one line why one fails.

python -m engineworks.testing.onnx_backend interpreter > tests/conformance/expected/interpreter.txt
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np

from engineworks.core import dtypes
from engineworks.errors import Error, UnsupportedOperator
from engineworks.frontends.importer import import_model
from engineworks.frontends.onnx.reader import read_model
from engineworks.ir.graph import Graph
from engineworks.ir.interpret import interpret

Runner = Callable[[Graph, dict[str, np.ndarray]], dict[str, np.ndarray]]
"""Runs a graph on arrays by input name."""


@cache
def node_cases() -> dict[str, Any]:
    """The node cases of the installed onnx package by name (TestCase: model, data_sets, rtol, atol)."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {case.name: case for case in load_model_tests(kind="node")}


def run_node_case(case: Any, run: Runner) -> str:
    """'' when every output of every data set is right, else a line that says what is wrong.

    Cases give axes, shapes and scales as inputs. Where an operator needs such a value at build, it is fixed there.
    """
    try:
        try:
            return _run(case, run, fix=False)
        except UnsupportedOperator as error:
            if "must be known" not in str(error) and "must follow" not in str(error):
                raise
            return _run(case, run, fix=True)
    except Error as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}" + _operators(str(error))
    except Exception as error:  # the boundary of one case: a fault of ours must not hide the others
        return f"fault: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def _run(case: Any, run: Runner, fix: bool) -> str:
    for inputs, expected in case.data_sets:
        if any(isinstance(a, list) for a in inputs):
            raise UnsupportedOperator("an input is a sequence, not a tensor")
        names = [v.name for v in case.model.graph.input]
        given = {n: _array(a) for n, a in zip(names, inputs, strict=False) if a is not None}
        fixed = {
            n: a
            for n, a in given.items()
            if fix and (a.ndim == 0 or (a.ndim == 1 and (n != names[0] or len(names) == 1)))
        }
        graph = import_model(read_model(case.model, None, case.name), fixed=fixed)
        wanted = {v.name for v in graph.inputs}
        results = run(graph, {n: a for n, a in given.items() if n in wanted})
        for value, right in zip(case.model.graph.output, expected, strict=True):
            wrong = _wrong(results[value.name], right, case.rtol, case.atol)
            if wrong:
                return f"output {value.name}: {wrong}"
    return ""


def _operators(message: str) -> str:
    """The lines that name operators, kept because the first line only counts them."""
    lines = message.splitlines()
    return f" {lines[1].strip()}" if len(lines) > 1 and "no implementation" in lines[0] else ""


def _array(given: Any) -> np.ndarray:
    """Cases of narrow types come as TensorProto."""
    import onnx
    from onnx import numpy_helper

    return numpy_helper.to_array(given) if isinstance(given, onnx.TensorProto) else np.asarray(given)


def _wrong(actual: np.ndarray, expected: Any, rtol: float, atol: float) -> str:
    if isinstance(expected, (list, dict)) or expected is None:
        return "a sequence or an optional, which a tensor cannot be"
    right = _array(expected)
    if right.dtype.kind in "OUS":
        return (
            ""
            if actual.shape == right.shape and np.array_equal(actual.astype(str), right.astype(str))
            else "strings differ"
        )
    if actual.shape != right.shape or actual.dtype != right.dtype:
        return f"{actual.dtype}{list(actual.shape)}, expected {right.dtype}{list(right.shape)}"
    kind = dtypes.from_numpy(right.dtype)
    if not kind.is_float:
        return (
            ""
            if np.array_equal(actual, right)
            else f"{int((actual != right).sum())} of {right.size} elements differ"
        )
    step = float(ml_dtypes.finfo(right.dtype).eps)
    if kind.bits < 32:  # the cases' tolerances are for f32; the last places of narrow floats are coarser
        rtol, atol = max(rtol, 4 * step), max(atol, 4 * step)
    sizes = np.abs(right.astype(np.float64))
    # Near zero, the expected values carry the rounding of the largest.
    atol = max(atol, step * float(sizes[np.isfinite(sizes)].max(initial=0.0)))
    with np.errstate(all="ignore"):
        close = np.isclose(
            actual.astype(np.float64), right.astype(np.float64), rtol=rtol, atol=atol, equal_nan=True
        )
    return "" if close.all() else f"{int((~close).sum())} of {right.size} elements differ"


def run_by_interpreter(graph: Graph, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The runner that needs no kernels."""
    return interpret(graph, feeds)


def run_by_engine(graph: Graph, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The runner that builds an engine for this machine and runs it."""
    from engineworks.api import build

    return build(graph, effort=0, timing_cache=False, threads=1)(**feeds)


def run_by_emulated_gpu(graph: Graph, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The runner that builds an engine for cuda:sm_90 and runs it in Triton's interpreter."""
    from engineworks.testing.emulated_gpu import build_and_run

    return build_and_run(graph, feeds)


RUNNERS: dict[str, Runner] = {
    "interpreter": run_by_interpreter,
    "cpu": run_by_engine,
    "cuda": run_by_emulated_gpu,
}
"""Ways to run a case; each has its list of expected failures in tests/conformance/expected/."""


def main(arguments: Sequence[str]) -> None:
    """Print 'name: reason' for each failing case; a count of reasons goes to standard error."""
    failures = {
        n: reason for n, c in node_cases().items() if (reason := run_node_case(c, RUNNERS[arguments[0]]))
    }
    for name, reason in sorted(failures.items()):
        sys.stdout.write(f"{name}: {reason}\n")
    total = len(node_cases())
    sys.stderr.write(f"{total - len(failures)} of {total} pass\n")
    for reason, count in Counter(r[:110] for r in failures.values()).most_common(60):
        sys.stderr.write(f"{count:5} {reason}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
