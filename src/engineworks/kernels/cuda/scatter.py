"""scatter_elements and scatter_nd: several ways to let updates of one place meet in a fixed order.

Both are seen as `places` (elements, or slices of `inner` elements) that `updates` name. Indices that name no place are
left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engineworks.codegen.triton.gpu import Gpu
from engineworks.core import dtypes
from engineworks.core.dims import Dim, bounds, ceil_div, product
from engineworks.core.dtypes import DType
from engineworks.errors import NoTactic
from engineworks.kernels.cost import typical
from engineworks.kernels.cuda import scatter_text as text
from engineworks.kernels.cuda.native import LAUNCH_S, TYPICAL, NativeKernels, Way, bytes_of, image
from engineworks.kernels.cuda.sorting import LineSet, sorted_lines
from engineworks.kernels.cuda.words import Launch, Part, conversions, index_cast, unsigned
from engineworks.kernels.tactic import Input, KernelImage, Output, Tactic, Workspace
from engineworks.kernels.workload import Workload, input_type
from engineworks.ops.scatter_elements import ScatterElements
from engineworks.ops.scatter_nd import ScatterND

BLOCK = 512
_ATOMIC = ("i32", "u32", "i64", "u64")
_NOWHERE = 0xFFFF_FFFF
"""The place -1 as a u32: of indices that name none."""


@dataclass(frozen=True, slots=True)
class EachPlace:
    """Every element looks at all updates that could name it, in order: one launch, for few updates."""


@dataclass(frozen=True, slots=True)
class LastWins:
    """The number of the last update of each place is found by atomic maxima, which come out the same in any order."""


@dataclass(frozen=True, slots=True)
class Atomic:
    """Integers are combined by atomics: their sums and extremes come out the same in any order."""


@dataclass(frozen=True, slots=True)
class BySorting:
    """Updates are sorted by place; the first one of each combines those that follow it, in order."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One scatter.

    Attributes:
        axis: of scatter_elements; None for scatter_nd.
        dtype: of elements as kernels see them: unsigned integers where they are only moved.
        indices: shape of the indices; `length` of an index vector.
    """

    x: tuple[Dim, ...]
    axis: int | None
    how: str
    dtype: DType
    indices: tuple[Dim, ...]
    index_dtype: DType

    @property
    def length(self) -> int:
        return len(self.x) if self.axis is not None else int(self.indices[-1])  # type: ignore[arg-type]

    @property
    def inner(self) -> Dim:
        return 1 if self.axis is not None else product(self.x[self.length :])

    @property
    def places(self) -> Dim:
        return product(self.x[: self.length])

    @property
    def updates(self) -> Dim:
        return product(self.indices if self.axis is not None else self.indices[:-1])

    @property
    def looked_at(self) -> Dim:
        """Updates that could name one element."""
        return self.indices[self.axis] if self.axis is not None else self.updates


class _CudaScatter(NativeKernels):
    """What both ops share."""

    def refuse(self, work: Workload) -> None:
        how, dtype = problem_of(work).how, work.outputs[0].dtype
        if how != "none" and dtype.kind not in ("float", "int", "uint"):
            raise NoTactic(f"values of {dtype} cannot be combined by '{how}'")

    def ways(self, work: Workload, gpu: Gpu) -> Sequence[Way]:
        p = problem_of(work)
        x, updates = (bytes_of(input_type(work, n)) for n in (0, 2))
        elements, looked_at = typical(product(p.x), TYPICAL), typical(p.looked_at, TYPICAL)
        stream_s = (2 * x + updates) / gpu.bytes_per_s
        looking_s = max(elements * looked_at / 1.5e12, looked_at * 0.3e-6)
        found: list[Way] = [(EachPlace(), LAUNCH_S + stream_s + looking_s)]
        return found if _too_many(p) else [*found, *_others(p, gpu, stream_s)]

    def build(self, work: Workload, tactic: Tactic, isa: Gpu) -> KernelImage:
        p = problem_of(work)
        match tactic.config:
            case EachPlace():
                return image([_each(p)])
            case LastWins():
                return image(_last_wins(p), workspace=[p.places * 4])
            case Atomic():
                return image([_copy(p), _atomics(p)])
        return _sorted(p)


class CudaScatterElements(_CudaScatter):
    """scatter_elements along any axis."""

    name = "cuda.scatter_elements"
    op = "scatter_elements"


class CudaScatterND(_CudaScatter):
    """scatter_nd with index vectors of any length."""

    name = "cuda.scatter_nd"
    op = "scatter_nd"


def problem_of(work: Workload) -> Problem:
    """The problem of a workload of either op."""
    op, x, indices = work.anchor, input_type(work, 0), input_type(work, 1)
    assert isinstance(op, (ScatterElements, ScatterND))
    dtype = unsigned(x.dtype) if op.combine == "none" else x.dtype
    axis = op.axis % x.rank if isinstance(op, ScatterElements) else None
    return Problem(x.shape, axis, op.combine, dtype, indices.shape, indices.dtype)


def _too_many(p: Problem) -> bool:
    """Numbers of updates or places are known not to fit 31 bits."""
    return any((bounds(d)[0] or 0) >= 1 << 31 for d in (p.places, p.updates))


def _others(p: Problem, gpu: Gpu, stream_s: float) -> list[Way]:
    updates = typical(p.updates, TYPICAL)
    if p.how == "none":
        winners = typical(p.places, TYPICAL) * 12 / gpu.bytes_per_s
        return [(LastWins(), 3 * LAUNCH_S + stream_s + winners + updates * 8e-12)]
    found: list[Way] = []
    if p.dtype.name in _ATOMIC and p.how != "mul":
        found.append((Atomic(), 2 * LAUNCH_S + stream_s + updates * 8e-12))
    passes = 3 + max(0, (updates // 2048).bit_length())
    return [
        *found,
        (BySorting(), passes * (LAUNCH_S + updates * 48 / gpu.bytes_per_s) + 1.5 * stream_s + 1e-5),
    ]


# -- kernels --------------------------------------------------------------------------------------------------
def _launch(p: Problem, *, moves: bool = False) -> Launch:
    """A launch with what all texts need. `moves`: elements are not looked into."""
    total = product(p.x)
    dtype = unsigned(p.dtype) if moves else p.dtype
    nan = ", propagate_nan=tl.PropagateNan.ALL" if p.dtype.is_float else ""
    launch = Launch().sizes(
        total=total, places=p.places, inner=p.inner, count=p.updates, looked_at=p.looked_at
    )
    return launch.fill(
        conversions=conversions(dtype), index=index_cast(total, p.updates * p.inner),
        block=_moved(p) if moves else BLOCK, combined=text.COMBINED[p.how].format(nan=nan),
    )  # fmt: skip


def _moved(p: Problem) -> int:
    """Elements that a block of 128 threads moves, 16 bytes each."""
    return 128 * 16 // p.dtype.size_bytes


def _each(p: Problem) -> Part:
    launch = _launch(p).numbers("x", Input(0), p.dtype).numbers("indices", Input(1), p.index_dtype)
    launch.numbers("updates", Input(2), p.dtype).numbers("y", Output(0), p.dtype)
    grid = (ceil_div(product(p.x), BLOCK),)
    if p.axis is None:
        launch.fill(target=_indented(_target(p, launch, "number"), 4))
        return launch.step("scatter_each", text.EACH_SLICE, grid)
    launch.sizes(extent=p.x[p.axis], apart=product(p.indices[p.axis + 1 :])).fill(line=_line(p, launch))
    return launch.step("scatter_each", text.EACH_ELEMENT, grid)


def _line(p: Problem, launch: Launch) -> str:
    """Statements for `coordinate` along the axis, and where the indices of the element's line lie: `source`."""
    out = ["    rest = element", "    source = element * 0", "    reached = inside"]
    step: Dim = 1
    for a in reversed(range(len(p.x))):
        launch.sizes(size=p.x[a], reach=p.indices[a], step=step)
        name = "coordinate" if a == p.axis else "other"
        out.append(launch.filled("    {name} = rest % {size}" if a else "    {name} = rest", name=name))
        if a != p.axis:
            out.append(launch.filled("    source += other * {step}"))
            out.append(launch.filled("    reached = reached & (other < {reach})"))
        if a:
            out.append(launch.filled("    rest = rest // {size}"))
        step = step * p.indices[a]
    return "\n".join(out)


