"""ITensor: a value of the network, with its name, type, and the range that INT8 keeps of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from engineworks.errors import InvalidModel
from engineworks.ir.foreign import ForeignInput
from engineworks.tensorrt.enums import DataType, TensorLocation
from engineworks.tensorrt.unsupported import Face
from engineworks.tensorrt.values import Dims, data_type

if TYPE_CHECKING:
    from engineworks.tensorrt.network import INetworkDefinition

FLOATS = (DataType.FLOAT, DataType.HALF, DataType.BF16)
"""Types that inputs of any of them may have for the caller."""


class _Ranged(Face):
    """The range of values that INT8 keeps: symmetric, so the larger magnitude counts. It overrides calibration."""

    name: str
    _range: tuple[float, float] | None = None

    @property
    def dynamic_range(self) -> tuple[float, float] | None:
        """(least, largest), or None where none was set."""
        return self._range

    @dynamic_range.setter
    def dynamic_range(self, ends: Sequence[float]) -> None:
        low, high = (float(end) for end in ends)
        if not (math.isfinite(low) and math.isfinite(high) and low <= high and max(-low, high) > 0):
            raise ValueError(f"dynamic range of '{self.name}': ({low}, {high}) holds no values beside 0")
        self._range = low, high

    def set_dynamic_range(self, min: float, max: float) -> bool:
        """True; raises ValueError for an empty range."""
        self.dynamic_range = (min, max)
        return True

    def reset_dynamic_range(self) -> None:
        self._range = None


class ITensor(_Ranged):
    """A tensor of the network. Inputs may be given another name and fixed sizes; outputs another name."""

    def __init__(self, network: INetworkDefinition, source: str, given: ForeignInput | None = None) -> None:
        self._network = network
        self._given = given
        self.source = source
        """The name in the model."""
        self.name = source
        self.location = TensorLocation.HOST
        self.wished_dtype: DataType | None = None

    @property
    def is_network_input(self) -> bool:
        return self._given is not None

    @property
    def is_network_output(self) -> bool:
        return any(t is self for t in self._network.outputs)

    @property
    def is_execution_tensor(self) -> bool:
        return True

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
        """The model's type; of inputs and outputs the one that the program set."""
        is_of_the_caller = self.is_network_output or self.is_network_input
        wished = self._network.wished_type(self.source) if is_of_the_caller else None
        return data_type(self._network.stated(self.source)[0]) if wished is None else wished

    @dtype.setter
    def dtype(self, dtype: DataType) -> None:
        """Raises InvalidModel: a tensor inside of the network, or an input that cannot have this type."""
        if not (self.is_network_input or self.is_network_output):
            raise InvalidModel(
                f"'{self.name}' is neither an input nor an output: set the precision of its layer"
            )
        stated = data_type(self._network.stated(self.source)[0])
        if self.is_network_input and dtype != stated and {stated, dtype} - set(FLOATS):
            raise InvalidModel(
                f"input '{self.name}' is {stated.name}: callers cannot give {DataType(dtype).name}"
            )
        self.wished_dtype = DataType(dtype)

    @property
    def is_shape_tensor(self) -> bool:
        return False
