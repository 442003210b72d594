"""engineworks doctor: what this machine can do, and what to install for more."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from typing import Annotated, Any

from cyclopts import Parameter

from engineworks.cli.console import emit_json, say, table
from engineworks.errors import Error

PACKAGES = {
    "numpy": "", "ml_dtypes": "", "msgspec": "", "llvmlite": "", "onnx": "", "cyclopts": "", "rich": "",
    "onnxruntime": "bench --against, compare: pip install onnxruntime",
    "rapidocr-onnxruntime": "demo: pip install --no-deps rapidocr-onnxruntime==1.4.4",
    "pillow": "demo: pip install 'engineworks[demo]'",
    "scipy": "demo: pip install 'engineworks[demo]'",
}  # fmt: skip


def doctor(*, json: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Check this machine: packages, targets, and a small engine built and run.

    Args:
        json: print the findings as JSON.
    """
    packages = {name: _version(name) for name in PACKAGES}
    targets = {
        "cpu": _cpu(),
        "cuda": {"works": False, "why": "kernels for NVIDIA GPUs are not part of this version"},
    }
    result = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages,
        "targets": targets,
    }
    works = targets["cpu"]["works"]
    if json:
        emit_json(result)
        return 0 if works else 1
    say(f"Python {platform.python_version()} at {sys.executable}, {platform.platform()}")
    rows = [(n, v or "not installed", "" if v else PACKAGES[n]) for n, v in packages.items()]
    table(["package", "version", "what it is for"], rows)
    rows = [(n, "works" if t["works"] else "does not work", t["why"]) for n, t in targets.items()]
    table(["target", "", ""], rows)
    return 0 if works else 1


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _cpu() -> dict[str, Any]:
    """Builds x + x for this CPU and runs it."""
    import numpy as np

    from engineworks.core import dtypes
    from engineworks.core.target import host

    try:
        import engineworks.ops  # noqa: F401  (registers the ops)
        from engineworks.api import build
        from engineworks.ir.builder import GraphBuilder

        target = host()
        g = GraphBuilder()
        x = g.input("x", dtypes.f32, (64,))
        g.output(g.add(x, x), "y")
        given = np.arange(64, dtype=np.float32)
        right = np.array_equal(build(g.graph, effort=0)(x=given)["y"], given * 2)
    except (Error, OSError, ValueError, ImportError) as error:
        return {"works": False, "why": str(error)}
    return {
        "works": right,
        "why": str(target) if right else "a small engine gives wrong results: please report this",
    }
