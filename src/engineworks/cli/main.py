"""The entry point: finds the command, turns errors into one clean message and an exit status.

0: done. 1: failed (the message says why). 2: wrong usage. 130: stopped by Ctrl-C.
ENGINEWORKS_LOG=debug adds tracebacks.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from engineworks import __version__
from engineworks.errors import Error

if TYPE_CHECKING:
    from cyclopts import App

FAILED, WRONG_USAGE, STOPPED = 1, 2, 130
COMMANDS = {
    "build": "Compile a model into an engine file.",
    "run": "Run an engine (or a model) on arrays.",
    "bench": "Latency and throughput of an engine, by layer if asked.",
    "inspect": "What is in an engine or a model; executes nothing.",
    "explain": "What the builder decided and why.",
    "compare": "How far an engine is from its model, and where the error starts.",
    "calibrate": "Find ranges for INT8 from example inputs.",
    "tune": "Measure the kernels of a model and keep the times.",
    "opt": "Print the graph after a phase, in the textual form.",
    "ops": "Operators that models may use.",
    "doctor": "What works on this machine and what to install.",
    "demo": "Read text in an image with three small networks, end to end.",
}


class UsageError(Error):
    """The command line itself is wrong: exit status 2."""


def run() -> NoReturn:
    """Console entry point."""
    sys.exit(main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """Run one command; the exit status."""
    from cyclopts import CycloptsError

    debug = os.environ.get("ENGINEWORKS_LOG", "") == "debug"
    try:
        status = _app()(list(arguments))
    except CycloptsError as error:
        return _say(str(error), WRONG_USAGE)
    except UsageError as error:
        return _say(str(error), WRONG_USAGE)
    except KeyboardInterrupt:
        return _say("stopped; no file was left half written", STOPPED)
    except BrokenPipeError:
        sys.stdout = None  # type: ignore[assignment]  # the reader is gone: nothing is to be flushed at exit
        return FAILED
    except (Error, OSError, ValueError) as error:
        if debug:
            raise
        return _say(f"{type(error).__name__}: {error}" if isinstance(error, Error) else str(error), FAILED)
    return status if isinstance(status, int) else 0


def _say(message: str, status: int) -> int:
    sys.stderr.write(f"engineworks: {message}\n")
    return status


def _app() -> App:
    from cyclopts import App

    app = App(
        name="engineworks",
        help="An open TensorRT: compiles models into engine files and runs them.",
        version=__version__,
        suppress_keyboard_interrupt=False,
        exit_on_error=False,
        print_error=False,
        help_on_error=False,
        result_action="return_value",
    )
    for name, text in COMMANDS.items():
        app.command(f"engineworks.cli.{name}:{name}", name=name, help=text)
    return app
