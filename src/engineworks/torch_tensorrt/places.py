"""Where a model lies decides what its engines are for."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Sequence

import torch
from torch import fx

from engineworks.errors import Unsupported
from engineworks.torch_tensorrt.input import Input
from engineworks.torch_tensorrt.partition import tensors_of
from engineworks.torch_tensorrt.settings import CompilationSettings

CPU = torch.device("cpu")


def place_of(tensors: Iterable[torch.Tensor]) -> torch.device | None:
    """The GPU that tensors lie on, else the CPU; None without tensors.

    Raises:
        Unsupported: they lie on several GPUs.
    """
    found = {t.device for t in tensors}
    gpus = sorted(d.index or 0 for d in found if d.type == "cuda")
    if len(gpus) > 1:
        raise Unsupported(
            f"the model lies on {len(gpus)} GPUs ({', '.join(f'cuda:{n}' for n in gpus)}); engines run on one. "
            f"Move it to one: model.to('cuda:{gpus[0]}')."
        )
    if gpus:
        return torch.device("cuda", gpus[0])
    return CPU if found else None


def place_of_module(
    module: torch.nn.Module, inputs: Sequence[Input], settings: CompilationSettings
) -> torch.device:
    """Where a module's parameters and buffers lie; of one without, where the examples in `inputs` do, or `device` says.

    Raises:
        Unsupported: they lie on several GPUs.
    """
    given = (i.torch_tensor for i in inputs)
    found = place_of((*module.parameters(), *module.buffers())) or place_of(t for t in given if t is not None)
    if found is not None:
        return found
    return CPU if settings.device is None else settings.device.to(torch.device)


def place_of_graph(graph: fx.Graph) -> torch.device:
    """Where the inputs and constants of a graph lie; of one without, where what it computes does.

    Raises:
        Unsupported: on several GPUs.
    """
    inputs = (t for n in graph.find_nodes(op="placeholder") for t in tensors_of(n.meta.get("val")))
    return place_of(inputs) or place_of(t for n in graph.nodes for t in tensors_of(n.meta.get("val"))) or CPU


def settled(settings: CompilationSettings, place: torch.device) -> CompilationSettings:
    """The settings with a target: the one that they state, else what lies at `place`, where the model is.

    Raises:
        Unsupported: the model lies elsewhere than `device` says, or on a GPU that is not PyTorch's current one.
    """
    if settings.target is not None:
        return settings
    if settings.device is not None:
        stated = settings.device.to(torch.device)
        if stated != place:
            raise Unsupported(
                f"device={stated}, and the model lies on {place}. Move it there before compiling: "
                f"model.to('{stated}'); or leave device out."
            )
    if place.type == "cuda":
        current = torch.cuda.current_device()
        if place.index != current:
            raise Unsupported(
                f"the model lies on {place}, and engines of this process are for cuda:{current}, the current GPU. "
                f"Call torch.cuda.set_device({place.index}) first, or start with CUDA_VISIBLE_DEVICES={place.index}."
            )
    return dataclasses.replace(settings, target="cuda" if place.type == "cuda" else "cpu")


def why_elsewhere(node: fx.Node, place: torch.device, constants: Collection[fx.Node]) -> str | None:
    """Why a node cannot be in an engine that computes at `place`; None where it reads and gives tensors there.

    Args:
        constants: nodes whose values an engine holds: it does not matter where they lie.
    """
    touched = [n for n in (node, *node.all_input_nodes) if n not in constants]
    other = {v.device for n in touched for v in tensors_of(n.meta.get("val"))} - {place}
    if not other:
        return None
    return f"it has to do with tensors on {', '.join(sorted(map(str, other)))}, and engines are for {place}"
