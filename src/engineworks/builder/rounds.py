"""Loops in the record program: a counter and a flag in the arena, the body's records, and a jump back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engineworks.builder.launch import Launch, Place
from engineworks.builder.storage import Storage
from engineworks.ir.graph import Value
from engineworks.ir.group import Group
from engineworks.kernels.tactic import Input
from engineworks.ops.loop import Loop

if TYPE_CHECKING:
    from engineworks.builder.emit import Emitter
    from engineworks.builder.planned import Planned


class RoundsEmitter:
    """Emits one loop. What is carried from round to round lives in the loop's outputs, so the last round's stays there.

    Args:
        label: of the group, for the records.
    """

    def __init__(self, emitter: Emitter, group: Group, body: Planned, label: str) -> None:
        self.emitter, self.group, self.body, self.label = emitter, group, body, label
        op = group.anchor.op
        assert isinstance(op, Loop)
        self.op = op
        self.outputs = [emitter.storages.of_value[id(v)] for v in group.outputs]
        self.counter = emitter.storages.add(Storage("arena", 8))
        self.flag = emitter.storages.add(Storage("arena", 1))
        self.condition = emitter.storages.add(Storage("arena", 1))

    def emit(self) -> None:
        """All records of the loop."""
        emitter, carried = self.emitter, self.op.carried
        start = self._control("start")
        # Results written in a later round must not share memory with what an earlier one computes.
        start.writes.update(s.index for s in self.outputs[carried:])
        start.words += [self._outer(0, start), self._outer(1, start)]
        for number, state in enumerate(self.outputs[:carried]):
            value = self.group.inputs[2 + number]
            assert value is not None
            copy = self._copy(state, value)
            copy.words[1] = self._outer(2 + number, copy)
        head = emitter.jump("jump_if_zero", self.group, self.label)
        head.words.append(self._word(self.flag))
        first = len(emitter.launches) - 1
        # Read before the rounds write them: so they stay to the loop's end.
        head.reads.update((self.flag.index, *(s.index for s in self.outputs)))
        self._round()
        back = emitter.jump("jump", self.group, self.label)
        back.target = first
        emitter.loops.append((first, len(emitter.launches) - 1))
        head.target = len(emitter.launches)
        finished = tuple(s.index for s in self.outputs)
        (self._leave() if self.op.sizes else head).finished = finished

    def _round(self) -> None:
        """The body, then its results to their places, then the next round's number and flag."""
        emitter, carried = self.emitter, self.op.carried
        self._place_inputs()
        results = self.body.graph.outputs
        made = [
            self.condition,
            *(emitter.storages.add(Storage("arena", v.type.size_bytes, 0, v)) for v in results[1:]),
        ]
        emitter.launch_plan(self.body, made, f"{self.label}.body.")
        for number, (value, storage, place) in enumerate(
            zip(results[1:], made[1:], self.outputs, strict=True)
        ):
            copy = self._copy(place, value, by_round=number >= carried)
            copy.words[1] = self._word(storage)
            copy.reads.add(storage.index)
        following = self._control("next")
        following.reads.update((self.counter.index, self.condition.index))
        following.words += [self._outer(0, following), self._word(self.condition)]

    def _place_inputs(self) -> None:
        """The body's inputs: counter, flag, carried values, then those of the enclosing graph."""
        here = [self.counter, self.flag, *self.outputs[: self.op.carried]]
        places = self.emitter.storages.of_value
        for number, inner in enumerate(self.body.graph.inputs):
            outer = self.group.inputs[number]
            assert outer is not None
            if number < len(here):
                places[id(inner)] = here[number]
            elif not outer.is_constant:
                places[id(inner)] = places[id(outer)]

    def _leave(self) -> Launch:
        """The number of rounds becomes a size."""
        sizes, emitter = [str(d) for d in self.op.sizes], self.emitter
        last = emitter.control("count", self.group, self.label)
        last.reads.add(self.counter.index)
        last.words = [self._word(self.counter), Place("symbols", emitter.slots[sizes[0]] * 8)]
        emitter.resolve_after(sizes, self.label, self.group)
        return last

    def _control(self, what: str) -> Launch:
        launch = self.emitter.control(what, self.group, self.label)
        launch.words = [self._word(self.counter), self._word(self.flag)]
        launch.writes.update((self.counter.index, self.flag.index))
        return launch

    def _copy(self, to: Storage, value: Value, *, by_round: bool = False) -> Launch:
        """A copy of one value's bytes; the caller fills in word 1, where they come from."""
        size = value.type.size_bytes
        launch = self.emitter.control("copy_by_round" if by_round else "copy", self.group, self.label)
        launch.step = self.emitter.backend.copy_step(launch.symbol, size)
        launch.tasks = launch.step.tasks
        launch.words = [self._word(to), 0, size]
        launch.writes.add(to.index)
        if by_round:
            launch.words.append(self._word(self.counter))
            launch.reads.add(self.counter.index)
        return launch

    def _outer(self, number: int, launch: Launch) -> Place:
        word = self.emitter.word(Input(number), self.group, launch)
        assert isinstance(word, Place)
        return word

    def _word(self, storage: Storage) -> Place:
        return Place("storage", storage.index)
