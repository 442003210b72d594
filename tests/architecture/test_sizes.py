"""One idea a file, one thing a function."""

from __future__ import annotations

import ast

from tests.architecture.sources import files, name, tree

LARGEST_FILE, USUAL_FILE, LARGEST_FUNCTION = 600, 400, 80


def test_no_file_is_long_and_nine_of_ten_are_short() -> None:
    lines = {name(f): len(f.read_text().splitlines()) for f in files()}
    assert {n: c for n, c in lines.items() if c > LARGEST_FILE} == {}
    assert sum(c < USUAL_FILE for c in lines.values()) >= 0.9 * len(lines)


def test_no_function_is_long() -> None:
    long = {
        f"{name(f)}:{node.name}": node.end_lineno - node.lineno + 1
        for f in files()
        for node in ast.walk(tree(f))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno >= LARGEST_FUNCTION
    }
    assert long == {}
