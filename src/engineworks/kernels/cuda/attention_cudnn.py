"""attention by cuDNN."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engineworks.codegen.triton.gpu import Gpu
from engineworks.core.dims import Dim, known_at_most, known_equal, known_positive
from engineworks.core.types import TensorType
from engineworks.engine.library_calls import AttentionCall, Tensor, encode
from engineworks.errors import NoTactic
from engineworks.kernels.cost import typical
from engineworks.kernels.cuda.library_proposals import proposals, require_measuring
from engineworks.kernels.cuda.library_words import LibraryWords, library_image
from engineworks.kernels.tactic import Effort, Input, KernelImage, Output, Tactic, Word, Workspace
from engineworks.kernels.workload import Workload, input_type
from engineworks.ops.attention import Attention

WORKSPACE = 32 << 20
"""Bytes that the library may use."""
TRIED = (0, 1, 2, 3, 4, 4)
"""Proposals of the library that are measured, by effort; it has few, and a plan takes up to a second to make."""
LAUNCH_S = 4e-6
REACHED = 0.5
"""Of what the hardware gives, where nothing is known better."""
_DTYPES = ("f16", "bf16")
_WIDEST = 256
"""Elements of a head."""
_GRAIN = 8
"""What the width of heads is a multiple of."""


@dataclass(frozen=True, slots=True)
class Operand:
    """Four axes (batch, heads, rows, columns): sizes, and elements from one to the next."""

    dtype: str
    dims: tuple[Dim, ...]
    strides: tuple[Dim, ...]


@dataclass(frozen=True, slots=True)
class Scaled:
    """An attention workload as cuDNN can compute it."""

    op: Attention
    q: Operand
    k: Operand
    v: Operand
    y: Operand
    mask: Operand | None
    causal: bool


def scaled_of(work: Workload) -> Scaled:
    """The workload's attention.

    Raises:
        NoTactic: the library does not compute it so.
    """
    op = work.anchor
    if not isinstance(op, Attention):
        raise NoTactic("not an attention")
    if work.epilogue is not None:
        raise NoTactic("attention takes no pointwise work after it")
    q, k, v = (_four(input_type(work, index)) for index in range(3))
    y = _four(work.outputs[0])
    given = next(
        (input_type(work, i) for i in range(3, work.anchor_inputs) if work.inputs[i] is not None), None
    )
    _require_widths(q, v)
    if not all(known_equal(q.dims[0], t.dims[0]) for t in (k, v)):
        raise NoTactic("keys and values are not there for each batch of the queries")
    keys = k.dims[2]
    if not known_positive(keys):
        raise NoTactic("there may be no keys")
    causal = op.causal and not known_at_most(keys, op.past + 1)
    if causal and op.past != 0:
        raise NoTactic("cuDNN hides keys behind the query of the same number only: there is a past")
    mask = None if given is None else _mask(given, work.outputs[0].rank, y.dims[:3], keys)
    return Scaled(op, q, k, v, y, mask, causal)


def _require_widths(q: Operand, v: Operand) -> None:
    if q.dtype not in _DTYPES:
        raise NoTactic(f"cuDNN attends in {', '.join(_DTYPES)}; this is {q.dtype}")
    for width in (q.dims[3], v.dims[3]):
        if not isinstance(width, int) or width % _GRAIN or not 0 < width <= _WIDEST:
            raise NoTactic(f"heads of {width}; cuDNN has multiples of {_GRAIN} up to {_WIDEST}")


def _four(t: TensorType) -> Operand:
    """[..., heads, rows, columns] with all axes before as one. Raises NoTactic: they do not lie as one, or columns lie
    apart.
    """
    *outer, heads, rows, columns = t.shape
    *steps, head, row, column = t.strides()
    if column != 1:
        raise NoTactic(f"{t} is not contiguous along the head's width")
    count, step = 1, heads * rows * columns
    for size, distance in reversed(list(zip(outer, steps, strict=True))):
        if size == 1:
            continue
        if count != 1 and not known_equal(distance, count * step):
            raise NoTactic(f"the batches of {t} do not lie at equal distances")
        step = distance if count == 1 else step
        count = size * count
    return Operand(t.dtype.name, (count, heads, rows, columns), (step, head, row, column))


def _mask(mask: TensorType, rank: int, rows: Sequence[Dim], keys: Dim) -> Operand:
    """A mask by the scores' axes. Raises NoTactic: it is one for several keys, or for a part of the batch axes."""
    dims = (1,) * (rank - mask.rank) + mask.shape
    strides = (0,) * (rank - mask.rank) + mask.strides()
    *outer, heads, queries, last = dims
    *steps, head, row, column = strides
    if column != 1 or not known_equal(last, keys):
        raise NoTactic(f"the mask {mask} is not there for each key, one after another")
    batched = [(d, s) for d, s in zip(outer, steps, strict=True) if d != 1]
    if len(batched) > 1 or (batched and not known_equal(batched[0][0], rows[0])):
        raise NoTactic(f"the mask {mask} is there for some axes of the batch and not for others")
    batch, step = batched[0] if batched else (1, heads * queries * last)
    return Operand(mask.dtype.name, (batch, heads, queries, last), (step, head, row, 1))


class CudnnAttention:
    """See the module."""

    name = "cuda.cudnn_attention"
    version = 1
    source = "cudnn"

    def propose(self, work: Workload, isa: Gpu, effort: Effort) -> Iterable[Tactic]:
        attention = scaled_of(work)
        require_measuring(TRIED, effort)
        seconds = _predict(attention, isa)
        return proposals(self.name, TRIED[effort], seconds)

    def build(self, work: Workload, tactic: Tactic, isa: Gpu) -> KernelImage:
        a = scaled_of(work)
        given: list[Word] = [Input(0), Input(1), Output(0), Workspace(0), Input(2)]
        words = LibraryWords([*given, Input(3)] if a.mask is not None else given)
        call = AttentionCall(
            q=_tensor(a.q, words), k=_tensor(a.k, words), v=_tensor(a.v, words), y=_tensor(a.y, words),
            scale=a.op.scale, mask=None if a.mask is None else _tensor(a.mask, words), causal=a.causal,
            heuristic=tactic.config.proposal, workspace_bytes=WORKSPACE,
        )  # fmt: skip
        return library_image("cudnn", encode(call), words, [], WORKSPACE)


def _tensor(operand: Operand, words: LibraryWords) -> Tensor:
    return Tensor(operand.dtype, words.sizes(operand.dims), words.sizes(operand.strides))


def _predict(a: Scaled, gpu: Gpu) -> float:
    """Seconds by the roofline; only so that rankings have a number: the library is measured or not taken."""
    batch, heads, queries, width = (typical(d) for d in a.q.dims)
    keys, wide = typical(a.k.dims[2]), typical(a.v.dims[3])
    flops = 2 * batch * heads * queries * keys * (width + wide)
    moved = 2 * batch * heads * (queries * (width + wide) + keys * (width + wide))
    return max(flops / gpu.half_flops, moved / gpu.bytes_per_s) / REACHED + LAUNCH_S


PROVIDERS: Sequence[CudnnAttention] = (CudnnAttention(),)
