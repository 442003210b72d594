"""The network: what the parser read, with inputs and outputs that can be renamed, reshaped and chosen."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from engineworks.core.types import Shape
from engineworks.errors import InvalidModel
from engineworks.ir.foreign import ForeignGraph, ForeignInput, ForeignOp
from engineworks.tensorrt.enums import DataType, NetworkDefinitionCreationFlag, TensorLocation
from engineworks.tensorrt.unsupported import Face
from engineworks.tensorrt.values import Dims, data_type


class ITensor(Face):
    """A tensor of the network. Inputs may be given another name and fixed sizes; outputs another name."""

    def __init__(self, network: INetworkDefinition, source: str, given: ForeignInput | None = None) -> None:
        self._network = network
        self._given = given
        self.source = source
        """The name in the model."""
        self.name = source
        self.location = TensorLocation.HOST

    @property
    def is_network_input(self) -> bool:
        return self._given is not None

    @property
    def is_network_output(self) -> bool:
        return any(t is self for t in self._network.outputs)

    @property
    def shape(self) -> Dims:
        """Sizes, -1 where they change from call to call."""
        return Dims(d if isinstance(d, int) else -1 for d in self._network.stated(self.source)[1])

    @shape.setter
    def shape(self, shape: Sequence[int]) -> None:
        if self._given is None:
            raise InvalidModel(f"'{self.name}' is computed: its shape follows from the inputs")
        self._network.fix(self._given, shape)

    @property
    def dtype(self) -> DataType:
        return data_type(self._network.stated(self.source)[0])

    @property
    def is_shape_tensor(self) -> bool:
        return False


class ILayer(Face):
    """A node of the model. Precision wishes are kept and have no effect: arithmetic follows the model's types."""

    def __init__(self, network: INetworkDefinition, node: ForeignOp) -> None:
        self._network, self._node = network, node
        self.name = node.name
        self.metadata = f"[ONNX Layer: {node.kind}]"
        self.precision = DataType.FLOAT
        self.precision_is_set = False

    @property
    def type(self) -> str:
        """ONNX's name of the operator."""
        return self._node.kind

    @property
    def num_inputs(self) -> int:
        return len(self._node.inputs)

    @property
    def num_outputs(self) -> int:
        return len(self._node.outputs)

    def get_input(self, index: int) -> ITensor | None:
        name = self._node.inputs[index]
        return self._network.tensor(name) if name else None

    def get_output(self, index: int) -> ITensor:
        return self._network.tensor(self._node.outputs[index])


class INetworkDefinition(Face):
    """Filled by OnnxParser; built by Builder."""

    def __init__(self, flags: int) -> None:
        self.flags = flags
        self.name = ""
        self.foreign: ForeignGraph | None = None
        self.inputs: list[ITensor] = []
        self.outputs: list[ITensor] = []
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
        self.outputs = [self.tensor(name) for name in foreign.outputs]

    def tensor(self, name: str, given: ForeignInput | None = None) -> ITensor:
        return self._tensors.setdefault(name, ITensor(self, name, given))

    def fix(self, given: ForeignInput, shape: Sequence[int]) -> None:
        """Sizes of an input; -1 leaves one as it is."""
        stated = given.shape or (None,) * len(shape)
        sizes = [s if d == -1 else int(d) for d, s in zip(shape, stated, strict=True)]
        self.fixed_shapes[given.name] = tuple(
            f"{given.name}_{axis}" if s is None else s for axis, s in enumerate(sizes)
        )
        self._types = None

    def stated(self, name: str) -> tuple[str, Shape]:
        """(dtype, shape) of a value by the model's name, from a trial import."""
        if self._types is None:
            from engineworks.tensorrt.compile import types_of

            self._types = types_of(self)
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
        return len(self.foreign.nodes) if self.foreign else 0

    def get_input(self, index: int) -> ITensor:
        return self.inputs[index]

    def get_output(self, index: int) -> ITensor:
        return self.outputs[index]

    def get_layer(self, index: int) -> ILayer:
        assert self.foreign is not None, "a network that was not parsed has no layers"
        return ILayer(self, self.foreign.nodes[index])

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
