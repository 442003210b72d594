"""Native ops and the pointwise work that fits behind them."""

from __future__ import annotations

from collections.abc import Mapping

from engineworks.core.types import row_major
from engineworks.ir.graph import Graph, Node, Value
from engineworks.ir.group import Group, OperandKind
from engineworks.ops._kinds import Pointwise
from engineworks.ops._products import PRODUCTS
from engineworks.passes.decompose import is_fusible
from engineworks.passes.layouts import CHANNELS_LAST_OPS, lies
from engineworks.passes.partition_views import WIDENING, narrow_source

MAX_EPILOGUE_NODES = 48
MAX_FULL_OPERANDS = 3


def operand_kind(value: Value, anchor: Node) -> OperandKind | None:
    """How an epilogue operand varies over the output: 'full', 'channel', 'scalar'; None when no kernel follows it."""
    shape, out = value.type.shape, anchor.output.type
    if all(d == 1 for d in shape):
        return "scalar"
    layout = out.layout or row_major(out.rank)
    if shape == out.shape and lies(value.type, layout):
        return "full"
    skipped = out.rank - len(shape)
    # Where an axis has one position the layout does not tell which axis holds the channels.
    inner = 1 if anchor.op.name in CHANNELS_LAST_OPS else layout.order[-1]
    varies = [a + skipped for a, d in enumerate(shape) if d != 1]
    if varies == [inner] and shape[inner - skipped] == out.shape[inner]:
        return "channel"
    return None


def grow_epilogue(
    graph: Graph, anchor: Node, taken: set[int], ancestors: Mapping[int, int], *, fuses: bool
) -> Group:
    """The anchor with the longest run of pointwise readers behind which exactly one value leaves the group.

    Narrow operands are widened inside: nodes that only do that are members too, and may be members of several groups.
    """
    members: list[Node] = [anchor]
    lengths, notes = [1], []
    if fuses:
        while len(members) < MAX_EPILOGUE_NODES:
            node, why = _next_member(anchor, members, taken, ancestors)
            if node is None:
                notes += [why] if why else []
                break
            members.append(node)
            if len(_leaving(graph, members)) == 1:
                lengths.append(len(members))
    members = members[: _before_sum(graph, members, lengths) or _narrowest(graph, members, lengths)]
    outputs = _leaving(graph, members) if len(members) > 1 else list(anchor.outputs)
    _lay_like(members, anchor.output)
    behind = [*_widened_inside(members), *members[1:]]
    return Group("anchor", (anchor, *behind), _inputs(anchor, behind), tuple(outputs), notes=tuple(notes))


def _inputs(anchor: Node, behind: list[Node]) -> tuple[Value | None, ...]:
    """The anchor's inputs, then what the nodes behind it read from outside, each once; numbers are part of the code."""
    inside = {id(v) for n in (anchor, *behind) for v in n.outputs}
    extra: dict[int, Value] = {}
    for value in (v for node in behind for v in node.inputs):
        if (
            value is not None
            and id(value) not in inside
            and not (value.is_constant and value.array.size == 1)
        ):
            extra.setdefault(id(value), value)
    return (*anchor.inputs, *extra.values())


def _widened_inside(members: list[Node]) -> list[Node]:
    """Nodes beside the members that widen their operands, in order."""
    made = {id(v) for n in members for v in n.outputs}
    found: dict[int, Node] = {}
    for value in (v for node in members[1:] for v in node.inputs):
        if value is not None and id(value) not in made:
            found.update((id(n), n) for n in _widening(value, members[0]))
    return list(found.values())


def _widening(value: Value, anchor: Node) -> list[Node]:
    """The nodes that make an operand of a narrower tensor that lies like the anchor's output; else none."""
    nodes, source = narrow_source(value)
    return nodes if operand_kind(source, anchor) == "full" else []


