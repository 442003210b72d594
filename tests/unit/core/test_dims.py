"""What dims print, decide and refuse."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from engineworks.core.dims import (
    Scope,
    Sym,
    bounds,
    ceil_div,
    dim_max,
    dim_min,
    evaluate,
    known_at_most,
    known_equal,
    known_less,
    known_positive,
    multiple_of,
    parse_dim,
    product,
    substitute,
    symbol,
    symbol_facts,
    symbols_of,
)
from engineworks.errors import InvalidInput, InvalidModel, Undecided

B = symbol("B", 1, 8)
S = symbol("S", 1, 512)
W = symbol("W", 8, 64, multiple_of=8)


@pytest.mark.parametrize(
    ("dim", "text"),
    [
        (2 * B * S + 1, "2*B*S + 1"),
        ((B + 3) // 4, "(B + 3)//4"),
        (dim_max(B, S), "max(B, S)"),
        (5 - S, "-S + 5"),
        (S - 1, "S - 1"),
        (3 * (S // 4), "3*(S//4)"),
        (S % 4 + 1, "S%4 + 1"),
        (S * S, "S*S"),
        (symbol("width/8") * 2, "2*`width/8`"),
        (symbol("lambda") // 2, "`lambda`//2"),
        (dim_min(S, 2 * B, 12), "min(2*B, S, 12)"),
    ],
)
def test_text_is_readable(dim: Sym, text: str) -> None:
    assert str(dim) == text


@pytest.mark.parametrize(
    ("made", "simple"),
    [
        ((B * 4) // 4, B),
        ((4 * B + 7) // 4, B + 1),
        ((4 * B + 7) % 4, 3),
        (B - B, 0),
        (0 * B, 0),
        ((B * S * 768) // (B * S), 768),
        ((B * S + B) // (S + 1), B),
        (W // 8 * 8, W),
        (W % 8, 0),
        ((W + 3) // 8, W // 8),
        (W // 4 * 4, W),
        (W - W // 2, W // 2),
        ((S // 2) // 3, S // 6),
        ((S // 2 + 1) // 2, (S + 2) // 4),
        ((2 * S + 1) // 4, S // 2),
        ((S % 12) % 4, S % 4),
        ((6 * S) % 4, 2 * (S % 2)),
        (B // 16, 0),
        (B % 16, B),
        (dim_min(S, S + 1), S),
        (dim_max(B, 8), 8),
        (dim_max(S - 1, 0), S - 1),
        (ceil_div(16 * S, 16), S),
        (S // -2, (-S) // 2),
    ],
)
def test_arithmetic_simplifies(made: object, simple: object) -> None:
    assert made == simple


def test_integers_stay_plain_integers() -> None:
    assert type(product((2, 3, 4))) is int
    assert type(ceil_div(7, 2)) is int
    assert type(dim_min(3, 4)) is int
    assert product(()) == 1


def test_numpy_integers_mix_with_symbols() -> None:
    assert np.int64(2) * B == 2 * B
    assert B + np.int32(3) == B + 3
    assert np.int64(10) - B == 10 - B


def test_equality_is_structural_and_hash_agrees() -> None:
    assert symbol("B", 1, 8) == B
    assert hash(symbol("B", 1, 8) * 2) == hash(B + B)
    assert B != S
    assert B != 1
    assert symbol("B", 1, 9) != B
    assert len({B, symbol("B", 1, 8), S}) == 2


def test_a_copy_is_the_same_dim() -> None:
    assert copy.deepcopy(B * S + 1) == B * S + 1


def test_bounds_come_from_the_ranges() -> None:
    assert bounds(7) == (7, 7)
    assert bounds(2 * B * S + 1) == (3, 8193)
    assert bounds(symbol("N")) == (1, None)
    assert bounds(4 - symbol("N")) == (None, 3)
    assert bounds(S % 8) == (0, 7)
    assert bounds(dim_max(B, S)) == (1, 512)


def test_symbol_bounds_shrink_to_multiples() -> None:
    assert bounds(symbol("K", 3, 30, multiple_of=8)) == (8, 24)


def test_questions_have_three_answers() -> None:
    assert known_equal(B, B) is True
    assert known_equal(B, 9) is False
    assert known_equal(B, S) is None
    assert known_equal(2 * B, 4 * S + 1) is False
    assert known_less(B, 9) is True
    assert known_less(B, 1) is False
    assert known_less(B, S) is None
    assert known_at_most(B, 8) is True
    assert known_positive(B) is True
    assert known_positive(B - 8) is False
    assert known_positive(B - 4) is None


def test_multiples_are_known() -> None:
    assert multiple_of(W) == 8
    assert multiple_of(W * S * 3) == 24
    assert multiple_of(W + 4) == 4
    assert multiple_of(W // 4) == 2


def test_comparisons_answer_when_bounds_decide() -> None:
    assert B < 9
    assert B >= 1
    assert B > 0
    assert bool(B)
    assert not (B > 8)


def test_comparisons_raise_when_bounds_do_not_decide() -> None:
    with pytest.raises(Undecided, match=r"B < S for all B in \[1, 8\], S in \[1, 512\]"):
        assert B < S
    with pytest.raises(Undecided):
        bool(B - 1)


def test_divisor_that_may_be_zero_is_refused() -> None:
    with pytest.raises(Undecided, match="divisor may be zero"):
        S // symbol("Z", 0)
    with pytest.raises(ZeroDivisionError):
        S // 0


def test_substitute_is_simultaneous_and_keeps_the_rest() -> None:
    assert substitute(B + 2 * S, {"B": S, "S": B}) == S + 2 * B
    assert substitute((B * S) // 4, {"B": 4}) == S
    assert substitute(5, {"B": 4}) == 5


def test_evaluate_names_what_is_missing() -> None:
    assert evaluate((B * S + 3) // 4, {"B": 2, "S": 7}) == 4
    with pytest.raises(InvalidInput, match="no value for S"):
        evaluate(B * S, {"B": 2})


def test_symbols_are_found_inside_divisions() -> None:
    assert symbols_of((B + 3) // 4 + dim_max(S, 4)) == {"B", "S"}
    assert symbols_of(3) == frozenset()
    assert symbol_facts(W // 3) == {"W": (8, 64, 8)}


def test_parse_reads_names_in_back_quotes() -> None:
    assert parse_dim("2*`width/8` + 1") == 2 * symbol("width/8") + 1
    assert parse_dim("max(B, S) // 2", {"B": B, "S": S}) == dim_max(B, S) // 2
    assert parse_dim("-3") == -3


@pytest.mark.parametrize("text", ["", "B +", "B / 2", "f(B)", "B.x", "1.5", "min()", "B if S else 1", "True"])
def test_parse_refuses_what_is_not_a_size(text: str) -> None:
    with pytest.raises(ValueError, match="cannot read"):
        parse_dim(text, {"B": B, "S": S})


def test_parse_refuses_undeclared_names() -> None:
    with pytest.raises(ValueError, match="no symbol 'Q'"):
        parse_dim("Q + 1", {"B": B})


@pytest.mark.parametrize(
    "facts", [{"name": ""}, {"name": "a`"}, {"name": "B", "multiple_of": 0}, {"name": "B", "lo": 5, "hi": 4}]
)
def test_impossible_symbols_are_refused(facts: dict) -> None:
    with pytest.raises(ValueError, match="symbol"):
        symbol(**facts)


def test_scope_records_only_what_is_undecided() -> None:
    scope = Scope()
    b, s = scope.symbol("B", 1, 8), scope.symbol("S", 1, 512)
    scope.require(b * 2, b + b, "matmul 'q'")
    scope.require(b, s, "matmul 'q': inner dims")
    scope.require(b, s, "matmul 'q': inner dims")
    assert [(str(c), c.message) for c in scope.checks] == [("B == S", "matmul 'q': inner dims: B must be S")]


def test_scope_refuses_what_never_holds() -> None:
    scope = Scope()
    with pytest.raises(InvalidModel, match=r"matmul 'q': B is never 9 for B in \[1, 8\]"):
        scope.require(scope.symbol("B", 1, 8), 9, "matmul 'q'")


def test_scope_refuses_a_second_declaration() -> None:
    scope = Scope()
    assert scope.symbol("B", 1, 8) is scope.symbol("B", 1, 8)
    with pytest.raises(ValueError, match="was declared as"):
        scope.symbol("B", 1, 9)


def test_fresh_symbols_have_new_names() -> None:
    scope = Scope()
    assert [str(scope.fresh("rows")) for _ in range(3)] == ["rows0", "rows1", "rows2"]
    assert scope.parse("rows1*2") == 2 * scope.symbols["rows1"]
