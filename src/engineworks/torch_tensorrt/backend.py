"""`torch.compile(model, backend="engineworks")`: the graphs that TorchDynamo finds become engines.

Weights become parts of engines: for each set of weights that a graph is called with, and again when they are written
to. Sizes that change get a range; a call beyond it builds the engine again with a wider one.
"""

from __future__ import annotations

import dataclasses
import logging
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx

from engineworks.errors import InvalidInput
from engineworks.ir.foreign import spellings
from engineworks.torch_tensorrt import operator as engine_operator
from engineworks.torch_tensorrt.extract import Program
from engineworks.torch_tensorrt.places import place_of_graph, settled
from engineworks.torch_tensorrt.plan import Planner
from engineworks.torch_tensorrt.settings import CompilationSettings, settings_of

_log = logging.getLogger("engineworks")

MAX_VARIANTS = 64
"""Sets of weights whose engines one graph keeps; the oldest go first."""
HEADROOM = 4
"""Times the size of the first call is what an axis may grow to before the engine is built again."""
_VERSION = operator.attrgetter("_version")


def engineworks(
    module: fx.GraphModule,
    example_inputs: Sequence[Any],
    *,
    options: Mapping[str, Any] | None = None,
    mode: str | None = None,
) -> Any:
    """The backend of torch.compile: a function that computes what `module` does, without gradients.

    Args:
        options: as those of torch_tensorrt.compile: {"precision": "fp16", "optimization_level": 0, …}.
        mode: of torch.compile; has no meaning here.
    Raises:
        InvalidInput: an input that is no weight requires grad, and gradients are enabled.
        Unsupported, TypeError: an option that is not there.
    """
    from torch._functorch.aot_autograd import aot_module_simplified

    settings = settings_of(options or {})
    _refuse_gradients(module, example_inputs)

    def make_forward(gm: fx.GraphModule, example_inputs: Sequence[Any]) -> Any:
        return _forward(gm, settings)

    # Without gradients the graph is that of inference alone, whatever requires them.
    with torch.no_grad():
        return aot_module_simplified(
            module,
            example_inputs,
            fw_compiler=make_forward,
            decompositions=_decompositions(),
        )


def _refuse_gradients(module: fx.GraphModule, example_inputs: Sequence[Any]) -> None:
    if not torch.is_grad_enabled():
        return
    for node, given in zip(module.graph.find_nodes(op="placeholder"), example_inputs, strict=True):
        is_weight = isinstance(given, torch.nn.Parameter)
        if isinstance(given, torch.Tensor) and given.requires_grad and not is_weight:
            raise InvalidInput(
                f"an input ({node.name}) requires grad, and engines compute no gradients. "
                f"Call the function under torch.inference_mode() or torch.no_grad(), or pass detached tensors."
            )


def _decompositions() -> dict[Any, Any]:
    """Operators that no rule takes whole, taken apart."""
    from torch._decomp import decomposition_table

    known = spellings("torch")
    return {op: apart for op, apart in decomposition_table.items() if str(op) not in known}


def _forward(module: fx.GraphModule, settings: CompilationSettings) -> Any:
    from torch._guards import TracingContext

    context = TracingContext.try_get()
    static: set[int] = set()
    ranges: dict[Any, Any] = {}
    if context is not None and context.fw_metadata is not None:
        metadata = context.fw_metadata
        static = set(metadata.static_input_indices) - set(metadata.mutated_inp_runtime_indices)
    if context is not None and context.fake_mode is not None and context.fake_mode.shape_env is not None:
        ranges = dict(context.fake_mode.shape_env.var_to_range)
    return CompiledGraph(module, sorted(static), ranges, settings)


class CompiledGraph:
    """One graph of TorchDynamo; engines are built when it is called, with the weights that it is called with."""

    _boxed_call = True
    """The arguments come as one list, which is emptied."""

    def __init__(
        self,
        module: fx.GraphModule,
        static: Sequence[int],
        ranges: Mapping[Any, Any],
        settings: CompilationSettings,
    ) -> None:
        graph = module.graph
        self._module = module
        # Graph breaks leave graphs on the CPU beside those on a GPU: where its tensors lie decides for each.
        self._settings = settled(dataclasses.replace(settings, device=None), place_of_graph(graph))
        self._static = static
        self._variants: dict[tuple[int, ...], _Variant] = {}
        placeholders = graph.find_nodes(op="placeholder")
        self._names = [n.name for n in placeholders]
        _sizes_of_tensors(graph, placeholders)
        self._ranges = _Ranges(placeholders, ranges)

    def __call__(self, arguments: list[Any]) -> Any:
        """The outputs for the graph's inputs. Raises as running and building engines."""
        weights = [arguments[i] for i in self._static]
        key = tuple(map(id, weights))
        variant = self._variants.get(key)
        if self._ranges.grow(arguments):
            self._variants.clear()
            variant = None
        if variant is None or variant.version != _version(weights):
            variant = self._variants[key] = self._build(weights)
            if len(self._variants) > MAX_VARIANTS:
                self._variants.pop(next(iter(self._variants)))
        given = [arguments[i] for i in variant.taken]
        arguments.clear()
        return variant.module(*given)

    def _build(self, weights: Sequence[torch.Tensor]) -> _Variant:
        graph = fx.Graph()
        copied: dict[fx.Node, fx.Node] = {}
        graph.output(graph.graph_copy(self._module.graph, copied))
        constants = {
            copied[n].name: weights[self._static.index(k)].detach()
            for k, n in enumerate(self._module.graph.find_nodes(op="placeholder"))
            if k in self._static
        }
        program = Program(graph, constants, (), self._ranges.limits(), bodies=self._module)
        planner = Planner(program, self._settings, self._settings.config("graph"))
        planner.cut()
        module = planner.build()
        _log.info("%s", planner.plan())
        _call_directly(module)
        taken = [k for k in range(len(self._names)) if k not in self._static]
        return _Variant(module, weights, taken)


