"""engineworks doctor: what this machine can do, and what to install for more."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Callable
from typing import Annotated, Any

from cyclopts import Parameter

from engineworks.cli.console import emit_json, say, table
from engineworks.errors import Error

PACKAGES = {
    "numpy": "", "ml_dtypes": "", "msgspec": "", "llvmlite": "", "onnx": "", "cyclopts": "", "rich": "",
    "triton": "building for NVIDIA GPUs: pip install 'engineworks[cuda]'",
    "cuda-bindings": "running on NVIDIA GPUs: pip install 'engineworks[cuda]'",
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
    targets = {"cpu": _cpu(), "cuda": _cuda()}
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
    from engineworks.core.target import host

    return _tried("cpu", lambda: str(host()))


def _cuda() -> dict[str, Any]:
    """Building needs no GPU, so it is said apart from running."""
    from engineworks.codegen.triton.compile import compiles_here, triton_version
    from engineworks.codegen.triton.gpu import GPUS
    from engineworks.tuner import gpu_facts

    facts = gpu_facts.facts_here(triton_version() if compiles_here() else "")
    if facts is not None and compiles_here():
        libraries = "".join(f", {name} {facts[name]}" for name in gpu_facts.LIBRARIES if name in facts)
        return _tried("cuda", lambda: f"{facts['arch']}, {gpu_facts.described(facts)}{libraries}")
    if facts is not None:
        return {"works": False, "why": f"{facts['gpu']}: runs engines, but builds none without triton"}
    what = "builds engines" if compiles_here() else "would build engines with triton"
    return {"works": False, "why": f"no NVIDIA GPU here; {what} for {', '.join(GPUS)}"}


def _tried(target: str, described: Callable[[], str]) -> dict[str, Any]:
    """Builds x + x for this machine's device and runs it."""
    import numpy as np

    from engineworks.core import dtypes

    try:
        import engineworks.ops  # noqa: F401  (registers the ops)
        from engineworks.api import build
        from engineworks.ir.builder import GraphBuilder

        g = GraphBuilder()
        x = g.input("x", dtypes.f32, (64,))
        g.output(g.add(x, x), "y")
        given = np.arange(64, dtype=np.float32)
        right = np.array_equal(build(g.graph, effort=0, target=target)(x=given)["y"], given * 2)
        why = described() if right else "a small engine gives wrong results: please report this"
    except (Error, OSError, ValueError, ImportError) as error:
        return {"works": False, "why": str(error)}
    return {"works": right, "why": why}
