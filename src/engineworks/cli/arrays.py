"""Arrays from the command line: shapes, files, and random ones for what is not given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from engineworks.cli.main import UsageError
from engineworks.core import dtypes
from engineworks.core.expression import evaluate
from engineworks.engine.schema import Manifest, Tensor

Shape = tuple[int, ...]


def parse_shapes(texts: Sequence[str]) -> dict[str, tuple[Shape, ...]]:
    """'x=1x3x8' gives one shape, 'x=1x3:2x3:4x3' three (min:opt:max), by input name; several may be joined by commas.

    Raises:
        UsageError: not of this form.
    """
    out: dict[str, tuple[Shape, ...]] = {}
    for text in (part for given in texts for part in given.split(",")):
        name, equals, spelled = text.rpartition("=")
        try:
            shapes = tuple(
                tuple(int(d) for d in shape.split("x")) if shape else () for shape in spelled.split(":")
            )
        except ValueError:
            shapes = ()
        if not equals or not name or len(shapes) not in (1, 3):
            raise UsageError(
                f"'{text}' is no shape; write NAME=1x3x224x224, or NAME=MIN:OPT:MAX such as x=1x3:8x3:32x3"
            )
        out[name] = shapes
    return out


def given_arrays(
    manifest: Manifest, inputs: Sequence[str], shapes: Sequence[str], seed: int
) -> dict[str, np.ndarray]:
    """An array for each input of an engine: from a file, else random of a given shape, else of the typical shape.

    Args:
        inputs: 'name=file.npy' (or .npz, or raw bytes in any other file), 'name=3.5' for a scalar.
    Raises:
        UsageError: a name that is no input; a form that cannot be read.
    """
    tensors = {t.name: t for t in manifest.inputs}
    files = dict(_named(text, tensors) for text in inputs)
    asked = {name: given[0] for name, given in parse_shapes(shapes).items()}
    _check_names([*asked], tensors)
    typical = {s.name: s.opt for s in manifest.symbols}
    rng = np.random.default_rng(seed)
    out = {}
    for name, tensor in tensors.items():
        shape = asked.get(name) or tuple(evaluate(d, typical) for d in tensor.dims)
        out[name] = _load(files[name], tensor) if name in files else random_array(tensor.dtype, shape, rng)
    return out


def random_array(dtype: str, shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """Floats from the normal distribution; integers 0 or 1, which are valid indices nearly everywhere."""
    kind = dtypes.by_name(dtype)
    if kind.is_float:
        return rng.standard_normal(shape).astype(np.float32).astype(kind.numpy)
    return rng.integers(0, 2, shape).astype(kind.numpy)


def _named(text: str, tensors: Mapping[str, Tensor]) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        if len(tensors) != 1:
            raise UsageError(
                f"'{text}': say which input it is for, as NAME={text}; there are {', '.join(tensors)}"
            )
        name, value = next(iter(tensors)), text
    _check_names([name], tensors)
    return name, value


def _check_names(names: Sequence[str], tensors: Mapping[str, Tensor]) -> None:
    wrong = [n for n in names if n not in tensors]
    if wrong:
        raise UsageError(f"no input is called '{wrong[0]}'; there are {', '.join(tensors) or 'none'}")


def _load(value: str, tensor: Tensor) -> np.ndarray:
    dtype = dtypes.by_name(tensor.dtype).numpy
    path = Path(value)
    if not path.exists():
        try:
            return np.asarray(float(value) if dtype.kind == "f" else int(value)).astype(dtype)
        except ValueError:
            raise UsageError(f"input '{tensor.name}': there is no file '{value}'") from None
    if path.suffix == ".npz":
        archive = np.load(path)
        if tensor.name not in archive and len(archive.files) != 1:
            raise UsageError(f"'{path}' has no array '{tensor.name}'; it has {', '.join(archive.files)}")
        return archive[tensor.name if tensor.name in archive else archive.files[0]]
    if path.suffix == ".npy":
        return np.load(path)
    dims = [d if isinstance(d, int) else -1 for d in tensor.dims]
    if dims.count(-1) > 1:
        raise UsageError(
            f"'{path}' holds raw bytes, and input '{tensor.name}' has several unknown sizes; use a .npy file"
        )
    return np.fromfile(path, dtype).reshape(dims)


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write .npz, or .npy when there is one array; complete or not at all.

    Raises:
        UsageError: another ending, or several arrays for one .npy.
    """
    import os
    import tempfile

    if path.suffix not in (".npz", ".npy") or (path.suffix == ".npy" and len(arrays) != 1):
        raise UsageError(f"'{path}': outputs are written to .npz, or to .npy when there is one output")
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    try:
        with os.fdopen(handle, "wb") as file:
            if path.suffix == ".npz":
                np.savez(file, **arrays)  # type: ignore[arg-type]
            else:
                np.save(file, next(iter(arrays.values())))
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
