"""The parameter block of a launch, read back as a kernel would read it."""

from __future__ import annotations

import ctypes

import pytest

from engineworks.runtime.cuda.interface import TensorMapWord
from engineworks.runtime.cuda.parameters import Parameters
from engineworks.runtime.cuda.tensor_maps import box_of

MAP = TensorMapWord(0x7000, "f16", (100, 256), (300, 1), (64, 128))


def encoded(word: TensorMapWord, swizzle: int) -> list[int]:
    return [word.address, swizzle, *range(2, 16)]


def read(parameters: Parameters, kinds: list) -> list:
    pointers = (ctypes.c_void_p * len(kinds)).from_address(parameters.pointer)
    return [kind.from_address(p).value for kind, p in zip(kinds, pointers, strict=True)]


def test_words_are_followed_by_two_null_pointers():
    parameters = Parameters([0x1000, -3, 7], (), encoded)
    kinds = [ctypes.c_uint64, ctypes.c_int64, ctypes.c_int32, ctypes.c_uint64, ctypes.c_uint64]
    assert read(parameters, kinds) == [0x1000, -3, 7, 0, 0]


def test_a_negative_word_is_read_by_narrow_parameters_too():
    assert read(Parameters([-3], (), encoded), [ctypes.c_int32, ctypes.c_uint64, ctypes.c_uint64])[0] == -3


def test_a_map_is_its_descriptor_its_sizes_and_its_strides():
    parameters = Parameters([5, MAP, 6], (3,), encoded)
    kinds = [ctypes.c_int64, ctypes.c_uint64, ctypes.c_int32, ctypes.c_int32, ctypes.c_int64, ctypes.c_int64,
             ctypes.c_int64, ctypes.c_uint64, ctypes.c_uint64]  # fmt: skip
    assert read(parameters, kinds) == [5, 0x7000, 100, 256, 300, 1, 6, 0, 0]
    descriptor = (ctypes.c_void_p * 2).from_address(parameters.pointer)[1]
    assert descriptor % 64 == 0
    assert list((ctypes.c_uint64 * 16).from_address(descriptor)) == [0x7000, 3, *range(2, 16)]


def test_without_descriptors_a_map_is_its_address_and_its_facts_twice():
    parameters = Parameters([MAP], (), encoded)
    wide, narrow = [ctypes.c_int64] * 2, [ctypes.c_int32] * 2
    kinds = [ctypes.c_uint64, *wide, *wide, ctypes.c_bool, *narrow, *wide, ctypes.c_uint64, ctypes.c_uint64]
    assert read(parameters, kinds) == [0x7000, 100, 256, 300, 1, False, 100, 256, 300, 1, 0, 0]


def test_other_words_take_the_place_of_the_first_ones():
    parameters = Parameters([1, MAP], (2,), encoded)
    where = parameters.pointer
    parameters.rebind([9, TensorMapWord(0x8000, "f16", (7, 256), (300, 1), (64, 128))])
    assert parameters.pointer == where
    kinds = [ctypes.c_int64, ctypes.c_uint64, ctypes.c_int32, ctypes.c_int32, ctypes.c_int64, ctypes.c_int64,
             ctypes.c_uint64, ctypes.c_uint64]  # fmt: skip
    assert read(parameters, kinds) == [9, 0x8000, 7, 256, 300, 1, 0, 0]


@pytest.mark.parametrize(
    ("dtype", "block", "swizzle", "box"),
    [
        ("f16", (64, 128), 3, (64, 64)),
        ("f32", (64, 128), 3, (64, 32)),
        ("i8", (64, 128), 3, (64, 128)),
        ("f16", (128, 32), 2, (128, 32)),
        ("f32", (512, 16), 0, (256, 16)),
    ],
)
def test_a_box_is_what_one_copy_moves(dtype, block, swizzle, box):
    """Boxes of Triton 3.6 for sm_90, read from its metadata."""
    word = TensorMapWord(0, dtype, block, (block[1], 1), block)
    assert box_of(word, swizzle) == box
