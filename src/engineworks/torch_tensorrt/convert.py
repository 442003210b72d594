"""From a piece of a program to an engine file."""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import fx
from torch.export.graph_signature import InputKind, InputSpec, OutputKind, OutputSpec, TensorArgument
from torch.utils import _pytree

from engineworks.builder.build import build_bytes
from engineworks.builder.config import BuildConfig
from engineworks.builder.profiles import shapes_and_ranges, with_stated_ranges
from engineworks.engine import container
from engineworks.errors import BuildError
from engineworks.frontends.importer import import_model
from engineworks.frontends.torch_export.reader import read
from engineworks.ir.graph import Graph
from engineworks.torch_tensorrt.extract import Piece, Program
from engineworks.torch_tensorrt.partition import returned
from engineworks.torch_tensorrt.signature import Signature

_NODE = re.compile(r"at node '([^']+)'")


@dataclass(frozen=True, slots=True)
class Imported:
    """A piece as a typed graph.

    Attributes:
        config: with a profile of all inputs whose sizes change.
    """

    graph: Graph
    config: BuildConfig


class CannotConvert(Exception):
    """Importing a piece failed.

    Attributes:
        node: name of the fx node that an engine cannot hold; None: the whole piece.
        why: one sentence.
    """

    def __init__(self, node: str | None, why: str) -> None:
        super().__init__(why)
        self.node = node
        self.why = why


def import_piece(piece: Piece, config: BuildConfig) -> Imported:
    """The graph of a piece, for the builder.

    Raises:
        CannotConvert: an operator in a form that no rule takes, or sizes that no engine can follow.
    """
    try:
        foreign = read(_Exported.of(piece.program))
        full = with_stated_ranges(foreign, config)
        shapes, dims = shapes_and_ranges(foreign, full)
        return Imported(import_model(foreign, input_shapes=shapes, dims=dims), full)
    except BuildError as error:
        named = _NODE.search(str(error))
        name = named[1].rpartition("/")[2] if named else None
        raise CannotConvert(name, str(error).partition("\n")[0]) from error


def build_piece(imported: Imported, calibration: Mapping[str, Any]) -> tuple[torch.Tensor, str]:
    """The engine of a piece, [bytes] uint8, and its signature.

    Args:
        calibration: fields of BuildConfig about ranges for int8.
    Raises:
        BuildError: in its kinds.
    """
    file = build_bytes(imported.graph, dataclasses.replace(imported.config, **calibration))
    signature = Signature.of(container.read(file).manifest)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", UserWarning
        )  # torch warns of memory that it may not write to; it is copied
        tensor = torch.from_numpy(np.frombuffer(file, np.uint8)).clone()
    return tensor, signature.text()


@dataclass(frozen=True, slots=True)
class _Exported:
    """A program in the form of torch.export's ExportedProgram, as far as the front end reads it."""

    graph_module: fx.GraphModule
    graph_signature: _GraphSignature
    state_dict: dict[str, torch.Tensor]
    range_constraints: dict[Any, Any]
    module_call_graph: list[_ModuleCall]
    constants: dict[str, Any] = field(default_factory=dict)

    @property
    def graph(self) -> fx.Graph:
        return self.graph_module.graph

    @classmethod
    def of(cls, program: Program) -> _Exported:
        inputs = [_input_spec(n.name, program) for n in program.graph.find_nodes(op="placeholder")]
        outputs = [
            OutputSpec(OutputKind.USER_OUTPUT, TensorArgument(n.name), None) for n in returned(program.graph)
        ]
        taken = sum(s.kind is InputKind.USER_INPUT for s in inputs)
        named = {n.name: k for k, n in enumerate(returned(program.graph))}
        call = _ModuleCall(_CallSignature(_spec((tuple(range(taken)), {})), _spec(named)))
        signature = _GraphSignature(inputs, outputs)
        module = fx.GraphModule(program.bodies or torch.nn.Module(), program.graph)
        return cls(module, signature, dict(program.constants), dict(program.ranges), [call])

    def run_decompositions(self, table: Any) -> _Exported:
        """Itself: the whole was decomposed before it was cut."""
        return self


@dataclass(frozen=True, slots=True)
class _GraphSignature:
    input_specs: list[InputSpec]
    output_specs: list[OutputSpec]


@dataclass(frozen=True, slots=True)
class _CallSignature:
    in_spec: Any
    out_spec: Any
    forward_arg_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _ModuleCall:
    signature: _CallSignature


def _spec(tree: Any) -> Any:
    return _pytree.tree_flatten(tree)[1]


def _input_spec(name: str, program: Program) -> InputSpec:
    is_constant = name in program.constants
    kind = InputKind.PARAMETER if is_constant else InputKind.USER_INPUT
    return InputSpec(kind, TensorArgument(name), name if is_constant else None)
