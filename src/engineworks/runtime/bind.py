"""User arrays in and out: by name, checked, without a copy where none is needed."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from engineworks.core import dtypes
from engineworks.engine.schema import Tensor
from engineworks.errors import InvalidInput
from engineworks.runtime import dlpack
from engineworks.runtime.shapes import Dims, describe


class Binder:
    """Turns the arguments of one context into arrays that its program takes: numpy's, or those of the device.

    Args:
        seen: `Program.seen`.

    Attributes:
        package: of the arrays given last, when one of them was not numpy's: torch in, torch out.
    """

    def __init__(
        self,
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
        seen: Callable[[Any], Any] = lambda value: None,
    ) -> None:
        self.package: Any = None
        self._seen = seen
        self._inputs = tuple(inputs)
        self._outputs = tuple(outputs)
        self._named = tuple((t.name, dtypes.by_name(t.dtype).numpy) for t in inputs)
        self.output_dtypes = tuple(dtypes.by_name(t.dtype).numpy for t in outputs)

    def inputs(self, given: Mapping[str, Any]) -> list[Any]:
        """The inputs in the engine's order, contiguous; a contiguous array of the right dtype is taken as
        it is.

        Raises:
            InvalidInput: a name is missing or unknown, or a dtype differs. Shapes are checked later.
        """
        arrays: list[Any] = []
        self.package = None
        for name, dtype in self._named:
            try:
                value = given[name]
            except KeyError:
                raise self._wrong_names(given) from None
            if value.__class__ is not np.ndarray or value.dtype != dtype or not value.flags.c_contiguous:
                value = self._converted(len(arrays), value, dtype)
            arrays.append(value)
        if len(given) != len(arrays):
            raise self._wrong_names(given)
        return arrays

    def output(self, name: str, value: Any) -> tuple[int, Any]:
        """(its number, the array over the memory of `value` that the engine will write to).

        Raises:
            InvalidInput: no such output; not writable, contiguous memory of the right dtype.
        """
        number = next((i for i, t in enumerate(self._outputs) if t.name == name), None)
        if number is None:
            raise self._wrong_names({name: value})
        tensor = self._outputs[number]
        where = f"output '{name}'"
        on_device = None if isinstance(value, np.ndarray) else self._on_device(where, value)
        if on_device is not None:
            # An array that had to be made dense would be a copy that the user never sees.
            if on_device.dtype != self.output_dtypes[number] or not _is_dense(value):
                raise InvalidInput(
                    f"{where}: expected dense {describe(tensor)}, got {_describe_array(on_device)}"
                )
            return number, on_device
        array = value if isinstance(value, np.ndarray) else _foreign(where, value)
        if array.dtype != self.output_dtypes[number]:
            raise InvalidInput(f"output '{name}': expected {describe(tensor)}, got {_describe_array(array)}")
        if not array.flags.c_contiguous or not array.flags.writeable:
            why = "not contiguous" if array.flags.writeable else "read-only"
            raise InvalidInput(
                f"output '{name}': the array given for it is {why}; give a new one, as from numpy.empty"
            )
        return number, array

    def is_output(self, name: str) -> bool:
        return any(t.name == name for t in self._outputs)

    def _on_device(self, where: str, value: Any) -> Any:
        try:
            return self._seen(value)
        except InvalidInput as error:
            raise InvalidInput(f"{where}: {error}") from None

    def _converted(self, number: int, value: Any, dtype: np.dtype) -> Any:
        tensor = self._inputs[number]
        where = f"input '{tensor.name}'"
        if isinstance(value, np.ndarray):
            array = value
        elif isinstance(value, int | float | bool | list | tuple):
            array = _from_python(where, value, dtype)
        else:
            on_device = self._on_device(where, value)
            array = _foreign(where, value) if on_device is None else on_device
            self.package = dlpack.package_of(value) or self.package
        if array.dtype != dtype:
            raise InvalidInput(
                f"{where}: expected {describe(tensor)}, got {_describe_array(array)}.\n"
                f"  Convert it: {tensor.name}.astype('{dtype}')"
            )
        if not isinstance(array, np.ndarray):
            return array
        # ascontiguousarray would make a scalar one-dimensional.
        return array if array.flags.c_contiguous else array.copy()

    def _wrong_names(self, given: Mapping[str, Any]) -> InvalidInput:
        known = [name for name, _ in self._named]
        takes = ", ".join(f"{t.name}: {describe(t)}" for t in self._inputs) or "no inputs"
        outputs = [t.name for t in self._outputs]
        for name in given:
            if name not in known and name not in outputs:
                close = difflib.get_close_matches(str(name), known + outputs, n=1)
                hint = f"; did you mean '{close[0]}'?" if close else "."
                return InvalidInput(f"no input is called '{name}'{hint}\n  The engine takes {takes}.")
        missing = [name for name in known if name not in given]
        if missing:
            return InvalidInput(f"input '{missing[0]}' is missing.\n  The engine takes {takes}.")
        extra = next(name for name in given if name not in known)
        return InvalidInput(f"'{extra}' is an output; arrays for outputs are given to Context.bind().")


def _is_dense(value: Any) -> bool:
    """False for a torch tensor whose memory is not row-major; other packages' arrays were refused by then."""
    is_contiguous = getattr(value, "is_contiguous", None)
    return is_contiguous is None or bool(is_contiguous())


def check_output_dims(tensor: Tensor, array: Any, dims: Dims, *, is_bound: bool) -> None:
    """The user's output array has the shape that the engine will write (its upper bound when that is
    data-dependent).

    Raises:
        InvalidInput: it has not.
    """
    if array.shape != dims:
        least = " (its upper bound: the real shape depends on the data)" if is_bound else ""
        raise InvalidInput(
            f"output '{tensor.name}': expected {tensor.dtype}{list(dims)}{least}, got {_describe_array(array)}"
        )


def _from_python(where: str, value: Any, dtype: np.dtype) -> np.ndarray:
    """Python numbers take the engine's dtype."""
    try:
        return np.asarray(value, dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidInput(f"{where}: these Python values make no {dtype} array: {error}") from None


def _foreign(where: str, value: Any) -> np.ndarray:
    try:
        if hasattr(value, "__dlpack__"):
            return dlpack.view(value)
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        raise InvalidInput(f"{where}: a {type(value).__qualname__} gives no array: {error}") from None


def _describe_array(array: Any) -> str:
    try:
        name = dtypes.from_numpy(array.dtype).name
    except ValueError:
        name = str(array.dtype)
    return f"{name}{list(array.shape)}"
