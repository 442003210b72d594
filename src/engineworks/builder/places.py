"""Where caches live: the environment variables of a build, all in this file.

ENGINEWORKS_CACHE_DIR: folder of timing and object caches (default: the user's cache folder).
"""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(kind: str) -> Path:
    """The folder of one kind of cache ('objects', 'timings'); not made here."""
    chosen = os.environ.get("ENGINEWORKS_CACHE_DIR")
    base = (
        Path(chosen)
        if chosen
        else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "engineworks"
    )
    return base / kind
