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
from engineworks.torch_tensorrt.export import described, export
from engineworks.torch_tensorrt.extract import ENGINE, Program
from engineworks.torch_tensorrt.module import EngineModule
from engineworks.torch_tensorrt.operator import execute_engine
from engineworks.torch_tensorrt.plan import Plan, Planner
from engineworks.torch_tensorrt.script import script
from engineworks.torch_tensorrt.settings import CompilationSettings, settings_of
from engineworks.torch_tensorrt.signature import Signature
from engineworks.torch_tensorrt.structure import Arguments, Fixed, Result, parameter_name

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
        module: a torch.nn.Module, whose eval mode is compiled, or a torch.export.ExportedProgram.
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
    exported = _exported(module, _given(inputs, arg_inputs), kwarg_inputs or {}, settings)
    return compile_exported(*exported, settings)


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
        return module, parameter_names(module), "Exported"
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
    program, names = export(
        module, described(args), described(kwargs), truncate_double=settings.truncate_double
    )
    return program, names, type(module).__name__


def parameter_names(program: Any) -> tuple[str, ...]:
    """Names of forward's parameters, as the exported program states or numbers them."""
    signature = program.module_call_graph[0].signature
    args, kwargs = signature.in_spec.children()
    stated = list(getattr(signature, "forward_arg_names", None) or ())
    numbered = [f"input_{k}" for k in range(args.num_children)]
    positional = stated[: args.num_children] if len(stated) >= args.num_children else numbered
    return (*positional, *(kwargs.context or ()))


def compile_exported(program: Any, names: Sequence[str], name: str, settings: CompilationSettings) -> Any:
    """The module of engines of an exported program, or for `dryrun` the plan. Raises as `compile`."""
    program = decomposed(program)
    whole = program_of(program)
    planner = Planner(whole, settings, settings.config(name))
    planner.cut()
    plan = planner.plan()
    if settings.dryrun:
        return _shown(plan, settings.dryrun)
    assembled = planner.build()
    plan = planner.plan()
    _tell(plan, name)
    arguments, result = _structure(program, names)
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


def program_of(program: Any) -> Program:
    """A decomposed ExportedProgram as a graph with constants.

    Raises:
        Unsupported: it calls functions that PyTorch itself would have to follow (control flow by data).
    """
    signature = program.graph_signature
    constants, state = {}, set()
    changed = {s.target for s in signature.output_specs if s.kind.name == "BUFFER_MUTATION"}
    by_target: dict[str, str] = {}
    for spec in signature.input_specs:
        kind = spec.kind.name
        if kind in ("PARAMETER", "BUFFER", "CONSTANT_TENSOR"):
            stored = program.state_dict.get(spec.target)
            constants[spec.arg.name] = program.constants[spec.target] if stored is None else stored
            by_target[spec.target] = spec.arg.name
            if spec.target in changed:
                state.add(spec.arg.name)
        elif kind == "USER_INPUT":
            by_target[spec.arg.name] = spec.arg.name
    updates = {
        k: by_target[s.target]
        for k, s in enumerate(signature.output_specs)
        if s.kind.name.endswith("_MUTATION")
    }
    return Program(
        program.graph, constants, state, dict(program.range_constraints), updates, program.graph_module
    )


def _structure(program: Any, names: Sequence[str]) -> tuple[Arguments, Result]:
    """What forward takes and returns."""
    signature = program.module_call_graph[0].signature
    args, kwargs = signature.in_spec.children()
    specs = (*args.children(), *kwargs.children())
    given = [s.arg for s in program.graph_signature.input_specs if s.kind.name == "USER_INPUT"]
    returned = [s.arg for s in program.graph_signature.output_specs if s.kind.name == "USER_OUTPUT"]
    arguments = Arguments(tuple(map(parameter_name, names)), specs, tuple(map(_fixed, given)))
    return arguments, Result(signature.out_spec, tuple(map(_fixed, returned)))


def _fixed(argument: Any) -> Fixed | None:
    return Fixed(argument.value) if type(argument).__name__ == "ConstantArgument" else None


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
    program, _, name = _exported(module, _given(inputs, arg_inputs), kwarg_inputs or {}, settings)
    return _one_engine(program, name, settings)


def convert_exported_program_to_serialized_trt_engine(
    exported_program: Any, inputs: Sequence[Any] | None = None, **options: Any
) -> bytes:
    """The engine file of a torch.export.ExportedProgram. Raises as `convert_method_to_trt_engine`."""
    given = {k: v for k, v in options.items() if k not in ("arg_inputs", "kwarg_inputs")}
    return convert_method_to_trt_engine(exported_program, **given)


def _one_engine(program: Any, name: str, settings: CompilationSettings) -> bytes:
    planner = Planner(program_of(decomposed(program)), settings, settings.config(name))
    planner.cut()
    return build_bytes(program, settings.config(name))


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
