"""What a build and its measuring process say to each other: pickled records over a pipe, each behind its length.

They live apart from the worker, which runs as `__main__` and would otherwise define them a second time.
"""

from __future__ import annotations

import pickle
import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

from engineworks.core.target import Target
from engineworks.kernels.tactic import Hardware, Tactic
from engineworks.kernels.workload import Workload


@dataclass(frozen=True, slots=True)
class Setup:
    """Sent once."""

    target: Target
    isa: Hardware
    objects: str | None
    threads: int


@dataclass(frozen=True, slots=True)
class Job:
    """One workload and the (provider name, tactic) pairs to try. `compile_only` just fills the object cache."""

    work: Workload
    tactics: tuple[tuple[str, Tactic], ...]
    dims: dict[str, int]
    compile_only: bool = False


@dataclass(frozen=True, slots=True)
class Timed:
    """What a GPU took.

    Attributes:
        seconds: the least of all rounds.
        spread: how much longer the slowest round took, as a share.
    """

    seconds: float
    spread: float


Results = dict[int, "float | Timed | str"]
"""Seconds of one run by the candidate's number, or why it was rejected."""


@dataclass(frozen=True, slots=True)
class WholeJob:
    """A finished engine to be run with each of these numbers of threads; the results are keyed by the number."""

    file: bytes
    threads: tuple[int, ...]


def send(pipe: BinaryIO, message: object) -> None:
    """Write one message."""
    data = pickle.dumps(message)
    pipe.write(struct.pack("<Q", len(data)) + data)
    pipe.flush()


def receive(pipe: BinaryIO) -> Any:
    """Read one message and nothing beyond it; EOFError when the other side is gone."""
    (length,) = struct.unpack("<Q", _exactly(pipe, 8))
    return pickle.loads(_exactly(pipe, length))


def _exactly(pipe: BinaryIO, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        piece = pipe.read(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)
