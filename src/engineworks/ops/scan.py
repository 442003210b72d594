"""ONNX Scan: unrolled along sequences of a length known at build."""

from collections.abc import Sequence

from engineworks.core.shapes import normalize_axis
from engineworks.core.types import TensorType
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx
from engineworks.ops._loops import Body, stacked


@from_onnx("Scan", since=9)
def _(g: GraphBuilder, n: ForeignNode) -> tuple[Value, ...]:
    """Inputs: states, then sequences; outputs: states, then what each round gives, stacked."""
    sequences = n.attr("num_scan_inputs")
    states, scanned = n.given()[: len(n) - sequences], n.given()[len(n) - sequences :]
    given_axes = n.attr("scan_input_axes", [0] * sequences)
    axes = [normalize_axis(a, v.type.rank) for a, v in zip(given_axes, scanned, strict=True)]
    backward = n.attr("scan_input_directions", [0] * sequences)
    lengths = {v.type.shape[a] for a, v in zip(axes, scanned, strict=True)}
    length = next(iter(lengths))
    if len(lengths) != 1 or not isinstance(length, int):
        raise n.unsupported(
            f"its sequences must have one length known when the engine is built; here {', '.join(map(str, lengths))}"
        )
    body = Body(g, n)
    collected: list[list[Value]] = []
    for step in range(length):
        now = [
            _at(g, v, a, length - 1 - step if b else step)
            for v, a, b in zip(scanned, axes, backward, strict=True)
        ]
        results = body.run([*states, *now])
        states = results[: len(states)]
        collected.append(results[len(states) :])
    if collected:
        each = [v.type for v in collected[0]]
    else:
        types = [
            *(v.type for v in states),
            *(_without(v.type, a) for v, a in zip(scanned, axes, strict=True)),
        ]
        each = body.types(types)[len(states) :]
    return (*states, *_outputs(g, n, collected, each))


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
