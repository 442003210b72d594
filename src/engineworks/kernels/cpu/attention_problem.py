"""An attention workload as its kernel sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engineworks.core import dtypes
from engineworks.core.dims import Dim, known_equal
from engineworks.core.dtypes import DType
from engineworks.core.types import TensorType
from engineworks.errors import NoTactic
from engineworks.kernels.tactic import Input, Output, Word
from engineworks.kernels.workload import Workload
from engineworks.ops.attention import Attention


@dataclass(frozen=True, slots=True)
class Matrix:
    """One operand: elements to step along each batch axis, the heads, the rows and the columns (0: broadcast).

    `panel`: elements from panel to panel of a packed operand; 0: it lies as the strides say. `dtype`: of its elements.
    """

    word: Word
    batch: tuple[Dim, ...]
    head: Dim
    row: Dim
    column: Dim
    panel: Dim = 0
    dtype: DType = dtypes.f32


@dataclass(frozen=True, slots=True)
class AttentionProblem:
    """softmax(queries keysᵀ * scale + mask) values for each head of each batch.

    Attributes:
        keys_matrix: [key][depth]; sharing: heads of queries for each head of keys and values.
        value_width: static columns of the values.
    """

    batch: tuple[Dim, ...]
    heads: Dim
    shared_heads: Dim
    queries: Dim
    keys: Dim
    depth: Dim
    value_width: int
    sharing: int
    scale: float
    causal: bool
    past: Dim
    query: Matrix
    key: Matrix
    values: Matrix
    mask: Matrix | None
    out: Matrix

    def matrices(self) -> Mapping[str, Matrix]:
        """By the name the emitter uses."""
        named = {"queries": self.query, "keys": self.key, "values": self.values, "out": self.out}
        return named if self.mask is None else {**named, "mask": self.mask}


def attention_problem(work: Workload) -> AttentionProblem:
    """The workload's problem.

    Raises:
        NoTactic: not attention of f32, bf16 or f16, or a form that the kernel does not take (the decomposition does).
    """
    op = work.anchor
    if not isinstance(op, Attention):
        raise NoTactic("not an attention")
    given = [o.type if o is not None else None for o in work.inputs[: work.anchor_inputs]]
    q, k, v = given[:3]
    mask = given[3] if len(given) > 3 else None
    out = work.outputs[0]
    assert q is not None and k is not None and v is not None, "attention takes queries, keys and values"
    if q.dtype.name not in ("f32", "bf16", "f16"):
        raise NoTactic(f"attention of {q.dtype} has no kernel")
    if work.epilogue is not None:
        raise NoTactic("attention takes no pointwise work after it")
    if not isinstance(v.shape[-1], int):
        raise NoTactic("the width of the values is symbolic")
    if 0 in (*q.shape, *k.shape, *v.shape):
        raise NoTactic("there are no queries, keys or values")
    if out.strides()[-1] != 1:
        raise NoTactic(f"the output {out} is not contiguous along the head's width")
    heads, shared = q.shape[-3], k.shape[-3]
    return AttentionProblem(
        batch=q.shape[:-3], heads=heads, shared_heads=shared, queries=q.shape[-2], keys=k.shape[-2], depth=q.shape[-1],
        value_width=v.shape[-1], sharing=1 if heads == shared else heads // shared,  # type: ignore[operator,arg-type]
        scale=op.scale, causal=op.causal, past=op.past,
        query=_matrix(Input(0), q), key=_matrix(Input(1), k), values=_matrix(Input(2), v),
        mask=None if mask is None else _mask(mask, out.rank), out=_matrix(Output(0), out),
    )  # fmt: skip


def _matrix(word: Word, t: TensorType) -> Matrix:
    *batch, head, row, column = t.strides()
    steps = tuple(0 if size == 1 else s for size, s in zip(t.shape, batch, strict=False))
    return Matrix(word, steps, head, row, column, dtype=t.dtype)


def _mask(mask: TensorType, rank: int) -> Matrix:
    """The mask's strides by the scores' axes, 0 where it is broadcast."""
    own = [0 if known_equal(size, 1) else s for size, s in zip(mask.shape, mask.strides(), strict=True)]
    *batch, head, row, column = [0] * (rank - mask.rank) + own
    if column not in (0, 1):
        raise NoTactic(f"the mask {mask} is not contiguous along the keys")
    return Matrix(Input(3), tuple(batch), head, row, column, dtype=mask.dtype)
