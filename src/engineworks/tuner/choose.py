"""Choose a tactic for every workload: by prediction at effort 0, by measurement above."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from engineworks.errors import BuildError, NoTactic
from engineworks.kernels.backend import Backend, Candidate
from engineworks.kernels.tactic import Effort, Hardware, KernelImage
from engineworks.kernels.workload import Workload
from engineworks.tuner.choice import Alternative, Choice


class Tuner(Protocol):
    """Times candidates of one workload; answers (tactic text -> seconds, or why it was rejected)."""

    def prepare(
        self, problems: Sequence[tuple[Workload, list[Candidate]]], progress: Callable[[int, int], None]
    ) -> None: ...

    def measure(self, work: Workload, candidates: list[Candidate]) -> dict[str, float | str]: ...


WIDER_EFFORT = 2
"""Of the proposals that are asked for when the predicted best does not compile."""
Progress = Callable[[int, int, str], None]
"""Called with (done, total, what)."""


@dataclass(frozen=True, slots=True)
class Chooser:
    """Chooses for one target.

    Args:
        tuner: None predicts only.
        strict: leave out tactics that round more coarsely than the direct form.
        sources: vendors' libraries that may be called; None: all.
        compile: the functions of an image; what is not measured is compiled before it is taken, and left out where that
            raises BuildError. None: every candidate is known to compile.
    """

    backend: Backend
    isa: Hardware
    effort: Effort
    tuner: Tuner | None = None
    strict: bool = False
    sources: Collection[str] | None = None
    compile: Callable[[KernelImage], None] | None = None

    def choose_all(
        self, works: Iterable[tuple[Workload, str]], progress: Progress | None = None
    ) -> dict[str, Choice]:
        """A choice for each distinct workload, by its key. `works` pairs each workload with the user's name for it.

        Raises:
            NoTactic: nothing computes a workload; the message says why each family refuses.
        """
        distinct = {work.key(): (work, name) for work, name in works}
        proposed = {
            key: self.backend.propose(work, self.isa, self.effort, strict=self.strict, sources=self.sources)
            for key, (work, _) in distinct.items()
        }
        chosen: dict[str, Choice] = {}
        if self.tuner is not None:
            self.tuner.prepare(
                [(work, proposed[key][0]) for key, (work, _) in distinct.items()],
                lambda done, total: progress(done, total, "compiling") if progress else None,
            )
        for done, (key, (work, name)) in enumerate(distinct.items()):
            if progress:
                progress(done, len(distinct), name)
            chosen[key] = self._choose(work, name, *proposed[key])
        if progress:
            progress(len(distinct), len(distinct), "")
        return chosen

    def _choose(self, work: Workload, name: str, candidates: list[Candidate], refused: list[str]) -> Choice:
        """The best candidate that is correct."""
        if not candidates:
            reasons = "\n  ".join(refused)
            raise NoTactic(
                f"no kernel computes {work.anchor or 'the loop nest'} at '{name}':\n  {reasons}\n{work.text()}"
            )
        times: dict[str, float | str] = {}
        if self.tuner is not None and len(candidates) > 1:
            times = self.tuner.measure(work, candidates)
        return self._decide(work, name, candidates, times, tuple(refused))

    def _decide(
        self,
        work: Workload,
        name: str,
        candidates: list[Candidate],
        times: dict[str, float | str],
        refused: tuple[str, ...],
    ) -> Choice:
        def time_of(candidate: Candidate) -> float | None:
            found = times.get(candidate.tactic.text())
            return found if isinstance(found, float) else None

        legal = [c for c in candidates if not isinstance(times.get(c.tactic.text()), str)]
        if not legal:
            why = "\n  ".join(f"{text}: {reason}" for text, reason in times.items())
            raise NoTactic(
                f"every kernel for {work.anchor or 'the loop nest'} at '{name}' was rejected:\n  {why}"
            )
        measured = [c for c in legal if time_of(c) is not None]
        best = (
            min(measured, key=lambda c: (time_of(c), c.tactic.text()))
            if measured
            else self._predicted(work, name, legal, times)
        )
        ordered = [best, *[c for c in candidates if c is not best]]
        alternatives = tuple(
            Alternative(
                c.tactic.text(), c.tactic.predicted_s, time_of(c),
                str(times[c.tactic.text()]) if isinstance(times.get(c.tactic.text()), str) else "",
            )
            for c in ordered
        )  # fmt: skip
        image = best.provider.build(work, best.tactic, self.isa)
        return Choice(work, best.tactic, image, time_of(best), alternatives, refused)

    def _predicted(
        self, work: Workload, name: str, legal: list[Candidate], times: dict[str, float | str]
    ) -> Candidate:
        """The best prediction that compiles; notes in `times` why others do not."""
        if self.compile is None:
            return legal[0]
        wider = self.effort
        while True:
            for candidate in legal:
                text = candidate.tactic.text()
                if text in times:
                    continue
                try:
                    self.compile(candidate.provider.build(work, candidate.tactic, self.isa))
                except BuildError as error:
                    times[text] = f"it does not compile: {str(error)[:300]}"
                    break  # others of its family may be better than the next family's
                return candidate
            else:
                why = "\n  ".join(f"{text}: {reason}" for text, reason in times.items())
                raise NoTactic(
                    f"no kernel for {work.anchor or 'the loop nest'} at '{name}' compiles:\n  {why}"
                )
            if wider == self.effort:
                wider = max(self.effort, WIDER_EFFORT)
                legal = self.backend.propose(work, self.isa, wider, strict=self.strict, sources=self.sources)[
                    0
                ]