def _narrowest(graph: Graph, members: list[Node], lengths: list[int]) -> int:
    """The longest of `lengths`; shorter where what follows only widens the value for readers that can do it too."""
    longest = lengths[-1]
    last = members[longest - 1].output
    if graph.is_output(last) or not all(is_fusible(user) for user, _ in last.uses):
        return longest
    for length in range(longest - 1, 1, -1):
        if members[length].op.name not in WIDENING:
            return longest
        if length in lengths and members[length - 1].output.type.dtype.bits < last.type.dtype.bits:
            return length
    return longest


def _before_sum(graph: Graph, members: list[Node], lengths: list[int]) -> int | None:
    """Where bytes are widened to meet the sums of another product, which nobody quantises: the other kernel can go on
    from there, and nothing wide is stored between the two.
    """
    inside = {id(n) for n in members}
    for length in lengths[1:-1]:
        value, rest = members[length - 1].output, members[length : lengths[-1]]
        if value.type.dtype.bits != 8 or rest[0].op.name not in WIDENING:
            continue
        met = [v for n in rest for v in n.inputs if v is not None and id(v.producer) not in inside]
        if any(_is_of_product(v) for v in met) and _leaving(graph, members[:length]) == [value]:
            return length
    return None


def _is_of_product(value: Value) -> bool:
    """f32 that pointwise work makes of the sums of a product, for one reader."""
    node = value.producer
    if node is None or len(value.uses) != 1 or narrow_source(value)[1].type.dtype.bits == 8:
        return False
    if node.op.name in PRODUCTS:
        return True
    return isinstance(node.op, Pointwise) and any(_is_of_product(v) for v in node.inputs if v is not None)


def _lay_like(members: list[Node], first: Value) -> None:
    """Pointwise values behind the anchor lie as its output does (the layout pass gives them that already)."""
    for node in members[1:]:
        assert lies(node.output.type, first.type.layout or row_major(first.type.rank)), (
            f"{node} lies differently"
        )


def _leaving(graph: Graph, members: list[Node]) -> list[Value]:
    inside = {id(n) for n in members}
    return [
        v for n in members for v in n.outputs
        if graph.is_output(v) or any(id(u) not in inside for u, _ in v.uses)
    ]  # fmt: skip


def _next_member(
    anchor: Node, members: list[Node], taken: set[int], ancestors: Mapping[int, int]
) -> tuple[Node | None, str]:
    """The next reader that can join, or a sentence about why the nearest one cannot."""
    inside = {id(n) for n in members}
    made = {id(v) for n in members for v in (n.outputs[:1] if n is anchor else n.outputs)}
    layout = anchor.output.type.layout or row_major(anchor.output.type.rank)
    why = ""
    for member in members:
        for user, _ in member.output.uses:
            if id(user) in inside:
                continue
            why = _obstacle(user, anchor, made, taken, ancestors) or ""
            if not why and lies(user.output.type, layout):
                return user, ""
    return None, why


def _obstacle(
    user: Node, anchor: Node, made: set[int], taken: set[int], ancestors: Mapping[int, int]
) -> str | None:
    out = anchor.output.type
    if id(user) in taken:
        return f"'{user.op.name}' already belongs to another kernel"
    if not isinstance(user.op, Pointwise):
        return f"'{user.op.name}' is not pointwise"
    if user.output.type.shape != out.shape:
        return f"'{user.op.name}' broadcasts the result to {user.output.type}"
    full = 0
    for value in user.inputs:
        if value is None or id(value) in made:
            continue
        kind = operand_kind(value, anchor)
        if kind is None:
            return (
                f"operand {value.type} of '{user.op.name}' is neither like the output nor along its channels"
            )
        full += kind == "full"
        if value.producer is not None and ancestors[id(value.producer)] & _bit(ancestors, anchor):
            return f"an operand of '{user.op.name}' depends on this result another way"
    return "too many full operands" if full > MAX_FULL_OPERANDS else None


def _bit(ancestors: Mapping[int, int], node: Node) -> int:
    """The node's own bit: the highest of its mask."""
    return 1 << (ancestors[id(node)].bit_length() - 1)
