"""What an engine takes and gives, as one line of text: 'x: f32[N, 3, 224, 224] -> f32[N, 1000]'.

It stands in saved programs beside the engine, so that they can be read, and traced without opening the engine.

    signature = [ input { "; " input } ] " -> " [ type { "; " type } ]
    input     = name ": " type
    type      = dtype "[" [ dim { ", " dim } ] "]"
    dim       = integer | expression over names (core/expression.py)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from engineworks.core.expression import evaluate, names_of
from engineworks.engine.schema import Manifest, Tensor
from engineworks.errors import CorruptEngine
from engineworks.torch_tensorrt.types import TORCH_OF

_TENSOR = re.compile(r"(?:(?P<name>.+): )?(?P<dtype>\w+)\[(?P<dims>.*)\]")


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs and outputs in the engine's order; outputs have no names."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    @classmethod
    def of(cls, manifest: Manifest) -> Signature:
        """The signature of an engine."""
        return cls(manifest.inputs, manifest.outputs)

    @classmethod
    @lru_cache(maxsize=256)
    def parse(cls, text: str) -> Signature:
        """The signature written in `text`. Raises CorruptEngine: it is none."""
        inputs, arrow, outputs = text.partition(" -> ")
        if not arrow:
            raise CorruptEngine(f"'{text}' is no signature of an engine: it has no ' -> '")
        return cls(_parsed(inputs), _parsed(outputs))

    def text(self) -> str:
        """One line that `parse` reads."""
        taken = "; ".join(f"{t.name}: {_shown(t)}" for t in self.inputs)
        return f"{taken} -> {'; '.join(map(_shown, self.outputs))}"

    def outputs_for(
        self, inputs: Sequence[torch.Tensor], unknown: Callable[[], Any], device: Any = None
    ) -> list[torch.Tensor]:
        """Empty outputs of the right types for such inputs, whose sizes may be symbolic.

        Args:
            device: where the outputs lie.
            unknown: gives a size that depends on data.
        """
        sizes: dict[str, Any] = {}
        stated = [
            (dim, size)
            for tensor, given in zip(self.inputs, inputs, strict=True)
            for dim, size in zip(tensor.dims, given.shape, strict=True)
            if isinstance(dim, str) and len(names_of(dim)) == 1
        ]
        # Axes that are a name alone give its value most plainly; others are a factor and an offset of it.
        for dim, size in sorted(stated, key=lambda s: s[0].strip("`") != names_of(s[0])[0]):
            (name,) = names_of(dim)
            if name not in sizes:
                offset = evaluate(dim, {name: 0})
                sizes[name] = (size - offset) // (evaluate(dim, {name: 1}) - offset)
        for tensor in self.outputs:
            for dim in tensor.dims:
                for name in names_of(dim):
                    if name not in sizes:
                        sizes[name] = unknown()
        return [
            torch.empty([evaluate(d, sizes) for d in t.dims], dtype=TORCH_OF[t.dtype], device=device)
            for t in self.outputs
        ]


def _shown(tensor: Tensor) -> str:
    return f"{tensor.dtype}[{', '.join(map(str, tensor.dims))}]"


def _parsed(text: str) -> tuple[Tensor, ...]:
    return tuple(_tensor(part) for part in text.split("; ") if part)


def _tensor(text: str) -> Tensor:
    match = _TENSOR.fullmatch(text)
    if match is None or match["dtype"] not in TORCH_OF:
        raise CorruptEngine(f"'{text}' is no type of an engine's input or output")
    dims = tuple(int(d) if d.isdigit() else d for d in _split(match["dims"]))
    return Tensor(match["name"] or "output", match["dtype"], dims)


def _split(dims: str) -> list[str]:
    """Dims, at the commas outside of parentheses."""
    parts, depth = [""], 0
    for letter in dims:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [p.strip() for p in parts if p.strip()]
