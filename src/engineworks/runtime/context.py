"""One execution state of an engine: activations, bound arrays, the current shapes."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from engineworks.engine.schema import Manifest, Profile
from engineworks.errors import DeviceError, RunError
from engineworks.runtime.bind import Binder, check_output_dims
from engineworks.runtime.program import Program, RecordTime
from engineworks.runtime.shapes import Dims, ShapeSolver, Solution, dims_of

_MAX_SOLUTIONS = 256
"""Sets of shapes remembered; the next one forgets all."""


class Context:
    """Runs an engine, one call at a time; make one for each thread with `Engine.context`.

    Memory: the engine's arena, and scratch for each of `threads` threads.
    """

    def __init__(self, manifest: Manifest, profile: Profile | None, program: Program) -> None:
        # No reference to the engine: it keeps contexts, and a cycle would hold their memory until a
        # collection.
        self.manifest = manifest
        self.profile_name = profile.name if profile else ""
        self._program = program
        self._solver = ShapeSolver(manifest, profile)
        self._binder = Binder(manifest.inputs, manifest.outputs, program.seen)
        self._output_names = tuple(t.name for t in manifest.outputs)
        self._data_slots = [(i, s.name) for i, s in enumerate(manifest.symbols) if s.is_data_dependent]
        self._solutions: dict[tuple[Dims, ...], Solution] = {}
        self._current: Solution | None = None
        self._bound_inputs: dict[str, Any] = {}
        self._bound_outputs: dict[int, Any] = {}
        self._ready: tuple[list[Any], list[Any]] | None = None
        self._in_use = threading.Lock()

    # -- running
    def run(self, /, **arrays: Any) -> dict[str, Any]:
        """The outputs by name, newly allocated, for inputs by name (numpy, DLPack or `__array__` objects).

        Outputs are numpy arrays, or arrays of the package that an input came from: torch in, torch out. Where an input
        lies on the engine's GPU, so do the outputs, and the call returns before they are written: it is work in the
        stream that the input comes from (torch's and cupy's current one), as any operation of those packages.

        Raises:
            InvalidInput: a name, dtype, shape or run-time check is not met.
            DeviceError: no memory for the outputs.
            RunError: another thread is using this context, or the engine's sizes make no sense for these shapes.
        """
        with _exclusive(self._in_use):
            return self._run(arrays)

    def enqueue(self, stream: Any, /, **arrays: Any) -> dict[str, Any]:
        """As `run`, in a stream of the GPU: without a wait when all inputs lie there.

        Args:
            stream: its handle, or an object with `__cuda_stream__`, `cuda_stream` (torch) or `ptr` (cupy).
                Inputs must be ready there, and the outputs will be.
            arrays: none: the bound ones, as `execute`.
        Raises:
            InvalidInput: also when the engine runs on the CPU.
            DeviceError, RunError: as `run`.
        """
        with _exclusive(self._in_use):
            self._program.use_stream(stream)
            try:
                return self._run(arrays) if arrays else self._execute()
            finally:
                self._program.use_stream(None)

    def _run(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        outputs = self._prepare(arrays)
        self._ready = None
        self._program.run()
        package = self._binder.package
        found = self._finish(outputs)
        return found if package is None else {n: self._program.give(a, package) for n, a in found.items()}

    def bind(self, /, **arrays: Any) -> None:
        """Fix arrays for `execute`: inputs are read, outputs written in place at every call.

        Arrays bound before stay bound. Outputs are checked now; inputs when `execute` first runs, which copies those
        that have to be converted (not contiguous) once.

        Raises:
            InvalidInput: an output's dtype does not fit, or its memory is not contiguous or not writable.
            RunError: another thread is using this context.
        """
        with _exclusive(self._in_use):
            for name, value in arrays.items():
                if self._binder.is_output(name):
                    number, array = self._binder.output(name, value)
                    self._bound_outputs[number] = array
                else:
                    self._bound_inputs[name] = value
            self._ready = None

    def execute(self) -> dict[str, Any]:
        """Run on the bound arrays; outputs that were not bound are allocated once and reused by later calls.

        Outputs are numpy arrays on the host; on a GPU arrays that any package reads (DLPack), over the bound memory.
        Work goes to the stream that was current when the bound inputs were first used; `enqueue` takes another.

        Raises:
            InvalidInput: inputs are missing or do not fit.
            DeviceError, RunError: as `run`.
        """
        with _exclusive(self._in_use):
            return self._execute()

    def _execute(self) -> dict[str, Any]:
        if self._ready is None:
            inputs = self._binder.inputs(self._bound_inputs)
            outputs = self._apply(inputs, self._bound_outputs)
            self._ready = inputs, outputs
        elif self._data_slots:
            self._reset_data_symbols()
        self._program.run()
        return self._finish(self._ready[1])

    def profile(self, repeats: int = 10, /, **arrays: Any) -> list[RecordTime]:
        """Seconds that each record takes, over `repeats` inferences. Raises as `run`."""
        with _exclusive(self._in_use):
            keep = self._prepare(arrays)
            self._ready = None
            times = self._program.profile(repeats)
            del keep
            return times

    def start_steps(self, /, **arrays: Any) -> tuple[Program, list[Any], Mapping[str, int]]:
        """For `capture`: the program with these arrays bound, its output arrays, and the symbols' values."""
        outputs = self._prepare(arrays)
        self._ready = None
        assert self._current is not None
        return self._program, outputs, self._current.values

    # -- binding
    def _prepare(self, given: Mapping[str, Any]) -> list[Any]:
        inputs = self._binder.inputs(given)
        outputs = self._apply(inputs, {})
        # The program now holds these arrays' addresses; they must outlive the run.
        self._held = inputs
        return outputs

    def _apply(self, inputs: list[Any], given_outputs: Mapping[int, Any]) -> list[Any]:
        shapes = tuple([a.shape for a in inputs])
        program = self._program
        solution = self._solutions.get(shapes)
        if solution is None or solution is not self._current:
            solution = self._change_shapes(shapes)
        elif self._data_slots:
            self._reset_data_symbols()
        for number, array in enumerate(inputs):
            program.bind_input(number, array)
        outputs: list[Any] = []
        for number, dims in enumerate(solution.output_dims):
            array = given_outputs.get(number) if given_outputs else None
            if array is None:
                array = self._allocated(number, dims)
            else:
                check_output_dims(self.manifest.outputs[number], array, dims, is_bound=bool(self._data_slots))
            program.bind_output(number, array)
            outputs.append(array)
        return outputs

    def _change_shapes(self, shapes: tuple[Dims, ...]) -> Solution:
        self._current = None
        try:
            solution = self._solutions.get(shapes) or self._solver.solve(shapes)
            self._program.bind_shapes(solution)
        except (ValueError, OverflowError) as error:
            raise _senseless(f"inputs of shapes {[list(s) for s in shapes]}", error) from None
        if len(self._solutions) >= _MAX_SOLUTIONS:
            self._solutions.clear()
        self._solutions[shapes] = self._current = solution
        return solution

    def _reset_data_symbols(self) -> None:
        """Back to the upper bounds: the last run left its own values, and sizes that follow from them."""
        assert self._current is not None
        self._program.bind_shapes(self._current)

    def _allocated(self, number: int, dims: Dims) -> Any:
        try:
            return self._program.new_output(dims, self._binder.output_dtypes[number], self._binder.package)
        except DeviceError as error:
            tensor = self.manifest.outputs[number]
            raise DeviceError(
                f"no memory for output '{tensor.name}': {tensor.dtype}{list(dims)}\n  {error}"
            ) from None

    # -- results
    def _finish(self, outputs: list[Any]) -> dict[str, Any]:
        if self._data_slots:
            outputs = self._trimmed(outputs)
        return dict(zip(self._output_names, outputs, strict=True))

    def _trimmed(self, outputs: list[Any]) -> list[Any]:
        """Outputs at the sizes that the run found: views of the start of what was allocated."""
        assert self._current is not None
        values = dict(self._current.values)
        for slot, name in self._data_slots:
            value = int(self._program.symbols[slot])
            if not 0 <= value <= values[name]:
                raise RunError(
                    f"a kernel set '{name}' to {value}, outside 0 … {values[name]}: please report this engine"
                )
            values[name] = value
        try:
            self._solver.check_after(values)
            sizes = [dims_of(tensor, values) for tensor in self.manifest.outputs]
        except ValueError as error:
            raise _senseless(f"the sizes that the run found, {values}", error) from None
        return [
            array if dims == array.shape else _first(array, dims)
            for dims, array in zip(sizes, outputs, strict=True)
        ]


def _senseless(where: str, error: Exception) -> RunError:
    return RunError(
        f"the engine's sizes make no sense for {where}: {error}.\n"
        f"  Build the engine again with a profile that covers these shapes."
    )


def _first(array: Any, dims: Dims) -> Any:
    """The start of an array's memory in another shape."""
    if isinstance(array, np.ndarray):
        return array.reshape(-1)[: math.prod(dims)].reshape(dims)
    return array.first(dims)


class _exclusive:
    """Holds the lock, or says at once that another thread does; waiting would hide a mistake."""

    __slots__ = ("_lock",)

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            raise RunError("another thread is using this context; give each thread its own: Engine.context()")

    def __exit__(self, *_: object) -> None:
        self._lock.release()
