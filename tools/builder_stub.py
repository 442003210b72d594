"""Writes src/engineworks/ops/_builder.pyi: the graph builder with a typed method for each operator.

    python tools/builder_stub.py           # writes it
    python tools/builder_stub.py --check   # fails when it is not current

For editors, in code above the operators: `from engineworks.ops._builder import Builder` under TYPE_CHECKING.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from pathlib import Path

import engineworks.ops  # noqa: F401  registers the operators
from engineworks.ir.op import REGISTRY, Op
from engineworks.testing.inputs import Case

STUB = Path(__file__).resolve().parent.parent / "src" / "engineworks" / "ops" / "_builder.pyi"
HEADER = '''"""The graph builder with a method for each operator. Written by tools/builder_stub.py."""

from typing import Literal

import numpy as np

from engineworks.core.dims import Dim
from engineworks.core.dtypes import DType
from engineworks.core.types import TensorType
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Region, Value

Operand = Value | np.ndarray | float | None

class Builder(GraphBuilder):
'''


def stub() -> str:
    """The whole file."""
    return HEADER + "".join(_method(name, REGISTRY[name]) for name in sorted(REGISTRY))


def _method(name: str, kind: type[Op]) -> str:
    options = [f"{f.name}: {_annotation(f)}{_default(f)}" for f in dataclasses.fields(kind)]  # type: ignore[arg-type]
    summary = (inspect.getdoc(kind) or "").split("\n", maxsplit=1)[0]
    parameters = ", ".join(["self", "*inputs: Operand", *options])
    return f'    def {name}({parameters}) -> {_result(kind)}:\n        """{summary}"""\n'


def _annotation(field: dataclasses.Field[object]) -> str:
    text = field.type if isinstance(field.type, str) else inspect.formatannotation(field.type)
    return re.sub(r"engineworks[\w.]*\.(\w+)", r"\1", text).replace("int | Sym", "Dim")


def _default(field: dataclasses.Field[object]) -> str:
    return "" if field.default is dataclasses.MISSING else " = ..."


def _result(kind: type[Op]) -> str:
    """One value, or a tuple for an operator whose first example has several outputs."""
    if not kind.examples:
        return "Value"
    example = kind.examples[0]
    outputs = Case(kind, example, 0, example.bindings()[0]).graph().outputs
    return "Value" if len(outputs) == 1 else "tuple[Value, ...]"


def main(*arguments: str) -> int:
    """Exit status: 1 when the file is not current, with --check."""
    text = stub()
    if "--check" in arguments:
        return int(not STUB.exists() or STUB.read_text() != text)
    STUB.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
