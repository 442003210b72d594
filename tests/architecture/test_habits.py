"""Habits of the code that a linter does not know: no printing, no swallowed errors, documented variables."""

from __future__ import annotations

import ast
import re

from tests.architecture.sources import ROOT, files, name, tree

PROCESS_BOUNDARIES = ("cli/", "tuner/worker.py", "testing/onnx_backend.py")
"""Where a process, or one case of a suite, ends well whatever went wrong inside."""


def test_library_rooms_never_print() -> None:
    prints = [
        f"{name(f)}:{node.lineno}"
        for f in files()
        if not name(f).startswith("cli/")
        for node in ast.walk(tree(f))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert prints == []


def test_no_error_is_swallowed() -> None:
    swallowed = [
        f"{name(f)}:{node.lineno}"
        for f in files()
        for node in ast.walk(tree(f))
        if isinstance(node, ast.ExceptHandler) and all(isinstance(line, ast.Pass) for line in node.body)
    ]
    assert swallowed == []


def test_all_exceptions_are_caught_only_where_a_process_ends() -> None:
    broad = [
        f"{name(f)}:{node.lineno}"
        for f in files()
        if not name(f).startswith(PROCESS_BOUNDARIES)
        for node in ast.walk(tree(f))
        if isinstance(node, ast.ExceptHandler)
        and (
            node.type is None
            or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException"))
        )
        and not any(isinstance(line, ast.Raise) for line in ast.walk(node))
    ]
    assert broad == []


def test_every_module_says_what_it_is() -> None:
    assert [name(f) for f in files() if not ast.get_docstring(tree(f))] == []


def test_environment_variables_are_documented() -> None:
    used = {v for f in files() for v in re.findall(r"\bENGINEWORKS_[A-Z_]+\b", f.read_text())}
    documented = set(
        re.findall(r"\bENGINEWORKS_[A-Z_]+\b", (ROOT / "docs/reference/environment.md").read_text())
    )
    assert used == documented


def test_pages_that_messages_name_exist() -> None:
    named = {m for f in files() for m in re.findall(r"\bdocs/[\w/.-]+\.md\b", f.read_text())}
    assert [page for page in sorted(named) if not (ROOT / page).exists()] == []
