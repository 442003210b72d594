"""Runtime: engine files into engines."""

from __future__ import annotations

from typing import Any

from engineworks.errors import Error
from engineworks.tensorrt.engine import ICudaEngine
from engineworks.tensorrt.enums import Severity
from engineworks.tensorrt.logger import ILogger
from engineworks.tensorrt.unsupported import Face


class Runtime(Face):
    """Loads engines; a failure is logged and gives None, as in TensorRT."""

    num_DLA_cores = 0
    DLA_core = -1

    def __init__(self, logger: ILogger) -> None:
        self.logger = logger
        self.max_threads = 1
        self.engine_host_code_allowed = False
        self.error_recorder: Any = None
        self.temporary_directory: str | None = None

    def deserialize_cuda_engine(self, serialized_engine: Any) -> ICudaEngine | None:
        """The engine in bytes, a buffer, or an IStreamReader with read(size)."""
        from engineworks.runtime.engine import Engine

        data = serialized_engine
        try:
            if hasattr(data, "read") and not isinstance(data, (bytes, bytearray, memoryview)):
                data = b"".join(iter(lambda: bytes(serialized_engine.read(1 << 20)), b""))
            return ICudaEngine(Engine.open(bytes(data)))
        except Error as error:
            self.logger.log(Severity.ERROR, f"{type(error).__name__}: {error}")
            return None
