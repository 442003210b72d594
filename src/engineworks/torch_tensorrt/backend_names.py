"""The names by which torch.compile knows the backend, registered without importing TorchDynamo before it is used."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import entry_points
from importlib.util import find_spec
from types import ModuleType
from typing import Any

REGISTRY = "torch._dynamo.backends.registry"
GROUP = "torch_dynamo_backends"
NAMES = ("engineworks", "tensorrt", "torch_tensorrt")
"""Ours, and Torch-TensorRT's where no installed package has them."""


def register() -> None:
    """Makes the backend known: now where TorchDynamo is loaded, else as soon as it is."""
    loaded = sys.modules.get(REGISTRY)
    if loaded is not None:
        _add_to(loaded)
    elif not any(isinstance(finder, _WhenLoaded) for finder in sys.meta_path):
        sys.meta_path.insert(0, _WhenLoaded())


def _add_to(registry: ModuleType) -> None:
    others = {p.name for p in entry_points(group=GROUP) if not p.value.startswith("engineworks.")}
    for name in NAMES:
        if name not in registry._COMPILER_FNS and name not in others:
            registry.register_backend(_compile, name=name)


def _compile(module: Any, example_inputs: Sequence[Any], **given: Any) -> Any:
    """The backend itself, imported when it is first used."""
    from engineworks.torch_tensorrt.backend import engineworks

    return engineworks(module, example_inputs, **given)


class _WhenLoaded(MetaPathFinder):
    """Lets the import system find TorchDynamo's registry, and adds the backend once it is executed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != REGISTRY:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_add(module: ModuleType) -> None:
                execute(module)
                _add_to(module)

            spec.loader.exec_module = execute_and_add  # type: ignore[method-assign]
        return spec
