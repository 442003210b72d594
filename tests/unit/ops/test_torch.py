"""torch's promotion of dtypes, against torch itself."""

from __future__ import annotations

import itertools

import pytest

torch = pytest.importorskip("torch")

from engineworks.core import dtypes  # noqa: E402
from engineworks.ir.builder import GraphBuilder  # noqa: E402
from engineworks.ops._torch import common_dtype, promoted  # noqa: E402

KINDS = {
    torch.bool: dtypes.bool_, torch.uint8: dtypes.u8, torch.int8: dtypes.i8, torch.int16: dtypes.i16,
    torch.int32: dtypes.i32, torch.int64: dtypes.i64, torch.float16: dtypes.f16, torch.bfloat16: dtypes.bf16,
    torch.float32: dtypes.f32, torch.float64: dtypes.f64,
}  # fmt: skip


@pytest.mark.parametrize(("a", "b"), list(itertools.product(KINDS, KINDS)), ids=str)
def test_two_dtypes_are_promoted_as_torch_does(a, b) -> None:
    assert promoted(KINDS[a], KINDS[b]) is KINDS[torch.promote_types(a, b)]


OPERANDS = [(kind, shape) for kind in KINDS for shape in ((2,), ())] + [True, 3, 0.5]


@pytest.mark.parametrize(("a", "b"), list(itertools.product(OPERANDS[:20], OPERANDS)), ids=str)
def test_tensors_of_rank_0_and_numbers_count_less(a, b) -> None:
    g = GraphBuilder()
    theirs = [torch.zeros(x[1], dtype=x[0]) if isinstance(x, tuple) else x for x in (a, b)]
    ours = [g.input(f"x{k}", KINDS[x[0]], x[1]) if isinstance(x, tuple) else x for k, x in enumerate((a, b))]
    assert common_dtype(*ours) is KINDS[torch.result_type(*theirs)]
