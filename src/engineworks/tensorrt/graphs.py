"""From a network to a graph: names, fixed sizes, and profiles as ranges of sizes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from engineworks.builder import profiles as build_profiles
from engineworks.builder.config import BuildConfig
from engineworks.core.types import Shape
from engineworks.errors import InvalidModel
from engineworks.frontends.importer import import_model
from engineworks.ir.foreign import ForeignGraph, ForeignOp
from engineworks.ir.graph import Graph, Value
from engineworks.ir.rewriter import Rewriter
from engineworks.tensorrt.config import IOptimizationProfile
from engineworks.tensorrt.network import INetworkDefinition
from engineworks.tensorrt.values import Dims, dtype_of, onnx_type

Shapes = dict[str, tuple[Dims, Dims, Dims]]


def types_of(network: INetworkDefinition, *names: str) -> dict[str, tuple[str, Shape]]:
    """dtype and shape of the values that the network computes, or of those that `names` need."""
    foreign = network.as_foreign()
    if names:
        foreign = dataclasses.replace(foreign, outputs=list(names))
    graph = import_model(foreign, input_shapes=network.fixed_shapes)
    named = [v for v in graph.values() if v.name] + graph.outputs
    found = {v.name: (v.type.dtype.name, v.type.shape) for v in named}
    return found | {
        n: (v.type.dtype.name, v.type.shape) for n, v in zip(graph.output_names, graph.outputs, strict=True)
    }


def graph_of(network: INetworkDefinition, merged: Shapes) -> Graph:
    """The network with the names and outputs that the program gave, over the sizes that `merged` covers."""
    foreign = _with_output_types(network)
    profiled = {t.source: merged[t.name] for t in network.inputs if t.name in merged}
    fixed = {
        name: tuple(d for d in shape if isinstance(d, int))
        for name, shape in network.fixed_shapes.items()
        if name not in profiled and all(isinstance(d, int) for d in shape)
    }
    options = BuildConfig(profile=profiled or None, fixed_shapes=fixed)
    shapes, dims = build_profiles.shapes_and_ranges(foreign, options)
    graph = import_model(foreign, input_shapes=shapes, dims=dims)
    for value in graph.inputs:
        value.name = next(t.name for t in network.inputs if t.source == value.name)
    graph.output_names = [t.name for t in network.outputs]
    _set_input_types(graph, network)
    return graph


def _set_input_types(graph: Graph, network: INetworkDefinition) -> None:
    """Inputs have the types that the program set, and are converted to the model's."""
    wished = {t.name: t.wished_dtype for t in network.inputs}
    rewriter = Rewriter(graph)
    for position, stated in enumerate(graph.inputs):
        wish = wished[stated.name]
        if wish is not None and dtype_of(wish) is not stated.type.dtype:
            given = Value(dataclasses.replace(stated.type, dtype=dtype_of(wish)), stated.name)
            graph.inputs[position] = given
            with rewriter.building(*[user for user, _ in stated.uses[:1]]) as g:
                rewriter.redirect(stated, g.cast(given, dtype=stated.type.dtype))


def _with_output_types(network: INetworkDefinition) -> ForeignGraph:
    """The model with a cast behind each output whose type the program set."""
    foreign = network.as_foreign()
    nodes, outputs = list(foreign.nodes), list(foreign.outputs)
    for position, tensor in enumerate(network.outputs):
        wished = network.wished_type(tensor.source)
        if wished is not None:
            outputs[position] = made = f"{tensor.source} as {wished.name}"
            cast = {"to": onnx_type(wished)}
            nodes.append(ForeignOp("Cast", "", tensor.name, (tensor.source,), (made,), cast))
    return dataclasses.replace(foreign, nodes=nodes, outputs=outputs)


def merged_shapes(network: INetworkDefinition, profiles: Sequence[IOptimizationProfile]) -> Shapes:
    """One range for each input, which covers all profiles; typical is the first one's."""
    known = {t.name for t in network.inputs}
    merged: Shapes = {}
    for profile in profiles:
        for name, (low, typical, high) in profile.shapes.items():
            if name not in known:
                raise InvalidModel(
                    f"a profile sets the shape of '{name}'; the network's inputs are {', '.join(sorted(known))}"
                )
            before = merged.get(name, (low, typical, high))
            merged[name] = Dims(map(min, before[0], low)), before[1], Dims(map(max, before[2], high))
    return merged
