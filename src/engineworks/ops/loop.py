"""Rounds of a body while a condition holds. ONNX's Loop is unrolled where its rounds are known at build, and few."""

from collections.abc import Callable, Sequence

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import Dim
from engineworks.core.types import TensorType
from engineworks.errors import InvalidModel
from engineworks.ir import ForeignNode, GraphBuilder, Op, Region, Value, from_onnx, op
from engineworks.ops._loops import UNROLLED_ROUNDS, Body, first_that_works, rounds_of, stacked

RunRegion = Callable[[Region, Sequence[np.ndarray]], tuple[np.ndarray, ...]]
NO_LIMIT = np.iinfo(np.int64).max


@op("loop")
class Loop(Op):
    """`body` again and again, until it says no or has run as often as input 0 (i64) says; never if input 1 is false.

    After these two come the values carried from round to round, then what the body captures. The body takes the round's
    number, true, the carried values and the captured ones; it gives whether it goes on, the carried values, and results
    that are stacked along a new first axis.

    Attributes:
        carried: how many values are carried; their types stay.
        rounds: the number of rounds, where the size of a result.
        shapes: of one round's results.
        sizes: `rounds`, where it is known only once the loop has run.
    """

    body: Region
    carried: int
    rounds: Dim
    shapes: tuple[tuple[Dim, ...], ...] = ()
    sizes: tuple[Dim, ...] = ()
    defines = ("rounds", "sizes")

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        given = [t for t in inputs if t is not None]
        if len(given) != len(inputs) or len(given) != len(self.body.graph.inputs):
            raise InvalidModel(f"the body takes {len(self.body.graph.inputs)} inputs; {len(given)} are given")
        if given[0].dtype is not dtypes.i64 or given[1].dtype is not dtypes.bool_:
            raise InvalidModel(f"the limit must be i64 and the condition bool, not {given[0]} and {given[1]}")
        results = self.body.graph.outputs[1 + self.carried :]
        stacks = [
            TensorType(v.type.dtype, (self.rounds, *s)) for v, s in zip(results, self.shapes, strict=True)
        ]
        return (*(t.with_layout(None) for t in given[2 : 2 + self.carried]), *stacks)

    def run_regions(self, arrays: Sequence[np.ndarray], run: RunRegion) -> tuple[np.ndarray, ...]:
        """Round by round."""
        limit, goes_on = int(np.ravel(arrays[0])[0]), bool(np.ravel(arrays[1])[0])
        carried, captured = list(arrays[2 : 2 + self.carried]), arrays[2 + self.carried :]
        collected: list[Sequence[np.ndarray]] = []
        counted = self.body.graph.inputs[:2]
        while goes_on and len(collected) < limit:
            now = zip(counted, (len(collected), True), strict=True)
            number, true = (np.array(x).reshape((1,) * v.type.rank) for v, x in now)
            condition, *results = run(self.body, [number, true, *carried, *captured])
            goes_on, carried = bool(np.ravel(condition)[0]), results[: self.carried]
            collected.append(results[self.carried :])
        empty = [np.zeros((0, *(int(d) for d in s))) for s in self.shapes]  # type: ignore[arg-type]
        stacks = [
            np.stack([r[k] for r in collected]) if collected else empty[k] for k in range(len(self.shapes))
        ]
        return (*carried, *stacks)


@from_onnx("Loop")
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value, ...]:
    """Outputs: the carried values, then what each round gives, stacked."""
    limit = n[0].known.ravel()[0] if n[0] is not None and n[0].known is not None else None
    if n[0] is None or (isinstance(limit, (int, np.integer)) and limit > UNROLLED_ROUNDS):
        # Long: unrolled only where shapes change from round to round.
        return first_that_works(lambda: _kept(g, n), lambda: _unrolled(g, n))
    return first_that_works(lambda: _unrolled(g, n), lambda: _kept(g, n))


def _unrolled(g: GraphBuilder, n: ForeignNode) -> tuple[Value, ...]:
    limit = n.constant(0, "the number of rounds")
    rounds = None if limit is None else int(limit.ravel()[0])
    goes_on = n[1] if n[1] is not None else g.constant(np.array(True))
    carried = n.given(2)
    body, (number_type, condition_type) = Body(g, n), _counted_types(n)
    collected: list[list[Value]] = []
    done = 0
    while (rounds is None or done < rounds) and _is_true(n, goes_on):
        number = g.constant(np.array(done).reshape((1,) * number_type.rank), dtypes.i64)
        goes_on, *results = body.run([number, g.reshape_to(goes_on, condition_type.shape), *carried])
        carried = results[: len(carried)]
        collected.append(results[len(carried) :])
        done += 1
    if collected:
        each = [v.type for v in collected[0]]
    else:
        each = body.types([number_type, condition_type, *(v.type for v in carried)])[1 + len(carried) :]
    return (*carried, *(stacked(g, [r[k] for r in collected], one) for k, one in enumerate(each)))


def _counted_types(n: ForeignNode) -> tuple[TensorType, TensorType]:
    """Of the round's number and of the condition: a number each, or vectors of one where the body says so."""
    number, condition = (() if v.shape != (1,) else (1,) for v in n.attr("body").inputs[:2])
    return TensorType(dtypes.i64, number), TensorType(dtypes.bool_, condition)


def _is_true(n: ForeignNode, condition: Value) -> bool:
    """What a condition known at build says. Raises UnsupportedOperator for others."""
    known = condition.known
    if known is None or not isinstance(known.ravel()[0], (bool, np.bool_)):
        raise n.unsupported(
            "whether it goes on for another round must be known when the engine is built; here it depends on the data"
        )
    return bool(known.ravel()[0])


def _kept(g: GraphBuilder, n: ForeignNode) -> tuple[Value, ...]:
    """A loop of the engine."""
    carried = n.given(2)
    types = [*_counted_types(n), *(v.type for v in carried)]
    region, captured = n.import_graph(n.attr("body"), types)
    limit = n[0] if n[0] is not None else g.constant(np.array(NO_LIMIT))
    goes_on = n[1] if n[1] is not None else g.constant(np.array(True))
    after, collected = rounds_of(g, n, region, captured, carried, limit, goes_on)
    return (*after, *collected)
