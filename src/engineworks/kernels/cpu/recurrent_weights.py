"""Weights of recurrent layers in panels whose columns hold all gates of one block of units side by side.

[direction][block of `lanes` units][k rounded up to lanes][gate][lane]: one tile then has every gate of its units in
registers, and the cell needs no exchange. In narrow panels the elements of a k group lie together. Constant weights are
packed at build, others (in f32) by a kernel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from engineworks.codegen.llvm.function import Isa
from engineworks.codegen.llvm.loads import iota_below, load_vector, store_vector
from engineworks.core import dtypes
from engineworks.core.types import TensorType
from engineworks.kernels.cpu.image_parts import ImageParts
from engineworks.kernels.cpu.matmul_grid import Elements
from engineworks.kernels.cpu.pack import Panel, pack_panel
from engineworks.kernels.cpu.words import Words, kernel_function
from engineworks.kernels.tactic import Input, PackedConstant, Word

F32 = Elements()


@dataclass(frozen=True, slots=True)
class Gates:
    """`count` gates from `first` on, of `total` gates of `hidden` units, for `lanes` units a block.

    `depth_step`: k elements that panels are rounded up to.
    """

    first: int
    count: int
    total: int
    hidden: int
    lanes: int
    depth_step: int

    @property
    def blocks(self) -> int:
        return -(-self.hidden // self.lanes)

    @property
    def width(self) -> int:
        """Elements of one panel's k row."""
        return self.count * self.lanes

    def panel(self, depth: int) -> int:
        """Elements of one panel."""
        return self.rounded(depth) * self.width

    def rounded(self, depth: int) -> int:
        """k elements of a panel."""
        return -(-depth // self.depth_step) * self.depth_step


# -- at build -------------------------------------------------------------------------------------------------
def gate_panels(weights: np.ndarray, gates: Gates, elements: Elements = F32) -> np.ndarray:
    """[D, total * hidden, K] -> [D, blocks, K rounded up / group, count, lanes, group] in the dtype of the elements'
    right side; units and k beyond the matrix are zero.
    """
    directions, _, depth = weights.shape
    chosen = weights.reshape(directions, gates.total, gates.hidden, depth)[
        :, gates.first : gates.first + gates.count
    ]
    rounded = gates.rounded(depth)
    padded = np.zeros((directions, gates.count, gates.blocks * gates.lanes, rounded), elements.right.numpy)
    padded[:, :, : gates.hidden, :depth] = chosen
    groups = (rounded // elements.group, elements.group)
    apart = padded.reshape(directions, gates.count, gates.blocks, gates.lanes, *groups)
    return np.ascontiguousarray(apart.transpose(0, 2, 4, 1, 3, 5))


def _pack_weights(
    arrays: Mapping[int, np.ndarray], *, index: int, gates: Gates, elements: Elements
) -> np.ndarray:
    return gate_panels(np.asarray(arrays[index]), gates, elements)


def input_panels(weights: np.ndarray, gates: Gates, elements: Elements, width: int) -> np.ndarray:
    """[D, total * hidden, K] -> [columns / width, K rounded up / group, width, group]: the columns of all `gate_panels`
    side by side, cut into panels of another width; zeros behind the last.
    """
    apart = gate_panels(weights, gates, elements)
    groups = apart.shape[2]
    columns = apart.transpose(2, 0, 1, 3, 4, 5).reshape(groups, -1, elements.group)
    padded = np.zeros((groups, -(-columns.shape[1] // width) * width, elements.group), columns.dtype)
    padded[:, : columns.shape[1]] = columns
    return np.ascontiguousarray(padded.reshape(groups, -1, width, elements.group).swapaxes(0, 1))


def gate_bias(bias: np.ndarray, gates: Gates, halves: Sequence[tuple[bool, bool]]) -> np.ndarray:
    """[D, 2 * total * hidden] -> [D, blocks, count, lanes]: for each gate the halves (input, recurrent) it takes."""
    both = np.asarray(bias, np.float32).reshape(bias.shape[0], 2, gates.total, gates.hidden)
    out = np.zeros((bias.shape[0], gates.count, gates.blocks * gates.lanes), np.float32)
    for k, (own, recurrent) in enumerate(halves):
        gate = gates.first + k
        out[:, k, : gates.hidden] = own * both[:, 0, gate] + recurrent * both[:, 1, gate]
    return np.ascontiguousarray(
        out.reshape(bias.shape[0], gates.count, gates.blocks, gates.lanes).swapaxes(1, 2)
    )


def _pack_bias(
    arrays: Mapping[int, np.ndarray], *, index: int, gates: Gates, halves: Sequence[tuple[bool, bool]]
) -> np.ndarray:
    return gate_bias(np.asarray(arrays[index]), gates, halves)


def input_panels_word(parts: ImageParts, index: int, gates: Gates, elements: Elements, width: int) -> Word:
    """`input_panels` of the constant workload input `index`."""
    pack = partial(_pack_input, index=index, gates=gates, elements=elements, width=width)
    return parts.constant(PackedConstant(pack))


def _pack_input(
    arrays: Mapping[int, np.ndarray], *, index: int, gates: Gates, elements: Elements, width: int
) -> np.ndarray:
    return input_panels(np.asarray(arrays[index]), gates, elements, width)


# -- where they are -------------------------------------------------------------------------------------------
def weights_word(
    parts: ImageParts,
    index: int,
    type_: TensorType,
    constant: bool,
    gates: Gates,
    isa: Isa,
    elements: Elements,
) -> Word:
    """The panels of workload input `index`, [D, total * hidden, K]; those that are not constant are f32."""
    if constant:
        return parts.constant(
            PackedConstant(partial(_pack_weights, index=index, gates=gates, elements=elements))
        )
    directions, _, depth = (int(d) for d in type_.shape)  # type: ignore[arg-type]
    target = parts.buffer(directions * gates.blocks * gates.panel(depth) * 4)
    direction_step, unit_step, k_step = type_.strides()
    f = kernel_function()
    words = Words(f)
    source, out = words.pointer(Input(index)), words.pointer(target)
    steps = [words.size(s * 4) for s in (direction_step, unit_step, k_step)]
    with f.loop("%lo", "%hi") as task:
        gate, rest = f.urem(task, gates.count), f.udiv(task, gates.count)
        block, direction = f.urem(rest, gates.blocks), f.udiv(rest, gates.blocks)
        unit = f.mul(block, gates.lanes)
        row = f.add(f.mul(f.add(gate, gates.first), gates.hidden), unit)
        from_ = f.at(source, f.add(f.mul(direction, steps[0]), f.mul(row, steps[1])))
        to = f.at(out, f.add(f.mul(rest, gates.panel(depth) * 4), f.mul(gate, gates.lanes * 4)))
        left = f.sub(gates.hidden, unit)
        panel = Panel(from_, to, gates.lanes, depth, left, steps[2], steps[1], gates.width * 4)
        pack_panel(f, isa, panel)
    parts.step("pack_gates", f, words, directions * gates.blocks * gates.count)
    return target


def bias_word(
    parts: ImageParts,
    index: int,
    type_: TensorType,
    constant: bool,
    gates: Gates,
    halves: tuple[tuple[bool, bool], ...],
) -> Word:
    """The bias of workload input `index`, [D, 2 * total * hidden], as `gate_bias` arranges it."""
    if constant:
        return parts.constant(PackedConstant(partial(_pack_bias, index=index, gates=gates, halves=halves)))
    directions, length = (int(d) for d in type_.shape)  # type: ignore[arg-type]
    target = parts.buffer(directions * gates.blocks * gates.width * 4)
    f = kernel_function()
    words = Words(f)
    source, out = words.pointer(Input(index)), words.pointer(target)
    lanes = gates.lanes
    with f.loop("%lo", "%hi") as task:
        block, direction = f.urem(task, gates.blocks), f.udiv(task, gates.blocks)
        unit = f.mul(block, lanes)
        mask = iota_below(f, lanes, f.sub(gates.hidden, unit))
        for k, takes in enumerate(halves):
            total = "zeroinitializer"
            for half in (h for h in (0, 1) if takes[h]):
                first = (half * gates.total + gates.first + k) * gates.hidden
                at = f.at(source, f.mul(f.add(f.add(f.mul(direction, length), unit), first), 4))
                total = f.value(
                    f"fadd <{lanes} x float> {load_vector(f, lanes, dtypes.f32, at, mask)}, {total}"
                )
            store_vector(
                f, lanes, dtypes.f32, f.at(out, f.mul(f.add(f.mul(task, gates.width), k * lanes), 4)), total
            )
    parts.step("pack_bias", f, words, directions * gates.blocks)
    return target
