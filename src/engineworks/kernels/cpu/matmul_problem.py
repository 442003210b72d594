"""A matmul workload seen as the tile kernel sees it: rows x depth times depth x columns, with strides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engineworks.core.dims import Dim, known_equal, product
from engineworks.core.dtypes import DType
from engineworks.core.types import TensorType
from engineworks.errors import NoTactic
from engineworks.kernels.workload import Workload


@dataclass(frozen=True, slots=True)
class Batch:
    """One axis of independent products: its size and the elements to step in each operand (0: shared)."""

    size: Dim
    left: Dim
    right: Dim
    out: Dim


@dataclass(frozen=True, slots=True)
class Problem:
    """out[r, c] = Σ_k left[r, k] * right[k, c] for each point of `batches`. Strides count elements.

    The columns are contiguous in the output; where the output's rows are, the operands change places (swapped).

    Attributes:
        left_input, right_input: which of the workload's inputs they are.
        left_type, right_type: dtypes.
        epilogue 'channel' operands run along the columns.
    """

    rows: Dim
    columns: Dim
    depth: Dim
    left_input: int
    right_input: int
    left_row: Dim
    left_depth: Dim
    right_depth: Dim
    right_column: Dim
    out_row: Dim
    batches: tuple[Batch, ...]
    right_constant: bool
    left_type: DType
    right_type: DType

    @property
    def batch_count(self) -> Dim:
        return product(b.size for b in self.batches)

    @property
    def right_batches(self) -> tuple[Batch, ...]:
        """The batch axes along which the right operand differs."""
        return tuple(b for b in self.batches if b.right != 0)

    @property
    def multiplies(self) -> Dim:
        """Multiply-adds of the whole workload."""
        return product([self.rows, self.columns, self.depth, self.batch_count])


def problem_of(work: Workload) -> Problem:
    """The workload's Problem.

    Raises:
        NoTactic: the output is contiguous along neither rows nor columns.
    """
    assert work.inputs[0] is not None and work.inputs[1] is not None
    left, right, out = work.inputs[0].type, work.inputs[1].type, work.outputs[0]
    rank = out.rank
    swapped = _is_swapped(out)
    types = (right, left) if swapped else (left, right)
    axis_row, axis_column = (rank - 1, rank - 2) if swapped else (rank - 2, rank - 1)
    strides = [_broadcast_strides(t, rank) for t in types]
    # A transposed operand pair: rows are the last axis of b, its depth the axis before.
    left_depth = strides[0][rank - 2 if swapped else rank - 1]
    right_depth = strides[1][rank - 1 if swapped else rank - 2]
    out_strides = out.strides()
    batches = [Batch(out.shape[a], strides[0][a], strides[1][a], out_strides[a]) for a in range(rank - 2)]
    rows = Batch(out.shape[axis_row], strides[0][axis_row], 0, out_strides[axis_row])
    rows, batches = _merged_rows(rows, [b for b in batches if b.size != 1])
    return Problem(
        rows=rows.size, columns=out.shape[axis_column], depth=left.shape[-1],
        left_input=int(swapped), right_input=int(not swapped),
        left_row=rows.left, left_depth=left_depth, right_depth=right_depth,
        right_column=strides[1][axis_column], out_row=rows.out,
        batches=tuple(batches), right_constant=work.inputs[int(not swapped)].constant,  # type: ignore[union-attr]
        left_type=types[0].dtype, right_type=types[1].dtype,
    )  # fmt: skip


def _is_swapped(out: TensorType) -> bool:
    """Whether the columns of the output are not contiguous but its rows are."""
    strides, rank = out.strides(), out.rank
    columns_lie = strides[rank - 1] == 1 and out.shape[rank - 1] != 1
    rows_lie = strides[rank - 2] == 1 or out.shape[rank - 2] == 1
    if columns_lie:
        return False
    if rows_lie and (strides[rank - 2] == 1):
        return True
    if strides[rank - 1] == 1 or out.shape[rank - 1] == 1:
        return False
    raise NoTactic(f"the output {out} is contiguous along neither its rows nor its columns")


def _broadcast_strides(t: TensorType, rank: int) -> tuple[Dim, ...]:
    """Strides by output axis; 0 along axes that are broadcast (or have one element)."""
    missing = rank - t.rank
    own = [0 if t.shape[a] == 1 and a < t.rank - 2 else s for a, s in enumerate(t.strides())]
    return (0,) * missing + tuple(own)


def _merged_rows(rows: Batch, batches: Sequence[Batch]) -> tuple[Batch, list[Batch]]:
    """Batch axes that only continue the rows become rows: [B, S, K] @ [K, N] is one product of B*S rows."""
    left_over = list(batches)
    while True:
        for axis in reversed(left_over):
            joined = _joined(axis, rows)
            if joined is not None:
                rows = joined
                left_over.remove(axis)
                break
        else:
            return rows, left_over


def _joined(outer: Batch, inner: Batch) -> Batch | None:
    if outer.right != 0:
        return None
    if inner.size == 1:
        return outer
    follows = known_equal(outer.left, inner.size * inner.left) and known_equal(
        outer.out, inner.size * inner.out
    )
    return Batch(outer.size * inner.size, inner.left, 0, inner.out) if follows else None
