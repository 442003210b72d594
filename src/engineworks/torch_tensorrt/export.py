"""From a module and descriptions of its inputs to an ExportedProgram: dynamic axes, and dtypes at the border."""

from __future__ import annotations

import copy
import inspect
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch.utils import _pytree

from engineworks.errors import InvalidModel
from engineworks.frontends.torch_export.export import evaluating
from engineworks.torch_tensorrt.input import Input

_log = logging.getLogger("engineworks")


@contextmanager
def _converting(module: torch.nn.Module, inside: torch.dtype, outside: torch.dtype) -> Iterator[None]:
    """For a while the module takes and gives floating tensors of dtype `outside`, and computes with `inside`."""

    def before(_: Any, args: Any, kwargs: Any) -> Any:
        return _converted((args, kwargs), outside, inside)

    def after(_: Any, args: Any, result: Any) -> Any:
        return _converted(result, inside, outside)

    hooks = [
        module.register_forward_pre_hook(before, with_kwargs=True, prepend=True),
        module.register_forward_hook(after),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _converted(values: Any, before: torch.dtype, after: torch.dtype) -> Any:
    def convert(value: Any) -> Any:
        return value.to(after) if isinstance(value, torch.Tensor) and value.dtype is before else value

    return _pytree.tree_map(convert, values)


def is_input(value: Any) -> bool:
    """A leaf of what `inputs` may hold."""
    return isinstance(value, Input)


def described(inputs: Any) -> Any:
    """The same structure with an Input for each tensor."""
    return _pytree.tree_map(
        lambda v: Input.from_tensor(v) if isinstance(v, torch.Tensor) else v, inputs, is_leaf=is_input
    )


def leaves(inputs: Any) -> list[Input]:
    """The Inputs in a structure, in order."""
    return [v for v in _pytree.tree_leaves(inputs, is_leaf=is_input) if isinstance(v, Input)]


def export(
    module: torch.nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    truncate_double: bool = False,
    place: torch.device | None = None,
) -> tuple[Any, tuple[str, ...]]:
    """The ExportedProgram of a module in eval mode, and the names of forward's parameters that it takes.

    Args:
        args, kwargs: what forward takes, with an Input for each tensor.
        truncate_double: export with float64 weights as float32.
        place: where the example call is made; None: examples stay where they lie.
    Raises:
        InvalidModel: torch.export fails; the sentence has torch's own words.
    """
    names = _parameter_names(module, args, kwargs)
    if truncate_double:
        module = copy.deepcopy(module).float()
    positional, named = examples_of((tuple(args), dict(kwargs)), place)
    dims = _dynamic_shapes(module, args, kwargs)
    with evaluating(module), _border(module, leaves((args, kwargs))):
        try:
            program = torch.export.export(module, positional, named, dynamic_shapes=dims, strict=False)
        except Exception as error:  # torch.export runs the user's code: it can raise anything
            raise InvalidModel(
                f"torch.export cannot export {type(module).__name__}: {type(error).__name__}: {error}\n"
                f'  torch.compile(model, backend="engineworks") compiles the parts that can be.'
            ) from error
    _forget_own_frames(program)
    return program, names


def _border(module: torch.nn.Module, inputs: Sequence[Input]) -> AbstractContextManager[None]:
    """The module converting at its border, where the inputs' floating dtype is not that of its weights."""
    own = {p.dtype for p in module.parameters() if p.dtype.is_floating_point}
    given = {t for i in inputs if (t := i.dtype.to(torch.dtype)).is_floating_point}
    if len(own) != 1 or len(given) != 1 or own == given:
        return nullcontext()
    (inside,), (outside,) = own, given
    _log.warning(
        "%s has weights in %s, and its inputs are %s: the engine takes and gives %s, and keeps the weights' precision "
        "wherever enabled_precisions does not permit less. module.to(%s) before compiling makes the weights %s too.",
        type(module).__name__, inside, outside, outside, outside, outside,
    )  # fmt: skip
    return _converting(module, inside, outside)


def _forget_own_frames(program: Any) -> None:
    """Traces of nodes that the conversion at the border adds name the user's lines alone."""
    for node in program.graph.nodes:
        trace = node.meta.get("stack_trace")
        if trace and __file__ in trace:
            frames = [f for f in re.split(r'(?=  File ")', trace) if __file__ not in f]
            node.meta["stack_trace"] = "".join(frames)


def examples_of(inputs: Any, place: torch.device | None = None) -> Any:
    """The same structure with a tensor at `place` for each Input."""

    def example(value: Any) -> Any:
        made = example_of(value)
        return made if value is made or place is None else made.to(place)

    return _pytree.tree_map(example, inputs, is_leaf=is_input)


def example_of(value: Any) -> Any:
    """A tensor for an Input; axes that may change have at least two elements: torch takes 0 and 1 for constants."""
    if not isinstance(value, Input):
        return value
    example = value.example_tensor()
    low, _, high = value.range()
    for axis, (least, most) in enumerate(zip(low, high, strict=True)):
        if least != most and example.shape[axis] < 2:
            example = torch.cat([example] * 2, axis) if example.shape[axis] else example.new_ones(
                [2 if k == axis else s for k, s in enumerate(example.shape)]
            )  # fmt: skip
    return example


def _dynamic_shapes(module: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The axes that may change, in the form that torch.export takes."""
    if not any(i.is_dynamic for i in leaves((args, kwargs))):
        return None
    positional, named = dynamic_axes(args, kwargs)
    if not named:
        return positional
    bound = inspect.signature(module.forward).bind(*positional, **named)
    return dict(bound.arguments)


def dynamic_axes(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """For each Input in the arguments the dims that torch.export takes for its axes."""
    shared: dict[str, Any] = {}
    return _pytree.tree_map(
        lambda v: _axes(v, shared) if isinstance(v, Input) else None,
        (tuple(args), dict(kwargs)),
        is_leaf=is_input,
    )


def _axes(described: Input, shared: dict[str, Any]) -> dict[int, Any]:
    from torch.export import Dim

    low, _, high = described.range()
    axes: dict[int, Any] = {}
    for axis, (least, most) in enumerate(zip(low, high, strict=True)):
        if least == most:
            continue
        name = described.shared_dims.get(axis)
        if name is None:
            axes[axis] = Dim.DYNAMIC(min=least, max=most)
        else:
            axes[axis] = shared.setdefault(name, Dim(name, min=least, max=most))
    return axes


def _parameter_names(
    module: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[str, ...]:
    """Names of the parameters that take these arguments: positional ones, then the named."""
    kinds = inspect.Parameter
    names: list[str] = []
    for parameter in inspect.signature(module.forward).parameters.values():
        if parameter.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD):
            names.append(parameter.name)
        elif parameter.kind is kinds.VAR_POSITIONAL:
            names += [f"{parameter.name}_{k}" for k in range(max(0, len(args) - len(names)))]
    return (*names[: len(args)], *kwargs)
