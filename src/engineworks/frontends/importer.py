"""A ForeignGraph becomes a Graph: each node through the rule of its op's file; the unknown is reported together."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

import engineworks.ops  # noqa: F401  (registers the rules)
from engineworks.core.dims import Dim, known_equal, parse_dim
from engineworks.core.types import TensorType
from engineworks.errors import BuildError, InvalidModel, UnsupportedOperator
from engineworks.frontends.fold import fold_new_nodes
from engineworks.frontends.input_types import InputTypes, ShapeLike
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.foreign import (
    ForeignGraph,
    ForeignInput,
    ForeignNode,
    ForeignOp,
    ForeignType,
    SizeOf,
    place_of,
    rule_for,
)
from engineworks.ir.graph import Constant, Graph, Region, Value
from engineworks.ops._sequences import TAKE_SEQUENCES, TensorSequence


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
    given = InputTypes(foreign, input_shapes or {}, dims or {}, graph.scope)
    types = given.by_name()
    scope = _Importing(foreign, GraphBuilder(graph), None, given.dims)
    for name in (i.name for i in foreign.inputs):
        scope.values[name] = scope.g.input(name, *types[name])
    scope.walk()
    for output, name in zip(foreign.outputs, foreign.output_names or foreign.outputs, strict=True):
        scope.output(output, "the model's outputs", str(name))
    for needed in foreign.requirements:
        graph.scope.require(scope.size(needed.left), scope.size(needed.right), needed.why)
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


# -- nodes -----------------------------------------------------------------------------------------------------
class _Importing:
    """One graph or body under way: foreign names to Values, and the enclosing one."""

    def __init__(
        self, foreign: ForeignGraph, g: GraphBuilder, parent: _Importing | None, dims: dict[str, Dim]
    ) -> None:
        self.foreign = foreign
        self.g = g
        self.parent = parent
        self.dims = dims
        """What the foreign names of dims stand for; grows where data decide a size."""
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

    def size(self, text: str) -> Dim:
        """The dim that an expression over foreign names stands for."""
        return parse_dim(text, self.dims)

    def output(self, source: str | int | SizeOf, what: str, name: str) -> None:
        """Make a value, or a size, an output of this graph called `name`; `what` names the outputs in a sentence."""
        if not isinstance(source, str):
            self.g.output(self.g.dims(self.size(source.text) if isinstance(source, SizeOf) else source), name)
            return
        value = self.value(source, what)
        if isinstance(value, TensorSequence):
            raise UnsupportedOperator(
                f"{what} list '{source}', a sequence of {len(value.items)} tensors. Make its tensors outputs."
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
            result = rule(self.g, ForeignNode(node, inputs, opset, self.body, self.size))
        except BuildError:
            raise
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            shown = ", ".join(str(v.type) if isinstance(v, Value) else "-" for v in inputs)
            checked = " Does the model pass onnx.checker?" if self.foreign.dialect == "onnx" else ""
            raise InvalidModel(
                f"{place_of(node, opset)} with inputs ({shown}) and attributes {sorted(node.attributes)} "
                f"cannot be read: {error}.{checked}"
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
            if node.results and isinstance(value, Value):
                self._compare(node, node.results[k], value)

    def _compare(self, node: ForeignOp, stated: ForeignType | None, value: Value) -> None:
        """Check a result against what the foreign framework says; sizes that data decide get their names here."""
        if stated is None:
            return
        fits = value.type.dtype is stated.dtype and value.type.rank == len(stated.shape)
        for have, said in zip(value.type.shape, stated.shape, strict=False):
            if isinstance(said, SizeOf) and said.text.isidentifier():
                self.dims.setdefault(said.text, have)
            fits = (
                fits
                and known_equal(have, said if isinstance(said, int) else self.size(said.text)) is not False
            )
        if not fits:
            raise InvalidModel(
                f"{place_of(node, 0)} gives {value.type}, but {self.foreign.dialect} says {_stated_text(stated)}. "
                f"The rule of {node.kind} in ops is wrong."
            )

    def body(
        self, foreign: ForeignGraph, types: Sequence[TensorType] | None = None
    ) -> tuple[Region, list[Value]]:
        """A body as a Region, and the outer values it reads: its inputs are the declared ones, then these.

        Args:
            types: of the declared inputs, where the caller knows them better than the file. A constant Value makes
                that input a constant of the body, which is then no input of the Region.
        """
        inside = _Importing(foreign, GraphBuilder(Graph(foreign.name)), self, self.dims)
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
            inside.output(name, f"the outputs of body '{foreign.name}'", str(name))
        inside.g.graph.remove_dead()
        return Region(inside.g.graph), [outer for outer, _ in inside.captured.values()]


def _stated_text(stated: ForeignType) -> str:
    sizes = [str(d) if isinstance(d, int) else d.text for d in stated.shape]
    return f"{stated.dtype}[{', '.join(sizes)}]"


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
    unknown: dict[tuple[str, str, int], list[ForeignOp]] = {}
    for node in _all_nodes(foreign):
        opset = foreign.opsets.get(node.domain, 1)
        if rule_for(foreign.dialect, node.kind, opset, node.domain) is None:
            unknown.setdefault((node.domain, node.kind, opset), []).append(node)
    if not unknown:
        return
    lines = [_unknown_line(foreign, *key, nodes) for key, nodes in sorted(unknown.items())]
    count = sum(len(nodes) for nodes in unknown.values())
    operators = "operator has" if len(unknown) == 1 else "operators have"
    raise UnsupportedOperator(
        f"{len(unknown)} {operators} no implementation, "
        f"used by {count} node{'s' if count > 1 else ''} of '{foreign.name}':\n"
        + "\n".join(lines)
        + "\n  Ways out: export with other operators, or add them: docs/developers/add-an-operator.md"
    )


def _unknown_line(
    foreign: ForeignGraph, domain: str, kind: str, opset: int, nodes: Sequence[ForeignOp]
) -> str:
    """One operator: of torch with the user's lines, of others with its version and the nodes' names."""
    lines = list(dict.fromkeys(n.where or f"node '{n.name}'" for n in nodes))
    if foreign.dialect == "torch":
        rest = len(lines) - MAX_NAMED_NODES
        shown = "; ".join(lines[:MAX_NAMED_NODES]) + (f"; and {rest} more places" if rest > 0 else "")
        return f"  {kind} ×{len(nodes)}: {shown}"
    return (
        f"  {kind} ({f'domain {domain}, ' if domain else ''}opset {opset}): {_named([n.name for n in nodes])}"
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
