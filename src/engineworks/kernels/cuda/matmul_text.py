"""Pieces of kernel text: parameters with their words, conditions, and templates filled with generated statements."""

from __future__ import annotations

import re
from collections.abc import Mapping

from engineworks.codegen.triton.function import Argument, element_type
from engineworks.core.dims import Dim, multiple_of
from engineworks.core.dtypes import DType
from engineworks.kernels.cuda.conv_words import Words, is_narrow
from engineworks.kernels.tactic import TensorMap

_LONGEST_SWIZZLE = 128
_LARGEST_BOX = 256


class Parameters(Words):
    """Also with maps for the GPU's tensor copies."""

    def map(self, name: str, described: TensorMap, block: tuple[int, ...]) -> str:
        """The name of a new parameter that copies blocks of a tensor between its memory and the processor's own."""
        kind = f"tensordesc<{element_type(described.dtype)}[{', '.join(map(str, block))}]>"
        return self._found.setdefault(described, Argument(name, kind)).name


def box_of(block: tuple[int, ...], dtype: DType) -> tuple[int, ...]:
    """What one copy moves of a block: the compiler splits blocks whose rows are longer than its longest swizzle."""
    inner = min(block[-1], _LONGEST_SWIZZLE // dtype.size_bytes)
    return (*(min(n, _LARGEST_BOX) for n in block[:-1]), inner)


def divides(count: int, dim: Dim) -> bool:
    """The dim is known to be a multiple."""
    return dim % count == 0 if isinstance(dim, int) else multiple_of(dim) % count == 0


def scaled(index: str, stride: Dim, parameters: Parameters, reach: Dim) -> str:
    """Text of index times stride, in i64 where offsets of up to `reach` elements may not fit 32 bits."""
    wide = index if is_narrow(reach) else f"{index}.to(tl.int64)"
    factor = parameters.size(stride)
    return wide if factor == "1" else f"{wide} * {factor}"


def guarded(*conditions: str, other: str = "") -> str:
    """Arguments of a load or store that hold it to where all conditions do."""
    given = [c for c in conditions if c]
    if not given:
        return ""
    return f", mask={' & '.join(given)}" + (f", other={other}" if other else "")


def filled(template: str, pieces: Mapping[str, str]) -> str:
    """The template with its `{names}` replaced.

    A name alone on its line stands for statements, which take the line's indentation; none leave no line.
    """
    lines: list[str] = []
    for line in template.split("\n"):
        alone = re.fullmatch(r"( *)\{(\w+)\}", line)
        if alone:
            lines += [alone[1] + each for each in pieces[alone[2]].split("\n") if each]
        else:
            lines.append(re.sub(r"\{(\w+)\}", lambda found: pieces[found[1]], line))
    return "\n".join(lines)
