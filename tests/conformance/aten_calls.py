"""Calls of ATen operators, recorded as a front end would see them, and models of one call."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch._decomp import decomposition_table
from torch._dispatch.python import enable_python_dispatcher
from torch._subclasses.schema_check_mode import SchemaCheckMode
from torch.utils._python_dispatch import TorchDispatchMode

import engineworks.ops  # noqa: F401  (registers the rules)
from engineworks.frontends.torch_export.arguments import read_arguments
from engineworks.frontends.torch_export.sizes import Sizes
from engineworks.frontends.torch_export.tensors import dtype_of
from engineworks.ir.foreign import ForeignGraph, ForeignInput, ForeignOp, ForeignType, spellings
from engineworks.testing.compare import difference, tolerance

SPELLED = frozenset(
    kind for kind in spellings("torch") if kind.startswith(("aten.", "prims.", "quantized_decomposed."))
)
"""Operators with a rule; torch.cond and arithmetic on sizes are the front end's own."""
UNWRITTEN = ("empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided")
"""Operators whose results hold whatever memory holds."""
BY_POSITION = ("topk", "sort", "argsort", "kthvalue", "median", "nanmedian", "mode", "max", "min")
"""Operators with a second output that says where the first was found; among equal elements any place is right."""


@dataclass(frozen=True)
class Call:
    """One call: the overload, its arguments, and what eager torch gives."""

    operator: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: Any

    @property
    def kind(self) -> str:
        return str(self.operator)

    @property
    def outputs(self) -> list[Any]:
        return list(self.results) if isinstance(self.results, (tuple, list)) else [self.results]

    @property
    def arguments(self) -> dict[str, Any]:
        """By name, defaults filled in."""
        schema = self.operator._schema.arguments
        given = dict(zip([a.name for a in schema], self.args, strict=False)) | self.kwargs
        return {a.name: given.get(a.name, a.default_value) for a in schema}

    @property
    def has_complex(self) -> bool:
        given = [*self.args, *self.kwargs.values(), *self.outputs]
        return any(isinstance(t, torch.Tensor) and t.is_complex() for t in _leaves(given)) or any(
            isinstance(x, complex) or (isinstance(x, torch.dtype) and x.is_complex) for x in _leaves(given)
        )

    @property
    def signature(self) -> tuple[Any, ...]:
        """What tells calls apart: the overload, types of tensors, and all else by value."""
        return (self.kind, _signature(self.args), _signature(tuple(sorted(self.kwargs.items()))))


def _leaves(values: Any) -> Iterator[Any]:
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from _leaves(value)
        else:
            yield value


def _signature(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return (str(value.dtype), tuple(value.shape))
    if isinstance(value, (list, tuple)):
        return tuple(_signature(v) for v in value)
    return (type(value).__name__, str(value))


class Recorder(SchemaCheckMode):
    """Records the calls that have a spelling; takes the others apart as the front end does (torch_export.decompose).

    Works before autograd, where composite operators such as linear are still whole: torch lets SchemaCheckMode stand
    there, hence the base class.

    Attributes:
        calls: those with a spelling.
        unspelled: operators that have none and that torch cannot take apart.
    """

    def __init__(self) -> None:
        TorchDispatchMode.__init__(self, _dispatch_key=torch._C.DispatchKey.PreDispatch)
        self.calls: list[Call] = []
        self.unspelled: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if str(func) in SPELLED:
            given = _copied(args), _copied(kwargs)
            results = func(*args, **kwargs)
            self.calls.append(Call(func, *given, _copied(results)))
            return results
        whole = _functional(func) if func._schema.is_mutable else None
        if whole is not None:
            with self:
                result = whole(*args, **kwargs)
            is_view = result.untyped_storage().data_ptr() == args[0].untyped_storage().data_ptr()
            is_like = result.shape == args[0].shape and not is_view
            return args[0].copy_(result) if is_like else func(*args, **kwargs)
        for parts in (_decompositions().get(func), decomposition_table.get(func), _composite(func)):
            if parts is not None:
                with self:
                    result = parts(*args, **kwargs)
                if result is not NotImplemented:
                    return result
        self.unspelled.add(str(func))
        return func(*args, **kwargs)


@cache
def _decompositions() -> dict[Any, Callable[..., Any]]:
    return dict(torch.export.default_decompositions().items())


def _composite(func: Any) -> Callable[..., Any] | None:
    is_composite = func.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd)
    return func.decompose if is_composite else None


