"""User arrays: what is accepted, and what the errors say."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from engineworks.engine.schema import Tensor
from engineworks.errors import InvalidInput
from engineworks.runtime.bind import Binder

BINDER = Binder([Tensor("image", "f32", ("B", 2)), Tensor("scale", "bf16", ())], [Tensor("y", "f32", (2,))])
SCALE = np.array(1, ml_dtypes.bfloat16)


def image_of(value) -> np.ndarray:
    return BINDER.inputs({"image": value, "scale": SCALE})[0]


def test_a_contiguous_array_is_taken_as_it_is():
    x = np.zeros((3, 2), np.float32)
    assert image_of(x) is x


def test_a_strided_array_is_copied():
    x = np.arange(12, dtype=np.float32).reshape(3, 4)[:, ::2]
    taken = image_of(x)
    assert taken.flags.c_contiguous
    np.testing.assert_array_equal(taken, x)


def test_python_numbers_take_the_dtype():
    assert image_of([[1, 2]]).dtype == np.float32
    assert BINDER.inputs({"image": [[1, 2]], "scale": 2})[1].shape == ()


def test_an_array_protocol_object_is_accepted():
    class Wrapped:
        def __array__(self, dtype=None, copy=None):
            return np.ones((1, 2), np.float32)

    np.testing.assert_array_equal(image_of(Wrapped()), [[1, 1]])


def test_tensors_are_seen_without_a_copy():
    torch = pytest.importorskip("torch")
    tensor = torch.arange(6, dtype=torch.float32).reshape(3, 2)
    assert image_of(tensor).ctypes.data == tensor.data_ptr()


@pytest.mark.parametrize(
    "name", ["bfloat16", "float8_e4m3fn", "float8_e5m2", "bool", "float16", "int64", "uint8"]
)
def test_element_types_that_numpy_lacks_come_through_dlpack(name):
    torch = pytest.importorskip("torch")
    from engineworks.runtime.dlpack import view

    tensor = torch.tensor([[0.0, 1.0], [2.0, 3.0]]).to(getattr(torch, name)).t()
    seen = view(tensor)
    np.testing.assert_array_equal(seen.astype(np.float64), tensor.to(torch.float64).numpy())
    assert seen.ctypes.data == tensor.data_ptr()


def test_a_tensor_lives_as_long_as_its_view():
    torch = pytest.importorskip("torch")
    from engineworks.runtime.dlpack import view

    views = [view(torch.full((1000,), float(i), dtype=torch.bfloat16)) for i in range(50)]
    assert [float(v[999]) for v in views] == list(range(50))


def test_tensors_in_give_tensors_out(control_engine):
    torch = pytest.importorskip("torch")
    y = control_engine("dynamic", False)(x=torch.zeros((2, 10), dtype=torch.int64))["y"]
    assert isinstance(y, torch.Tensor)
    assert (y == 20).all()


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float32", "bool"])
def test_arrays_of_all_types_are_given_to_torch(name):
    torch = pytest.importorskip("torch")
    from engineworks.runtime.dlpack import give, package_of

    dtype = getattr(ml_dtypes, name, None) or name
    array = np.array([0, 1, 2], np.float32).astype(dtype)
    tensor = give(array, package_of(torch.zeros(1)))
    assert str(tensor.dtype) == f"torch.{name}"
    assert tensor.data_ptr() == array.ctypes.data


def test_a_tensor_that_needs_gradients_says_so():
    torch = pytest.importorskip("torch")
    with pytest.raises(InvalidInput, match="detach"):
        image_of(torch.zeros((1, 2), requires_grad=True))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"imag": 0, "scale": 0}, "no input is called 'imag'; did you mean 'image'?"),
        ({"image": np.zeros((1, 2), np.float32)}, "input 'scale' is missing"),
        ({"image": np.zeros((1, 2)), "scale": SCALE}, r"expected f32\[B, 2\], got f64\[1, 2\]"),
        ({"image": np.zeros((1, 2), ">f4"), "scale": SCALE}, "expected f32"),
        ({"image": [["a"]], "scale": SCALE}, "these Python values"),
        ({"image": object(), "scale": SCALE}, "image"),
        ({"image": np.zeros((1, 2), np.float32), "scale": SCALE, "y": 0}, "'y' is an output"),
        ({"image": np.zeros((1, 2), np.float32), "scale": SCALE, "z": 0}, "no input is called 'z'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_in_the_users_names(given, message):
    with pytest.raises(InvalidInput, match=message):
        BINDER.inputs(given)


def test_outputs_must_be_writable_contiguous_and_of_the_dtype():
    y = np.zeros(2, np.float32)
    assert BINDER.output("y", y)[1] is y
    y.flags.writeable = False
    with pytest.raises(InvalidInput, match="read-only"):
        BINDER.output("y", y)
    with pytest.raises(InvalidInput, match="not contiguous"):
        BINDER.output("y", np.zeros(4, np.float32)[::2])
    with pytest.raises(InvalidInput, match="expected f32"):
        BINDER.output("y", np.zeros(2))


def test_large_outputs_start_at_a_cache_line():
    from engineworks.runtime.plan import aligned_empty

    array = aligned_empty((3, 10001), np.dtype(ml_dtypes.bfloat16))
    assert (array.shape, array.dtype, array.flags.c_contiguous) == ((3, 10001), ml_dtypes.bfloat16, True)
    assert aligned_empty((100, 1000), np.dtype("f4")).ctypes.data % 64 == 0


def test_a_wrong_shape_names_the_axis_and_where_its_size_came_from(control_engine):
    engine = control_engine("dynamic", False)
    with pytest.raises(InvalidInput, match=r"expected i64\[B, 10\], got \[2, 11\]: axis 1 must be 10"):
        engine(x=np.zeros((2, 11), np.int64))
    with pytest.raises(InvalidInput, match="got 1 axes"):
        engine(x=np.zeros(10, np.int64))
    context = engine.context()
    context.bind(x=np.zeros((2, 10), np.int64), y=np.zeros((3, 10), np.int64))
    with pytest.raises(InvalidInput, match=r"output 'y': expected i64\[2, 10\], got i64\[3, 10\]"):
        context.execute()
