"""conv by cuDNN, channels innermost, with the epilogues that it fuses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from engineworks.codegen.triton.gpu import Gpu
from engineworks.core import dtypes
from engineworks.core.dims import Dim, bounds, product
from engineworks.core.dtypes import DType
from engineworks.core.types import TensorType
from engineworks.engine.library_calls import ConvolutionCall, Tensor, encode
from engineworks.errors import NoTactic
from engineworks.kernels.cost import typical
from engineworks.kernels.cuda.library_epilogue import LibraryEpilogue, library_epilogue
from engineworks.kernels.cuda.library_proposals import proposals, require_measuring
from engineworks.kernels.cuda.library_words import LibraryWords, bias_word, library_image, rounds_bias
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
from engineworks.ops._windows import per_axis, place_all
from engineworks.ops.conv import Conv

WORKSPACE = 64 << 20
"""Bytes that the library may use."""
TRIED = (0, 1, 3, 4, 6, 12)
"""Proposals of the library that are measured, by effort; a plan takes up to a second to make."""
LAUNCH_S = 3e-6
REACHED = 0.6
"""Of what the hardware gives, where nothing is known better."""
_DTYPES = ("f16", "bf16", "f32")
_NARROWEST, _WIDEST = 3, 5
"""Ranks: one to three spatial axes."""


@dataclass(frozen=True, slots=True)
class Convolution:
    """A conv workload as cuDNN can compute it.

    Attributes:
        bias: the input that is added for each channel, the op's own or the epilogue's.
    """

    op: Conv
    x: TensorType
    w: TensorType
    y: TensorType
    epilogue: LibraryEpilogue
    bias: int | None

    @property
    def needs_bias(self) -> bool:
        """cuDNN fuses a residual or relu only behind a bias."""
        return self.bias is not None or self.epilogue.relu or self.epilogue.residual is not None


def convolution_of(work: Workload) -> Convolution:
    """The workload's convolution.

    Raises:
        NoTactic: the library does not compute it so.
    """
    op = work.anchor
    if not isinstance(op, Conv):
        raise NoTactic("not a conv")
    x, w, y = input_type(work, 0), input_type(work, 1), work.outputs[0]
    if not _NARROWEST <= x.rank <= _WIDEST:
        raise NoTactic("cuDNN convolves along one, two or three axes")
    if x.dtype is not w.dtype or x.dtype is not y.dtype or x.dtype.name not in _DTYPES:
        raise NoTactic(
            f"cuDNN convolves {', '.join(_DTYPES)}, each into itself; this is {x.dtype} into {y.dtype}"
        )
    if not all(is_channels_last(t) for t in (x, y)):
        raise NoTactic("channels must be innermost, without padding")
    if not work.inputs[1].constant or not isinstance(x.shape[1], int):  # type: ignore[union-attr]
        raise NoTactic("filters must be constant")
    epilogue = library_epilogue(work)
    if epilogue.alpha != 1.0:
        raise NoTactic("cuDNN scales no sums here")
    own = 2 if work.anchor_inputs > 2 and work.inputs[2] is not None else None
    if own is not None and epilogue.bias is not None:
        raise NoTactic("cuDNN adds one bias")
    if any((bounds(d)[0] or 0) < 0 for window in _windows(op, x, w) for d in window[:2]):
        raise NoTactic("padding may be negative")
    return Convolution(op, x, w, y, epilogue, own if own is not None else epilogue.bias)


def is_channels_last(t: TensorType) -> bool:
    """Channels lie innermost, and nothing lies between the rows."""
    layout = t.layout
    if layout is None:
        return t.shape[1] == 1 and all(d == 1 for d in t.shape[2:])
    return layout.row_pad == 0 and layout.strides is None and layout.order == (0, *range(2, t.rank), 1)


def _windows(op: Conv, x: TensorType, w: TensorType) -> list[tuple[Dim, Dim]]:
    """Padding before and after along each spatial axis."""
    kernel = [d for d in w.shape[2:] if isinstance(d, int)]
    return [(p.pad_before, p.pad_after) for p in place_all(op, x.shape[2:], kernel)]


class CudnnConv:
    """See the module."""

    name = "cuda.cudnn_conv"
    version = 1
    source = "cudnn"

    def propose(self, work: Workload, isa: Gpu, effort: Effort) -> Iterable[Tactic]:
        convolution = convolution_of(work)
        require_measuring(TRIED, effort)
        seconds = _predict(convolution, isa)
        loose = rounds_bias(work, convolution.bias)
        return proposals(self.name, TRIED[effort], seconds, is_loose=loose)

    def build(self, work: Workload, tactic: Tactic, isa: Gpu) -> KernelImage:
        c = convolution_of(work)
        packed = [PackedConstant(_ChannelsLast(1))]
        words = LibraryWords([Input(0), Packed(0), Output(0), Workspace(0)])
        if c.bias is not None:
            words.words.append(bias_word(work, c.bias, packed))
        elif c.needs_bias:
            words.words.append(Packed(len(packed)))
            packed.append(PackedConstant(_Zeros(int(c.y.shape[1]), c.y.dtype)))  # type: ignore[call-overload]
        if c.epilogue.residual is not None:
            words.words.append(Input(c.epilogue.residual))
        text = encode(_call(c, tactic.config.proposal, words))
        return library_image("cudnn", text, words, packed, WORKSPACE)


def _call(c: Convolution, proposal: int, words: LibraryWords) -> ConvolutionCall:
    axes = c.x.rank - 2
    lone = (1,) * (axes == 1)  # the library has no convolution along one axis
    pads = _windows(c.op, c.x, c.w)
    zero = (0,) * len(lone)
    return ConvolutionCall(
        x=_tensor(c.x, words), w=_tensor(c.w, words), y=_tensor(c.y, words),
        strides=(*lone, *per_axis(c.op.strides, axes, "strides")),
        dilations=(*lone, *per_axis(c.op.dilations, axes, "dilations")),
        pads_before=(*zero, *words.sizes([p[0] for p in pads])),
        pads_after=(*zero, *words.sizes([p[1] for p in pads])),
        rounds=c.x.dtype is not dtypes.f32 or getattr(c.op, "allow_tf32", False),
        bias=c.needs_bias, residual=c.epilogue.residual is not None, relu=c.epilogue.relu,
        heuristic=proposal, workspace_bytes=WORKSPACE,
    )  # fmt: skip


def _tensor(t: TensorType, words: LibraryWords) -> Tensor:
    """A tensor whose channels are innermost, with two spatial axes at least."""
    first, channels, *spatial = t.shape
    if len(spatial) == 1:
        spatial = [1, *spatial]
    steps = [product([channels, *spatial[k + 1 :]]) for k in range(len(spatial))]
    strides = (product([channels, *spatial]), 1, *steps)
    return Tensor(t.dtype.name, words.sizes((first, channels, *spatial)), words.sizes(strides))


@dataclass(frozen=True, slots=True)
class _ChannelsLast:
    """Constant filters [outputs, channels, taps...] with the channels innermost."""

    index: int

    def __call__(self, constants: Mapping[int, np.ndarray]) -> np.ndarray:
        return np.ascontiguousarray(np.moveaxis(constants[self.index], 1, -1))


@dataclass(frozen=True, slots=True)
class _Zeros:
    """A bias that adds nothing."""

    count: int
    dtype: DType

    def __call__(self, constants: Mapping[int, np.ndarray]) -> np.ndarray:
        return np.zeros(self.count, self.dtype.numpy)


def _predict(c: Convolution, gpu: Gpu) -> float:
    """Seconds by the roofline; only so that rankings have a number: the library is measured or not taken."""
    flops = gpu.half_flops
    if c.x.dtype is dtypes.f32:
        flops = gpu.half_flops / 2 if getattr(c.op, "allow_tf32", False) else gpu.float_flops
    multiplies = typical(c.y.count * product(c.w.shape[1:]), 1 << 30)
    moved = sum(typical(t.count, 1 << 20) * t.dtype.size_bytes for t in (c.x, c.w, c.y))
    return max(2 * multiplies / flops, moved / gpu.bytes_per_s) / REACHED + LAUNCH_S


PROVIDERS: Sequence[CudnnConv] = (CudnnConv(),)
