"""ILayer: a node of the model, with the program's wishes about its arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from engineworks.ir.foreign import ForeignOp
from engineworks.tensorrt.enums import DataType
from engineworks.tensorrt.layer_types import LayerType, layer_type
from engineworks.tensorrt.unsupported import Face

if TYPE_CHECKING:
    from engineworks.tensorrt.network import INetworkDefinition
    from engineworks.tensorrt.tensors import ITensor


class _Precise(Face):
    """Wishes: the type that a layer computes in, and the types of its outputs; the config says what they weigh."""

    wished_precision: DataType | None = None
    wished_outputs: dict[int, DataType]
    num_outputs: int
    name: str

    @property
    def precision(self) -> DataType:
        """FLOAT where nothing was set."""
        return DataType.FLOAT if self.wished_precision is None else self.wished_precision

    @precision.setter
    def precision(self, precision: DataType) -> None:
        self.wished_precision = DataType(precision)

    @property
    def precision_is_set(self) -> bool:
        return self.wished_precision is not None

    def reset_precision(self) -> None:
        self.wished_precision = None

    def set_output_type(self, index: int, dtype: DataType) -> None:
        """Raises IndexError: the layer has no such output."""
        if not 0 <= index < self.num_outputs:
            raise IndexError(f"layer '{self.name}' has {self.num_outputs} outputs, none is number {index}")
        self.wished_outputs[index] = DataType(dtype)

    def output_type_is_set(self, index: int) -> bool:
        return index in self.wished_outputs

    def reset_output_type(self, index: int) -> None:
        self.wished_outputs.pop(index, None)


class ILayer(_Precise):
    """A node of the model."""

    def __init__(self, network: INetworkDefinition, node: ForeignOp) -> None:
        self._network, self._node = network, node
        self.name = node.name
        self.metadata = f"[ONNX Layer: {node.kind}]"
        self.wished_outputs = {}

    @property
    def type(self) -> LayerType:
        """The kind nearest to ONNX's operator, which `metadata` names."""
        return layer_type(self._node.kind)

    @property
    def source(self) -> str:
        """The name in the model."""
        return self._node.name

    @property
    def num_inputs(self) -> int:
        return len(self._node.inputs)

    @property
    def num_outputs(self) -> int:
        return len(self._node.outputs)

    def get_input(self, index: int) -> ITensor | None:
        """None for one that is omitted, or beyond the last."""
        name = self._node.inputs[index] if 0 <= index < self.num_inputs else ""
        return self._network.tensor(name) if name else None

    def get_output(self, index: int) -> ITensor | None:
        """None beyond the last."""
        name = self._node.outputs[index] if 0 <= index < self.num_outputs else ""
        return self._network.tensor(name) if name else None

    def wished_types(self) -> Iterator[tuple[str, DataType]]:
        """The model's names of outputs, and the types that were set."""
        return ((self._node.outputs[index], dtype) for index, dtype in self.wished_outputs.items())

    def get_output_type(self, index: int) -> DataType:
        """The type that was set, else the one that the model gives."""
        tensor = self.get_output(index)
        if index in self.wished_outputs or tensor is None:
            return self.wished_outputs.get(index, DataType.FLOAT)
        return tensor.dtype
