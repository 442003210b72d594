"""Run an op through the kernels of one provider, and compare with the op's reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from engineworks.codegen.llvm.function import AVX512, Isa
from engineworks.core import dtypes
from engineworks.core.dims import Dim
from engineworks.core.types import TensorType
from engineworks.ir.interpret import bind_op
from engineworks.ir.op import Op
from engineworks.kernels.tactic import TacticProvider
from engineworks.kernels.workload import Operand, Workload
from engineworks.testing.kernels import run_image


def run_op(
    provider: TacticProvider,
    op: Op,
    arrays: Sequence[np.ndarray | None],
    shapes: Sequence[tuple[Dim, ...]] | None = None,
    dims: Mapping[str, int] | None = None,
    *,
    split: int = 1,
    isa: Isa = AVX512,
) -> list[np.ndarray]:
    """Outputs of the op's kernels.

    Args:
        shapes: of the inputs, possibly symbolic; those of the arrays unless given.
        dims: values of the symbols. Those that the kernels write are sized by the op's reference, so that a wrong
            count shows as a wrong shape.
        split: parts in which each step's tasks are run.
    """
    types = [
        None if a is None else TensorType(dtypes.from_numpy(a.dtype), tuple(shapes[k]) if shapes else a.shape)
        for k, a in enumerate(arrays)
    ]
    outputs = op.infer(*types)
    work = Workload(op, tuple(None if t is None else Operand(t) for t in types), len(types), outputs)
    (tactic,) = provider.propose(work, isa, 0)
    image = provider.build(work, tactic, isa)
    sizes = dict(dims or {})
    for t, e in zip(outputs, reference(op, arrays, sizes), strict=True):
        sizes |= {
            n: int(s)
            for d, s in zip(t.shape, e.shape, strict=True)
            for n in image.writes_symbols
            if str(d) == n
        }
    given = [None if a is None or t is None else (a, t) for a, t in zip(arrays, types, strict=True)]
    return run_image(image, given, outputs, isa, sizes, split=split, symbols=image.writes_symbols)


def reference(
    op: Op, arrays: Sequence[np.ndarray | None], dims: Mapping[str, int] | None = None
) -> tuple[np.ndarray, ...]:
    """Outputs of the op's reference at `dims`."""
    result = bind_op(op, dims or {}).reference(*arrays)
    return result if isinstance(result, tuple) else (result,)
