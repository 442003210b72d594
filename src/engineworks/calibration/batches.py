"""Calibration data in the forms that people have it, as batches of arrays that fit the model's inputs."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engineworks.core.dims import bounds
from engineworks.core.types import TensorType
from engineworks.errors import CalibrationError
from engineworks.ir.graph import Graph

Batch = dict[str, np.ndarray]
Data = Iterable[Any] | Callable[[], Iterable[Any]]


@dataclass(frozen=True, slots=True)
class InputNeed:
    """What an input takes: its name and type."""

    name: str
    type: TensorType

    def __str__(self) -> str:
        return f"{self.name}: {self.type}"


def needs_of(graph: Graph) -> tuple[InputNeed, ...]:
    """What a graph's inputs take."""
    return tuple(InputNeed(v.name, v.type) for v in graph.inputs)


class FittingBatches:
    """Batches that the inputs take, from batches of any size; to be iterated once.

    Where all inputs have samples along their first axis, batches are cut to the largest number that the model takes,
    and what is fewer than the smallest number waits for the samples that follow. Only samples of one batch, and those
    that wait, are held.

    Attributes:
        items, samples: read from the data so far; samples are counted along the first axis of the first input.
        left_out: samples that filled no batch so far.
    """

    def __init__(self, data: Data, needs: Sequence[InputNeed]) -> None:
        """Args: as follows.

        data: an iterable (a generator that can be read once will do, or a torch DataLoader), or a function that gives
            one. Each item is a mapping by input name; an array, for a model of one input; or a tuple or list of
            arrays in the order of the inputs. Arrays may be torch tensors, or anything that numpy reads. A single
            array or mapping is one batch. An array without the first axis is one sample.
        """
        self.items = self.samples = self.left_out = 0
        self._data, self._needs = data, needs

    def __iter__(self) -> Iterator[Batch]:
        """The batches.

        Raises:
            CalibrationError: an item of another form; a name, rank or dtype that the model does not take; values that
                are not finite. Each sentence says which batch.
        """
        waiting: Batch = {}
        sizes = _sizes(self._needs)
        for number, item in enumerate(_items(self._data), 1):
            where = f"calibration batch {number}"
            batch = _checked(_named(item, self._needs, where), self._needs, where)
            self.items, self.samples = number, self.samples + samples_of(batch)
            if sizes is None or len({len(a) for a in batch.values()}) != 1:
                yield batch
                continue
            if not _can_join(waiting, batch):
                self.left_out += samples_of(waiting)
                waiting = {}
            for piece in _pieces(_joined(waiting, batch), sizes):
                waiting = {} if samples_of(piece) >= sizes[0] else piece
                if not waiting:
                    yield piece
        self.left_out += samples_of(waiting)


def length_of(data: Data) -> int | None:
    """The number of items where it is known before they are read."""
    if isinstance(data, np.ndarray | Mapping):
        return 1
    try:
        return len(data)  # type: ignore[arg-type]
    except TypeError:
        return None


def _sizes(needs: Sequence[InputNeed]) -> tuple[int, int | None] | None:
    """The smallest and largest number of samples of a batch; None when the inputs do not share their first axis."""
    firsts = {need.type.shape[0] if need.type.rank else None for need in needs}
    shared = next(iter(firsts)) if len(firsts) == 1 else None
    if shared is None:
        return None
    lowest, highest = bounds(shared)
    return lowest or 1, highest


def _items(data: Data) -> Iterator[Any]:
    given = data() if callable(data) and not isinstance(data, Iterable) else data
    if isinstance(given, np.ndarray | Mapping) or hasattr(given, "detach"):
        given = (given,)
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise CalibrationError(
            f"calibration data must be an iterable of batches, not {type(given).__name__}; "
            f"folders and files are read by `engineworks calibrate --data`"
        )
    return iter(given)