def _call_directly(module: fx.GraphModule) -> None:
    """Engines are called without torch's dispatcher: nothing traces a graph that is compiled already."""
    for node in module.graph.find_nodes(op="call_function", target=engine_operator.execute_engine):
        node.target = engine_operator.run_engine
    module.recompile()


class _Variant:
    """Engines for one set of weights, which it keeps alive so that their ids stay theirs."""

    def __init__(self, module: fx.GraphModule, weights: Sequence[torch.Tensor], taken: Sequence[int]) -> None:
        self.module = module.forward
        self.weights = weights
        self.version = _version(weights)
        self.taken = taken


def _version(weights: Sequence[torch.Tensor]) -> int:
    """Grows when a weight is written to."""
    try:
        return sum(map(_VERSION, weights))
    except RuntimeError:  # tensors made in inference mode do not count
        return -1


class _Ranges:
    """How large the symbols of a graph may be, as far as engines were built."""

    def __init__(self, placeholders: Sequence[fx.Node], ranges: Mapping[Any, Any]) -> None:
        self._stated = ranges
        self._highest: dict[Any, int] = {}
        self._where: list[tuple[int, int, Any]] = []
        """(argument, axis, symbol) of each size that has no largest value by itself."""
        for number, node in enumerate(placeholders):
            value = node.meta.get("val")
            for axis, size in enumerate(value.shape if isinstance(value, torch.Tensor) else ()):
                if isinstance(size, torch.SymInt):
                    self._add(number, axis, size)

    def _add(self, number: int, axis: int, size: torch.SymInt) -> None:
        symbol = size.node.expr
        if symbol.is_Symbol and not self._is_bounded(symbol):
            self._where.append((number, axis, symbol))
            hint = int(size.node.hint) if size.node.has_hint() else 1
            self._highest.setdefault(symbol, _power_of_two(HEADROOM * hint))

    def _is_bounded(self, symbol: Any) -> bool:
        stated = self._stated.get(symbol)
        return stated is not None and stated.upper.is_Integer and int(stated.upper) < 1 << 40

    def grow(self, arguments: Sequence[Any]) -> bool:
        """Widen the ranges that these arguments are beyond; whether there were any."""
        grown = False
        for number, axis, symbol in self._where:
            size = arguments[number].shape[axis]
            if size > self._highest[symbol]:
                self._highest[symbol] = _power_of_two(HEADROOM * size)
                grown = True
        return grown

    def limits(self) -> dict[Any, Any]:
        """Ranges of all symbols, with an upper end each."""
        from torch.utils._sympy.value_ranges import ValueRanges

        made = dict(self._stated)
        for symbol, highest in self._highest.items():
            stated = self._stated.get(symbol)
            made[symbol] = ValueRanges(stated.lower if stated is not None else 1, highest)
        return made


def _power_of_two(number: int) -> int:
    """The smallest one that is at least `number`."""
    return 1 << max(0, number - 1).bit_length()


def _sizes_of_tensors(graph: fx.Graph, placeholders: Sequence[fx.Node]) -> None:
    """Sizes that are inputs of the graph become sizes of its tensors, where one has them."""
    found: dict[Any, tuple[fx.Node, int]] = {}
    for node in placeholders:
        value = node.meta.get("val")
        for axis, size in enumerate(value.shape if isinstance(value, torch.Tensor) else ()):
            if isinstance(size, torch.SymInt):
                found.setdefault(size.node.expr, (node, axis))
    for node in placeholders:
        value = node.meta.get("val")
        if isinstance(value, torch.SymInt) and value.node.expr in found and node.users:
            tensor, axis = found[value.node.expr]
            with graph.inserting_after(placeholders[-1]):
                size_of = graph.call_function(torch.ops.aten.sym_size.int, (tensor, axis))
            size_of.meta["val"] = value
            node.replace_all_uses_with(size_of)