def _functional(func: Any) -> Any:
    """The operator without side effects that an in-place one stands for."""
    name = func._schema.name.removeprefix("aten::")
    packet = getattr(torch.ops.aten, name[:-1], None) if name.endswith("_") else None
    for overload in (func._overloadname, "int"):  # transpose_ has other names of overloads than transpose
        if packet is not None and overload in packet.overloads():
            return getattr(packet, overload)
    return None


def _copied(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, (list, tuple)):
        return tuple(_copied(v) for v in value)
    if isinstance(value, dict):
        return {k: _copied(v) for k, v in value.items()}
    return value


def record(function: Callable[[], Any]) -> Recorder:
    """What `function` calls."""
    recorder = Recorder()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        with enable_python_dispatcher(), recorder:
            function()
    return recorder


# -- models of one call ---------------------------------------------------------------------------------------
def model_of(call: Call, *, first_only: bool = False) -> tuple[ForeignGraph, dict[str, np.ndarray]]:
    """A model with all tensor arguments as inputs, and the arrays to feed it.

    Args:
        first_only: outputs beyond the first are not asked for, as models for inference leave them.
    """
    graph = torch.fx.Graph()
    tensors: dict[Any, Any] = {}

    def placed(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            node = graph.placeholder(f"x{len(tensors)}")
            tensors[node] = value
            return node
        return tuple(placed(v) for v in value) if isinstance(value, (list, tuple)) else value

    args, kwargs = placed(call.args), {k: placed(v) for k, v in call.kwargs.items()}
    node = graph.call_function(call.operator, args, kwargs)
    arguments = read_arguments(node, {t: t.name for t in tensors}, Sizes())
    wanted = call.outputs[:1] if first_only else call.outputs
    outputs = tuple(f"y{k}" if isinstance(t, torch.Tensor) else "" for k, t in enumerate(wanted))
    outputs += ("",) * (len(call.outputs) - len(outputs))
    results = tuple(
        ForeignType(dtype_of(t.dtype, "a result"), tuple(t.shape)) if isinstance(t, torch.Tensor) else None
        for t in call.outputs
    )
    inputs = [ForeignInput(t.name, dtype_of(v.dtype, "an input"), tuple(v.shape)) for t, v in tensors.items()]
    op = ForeignOp(call.kind, "", call.kind, tuple(arguments.inputs), outputs, arguments.by_name,
                   tuple(arguments.tensors), results)  # fmt: skip
    model = ForeignGraph("torch", call.kind, {}, inputs, [o for o in outputs if o], [op])
    return model, {t.name: _array(v) for t, v in tensors.items()}


def _array(tensor: torch.Tensor) -> np.ndarray:
    if tensor.dtype is torch.bfloat16:
        import ml_dtypes

        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return np.array(tensor.resolve_conj().resolve_neg().numpy())


def disagreement(call: Call, results: dict[str, np.ndarray]) -> str:
    """'' when the results (those that there are) are eager torch's, else what differs."""
    for k, expected in enumerate(call.outputs):
        if f"y{k}" not in results:
            continue
        found, right = results[f"y{k}"], _array(expected)
        if call.operator._opname in UNWRITTEN:
            right = found if found.shape == right.shape and found.dtype == right.dtype else right
        if (
            call.operator._opname in BY_POSITION
            and expected.dtype is torch.int64
            and k == len(call.outputs) - 1
        ):
            found, right = _elements_at(call, found), _elements_at(call, right)
        message = difference(found, right, _allowed(call, expected))
        if message:
            return f"{call.kind} output {k}: {message}"
    return ""


def _elements_at(call: Call, positions: np.ndarray) -> np.ndarray:
    """The elements of the first argument at these positions along the axis that the call names."""
    x = call.args[0]
    if x.ndim == 0 or "dim" not in call.arguments:
        return positions
    axis, places = call.arguments["dim"], torch.from_numpy(np.array(positions))
    if places.ndim < x.ndim:
        places = places.unsqueeze(axis)
    return _array(torch.gather(x, axis, places))


def _allowed(call: Call, expected: torch.Tensor) -> Any:
    sizes = [t.numel() for t in _leaves([*call.args, *call.kwargs.values()]) if isinstance(t, torch.Tensor)]
    length = max(1, max(sizes, default=1) // max(1, expected.numel()))
    return tolerance(dtype_of(expected.dtype, "a result"), length, ("exp", "log", "div", "pow", "tan"))
