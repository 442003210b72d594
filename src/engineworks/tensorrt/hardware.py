"""What a build is for: target, compatibility, libraries and TF32 as fields of BuildConfig."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engineworks.tensorrt.enums import BuilderFlag, HardwareCompatibilityLevel, Severity, TacticSource
from engineworks.tensorrt.logger import ILogger

if TYPE_CHECKING:
    from engineworks.tensorrt.config import IBuilderConfig

LIBRARIES = {TacticSource.CUBLAS: "cublaslt", TacticSource.CUBLAS_LT: "cublaslt", TacticSource.CUDNN: "cudnn"}
OLDEST = "cuda:sm_80"
"""The target whose engines every GPU from Ampere on can run."""


def hardware_options(config: IBuilderConfig, logger: ILogger) -> dict[str, Any]:
    """Fields of BuildConfig. A level of compatibility that changes the target is told to the logger."""
    options: dict[str, Any] = {"target": config.target, "tf32": config.get_flag(BuilderFlag.TF32)}
    if "cuda" not in config.target:
        return options
    asked = {name for source, name in LIBRARIES.items() if config.tactic_sources >> source & 1}
    options["tactic_sources"] = ("triton", *sorted(asked))
    match HardwareCompatibilityLevel(config.hardware_compatibility_level):
        case HardwareCompatibilityLevel.AMPERE_PLUS:
            options["hardware_compatibility"] = "ampere_plus"
            if OLDEST not in config.target:
                logger.log(
                    Severity.WARNING,
                    f"HardwareCompatibilityLevel.AMPERE_PLUS: kernels are for {OLDEST}, not for {config.target}; newer "
                    f"GPUs compile them when they load the engine, without the matrix instructions of their own",
                )
                options["target"] = OLDEST
        case HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY:
            options["hardware_compatibility"] = "same_compute_capability"
    return options
