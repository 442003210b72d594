"""ONNX Constant: every form of its attribute is an array known at build."""

import numpy as np

from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx

_FORMS = {
    "value": None, "sparse_value": None, "value_float": np.float32, "value_floats": np.float32,
    "value_int": np.int64, "value_ints": np.int64, "value_string": object, "value_strings": object,
}  # fmt: skip


@from_onnx("Constant")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    given = [form for form in _FORMS if n.attr(form) is not None]
    if len(given) != 1:
        raise n.invalid(f"exactly one of {', '.join(_FORMS)} must be given, not {len(given)}")
    return g.constant(np.asarray(n.attr(given[0]), dtype=_FORMS[given[0]]))
