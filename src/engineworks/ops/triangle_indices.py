"""torch's tril_indices and triu_indices: the coordinates of a triangle's elements, known at build."""

import numpy as np

from engineworks.ir import ForeignNode, GraphBuilder, Value, from_torch


@from_torch("aten.tril_indices.default", "aten.triu_indices.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    rows, columns, offset = (n.arg(name) for name in ("row", "col", "offset"))
    if not all(isinstance(size, int) for size in (rows, columns, offset)):
        raise n.unsupported("sizes that are not known when the engine is built")
    find = np.tril_indices if n.foreign.kind == "aten.tril_indices.default" else np.triu_indices
    return g.constant(np.stack(find(rows, offset, columns)), n.result_dtype())
