"""compile: from a PyTorch module to a module of engines."""

from __future__ import annotations

import dataclasses
import logging
import operator
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import fx
from torch.utils import _pytree

from engineworks.builder.build import build_bytes
from engineworks.engine import container
from engineworks.errors import InvalidInput, InvalidModel, Unsupported
from engineworks.frontends.torch_export.decompose import decomposed
from engineworks.frontends.torch_export.sources import module_class
from engineworks.torch_tensorrt.export import described, export, leaves
from engineworks.torch_tensorrt.exported import parameter_names, program_of, structure_of
from engineworks.torch_tensorrt.extract import ENGINE
from engineworks.torch_tensorrt.input import Input
from engineworks.torch_tensorrt.module import EngineModule
from engineworks.torch_tensorrt.operator import execute_engine
from engineworks.torch_tensorrt.places import place_of_graph, place_of_module, settled
from engineworks.torch_tensorrt.plan import Plan, Planner
from engineworks.torch_tensorrt.script import script
from engineworks.torch_tensorrt.settings import CompilationSettings, settings_of
from engineworks.torch_tensorrt.signature import Signature
from engineworks.torch_tensorrt.structure import Arguments, Result, parameter_name

_log = logging.getLogger("engineworks")
_IRS = ("default", "dynamo", "ts", "torchscript", "torch_compile", "exported_program")


def compile(
    module: Any,
    ir: str = "default",
    inputs: Sequence[Any] | None = None,
    arg_inputs: Sequence[Any] | None = None,
    kwarg_inputs: Mapping[str, Any] | None = None,
    enabled_precisions: Any = None,
    **options: Any,
) -> Any:
    """A module that computes what `module` computes, in engines.

    Args:
        module: a torch.nn.Module, whose eval mode is compiled, or a torch.export.ExportedProgram. Where it lies its
            engines will compute: `model.cuda()` is compiled for this machine's GPU, and takes and gives tensors there.
        ir: 'default', 'dynamo' and 'ts' give a TorchScript module that torch.jit.save writes; 'torch_compile' gives
            torch.compile(module, backend="engineworks").
        inputs, arg_inputs: an `Input` or an example tensor for each positional argument, in tuples, lists and dicts as
            forward takes them.
        kwarg_inputs: the same for arguments by name.
        enabled_precisions: element types that kernels may compute in, such as {torch.half}.
        options: fields of CompilationSettings; with dryrun=True nothing is built.
    Returns:
        an EngineModule; a `Plan` for dryrun=True; a function for ir='torch_compile'.
    Raises:
        BuildError: in its kinds: what torch.export or the builder refuses.
        InvalidInput: inputs that make no sense.
        Unsupported: an option that is answered another way.
        TypeError: no such option.
    """
    if enabled_precisions is not None:
        options["enabled_precisions"] = enabled_precisions
    settings = settings_of(options)
    if ir not in _IRS:
        raise Unsupported(f"compile: ir='{ir}' is not there; there are {', '.join(map(repr, _IRS))}.")
    if settings.debug:
        _log.setLevel(logging.DEBUG)
    if ir == "torch_compile":
        return torch.compile(module, backend="engineworks", options=options)
    args, kwargs = described(_given(inputs, arg_inputs)), described(kwarg_inputs or {})
    exported = _exported(module, args, kwargs, settings)
    return _compiled(*exported, leaves((args, kwargs)), settings)


def _given(inputs: Any, arg_inputs: Any) -> Sequence[Any]:
    if inputs is not None and arg_inputs is not None:
        raise InvalidInput("compile: inputs and arg_inputs are two names of the same; give one.")
    given = inputs if inputs is not None else arg_inputs
    if given is None:
        return ()
    return given if isinstance(given, (list, tuple)) else (given,)


def _exported(
    module: Any, args: Sequence[Any], kwargs: Mapping[str, Any], settings: CompilationSettings
) -> tuple[Any, tuple[str, ...], str]:
    """The exported program, the names of forward's parameters, and the module's name."""
    if isinstance(module, torch.export.ExportedProgram):
        return module, parameter_names(module), module_class(module)
    if isinstance(module, (torch.jit.ScriptModule, torch.jit.ScriptFunction)):
        raise Unsupported(
            "a TorchScript module tells torch.export nothing about its operators: compile the nn.Module that it was "
            "made from, or torch.export.export it."
        )
    if not isinstance(module, torch.nn.Module):
        raise InvalidModel(
            f"compile takes a torch.nn.Module or an ExportedProgram, not a {type(module).__name__}."
        )
    if not args and not kwargs:
        raise InvalidInput(
            f"compile({type(module).__name__}): inputs must be given: an Input(shape, dtype=…) or an example tensor "
            f"for each argument."
        )
    place = place_of_module(module, leaves((args, kwargs)), settings)
    program, names = export(module, args, kwargs, truncate_double=settings.truncate_double, place=place)
    return program, names, type(module).__name__


