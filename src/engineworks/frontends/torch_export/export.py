"""From a torch.nn.Module and an example call to an ExportedProgram."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from engineworks.errors import InvalidModel
from engineworks.frontends.torch_export.structure import key_text

Profile = Mapping[str, tuple[Sequence[int], Sequence[int], Sequence[int]]]


def export_module(
    module: Any,
    args: Sequence[Any] | None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    dynamic_shapes: Any = None,
    profile: Profile | None = None,
) -> Any:
    """The torch.export.ExportedProgram of a module in eval mode; the module's own mode is restored.

    Args:
        args, kwargs: an example call.
        dynamic_shapes: as torch.export takes it; None: the axes that `profile` gives a range.
        profile: (min, opt, max) shapes by input name.
    Raises:
        InvalidModel: not a module, no example call, or torch.export fails; the sentence has torch's own words.
    """
    from torch import nn
    from torch.export import export

    if not isinstance(module, nn.Module):
        raise InvalidModel(
            f"args and kwargs go with a torch.nn.Module, not with a {type(module).__name__}. Wrap a function in one."
        )
    if args is None and kwargs is None:
        raise InvalidModel(
            f"{type(module).__name__} needs an example call to be exported: args=(tensor, …) or kwargs={{…}}."
        )
    positional, named = tuple(args or ()), dict(kwargs or {})
    if dynamic_shapes is None and profile:
        positional, named, dynamic_shapes = _dynamic(module, positional, named, profile)
    with evaluating(module):
        try:
            return export(module, positional, named, dynamic_shapes=dynamic_shapes, strict=False)
        except Exception as error:  # torch.export runs the user's code: it can raise anything
            raise InvalidModel(_failure(module, error)) from error


def _failure(module: Any, error: Exception) -> str:
    return (
        f"torch.export cannot export {type(module).__name__}: {type(error).__name__}: {error}\n"
        f"  Ways out: follow torch's hints above; make forward depend on tensors and sizes, not on their values "
        f"(torch.where and torch.cond instead of if); or export the part that does the work.\n"
        f"  torch.export.draft_export(module, args) lists all such places. torch.export.export(…, strict=True) follows "
        f"some Python that this does not; engineworks.build takes the program that it gives."
    )


@contextmanager
def evaluating(module: Any) -> Iterator[None]:
    """The module and all its parts in eval mode for a while."""
    training = [part for part in module.modules() if part.training]
    try:
        module.eval()
    except NotImplementedError:
        # What torch.export gives, and PT2E converts, refuses; it was exported in one mode, and no flag changes that.
        for part in training:
            part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True


# -- dynamic axes from a profile ---------------------------------------------------------------------------------
def _dynamic(
    module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], profile: Profile
) -> tuple[tuple[Any, ...], dict[str, Any], Any]:
    """The example call and its dynamic axes: those that the profile gives a range.

    An example with a size of 0 or 1 on such an axis is made longer: torch takes these two for constants.
    """
    import torch
    from torch.export import ShapesCollection
    from torch.utils import _pytree

    bound = inspect.signature(module.forward).bind(*args, **kwargs)
    leaves, spec = _pytree.tree_flatten_with_path(dict(bound.arguments))
    names = [_leaf_name(path) for path, _ in leaves]
    unknown = sorted(profile.keys() - set(names))
    if unknown:
        raise InvalidModel(
            f"the profile names {', '.join(unknown)}; the example call has {', '.join(names)}."
        )
    shapes, made = ShapesCollection(), []
    for name, (_, leaf) in zip(names, leaves, strict=True):
        if name not in profile or not isinstance(leaf, torch.Tensor):
            made.append(leaf)
            continue
        axes = _ranged_axes(name, leaf, profile[name])
        made.append(_lengthened(leaf, axes))
        if axes:
            shapes[made[-1]] = axes
    bound.arguments.update(_pytree.tree_unflatten(made, spec))
    return bound.args, bound.kwargs, shapes


def _leaf_name(path: Sequence[Any]) -> str:
    """The name that the engine's input will have: the parameter, then the keys that lead to the leaf."""
    return re.sub(r"\W", "_", "_".join(map(key_text, path)))


def _ranged_axes(name: str, tensor: Any, shapes: tuple[Sequence[int], ...]) -> dict[int, Any]:
    from torch.export import Dim

    low, _, high = shapes
    if not len(low) == len(high) == tensor.dim():
        raise InvalidModel(
            f"profile of '{name}': shapes {tuple(low)} and {tuple(high)}; the example has {tensor.dim()} axes."
        )
    return {axis: Dim.DYNAMIC for axis in range(tensor.dim()) if int(low[axis]) != int(high[axis])}


def _lengthened(tensor: Any, axes: Mapping[int, Any]) -> Any:
    """A tensor of its own with at least two elements along the axes, repeating what is there."""
    for axis in axes:
        if tensor.shape[axis] == 1:
            tensor = tensor.repeat_interleave(2, axis)
    return tensor.clone()
