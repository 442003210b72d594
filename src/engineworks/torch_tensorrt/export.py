"""From a module and descriptions of its inputs to an ExportedProgram: dynamic axes, and dtypes at the border."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils import _pytree

from engineworks.errors import InvalidModel
from engineworks.torch_tensorrt.input import Input

_log = logging.getLogger("engineworks")


class InOwnDtype(torch.nn.Module):
    """A module whose floating inputs come in another dtype than its weights have: they are converted, as are results.

    Floating results in the weights' dtype leave in the inputs' dtype, as after `module.to(dtype)`.
    """

    def __init__(self, module: torch.nn.Module, inside: torch.dtype, outside: torch.dtype) -> None:
        super().__init__()
        self.module = module
        self.inside = inside
        self.outside = outside

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module returns."""
        args, kwargs = _converted((args, kwargs), self.outside, self.inside)
        return _converted(self.module(*args, **kwargs), self.inside, self.outside)


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
    module: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], *, truncate_double: bool = False
) -> tuple[Any, tuple[str, ...]]:
    """The ExportedProgram of a module in eval mode, and the names of forward's parameters that it takes.

    Args:
        args, kwargs: what forward takes, with an Input for each tensor.
        truncate_double: export with float64 weights as float32.
    Raises:
        InvalidModel: torch.export fails; the sentence has torch's own words.
    """
    names = _parameter_names(module, args, kwargs)
    wrapped = _in_own_dtype(module, leaves((args, kwargs)), truncate_double=truncate_double)
    positional, named = _pytree.tree_map(_example, (tuple(args), dict(kwargs)), is_leaf=is_input)
    dims = _dynamic_shapes(wrapped, args, kwargs)
    training = [part for part in wrapped.modules() if part.training]
    wrapped.eval()
    try:
        program = torch.export.export(wrapped, positional, named, dynamic_shapes=dims, strict=False)
    except Exception as error:  # torch.export runs the user's code: it can raise anything
        raise InvalidModel(
            f"torch.export cannot export {type(module).__name__}: {type(error).__name__}: {error}\n"
            f'  torch.compile(model, backend="engineworks") compiles the parts that can be.'
        ) from error
    finally:
        for part in training:
            part.training = True
    return program, names


def _in_own_dtype(
    module: torch.nn.Module, inputs: Sequence[Input], *, truncate_double: bool
) -> torch.nn.Module:
    """The module, converting at its border where the inputs' floating dtype is not that of its weights."""
    own = {p.dtype for p in module.parameters() if p.dtype.is_floating_point}
    given = {t for i in inputs if (t := i.dtype.to(torch.dtype)).is_floating_point}
    if truncate_double and torch.float64 in own:
        module, own = copy.deepcopy(module).float(), {torch.float32}
    if len(own) != 1 or len(given) != 1 or own == given:
        return module
    (inside,), (outside,) = own, given
    _log.warning(
        "%s has weights in %s, and its inputs are %s: the engine takes and gives %s, and keeps the weights' precision "
        "wherever enabled_precisions does not permit less. module.to(%s) before compiling makes the weights %s too.",
        type(module).__name__, inside, outside, outside, outside, outside,
    )  # fmt: skip
    return InOwnDtype(module, inside, outside)


def _example(value: Any) -> Any:
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
    shared: dict[str, Any] = {}
    positional, named = _pytree.tree_map(
        lambda v: _axes(v, shared) if isinstance(v, Input) else None,
        (tuple(args), dict(kwargs)),
        is_leaf=is_input,
    )
    if isinstance(module, InOwnDtype):
        return {"args": positional, "kwargs": named} if named else {"args": positional, "kwargs": {}}
    if not named:
        return positional
    import inspect

    bound = inspect.signature(module.forward).bind(*positional, **named)
    return dict(bound.arguments)


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
    import inspect

    kinds = inspect.Parameter
    names: list[str] = []
    for parameter in inspect.signature(module.forward).parameters.values():
        if parameter.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD):
            names.append(parameter.name)
        elif parameter.kind is kinds.VAR_POSITIONAL:
            names += [f"{parameter.name}_{k}" for k in range(max(0, len(args) - len(names)))]
    return (*names[: len(args)], *kwargs)
