"""What runs where: the engines of a program, and the operators that stay in PyTorch with the reason."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import fx

from engineworks.builder.config import BuildConfig
from engineworks.errors import BuildError, CalibrationError, UnsupportedOperator
from engineworks.frontends.torch_export.sources import source_line
from engineworks.ir.foreign import spellings
from engineworks.torch_tensorrt.convert import CannotConvert, Imported, build_piece, import_piece
from engineworks.torch_tensorrt.extract import Piece, Program, assemble, extract
from engineworks.torch_tensorrt.fold import constant_nodes, fold
from engineworks.torch_tensorrt.partition import (
    counts,
    levels,
    needed_outside,
    reason_of,
    with_small_engines_in_pytorch,
)
from engineworks.torch_tensorrt.places import place_of_graph, why_elsewhere
from engineworks.torch_tensorrt.samples import PieceSamples, is_read_once
from engineworks.torch_tensorrt.settings import CompilationSettings, names_of_operator

_log = logging.getLogger("engineworks")
_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Eager:
    """One operator that runs in PyTorch, and why."""

    operator: str
    node: str
    why: str
    where: str


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """One engine: what it takes and gives, as `Signature.text`, and its operators with their counts."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operators: tuple[tuple[str, int], ...]

    @property
    def count(self) -> int:
        return sum(n for _, n in self.operators)


@dataclass(frozen=True, slots=True)
class Plan:
    """Which parts of a model become engines, as `compile(…, dryrun=True)` gives it. `str` of it is a page to read."""

    engines: tuple[EnginePlan, ...]
    eager: tuple[Eager, ...]

    def __str__(self) -> str:
        inside = sum(e.count for e in self.engines)
        total = _counted(inside + len(self.eager), "operation")
        lines = [f"{inside} of {total} in {_counted(len(self.engines), 'engine')}"]
        for number, engine in enumerate(self.engines):
            taken, given = ", ".join(engine.inputs) or "nothing", ", ".join(engine.outputs)
            lines.append(
                f"engine {number}: {_counted(engine.count, 'operation')}; takes {taken}; gives {given}"
            )
            lines.append("  " + ", ".join(f"{name} x{n}" for name, n in engine.operators))
        if self.eager:
            lines.append(f"in PyTorch: {_counted(len(self.eager), 'operation')}")
            lines += [f"  {line}" for line in _grouped(self.eager)]
        return "\n".join(lines)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _grouped(eager: Sequence[Eager]) -> list[str]:
    """A line for each operator and reason, with the places."""
    places: dict[tuple[str, str], list[str]] = {}
    for e in eager:
        places.setdefault((e.operator, e.why), []).append(e.where or e.node)
    lines = []
    for (name, why), where in places.items():
        shown = "; ".join(dict.fromkeys(where[:_SHOWN])) + (
            f" and {len(where) - _SHOWN} more" if len(where) > _SHOWN else ""
        )
        lines.append(f"{name} x{len(where)}: {why} ({shown})")
    return lines


