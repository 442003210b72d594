"""Filters packed into panels for register tiles, at build or by a step of the image."""

from __future__ import annotations

import numpy as np

from engineworks.codegen.llvm.function import Function
from engineworks.errors import NoTactic
from engineworks.kernels.cpu.conv import Geometry
from engineworks.kernels.cpu.image_parts import ImageParts
from engineworks.kernels.cpu.words import Words
from engineworks.kernels.tactic import Input, Word
from engineworks.kernels.workload import Workload


def pack_filters(w: np.ndarray, groups: int, width: int) -> np.ndarray:
    """[O, C/groups, kernel…] to [groups, panels, kernel… x C/groups, width], zeros beyond the last output."""
    outputs, channels = w.shape[0] // groups, w.shape[1]
    panels = -(-outputs // width)
    rows = np.moveaxis(w.reshape(groups, outputs, channels, -1), 1, -1).swapaxes(1, 2)  # g, tap, c, o
    out = np.zeros((groups, panels * width, rows.shape[1] * channels), np.float32)
    out[:, :outputs] = rows.reshape(groups, -1, outputs).swapaxes(1, 2)
    return np.ascontiguousarray(out.reshape(groups, panels, width, -1).swapaxes(2, 3))


def filters_word(parts: ImageParts, work: Workload, g: Geometry, width: int) -> Word:
    """Where the packed filters are: packed at build when they are constant, else by a step of the image."""
    operand = work.inputs[1]
    assert operand is not None, "conv has no filters"
    if operand.constant:
        return parts.pack(lambda values: pack_filters(np.asarray(values[1]), g.groups, width))
    if not (operand.type.layout is None or operand.type.layout.is_row_major):
        raise NoTactic(f"filters that are computed at run time must be row-major; got {operand.type}")
    panels = -(-g.group_outputs // width)
    target = parts.buffer(g.groups * panels * g.depth * width * 4)
    _pack_step(parts, g, width, panels, target)
    return target


def _pack_step(parts: ImageParts, g: Geometry, width: int, panels: int, target: Word) -> None:
    """One task is one (group, panel): gather [tap, channel, output] from row-major filters."""
    f = Function("pack_filters")
    arguments = Words(f)
    source, panel_base = arguments.pointer(Input(1)), arguments.pointer(target)
    window = g.kernel[0] * g.kernel[1] * g.kernel[2]
    with f.loop("%lo", "%hi") as panel:
        group, within = f.udiv(panel, panels), f.urem(panel, panels)
        with f.loop(0, width) as lane:
            output = f.add(f.mul(within, width), lane)
            here = f.at(panel_base, f.add(f.mul(f.mul(panel, g.depth), width), lane), "float")
            first = f.at(source, f.mul(f.add(f.mul(group, g.group_outputs), output), g.depth), "float")

            def copy(here: str = here, first: str = first) -> None:
                with f.loop(0, window) as tap, f.loop(0, g.group_channels) as channel:
                    value = f.value(
                        f"load float, ptr {f.at(first, f.add(f.mul(channel, window), tap), 'float')}"
                    )
                    row = f.add(f.mul(tap, g.group_channels), channel)
                    f.line(f"store float {value}, ptr {f.at(here, f.mul(row, width), 'float')}")

            def clear(here: str = here) -> None:
                with f.loop(0, g.depth) as row:
                    f.line(f"store float 0.0, ptr {f.at(here, f.mul(row, width), 'float')}")

            f.branch(f.compare("slt", output, g.group_outputs), copy, clear)
    parts.step("conv_pack", f, arguments, g.groups * panels)
