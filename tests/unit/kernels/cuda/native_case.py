"""One op through the kernels of one CUDA provider, in the interpreter, against the op's reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from engineworks.codegen.triton.gpu import Gpu, gpu_of
from engineworks.core import dtypes
from engineworks.core.dims import Dim
from engineworks.core.types import TensorType
from engineworks.ir.op import Op
from engineworks.kernels.tactic import KernelImage, Tactic, TacticProvider
from engineworks.kernels.workload import Operand, Workload
from engineworks.testing.gpu_kernels import compile_image, interpret_image
from engineworks.testing.native import reference

GPU = gpu_of("sm_90")
Shapes = Sequence[tuple[Dim, ...]]


def workload(op: Op, arrays: Sequence[np.ndarray | None], shapes: Shapes | None = None) -> Workload:
    """The op on inputs like these arrays, or of these shapes."""
    types = [
        None if a is None else TensorType(dtypes.from_numpy(a.dtype), tuple(shapes[k]) if shapes else a.shape)
        for k, a in enumerate(arrays)
    ]
    operands = tuple(None if t is None else Operand(t) for t in types)
    return Workload(op, operands, len(types), op.infer(*types))


def run(
    image: KernelImage,
    work: Workload,
    arrays: Sequence[np.ndarray | None],
    dims: Mapping[str, int] | None = None,
) -> list[np.ndarray]:
    """Outputs of an image; sizes that it writes are laid out as the reference has them, and must come out so."""
    assert work.anchor is not None
    sizes = dict(dims or {})
    for t, e in zip(work.outputs, reference(work.anchor, arrays, sizes), strict=True):
        sizes |= {
            n: int(s)
            for d, s in zip(t.shape, e.shape, strict=True)
            for n in image.writes_symbols
            if str(d) == n
        }
    given = [
        None if a is None or operand is None else (a, operand.type)
        for a, operand in zip(arrays, work.inputs, strict=True)
    ]
    with np.errstate(all="ignore"):
        return interpret_image(image, given, work.outputs, sizes, symbols=image.writes_symbols)


def images(
    provider: TacticProvider, work: Workload, effort: int = 1, gpu: Gpu = GPU
) -> Iterator[tuple[Tactic, KernelImage]]:
    """Every tactic proposed, and what it builds."""
    for tactic in provider.propose(work, gpu, effort):
        yield tactic, provider.build(work, tactic, gpu)


def compiles(provider: TacticProvider, work: Workload, effort: int = 0) -> None:
    """Compile what is proposed for sm_90; tests/conformance/test_cuda_compiles.py asks for other architectures too."""
    for _, image in images(provider, work, effort):
        compile_image(image, GPU)
