"""Loads and runs an engine that tools/make_engine.py wrote, where no compiler is installed.

python tools/run_engine.py FOLDER
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.metadata import distributions
from pathlib import Path

import numpy as np

import engineworks

COMPILERS = ("llvmlite", "triton", "cuda", "onnx", "torch", "cyclopts", "rich")


def main(folder: str) -> None:
    """Raises SystemExit when something that only builds need is installed, or when the outputs are wrong."""
    present = [name for name in COMPILERS if importlib.util.find_spec(name)]
    if present:
        raise SystemExit(f"this environment is not bare: it has {', '.join(present)}")
    place = Path(folder)
    sample = np.load(place / "sample.npz")
    engine = engineworks.load(place / "sample.engine", threads=2)
    classes = engine(image=sample["image"])["classes"]
    np.testing.assert_allclose(classes, sample["classes"], rtol=1e-4, atol=1e-6)
    names = sorted(d.metadata["Name"] for d in distributions())
    print(
        f"{place / 'sample.engine'} runs beside {', '.join(n for n in names if n not in ('pip', 'setuptools'))}"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
