"""What an attention kernel computes, and how the work is cut."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from engineworks.core.dims import Dim, known_positive, product
from engineworks.core.dtypes import DType

Form = Literal["flash", "whole", "split"]
Precision = Literal["ieee", "tf32", "tf32x3"]
LOG2_E = math.log2(math.e)
LEAST_PART = 16
"""The smallest side of a matrix product."""
SPELLINGS = {"f32": "tl.float32", "f16": "tl.float16", "bf16": "tl.bfloat16"}


@dataclass(frozen=True, slots=True)
class Strided:
    """One operand: where it is, and elements to step along batch axes, heads, rows and columns (0: broadcast)."""

    word: object
    batch: tuple[Dim, ...]
    head: Dim
    row: Dim
    column: Dim


@dataclass(frozen=True, slots=True)
class AttentionShape:
    """softmax(q kᵀ * scale + mask) v of `heads` heads in each batch; `sharing` of them read one head of k and v.

    Attributes:
        causal: query i sees the keys up to past + i.
        partial_sums, partial_tops, partial_totals: words of the workspaces that 'split' joins.
    """

    dtype: DType
    batch: tuple[Dim, ...]
    heads: Dim
    sharing: int
    queries: Dim
    keys: Dim
    depth: int
    width: int
    scale: float
    causal: bool
    past: Dim
    q: Strided
    k: Strided
    v: Strided
    mask: Strided | None
    out: Strided
    partials: tuple[object, object, object] | None = None

    @property
    def lines(self) -> Dim:
        """Heads of keys in all batches."""
        return product(self.batch) * self.shared_heads

    @property
    def shared_heads(self) -> Dim:
        """Heads of keys in one batch."""
        return self.heads if self.sharing == 1 else self.heads // self.sharing

    @property
    def in_bits(self) -> bool:
        """Scores are held as powers of two: the factor is applied with the subtraction of the maximum."""
        return self.mask is None and self.scale > 0


@dataclass(frozen=True, slots=True)
class AttentionTiles:
    """One way to cut the work.

    Attributes:
        rows, keys: query rows of a program, keys of a block (all of them, rounded up, for 'whole').
        warps, stages: of a program.
        splits: programs that share the keys of a row ('split').
        precision: of products of f32.
    """

    form: Form
    rows: int
    keys: int
    warps: int
    stages: int = 2
    splits: int = 1
    precision: Precision = "ieee"


def parts_of(size: int) -> list[tuple[int, int]]:
    """(start, width) of powers of two, at least 16 each, that cover `size`: 80 is 64 and 16, 120 is 128."""
    parts, start = [], 0
    while start < size:
        width = max(1 << (size - start - 1).bit_length(), LEAST_PART)
        if width > 32 and (size - start) / width <= 0.8:
            width //= 2
        parts.append((start, width))
        start += width
    return parts


def zeros_where_no_keys(keys: Dim, text: str) -> str:
    """A line that makes results zero, not NaN, where there may be no keys at all."""
    if known_positive(keys):
        return "# there are keys"
    return f"total = tl.where({text} == 0, 1.0, total)"
