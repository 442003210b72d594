"""Discrete Fourier transforms as products with matrices of sines and cosines."""

from __future__ import annotations

import numpy as np

from engineworks.ir.builder import GraphBuilder
from engineworks.ir.foreign import ForeignNode
from engineworks.ir.graph import Value

LARGEST = 4096
"""Length of a transform: its matrix has about four times the square of it elements."""


def fourier_matrix(given: int, parts: int, length: int, *, inverse: bool, one_sided: bool) -> np.ndarray:
    """[given * parts, outputs * parts_out] f64: the transform of `given` values, zero-padded or cut to `length`.

    Args:
        parts: 1 for real values, 2 for (real, imaginary).
        one_sided: forward, the first half of the spectrum of real values; inverse, from such a half to real values.

    Source: the definition, X[k] = Σ x[n] exp(∓2πi k n / length), divided by length for the inverse.
    """
    makes_real = inverse and one_sided
    inputs = min(given, length // 2 + 1 if makes_real else length)
    outputs = length // 2 + 1 if one_sided and not inverse else length
    # The product of integers is reduced first, so that large angles lose nothing.
    angle = 2 * np.pi * (np.outer(np.arange(inputs), np.arange(outputs)) % length) / length
    cosine, sine = np.cos(angle), np.sin(angle) * (1 if inverse else -1)
    real = np.stack([cosine, sine], axis=-1)  # what a real input adds to (real, imaginary)
    imaginary = np.stack([-sine, cosine], axis=-1)
    matrix = np.zeros((given, parts, outputs, 1 if makes_real else 2))
    for part, added in enumerate((real, imaginary)[:parts]):
        matrix[:inputs, part] = added[..., : matrix.shape[-1]]
    if makes_real:
        weight = np.full(inputs, 2.0)  # the other half of the spectrum is the mirror image
        weight[0] = 1.0
        if length % 2 == 0 and inputs == length // 2 + 1:
            weight[-1] = 1.0
        matrix[:inputs] *= weight[:, None, None, None]
    if inverse:
        matrix /= length
    return matrix.reshape(given * parts, -1)


def transformed(
    g: GraphBuilder, n: ForeignNode, x: Value, axis: int, length: int, *, inverse: bool, one_sided: bool
) -> Value:
    """The transform of x [..., parts] along `axis`.

    Raises:
        UnsupportedOperator: a length that is not known at build, or very large.
    """
    given, parts = x.type.shape[axis], x.type.shape[-1]
    if not isinstance(given, int) or not isinstance(parts, int) or length > LARGEST:
        raise n.unsupported(
            f"transforms need a length known when the engine is built and at most {LARGEST}; here {given} to {length}"
        )
    matrix = g.constant(
        fourier_matrix(given, parts, length, inverse=inverse, one_sided=one_sided), x.type.dtype
    )
    rank = x.type.rank
    others = [a for a in range(rank - 1) if a != axis]
    order = (*others, axis, rank - 1)
    shape = tuple(x.type.shape[a] for a in others)
    rows = g.reshape_to(g.transpose(x, perm=order), (*shape, given * parts))
    parts_out = 1 if inverse and one_sided else 2
    outputs = matrix.type.shape[1] // parts_out
    made = g.reshape_to(g.matmul(rows, matrix), (*shape, outputs, parts_out))
    return g.transpose(made, perm=tuple(order.index(a) for a in range(rank)))
