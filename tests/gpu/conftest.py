"""What is marked `gpu` runs where there is an NVIDIA GPU; elsewhere it is skipped, and the reason printed."""

from __future__ import annotations

import pytest

from engineworks.errors import Error
from engineworks.runtime.device import find


def _why_not() -> str:
    try:
        find("cuda")
    except Error as error:
        return str(error)
    return ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of this folder and, as pytest has it, of all others."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    why = _why_not() if marked else ""
    for item in marked if why else ():
        item.add_marker(pytest.mark.skip(reason=why))
