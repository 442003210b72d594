"""Groups and chosen tactics to an engine: buffers, weights, program, code, manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from engineworks.builder.barriers import Touched, free_of_barrier
from engineworks.builder.in_place import replaceable_operands
from engineworks.builder.launch import Launch, Place
from engineworks.builder.planned import Planned
from engineworks.builder.rounds import RoundsEmitter
from engineworks.builder.storage import (
    MemoryPlan,
    Storage,
    Storages,
    allocate,
    described,
    dim_text,
    plan_memory,
)
from engineworks.builder.symbols import defining_axes
from engineworks.builder.weights import WeightsSection
from engineworks.codegen.llvm.resolve import emit_resolve
from engineworks.core.dims import Dim, symbol_facts, symbols_of
from engineworks.core.target import Target
from engineworks.engine import schema
from engineworks.engine.schema import Manifest, Ref
from engineworks.ir.graph import Graph, Value
from engineworks.ir.group import Group
from engineworks.kernels.backend import ANY, Backend, Binding, Code, Control
from engineworks.kernels.tactic import (
    Input,
    Output,
    Packed,
    Size,
    Symbols,
    TensorMap,
    Word,
    Workspace,
)
from engineworks.ops.loop import Loop
from engineworks.planner.liveness import Step as Moment
from engineworks.tuner.choice import Choice


@dataclass(frozen=True, slots=True)
class Emitted:
    """An engine before it is written: manifest, sections, and the memory plan for the report.

    Attributes:
        tensors: where each lies in the weights section.
    """

    manifest: Manifest
    sections: dict[str, bytes | bytearray]
    memory: MemoryPlan
    tensors: tuple[schema.Piece, ...] = ()


@dataclass(slots=True)
class Emitter:
    """Builds the manifest of one engine. Everything it is given is final."""

    plan: Planned
    backend: Backend
    target: Target
    isa: Any
    cache: Any
    package: str
    name: str = ""
    typical: Mapping[str, int] = field(default_factory=dict)
    binding: Binding = ANY
    storages: Storages = field(default_factory=Storages)
    weights: WeightsSection = field(default_factory=WeightsSection)
    launches: list[Launch] = field(default_factory=list)
    loops: list[tuple[int, int]] = field(default_factory=list)
    functions: dict[str, Any] = field(default_factory=dict)
    maps: list[TensorMap] = field(default_factory=list)
    declarations: set[str] = field(default_factory=set)
    slots: dict[str, int] = field(default_factory=dict)

    @property
    def graph(self) -> Graph:
        """The outermost graph."""
        return self.plan.graph

    def emit(self) -> Emitted:
        """The engine."""
        for number, value in enumerate(self.graph.inputs):
            storage = Storage("input", value.type.size_bytes, number, value)
            self.storages.of_value[id(value)] = self.storages.add(storage)
        outputs = [
            self.storages.add(Storage("output", v.type.size_bytes, number, v))
            for number, v in enumerate(self.graph.outputs)
        ]
        given = self._number_symbols()
        if len(self.slots) > given and self.backend.resolves_by_kernel:
            # Sizes that kernels write are resolved on the way; those of the inputs then are too, first of all.
            launch = self._resolver_kernel([Place("symbols", 0), Place("plan", 0)], "resolve", None)
            self._pending.append((launch, frozenset(list(self.slots)[:given])))
        self.launch_plan(self.plan, outputs, "")
        moments = [Moment(tuple(n.reads), tuple(n.writes), n.in_place) for n in self.launches]
        memory = plan_memory(self.storages, moments, self.loops)
        self._write_resolvers()
        code = self.backend.code(self.functions, self.declarations, self.isa, self.cache, self.binding)
        manifest = self._manifest(memory, code)
        sections: dict[str, bytes | bytearray] = {"code": code.image, "weights": self.weights.tobytes()}
        tensors = tuple(schema.Piece(at, chunk.nbytes) for at, chunk in self.weights.chunks())
        return Emitted(manifest, sections, memory, tensors)

    # -- launches ---------------------------------------------------------------------------------------------
    def launch_plan(self, plan: Planned, outputs: Sequence[Storage], prefix: str) -> None:
        """Records of a graph or body, whose outputs go to the storages given."""
        allocate(self.storages, plan.graph, plan.groups, outputs)
        for number, (group, choice) in enumerate(zip(plan.groups, plan.choices, strict=True)):
            label = f"{prefix}{number}"
            if isinstance(group.anchor.op, Loop):
                RoundsEmitter(self, group, plan.bodies[number][0], label).emit()
            elif number in plan.bodies:
                self._launch_if(group, plan.bodies[number], label)
            elif choice is not None:
                self._launch(label, group, choice)

    def _launch_if(self, group: Group, bodies: tuple[Planned, ...], label: str) -> None:
        """Test the condition, run one body or the other; both write the outputs of the If."""
        then, otherwise = bodies
        outputs = [self.storages.of_value[id(v)] for v in group.outputs]
        captured = iter(group.inputs[1:])
        for body in bodies:
            for inner in body.graph.inputs:
                outer = next(captured)
                assert outer is not None
                if not outer.is_constant:
                    self.storages.of_value[id(inner)] = self.storages.of_value[id(outer)]
        test = self.jump("jump_if_zero", group, label)
        test.words = [self.word(Input(0), group, test)]
        self._launch_body(then, outputs, group, f"{label}.then.")
        leave = self.jump("jump", group, label)
        test.target = len(self.launches)
        self._launch_body(otherwise, outputs, group, f"{label}.else.")
        leave.target = len(self.launches)
        sizes = [str(d) for d in getattr(group.anchor.op, "sizes", ())]
        if sizes:
            self.resolve_after(sizes, label, group)

    def _launch_body(self, body: Planned, outputs: Sequence[Storage], group: Group, prefix: str) -> None:
        self.launch_plan(body, outputs, prefix)
        chosen = [
            (str(outer), inner)
            for value, made in zip(group.outputs, body.graph.outputs, strict=True)
            for outer, inner in zip(value.type.shape, made.type.shape, strict=True)
            if outer in getattr(group.anchor.op, "sizes", ())
        ]
        if chosen and not self.backend.resolves_by_kernel:
            launch = self._resolve_record(prefix, group)
            launch.words = [word for name, dim in chosen for word in (self.slots[name], dim)]
        elif chosen:
            launch = self._resolver_kernel([Place("symbols", 0), Place("symbols", 0)], prefix, group)
            f = emit_resolve(launch.symbol, self.slots, [(self.slots[name], dim) for name, dim in chosen])
            self.functions[f.name] = f.text()
            self.declarations.update(f.declarations)

    def jump(self, op: Literal["jump", "jump_if_zero"], group: Group, label: str) -> Launch:
        """A record that jumps; the caller fills in where to, and the condition."""
        launch = Launch("", [], 1, None, label, _name_of(group), op=op)
        self.launches.append(launch)
        return launch

    def call(self, symbol: str, group: Group, label: str) -> Launch:
        """A record that calls a kernel on one thread; the caller fills in its words and what it touches."""
        launch = Launch(symbol, [], 1, None, label, _name_of(group))
        self.launches.append(launch)
        return launch

    def control(self, what: str, group: Group, label: str) -> Launch:
        """A record of a kernel of loops; the caller fills in its words and what it touches."""
        control: Control = self.backend.loop_control(what)
        self.functions.update(control.functions)
        self.declarations.update(control.declarations)
        launch = self.call(control.step.symbol, group, label)
        if control.step.grid:
            launch.step = control.step
        return launch

    def _launch(self, label: str, group: Group, choice: Choice) -> None:
        image = choice.image
        self.functions.update(image.functions)
        self.declarations.update(image.declarations)
        constants = {k: v.array for k, v in enumerate(group.inputs) if v is not None and v.is_constant}
        packed = [self.weights.add(p.pack(constants)) for p in image.packed]
        workspace = [self.storages.add(Storage("arena", size)).index for size in image.workspace]
        for step in image.steps:
            launch = Launch(step.symbol, [], step.tasks, step, label, _name_of(group))
            launch.words = [self.word(word, group, launch, packed, workspace) for word in step.words]
            self.launches.append(launch)
        if image.steps:
            last = self.launches[-1]
            last.finished = tuple(self.storages.of_value[id(v)].index for v in group.outputs)
            last.writes.update(last.finished)
            last.in_place = self._in_place(group, choice)
        if image.writes_symbols:
            self.resolve_after(image.writes_symbols, label, group)

    def _in_place(self, group: Group, choice: Choice) -> tuple[tuple[int, int], ...]:
        """(written, read) storages that may be one."""
        read = [
            None if v is None or v.is_constant else self.storages.of_value[id(v)].index for v in group.inputs
        ]
        written = self.storages.of_value[id(group.outputs[0])].index
        return tuple(
            (written, storage) for k in replaceable_operands(choice, read) if (storage := read[k]) is not None
        )

    def word(
        self,
        word: Word,
        group: Group,
        launch: Launch,
        packed: Sequence[int] = (),
        workspace: Sequence[int] = (),
    ) -> Place | Dim:
        """Where an argument word of a kernel points; notes what the launch reads and writes."""
        match word:
            case Size():
                return word.dim
            case Packed():
                return Place("weights", packed[word.index], word.offset)
            case Workspace():
                launch.reads.add(workspace[word.index])
                launch.writes.add(workspace[word.index])
                return Place("storage", workspace[word.index], word.offset)
            case TensorMap():
                base = self.word(word.base, group, launch, packed, workspace)
                assert isinstance(base, Place)
                self.maps.append(word)
                return replace(base, map=len(self.maps) - 1)
            case Symbols():
                return Place("symbols", self.slots[word.name] * 8)
            case Output():
                index = self.storages.of_value[id(group.outputs[word.index])].index
                launch.writes.add(index)
                return Place("storage", index, word.offset)
            case Input():
                value = group.inputs[word.index]
                assert value is not None, (
                    f"a kernel reads input {word.index} of {group.origin}, which is omitted"
                )
                if value.is_constant:
                    return Place("weights", self.weights.plain(value), word.offset)
                index = self.storages.of_value[id(value)].index
                launch.reads.add(index)
                part = group.parts.get(word.index)
                skipped = part.offset * part.type.dtype.size_bytes if part else 0
                return Place("storage", index, word.offset + skipped)

    # -- symbols ----------------------------------------------------------------------------------------------
    def _number_symbols(self) -> int:
        """Slots: symbols of the inputs first, then those that kernels and bodies write; how many the inputs give."""
        names = dict.fromkeys(defining_axes([v.type for v in self.graph.inputs]))
        given = len(names)
        for plan in self.plan.all():
            for group, choice in zip(plan.groups, plan.choices, strict=True):
                if choice is not None:
                    names.update(dict.fromkeys(choice.image.writes_symbols))
                elif group.kind == "anchor":
                    names.update((str(d), None) for d in getattr(group.anchor.op, "sizes", ()))
        self.slots = {name: slot for slot, name in enumerate(names)}
        return given

    def resolve_after(self, written: Sequence[str], label: str, group: Group) -> None:
        """A record behind which the sizes depending on `written` are known."""
        if self.backend.resolves_by_kernel:
            launch = self._resolver_kernel([Place("symbols", 0), Place("plan", 0)], label, group)
            self._pending.append((launch, frozenset(written)))  # filled in once the plan is known
        else:
            self._resolve_record(label, group)

    def _resolve_record(self, label: str, group: Group) -> Launch:
        launch = Launch("", [], 1, None, label, _name_of(group), op="resolve")
        self.launches.append(launch)
        return launch

    def _resolver_kernel(self, words: list[Place | Dim], label: str, group: Group | None) -> Launch:
        name = "" if group is None else _name_of(group)
        launch = Launch(f"resolve_{len(self.launches)}", words, 1, None, label, name)
        self.launches.append(launch)
        return launch

    _pending: list[tuple[Launch, frozenset[str]]] = field(default_factory=list)

    def _write_resolvers(self) -> None:
        """Each resolver writes the words for which it brings the last symbol they need."""
        at = schema.RECORD_WORDS * (len(self.launches) + 1)
        words: list[tuple[int, Dim]] = []
        for number, launch in enumerate(self.launches):
            words.append((number * schema.RECORD_WORDS + 3, launch.tasks))
            words += [(at + k, w) for k, w in enumerate(launch.words) if not isinstance(w, Place)]
            at += len(launch.words)
        dependent = [(index, dim) for index, dim in words if not isinstance(dim, int)]
        known: frozenset[str] = frozenset()
        for launch, written in self._pending:
            known |= written
            writes = [(i, d) for i, d in dependent if symbols_of(d) & written and symbols_of(d) <= known]
            f = emit_resolve(launch.symbol, self.slots, writes)
            self.functions[f.name] = f.text()
            self.declarations.update(f.declarations)

    # -- the manifest -----------------------------------------------------------------------------------------
    def _manifest(self, memory: MemoryPlan, code: Code) -> Manifest:
        symbols = list(dict.fromkeys(n.symbol for n in self.launches if n.op == "call"))
        kernels = {s: k for k, s in enumerate(symbols)}
        buffers = [self._buffer(s, memory) for s in self.storages.all]
        weights, slots, plan = len(buffers), len(buffers) + 1, len(buffers) + 2
        buffers += [
            schema.Buffer(place="weights", size=self.weights.size),
            schema.Buffer(place="symbols", size=8 * len(self.slots)),
            schema.Buffer(place="plan"),
        ]
        places = {"weights": weights, "symbols": slots, "plan": plan}
        touched = [Touched(n.reads, n.writes, fixed=n.step is None or n.op != "call") for n in self.launches]
        free = free_of_barrier(touched, self.storages, memory.offsets)
        records = [
            self._record(n, kernels, places, barrier=k not in free) for k, n in enumerate(self.launches)
        ]
        records.append(schema.Record(op="end"))
        choices = [c for plan in self.plan.all() for c in plan.choices if c is not None]
        tactics = {s.symbol: c.tactic.text() for c in choices for s in c.image.steps}
        return Manifest(
            package=self.package,
            target=self.backend.target_record(self.target, self.functions, self.binding),
            inputs=tuple(_tensor(v, v.name) for v in self.graph.inputs),
            outputs=tuple(
                _tensor(v, n) for v, n in zip(self.graph.outputs, self.graph.output_names, strict=True)
            ),
            name=self.name or self.graph.name,
            symbols=tuple(self._symbols()),
            checks=tuple(
                schema.Check(dim_text(c.left), "==", dim_text(c.right), c.message)
                for c in self.graph.scope.checks
            ),
            buffers=tuple(buffers),
            kernels=tuple(schema.Kernel(s, tactics.get(s, ""), **code.kernels.get(s, {})) for s in symbols),
            maps=tuple(_described_map(m) for m in self.maps),
            program=tuple(records),
            resolves_itself=bool(self._pending),
            scratch_bytes=-(-max((c.image.scratch_bytes for c in choices), default=0) // 64) * 64,
            arena_bytes=memory.total,
            arena_lower_bound=memory.lower_bound,
        )

    def _buffer(self, storage: Storage, memory: MemoryPlan) -> schema.Buffer:
        offset = memory.offsets[storage.index] if storage.place == "arena" else storage.number
        value = described(storage.value) if storage.value is not None else None
        return schema.Buffer(place=storage.place, offset=offset, size=dim_text(storage.size), value=value)  # type: ignore[arg-type]

    def _record(
        self, launch: Launch, kernels: Mapping[str, int], places: Mapping[str, int], *, barrier: bool
    ) -> schema.Record:
        words: list[int | str | Ref] = []
        for word in launch.words:
            if not isinstance(word, Place):
                words.append(dim_text(word))
            elif word.where == "storage":
                words.append(Ref(word.at, word.offset, word.map))
            else:
                words.append(Ref(places[word.where], word.at + word.offset, word.map))
        step = launch.step
        return schema.Record(
            op=launch.op,
            kernel=kernels.get(launch.symbol, 0),
            target=launch.target,
            words=tuple(words),
            tasks=dim_text(launch.tasks),
            chunks=step.chunk_hint if step else 0,
            barrier=barrier,
            single=step.single if step else launch.op == "call",
            name=launch.name,
            group=launch.group,
            writes=launch.finished,
            grid=tuple(dim_text(d) for d in step.grid) if step else (),
            overlaps=self.backend.overlaps(self.functions.get(launch.symbol), self.isa),
        )

    def _symbols(self) -> Iterator[schema.Symbol]:
        sources = defining_axes([v.type for v in self.graph.inputs])
        facts: dict[str, tuple[int, int | None, int]] = {}
        shapes = [d for v in (*self.graph.inputs, *self.graph.outputs) for d in v.type.shape]
        words = [w for n in self.launches for w in (n.tasks, *n.words) if not isinstance(w, Place)]
        grids = [d for n in self.launches if n.step for d in n.step.grid]
        mapped = [d for m in self.maps for d in (*m.sizes, *m.strides)]
        for dim in (*shapes, *words, *grids, *mapped):
            facts.update({k: v for k, v in symbol_facts(dim).items() if k not in facts})
        for name in self.slots:
            low, high, multiple = facts.get(name, (0, None, 1))
            most = high if high is not None else 2**40
            number, axis = sources.get(name, (-1, 0))
            usual = min(max(low, self.typical.get(name, most)), most)
            yield schema.Symbol(
                name=name, min=low, opt=usual, max=most, input=number, axis=axis, multiple=multiple
            )


def _described_map(word: TensorMap) -> schema.TensorMap:
    sizes, strides = (tuple(dim_text(d) for d in row) for row in (word.sizes, word.strides))
    return schema.TensorMap(word.dtype.name, sizes, strides, word.box)


def _tensor(value: Value, name: str) -> schema.Tensor:
    return schema.Tensor(name, value.type.dtype.name, tuple(dim_text(d) for d in value.type.shape))


def _name_of(group: Group) -> str:
    return ", ".join(group.origin)[:4096]