def _compiled(
    program: Any, names: Sequence[str], name: str, inputs: Sequence[Input], settings: CompilationSettings
) -> Any:
    program = decomposed(program)
    settings = settled(settings, place_of_graph(program.graph))
    whole = program_of(program, inputs)
    planner = Planner(whole, settings, settings.config(name))
    planner.cut()
    plan = planner.plan()
    if settings.dryrun:
        return _shown(plan, settings.dryrun)
    assembled = planner.build()
    plan = planner.plan()
    _tell(plan, name)
    arguments, result = structure_of(program, names)
    return EngineModule.of(script(assembled, arguments, result, name), result, plan)


def _shown(plan: Plan, dryrun: bool | str) -> Plan:
    if isinstance(dryrun, str):
        Path(dryrun).write_text(f"{plan}\n")
    _log.info("%s", plan)
    return plan


def _tell(plan: Plan, name: str) -> None:
    if plan.eager:
        _log.warning("%s: %s", name, plan)
    else:
        _log.info("%s: %s", name, plan)


def convert_method_to_trt_engine(
    module: Any,
    method_name: str = "forward",
    inputs: Sequence[Any] | None = None,
    arg_inputs: Sequence[Any] | None = None,
    kwarg_inputs: Mapping[str, Any] | None = None,
    ir: str = "default",
    enabled_precisions: Any = None,
    **options: Any,
) -> bytes:
    """The engine file of a module, which must be one engine: `engineworks.load(bytes)` runs it without PyTorch.

    Raises:
        Unsupported: another method than forward.
        UnsupportedOperator: an operator cannot be in an engine.
    """
    if method_name != "forward":
        raise Unsupported(
            f"convert_method_to_trt_engine: only forward is compiled. Wrap '{method_name}' in a module's forward."
        )
    if enabled_precisions is not None:
        options["enabled_precisions"] = enabled_precisions
    settings = dataclasses.replace(settings_of(options), require_full_compilation=True, dryrun=False)
    args, kwargs = described(_given(inputs, arg_inputs)), described(kwarg_inputs or {})
    program, _, name = _exported(module, args, kwargs, settings)
    settings = settled(settings, place_of_graph(program.graph))
    planner = Planner(
        program_of(decomposed(program), leaves((args, kwargs))), settings, settings.config(name)
    )
    planner.cut()
    return build_bytes(program, settings.config(name))


def convert_exported_program_to_serialized_trt_engine(
    exported_program: Any, inputs: Sequence[Any] | None = None, **options: Any
) -> bytes:
    """The engine file of a torch.export.ExportedProgram. Raises as `convert_method_to_trt_engine`."""
    given = {k: v for k, v in options.items() if k not in ("arg_inputs", "kwarg_inputs")}
    return convert_method_to_trt_engine(exported_program, **given)


def embed_engine(engine: bytes) -> EngineModule:
    """A module around an engine file: it takes the engine's inputs in order, and returns its output or a tuple of them.

    Raises:
        EngineError: in its kinds: not an engine, or one for other hardware.
    """
    manifest = container.read(engine).manifest
    graph = fx.Graph()
    inputs = [graph.placeholder(t.name) for t in manifest.inputs]
    called = graph.call_function(
        execute_engine, (inputs, graph.get_attr(ENGINE.format(0)), Signature.of(manifest).text())
    )
    outputs = tuple(graph.call_function(operator.getitem, (called, k)) for k in range(len(manifest.outputs)))
    graph.output(outputs)
    root = torch.nn.Module()
    root.register_buffer(ENGINE.format(0), torch.frombuffer(bytearray(engine), dtype=torch.uint8))
    leaf = _pytree.tree_flatten(0)[1]
    spec = leaf if len(outputs) == 1 else _pytree.tree_flatten(outputs)[1]
    names = tuple(parameter_name(t.name) for t in manifest.inputs)
    arguments = Arguments(names, (leaf,) * len(names), (None,) * len(names))
    result = Result(spec, (None,) * len(outputs))
    return EngineModule.of(script(fx.GraphModule(root, graph), arguments, result, "Engine"), result)
