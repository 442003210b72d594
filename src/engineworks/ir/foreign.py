"""Others' models, neutrally: what a front end's reader yields, and the registry of how op files spell foreign ops."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from engineworks.core.dims import Dim, parse_dim
from engineworks.core.dtypes import DType
from engineworks.errors import Error, InvalidModel, UnsupportedOperator
from engineworks.ir.op import Op

if TYPE_CHECKING:
    from engineworks.ir.builder import GraphBuilder
    from engineworks.ir.graph import Value

Importer = Callable[["GraphBuilder", "ForeignNode"], Any]


@dataclass(frozen=True, slots=True)
class ForeignInput:
    """A graph input as the foreign file states it.

    Attributes:
        shape: int, a name, an expression over names, or None for an unnamed unknown size; None: not even the rank.
        example: the shape of the example that the model was exported with.
    """

    name: str
    dtype: DType
    shape: tuple[int | str | SizeOf | None, ...] | None
    example: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class ForeignOp:
    """A node of the foreign graph before import. Attributes are Python values; graphs are ForeignGraph.

    In dialects whose arguments have names (torch) the attributes are all arguments in the order of the schema,
    defaults filled in: `InputAt` where a tensor stands, `SizeOf` where a symbolic integer does.

    Attributes:
        tensors: names of the arguments that the schema types as tensors, optional tensors or lists of them.
        results: what the foreign framework says the outputs are; empty where it says nothing.
        where: the user's source line, for messages: "model.py:41 in forward: y = torch.foo(x)".
    """

    kind: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    tensors: tuple[str, ...] = ()
    results: tuple[ForeignType | None, ...] = ()
    where: str = ""


@dataclass(frozen=True, slots=True)
class InputAt:
    """An argument that is a tensor of the graph: the input at this position."""

    position: int


@dataclass(frozen=True, slots=True)
class SizeOf:
    """An argument that is an integer computed from sizes: an expression over names of dims (core/dims: parse_dim)."""

    text: str


@dataclass(frozen=True, slots=True)
class ForeignType:
    """A tensor as the foreign framework inferred it: integers, or expressions over names of dims."""

    dtype: DType
    shape: tuple[int | SizeOf, ...]


@dataclass(frozen=True, slots=True)
class Requirement:
    """Two expressions over names of dims that must be equal in every call; `why` says who needs it."""

    left: str
    right: str
    why: str


@dataclass(slots=True)
class ForeignGraph:
    """A model read by a front end.

    Attributes:
        dialect: 'onnx', 'torch'.
        opsets: version by domain.
        outputs: names of values, or sizes that are outputs.
        constants: name to a function that gives the array (lazy: weights are mapped, not copied).
        output_names: what the outputs are called; empty: as the values.
        ranges: (lowest, highest) by name of dim, where the model states them.
        requirements: what the sizes must satisfy beyond what the operators ask for.
    """

    dialect: str
    name: str
    opsets: Mapping[str, int]
    inputs: list[ForeignInput] = field(default_factory=list)
    outputs: list[str | int | SizeOf] = field(default_factory=list)
    nodes: list[ForeignOp] = field(default_factory=list)
    constants: dict[str, Callable[[], np.ndarray]] = field(default_factory=dict)
    output_names: list[str] = field(default_factory=list)
    ranges: dict[str, tuple[int, int | None]] = field(default_factory=dict)
    requirements: list[Requirement] = field(default_factory=list)


class ForeignNode:
    """What an importer function sees: `n[0]` is input 0 as a Value (None when omitted), attributes by name.

    Attributes:
        opset: version of the node's domain.
        output_count: how many outputs the model asks for (trailing ones may be unnamed).
        output_names: '' where an output is not asked for.
    """

    __slots__ = ("foreign", "import_graph", "inputs", "opset", "size")

    def __init__(
        self,
        foreign: ForeignOp,
        inputs: Sequence[Value | None],
        opset: int,
        import_graph: Callable[..., Any],
        size: Callable[[str], Dim] = parse_dim,
    ) -> None:
        self.foreign = foreign
        self.inputs = list(inputs)
        self.opset = opset
        self.import_graph = import_graph
        """Imports a body (If, Loop): a ForeignGraph and its inputs' types or constants, to (Region, captured)."""
        self.size = size
        """The dim that an expression over foreign names of dims stands for."""

    def __getitem__(self, position: int) -> Any:
        """Input, or None when it is omitted (typed Any: required inputs are checked by `require`)."""
        return self.inputs[position] if position < len(self.inputs) else None

    def __len__(self) -> int:
        return len(self.inputs)

    def attr(self, name: str, default: Any = None) -> Any:
        """The attribute, or `default`."""
        return self.foreign.attributes.get(name, default)

    def arg(self, name: str) -> Any:
        """The argument that the schema calls `name`, with the schema's default when the model omits it.

        Tensors are Values (a Python number where the model passes one for a tensor), lists are tuples, omitted
        optionals None, integers that follow from sizes Dims, dtypes our DType; devices, layouts and memory formats
        are strings. Typed Any: what it is follows from the schema.

        Raises:
            KeyError: the schema has no such argument: the rule is wrong.
        """
        return self._resolved(self.foreign.attributes[name])

    def _resolved(self, argument: Any) -> Any:
        if isinstance(argument, InputAt):
            return self[argument.position]
        if isinstance(argument, SizeOf):
            return self.size(argument.text)
        if isinstance(argument, (tuple, list)):
            return tuple(self._resolved(a) for a in argument)
        return argument

    def result_dtype(self, position: int = 0) -> DType:
        """The dtype that the foreign framework gives output `position` (its promotion rules are then settled)."""
        return self._result(position).dtype

    def result_shape(self, position: int = 0) -> tuple[Dim, ...]:
        """The shape that the foreign framework gives output `position`."""
        return tuple(self._resolved(d) for d in self._result(position).shape)

    def _result(self, position: int) -> ForeignType:
        result = self.foreign.results[position]
        if result is None:
            raise self.invalid(f"output {position} is not a tensor")
        return result

    def given(self, start: int = 0) -> list[Value]:
        """The inputs from `start` on, none of which may be omitted. Raises InvalidModel where one is."""
        found = [v for v in self.inputs[start:] if v is not None]
        if len(found) != len(self.inputs[start:]):
            raise self.invalid(f"inputs from {start} on must all be given")
        return found

    @property
    def output_count(self) -> int:
        return len(self.foreign.outputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        return self.foreign.outputs

    def constant(self, position: int, what: str) -> np.ndarray | None:
        """Input `position` as an array known at build, or None when it is omitted.

        Raises:
            UnsupportedOperator: it is computed at run time; `what` names it in the sentence.
        """
        value = self[position]
        if value is None:
            return None
        if value.constant is not None:
            return value.constant.array
        if value.known is not None and all(
            isinstance(d, (int, np.integer, bool)) for d in value.known.ravel()
        ):
            return value.known.astype(value.type.dtype.numpy)
        raise self.unsupported(
            f"{what} must be known when the engine is built; here it is computed at run time"
        )

    def dims(self, position: int, what: str) -> tuple[Dim, ...] | None:
        """Input `position` (1-D integers) as dims: ints or symbolic; None when omitted. Raises as `constant`."""
        value = self[position]
        if value is None:
            return None
        if value.known is None:
            if value.constant is not None:
                return tuple(int(d) for d in np.asarray(value.constant.array).ravel())
            raise self.unsupported(
                f"{what} must follow from shapes and constants; here it depends on the data"
            )
        return tuple(int(d) if isinstance(d, (int, np.integer)) else d for d in value.known.ravel())

    def unsupported(self, why: str) -> UnsupportedOperator:
        """The error to raise for a form of the op that is not there (yet); the sentence names the node."""
        return UnsupportedOperator(f"{self._place()}: {why}")

    def invalid(self, why: str) -> InvalidModel:
        """The error to raise for a node that breaks the standard's rules."""
        return InvalidModel(f"{self._place()}: {why}")

    def _place(self) -> str:
        return place_of(self.foreign, self.opset)


def place_of(foreign: ForeignOp, opset: int) -> str:
    """The node in a message: its operator, name, and where the user wrote it."""
    version = f" (opset {opset})" if opset else ""
    line = f" ({foreign.where})" if foreign.where else ""
    return f"{foreign.kind}{version} at node '{foreign.name}'{line}"


_RULES: dict[tuple[str, str], list[tuple[int, Importer]]] = {}
F = TypeVar("F", bound=Importer)


def from_onnx(kind: str, since: int = 1, domain: str = "") -> Callable[[F], F]:
    """Register how ONNX's `kind` is built from opset `since` on. The function returns a Value or a tuple of Values
    (None for outputs nobody may ask for); higher `since` wins where it applies.
    """

    def register(function: F) -> F:
        rules = _RULES.setdefault(("onnx", f"{domain}::{kind}" if domain else kind), [])
        rules.append((since, function))
        rules.sort(key=lambda r: -r[0])
        return function

    return register


def same_as_onnx(kind: str, op: type[Op], since: int = 1, **attributes: str) -> None:
    """ONNX's `kind` is exactly `op` on the same inputs; `attributes` maps our field to ONNX's attribute name."""

    def importer(g: GraphBuilder, n: ForeignNode) -> Any:
        given = {
            ours: n.foreign.attributes[theirs]
            for ours, theirs in attributes.items()
            if theirs in n.foreign.attributes
        }
        outputs = g.add_node(op(**given), n.inputs)
        return tuple(outputs)

    from_onnx(kind, since)(importer)


def from_torch(*kinds: str) -> Callable[[F], F]:
    """Register how torch's operators are built, by their full names ("aten.softmax.int"). The function returns a
    Value, a tuple of Values (None for outputs nobody may ask for), or, for operators on sizes, a Dim.
    """

    def register(function: F) -> F:
        for kind in kinds:
            if ("torch", kind) in _RULES:
                raise Error(f"{kind} has two rules: {function.__module__} has the second")
            _RULES[("torch", kind)] = [(0, function)]
        return function

    return register


def same_as_torch(kind: str, op: type[Op], **attributes: str) -> None:
    """torch's `kind` is exactly `op` on its tensor arguments in the schema's order (numbers take the dtype of the
    tensor beside them); `attributes` maps our field to torch's argument.
    """

    def importer(g: GraphBuilder, n: ForeignNode) -> Any:
        tensors = [n.arg(name) for name in n.foreign.tensors]
        return getattr(g, op.name)(*tensors, **{ours: n.arg(theirs) for ours, theirs in attributes.items()})

    from_torch(kind)(importer)


def rule_for(dialect: str, kind: str, opset: int, domain: str = "") -> Importer | None:
    """The importer of a foreign op at this opset, or None when there is none."""
    rules = _RULES.get((dialect, f"{domain}::{kind}" if domain else kind), [])
    return next((f for since, f in rules if since <= opset), None)


def spellings(dialect: str) -> dict[str, list[int]]:
    """Foreign ops with a rule, and the opsets from which each rule holds."""
    return {
        kind: [since for since, _ in rules] for (d, kind), rules in sorted(_RULES.items()) if d == dialect
    }
