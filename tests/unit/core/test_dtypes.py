"""Dtypes keep their identity."""

from __future__ import annotations

import copy
import pickle

from engineworks.core import dtypes
from engineworks.ir import scalar


def test_a_dtype_sent_to_another_process_is_the_same_object() -> None:
    assert pickle.loads(pickle.dumps(dtypes.bf16)) is dtypes.bf16
    assert copy.deepcopy(dtypes.f32) is dtypes.f32


def test_a_scalar_sent_to_another_process_is_the_same_object() -> None:
    expression = scalar.axis(0) * 3 + 1
    assert pickle.loads(pickle.dumps(expression)) is expression
