"""Calibration data from files: a folder of arrays or images, an .npz archive, a function in a Python file."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engineworks.calibration.batches import InputNeed
from engineworks.calibration.images import IMAGE_ENDINGS, ImagePreparation
from engineworks.errors import CalibrationError

ARRAY_ENDINGS = (".npy", ".npz")


def data_from(
    text: str,
    needs: Sequence[InputNeed],
    *,
    batch: int = 8,
    limit: int | None = None,
    images: ImagePreparation | None = None,
) -> Any:
    """The data that `text` names: 'folder', 'file.npz', 'file.npy' or 'script.py:function'.

    Args:
        needs: of the model's inputs.
        batch: samples that are given at once; models of another fixed number get theirs.
        limit: stop after this many samples; None takes all.
        images: how the images of a folder become the model's input.
    Raises:
        CalibrationError: nothing there, a form that cannot be read, arrays that do not belong together.
        MissingExtra: a folder of images, and pillow is not installed.
    """
    script, colon, function = text.rpartition(":")
    if colon and script.endswith(".py"):
        return _from_script(Path(script), function, limit)
    path = Path(text)
    if path.is_dir():
        return _folder(path, needs, batch, limit, images or ImagePreparation())
    if path.suffix in ARRAY_ENDINGS and path.exists():
        return ArrayBatches(_named_arrays(path), batch, limit)
    what = "there is no such folder or file" if not path.exists() else "it has another ending"
    raise CalibrationError(
        f"'{text}' is no calibration data: {what}.\n"
        f"  Give a folder of .npy, .npz or image files, an .npz with an array for each input, or script.py:function."
    )


@dataclass(frozen=True, slots=True)
class ArrayBatches:
    """Arrays by input name whose first axis counts samples, a batch at a time; as they are where lengths differ."""

    arrays: Mapping[str, np.ndarray]
    batch: int
    limit: int | None

    @property
    def _count(self) -> int | None:
        """Samples; None where the arrays do not share a first axis."""
        lengths = {a.shape[0] if a.ndim else None for a in self.arrays.values()}
        (only,) = lengths if len(lengths) == 1 else (None,)
        return only if only is None or self.limit is None else min(only, self.limit)

    def __len__(self) -> int:
        return 1 if self._count is None else -(-self._count // self.batch)

    def __iter__(self) -> Iterator[Any]:
        if self._count is None:
            yield _item(self.arrays)
            return
        for first in range(0, self._count, self.batch):
            last = min(first + self.batch, self._count)
            yield _item({name: a[first:last] for name, a in self.arrays.items()})


@dataclass(frozen=True, slots=True)
class FileBatches:
    """One sample (or batch) a file, put together where their shapes agree."""

    paths: Sequence[Path]
    read: Callable[[Path], Mapping[str, np.ndarray]]
    batch: int

    def __len__(self) -> int:
        return (len(self.paths) + self.batch - 1) // self.batch

    def __iter__(self) -> Iterator[Any]:
        for first in range(0, len(self.paths), self.batch):
            group = [self.read(path) for path in self.paths[first : first + self.batch]]
            for run in _alike(group):
                yield _item(run)


def _alike(group: list[Mapping[str, np.ndarray]]) -> Iterator[Mapping[str, np.ndarray]]:
    """Neighbours with arrays of the same names, and of the same shapes but for the first axis, joined along it."""
    run: list[Mapping[str, np.ndarray]] = []
    for sample in group:
        if run and _form(sample) != _form(run[0]):
            yield _joined(run)
            run = []
        run.append(sample)
    yield _joined(run)


def _form(sample: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape[1:] for name, array in sample.items()}


def _joined(run: list[Mapping[str, np.ndarray]]) -> Mapping[str, np.ndarray]:
    if len(run) == 1:
        return run[0]
    return {name: np.concatenate([sample[name] for sample in run]) for name in run[0]}


def _item(arrays: Mapping[str, np.ndarray]) -> Any:
    """An array without a name stands for a model's only input."""
    return arrays[""] if "" in arrays else dict(arrays)


def _folder(
    folder: Path, needs: Sequence[InputNeed], batch: int, limit: int | None, images: ImagePreparation
) -> FileBatches:
    files = sorted(p for p in folder.iterdir() if p.is_file())
    arrays = [p for p in files if p.suffix in ARRAY_ENDINGS]
    pictures = [p for p in files if p.suffix.lower() in IMAGE_ENDINGS]
    if arrays and pictures:
        raise CalibrationError(f"'{folder}' holds arrays ('{arrays[0].name}') and images ('{pictures[0].name}'); "
                               f"calibrate from one kind.")  # fmt: skip
    if not arrays and not pictures:
        raise CalibrationError(
            f"'{folder}' holds no .npy, .npz or image file ({', '.join(sorted(IMAGE_ENDINGS))})"
        )
    if pictures:
        read_image = images.reader(needs)
        return FileBatches(pictures[:limit], lambda path: {"": read_image(path)}, batch)
    return FileBatches(arrays[:limit], lambda path: _with_samples(path, needs), batch)


def _with_samples(path: Path, needs: Sequence[InputNeed]) -> Mapping[str, np.ndarray]:
    """A file's arrays; those without the first axis of their input get one, so that samples can be joined."""
    ranks = {need.name: need.type.rank for need in needs} | {"": needs[0].type.rank if needs else 0}
    arrays = _named_arrays(path)
    return {name: a[None] if a.ndim == ranks.get(name, a.ndim) - 1 else a for name, a in arrays.items()}


def _named_arrays(path: Path) -> Mapping[str, np.ndarray]:
    """The arrays of a file by name; '' for the one of an .npy. Raises CalibrationError."""
    try:
        found = np.load(path)
        return {"": found} if isinstance(found, np.ndarray) else {name: found[name] for name in found.files}
    except (ValueError, EOFError, KeyError) as error:
        raise CalibrationError(f"'{path}' cannot be read as numpy's arrays: {error}") from error


def _from_script(path: Path, function: str, limit: int | None) -> Iterator[Any]:
    if not path.exists():
        raise CalibrationError(f"there is no file '{path}' to take '{function}' from")
    names = runpy.run_path(str(path))
    made = names.get(function)
    if not callable(made):
        there = ", ".join(n for n, v in names.items() if callable(v) and not n.startswith("_")) or "none"
        raise CalibrationError(f"'{path}' defines no function '{function}'; there are {there}")
    data = made()
    return (
        data
        if limit is None
        else _first(iter([data] if isinstance(data, np.ndarray | Mapping) else data), limit)
    )


def _first(items: Iterator[Any], limit: int) -> Iterator[Any]:
    """Items until `limit` samples were given; the last item stays whole."""
    seen = 0
    for item in items:
        yield item
        values = list(item.values()) if isinstance(item, Mapping) else item
        first = values[0] if isinstance(values, list | tuple) else values
        seen += len(first)
        if seen >= limit:
            return
