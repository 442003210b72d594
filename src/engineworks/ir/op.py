"""Op: what an operator is. One frozen dataclass instance a use; attributes are its fields; one file an operator."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, dataclass_transform

import numpy as np

from engineworks.core.types import TensorType
from engineworks.errors import Error
from engineworks.ir.scalar import Scalar

if TYPE_CHECKING:
    from engineworks.ir.builder import GraphBuilder
    from engineworks.ir.cases import Example
    from engineworks.ir.graph import Value

Reader = Callable[[tuple[Scalar, ...]], Scalar]
"""Reads an element of an input: logical index (i64 scalars) to value."""

REGISTRY: dict[str, type[Op]] = {}
T = TypeVar("T")


class Op:
    """Base of every operator. A subclass says what it means in one or more of these ways:

    - `infer`: types of the outputs (always; `Pointwise` gives it).
    - `reference`: numpy, clear rather than fast: the specification. Default: through `element`.
    - `element`: output 0 at an index as a scalar expression over reads of the inputs: pointwise ops, views, padding,
      gathering, interpolation. Whatever has it fuses.
    - `reduction`: for reductions over axes.
    - `decompose`: simpler ops, used where no kernel claims the op.
    An op with none of `element`, `reduction`, `decompose` is native: a tactic provider must claim it.
    """

    name: ClassVar[str] = ""
    examples: ClassVar[Sequence[Example]] = ()
    commutes: ClassVar[bool] = False
    keeps_dims: ClassVar[bool] = False
    """`reference` also works on object arrays of Dims: shape arithmetic goes through it at build."""
    is_random: ClassVar[bool] = False
    defines: ClassVar[tuple[str, ...]] = ()
    """Attributes that are symbols whose values the op finds out when it runs (sizes that depend on the data)."""

    def infer(self, *inputs: TensorType | None) -> tuple[TensorType, ...]:
        """Types of the outputs. Raises InvalidModel with a sentence when the inputs do not fit."""
        raise NotImplementedError(f"{self.name} lacks infer")

    def reference(self, *inputs: np.ndarray | None) -> np.ndarray | tuple[np.ndarray, ...]:
        """The outputs for these arrays, a tuple when there are several. Floats may come in a wider dtype."""
        from engineworks.ir.interpret import reference_by_element

        return reference_by_element(self, inputs)

    def element(
        self, inputs: Sequence[Reader], index: tuple[Scalar, ...], types: Sequence[TensorType]
    ) -> Scalar:
        """Output 0 at `index` (an i64 scalar for each axis of the output).

        Args:
            inputs: what reads an element of each input that is given; omitted ones are skipped.
            types: the types of those inputs, then the output's.
        """
        raise NotImplementedError

    def decompose(self, g: GraphBuilder, *inputs: Value | None) -> Value | tuple[Value, ...]:
        """The outputs, built of simpler ops with the same types as `infer` gives."""
        raise NotImplementedError

    @classmethod
    def has(cls, method: str) -> bool:
        """True when the class (not Op itself) defines `element`, `decompose`, `reduction` …"""
        return getattr(cls, method, None) is not getattr(Op, method, None)

    def attributes(self) -> dict[str, Any]:
        """Fields by name, in order."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]

    def __str__(self) -> str:
        shown = [
            f"{f.name}={_shown(getattr(self, f.name))}"
            for f in dataclasses.fields(self)  # type: ignore[arg-type]
            if getattr(self, f.name) != f.default
        ]
        return f"{self.name}({', '.join(shown)})" if shown else self.name


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(_shown(v) for v in value) + ("," if len(value) == 1 else "") + ")"
    return repr(value) if isinstance(value, str) else str(value)


@dataclass_transform(frozen_default=True)
def op(name: str) -> Callable[[type[T]], type[T]]:
    """Register an operator class under `name` as a frozen dataclass. (slots=True would make a second class.)"""

    def register(cls: type[T]) -> type[T]:
        if name in REGISTRY:
            raise Error(
                f"two operators are called '{name}': {REGISTRY[name].__module__} and {cls.__module__}"
            )
        made = dataclasses.dataclass(frozen=True, repr=False)(cls)
        made.name = name  # type: ignore[attr-defined]
        REGISTRY[name] = made  # type: ignore[assignment]
        return made

    return register