class Planner:
    """Cuts one program, until every engine can be imported."""

    def __init__(self, program: Program, settings: CompilationSettings, config: BuildConfig) -> None:
        self._settings = settings
        self._config = config
        self._imported: dict[tuple[str, ...], Imported] = {}
        self.program = program
        self.reasons: dict[fx.Node, str] = _first_reasons(program, settings)
        self.parts: list[tuple[Piece | None, list[fx.Node]]] = []

    def cut(self) -> None:
        """Decide the parts. Raises UnsupportedOperator: all must be in engines, and some operators cannot be."""
        while True:
            self._divide()
            failed = self._failures()
            if not failed:
                break
            before = len(self.reasons)
            self.reasons = {**failed, **self.reasons}
            if len(self.reasons) == before:
                raise UnsupportedOperator(next(iter(failed.values())))
        if self._settings.require_full_compilation:
            self._refuse_eager()

    def _divide(self) -> None:
        self.program = fold(self.program, self.reasons)
        graph = self.program.graph
        graph.eliminate_dead_code(lambda n: n.op in ("placeholder", "output"))
        alive = set(graph.nodes)
        self.reasons = {n: why for n, why in self.reasons.items() if n in alive}
        repeated = constant_nodes(self.program)
        least = self._settings.min_block_size
        reasons = with_small_engines_in_pytorch(graph, self.reasons, least, repeated)
        if len(reasons) > len(self.reasons):
            self.reasons = reasons
            self._divide()
            return
        found = levels(graph, reasons, repeated)
        needed = needed_outside(graph, found)
        self.parts = [
            (extract(self.program, level.engine, needed, repeated) if level.engine else None, level.eager)
            for level in found
        ]

    def _failures(self) -> dict[fx.Node, str]:
        """Nodes that cannot be imported, with the reason: the one that is named, or all of its engine."""
        by_name = {n.name: n for n in self.program.graph.nodes}
        failed: dict[fx.Node, str] = {}
        for piece in self.pieces():
            try:
                self.imported(piece)
            except CannotConvert as error:
                named = by_name.get(error.node or "")
                is_inside = named is not None and named not in self.reasons and counts(named)
                nodes = [named] if is_inside else list(piece.nodes)
                failed |= {n: error.why for n in nodes if n is not None}
        return failed

    def imported(self, piece: Piece) -> Imported:
        """The graph of a piece, imported once. Raises CannotConvert."""
        key = tuple(n.name for n in piece.program.graph.nodes)
        if key not in self._imported:
            self._imported[key] = import_piece(piece, self._config)
        return self._imported[key]

    def pieces(self) -> list[Piece]:
        """The engines, in order."""
        return [piece for piece, _ in self.parts if piece is not None]

    def build(self) -> fx.GraphModule:
        """The module that runs the engines.

        Raises:
            BuildError: an engine cannot be built, and failures are passed on (or everything must be in engines).
        """
        while True:
            engines = []
            for piece in self.pieces():
                try:
                    engines.append(self._built(piece))
                except CalibrationError:
                    raise
                except BuildError as error:
                    if self._settings.pass_through_build_failures or self._settings.require_full_compilation:
                        raise
                    _log.warning("an engine of %d nodes cannot be built; they run in PyTorch: %s",
                                 len(piece.nodes), error)  # fmt: skip
                    self.reasons |= dict.fromkeys(piece.nodes, f"the engine cannot be built: {error}")
                    break
            else:
                return assemble(self.program, self.parts, engines)
            self.cut()

    def _built(self, piece: Piece) -> tuple[torch.Tensor, str]:
        key = tuple(n.name for n in piece.program.graph.nodes)
        imported = self.imported(piece)
        # The builder optimises the graph in place: it serves once.
        del self._imported[key]
        return build_piece(imported, self._calibration(piece))

    def _calibration(self, piece: Piece) -> dict[str, Any]:
        """Fields of BuildConfig: example inputs of one engine, and where its ranges are kept."""
        data, cache, pieces = self._settings.calibrate, self._settings.calibration_cache, self.pieces()
        if "int8" not in self._config.precisions or (data is None and cache is None):
            return {}
        if len(pieces) == 1 and not any(eager for _, eager in self.parts):
            samples = data
        elif is_read_once(data):
            raise CalibrationError(
                f"the model is {len(pieces)} engines with operators of PyTorch between them, and the calibration data "
                f"can be read only once: give a list of batches, or a function that gives them."
            )
        else:
            samples = None if data is None else PieceSamples(self.program, piece, data)
        number = next(k for k, other in enumerate(pieces) if other is piece)
        path = Path(f"{cache}.{number}" if len(pieces) > 1 else str(cache)) if cache else None
        return {
            "calibrate": samples, "calibration_cache": path,
            "calibration_method": self._settings.calibration_method,
        }  # fmt: skip

    # -- telling
    def plan(self) -> Plan:
        """What was decided."""
        engines = tuple(_engine_plan(piece) for piece in self.pieces())
        eager = tuple(
            Eager(str(n.target), n.name, self.reasons.get(n, ""), source_line(n))
            for _, nodes in self.parts
            for n in nodes
            if counts(n)
        )
        return Plan(engines, eager)

    def _refuse_eager(self) -> None:
        eager = self.plan().eager
        if eager:
            lines = "\n".join(f"  {line}" for line in _grouped(eager))
            raise UnsupportedOperator(
                f"require_full_compilation=True, and {_counted(len(eager), 'operation')} cannot be in an engine:\n"
                f"{lines}\n"
                f"  Ways out: require_full_compilation=False runs them in PyTorch; change the model; or add them: "
                f"docs/developers/add-an-operator.md"
            )


def _first_reasons(program: Program, settings: CompilationSettings) -> dict[fx.Node, str]:
    """What no engine can hold by its operator, types and devices, and what the user wants in PyTorch."""
    known = spellings("torch")
    place = place_of_graph(program.graph)
    constants = constant_nodes(program) | {n for n in program.graph.nodes if program.is_constant(n)}
    found = {}
    for node in program.graph.nodes:
        if not counts(node):
            continue
        why = None
        if names_of_operator(node.target) & settings.eager_names:
            why = "it is in torch_executed_ops"
        elif _classes(node) & settings.eager_modules:
            why = "it is in torch_executed_modules"
        why = why or reason_of(node, is_known=str(node.target) in known)
        why = why or why_elsewhere(node, place, constants)
        if why is not None:
            found[node] = why
    return found


def _classes(node: fx.Node) -> set[str]:
    """Names of the classes of the modules that a node stands in: with their packages, and alone."""
    stack = (node.meta.get("nn_module_stack") or {}).values()
    names = [kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}" for _, kind in stack]
    return {*names, *(n.rpartition(".")[2] for n in names)}


def _engine_plan(piece: Piece) -> EnginePlan:
    graph = piece.program.graph
    used = Counter(str(n.target) for n in graph.nodes if counts(n))
    return EnginePlan(
        tuple(_shown(n) for n in piece.inputs),
        tuple(_shown(n) for n in piece.outputs),
        tuple(used.most_common()),
    )


def _shown(node: fx.Node) -> str:
    value = node.meta["val"]
    return f"{node.name}: {str(value.dtype).removeprefix('torch.')}[{', '.join(map(str, value.shape))}]"
