"""GraphBuilder: the only way to make nodes. `g.relu(x)` makes the op, infers its types, notes its origin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from engineworks.core import dtypes
from engineworks.core.dims import Dim, Sym, deciding_in, product
from engineworks.core.dtypes import DType
from engineworks.core.shapes import normalize_axes
from engineworks.core.types import TensorType
from engineworks.errors import Error, InvalidModel
from engineworks.ir.graph import Constant, Graph, Node, Region, Value
from engineworks.ir.op import REGISTRY, Op

MAX_KNOWN_ELEMENTS = 4096
"""Integer tensors up to this many elements are followed as values (shape arithmetic)."""


class GraphBuilder:
    """Appends nodes to a graph; types are inferred at insertion, so there is no untyped graph.

    Args:
        graph: to append to; a new one by default.
    """

    def __init__(self, graph: Graph | None = None) -> None:
        self.graph = graph if graph is not None else Graph()
        self._origin: tuple[str, ...] = ("graph",)
        self._nodes = self.graph.nodes

    # -- values -----------------------------------------------------------------------------------------------
    def input(self, name: str, dtype: DType, shape: Sequence[Dim]) -> Value:
        """A graph input."""
        value = Value(TensorType(dtype, tuple(shape)), name)
        self.graph.inputs.append(value)
        return value

    def output(self, value: Value, name: str) -> None:
        """Make `value` a graph output called `name`."""
        self.graph.outputs.append(value)
        self.graph.output_names.append(name)

    def constant(self, array: Any, dtype: DType | None = None, name: str = "") -> Value:
        """A constant of the array's dtype (or `dtype`); small integer constants are also known dims."""
        data = np.asarray(array) if dtype is None else np.asarray(array).astype(dtype.numpy)
        kind = dtype if dtype is not None else dtypes.from_numpy(data.dtype)
        value = Value(TensorType(kind, tuple(int(d) for d in data.shape)), name)
        value.constant = Constant(data)
        if kind.kind in ("int", "uint", "bool") and data.size <= MAX_KNOWN_ELEMENTS:
            value.known = data.astype(object)
        return value

    def dims(self, values: Any, dtype: DType = dtypes.i64) -> Value:
        """An integer tensor of known dims (ints or Syms): a constant when all are ints, else `from_dims`."""
        known = np.array(values, dtype=object)
        if all(isinstance(d, (int, np.integer, bool)) for d in known.ravel()):
            return self.constant(known.astype(dtype.numpy))
        return self.add_node(
            # pyrefly: ignore[unexpected-keyword]
            REGISTRY["from_dims"](dims=tuple(known.ravel().tolist()), shape=known.shape, dtype=dtype),
            [],  # type: ignore[call-arg]
        )[0]

    # -- nodes ------------------------------------------------------------------------------------------------
    def add_node(self, op: Op, inputs: Sequence[Value | None]) -> list[Value]:
        """Append op(inputs); returns its outputs, typed.

        Raises:
            InvalidModel: the op does not accept these types; the sentence names the op and the origin.
        """
        try:
            with deciding_in(self.graph.scope):
                types = op.infer(*[None if v is None else v.type for v in inputs])
        except InvalidModel as error:
            raise InvalidModel(f"{op} at {'/'.join(self._origin)}: {error}") from error
        node = Node(op, inputs, self._origin)
        node.outputs = [Value(t, producer=node, index=k) for k, t in enumerate(types)]
        self._nodes.append(node)
        self._follow_dims(node)
        return node.outputs

    def __getattr__(self, name: str) -> Any:
        """`g.<op>(*values, **attributes)`: the output, or a tuple of several. Trailing inputs may be left out."""
        if name.startswith("_") or name not in REGISTRY:
            raise AttributeError(f"no operator is called '{name}'")

        def make(*inputs: Any, **attributes: Any) -> Any:
            values = self._as_values(inputs)
            outputs = self.add_node(REGISTRY[name](**attributes), values)
            return outputs[0] if len(outputs) == 1 else tuple(outputs)

        return make

    def _as_values(self, inputs: Sequence[Any]) -> list[Value | None]:
        """Python numbers and arrays become constants; numbers take the dtype of the first value beside them."""
        like = next((v.type.dtype for v in inputs if isinstance(v, Value)), None)
        out: list[Value | None] = []
        for x in inputs:
            if x is None or isinstance(x, Value):
                out.append(x)
            elif isinstance(x, np.ndarray):
                out.append(self.constant(x))
            elif like is not None:
                out.append(self.constant(np.asarray(x), like))
            else:
                raise Error(f"a number alone has no dtype: {x!r}; pass g.constant(...)")
        return out

    def _follow_dims(self, node: Node) -> None:
        """Shape arithmetic: when all inputs are known integers, so is the output; known dims need `keeps_dims`."""
        op, out = node.op, node.outputs[0]
        if hasattr(op, "known_output"):
            out.known = op.known_output(*node.inputs)
            return
        if out.type.dtype.kind not in ("int", "uint", "bool") or len(node.outputs) != 1 or op.is_random:
            return
        # pyrefly: ignore[no-matching-overload]
        if not out.type.is_static or int(np.prod(out.type.shape)) > MAX_KNOWN_ELEMENTS:
            return
        arrays = [None if v is None else v.known for v in node.inputs]
        if any(v is not None and a is None for v, a in zip(node.inputs, arrays, strict=True)):
            return
        if not any(a is not None and any(isinstance(d, Sym) for d in a.ravel()) for a in arrays):
            if not (op.has("reference") or op.has("element")):
                return
            arrays = [
                # pyrefly: ignore[missing-attribute]
                None if a is None else a.astype(v.type.dtype.numpy)
                for v, a in zip(node.inputs, arrays, strict=True)
            ]
        elif not op.keeps_dims:
            return
        from engineworks.ir.interpret import evaluate_dims

        out.known = evaluate_dims(op, arrays)

    # -- origins ----------------------------------------------------------------------------------------------
    @contextmanager
    def origin(self, *names: str) -> Iterator[None]:
        """Nodes made inside come from these source nodes."""
        before, self._origin = self._origin, tuple(names)
        try:
            yield
        finally:
            self._origin = before

    @contextmanager
    def into(self, nodes: list[Node]) -> Iterator[None]:
        """Append to another list for a while (a rewriter splices it into the graph)."""
        before, self._nodes = self._nodes, nodes
        try:
            yield
        finally:
            self._nodes = before

    # -- small conveniences used by many ops --------------------------------------------------------------------
    def reshape_to(self, x: Value, shape: Sequence[Dim]) -> Value:
        """x with another shape of equal count; x itself when the shape is already that."""
        return x if x.type.shape == tuple(shape) else self.reshape(x, shape=tuple(shape))

    def cast_to(self, x: Value, dtype: DType) -> Value:
        """x converted; x itself when it already has the dtype."""
        return x if x.type.dtype is dtype else self.cast(x, dtype=dtype)

    def flatten_at(self, x: Value, axis: int) -> Value:
        """x as a matrix: the axes before `axis` (0 … rank) are rows, the others columns."""
        axis = axis % x.type.rank if axis < 0 else axis
        return self.reshape_to(x, (product(x.type.shape[:axis]), product(x.type.shape[axis:])))

    def squeeze(self, x: Value, axes: Sequence[int]) -> Value:
        """x without `axes`, whose sizes are 1."""
        gone = normalize_axes(axes, x.type.rank)
        return self.reshape_to(x, [d for a, d in enumerate(x.type.shape) if a not in gone])

    def unsqueeze(self, x: Value, axes: Sequence[int]) -> Value:
        """x with axes of size 1 at the places `axes` of the result."""
        rank = x.type.rank + len(axes)
        new = normalize_axes(axes, rank)
        sizes = iter(x.type.shape)
        return self.reshape_to(x, [1 if a in new else next(sizes) for a in range(rank)])

    def inline(self, region: Region, arguments: Sequence[Value]) -> list[Value]:
        """The region's nodes appended here, reading `arguments` in place of its inputs; its outputs."""
        here = {id(v): a for v, a in zip(region.graph.inputs, arguments, strict=True)}

        def find(value: Value) -> Value:
            if id(value) not in here and value.constant is not None:
                here[id(value)] = self.constant(value.constant.array, value.type.dtype, value.name)
            return here[id(value)]

        for node in region.graph.nodes:
            with self.origin(*node.origin):
                outputs = self.add_node(node.op, [None if v is None else find(v) for v in node.inputs])
            for inner, outer in zip(node.outputs, outputs, strict=True):
                outer.name = inner.name
                here[id(inner)] = outer
        return [find(v) for v in region.graph.outputs]
