"""Builder: makes networks and configs, and builds. A failed build is logged and gives None, as in TensorRT."""

from __future__ import annotations

from typing import Any

from engineworks.errors import Error
from engineworks.tensorrt.compile import compile_network
from engineworks.tensorrt.config import IBuilderConfig, IOptimizationProfile
from engineworks.tensorrt.engine import ICudaEngine
from engineworks.tensorrt.enums import Severity
from engineworks.tensorrt.logger import ILogger
from engineworks.tensorrt.network import INetworkDefinition
from engineworks.tensorrt.runtime import Runtime
from engineworks.tensorrt.unsupported import Face
from engineworks.tensorrt.values import IHostMemory


class Builder(Face):
    """The start of every build.

    Args:
        target: what engines are for, as BuildConfig has it: 'cpu', 'cuda' (this machine's GPU), 'cuda:sm_90', …;
            TensorRT's programs do not say, and get engines for this machine's CPU. `IBuilderConfig.target` is of one
            build.
    """

    # Every CPU that engines are built for converts half, and multiplies 8-bit integers at least as AVX2 does.
    platform_has_tf32 = platform_has_fast_fp16 = platform_has_fast_int8 = True
    num_DLA_cores = max_DLA_batch_size = 0

    def __init__(self, logger: ILogger, *, target: str = "cpu") -> None:
        self.logger = logger
        self.target = target
        self.max_batch_size = 1
        self.max_threads = 1
        self.error_recorder: Any = None

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        return INetworkDefinition(int(flags))

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig(self.target)

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(
        self, network: INetworkDefinition, config: IBuilderConfig
    ) -> IHostMemory | None:
        """The engine file, or None after an error was logged."""
        try:
            return IHostMemory(compile_network(network, config, self.logger))
        except Error as error:
            self.logger.log(Severity.ERROR, f"{type(error).__name__}: {error}")
            return None

    def build_engine_with_config(
        self, network: INetworkDefinition, config: IBuilderConfig
    ) -> ICudaEngine | None:
        plan = self.build_serialized_network(network, config)
        return None if plan is None else Runtime(self.logger).deserialize_cuda_engine(plan)

    build_engine = build_engine_with_config

    def build_cuda_engine(self, network: INetworkDefinition) -> ICudaEngine | None:
        return self.build_engine_with_config(network, self.create_builder_config())

    def is_network_supported(self, network: INetworkDefinition, config: IBuilderConfig) -> bool:
        return network.foreign is not None

    def reset(self) -> None:
        self.error_recorder = None
