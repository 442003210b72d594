"""From a model to an engine: the phases, in order."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engineworks.builder import profiles, report
from engineworks.builder.config import BuildConfig
from engineworks.builder.emit import Emitted, Emitter
from engineworks.builder.norms import NormChooser
from engineworks.builder.places import cache_folder
from engineworks.builder.planned import Planned, plan_graph
from engineworks.builder.precision import PrecisionChooser, allowed_precisions, ignored, narrowest
from engineworks.builder.threads import with_useful_threads
from engineworks.builder.workloads import flops, workload_of_node
from engineworks.core import target as targets
from engineworks.core.target import Target
from engineworks.core.types import TensorType
from engineworks.engine import container
from engineworks.errors import InvalidModel
from engineworks.ir.foreign import ForeignGraph
from engineworks.ir.graph import Graph, Node
from engineworks.ir.group import Group
from engineworks.ir.passes import Pass, run_passes
from engineworks.ir.rewriter import Rewriter
from engineworks.kernels.backend import Backend, Binding, find
from engineworks.kernels.tactic import KernelImage
from engineworks.passes.calibrated_pairs import CalibratedPairs
from engineworks.passes.common_values import CommonValues
from engineworks.passes.decompose import Decompose
from engineworks.passes.float_products import FloatProducts
from engineworks.passes.fold_constants import FoldConstants
from engineworks.passes.fold_layer_norms import FoldLayerNorms
from engineworks.passes.hoist_slices import HoistSlices
from engineworks.passes.layouts import AssignLayouts
from engineworks.passes.lower_quantised import LowerQuantised
from engineworks.passes.merge_products import MergeProducts
from engineworks.passes.narrow_attention import NarrowAttention
from engineworks.passes.narrow_io import NarrowInputsOutputs
from engineworks.passes.narrow_weights import NarrowWeights
from engineworks.passes.outputs import SeparateOutputs
from engineworks.passes.partition import PartitionOptions
from engineworks.passes.precision import DTYPES, LayerPrecision, NarrowProducts, Policy
from engineworks.passes.sink_reshapes import SinkReshapes
from engineworks.passes.sink_transposes import SinkTransposes
from engineworks.passes.tensor_floats import AllowTensorFloats
from engineworks.rules.sets import canonical_rules, fusion_rules, quantise_rules
from engineworks.runtime.cpu.pool import available_cores
from engineworks.runtime.device import find as find_device
from engineworks.tuner.choice import Choice
from engineworks.tuner.choose import Chooser, Progress

if TYPE_CHECKING:
    from engineworks.tuner.measure import ProcessTuner

PACKAGE_VERSION = "0.1.0"
QUANTISING = frozenset({"dequantize_linear"})
"""Ops that are not folded before the rules that look for them ran."""
Model = Any
"""Path or bytes of an ONNX file, path of a .pt2 file, a torch.export.ExportedProgram (whose package is not needed to
build other models), or a Graph."""


@dataclass(slots=True)
class _Phases:
    """Times of the phases, for the report."""

    done: list[report.PhaseReport] = field(default_factory=list)

    @contextmanager
    def phase(self, name: str) -> Any:
        start = time.perf_counter()
        yield
        self.done.append(report.PhaseReport(name, time.perf_counter() - start))


def build_bytes(model: Model, config: BuildConfig, progress: Progress | None = None) -> bytes:
    """The engine file of a model, as bytes. Raises BuildError in its kinds (errors.py)."""
    emitted = build_engine(model, config, progress)
    return container.encode(emitted.manifest, emitted.sections)


def build_engine(
    model: Model, config: BuildConfig, progress: Progress | None = None, backend: Backend | None = None
) -> Emitted:
    """The engine of a model, before it is written; of several targets, with a plan for each.

    Args:
        model: see `Model`; a Graph is optimised in place, for one target.
        progress: called with (done, total, what) while kernels are tuned.
        backend: in place of the target's, for tests; of several targets, of those for its device.
    """
    if len(config.targets) > 1:
        from engineworks.builder.fat import build_fat

        return build_fat(model, config, progress, backend)
    phases = _Phases()
    target = target_of(config)
    backend = backend or find(target.device)
    isa = backend.isa(target)
    with phases.phase("import"):
        graph, config = import_graph(model, config)
    rewriter = Rewriter(graph, limit=config.rewrite_limit)
    optimiser = _Optimiser(backend, isa, config, phases, progress)
    cache = backend.cache(cache_folder("objects") if config.timing_cache is not False else None)
    with _tuner(graph, backend, target, isa, config, cache) as tuner:
        optimiser.optimise(rewriter, tuner)
        with phases.phase("partition"):
            options = PartitionOptions(backend.epilogue_ops, part_readers=backend.part_readers)
            plan = plan_graph(graph, options, lambda body: optimiser.body(body, tuner))
        with phases.phase("tune"):
            # Only a measurement tells how fast a library is.
            sources = () if tuner is None else config.tactic_sources
            compiles = partial(_compile, backend, isa, cache) if target.device == "cuda" else None
            chooser = Chooser(backend, isa, config.effort, tuner, config.strict_math, sources, compiles)
            plan.choose(chooser.choose_all(plan.named_works(), progress))
        with phases.phase("emit"):
            emitter = Emitter(
                plan, backend, backend.level(target), isa, cache, PACKAGE_VERSION, config.name,
                profiles.typical_dims(graph, config), _binding(config, tuner),
            )  # fmt: skip
            emitted = emitter.emit()
        if tuner is not None:
            optimiser.warnings = (*optimiser.warnings, *tuner.warnings())
        if target.device == "cpu":
            with phases.phase("threads"):
                choices = [choice for each in plan.all() for choice in each.choices]
                emitted = with_useful_threads(emitted, choices, tuner, config.threads or available_cores())
    made = _report(emitter, emitted, rewriter, optimiser, config)
    emitted.sections["report"] = report.encode(made)
    return emitted


def _compile(backend: Backend, isa: Any, cache: Any, image: KernelImage) -> None:
    """Compile an image's functions. Raises BuildError: one needs more than the target has."""
    backend.prepare(image.functions, image.declarations, isa, cache)


