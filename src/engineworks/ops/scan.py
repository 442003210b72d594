"""ONNX Scan: unrolled along short sequences of a length known at build, a loop of the engine along others."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engineworks.core.dims import Dim
from engineworks.core.shapes import normalize_axis
from engineworks.core.types import TensorType
from engineworks.ir import ForeignNode, GraphBuilder, Region, Value, from_onnx
from engineworks.ir.graph import Graph
from engineworks.ops._loops import UNROLLED_ROUNDS, Body, first_that_works, round_inputs, rounds_of, stacked


@dataclass(frozen=True, slots=True)
class _Scanned:
    """A node's inputs: states, then sequences, each with its axis and whether it is read from its end."""

    states: list[Value]
    sequences: list[Value]
    axes: list[int]
    backward: list[int]
    length: Dim

    @property
    def types(self) -> list[TensorType]:
        """Of the body's inputs."""
        slices = [_without(v.type, a) for v, a in zip(self.sequences, self.axes, strict=True)]
        return [*(v.type for v in self.states), *slices]


@from_onnx("Scan", since=9)
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value, ...]:
    """Inputs: states, then sequences; outputs: states, then what each round gives, stacked."""
    count = n.attr("num_scan_inputs")
    sequences = n.given()[len(n) - count :]
    given = n.attr("scan_input_axes", [0] * count)
    axes = [normalize_axis(a, v.type.rank) for a, v in zip(given, sequences, strict=True)]
    lengths = [v.type.shape[a] for a, v in zip(axes, sequences, strict=True)]
    for other in lengths[1:]:
        g.graph.scope.require(lengths[0], other, f"Scan '{n.foreign.name}': lengths of the sequences")
    x = _Scanned(
        n.given()[: len(n) - count], sequences, axes, n.attr("scan_input_directions", [0] * count), lengths[0]
    )
    if isinstance(x.length, int) and x.length <= UNROLLED_ROUNDS:
        return _unrolled(g, n, x)
    if isinstance(x.length, int):
        # Long: unrolled only where shapes change from round to round.
        return first_that_works(lambda: _kept(g, n, x), lambda: _unrolled(g, n, x))
    return _kept(g, n, x)


def _unrolled(g: GraphBuilder, n: ForeignNode, x: _Scanned) -> tuple[Value, ...]:
    assert isinstance(x.length, int)
    body, states = Body(g, n), x.states
    collected: list[list[Value]] = []
    for step in range(x.length):
        now = [
            _at(g, v, a, x.length - 1 - step if b else step)
            for v, a, b in zip(x.sequences, x.axes, x.backward, strict=True)
        ]
        results = body.run([*states, *now])
        states = results[: len(states)]
        collected.append(results[len(states) :])
    each = [v.type for v in collected[0]] if collected else body.types(x.types)[len(states) :]
    return (*states, *_outputs(g, n, collected, each))


def _kept(g: GraphBuilder, n: ForeignNode, x: _Scanned) -> tuple[Value, ...]:
    """A loop of the engine, whose body picks its elements of the sequences."""
    region, captured = n.import_graph(n.attr("body"), x.types)
    body, limit = _picking(g, n, region, captured, x), g.dims(np.array(x.length, dtype=object))
    states, stacks = rounds_of(
        g, n, body, [*x.sequences, *captured], x.states, limit, g.constant(np.array(True))
    )
    axes = n.attr("scan_output_axes", [0] * len(stacks))
    backward = n.attr("scan_output_directions", [0] * len(stacks))
    return (*states, *(_placed(g, *of_one) for of_one in zip(stacks, axes, backward, strict=True)))


def _placed(g: GraphBuilder, stack: Value, axis: int, is_backward: int) -> Value:
    """Stacked results with the first axis moved to `axis`."""
    if is_backward:
        stack = g.slice(stack, starts=(-1,), ends=(-(2**31),), axes=(0,), steps=(-1,))
    order = list(range(1, stack.type.rank))
    order.insert(normalize_axis(axis, stack.type.rank), 0)
    return stack if order == sorted(order) else g.transpose(stack, perm=tuple(order))


def _picking(
    g: GraphBuilder, n: ForeignNode, region: Region, captured: Sequence[Value], x: _Scanned
) -> Region:
    """The body as `rounds_of` wants it: it captures the sequences, and picks by the number of the round."""
    inside = GraphBuilder(Graph(region.graph.name))
    inside.graph.scope = g.graph.scope
    number, goes_on = round_inputs(inside)
    states = [inside.input(f"state{k}", v.type.dtype, v.type.shape) for k, v in enumerate(x.states)]
    sequences = [inside.input(f"sequence{k}", v.type.dtype, v.type.shape) for k, v in enumerate(x.sequences)]
    others = [inside.input(f"captured{k}", v.type.dtype, v.type.shape) for k, v in enumerate(captured)]
    with inside.origin(n.foreign.name):
        last = inside.dims(np.array(x.length - 1, dtype=object))
        now = [
            inside.gather(v, inside.sub(last, number) if b else number, axis=a)
            for v, a, b in zip(sequences, x.axes, x.backward, strict=True)
        ]
    inside.output(goes_on, "goes_on")
    for k, value in enumerate(inside.inline(region, [*states, *now, *others])):
        inside.output(value, f"result{k}")
    return Region(inside.graph)


@from_onnx("Scan", since=1)
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value, ...]:
    """Opset 8: lengths (optional), then states [batch, …] and sequences [batch, length, …]; each entry on its own."""
    if n[0] is not None:
        raise n.unsupported("sequences of different lengths; export with opset 9 or later")
    sequences, given = n.attr("num_scan_inputs"), n.given(1)
    first, scanned = given[: len(given) - sequences], given[len(given) - sequences :]
    batch, length = scanned[0].type.shape[:2]
    if not isinstance(batch, int) or not isinstance(length, int):
        raise n.unsupported(
            f"batch and length must be known when the engine is built; here {batch} and {length}"
        )
    backward, body = n.attr("directions", [0] * sequences), Body(g, n)
    entries: list[list[Value]] = []
    for entry in range(batch):
        states = [_at(g, v, 0, entry) for v in first]
        rounds: list[list[Value]] = []
        for step in range(length):
            now = [
                _at(g, _at(g, v, 0, entry), 0, length - 1 - step if b else step)
                for v, b in zip(scanned, backward, strict=True)
            ]
            results = body.run([*states, *now])
            states = results[: len(states)]
            rounds.append(results[len(states) :])
        entries.append(
            [
                *states,
                *(
                    stacked(g, [r[k] for r in rounds], v.type)
                    for k, v in enumerate(rounds[0] if rounds else [])
                ),
            ]
        )
    return tuple(stacked(g, [e[k] for e in entries], v.type) for k, v in enumerate(entries[0]))


def _outputs(
    g: GraphBuilder, n: ForeignNode, collected: Sequence[Sequence[Value]], types: Sequence[TensorType]
) -> list[Value]:
    axes = n.attr("scan_output_axes", [0] * len(types))
    backward = n.attr("scan_output_directions", [0] * len(types))
    made = []
    for k, one in enumerate(types):
        parts = [results[k] for results in collected]
        made.append(
            stacked(g, parts[::-1] if backward[k] else parts, one, normalize_axis(axes[k], one.rank + 1))
        )
    return made


def _at(g: GraphBuilder, value: Value, axis: int, step: int) -> Value:
    return g.squeeze(g.slice(value, starts=(step,), ends=(step + 1,), axes=(axis,)), (axis,))


def _without(type_: TensorType, axis: int) -> TensorType:
    return type_.with_shape((*type_.shape[:axis], *type_.shape[axis + 1 :]))
