"""Predicted times of convolution tiles on one core: for ranking candidates, not for quoting.

The model: a k step of a rows x vectors tile takes the longest of its multiply-adds (two a cycle), its loads (two a
cycle), the multiply's latency, and the time to bring its part of the panel from the second-level cache.
"""

from __future__ import annotations

from engineworks.codegen.llvm.function import Isa
from engineworks.core.dims import Dim, bounds
from engineworks.kernels.cpu.conv import Geometry, known
from engineworks.kernels.cpu.conv_tiles import spread

CYCLES_PER_SECOND = 3.6e9
FMA_LATENCY = 4
FIRST_CACHE_BYTES = 32 << 10
SECOND_CACHE_BYTES = 3 << 19
FAR_BYTES_PER_CYCLE = 5
PANEL_BYTES_PER_CYCLE = 40
TILE_OVERHEAD_CYCLES = 30
MOST_COLLIDING_ROWS = 12
FAR_FILTER_BYTES = 1 << 18
"""Larger filters have left the second-level cache when a network comes back to them: they are fetched ahead."""
MAX_FETCHING_TILES = 32
"""With more tiles to a panel the fetching costs more than the waiting."""


def most_rows(vectors: int, isa: Isa) -> int:
    """Rows of a tile that leave registers for a broadcast and the panel's vectors."""
    return min((isa.registers - 1 - vectors) // vectors, 16)


def step_cycles(rows: int, vectors: int, isa: Isa, depth: int) -> float:
    """Cycles of one k step."""
    compute = max(rows * vectors / 2, (rows + vectors) / 2, FMA_LATENCY)
    step_bytes = vectors * isa.lanes * 4
    if depth * step_bytes <= FIRST_CACHE_BYTES:
        return compute
    return max(compute, step_bytes / PANEL_BYTES_PER_CYCLE) + 0.05 * step_bytes / PANEL_BYTES_PER_CYCLE


def typical(dim: Dim) -> int:
    """A size to predict with: the dim, or for a symbol the geometric middle of its range."""
    if isinstance(dim, int):
        return dim
    low, high = bounds(dim)
    low = max(low or 1, 1)
    return max(1, round((low * (high or max(low, 4096))) ** 0.5))


def direct_seconds(g: Geometry, isa: Isa, height: int, width: int, vectors: int) -> float:
    """Predicted time of a direct convolution with this register tile on one thread."""
    out = [typical(d) for d in g.out]
    batch = typical(g.batch)
    if g.is_pointwise:
        pieces = spread(batch * out[0] * out[1] * out[2], height * width)
        tiles = [(rows, number) for rows, number in pieces]
    else:
        tiles = [
            (h * w, down * across * out[0] * batch)
            for h, down in _cut(out[1], height)
            for w, across in _cut(out[2], width)
        ]
    panels = -(-g.group_outputs // (vectors * isa.lanes)) * g.groups
    cycles = sum(
        number * (g.depth * step_cycles(rows, vectors, isa, g.depth) + TILE_OVERHEAD_CYCLES + rows * vectors)
        for rows, number in tiles
    )
    cycles *= panels
    if height * width > MOST_COLLIDING_ROWS and known(g.x_strides[3]) * g.strides[2] * 4 % 4096 == 0:
        cycles *= 1.2  # all rows of the tile share one set of the first cache
    arriving = g.depth * panels * vectors * isa.lanes * 4 / FAR_BYTES_PER_CYCLE
    cycles = max(cycles, arriving) + 0.25 * min(cycles, arriving)
    return cycles / CYCLES_PER_SECOND


def _cut(total: int, size: int) -> list[tuple[int, int]]:
    whole, rest = divmod(total, size)
    return [(s, n) for s, n in ((size, whole), (rest, 1)) if s and n]


def best_tiles(g: Geometry, isa: Isa, *, flat: bool) -> list[tuple[int, int, int]]:
    """(height, width, vectors) of the two most promising tiles for each number of vectors, best first."""
    chosen = []
    for vectors in range(1, 5 if isa.registers >= 32 else 4):
        rows = most_rows(vectors, isa)
        shapes = [(1, r) for r in range(max(1, rows - 2), rows + 1)] if flat else _shapes(g, rows)
        ranked = sorted(shapes, key=lambda s: direct_seconds(g, isa, *s, vectors))
        chosen += [(*s, vectors) for s in ranked[:2]]
    return sorted(chosen, key=lambda c: direct_seconds(g, isa, *c))


def _shapes(g: Geometry, rows: int) -> list[tuple[int, int]]:
    height, width = typical(g.out[1]), typical(g.out[2])
    return [(h, w) for h in range(1, min(height, rows) + 1) for w in range(1, min(width, rows // h) + 1)]
