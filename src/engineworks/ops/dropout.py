"""ONNX's and torch's dropouts as they behave in inference: x itself, and a mask of ones."""

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dtypes import DType
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx, from_torch


@from_onnx("Dropout", since=12)
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value, Value | None]:
    training = n.constant(2, "training_mode")
    ratio = n.constant(1, "ratio")
    if training is not None and bool(np.all(training)) and (ratio is None or np.any(ratio != 0)):
        raise n.unsupported("training mode drops at random; export the model for inference")
    return n[0], _mask(g, n, dtypes.bool_)


@from_onnx("Dropout")
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value, Value | None]:
    """Opset 7 to 11 know inference only, older ones by `is_test`; before 10 the mask has the dtype of x."""
    if n.opset < 7 and not n.attr("is_test", 0):
        raise n.unsupported("is_test=0 means training; export the model for inference")
    return n[0], _mask(g, n, dtypes.bool_ if n.opset >= 10 else n[0].type.dtype)


def _mask(g: GraphBuilder, n: ForeignNode, dtype: DType) -> Value | None:
    if n.output_count < 2 or not n.output_names[1]:
        return None
    return g.expand(g.constant(np.ones(()), dtype), shape=n[0].type.shape)


@from_torch("aten.dropout.default", "aten.native_dropout.default", "aten.feature_dropout.default")
@from_torch("aten.alpha_dropout.default", "aten.feature_alpha_dropout.default")
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value, Value | None]:
    training = n.arg("train")
    if training and n.arg("p") != 0:
        raise n.unsupported("training mode drops at random; export the module after module.eval()")
    return n.arg("input"), _mask(g, n, dtypes.bool_)
