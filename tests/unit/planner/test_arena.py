"""Placing buffers: cases with a known best answer, and refusals."""

from __future__ import annotations

import random

import pytest

from engineworks.planner.arena import Life, Plan, plan


def test_no_lives_need_no_arena() -> None:
    assert plan([]) == Plan((), 0, 0)


def test_buffers_that_never_meet_share_memory() -> None:
    made = plan([Life(100, 0, 1), Life(100, 2, 3)])
    assert made.offsets == (0, 0)
    assert made.total == made.lower_bound == 128


def test_planner_reuses_the_gap_left_by_a_dead_buffer() -> None:
    made = plan([Life(256, 0, 1), Life(64, 0, 5), Life(128, 2, 3), Life(128, 2, 3)])
    assert made.total == made.lower_bound == 320


def test_a_chain_needs_the_two_largest_neighbours() -> None:
    sizes = [64, 640, 128, 512, 192]
    made = plan([Life(s, n, n + 1) for n, s in enumerate(sizes)])
    assert made.total == made.lower_bound == 768


def test_aliases_lie_inside_their_parent_and_lengthen_its_life() -> None:
    made = plan(
        [
            Life(256, 2, 2),
            Life(128, 0, 2, alias_of=0),
            Life(128, 1, 2, alias_of=0, alias_offset=128),
            Life(64, 0, 0),
        ]
    )
    assert made.offsets[1] == made.offsets[0]
    assert made.offsets[2] == made.offsets[0] + 128
    assert made.total == made.lower_bound == 320


def test_empty_buffers_take_nothing() -> None:
    assert plan([Life(0, 0, 3), Life(64, 0, 3)]).total == 64


def test_improvement_reaches_the_bound_where_greedy_alone_does_not() -> None:
    lives = [Life(4, 0, 2), Life(2, 1, 4), Life(2, 3, 6), Life(6, 5, 8), Life(4, 7, 8), Life(3, 3, 3)]
    made = plan([Life(life.size * 64, life.first, life.last) for life in lives])
    assert made.total == made.lower_bound


def test_two_thousand_lives_come_near_the_bound() -> None:
    chance = random.Random(1)
    lives = []
    for _ in range(2000):
        first = chance.randrange(2000)
        lives.append(
            Life(
                chance.choice([100, 4096, 65536, chance.randrange(1, 100_000)]),
                first,
                first + chance.choice([1, 1, 2, 3, 10]),
            )
        )
    made = plan(lives)
    assert made.total <= 1.08 * made.lower_bound


@pytest.mark.parametrize(
    ("lives", "message"),
    [
        ([Life(8, 3, 2)], "ends before"),
        ([Life(-1, 0, 0)], "negative size"),
        ([Life(8, 0, 0, alias_of=3)], "does not exist"),
        ([Life(8, 0, 0, alias_of=1), Life(8, 0, 0, alias_of=0)], "circle"),
        ([Life(8, 0, 0), Life(16, 0, 0, alias_of=0)], "not inside"),
        ([Life(8, 0, 0), Life(4, 0, 0, alias_of=0, alias_offset=6)], "not inside"),
    ],
)
def test_impossible_lives_are_refused(lives: list[Life], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan(lives)


def test_alignment_is_a_power_of_two() -> None:
    with pytest.raises(ValueError, match="power of two"):
        plan([], alignment=48)
