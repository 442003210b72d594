"""What commands print: tables and a progress bar on a terminal, plain lines when piped, JSON when asked."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

Report = Callable[[int, int, str], None]
"""Called with (done, total, what is being done)."""
PLAIN_LINE_EVERY_S = 2.0


def say(text: str = "") -> None:
    """A line of the result."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """A line beside the result, on standard error."""
    sys.stderr.write(text + "\n")


def emit_json(value: Any) -> None:
    """The result as JSON."""
    say(json.dumps(value, indent=2, default=str))


def table(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str = "", right: Sequence[int] = ()
) -> None:
    """Rows under headings; separated by tabs when standard output is piped.

    Args:
        right: numbers of the columns that are set to the right.
    """
    shown = [[str(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        if title:
            say(f"# {title}")
        say("\t".join(columns))
        for row in shown:
            say("\t".join(cell.replace("\n", " ") for cell in row))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    made = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        made.add_column(column, justify="right" if number in right else "left", overflow="fold")
    for row in shown:
        made.add_row(*[escape(cell) for cell in row])
    Console().print(made)


@contextmanager
def progress(what: str, quiet: bool = False) -> Iterator[Report]:
    """Gives a function that shows how far a long work is, on standard error.

    On a terminal: a bar with the time it will still take. Otherwise a line now and then.
    """
    if quiet:
        yield lambda done, total, name: None
    elif sys.stderr.isatty():
        with _bar(what) as report:
            yield report
    else:
        yield _lines(what)


@contextmanager
def _bar(what: str) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.fields[what]}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, what=what)
        yield lambda done, total, name: bar.update(task, completed=done, total=total, description=name[:60])


def _lines(what: str) -> Report:
    started = last = time.monotonic()

    def report(done: int, total: int, name: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= PLAIN_LINE_EVERY_S and done:
            last = now
            left = (now - started) / done * (total - done)
            note(f"{what}: {done} of {total}, about {left:.0f} s left ({name})")

    return report


def duration(seconds: float) -> str:
    """'1.23 ms': three digits and a fitting unit."""
    for limit, factor, unit in ((1e-6, 1e9, "ns"), (1e-3, 1e6, "µs"), (1.0, 1e3, "ms")):
        if seconds < limit:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s" if seconds < 100 else f"{seconds:.0f} s"


def size(count: float) -> str:
    """'1.5 MiB'."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"


NAMED_NODES = 2


def nodes(origin: Sequence[str]) -> str:
    """The source nodes that a layer came from, in one line of a table: two of them, and how many more.

    The shortest names are shown: what tools put around a node (casts, quantisation) they name after it.
    """
    shortest = set(sorted(origin, key=len)[:NAMED_NODES])
    shown = ", ".join(name for name in origin if name in shortest)
    return shown if len(origin) <= NAMED_NODES else f"{shown} and {len(origin) - NAMED_NODES} more"
