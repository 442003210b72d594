"""Dims algebra against plain integers: whatever is built symbolically evaluates to what integers give."""

from __future__ import annotations

import math
import operator
import pickle

from hypothesis import given, settings
from hypothesis import strategies as st

from engineworks.core.dims import (
    Dim,
    bounds,
    dim_max,
    dim_min,
    evaluate,
    fold_dim,
    known_equal,
    known_less,
    multiple_of,
    parse_dim,
    substitute,
    symbol,
)

SYMBOLS = {
    "B": symbol("B", 1, 8),
    "S": symbol("S", 1, 512),
    "W": symbol("W", 8, 64, multiple_of=8),
    "Z": symbol("Z", 0, None),
    "width/8": symbol("width/8", 3, 5),
}
VALUES = st.fixed_dictionaries(
    {
        "B": st.integers(1, 8),
        "S": st.integers(1, 512),
        "W": st.integers(1, 8).map(lambda n: 8 * n),
        "Z": st.integers(0, 1000),
        "width/8": st.integers(3, 5),
    }
)
OPERATIONS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "//": operator.floordiv,
    "%": operator.mod,
    "min": dim_min,
    "max": dim_max,
}
PLAIN = OPERATIONS | {"min": min, "max": max}
LEAVES = st.sampled_from(sorted(SYMBOLS)) | st.integers(-20, 40)


def _branch(children: st.SearchStrategy) -> st.SearchStrategy:
    divisors = st.sampled_from([-4, -3, 2, 3, 4, 6, 8, 16]) | st.sampled_from(["B", "S", "W"])
    return st.tuples(st.sampled_from(["+", "-", "*", "min", "max"]), children, children) | st.tuples(
        st.sampled_from(["//", "%"]), children, divisors
    )


TREES = st.recursive(LEAVES, _branch, max_leaves=9)


def _build(tree: object, leaves: dict[str, Dim], operations: dict) -> Dim:
    match tree:
        case str():
            return leaves[tree]
        case int():
            return tree
        case (operation, left, right):
            return operations[operation](_build(left, leaves, operations), _build(right, leaves, operations))
    raise AssertionError(tree)


@settings(max_examples=400, deadline=None)
@given(TREES, VALUES)
def test_a_dim_evaluates_to_what_integers_give(tree: object, values: dict[str, int]) -> None:
    d = _build(tree, SYMBOLS, OPERATIONS)
    expected = _build(tree, values, PLAIN)
    assert evaluate(d, values) == expected
    assert substitute(d, values) == expected


@settings(max_examples=300, deadline=None)
@given(TREES, VALUES)
def test_values_lie_in_bounds_and_are_multiples(tree: object, values: dict[str, int]) -> None:
    d = _build(tree, SYMBOLS, OPERATIONS)
    value = evaluate(d, values)
    lo, hi = bounds(d)
    assert (lo is None or lo <= value) and (hi is None or value <= hi)
    divisor = multiple_of(d)
    assert value % divisor == 0 if divisor else value == 0


@settings(max_examples=300, deadline=None)
@given(TREES)
def test_text_and_pickle_round_trip(tree: object) -> None:
    d = _build(tree, SYMBOLS, OPERATIONS)
    assert parse_dim(str(d), SYMBOLS) == d
    assert pickle.loads(pickle.dumps(d)) == d


@settings(max_examples=200, deadline=None)
@given(TREES, TREES, VALUES)
def test_answers_about_two_dims_hold_for_their_values(
    left: object, right: object, values: dict[str, int]
) -> None:
    a, b = _build(left, SYMBOLS, OPERATIONS), _build(right, SYMBOLS, OPERATIONS)
    x, y = evaluate(a, values), evaluate(b, values)
    assert known_equal(a, b) in (None, x == y)
    assert known_less(a, b) in (None, x < y)


@settings(max_examples=200, deadline=None)
@given(TREES, TREES, TREES)
def test_sums_and_products_are_canonical(p: object, q: object, r: object) -> None:
    a, b, c = (_build(t, SYMBOLS, OPERATIONS) for t in (p, q, r))
    assert a - a == 0
    assert a + b == b + a
    assert a * b == b * a
    assert (a + b) - b == a
    assert (a + b) + c == a + (b + c)
    assert hash(a + b) == hash(b + a)


@settings(max_examples=200, deadline=None)
@given(TREES, st.sampled_from([2, 3, 4, 7, 16]), st.integers(-50, 50))
def test_division_takes_out_multiples(tree: object, k: int, offset: int) -> None:
    a = _build(tree, SYMBOLS, OPERATIONS)
    assert (a * k) // k == a
    assert (a * k) % k == 0
    assert (a * k + offset) // k == a + offset // k
    assert (a * k + offset) % k == offset % k


@settings(max_examples=100, deadline=None)
@given(TREES, VALUES)
def test_fold_needs_only_the_given_arithmetic(tree: object, values: dict[str, int]) -> None:
    d = _build(tree, SYMBOLS, OPERATIONS)
    computed = fold_dim(
        d,
        const=float,
        symbol=lambda name: float(values[name]),
        add=operator.add,
        mul=operator.mul,
        floordiv=lambda a, b: math.floor(a / b) if abs(a) < 2**50 else a // b,
        mod=lambda a, b: a - b * (a // b),
        min=min,
        max=max,
    )
    exact = evaluate(d, values)
    assert math.isclose(computed, exact, rel_tol=1e-9) or abs(exact) > 2**50
