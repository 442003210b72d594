"""Writes tests/golden/public_names.txt: every name that users may rely on.

python tools/public_names.py           # writes it
python tools/public_names.py --check   # fails when it is not current
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from types import ModuleType

import engineworks
import engineworks.errors
import engineworks.tensorrt

NAMES = Path(__file__).resolve().parent.parent / "tests" / "golden" / "public_names.txt"


def names() -> str:
    """One name a line, classes with their public attributes."""
    lines = [f"engineworks.{name}" for name in sorted(engineworks.__all__)]
    for kind in (engineworks.BuildConfig, engineworks.Engine):
        lines += _attributes(f"engineworks.{kind.__name__}", kind)
    for module in (engineworks.errors, engineworks.tensorrt):
        lines += _of_module(module)
    return "\n".join(lines) + "\n"


def _of_module(module: ModuleType) -> list[str]:
    lines = []
    for name, value in sorted(vars(module).items()):
        if name.startswith("_") or inspect.ismodule(value) or name in ("annotations", "Any"):
            continue
        lines.append(f"{module.__name__}.{name}")
        if inspect.isclass(value) and module is engineworks.tensorrt:
            lines += _attributes(f"{module.__name__}.{name}", value)
    return lines


def _attributes(prefix: str, kind: type) -> list[str]:
    inherited = set(dir(Exception)) | set(dir(int)) | set(dir(str))
    return [
        f"{prefix}.{name}" for name in sorted(dir(kind)) if not name.startswith("_") and name not in inherited
    ]


def main(*arguments: str) -> int:
    """Exit status: 1 when the file is not current, with --check."""
    text = names()
    if "--check" in arguments:
        return int(not NAMES.exists() or NAMES.read_text() != text)
    NAMES.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
