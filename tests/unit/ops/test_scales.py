"""Scales of quantisation that do not fit their tensor are a fault of the model, said at build."""

from __future__ import annotations

import pytest

from engineworks.core import dtypes
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ops.dequantize_linear import DequantizeLinear
from engineworks.ops.quantize_linear import QuantizeLinear


@pytest.mark.parametrize(
    "op", [QuantizeLinear(dtypes.i8, axis=0), DequantizeLinear(axis=0)], ids=lambda o: o.name
)
def test_there_is_a_scale_for_each_index_or_one_for_all(op) -> None:
    x = TensorType(dtypes.f32 if isinstance(op, QuantizeLinear) else dtypes.i8, (1, 214))
    with pytest.raises(InvalidModel, match="214 scales do not fit axis 0"):
        op.infer(x, TensorType(dtypes.f32, (214,)))
    assert op.infer(x, TensorType(dtypes.f32, (1,)))[0].shape == (1, 214)
