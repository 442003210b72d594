"""When buffers live, and which of them share memory."""

from __future__ import annotations

import pytest

from engineworks.planner.arena import Life
from engineworks.planner.liveness import Step, lives_of


def test_a_buffer_lives_from_its_writer_to_its_last_reader() -> None:
    steps = [Step((0,), (1,)), Step((1,), (2,)), Step((1, 2), (3,))]
    assert lives_of([8] * 4, steps, given=[0], kept=[3]) == [
        Life(8, 0, 0),
        Life(8, 0, 2),
        Life(8, 1, 2),
        Life(8, 2, 2),
    ]


def test_an_output_written_early_lives_to_the_end() -> None:
    steps = [Step((0,), (1,)), Step((0,), (2,))]
    assert lives_of([8] * 3, steps, given=[0], kept=[1, 2])[1] == Life(8, 0, 1)


def test_a_result_takes_over_an_operand_that_dies() -> None:
    steps = [Step((), (0,)), Step((0,), (1,), ((1, 0),)), Step((1,), (2,), ((2, 1),)), Step((2,), (3,))]
    lives = lives_of([8] * 4, steps, kept=[3])
    assert [life.alias_of for life in lives] == [None, 0, 1, None]


def test_an_operand_that_is_read_later_is_not_overwritten() -> None:
    steps = [Step((), (0,)), Step((0,), (1,), ((1, 0),)), Step((0, 1), (2,))]
    assert lives_of([8] * 3, steps, kept=[2])[1].alias_of is None


def test_a_kept_operand_is_not_overwritten() -> None:
    steps = [Step((), (0,)), Step((0,), (1,), ((1, 0),)), Step((1,), (2,))]
    assert lives_of([8] * 3, steps, kept=[0, 2])[1].alias_of is None


def test_a_larger_result_does_not_fit() -> None:
    steps = [Step((), (0,)), Step((0,), (1,), ((1, 0),)), Step((1,), (2,))]
    assert lives_of([8, 16, 8], steps, kept=[2])[1].alias_of is None


def test_an_operand_is_taken_over_once() -> None:
    steps = [Step((), (0,)), Step((0,), (1, 2), ((1, 0), (2, 0))), Step((1, 2), (3,))]
    assert [life.alias_of for life in lives_of([8] * 4, steps, kept=[3])] == [None, 0, None, None]


def test_the_parts_of_a_concatenation_are_views_of_it() -> None:
    steps = [Step((), (0,)), Step((0,), (1,), ((1, 0),)), Step((), (2,)), Step((3,), (4,))]
    lives = lives_of([8, 8, 8, 16, 8], steps, kept=[4], views={1: (3, 0), 2: (3, 8)})
    assert lives[1] == Life(8, 1, 1, 3, 0)
    assert lives[2] == Life(8, 2, 2, 3, 8)


def test_a_part_is_not_overwritten_while_its_whole_is_needed() -> None:
    steps = [Step((), (0,)), Step((0,), (2,), ((2, 0),)), Step((1, 2), (3,))]
    lives = lives_of([8, 16, 8, 8], steps, kept=[3], views={0: (1, 0)})
    assert lives[2].alias_of is None


def test_what_enters_a_loop_lives_to_its_end() -> None:
    steps = [Step((), (0,)), Step((0,), (1,)), Step((1,), (2,)), Step((2,), (3,))]
    lives = lives_of([8] * 4, steps, kept=[3], loops=[(1, 2)])
    assert lives[0] == Life(8, 0, 2)
    assert lives[1] == Life(8, 1, 2)


def test_what_one_round_hands_to_the_next_lives_all_through_the_loop() -> None:
    steps = [Step((), (0,)), Step((1,), (2,)), Step((2,), (1,)), Step((0,), (3,))]
    assert lives_of([8] * 4, steps, kept=[3], loops=[(1, 2)])[1] == Life(8, 1, 2)


def test_a_buffer_that_nothing_touches_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[1\] are never"):
        lives_of([8, 8], [Step((), (0,))])
