"""Engineworks: models in, engines for one piece of hardware out.

engine = engineworks.build("model.onnx")
outputs = engine(input=array)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engineworks.errors import Error as Error

if TYPE_CHECKING:
    from engineworks.api import build as build
    from engineworks.api import load as load
    from engineworks.builder.config import BuildConfig as BuildConfig
    from engineworks.runtime.engine import Engine as Engine

__version__ = "0.1.0"
_HOMES = {
    "build": "engineworks.api",
    "load": "engineworks.api",
    "BuildConfig": "engineworks.builder.config",
    "Engine": "engineworks.runtime.engine",
}
__all__ = ["BuildConfig", "Engine", "Error", "build", "load"]


def __getattr__(name: str) -> Any:
    """Public names are imported when first used, so that running an engine never imports the builder."""
    if name not in _HOMES:
        raise AttributeError(f"module 'engineworks' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