def _target(p: Problem, launch: Launch, number: str, mask: str = "") -> str:
    """Statements for `target`, the place that an update names, or -1."""
    return _target_of_element(p, launch) if p.axis is not None else _target_of_vector(p, launch, number, mask)


def _target_of_vector(p: Problem, launch: Launch, number: str, mask: str) -> str:
    out = [launch.filled("    target = tl.program_id(0).to({index}) * 0"), "    known = target == 0"]
    masked = f", mask={mask}, other=0" if mask else ""
    for a in range(p.length):
        launch.sizes(size=p.x[a]).fill(a=a, length=p.length, number=number, masked=masked)
        out += launch.filled(
            "    part = tl.load(indices + {number} * {length} + {a}{masked}).to({index})\n"
            "    part = tl.where(part < 0, part + {size}, part)\n"
            "    known = known & (part >= 0) & (part < {size})\n"
            "    target = target * {size} + part"
        ).split("\n")
    out.append("    target = tl.where(known, target, -1)")
    return "\n".join(out)


def _target_of_element(p: Problem, launch: Launch) -> str:
    assert p.axis is not None
    launch.sizes(extent=p.x[p.axis])
    out = launch.filled(
        "    place = tl.load(indices + number, mask=given, other=0).to({index})\n"
        "    place = tl.where(place < 0, place + {extent}, place)\n"
        "    known = (place >= 0) & (place < {extent})\n"
        "    rest = number\n"
        "    target = number * 0"
    ).split("\n")
    step: Dim = 1
    for a in reversed(range(len(p.x))):
        launch.sizes(reach=p.indices[a], step=step)
        along = "place" if a == p.axis else "rest % {reach}" if a else "rest"
        out.append(launch.filled("    target += (" + along + ") * {step}"))
        if a:
            out.append(launch.filled("    rest = rest // {reach}"))
        step = step * p.x[a]
    return "\n".join([*out, "    target = tl.where(known, target, -1)"])


