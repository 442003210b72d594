"""The three linear maps of Winograd's minimal filtering F(m x m, 3 x 3), on registers of channels.

Matrices: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016), with the interpolation points
0, 1, -1, infinity for m = 2 and also 2, -2 for m = 4.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from engineworks.codegen.llvm.function import Function, Isa, f32_constant

_FILTER = {
    2: np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]]),
    4: np.array([[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6],
                 [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]]),
}  # fmt: skip


def pack_filters(values: Mapping[int, np.ndarray], m: int, width: int) -> np.ndarray:
    """[O, C, 3, 3] to [(m + 2)^2, panels, C, width] f32: transformed filters in panels of `width` outputs."""
    w = np.asarray(values[1], np.float64)
    outputs, channels = w.shape[:2]
    size, panels = m + 2, -(-outputs // width)
    u = np.einsum("xi,ocij,yj->xyco", _FILTER[m], w, _FILTER[m], optimize=True).reshape(
        size * size, channels, outputs
    )
    u = np.pad(u.astype(np.float32), [(0, 0), (0, 0), (0, panels * width - outputs)])
    return np.ascontiguousarray(u.reshape(size * size, channels, panels, width).swapaxes(1, 2))


class Arithmetic:
    """Sums and scaled sums of f32 registers."""

    def __init__(self, f: Function, isa: Isa) -> None:
        self.f, self.vector, self.lanes = f, f"<{isa.lanes} x float>", isa.lanes

    def add(self, a: str, b: str) -> str:
        return self.f.value(f"fadd {self.vector} {a}, {b}")

    def sub(self, a: str, b: str) -> str:
        return self.f.value(f"fsub {self.vector} {a}, {b}")

    def scaled(self, factor: float, a: str, b: str) -> str:
        """factor * a + b."""
        v = self.vector
        return self.f.call(
            v,
            f"llvm.fma.v{self.lanes}f32",
            f"{v} splat (float {f32_constant(factor)})",
            f"{v} {a}",
            f"{v} {b}",
        )


def input_line(a: Arithmetic, d: list[str], m: int) -> list[str]:
    """B^T d for one line of m + 2 inputs."""
    if m == 2:
        return [a.sub(d[0], d[2]), a.add(d[1], d[2]), a.sub(d[2], d[1]), a.sub(d[1], d[3])]
    even, odd = a.scaled(-4, d[2], d[4]), a.scaled(-4, d[1], d[3])
    near, far = a.sub(d[4], d[2]), a.sub(d[3], d[1])
    first = a.scaled(4, d[0], a.scaled(-5, d[2], d[4]))
    last = a.scaled(4, d[1], a.scaled(-5, d[3], d[5]))
    return [first, a.add(even, odd), a.sub(even, odd), a.scaled(2, far, near), a.scaled(-2, far, near), last]


def output_line(a: Arithmetic, q: list[str], m: int) -> list[str]:
    """A^T q for one line of m + 2 products."""
    if m == 2:
        return [a.add(a.add(q[0], q[1]), q[2]), a.sub(a.sub(q[1], q[2]), q[3])]
    s1, d1, s2, d2 = a.add(q[1], q[2]), a.sub(q[1], q[2]), a.add(q[3], q[4]), a.sub(q[3], q[4])
    return [
        a.add(a.add(q[0], s1), s2),
        a.scaled(2, d2, d1),
        a.scaled(4, s2, s1),
        a.add(a.scaled(8, d2, d1), q[5]),
    ]
