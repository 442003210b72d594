"""Contradictions in the manifest of a GPU's engine are found before anything is launched."""

from __future__ import annotations

import pytest

from engineworks.engine.schema import (
    Buffer,
    Kernel,
    Manifest,
    Record,
    Ref,
    Section,
    Symbol,
    TargetRecord,
    Tensor,
    TensorMap,
)
from engineworks.engine.validate import problems

KERNEL = Kernel("k", offset=0, size=64, entry="k", threads=128)
CALL = Record(words=(Ref(0), Ref(1)), grid=(4, "N"))


def manifest(kernel: Kernel = KERNEL, call: Record = CALL, maps: tuple[TensorMap, ...] = ()) -> Manifest:
    return Manifest(
        package="test",
        target=TargetRecord("cuda", "sm_90"),
        inputs=(Tensor("x", "f32", ("N",)),),
        outputs=(Tensor("y", "f32", ("N",)),),
        symbols=(Symbol("N", 1, 2, 9, input=0),),
        buffers=(Buffer("input"), Buffer("output"), Buffer("plan")),
        kernels=(kernel,),
        maps=maps,
        program=(call, Record(op="end")),
        sections=(Section("code", 0, 64, "0" * 64),),
    )


def test_a_good_manifest_has_no_problem():
    assert problems(manifest()) == []


@pytest.mark.parametrize(
    ("kernel", "said"),
    [
        (Kernel("k", size=65, entry="k", threads=32), "its code ends at byte 65 of 64"),
        (
            Kernel("k", size=64, ptx_offset=60, ptx_size=8, entry="k", threads=32),
            "its PTX ends at byte 68 of 64",
        ),
        (Kernel("k", size=64, threads=32), "neither a function nor a library's call"),
        (Kernel("k", size=64, entry="k"), "blocks of 0 threads"),
        (Kernel("k", size=64, entry="k", threads=2048), "blocks of 2048 threads"),
        (Kernel("k", size=64, entry="k", threads=32, cluster=0), "clusters of 0 blocks"),
        (Kernel("k", size=64, entry="k", threads=32, swizzles=(9,)), "swizzles"),
    ],
)
def test_a_kernel_that_cannot_be_launched_is_found(kernel, said):
    assert any(said in p for p in problems(manifest(kernel)))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (Record(grid=(1, 1, 1, 1)), "a grid of 4 axes"),
        (Record(grid=(1, 65536)), "a grid of [1, 65536] blocks"),
        (Record(grid=("M",)), "'M', which is no symbol"),
        (Record(words=(Ref(2),)), "no plan to write to"),
        (Record(words=(Ref(0, 0, 1),)), "there is no map 1"),
    ],
)
def test_a_record_that_cannot_be_launched_is_found(call, said):
    maps = (TensorMap("f32", (4, 4), (4, 1), (4, 4)),)
    assert said in problems(manifest(call=call, maps=maps))[0]


@pytest.mark.parametrize(
    ("each", "said"),
    [
        (TensorMap("f32", (4, 4), (1,), (4, 4)), "sizes, strides and box of [1, 2] axes"),
        (TensorMap("f33", (4, 4), (4, 1), (4, 4)), "f33"),
        (TensorMap("f32", ("M", 4), (4, 1), (4, 4)), "'M', which is no symbol"),
    ],
)
def test_a_tensor_map_that_cannot_be_made_is_found(each, said):
    assert said in problems(manifest(maps=(each,)))[0]


def test_as_many_maps_as_a_kernel_takes_are_asked_for():
    kernel = Kernel("k", size=64, entry="k", threads=32, swizzles=(3, 3))
    call = Record(words=(Ref(0, 0, 0),))
    (said,) = problems(manifest(kernel, call, (TensorMap("f32", (4, 4), (4, 1), (4, 4)),)))
    assert said == "record 0: 1 maps for a kernel that takes 2"


def test_only_gpus_resolve_sizes_in_the_midst_of_a_program():
    program = (Record(op="resolve"), Record(op="end"))
    on_cpu = Manifest(
        package="test", target=TargetRecord("cpu", "x86-64-v3"), inputs=(), outputs=(), program=program
    )
    assert problems(on_cpu) == ["record 0: only a GPU's program has 'resolve' records"]
