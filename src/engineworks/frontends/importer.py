"""A ForeignGraph becomes a Graph: each node through the rule of its op's file; the unknown is reported together."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

import engineworks.ops  # noqa: F401  (registers the rules)
from engineworks.core.dims import Dim, Scope
from engineworks.core.types import TensorType
from engineworks.errors import BuildError, InvalidModel, UnsupportedOperator
from engineworks.frontends.fold import fold_new_nodes
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.foreign import ForeignGraph, ForeignInput, ForeignNode, ForeignOp, rule_for
from engineworks.ir.graph import Constant, Graph, Region, Value
from engineworks.ops._sequences import TAKE_SEQUENCES, TensorSequence

ShapeLike = Sequence[int | str]


def import_model(
    foreign: ForeignGraph,
    *,
    input_shapes: Mapping[str, ShapeLike] | None = None,
    dims: Mapping[str, tuple[int, int | None]] | None = None,
    fixed: Mapping[str, np.ndarray] | None = None,
) -> Graph:
    """The typed graph of a foreign model.

    Args:
        input_shapes: by input name; integers fix a dim (wherever its name occurs), names name it.
        dims: (lowest, highest) by dim name; default: at least 1.
        fixed: inputs that become constants of the engine, by name.
    Raises:
        InvalidModel: names that lead nowhere, shapes that clash, nodes that break the format's rules.
        UnsupportedOperator: operators without a rule, all of them in one message.
    """
    require_rules(foreign)
    foreign = _with_fixed(foreign, fixed or {})
    graph = Graph(foreign.name)
    types = _input_types(foreign, input_shapes or {}, dims or {}, graph.scope)
    scope = _Importing(foreign, GraphBuilder(graph), None)
    for given in foreign.inputs:
        scope.values[given.name] = scope.g.input(given.name, *types[given.name])
    scope.walk()
    for name in foreign.outputs:
        scope.output(name, "the model's outputs")
    graph.remove_dead()
    return graph


def _with_fixed(foreign: ForeignGraph, fixed: Mapping[str, np.ndarray]) -> ForeignGraph:
    """The model with some inputs turned into constants."""
    if not fixed:
        return foreign
    unknown = sorted(fixed.keys() - {i.name for i in foreign.inputs})
    if unknown:
        raise InvalidModel(
            f"a fixed value is given for {', '.join(unknown)}, which is no input of the model."
        )
    constants = dict(foreign.constants)
    for given in foreign.inputs:
        if given.name in fixed:
            array = np.asarray(fixed[given.name]).astype(given.dtype.numpy)
            constants[given.name] = lambda array=array: array
    inputs = [i for i in foreign.inputs if i.name not in fixed]
    return dataclasses.replace(foreign, inputs=inputs, constants=constants)


# -- inputs ----------------------------------------------------------------------------------------------------
def dim_name(text: str) -> str:
    """The identifier that stands for a foreign dim name such as 'batch size' or '2*N'."""
    name = re.sub(r"\W+", "_", text).strip("_") or "dim"
    return f"d_{name}" if name[0].isdigit() else name


def _input_types(
    foreign: ForeignGraph,
    shapes: Mapping[str, ShapeLike],
    ranges: Mapping[str, tuple[int, int | None]],
    scope: Scope,
) -> dict[str, tuple[Any, tuple[Dim, ...]]]:
    """(dtype, shape) by input name, all dims declared in `scope`; unnamed ones are called after input and axis."""
    unknown = sorted(shapes.keys() - {i.name for i in foreign.inputs})
    if unknown:
        names = ", ".join(f"'{i.name}'" for i in foreign.inputs) or "none"
        raise InvalidModel(f"a shape is given for {', '.join(unknown)}; the model's inputs are {names}.")
    spelled = {i.name: _spelled(i, shapes.get(i.name)) for i in foreign.inputs}
    fixed = _fixed_dims(foreign, shapes)
    ranges = {dim_name(name): r for name, r in ranges.items()}
    made = {}
    for given in foreign.inputs:
        shape = tuple(_dim(d, fixed, ranges, scope) for d in spelled[given.name])
        made[given.name] = (given.dtype, shape)
    unused = sorted(ranges.keys() - scope.symbols.keys() - fixed.keys())
    if unused:
        raise InvalidModel(
            f"a range is given for dim {', '.join(unused)}; "
            f"the model's dims are {', '.join(scope.symbols) or 'all fixed'}."
        )
    return made


def _spelled(given: ForeignInput, override: ShapeLike | None) -> tuple[int | str, ...]:
    """The shape as ints and identifiers."""
    if given.dtype is None:
        raise InvalidModel(
            f"input '{given.name}' states no element type. Export the model with typed inputs."
        )
    if given.shape is None and override is None:
        raise InvalidModel(
            f"input '{given.name}' states no shape. Give one: input_shapes={{'{given.name}': (…)}}."
        )
    shape = tuple(override) if override is not None else given.shape
    assert shape is not None
    if given.shape is not None and len(shape) != len(given.shape):
        raise InvalidModel(
            f"the shape given for '{given.name}' has {len(shape)} dims {tuple(shape)}, "
            f"the model says {len(given.shape)}."
        )
    out: list[int | str] = []
    for axis, d in enumerate(shape):
        stated = given.shape[axis] if given.shape is not None else None
        if isinstance(d, (int, np.integer)) and isinstance(stated, int) and d != stated:
            raise InvalidModel(
                f"the shape given for '{given.name}' says {d} at axis {axis}, the model is fixed to {stated}."
            )
        if isinstance(d, str) and isinstance(stated, int):
            out.append(stated)
        elif isinstance(d, (int, np.integer)):
            out.append(int(d))
        else:
            out.append(dim_name(d) if d is not None else f"{dim_name(given.name)}_{axis}")
    return tuple(out)


def _fixed_dims(foreign: ForeignGraph, shapes: Mapping[str, ShapeLike]) -> dict[str, int]:
    """Named dims that a given shape fixes: they are fixed everywhere."""
    fixed: dict[str, int] = {}
    for given in foreign.inputs:
        for stated, asked in zip(given.shape or (), shapes.get(given.name, ()), strict=False):
            if isinstance(stated, str) and not isinstance(asked, str):
                before = fixed.setdefault(dim_name(stated), int(asked))
                if before != asked:
                    raise InvalidModel(
                        f"dim '{stated}' is given as {before} and, at input '{given.name}', as {asked}."
                    )
    return fixed


def _dim(
    d: int | str, fixed: Mapping[str, int], ranges: Mapping[str, tuple[int, int | None]], scope: Scope
) -> Dim:
    if isinstance(d, int):
        return d
    if d in fixed:
        return fixed[d]
    low, high = ranges.get(d, (1, None))
    if high is not None and high < low:
        raise InvalidModel(f"dim '{d}': the range {low} to {high} is empty.")
    return low if low == high else scope.symbol(d, low, high)


# -- nodes -----------------------------------------------------------------------------------------------------
class _Importing:
    """One graph or body under way: foreign names to Values, and the enclosing one."""

    def __init__(self, foreign: ForeignGraph, g: GraphBuilder, parent: _Importing | None) -> None:
        self.foreign = foreign
        self.g = g
        self.parent = parent
        self.values: dict[str, Value] = {}
        self.captured: dict[int, tuple[Value, Value]] = {}
        """id(outer value) to (outer value, the body's input that stands for it)."""

    def walk(self) -> None:
        """Import every node in order."""
        for node in self.foreign.nodes:
            with self.g.origin(node.name):
                self._import(node)

    def value(self, name: str, reader: str) -> Value:
        """The Value called `name`: of this graph, a constant of it, or one of an enclosing graph."""
        found = self.find(name)
        if found is None:
            raise InvalidModel(
                f"{reader} reads '{name}', which no input, weight or earlier node defines. The model is damaged."
            )
        return found

    def output(self, name: str, what: str) -> None:
        """Make `name` an output of this graph; `what` names the outputs in a sentence."""
        value = self.value(name, what)
        if isinstance(value, TensorSequence):
            raise UnsupportedOperator(
                f"{what} list '{name}', a sequence of {len(value.items)} tensors. Make its tensors outputs."
            )
        self.g.output(value, name)

    def find(self, name: str) -> Value | None:
        if name in self.values:
            return self.values[name]
        if name in self.foreign.constants:
            self.values[name] = self.g.constant(self.foreign.constants[name](), name=name)
            return self.values[name]
        outer = self.parent.find(name) if self.parent else None
        return None if outer is None else self._capture(name, outer)

    def _capture(self, name: str, outer: Value) -> Value:
        """An outer value in this body: constants again as constants, others as an input after the declared ones."""
        if isinstance(outer, TensorSequence):
            items = tuple(self._capture(f"{name}.{k}", item) for k, item in enumerate(outer.items))
            self.values[name] = TensorSequence(items)  # type: ignore[assignment]  # read by operators that take one
            return self.values[name]
        if outer.constant is not None:
            inner = Value(outer.type, outer.name)
            inner.constant = Constant(outer.constant.array)
            inner.known = outer.known
            self.values[name] = inner
            return inner
        if id(outer) not in self.captured:
            taken = {v.name for v in self.g.graph.inputs}
            inner = self.g.input(_fresh(name, taken), outer.type.dtype, outer.type.shape)
            inner.known = outer.known
            self.captured[id(outer)] = (outer, inner)
        self.values[name] = self.captured[id(outer)][1]
        return self.values[name]

    def _import(self, node: ForeignOp) -> None:
        opset = self.foreign.opsets.get(node.domain, 1)
        rule = rule_for(self.foreign.dialect, node.kind, opset, node.domain)
        assert rule is not None, f"{node.kind} was not found by the search for unknown operators"
        inputs = [self.value(i, f"{node.kind} at node '{node.name}'") if i else None for i in node.inputs]
        if node.kind not in TAKE_SEQUENCES and any(isinstance(v, TensorSequence) for v in inputs):
            raise UnsupportedOperator(
                f"{node.kind} at node '{node.name}' reads a sequence; {', '.join(sorted(TAKE_SEQUENCES))} may."
            )
        start = len(self.g.graph.nodes)
        try:
            result = rule(self.g, ForeignNode(node, inputs, opset, self.body))
        except BuildError:
            raise
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            shown = ", ".join(str(v.type) if isinstance(v, Value) else "-" for v in inputs)
            raise InvalidModel(
                f"{node.kind} (opset {opset}) at node '{node.name}' with inputs ({shown}) and attributes "
                f"{sorted(node.attributes)} cannot be read: {error}. Does the model pass onnx.checker?"
            ) from error
        self._name(node, result if isinstance(result, (tuple, list)) else (result,))
        fold_new_nodes(self.g.graph, start)

    def _name(self, node: ForeignOp, results: Sequence[Value | None]) -> None:
        for k, name in enumerate(node.outputs):
            if not name:
                continue
            value = results[k] if k < len(results) else None
            if value is None:
                raise UnsupportedOperator(
                    f"{node.kind} at node '{node.name}': output {k} ('{name}') is not supported."
                )
            if isinstance(value, Value) and not value.name:
                value.name = name
            self.values[name] = value

    def body(
        self, foreign: ForeignGraph, types: Sequence[TensorType] | None = None
    ) -> tuple[Region, list[Value]]:
        """A body as a Region, and the outer values it reads: its inputs are the declared ones, then these.

        Args:
            types: of the declared inputs, where the caller knows them better than the file. A constant Value makes
                that input a constant of the body, which is then no input of the Region.
        """
        inside = _Importing(foreign, GraphBuilder(Graph(foreign.name)), self)
        inside.g.graph.scope = self.g.graph.scope
        for k, given in enumerate(foreign.inputs):
            known = types[k] if types is not None and k < len(types) else _declared(given)
            if isinstance(known, Value) and known.constant is not None:
                inside.values[given.name] = inside.g.constant(
                    known.constant.array, known.type.dtype, given.name
                )
                continue
            kind = known.type if isinstance(known, Value) else known
            inside.values[given.name] = inside.g.input(given.name, kind.dtype, kind.shape)
        inside.walk()
        for name in foreign.outputs:
            inside.output(name, f"the outputs of body '{foreign.name}'")
        inside.g.graph.remove_dead()
        return Region(inside.g.graph), [outer for outer, _ in inside.captured.values()]


def _declared(given: ForeignInput) -> TensorType:
    if given.dtype is None or given.shape is None:
        raise InvalidModel(
            f"input '{given.name}' of a body states no type. Export the model with shape inference."
        )
    if not all(isinstance(d, int) for d in given.shape):
        raise UnsupportedOperator(
            f"input '{given.name}' of a body has sizes that change from call to call: {given.shape}."
        )
    return TensorType(given.dtype, tuple(d for d in given.shape if isinstance(d, int)))


def _fresh(name: str, taken: set[str]) -> str:
    if name not in taken:
        return name
    return next(f"{name}_{k}" for k in range(1, len(taken) + 2) if f"{name}_{k}" not in taken)


# -- what is unknown -------------------------------------------------------------------------------------------
MAX_NAMED_NODES = 5


def require_rules(foreign: ForeignGraph) -> None:
    """Raises UnsupportedOperator naming every operator that has no rule."""
    unknown: dict[tuple[str, str, int], list[str]] = {}
    for node in _all_nodes(foreign):
        opset = foreign.opsets.get(node.domain, 1)
        if rule_for(foreign.dialect, node.kind, opset, node.domain) is None:
            unknown.setdefault((node.domain, node.kind, opset), []).append(node.name)
    if not unknown:
        return
    lines = [
        f"  {kind} ({f'domain {domain}, ' if domain else ''}opset {opset}): {_named(names)}"
        for (domain, kind, opset), names in sorted(unknown.items())
    ]
    count = sum(len(names) for names in unknown.values())
    operators = "operator has" if len(unknown) == 1 else "operators have"
    raise UnsupportedOperator(
        f"{len(unknown)} {operators} no implementation, "
        f"used by {count} node{'s' if count > 1 else ''} of '{foreign.name}':\n"
        + "\n".join(lines)
        + "\n  Ways out: export with other operators, or add them: docs/developers/add-an-operator.md"
    )


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MAX_NAMED_NODES])
    rest = len(names) - MAX_NAMED_NODES
    return f"{len(names)} node{'s' if len(names) > 1 else ''}: {shown}" + (
        f" and {rest} more" if rest > 0 else ""
    )


def _all_nodes(foreign: ForeignGraph) -> Iterator[ForeignOp]:
    """Nodes of the graph and of its bodies."""
    for node in foreign.nodes:
        yield node
        for attribute in node.attributes.values():
            for body in attribute if isinstance(attribute, list) else [attribute]:
                if isinstance(body, ForeignGraph):
                    yield from _all_nodes(body)