def _binding(config: BuildConfig, tuner: ProcessTuner | None) -> Binding:
    """Which GPUs may load the engine."""
    wanted = config.hardware_compatibility
    return Binding("" if wanted == "exact" else wanted, {} if tuner is None else tuner.facts)


def target_of(config: BuildConfig) -> Target:
    """The target of a build; 'cuda' alone is the GPU of this machine.

    Raises:
        EngineMismatch: there is none, or no driver for it.
        ValueError: the text names no target.
    """
    if config.target == "cuda":
        return find_device("cuda").target()
    return targets.parse(config.target)


def import_graph(model: Model, config: BuildConfig) -> tuple[Graph, BuildConfig]:
    """The typed graph, and the config with a profile of all inputs."""
    if isinstance(model, Graph):
        return model, config
    from engineworks.frontends.importer import import_model, require_rules

    foreign = _read(model)
    # Before the user is asked for a profile: none helps an operator that is not there.
    require_rules(foreign)
    config = profiles.with_stated_ranges(foreign, config)
    shapes, dims = profiles.shapes_and_ranges(foreign, config)
    return import_model(foreign, input_shapes=shapes, dims=dims), config


def _read(model: Any) -> ForeignGraph:
    """The model through the reader of its kind. Raises InvalidModel: there is none for it."""
    from engineworks.frontends.torch_export.programs import is_program, is_program_file, load_program

    if is_program_file(model):
        model = load_program(model)
    if is_program(model):
        from engineworks.frontends.torch_export.reader import read as read_program

        return read_program(model)
    if isinstance(model, (str, bytes, os.PathLike)):
        from engineworks.frontends.onnx.reader import read

        return read(model if isinstance(model, bytes) else Path(model))
    raise InvalidModel(
        f"a {type(model).__name__} is no model. Give the path or the bytes of an ONNX file, a torch.nn.Module with "
        f"args=(…), a torch.export.ExportedProgram or the path of its .pt2 file."
    )


def canonical_passes() -> list[Pass]:
    """What a graph goes through before its values are measured for int8, or their ranges used.

    Quantised weights stay quantised: rules look for them.
    """
    fold = FoldConstants(kept=QUANTISING)
    return [fold, CommonValues(), canonical_rules(), fold, CommonValues()]


