"""What kernels are generated for: one GPU architecture and the sizes that matter to a schedule.

Figures are NVIDIA's, from the CUDA C++ programming guide (compute capabilities) and the data sheets of the part named.
"""

from __future__ import annotations

from dataclasses import dataclass

from engineworks.errors import BuildError


@dataclass(frozen=True, slots=True)
class Gpu:
    """One architecture, as code generation and cost models see it.

    Attributes:
        arch: 'sm_90'.
        processors: streaming multiprocessors.
        shared_bytes: the most shared memory of one block.
        l2_bytes: of the level-2 cache.
        bytes_per_s: of device memory.
        half_flops: dense fp16 or bf16 matrix arithmetic with fp32 sums. float_flops: fp32 outside of matrix units.
    """

    arch: str
    processors: int
    shared_bytes: int
    l2_bytes: int
    bytes_per_s: float
    half_flops: float
    float_flops: float

    @property
    def capability(self) -> int:
        """Compute capability as two digits or three: 90 for sm_90."""
        return int(self.arch.removeprefix("sm_"))

    @property
    def base(self) -> str:
        """What compiled kernels depend on: part of their key."""
        return self.arch

    def has(self, feature: str) -> bool:
        """True for 'tma' (bulk tensor copies), 'wgmma', 'pdl' (programmatic dependent launch), 'fp8' where present."""
        first = {"tma": 90, "wgmma": 90, "pdl": 90, "fp8": 89}[feature]
        return self.capability == 90 if feature == "wgmma" else self.capability >= first


KB = 1 << 10
MB = 1 << 20
GPUS = {
    gpu.arch: gpu
    for gpu in (
        Gpu("sm_80", 108, 163 * KB, 40 * MB, 1.6e12, 312e12, 19.5e12),  # A100
        Gpu("sm_86", 84, 99 * KB, 6 * MB, 0.77e12, 155e12, 38.7e12),  # A40, RTX 3090
        Gpu("sm_89", 142, 99 * KB, 96 * MB, 0.86e12, 362e12, 91e12),  # L40S, RTX 4090
        Gpu("sm_90", 132, 227 * KB, 50 * MB, 4.2e12, 660e12, 60e12),  # H200, as measured
        Gpu("sm_100", 148, 227 * KB, 126 * MB, 7.0e12, 1800e12, 75e12),  # B200
        Gpu("sm_120", 170, 99 * KB, 96 * MB, 1.6e12, 400e12, 105e12),  # RTX 5090
    )
}
"""By architecture."""


def gpu_of(arch: str) -> Gpu:
    """The GPU of an architecture.

    Raises:
        BuildError: no kernels are generated for it.
    """
    if arch not in GPUS:
        raise BuildError(f"no kernels are generated for cuda:{arch}; there are {', '.join(GPUS)}")
    return GPUS[arch]
