"""Winograd over a padded copy of x: for sizes known only at run time, and for inputs that are not channels-last."""

from __future__ import annotations

from dataclasses import replace

from engineworks.codegen.llvm.function import Function, Size
from engineworks.core.dims import ceil_div
from engineworks.kernels.cpu.conv import Geometry, dense_strides
from engineworks.kernels.cpu.conv_stage import stage_input
from engineworks.kernels.cpu.image_parts import ImageParts
from engineworks.kernels.cpu.winograd_stages import Border, Stages, Strides
from engineworks.kernels.cpu.words import Words
from engineworks.kernels.tactic import Input, Output
from engineworks.kernels.workload import Workload, input_type


class CopiedWinograd:
    """One image while it is built: copy x, then blocks of tiles through all stages."""

    def __init__(self, parts: ImageParts, work: Workload, g: Geometry, stages: Stages, block: int) -> None:
        self.parts, self.work, self.g, self.stages, self.block = parts, work, g, stages, block
        m = stages.m
        self.down, self.across = ceil_div(g.out[1], m), ceil_div(g.out[2], m)
        size = (1, self.down * m + 2, self.across * m + 2)
        self.target = replace(g, size=size, x_strides=dense_strides(size, g.channels))
        self.filters = stages.filters(parts)

    def fused(self) -> None:
        """Tile t of an image is tile (t / across, t % across); the last block may do some tiles in vain."""
        stages, block = self.stages, self.block
        copy = stage_input(self.parts, input_type(self.work, 0), self.g, self.target, stages.isa)
        f = Function("winograd_copied")
        arguments = Words(f)
        x, w, y = arguments.pointer(copy), arguments.pointer(self.filters), arguments.pointer(Output(0))
        operands = {index: arguments.pointer(Input(index)) for index, _, _ in stages.end.operands}
        x_strides, y_strides = arguments.sizes(self.target.x_strides), arguments.sizes(self.g.y_strides)
        strides = Strides(x_strides[2], x_strides[3], y_strides[2], y_strides[3])
        across, tiles = arguments.size(self.across), arguments.size(self.down * self.across)
        blocks = arguments.size(ceil_div(self.down * self.across, block))
        out = arguments.size(self.g.out[1]), arguments.size(self.g.out[2])
        products, m = f.at("%scratch", block * stages.in_bytes), stages.m
        with f.loop("%lo", "%hi") as task:
            image, first = f.udiv(task, blocks), f.mul(f.urem(task, blocks), block)
            end = f.smin(f.add(first, block), tiles)
            source = f.at(x, f.mul(image, x_strides[0]), "float")
            with f.loop(first, end) as tile:
                ty, tx = f.mul(f.udiv(tile, across), m), f.mul(f.urem(tile, across), m)
                at = f.add(f.mul(ty, strides.x_row), f.mul(tx, strides.x_pixel))
                target = f.at("%scratch", f.mul(f.sub(tile, first), stages.in_bytes))
                stages.transform_input(
                    f, Border(0, m + 2, 0, m + 2, m, m), strides, f.at(source, at, "float"), target
                )
            with f.loop(0, stages.points) as point:
                stages.multiply(f, "%scratch", w, products, point, (0, stages.panels), block)
            with f.loop(first, end) as tile:
                ty, tx = f.mul(f.udiv(tile, across), m), f.mul(f.urem(tile, across), m)
                element = f.add(
                    f.mul(image, y_strides[0]), f.add(f.mul(ty, strides.y_row), f.mul(tx, strides.y_pixel))
                )
                here = f.at(products, f.mul(f.sub(tile, first), stages.out_bytes))
                self._output(f, strides, here, y, operands, element, (f.sub(out[0], ty), f.sub(out[1], tx)))
        self.parts.scratch_bytes = block * (stages.in_bytes + stages.out_bytes)
        self.parts.step(
            "winograd_copied", f, arguments, self.g.batch * ceil_div(self.down * self.across, block)
        )

    def _output(
        self,
        f: Function,
        strides: Strides,
        source: str,
        y: str,
        operands: dict[int, str],
        element: Size,
        left: tuple[Size, Size],
    ) -> None:
        """A tile of which left[0] x left[1] outputs exist."""
        m = self.stages.m
        kind = Border(0, m + 2, 0, m + 2, m, m)
        whole = f.value(f"and i1 {f.compare('sge', left[0], m)}, {f.compare('sge', left[1], m)}")

        def guard(dy: int, dx: int) -> str:
            return f.value(f"and i1 {f.compare('sgt', left[0], dy)}, {f.compare('sgt', left[1], dx)}")

        f.branch(
            whole,
            lambda: self.stages.transform_output(f, kind, strides, source, y, operands, element),
            lambda: self.stages.transform_output(f, kind, strides, source, y, operands, element, guard),
        )
