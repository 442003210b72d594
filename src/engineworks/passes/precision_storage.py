"""Narrow forms of f32 values: where they are made, and who reads them instead."""

from __future__ import annotations

from collections.abc import Callable

from engineworks.core import dtypes
from engineworks.core.dtypes import DType
from engineworks.ir.builder import GraphBuilder
from engineworks.ir.graph import Node, Value
from engineworks.ir.rewriter import Rewriter
from engineworks.ops._kinds import Pointwise, Reduction
from engineworks.ops._products import PRODUCTS

VIEWS = frozenset({"transpose", "reshape", "slice"})
PASSED = VIEWS | {"concat", "max_pool"}
"""Ops whose results are elements of their inputs."""
PRECISE = frozenset(
    {
        "layer_normalization", "rms_normalization", "instance_normalization", "group_normalization",
        "mean_variance_normalization", "lp_normalization", "softmax", "log_softmax", "attention", "lrn",
    }
)  # fmt: skip
"""Ops that read f32 even where a narrow form of their input exists."""
MOST_STEPS = 48

Change = Callable[[GraphBuilder, Value], Value]


class NarrowForms:
    """The narrow forms of one graph's values, each made once."""

    def __init__(self, rewriter: Rewriter) -> None:
        self.rewriter = rewriter
        self._made: dict[int, tuple[Value, Value]] = {}

    def cast(self, value: Value, dtype: DType) -> Value:
        """`value` as `dtype`: cast where it is made, in front of views and joins that nobody else reads."""
        node = value.producer
        if value.constant is not None:
            with self.rewriter.building() as g:
                return g.constant(value.constant.array, dtype, value.name)
        source = None if node is None or node.op.name != "cast" else node.inputs[0]
        if source is not None and source.type.dtype is dtype:
            return source
        found = self._made.get(id(value))
        if found is not None and found[1].type.dtype is dtype:
            return found[1]
        if node is None or not self._is_passed_through(node):
            return self.form(value, lambda g, v: g.cast(v, dtype=dtype))
        inner = [None if v is None else self.cast(v, dtype) for v in node.inputs]
        return self.form(value, lambda g, _: g.add_node(node.op, inner)[0])

    def form(self, value: Value, make: Change) -> Value:
        """What `make` makes of `value`, where `value` is made; the earlier result when there is one."""
        found = self._made.get(id(value))
        if found is None:
            nodes = [value.producer] if value.producer is not None else [u for u, _ in value.uses[:1]]
            with self.rewriter.building(*nodes) as g:
                found = self._made[id(value)] = (value, make(g, value))
            # The stored form keeps the user's name, where values are compared.
            found[1].name = found[1].name or value.name
        return found[1]

    def share(self, widen: Change) -> None:
        """Other readers of a value that is made behind a product read its narrow form, widened, so that only this is
        stored; unless one of them needs all digits.
        """
        for value, narrow in list(self._made.values()):
            maker = _first_behind(value, narrow)
            others = [(u, k) for u, k in value.uses if u is not maker]
            if not others or self.rewriter.graph.is_output(value) or not _is_behind_product(value):
                continue
            if any(u.op.name in PRECISE or isinstance(u.op, Reduction) for u, _ in others):
                continue
            assert narrow.producer is not None, "a narrow form is made by a node"
            with self.rewriter.building(narrow.producer) as g:
                wide = widen(g, narrow)
            for user, position in others:
                user.set_input(position, wide)

    def _is_passed_through(self, node: Node) -> bool:
        """A view, a join or a maximum of what products made, whose kernels then store narrow numbers."""
        if node.op.name not in PASSED or len(node.outputs) > 1:
            return False
        is_output = self.rewriter.graph.is_output
        return all(v is not None and not is_output(v) and _is_behind_product(v) for v in node.inputs)


def _first_behind(value: Value, narrow: Value) -> Node | None:
    """The node that reads `value` on the way to `narrow`; None where a view was made narrow in front."""
    node = narrow.producer
    for _ in range(4):
        if node is None or any(v is value for v in node.inputs):
            return node
        source = node.inputs[0]
        node = None if source is None else source.producer
    return None


def _is_behind_product(value: Value) -> bool:
    """A product made it, with pointwise work in between."""
    frontier, seen = [value], set()
    while frontier and len(seen) < MOST_STEPS:
        node = frontier.pop().producer
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if node.op.name in PRODUCTS:
            return True
        if isinstance(node.op, Pointwise) or node.op.name in PASSED:
            frontier += [v for v in node.inputs if v is not None]
    return False


def widened(g: GraphBuilder, narrow: Value) -> Value:
    """A narrow float as f32."""
    return g.cast(narrow, dtype=dtypes.f32)
