"""OnnxParser: reads a model into a network; errors are kept, not raised."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from engineworks.errors import BuildError, UnsupportedOperator
from engineworks.tensorrt.enums import ErrorCode, OnnxParserFlag, Severity
from engineworks.tensorrt.logger import ILogger
from engineworks.tensorrt.network import INetworkDefinition
from engineworks.tensorrt.unsupported import Face


class ParserError(Face):
    """One error of a parse."""

    def __init__(self, error: BuildError) -> None:
        self._error = error

    def desc(self) -> str:
        return str(self._error)

    def code(self) -> ErrorCode:
        unsupported = isinstance(self._error, UnsupportedOperator)
        return ErrorCode.UNSUPPORTED_NODE if unsupported else ErrorCode.INVALID_GRAPH

    def node(self) -> int:
        return -1

    def file(self) -> str:
        return ""

    def line(self) -> int:
        return 0

    def func(self) -> str:
        return ""

    def __str__(self) -> str:
        return f"In node -1 ({self.code().name}): {self.desc()}"


class OnnxParser(Face):
    """Fills `network` from ONNX bytes or files."""

    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        self._network, self._logger = network, logger
        self._errors: list[ParserError] = []
        self.flags = 1 << OnnxParserFlag.NATIVE_INSTANCENORM

    def parse(self, model: Any, path: str | None = None) -> bool:
        """True when the network now holds the model; `path` says where its external data lies."""
        return self._read(Path(path) if path else bytes(model))

    def parse_from_file(self, model: str | os.PathLike[str]) -> bool:
        return self._read(Path(model))

    def _read(self, source: Path | bytes) -> bool:
        from engineworks.frontends.importer import require_rules
        from engineworks.frontends.onnx.reader import read

        try:
            foreign = read(source)
            require_rules(foreign)
        except BuildError as error:
            self._errors.append(ParserError(error))
            self._logger.log(Severity.ERROR, str(error))
            return False
        self._network.take(foreign)
        return True

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]

    def clear_errors(self) -> None:
        self._errors.clear()

    def supports_operator(self, op_name: str) -> bool:
        """Whether models may use ONNX's `op_name`."""
        from engineworks.frontends.onnx.standard import coverage

        return any(c.kind == op_name and (c.has_rule or c.has_body) for c in coverage())

    def set_flag(self, flag: OnnxParserFlag) -> None:
        self.flags |= 1 << int(flag)

    def clear_flag(self, flag: OnnxParserFlag) -> None:
        self.flags &= ~(1 << int(flag))

    def get_flag(self, flag: OnnxParserFlag) -> bool:
        return bool(self.flags >> int(flag) & 1)

    def get_used_vc_plugin_libraries(self) -> list[str]:
        return []
