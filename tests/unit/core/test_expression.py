"""Integer expressions against Python's own arithmetic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engineworks.core.dims import dim_max, dim_min, symbol
from engineworks.core.dims import evaluate as dim_value
from engineworks.core.expression import MAX_DEPTH, evaluate, names_of, parse

VALUES = {"B": 5, "S": 7, "seq.len": 3, "batch-size": 4}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2*B*S + 1", 71), ("(B + 3)//4", 2), ("max(B, S)", 7), ("min(B, S, 2)", 2), ("-B//2", -3), ("-7 % 4", 1),
        ("B - -2", 7), ("2 - 3 - 4", -5), ("100//7//2", 7), ("2*seq.len", 6), ("  42 ", 42), ("max(1)", 1),
        ("min(max(B, 6), (S))", 6), ("2*`batch-size` + `B`", 13),
    ],
)  # fmt: skip
def test_an_expression_has_the_value_of_its_arithmetic(text, value):
    assert evaluate(text, VALUES) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2 +",
        "* 2",
        "(2",
        "2)",
        "2 2",
        "B S",
        "2 / 3",
        "2 ** 3",
        "f(2)",
        "1.5",
        "2x",
        "max()",
        "min",
        "'a'",
        "a; b",
        "9" * 20,
    ],
)
def test_other_text_is_refused(text):
    with pytest.raises(ValueError):
        evaluate(text, VALUES)


def test_unknown_names_and_zero_divisors_say_so():
    with pytest.raises(ValueError, match="'Q', which has no value"):
        evaluate("Q + 1", VALUES)
    with pytest.raises(ValueError, match="divides by zero"):
        evaluate("1 // (B - 5)", VALUES)


def test_deep_and_long_text_is_refused_and_long_sums_are_not():
    with pytest.raises(ValueError, match="deeper"):
        parse("(" * (MAX_DEPTH + 1) + "1" + ")" * (MAX_DEPTH + 1))
    with pytest.raises(ValueError, match="characters"):
        parse("1+" * 5000 + "1")
    assert evaluate("+".join(["1"] * 4000), {}) == 4000


def test_names_come_once_in_order():
    assert names_of("S + B*S - max(T, B)") == ("S", "B", "T")
    assert names_of(3) == ()


_terms = st.recursive(
    st.integers(0, 1000).map(str) | st.sampled_from(["B", "S"]),
    lambda x: (
        st.tuples(x, st.sampled_from(["+", "-", "*", "//", "%"]), x).map(lambda t: f"({t[0]} {t[1]} {t[2]})")
        | st.tuples(st.sampled_from(["min", "max"]), x, x).map(lambda t: f"{t[0]}({t[1]}, {t[2]})")
        | x.map(lambda t: f"-{t}")
    ),
    max_leaves=12,
)


@given(_terms)
def test_random_expressions_agree_with_python(text):
    values = {"B": 4, "S": 9}
    try:
        expected = eval(text, {"min": min, "max": max}, values)  # the independent reference
    except ZeroDivisionError:
        with pytest.raises(ValueError):
            evaluate(text, values)
        return
    assert evaluate(text, values) == expected


@given(st.integers(-3, 9), st.integers(1, 9), st.integers(2, 5), st.integers(1, 50), st.integers(1, 50))
def test_the_text_of_a_dim_has_the_value_of_the_dim(offset, factor, divisor, first, second):
    a, b = symbol("B", 1, 64), symbol("seq len", 1, 64)
    dim = dim_max((a * b * factor + offset) // divisor, 1) + (a + offset) % divisor - dim_min(a, b)
    values = {"B": first, "seq len": second}
    assert evaluate(str(dim), values) == dim_value(dim, values)
