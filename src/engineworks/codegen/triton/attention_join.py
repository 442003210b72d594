"""The kernel that joins what the programs found that shared the keys of a row."""

from __future__ import annotations

from engineworks.codegen.triton.attention_parameters import Parameters
from engineworks.codegen.triton.attention_shape import (
    LOG2_E,
    SPELLINGS,
    AttentionShape,
    AttentionTiles,
    zeros_where_no_keys,
)
from engineworks.codegen.triton.lines import Lines
from engineworks.core.dtypes import f32

_JOIN = """
@triton.jit
def KERNEL({parameters}):
    line = tl.program_id(0) // ({rows})
    row = tl.program_id(0) % ({rows})
    query = row % {queries}
{place}
    split = tl.arange(0, {padded_splits})
    column = tl.arange(0, {padded_width})
    at = (split.to(tl.int64) * {lines} + line) * ({rows}) + row
    gdc_wait()
    gdc_launch_dependents()
    tops = tl.load(tops + at, mask=split < {splits}, other=float('-inf'))
    peak = tl.max(tops, 0)
    weight = {power}
    totals = tl.load(totals + at, mask=split < {splits}, other=0.0)
    total = tl.sum(weight * totals, 0)
    {nothing}
    there = (split < {splits})[:, None] & (column < {width})[None, :]
    sums = tl.load(sums + at[:, None] * {width} + column[None, :], mask=there, other=0.0)
    result = tl.sum(sums * weight[:, None], 0) / total
    tl.store(out + column * {column_step}, result.to({element}), mask=column < {width})
"""


def join_text(shape: AttentionShape, tiles: AttentionTiles) -> tuple[str, Parameters]:
    """The kernel that joins the partial results of one row: a program for each row of each head."""
    assert shape.partials is not None, "only 'split' has partial results"
    p, place = Parameters(), Lines(1)
    for name, word in zip(("sums", "tops", "totals"), shape.partials, strict=True):
        p.pointer(name, f32, word)
    p.pointer("out", shape.dtype, shape.out.word)
    queries = p.size(shape.queries)
    heads = p.size(shape.shared_heads)
    place.line(
        f"head = (line % {heads}).to(tl.int64) * {shape.sharing} + row // {queries}\nrest = line // {heads}"
    )
    terms = [f"head * {p.stride(shape.out.head)}", f"query.to(tl.int64) * {p.stride(shape.out.row)}"]
    for axis in reversed(range(len(shape.batch))):
        size = p.size(shape.batch[axis])
        place.line(f"batch{axis} = (rest % {size}).to(tl.int64)\nrest = rest // {size}")
        terms.append(f"batch{axis} * {p.stride(shape.out.batch[axis])}")
    place.line(f"out = out + {' + '.join(terms)}")
    scale = "" if shape.in_bits else f" * {LOG2_E!r}"
    text = {
        "rows": f"{queries} * {shape.sharing}",
        "queries": queries,
        "lines": p.size(shape.lines),
        "place": str(place).rstrip(),
        "splits": tiles.splits,
        "padded_splits": 1 << (tiles.splits - 1).bit_length(),
        "width": shape.width,
        "padded_width": 1 << (shape.width - 1).bit_length(),
        "power": f"tl.exp2((tops - tl.where(peak == float('-inf'), 0.0, peak)){scale})",
        "nothing": zeros_where_no_keys(shape.keys, p.size(shape.keys)),
        "column_step": p.stride(shape.out.column),
        "element": SPELLINGS[shape.dtype.name],
    }
    return _JOIN.format(parameters=p.names, **text), p