def _named(item: Any, needs: Sequence[InputNeed], where: str) -> dict[str, Any]:
    """The item's arrays by input name. Raises CalibrationError."""
    takes = ", ".join(map(str, needs))
    if isinstance(item, Mapping):
        named = {str(k): v for k, v in item.items()}
        known = [need.name for need in needs]
        for name in named.keys() - set(known):
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else "."
            raise CalibrationError(f"{where}: no input is called '{name}'{hint}\n  The model takes {takes}.")
        missing = [name for name in known if name not in named]
        if missing:
            raise CalibrationError(f"{where}: input '{missing[0]}' is missing.\n  The model takes {takes}.")
        return {name: named[name] for name in known}
    several = list(item) if isinstance(item, tuple | list) else [item]
    if len(several) != len(needs):
        raise CalibrationError(
            f"{where} holds {len(several)} arrays, and the model has {len(needs)} inputs: {takes}.\n"
            f"  Where a loader gives labels too, leave them out: ((images,) for images, labels in loader)."
        )
    return {need.name: value for need, value in zip(needs, several, strict=True)}


def _checked(named: Mapping[str, Any], needs: Sequence[InputNeed], where: str) -> Batch:
    return {need.name: _array(named[need.name], need, f"{where}, input '{need.name}'") for need in needs}


def _array(value: Any, need: InputNeed, where: str) -> np.ndarray:
    """The value as an array of the input's dtype and rank. Raises CalibrationError."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise CalibrationError(
            f"{where}: {type(value).__name__} cannot be read as an array: {error}"
        ) from error
    wanted = need.type.dtype
    if array.dtype != wanted.numpy:
        array = _converted(array, wanted.numpy, need, where)
    if array.ndim == need.type.rank - 1:
        array = array[None]
    if array.ndim != need.type.rank:
        raise CalibrationError(
            f"{where}: the model takes {need.type}, got an array of shape {list(array.shape)}"
        )
    if wanted.is_float and not np.isfinite(array.astype(np.float32, copy=False)).all():
        raise CalibrationError(
            f"{where}: there are values that are NaN or infinite; ranges cannot follow from them"
        )
    return array


def _converted(array: np.ndarray, wanted: np.dtype, need: InputNeed, where: str) -> np.ndarray:
    """Another width of the same kind of number. Raises CalibrationError for other kinds, and for values lost."""
    is_float = need.type.dtype.is_float
    given_float = array.dtype.kind == "f" or array.dtype.name in ("bfloat16", "float16")
    if is_float and given_float:
        return array.astype(wanted)
    if not is_float and array.dtype.kind in "iub":
        converted = array.astype(wanted)
        if (converted == array).all():
            return converted
        raise CalibrationError(f"{where}: values of {array.dtype} do not fit into {need.type.dtype}")
    raise CalibrationError(
        f"{where}: the model takes {need.type.dtype}, got {array.dtype}.\n"
        f"  Calibrate with what the model will be given: scaled, normalised, in its own dtype."
    )


def samples_of(batch: Batch) -> int:
    """Along the first axis of the first input; a scalar is one."""
    first = next(iter(batch.values()), None)
    if first is None:
        return 0
    return len(first) if first.ndim else 1


def _can_join(waiting: Batch, batch: Batch) -> bool:
    return all(a.shape[1:] == batch[n].shape[1:] for n, a in waiting.items())


def _joined(waiting: Batch, batch: Batch) -> Batch:
    """The samples that wait, then the new ones."""
    if not waiting:
        return batch
    return {name: np.concatenate([waiting[name], array]) for name, array in batch.items()}


def _pieces(batch: Batch, sizes: tuple[int, int | None]) -> Iterator[Batch]:
    """Cuts of the largest size; the last may be smaller."""
    count = samples_of(batch)
    step = sizes[1] or max(count, 1)
    for first in range(0, count, step):
        yield {name: array[first : first + step] for name, array in batch.items()}