def optimising_passes(
    backend: Backend,
    isa: Any,
    integers: Sequence[Pass] = (),
    floats: Sequence[Pass] = (),
    narrow: Sequence[Pass] = (),
) -> list[Pass]:
    """What a graph goes through behind `canonical_passes`, before it is cut into groups, in order.

    Args:
        integers: passes that make products of integers of Q/DQ pairs.
        floats: that look at what stayed, before pairs become arithmetic. narrow: that choose narrow floats.
    """

    def claims(node: Node) -> bool:
        return not type(node.op).has("decompose") or backend.claims(workload_of_node(node), isa)

    fold = FoldConstants(kept=QUANTISING)
    behind = [SinkReshapes(between_pointwise=True)] if backend.part_readers else []
    return [
        fusion_rules(), fold, *integers, fold, CommonValues(), *floats, LowerQuantised(), FoldConstants(),
        fusion_rules(), FoldConstants(), *narrow, FoldConstants(),
        Decompose(claims), *behind, FoldConstants(), CommonValues(), AssignLayouts(), SeparateOutputs(),
    ]  # fmt: skip


@dataclass(slots=True)
class _Optimiser:
    """Optimises a graph and the bodies of its control flow alike.

    Attributes:
        precisions: of the products, in the order in which they were decided.
        warnings: of calibration, and of the lack of it.
        ranges: scales of calibrated tensors. steps: of those that are quantised, what one level stands for.
    """

    backend: Backend
    isa: Any
    config: BuildConfig
    phases: _Phases
    progress: Progress | None = None
    precisions: list[LayerPrecision] = field(default_factory=list)
    warnings: tuple[str, ...] = ()
    ranges: Mapping[str, float] = field(default_factory=dict)
    steps: dict[str, float] = field(default_factory=dict)

    def optimise(self, rewriter: Rewriter, tuner: ProcessTuner | None) -> None:
        """All passes, with calibration in between where the configuration has data for it."""
        self._run(rewriter, canonical_passes(), self.phases)
        asked = (
            *allowed_precisions(self.config, self.backend, self.isa),
            *self.config.layer_precisions.values(),
        )
        given = (self.config.calibrate, self.config.calibration_cache)
        if "int8" in asked and any(source is not None for source in given):
            from engineworks.builder.calibrated_build import ranges_for

            with self.phases.phase("calibrate"):
                self.ranges, self.warnings = ranges_for(rewriter.graph, self.config)
        self._run(rewriter, self._passes(tuner), self.phases)
        found = {p.precision for p in self.precisions}
        if "int8" in self.config.precisions and found and "int8" not in found and not self.ranges:
            from engineworks.builder.calibrated_build import without_ranges

            self.warnings = (*self.warnings, without_ranges())

    def body(self, graph: Graph, tuner: ProcessTuner | None) -> None:
        """A body of control flow; its passes are not timed by themselves."""
        rewriter = Rewriter(graph)
        self._run(rewriter, [*canonical_passes(), *self._passes(tuner)], _Phases())

    def _passes(self, tuner: ProcessTuner | None) -> list[Pass]:
        allowed = allowed_precisions(self.config, self.backend, self.isa)
        policy = self._policy(allowed, tuner)
        reasons: dict[str, str] = {}
        calibrated = [CalibratedPairs(policy, self.ranges, reasons, self.steps)] if self.ranges else []
        floats: list[Pass] = [NarrowWeights(reasons), FloatProducts(reasons)]
        if not self.config.keep_io_types and policy.allowed & set(DTYPES):
            floats.append(NarrowInputsOutputs(DTYPES["fp16" if "fp16" in policy.allowed else "bf16"]))
        record = self.precisions.append
        narrow = [*self._merging(), NarrowAttention(policy, record), NarrowProducts(policy, record, reasons)]
        if self.backend.multiplies_narrow and self.config.tf32 and not self.config.strict_math:
            narrow.append(AllowTensorFloats())
        if self.backend.part_readers and not self.config.strict_math:
            narrow.append(FoldLayerNorms(NormChooser(self.backend, self.isa, tuner, self.config.effort).pays))
        return optimising_passes(self.backend, self.isa, [*calibrated, quantise_rules()], floats, narrow)

    def _merging(self) -> list[Pass]:
        """For backends whose cost at few rows is the launch."""
        readers = self.backend.part_readers
        if not readers:
            return []
        rules = canonical_rules()
        return [SinkReshapes(), rules, HoistSlices(), SinkTransposes(), rules, MergeProducts(readers)]

    def _policy(self, allowed: frozenset[str], tuner: ProcessTuner | None) -> Policy:
        config = self.config
        layers, constraints = tuple(config.layer_precisions.items()), config.precision_constraints
        if self.backend.multiplies_narrow:
            return Policy(allowed, narrowest, layers, constraints, narrows_both=True)
        chooser = PrecisionChooser(
            self.backend, self.isa, tuner, config.effort, config.strict_math, self.progress or ignored
        )
        return Policy(allowed, chooser.choose, layers, constraints, partial(chooser.prepare, allowed))

    def _run(self, rewriter: Rewriter, passes: list[Pass], phases: _Phases) -> None:
        check: Callable[[Graph], None] | None = None
        if self.config.verify:
            from engineworks.ir.verify import verify as check
        for timing in run_passes(rewriter, passes, check=check):
            phases.done.append(report.PhaseReport(timing.name, timing.duration_s, timing.nodes))


