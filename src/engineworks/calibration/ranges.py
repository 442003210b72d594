"""Ranges: one scale a tensor, and the text file that TensorRT keeps them in (docs/reference/calibration-cache.md)."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from engineworks.errors import CalibrationError

LEVELS = 127
"""A symmetric 8-bit tensor holds -127 … 127: scale = range / 127."""

DEFAULT_VERSION = "101300"
"""Of TensorRT in the headers that we write: 10.13.0, the one that `engineworks.tensorrt` speaks for."""

_HEADER = re.compile(r"TRT-(?P<version>[0-9.]+)-(?P<algorithm>\S+)")
_LINE = re.compile(r"(?P<name>.*): *(?P<bits>[0-9a-fA-F]{1,8})")


@dataclass(frozen=True, slots=True, eq=False)
class Ranges(Mapping[str, float]):
    """Scales by tensor name: a value x is stored as round(x / scale), clipped to -127 … 127.

    Equal when names and scales are, whatever computed them.

    Attributes:
        scales: range / 127, each a float32 number >= 0 as the file holds it. 0 says that the tensor has no range and
            stays in floating point (`scale_of` answers None).
        algorithm: as TensorRT names it: EntropyCalibration2, EntropyCalibration, MinMaxCalibration, LegacyCalibration.
        version: of TensorRT, from the header.
    Raises:
        CalibrationError: a scale is negative, infinite or not a number, or a name holds a line break.
    """

    scales: Mapping[str, float]
    algorithm: str = "EntropyCalibration2"
    version: str = DEFAULT_VERSION

    def __post_init__(self) -> None:
        rounded = {name: _checked(name, scale) for name, scale in self.scales.items()}
        object.__setattr__(self, "scales", MappingProxyType(rounded))

    def __getitem__(self, name: str) -> float:
        return self.scales[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.scales)

    def __len__(self) -> int:
        return len(self.scales)

    def scale_of(self, name: str) -> float | None:
        """The scale of a tensor; None where there is none, or 0, which says the same."""
        return self.scales.get(name) or None

    def range_of(self, name: str) -> float | None:
        """The largest magnitude that the tensor keeps; None where it has no range."""
        scale = self.scale_of(name)
        return None if scale is None else scale * LEVELS

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Ranges:
        """The ranges in a file, written by TensorRT (any version) or by us.

        Raises:
            CalibrationError: not a calibration cache, or damaged: the sentence gives the line.
            OSError: the file cannot be opened.
        """
        return cls.decode(Path(path).read_bytes(), f"'{os.fspath(path)}'")

    @classmethod
    def decode(cls, content: bytes, origin: str = "the calibration cache") -> Ranges:
        """The ranges in a cache's bytes. Raises CalibrationError, as `read`."""
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            line = content[: error.start].count(b"\n") + 1
            raise CalibrationError(
                f"{origin}, line {line}: is not UTF-8 text, so not a calibration cache"
            ) from error
        # Only line feeds end lines: names may hold any other separator of Unicode.
        lines = [line.removesuffix("\r") for line in text.removeprefix("\ufeff").split("\n")]
        header = _HEADER.fullmatch(lines[0].strip())
        if header is None:
            raise CalibrationError(
                f"{origin}, line 1: a calibration cache begins with 'TRT-<version>-<algorithm>', "
                f"this one with {lines[0][:60]!r}"
            )
        scales: dict[str, float] = {}
        for number, line in enumerate(lines[1:], 2):
            if not line.strip():
                continue
            name, scale = _parsed(line, f"{origin}, line {number}")
            if scales.setdefault(name, scale) != scale:
                raise CalibrationError(
                    f"{origin}, line {number}: tensor '{name}' has another scale further up"
                )
        return cls(scales, header["algorithm"], header["version"])

    def encode(self) -> bytes:
        """The cache file's content."""
        bits = {name: np.float32(scale).view(np.uint32) for name, scale in self.scales.items()}
        lines = [
            f"TRT-{self.version}-{self.algorithm}",
            *(f"{name}: {int(b):08x}" for name, b in bits.items()),
        ]
        return ("\n".join(lines) + "\n").encode()

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the file in one step: after a failure the path holds what it held before. Raises OSError."""
        target = Path(path)
        # A folder of its own gives the file the permissions that open() would.
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
            temporary = Path(folder) / target.name
            temporary.write_bytes(self.encode())
            os.replace(temporary, target)


def _checked(name: str, scale: float) -> float:
    """The scale in float32. Raises CalibrationError."""
    if "\n" in name or "\r" in name:
        raise CalibrationError(
            f"tensor {name!r}: a name with a line break has no place in a calibration cache"
        )
    with np.errstate(over="ignore"):
        rounded = float(np.float32(scale))
    if not (np.isfinite(rounded) and rounded >= 0):
        raise CalibrationError(f"tensor '{name}': the scale {scale} is not a finite number >= 0")
    return rounded


def _parsed(line: str, where: str) -> tuple[str, float]:
    """Name and scale of one line. Raises CalibrationError."""
    found = _LINE.fullmatch(line.rstrip())
    if found is None:
        raise CalibrationError(
            f"{where}: expected 'tensor name: XXXXXXXX' (the scale's float32 bits in hexadecimal), found {line[:80]!r}"
        )
    scale = float(np.uint32(int(found["bits"], 16)).view(np.float32))
    if not (np.isfinite(scale) and scale >= 0):
        raise CalibrationError(
            f"{where}: the scale of '{found['name']}' is {scale}; it must be finite and not negative"
        )
    return found["name"], scale
