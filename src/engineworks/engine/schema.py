"""What an engine's manifest says, as strict records. docs/reference/engine-format.md explains each field.

A *dim* is an integer or the text of an expression over symbols (`core/expression.py`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

INT64_MAX = 2**63 - 1

Text = Annotated[str, Meta(max_length=65536)]
Name = Annotated[str, Meta(min_length=1, max_length=4096)]
Formula = Annotated[str, Meta(min_length=1, max_length=8192)]
Count = Annotated[int, Meta(ge=0, le=2**48)]
Index = Annotated[int, Meta(ge=0, le=2**31)]
Integer = Annotated[int, Meta(ge=-(2**63), le=INT64_MAX)]
Dim = Count | Formula


class Strict(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of the records: unknown fields are damage, fields at their default are not written."""


class Tensor(Strict):
    """An input or output of the engine: row-major, dense.

    Attributes:
        dtype: a name of `core/dtypes.py`.
        dims: one dim an axis.
    """

    name: Name
    dtype: Name
    dims: tuple[Dim, ...]


class Symbol(Strict):
    """An integer known when inputs are bound, or (data-dependent) when a kernel has written it.

    Symbol i has the int64 slot i of the 'symbols' buffer.

    Attributes:
        min, opt, max: bounds, inclusive; `max` of a data-dependent symbol may be an expression over others.
        input, axis: the input axis that defines it, whose dim is the symbol or a linear expression of it and of
            symbols before it; input = -1: a kernel writes it.
        multiple: its values are multiples of this.
    """

    name: Name
    min: Count
    opt: Count
    max: Dim
    input: Annotated[int, Meta(ge=-1, le=65535)] = -1
    axis: Annotated[int, Meta(ge=0, le=255)] = 0
    multiple: Annotated[int, Meta(ge=1, le=2**31)] = 1

    @property
    def is_data_dependent(self) -> bool:
        return self.input < 0


class Range(Strict):
    """Bounds of one symbol in one profile, inclusive."""

    min: Count
    opt: Count
    max: Count


class Profile(Strict):
    """One set of shapes the engine was tuned and planned for.

    Attributes:
        ranges: by symbol name; symbols left out keep their own bounds.
        arena_bytes: of this profile's memory plan.
        offsets: arena offset of each buffer in `Manifest.buffers` order (ignored for buffers that lie
            elsewhere); empty: each buffer's own `offset`.
    """

    name: Name
    ranges: dict[str, Range] = {}
    arena_bytes: Count = 0
    offsets: tuple[Count, ...] = ()


class Check(Strict):
    """A fact that must hold for the bound symbols; `message` is what the user reads when it does not."""

    left: Dim
    relation: Literal["==", "!=", "<=", "<", ">=", ">"]
    right: Dim
    message: Text


class Value(Strict):
    """Which value of the model a buffer holds, for debugging and layer-by-layer comparison.

    Attributes:
        name: the user's name.
        dims: logical shape.
        order: logical axes, outermost in memory first; empty: row-major.
        row_pad: elements after each innermost row.
    """

    name: Text
    dtype: Name
    dims: tuple[Dim, ...]
    order: tuple[Index, ...] = ()
    row_pad: Index = 0


class Buffer(Strict):
    """Memory that kernels read or write.

    Attributes:
        place: where it lies. 'symbols' and 'plan' are the context's own int64 arrays.
        offset: input or output number; byte offset in the arena or the weights section; 0 otherwise.
        size: bytes.
        value: what it holds, when it holds a value of the model.
    """

    place: Literal["input", "output", "arena", "weights", "symbols", "plan"]
    offset: Count = 0
    size: Dim = 0
    value: Value | None = None


class TensorMap(Strict):
    """How a dense tensor lies, for the GPU's tensor copies.

    Attributes:
        dtype: a name of `core/dtypes.py`.
        sizes, strides: in elements, outermost first; the last stride is 1.
        box: elements that one copy moves.
    """

    dtype: Name
    sizes: tuple[Dim, ...]
    strides: tuple[Dim, ...]
    box: tuple[Index, ...]


class Ref(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, omit_defaults=True):
    """An address: `offset` bytes into buffer number `buffer`. Written as [buffer, offset].

    Attributes:
        map: index into `Manifest.maps`: the argument is not the address itself but the map of a tensor there, which
            stands for the descriptor, the sizes (32 bits each) and the strides (64 bits each); -1: the address.
    """

    buffer: Index
    offset: Dim = 0
    map: Annotated[int, Meta(ge=-1, le=2**31)] = -1


Word = Integer | Formula | Ref
"""One argument of a kernel: an integer or an expression over symbols (64 bits, of which a 32-bit parameter takes the
lower half), or an address."""


class Record(Strict):
    """One step of the program (docs/reference/kernel-abi.md).

    Attributes:
        op: 'jump_if_zero' tests the byte at its one word, a Ref. 'resolve' (GPU): the runtime reads the symbols that
            kernels wrote, and evaluates again what depends on them.
        kernel: index into `Manifest.kernels`.
        words: the argument words.
        tasks: size of the task space.
        chunks: 0: tasks are split evenly over the threads; n: in n chunks that threads draw.
        barrier: threads meet after this record (after the test, for 'jump_if_zero').
        single: one thread alone does all tasks.
        target: record to jump to.
        name: the user's names of what this record computes.
        group: the builder's name of the fused group, the key into the report.
        writes: buffers that hold a finished value after this record.
        grid: blocks in x, y and z (GPU); tasks, chunks, barrier and single are the CPU's.
        overlaps: may be launched before the record in front of it has finished: its kernel waits by itself.
    """

    op: Literal["call", "jump", "jump_if_zero", "resolve", "end"] = "call"
    kernel: Index = 0
    words: tuple[Word, ...] = ()
    tasks: Dim = 1
    chunks: Annotated[int, Meta(ge=0, le=65536)] = 0
    barrier: bool = True
    single: bool = False
    target: Index = 0
    name: Text = ""
    group: Text = ""
    writes: tuple[Index, ...] = ()
    grid: tuple[Dim, ...] = ()
    overlaps: bool = False


