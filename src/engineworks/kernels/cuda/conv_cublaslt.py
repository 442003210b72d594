"""conv of single pixels by cuBLASLt: with channels innermost it is a product of pixels x channels with filters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from engineworks.codegen.triton.gpu import Gpu
from engineworks.core import dtypes
from engineworks.core.dims import Dim, known_positive, multiple_of, product
from engineworks.engine.library_calls import MatmulCall, Matrix, encode
from engineworks.errors import NoTactic
from engineworks.kernels.cuda.conv_cudnn import is_channels_last
from engineworks.kernels.cuda.library_epilogue import LibraryEpilogue, library_epilogue
from engineworks.kernels.cuda.library_proposals import proposals, require_measuring
from engineworks.kernels.cuda.library_words import LibraryWords, bias_word, library_image, rounds_bias
from engineworks.kernels.cuda.matmul_cublaslt import (
    OUTPUTS,
    TRIED,
    WORKSPACE,
    predict,
    sums_in,
)
from engineworks.kernels.tactic import (
    Effort,
    Input,
    KernelImage,
    Output,
    Packed,
    PackedConstant,
    Tactic,
    Workspace,
)
from engineworks.kernels.workload import Workload, input_type
from engineworks.ops._windows import per_axis
from engineworks.ops.conv import Conv


@dataclass(frozen=True, slots=True)
class Pixels:
    """A conv workload as a product.

    Attributes:
        pixels, channels, outputs: rows, summed axis and columns.
        compute: see `MatmulCall`.
        bias: the input that is added for each channel, the op's own or the epilogue's.
    """

    pixels: Dim
    channels: Dim
    outputs: Dim
    compute: str
    epilogue: LibraryEpilogue
    bias: int | None


def pixels_of(work: Workload) -> Pixels:
    """The workload's product.

    Raises:
        NoTactic: it is none, or the library does not compute it.
    """
    op = work.anchor
    if not isinstance(op, Conv):
        raise NoTactic("not a conv")
    x, w, y = input_type(work, 0), input_type(work, 1), work.outputs[0]
    axes = x.rank - 2
    moved = any(s != 1 for s in per_axis(op.strides, axes, "strides")) or any(op.pads)
    if any(k != 1 for k in w.shape[2:]) or moved or op.groups != 1 or op.auto_pad not in ("NOTSET", "VALID"):
        raise NoTactic("not a convolution of each pixel alone")
    if not all(is_channels_last(t) for t in (x, y)) or not work.inputs[1].constant:  # type: ignore[union-attr]
        raise NoTactic("channels must be innermost, without padding, and the filters constant")
    if x.dtype is not w.dtype or y.dtype.name not in OUTPUTS.get(x.dtype.name, ()):
        raise NoTactic(f"cuBLASLt has no product of {x.dtype} and {w.dtype} in {y.dtype}")
    if x.dtype is dtypes.i8 and any(multiple_of(d) % 4 for d in w.shape[:2]):
        raise NoTactic("cuBLASLt multiplies 8-bit integers only in fours")
    if not all(known_positive(d) for d in w.shape[:2]):
        raise NoTactic("there may be no channels")
    own = next((k for k in range(2, work.anchor_inputs) if work.inputs[k] is not None), None)
    epilogue = library_epilogue(work)
    if own is not None and epilogue.bias is not None:
        raise NoTactic("cuBLASLt adds one bias")
    if not y.dtype.is_float and (work.epilogue is not None or own is not None):
        raise NoTactic("products of integers take no epilogue")
    if own is not None and epilogue.alpha != 1.0:
        raise NoTactic("cuBLASLt scales no bias")
    pixels = product([x.shape[0], *x.shape[2:]])
    bias = own if own is not None else epilogue.bias
    return Pixels(pixels, w.shape[1], w.shape[0], sums_in(op, x.dtype), epilogue, bias)


class CublasltConv:
    """See the module."""

    name = "cuda.cublaslt_conv"
    version = 1
    source = "cublaslt"

    def propose(self, work: Workload, isa: Gpu, effort: Effort) -> Iterable[Tactic]:
        found = pixels_of(work)
        require_measuring(TRIED, effort)
        multiplies = product([found.pixels, found.channels, found.outputs])
        seconds = predict(work, multiplies, found.compute, isa)
        loose = rounds_bias(work, found.bias)
        return proposals(self.name, TRIED[effort], seconds, is_loose=loose)

    def build(self, work: Workload, tactic: Tactic, isa: Gpu) -> KernelImage:
        found, packed = pixels_of(work), [PackedConstant(_Matrix(1))]
        words = LibraryWords([Packed(0), Input(0), Output(0), Workspace(0)])
        if found.bias is not None:
            words.words.append(bias_word(work, found.bias, packed))
        if found.epilogue.residual is not None:
            words.words.append(Input(found.epilogue.residual))
        dtype, size = input_type(work, 0).dtype.name, words.size
        call = MatmulCall(
            m=size(found.outputs), n=size(found.pixels), k=size(found.channels),
            a=Matrix(dtype, size(found.channels), transposed=True), b=Matrix(dtype, size(found.channels)),
            d=Matrix(work.outputs[0].dtype.name, size(found.outputs)),
            compute=found.compute,  # type: ignore[arg-type]
            alpha=found.epilogue.alpha, bias=found.bias is not None,
            residual=found.epilogue.residual is not None, relu=found.epilogue.relu,
            heuristic=tactic.config.proposal, workspace_bytes=WORKSPACE,
        )  # fmt: skip
        return library_image("cublaslt", encode(call), words, packed, WORKSPACE)


@dataclass(frozen=True, slots=True)
class _Matrix:
    """Constant filters [outputs, channels, 1...] row after row."""

    index: int

    def __call__(self, constants: Mapping[int, np.ndarray]) -> np.ndarray:
        filters = constants[self.index]
        return np.ascontiguousarray(filters.reshape(filters.shape[:2]))


PROVIDERS: Sequence[CublasltConv] = (CublasltConv(),)
