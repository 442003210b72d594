"""The network: what the parser read, with inputs and outputs that can be renamed, reshaped and chosen."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from engineworks.core.types import Shape
from engineworks.errors import InvalidModel
from engineworks.ir.foreign import ForeignGraph, ForeignInput
from engineworks.tensorrt.enums import DataType, NetworkDefinitionCreationFlag
from engineworks.tensorrt.layers import ILayer
from engineworks.tensorrt.tensors import ITensor
from engineworks.tensorrt.unsupported import Face


class INetworkDefinition(Face):
    """Filled by OnnxParser; built by Builder."""

    def __init__(self, flags: int) -> None:
        self.flags = flags
        self.name = ""
        self.foreign: ForeignGraph | None = None
        self.inputs: list[ITensor] = []
        self.outputs: list[ITensor] = []
        self.layers: list[ILayer] = []
        self.fixed_shapes: dict[str, tuple[int | str, ...]] = {}
        self._tensors: dict[str, ITensor] = {}
        self._types: dict[str, tuple[str, Shape]] | None = None

    has_implicit_batch_dimension = False

    def get_flag(self, flag: NetworkDefinitionCreationFlag) -> bool:
        return bool(self.flags >> int(flag) & 1)

    # -- filling
    def take(self, foreign: ForeignGraph) -> None:
        """The model that the parser read."""
        self.foreign, self.name = foreign, self.name or foreign.name
        self.inputs = [self.tensor(i.name, i) for i in foreign.inputs]
        # Outputs that are plain integers come from torch alone.
        self.outputs = [self.tensor(name) for name in foreign.outputs if isinstance(name, str)]
        self.layers = [ILayer(self, node) for node in foreign.nodes]

    def tensor(self, name: str, given: ForeignInput | None = None) -> ITensor:
        return self._tensors.setdefault(name, ITensor(self, name, given))

    def tensors(self) -> Iterable[ITensor]:
        """Those that the program may have looked at."""
        return self._tensors.values()

    def wished_type(self, source: str) -> DataType | None:
        """The type that the program set for a tensor or for its layer's output, by the model's name."""
        tensor = self._tensors.get(source)
        if tensor is not None and tensor.wished_dtype is not None:
            return tensor.wished_dtype
        wishes = (wish for layer in self.layers for wish in layer.wished_types())
        return next((dtype for name, dtype in wishes if name == source), None)

    def fix(self, given: ForeignInput, shape: Sequence[int]) -> None:
        """Sizes of an input; -1 leaves one as it is."""
        stated = given.shape or (None,) * len(shape)
        sizes = [s if d == -1 else int(d) for d, s in zip(shape, stated, strict=True)]
        self.fixed_shapes[given.name] = tuple(
            s if isinstance(s, (int, str)) else f"{given.name}_{axis}" for axis, s in enumerate(sizes)
        )
        self._types = None

    def stated(self, name: str) -> tuple[str, Shape]:
        """(dtype, shape) of a value by the model's name, from a trial import."""
        from engineworks.tensorrt.graphs import types_of

        if self._types is None:
            self._types = types_of(self)
        if name not in self._types:  # a weight, or a value that the outputs do not need
            self._types |= types_of(self, name)
        return self._types[name]

    # -- looking
    @property
    def num_inputs(self) -> int:
        return len(self.inputs)

    @property
    def num_outputs(self) -> int:
        return len(self.outputs)

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    @property
    def is_strongly_typed(self) -> bool:
        """Types follow from the inputs and the model's casts alone."""
        return self.get_flag(NetworkDefinitionCreationFlag.STRONGLY_TYPED)

    def get_input(self, index: int) -> ITensor:
        return self.inputs[index]

    def get_output(self, index: int) -> ITensor:
        return self.outputs[index]

    def get_layer(self, index: int) -> ILayer:
        return self.layers[index]

    def __len__(self) -> int:
        return self.num_layers

    def __getitem__(self, index: int) -> ILayer:
        return self.get_layer(index)

    def mark_output(self, tensor: ITensor) -> None:
        if not tensor.is_network_output:
            self.outputs.append(tensor)

    def unmark_output(self, tensor: ITensor) -> None:
        self.outputs = [t for t in self.outputs if t is not tensor]

    def as_foreign(self) -> ForeignGraph:
        """The model with the outputs that were chosen. Raises InvalidModel when nothing was parsed."""
        if self.foreign is None:
            raise InvalidModel("the network is empty: OnnxParser(network, logger).parse(bytes) fills it")
        return dataclasses.replace(self.foreign, outputs=[t.source for t in self.outputs])