@contextmanager
def _tuner(
    graph: Graph, backend: Backend, target: Target, isa: Any, config: BuildConfig, cache: Any
) -> Iterator[ProcessTuner | None]:
    """The measuring process of a build; None at effort 0, which predicts."""
    if config.effort == 0:
        yield None
        return
    from engineworks.builder.tuning import make_tuner

    tuner = make_tuner(config, backend, target, isa, cache, profiles.typical_dims(graph, config))
    try:
        yield tuner
    finally:
        tuner.close()


def _report(
    emitter: Emitter, emitted: Emitted, rewriter: Rewriter, optimiser: _Optimiser, config: BuildConfig
) -> report.BuildReport:
    groups = tuple(_group_reports(emitter.plan, ""))
    memory = emitted.memory
    return report.BuildReport(
        model=emitter.graph.name,
        target=str(emitter.target),
        effort=config.effort,
        threads=config.threads or 0,
        phases=tuple(optimiser.phases.done),
        rewrites=tuple(str(entry) for entry in rewriter.journal),
        missed=tuple(
            {
                (m.rule, m.origins): report.MissedReport(m.rule, m.origins, m.why) for m in rewriter.missed
            }.values()
        ),
        groups=groups,
        precisions=tuple(
            report.PrecisionReport(p.origin, p.op, p.precision, p.reason) for p in optimiser.precisions
        ),
        warnings=optimiser.warnings,
        steps=optimiser.steps,
        memory=report.MemoryReport(
            memory.total,
            memory.lower_bound,
            memory.unshared,
            emitter.weights.size,
            emitted.manifest.scratch_bytes,
        ),
    )


def _group_reports(plan: Planned, prefix: str) -> Iterator[report.GroupReport]:
    for number, (group, choice) in enumerate(zip(plan.groups, plan.choices, strict=True)):
        yield _group_report(f"{prefix}{number}", group, choice)
        bodies = plan.bodies.get(number, ())
        names = ("body",) if len(bodies) == 1 else ("then", "else")
        for name, body in zip(names, bodies, strict=False):
            yield from _group_reports(body, f"{prefix}{number}.{name}.")


def _group_report(number: str, group: Group, choice: Choice | None) -> report.GroupReport:
    types: list[TensorType] = [v.type for v in (*group.inputs, *group.outputs) if v is not None]
    moved = sum(float(t.size_bytes) for t in types if t.is_static)  # type: ignore[arg-type]
    common = {
        "number": number, "kind": group.kind, "origin": group.origin, "ops": tuple(str(n.op) for n in group.nodes),
        "outputs": tuple(str(v.type) for v in group.outputs), "notes": group.notes,
    }  # fmt: skip
    if choice is None:
        return report.GroupReport(**common)
    return report.GroupReport(
        **common,
        tactic=choice.tactic.text(),
        measured_s=choice.measured_s,
        predicted_s=choice.tactic.predicted_s,
        flops=flops(choice.work),
        bytes_moved=moved,
        alternatives=tuple(
            report.AlternativeReport(a.tactic, a.predicted_s, a.measured_s, a.rejected)
            for a in choice.alternatives
        ),
        refused=choice.refused,
    )
