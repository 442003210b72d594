"""Whether all of the booleans over axes are True; ONNX spells it ReduceMin."""

import numpy as np

from engineworks.core import dtypes
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir import boolean, example, op
from engineworks.ops._reductions import NumpyReduction
from engineworks.ops._torch_reductions import truth_from_torch


@op("reduce_all")
class ReduceAll(NumpyReduction):
    """True where all elements over `axes` are (empty: all); True over no elements."""

    axes: tuple[int, ...] = ()
    keepdims: bool = True
    monoid = "all"

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        if inputs[0] is None or inputs[0].dtype is not dtypes.bool_:
            raise InvalidModel(f"{inputs[0]} is not boolean")
        return super().infer(*inputs)

    def fold(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        return np.all(x, axis=axes, keepdims=True)

    examples = (
        example(boolean(2, 5), axes=(1,)),
        example(boolean("N", 3), axes=(0,), keepdims=False, dims={"N": (1, 4)}),
    )


truth_from_torch("reduce_all", "aten.all.default", "aten.all.dim", "aten.all.dims")
