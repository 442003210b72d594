"""LoopKernel: the immutable description of a fused loop nest, before a schedule and an instruction set are chosen.

Domain: `parallel` axes 0 … p-1, then `reduced` axes p … p+r-1. For every point of the parallel domain ("row") the
stages run in order: a Reduce folds its body over the reduced axes and is read by later stages as `stage(k)`; a Store
writes one element a row (`over_reduced=False`) or one element for each point of the reduced domain. So a pointwise
chain is one Store, a sum is Reduce + Store, softmax is Reduce, Reduce, Store: rows stay in cache between stages.

A load inside a branch of `where` is performed only where that branch is chosen; its index may be out of range
elsewhere. That is how padding, concatenation and slicing are written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from engineworks.core.dims import Dim
from engineworks.core.dtypes import DType
from engineworks.core.types import TensorType
from engineworks.ir.scalar import Scalar

MonoidName = Literal[
    "sum", "prod", "max", "min", "argmax_first", "argmin_first", "argmax_last", "argmin_last", "any", "all"
]


@dataclass(frozen=True, slots=True)
class Reduce:
    """Fold `body` over the reduced axes.

    Attributes:
        monoid: max and min give NaN when any element is NaN; arg* give the i64 position along the single reduced
            axis, NaN counting as the extreme; any and all take and give bool.
        dtype: of the result (arg*: i64). Sums of f16/bf16 accumulate in f32, and the result is cast at the end.
    """

    monoid: MonoidName
    body: Scalar
    dtype: DType


@dataclass(frozen=True, slots=True)
class Store:
    """Write `body` to output number `output` at logical index `index` (i64 scalars over the axes)."""

    output: int
    index: tuple[Scalar, ...]
    body: Scalar
    over_reduced: bool


@dataclass(frozen=True, slots=True)
class LoopKernel:
    """See the module. `operands` and `outputs` carry dtype, logical shape and layout; loads and stores take logical
    indices, and the emitter turns them into addresses through the layout's strides.
    """

    parallel: tuple[Dim, ...]
    reduced: tuple[Dim, ...]
    operands: tuple[TensorType, ...]
    outputs: tuple[TensorType, ...]
    stages: tuple[Reduce | Store, ...]

    def __str__(self) -> str:
        lines = [f"kernel [{', '.join(map(str, self.parallel))} | {', '.join(map(str, self.reduced))}]"]
        lines += [f"  in{k}: {t}" for k, t in enumerate(self.operands)]
        for k, stage in enumerate(self.stages):
            if isinstance(stage, Reduce):
                lines.append(f"  s{k} = {stage.monoid}_{stage.dtype} {stage.body}")
            else:
                index = ", ".join(map(str, stage.index))
                lines.append(f"  out{stage.output}: {self.outputs[stage.output]} [{index}] = {stage.body}")
        return "\n".join(lines)
