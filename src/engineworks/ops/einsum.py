"""Einsum, ONNX's and torch's: transpositions, matrix products and sums."""

from __future__ import annotations

from collections.abc import Sequence

from engineworks.core.dims import Dim, known_equal, product
from engineworks.ir import ForeignNode, GraphBuilder, Value, from_onnx, from_torch

Labels = tuple[str, ...]
"""Names of the axes of an operand; those that '...' stands for are '.0', '.1', … counted from the last."""


@from_onnx("Einsum")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    return _evaluated(g, n, n.given())


def _evaluated(g: GraphBuilder, n: ForeignNode, values: Sequence[Value]) -> Value:
    """Operands are joined one after the other; a label is summed as soon as nothing to come needs it."""
    operands, out = _parse(n)
    terms = [_with_distinct_labels(g, x, labels) for x, labels in zip(values, operands, strict=True)]
    while len(terms) > 1:
        (a, left), (b, right) = terms[0], terms[1]
        needed = set(out).union(*(labels for _, labels in terms[2:]))
        terms[:2] = [_join(g, a, left, b, right, needed)]
    x, labels = terms[0]
    x, labels = _sum_out(g, x, labels, set(out))
    if missing := [label for label in out if label not in labels]:
        raise n.invalid(f"output label {missing[0]} is in no operand")
    return _permuted(g, x, labels, out)


@from_torch("aten.einsum.default")
def _(g: GraphBuilder, n: ForeignNode) -> Value:
    """In the dtype of the result, which sums of small integers exceed."""
    operands = [g.cast_to(x, n.result_dtype()) for x in n.given()]
    return _evaluated(g, n, operands)


def _parse(n: ForeignNode) -> tuple[list[Labels], Labels]:
    """Labels of each operand and of the result."""
    equation = n.attr("equation").replace(" ", "")
    left, arrow, right = equation.partition("->")
    texts = left.split(",")
    if len(texts) != len(n):
        raise n.invalid(f"'{equation}' names {len(texts)} operands; there are {len(n)}")
    operands = [
        _operand_labels(text, x.type.rank, n)
        for text, x in zip(texts, n.inputs, strict=True)
        if x is not None
    ]
    hidden = max((sum(label[0] == "." for label in labels) for labels in operands), default=0)
    if arrow:
        return operands, _labels(right, hidden, n)
    every = [label for labels in operands for label in labels]
    once = sorted(label for label in set(every) if every.count(label) == 1 and label[0] != ".")
    return operands, (*(f".{k}" for k in range(hidden - 1, -1, -1)), *once)


def _operand_labels(text: str, rank: int, n: ForeignNode) -> Labels:
    hidden = rank - len(text.replace("...", ""))
    if hidden < 0 or (hidden and "..." not in text):
        raise n.invalid(f"'{text}' does not fit an operand of rank {rank}")
    return _labels(text, hidden, n)


def _labels(text: str, hidden: int, n: ForeignNode) -> Labels:
    """One label an axis; '...' stands for `hidden` axes."""
    before, dots, after = text.partition("...")
    if before + after and not (before + after).isalpha():
        raise n.invalid(f"'{text}' is not made of letters and '...'")
    return (*before, *(f".{k}" for k in range(hidden - 1, -1, -1) if dots), *after)


def _with_distinct_labels(g: GraphBuilder, x: Value, labels: Labels) -> tuple[Value, Labels]:
    """Repeated labels mean the diagonal: all else becomes 0, and one of the two axes is summed away."""
    for axis in range(len(labels) - 1, 0, -1):
        first = labels.index(labels[axis])
        if first == axis:
            continue
        rows, columns = (_positions(g, x, a) for a in (first, axis))
        masked = g.where(g.equal(rows, columns), x, g.constant(0, x.type.dtype))
        x = g.reduce_sum(masked, axes=(axis,), keepdims=False)
        labels = labels[:axis] + labels[axis + 1 :]
    return x, labels


def _positions(g: GraphBuilder, x: Value, axis: int) -> Value:
    """0, 1, 2, … along `axis`, size 1 elsewhere."""
    size = x.type.shape[axis]
    return g.reshape_to(g.iota(count=size), tuple(size if a == axis else 1 for a in range(x.type.rank)))


def _sum_out(g: GraphBuilder, x: Value, labels: Labels, needed: set[str]) -> tuple[Value, Labels]:
    """x without the axes whose labels nothing needs."""
    axes = tuple(a for a, label in enumerate(labels) if label not in needed)
    if not axes:
        return x, labels
    return g.reduce_sum(x, axes=axes, keepdims=False), tuple(label for label in labels if label in needed)


def _permuted(g: GraphBuilder, x: Value, labels: Labels, wanted: Sequence[str]) -> Value:
    perm = tuple(labels.index(label) for label in wanted)
    return x if perm == tuple(range(len(perm))) else g.transpose(x, perm=perm)


def _join(
    g: GraphBuilder, a: Value, left: Labels, b: Value, right: Labels, needed: set[str]
) -> tuple[Value, Labels]:
    """Product of two operands, summed over the labels that both have and nothing needs: one matmul.

    a becomes [shared, rows, summed], b [shared, summed, columns], where rows, summed and columns stand for several
    labels each.
    """
    a, left = _sum_out(g, a, left, needed | set(right))
    b, right = _sum_out(g, b, right, needed | set(left))
    sizes, others = _sizes(a, left), _sizes(b, right)
    both = [label for label in left if label in right]
    shared = [label for label in both if label in needed]
    summed = [label for label in both if label not in needed]
    if not summed or any(known_equal(sizes[label], others[label]) is False for label in both):
        return _broadcast_product(g, a, left, b, right, needed)
    rows = [label for label in left if label not in both]
    columns = [label for label in right if label not in both]
    outer = tuple(sizes[label] for label in shared)
    m, n = product(sizes[label] for label in rows), product(others[label] for label in columns)
    k = product(sizes[label] for label in summed)
    a = g.reshape_to(_permuted(g, a, left, shared + rows + summed), (*outer, m, k))
    b = g.reshape_to(_permuted(g, b, right, shared + summed + columns), (*outer, k, n))
    labels = (*shared, *rows, *columns)
    sizes = others | sizes
    return g.reshape_to(g.matmul(a, b), tuple(sizes[label] for label in labels)), labels


def _sizes(x: Value, labels: Labels) -> dict[str, Dim]:
    return dict(zip(labels, x.type.shape, strict=True))


def _broadcast_product(
    g: GraphBuilder, a: Value, left: Labels, b: Value, right: Labels, needed: set[str]
) -> tuple[Value, Labels]:
    """Element by element, for operands that share no summed label, or whose ellipses broadcast."""
    labels = (*left, *(label for label in right if label not in left))
    parts = []
    for x, own in ((a, left), (b, right)):
        ordered = [label for label in labels if label in own]
        sizes = _sizes(x, own)
        parts.append(
            g.reshape_to(_permuted(g, x, own, ordered), tuple(sizes.get(label, 1) for label in labels))
        )
    return _sum_out(g, g.mul(*parts), labels, needed)
