"""The one question about torch that can be answered without it."""

from __future__ import annotations

from importlib.util import find_spec

from engineworks.errors import MissingExtra


def require_torch() -> None:
    """Raises MissingExtra: PyTorch is not installed."""
    if find_spec("torch") is None:
        raise MissingExtra("engineworks.torch_tensorrt needs PyTorch: pip install torch")