def _indented(text: str, spaces: int) -> str:
    return "\n".join(" " * spaces + line for line in text.split("\n"))


def _last_wins(p: Problem) -> list[Part]:
    clear = _launch(p).elements("winners", Workspace(0), dtypes.i32)
    find = (
        _launch(p).elements("winners", Workspace(0), dtypes.i32).numbers("indices", Input(1), p.index_dtype)
    )
    find.fill(target=_target(p, find, "number", "given"))
    take = _launch(p, moves=True).elements("winners", Workspace(0), dtypes.i32)
    for name, word in (("x", Input(0)), ("updates", Input(2)), ("y", Output(0))):
        take.bits(name, word, p.dtype)
    return [
        clear.step("scatter_clear", text.CLEAR, (ceil_div(p.places, BLOCK),)),
        find.step("scatter_winners", text.WINNERS, (ceil_div(p.updates, BLOCK),)),
        take.step("scatter_take", text.TAKE, (ceil_div(product(p.x), _moved(p)),)),
    ]


def _copy(p: Problem) -> Part:
    launch = _launch(p, moves=True).bits("x", Input(0), p.dtype).bits("y", Output(0), p.dtype)
    return launch.step("scatter_copy", text.COPY, (ceil_div(product(p.x), _moved(p)),))


def _atomics(p: Problem) -> Part:
    launch = _launch(p).numbers("indices", Input(1), p.index_dtype)
    launch.numbers("updates", Input(2), p.dtype).numbers("y", Output(0), p.dtype)
    launch.fill(target=_target(p, launch, "number", "given"), how=p.how)
    return launch.step("scatter_atomics", text.ATOMICS, (ceil_div(p.updates * p.inner, BLOCK),))


def _sorted(p: Problem) -> KernelImage:
    """Workspace 0 has the places of updates, 1 and 2 the sorted items."""
    places = _launch(p).elements("keys", Workspace(0), dtypes.u32).numbers("indices", Input(1), p.index_dtype)
    places.fill(target=_target(p, places, "number", "given"))
    order = sorted_lines(Workspace(0), dtypes.u32, LineSet(1, p.updates, 1), buffer=1)
    combine = _launch(p).elements("items", order.items, order.dtype).numbers("x", Input(0), p.dtype)
    combine.numbers("updates", Input(2), p.dtype).numbers("y", Output(0), p.dtype)
    width = 1 if p.axis is not None else min(64, 1 << (typical(p.inner, 64) - 1).bit_length())
    block = 256 // width
    columns = ceil_div(p.inner, width)
    combine.sizes(columns=columns).fill(nowhere=_NOWHERE, last=(1 << 64) - 1, width=width, block=block)
    parts = [
        places.step("scatter_places", text.PLACES, (ceil_div(p.updates, BLOCK),)),
        *order.parts,
        _copy(p),
        combine.step("scatter_combine", text.COMBINE, (ceil_div(p.updates, block) * columns,)),
    ]
    return image(parts, workspace=[p.updates * 4, *order.workspace])


PROVIDERS = (CudaScatterElements(), CudaScatterND())