class Kernel(Strict):
    """A function of the code image; `tactic` says how it was made, for people.

    What follows holds for a GPU, whose code section is a row of cubins.

    Attributes:
        offset, size: bytes of the kernel's cubin in the code section.
        ptx_offset, ptx_size: of its PTX, for GPUs that the cubin is not for; 0 bytes: there is none.
        entry: the function's name in it.
        threads: of a block. shared_bytes: of a block. cluster: blocks of a cluster.
        swizzles: CUtensorMapSwizzle of each tensor map among the words, in order.
        library: 'cublaslt' or 'cudnn' instead of a cubin. call: JSON text with its parameters.
    """

    symbol: Name
    tactic: Text = ""
    offset: Count = 0
    size: Count = 0
    ptx_offset: Count = 0
    ptx_size: Count = 0
    entry: Text = ""
    threads: Index = 0
    shared_bytes: Count = 0
    cluster: Index = 1
    swizzles: tuple[Index, ...] = ()
    library: Text = ""
    call: Text = ""


class Weight(Strict):
    """Where a weight of the model lies in the weights section, so that it can be replaced by name.

    Attributes:
        packing: how the builder laid it out; '' is row-major.
    """

    name: Name
    dtype: Name
    dims: tuple[Count, ...]
    offset: Count
    size: Count
    packing: Text = ""


Compatible = Literal["", "same_compute_capability", "ampere_plus"]


class TargetRecord(Strict):
    """`core.target.Target` as the file holds it.

    Attributes:
        features: of a CPU, all of which must be present.
        compatible: of a GPU, which others may run the engine: '' only one with the facts below; other levels are those
            of `hardware_compatibility`.
        facts: of the GPU that the engine was tuned on, by name: 'gpu', 'driver', 'cuda', 'processors'; empty when there
            was none.
    """

    device: Name
    arch: Name
    features: tuple[Name, ...] = ()
    compatible: Compatible = ""
    facts: dict[Name, Text] = {}


class Section(Strict):
    """A run of bytes of the file.

    Attributes:
        offset: from the first byte after the manifest that is a multiple of 4096; itself such a multiple.
        size: bytes.
        sha256: of those bytes, in hexadecimal.
    """

    name: Name
    offset: Count
    size: Count
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class Piece(Strict):
    """A run of bytes of the weights section; `offset` is a multiple of 64."""

    offset: Count
    size: Count


class Variant(Strict):
    """One plan of an engine for several targets: an engine of its own, whose sections are those named here.

    Attributes:
        target: the plan's.
        manifest: section with the plan's manifest, JSON. It describes the sections 'code', 'weights' and 'report' as
            they would be in a file of the plan alone.
        code, report: section that is the plan's 'code', 'report'; '': it has none.
        weights: pieces of the section 'weights' that are the plan's, each at the next multiple of 64 after the end of
            the one before.
    """

    target: TargetRecord
    manifest: Name
    code: Text = ""
    report: Text = ""
    weights: tuple[Piece, ...] = ()


class Manifest(Strict):
    """Everything about an engine but its bulk bytes.

    Attributes:
        package: version of the Engineworks that wrote it, for people.
        target: what it was built for; all of `target.features` must be present to run it.
        runner: version of the record runner's ABI inside the code image (`POOL_ABI` of codegen/llvm/pool.py).
        resolves_itself: the first record is the `resolve` kernel, which writes every size that depends on
            symbols into the plan; otherwise the runtime evaluates those words when shapes change.
        scratch_bytes: of each thread, a multiple of 64.
        max_threads: more threads than this only wait for each other in so small a network; 0: any number helps.
        arena_bytes: of the memory plan, unless a profile has its own.
        arena_lower_bound: peak of the bytes alive at once, for the report.
        sections: filled in by the writer.
        variants: plans for several targets in one file, whose own manifest then has no program, kernels or buffers;
            target, inputs, outputs, symbols and profiles are those of the first plan.
    """

    package: Text
    target: TargetRecord
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    name: Text = ""
    runner: Index = 1
    symbols: tuple[Symbol, ...] = ()
    profiles: tuple[Profile, ...] = ()
    checks: tuple[Check, ...] = ()
    buffers: tuple[Buffer, ...] = ()
    kernels: tuple[Kernel, ...] = ()
    maps: tuple[TensorMap, ...] = ()
    program: tuple[Record, ...] = ()
    resolves_itself: bool = False
    scratch_bytes: Count = 0
    max_threads: Index = 0
    arena_bytes: Count = 0
    arena_lower_bound: Count = 0
    weights: tuple[Weight, ...] = ()
    sections: tuple[Section, ...] = ()
    variants: tuple[Variant, ...] = ()


WEIGHTS_ALIGNMENT = 64
"""Of tensors in the weights section, and of the pieces of a variant; bytes."""

RECORD_WORDS = 8
"""int64 words of one record in the plan."""


def words_base(program: tuple[Record, ...]) -> list[int]:
    """The plan index (in int64s) of each record's first argument word; the last entry is the plan's length.

    Records come first, eight words each, then the argument words of record 0, 1, … without gaps. A generated
    `resolve` kernel writes sizes at these indices, so the rule is part of the format.
    """
    base = [RECORD_WORDS * len(program)]
    for record in program:
        base.append(base[-1] + len(record.words))
    return base
