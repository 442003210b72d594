"""Intermediate values, record by record."""

from __future__ import annotations

import msgspec
import numpy as np

from engineworks.engine.schema import Value
from engineworks.runtime.capture import capture


def test_values_appear_in_the_order_of_the_program(control_engine):
    context = control_engine("loop", 2, 0, threads=2).context()
    x = np.arange(1000, dtype=np.float32)
    seen = [(c.name, float(c.array[0])) for c in capture(context, x=x)]
    assert seen == [("acc", 1.0), ("acc", 2.0), ("acc", 3.0)]
    np.testing.assert_array_equal(context.run(x=x)["y"], x + 4)


def test_an_output_is_captured_with_its_symbolic_shape(control_engine):
    x = np.arange(30).reshape(3, 10)
    (found,) = capture(control_engine("dynamic", True).context(), x=x)
    assert (found.name, found.record) == ("sum", 1)
    np.testing.assert_array_equal(found.array, x + 30)


def test_stored_orders_and_paddings_are_undone(open_engine, static_manifest):
    manifest = static_manifest()
    # 1000 stored elements seen as [20, 50] rows of 45 and 5 padding, axes swapped.
    value = Value("v", "f32", (45, 20), order=(1, 0), row_pad=5)
    buffers = list(manifest.buffers)
    buffers[1] = msgspec.structs.replace(buffers[1], value=value)
    context = open_engine(msgspec.structs.replace(manifest, buffers=tuple(buffers))).context()
    x = np.arange(1000, dtype=np.float32).reshape(10, 100)
    (found,) = capture(context, x=x)
    np.testing.assert_array_equal(found.array, (x + 1).reshape(20, 50)[:, :45].T)
