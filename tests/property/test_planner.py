"""What every memory plan must satisfy, for random lives and for random programs run on random bytes."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engineworks.planner.arena import Life, plan
from engineworks.planner.liveness import Step, lives_of


@st.composite
def _lives(draw: st.DrawFn) -> list[Life]:
    count = draw(st.integers(0, 30))
    lives: list[Life] = []
    for n in range(count):
        first = draw(st.integers(0, 20))
        last = first + draw(st.integers(0, 6))
        size = draw(st.integers(0, 500))
        if n and draw(st.integers(0, 4)) == 0:
            parent = draw(st.integers(0, n - 1))
            offset = draw(st.integers(0, lives[parent].size))
            lives.append(Life(min(size, lives[parent].size - offset), first, last, parent, offset))
        else:
            lives.append(Life(size, first, last))
    return lives


def _root(lives: list[Life], n: int) -> int:
    while lives[n].alias_of is not None:
        n = lives[n].alias_of
    return n


@settings(max_examples=200, deadline=None)
@given(_lives(), st.sampled_from([1, 16, 64]))
def test_plans_keep_their_promises(lives: list[Life], alignment: int) -> None:
    made = plan(lives, alignment)
    own = [n for n, life in enumerate(lives) if life.alias_of is None]
    rounded = sum(-(-lives[n].size // alignment) * alignment for n in own)
    assert made.lower_bound <= made.total <= rounded
    assert all(made.offsets[n] % alignment == 0 for n in own)
    spans = {n: [lives[n].first, lives[n].last] for n in own}
    for n, life in enumerate(lives):
        root = _root(lives, n)
        spans[root] = [min(spans[root][0], life.first), max(spans[root][1], life.last)]
        assert made.offsets[n] >= 0 and made.offsets[n] + life.size <= made.total
        if life.alias_of is not None:
            assert made.offsets[n] == made.offsets[life.alias_of] + life.alias_offset
    for a in own:
        for b in own:
            together = spans[a][0] <= spans[b][1] and spans[b][0] <= spans[a][1]
            if a < b and together and lives[a].size and lives[b].size:
                assert (
                    made.offsets[a] + lives[a].size <= made.offsets[b]
                    or made.offsets[b] + lives[b].size <= made.offsets[a]
                )


@settings(max_examples=50, deadline=None)
@given(_lives())
def test_equal_lives_give_equal_plans(lives: list[Life]) -> None:
    assert plan(lives) == plan(list(lives))


@st.composite
def _programs(draw: st.DrawFn) -> tuple[list[int], list[Step], list[int]]:
    """Steps that each write one new buffer from earlier ones, in place where they may; the outputs."""
    inputs = draw(st.integers(1, 3))
    count = inputs + draw(st.integers(1, 14))
    sizes = [draw(st.sampled_from([8, 8, 16, 24])) for _ in range(count)]
    steps = []
    for n in range(inputs, count):
        reads = tuple(draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=3, unique=True)))
        allowed = tuple((n, r) for r in reads if draw(st.booleans()))
        steps.append(Step(reads, (n,), allowed))
    kept = draw(st.lists(st.integers(inputs, count - 1), min_size=1, max_size=3, unique=True))
    return sizes, steps, [inputs, *kept]


@settings(max_examples=300, deadline=None)
@given(_programs(), st.integers(0, 2**32 - 1))
def test_a_program_in_the_arena_computes_what_separate_buffers_give(
    program: tuple[list[int], list[Step], list[int]], seed: int
) -> None:
    sizes, steps, (inputs, *kept) = program
    made = plan(lives_of(sizes, steps, given=range(inputs), kept=kept), alignment=8)
    arena = np.zeros(made.total, np.uint8)
    shared = [arena[o : o + s] for o, s in zip(made.offsets, sizes, strict=True)]
    separate = [np.zeros(s, np.uint8) for s in sizes]
    source = np.random.default_rng(seed)
    for n in range(inputs):
        shared[n][:] = separate[n][:] = source.integers(0, 256, sizes[n], np.uint8)
    for number, step in enumerate(steps):
        for buffers in (shared, separate):
            value = sum(
                (np.resize(buffers[r], sizes[step.writes[0]]) for r in step.reads), start=np.uint8(number)
            )
            buffers[step.writes[0]][:] = value
    for n in kept:
        assert np.array_equal(shared[n], separate[n])
