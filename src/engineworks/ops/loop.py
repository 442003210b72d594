"""ONNX Loop: unrolled, where the number of rounds is known at build."""

import numpy as np

from engineworks.core import dtypes
from engineworks.core.types import TensorType
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx
from engineworks.ops._loops import Body, stacked


@from_onnx("Loop")
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value, ...]:
    """Outputs: the carried values, then what each round gives, stacked."""
    limit = n.constant(0, "the number of rounds")
    rounds = None if limit is None else int(limit.ravel()[0])
    goes_on = n[1] if n[1] is not None else g.constant(np.array(True))
    carried = n.given(2)
    body = Body(g, n)
    collected: list[list[Value]] = []
    done = 0
    while (rounds is None or done < rounds) and _is_true(n, goes_on):
        number = g.constant(np.array(done), dtypes.i64)
        goes_on, *results = body.run([number, g.reshape_to(goes_on, ()), *carried])
        carried = results[: len(carried)]
        collected.append(results[len(carried) :])
        done += 1
    if collected:
        each = [v.type for v in collected[0]]
    else:
        each = body.types(
            [TensorType(dtypes.i64, ()), TensorType(dtypes.bool_, ()), *(v.type for v in carried)]
        )[1 + len(carried) :]
    return (*carried, *(stacked(g, [r[k] for r in collected], one) for k, one in enumerate(each)))


def _is_true(n: ForeignNode, condition: Value) -> bool:
    """What a condition known at build says. Raises UnsupportedOperator for others."""
    known = condition.known
    if known is None or not isinstance(known.ravel()[0], (bool, np.bool_)):
        raise n.unsupported(
            "whether it goes on for another round must be known when the engine is built; here it depends on the data"
        )
    return bool(known.ravel()[0])
