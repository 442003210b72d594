"""The ops that multiply and sum: what narrow precision is about."""

from types import MappingProxyType

PRODUCTS = frozenset({"conv", "conv_transpose", "matmul"})
"""One product each: 8-bit integers may be multiplied too, and pointwise work may follow on the sums."""
RECURRENT = frozenset({"gru", "lstm", "rnn"})
FACTORS = MappingProxyType(dict.fromkeys(PRODUCTS, 2) | dict.fromkeys(RECURRENT, 3))
"""How many of an op's first operands are multiplied with each other. The others are added to the sums, or are states;
all of these ops have an `out_dtype`.
"""
