"""Every exception that Engineworks raises, as one tree.

    Error
    ├── BuildError              a model cannot become an engine
    │   ├── InvalidModel            the model itself is wrong: not ONNX, types that clash, a missing input
    │   ├── UnsupportedOperator     the model uses an operator, attribute or type that has no implementation
    │   ├── Undecided               a question about symbolic dims has no answer for all their values
    │   ├── NoTactic                no kernel provider can compute a workload
    │   ├── TuningError             a measurement could not be made
    │   └── CalibrationError        ranges of activations cannot be found, or read
    ├── EngineError             a file cannot become a running engine
    │   ├── CorruptEngine           not an engine, cut short or damaged
    │   ├── NewerFormat             written by a newer Engineworks
    │   └── EngineMismatch          built for hardware that this machine is not
    ├── RunError                an engine cannot run this call
    │   ├── InvalidInput            wrong name, shape, dtype or value of an input or output
    │   └── DeviceError             the device refused: memory, threads, a driver call
    ├── Unsupported             a part of a foreign API that Engineworks answers another way
    └── MissingExtra            an optional package is not installed

A message says what happened, where, why, and what to do, in the names that the user gave.
"""

from __future__ import annotations


class Error(Exception):
    """The base: `except engineworks.Error` catches everything we raise on purpose."""


class BuildError(Error):
    """A model cannot become an engine."""


class InvalidModel(BuildError):
    """The model itself is wrong: not a model file, types that clash, names that lead nowhere."""


class UnsupportedOperator(BuildError):
    """The model uses an operator, an attribute or a type that has no implementation."""


class Undecided(BuildError):
    """A question about symbolic dims (equal? divisible? at least?) has no answer valid for all their
    values.
    """


class NoTactic(BuildError):
    """No kernel provider can compute a workload, or each of them was rejected."""


class TuningError(BuildError):
    """A kernel could not be measured: the worker died, timed out or gave no result."""


class CalibrationError(BuildError):
    """Ranges of activations cannot be found from the data given, or a calibration cache cannot be read."""


class EngineError(Error):
    """A file cannot become a running engine."""


class CorruptEngine(EngineError):
    """The bytes are not an engine, or an engine cut short or damaged."""


class NewerFormat(EngineError):
    """The engine was written by a newer Engineworks, in a format that this one cannot read."""


class EngineMismatch(EngineError):
    """The engine was built for a device or for CPU features that this machine lacks."""


class RunError(Error):
    """An engine cannot run this call."""


class InvalidInput(RunError):
    """An input or output has the wrong name, shape, dtype or value."""


class DeviceError(RunError):
    """The device refused: no memory, no threads, a failing driver call."""


class Unsupported(Error):
    """A part of a foreign API that Engineworks answers another way; the message names that way."""


class MissingExtra(Error):
    """An optional package is not installed; the message gives the command that installs it."""
