"""Runs a small engine on the stand-in for the driver, which prints how it is called; results are asserted here."""

from __future__ import annotations

import numpy as np

from engineworks.errors import DeviceError
from engineworks.kernels.cuda.backend import BACKEND
from engineworks.runtime.cuda.arrays import DeviceArray
from engineworks.runtime.cuda.driver import driver_of
from engineworks.runtime.cuda.interface import TensorMapWord
from engineworks.runtime.engine import Engine
from tests.gpu.engines import chain

driver = driver_of(0)


def say(text: str) -> None:
    print(text, flush=True)


def on_device(array: np.ndarray) -> DeviceArray:
    memory = driver.allocate(array.nbytes, "an array")
    driver.upload(memory.address, array, 0)
    return DeviceArray(driver, memory.address, array.shape, array.dtype, stream=None, owner=memory)


engine = Engine.open(chain(BACKEND))
context = engine.context()
a = np.arange(300, dtype=np.float32)
say("# first run")
assert np.array_equal(context.run(a=a, b=a)["y"], 8 * a + 3)
say("# same shape")
assert np.array_equal(context.run(a=a, b=a)["y"], 8 * a + 3)
say("# other addresses")
x = on_device(a)
assert np.array_equal(context.run(a=x, b=x)["y"].numpy(), 8 * a + 3)
say("# profile")
times = context.profile(10, a=x, b=x)
assert [round(t.duration_s / t.visits, 9) for t in times] == [1.5e-4] * 3
say("# a map")
words = driver.descriptor(TensorMapWord(0x1000, "f16", (100, 256), (300, 1), (64, 128)), 3)
assert list(words) == list(range(1, 17))
say("# memory")
try:
    driver.allocate(1 << 37, "activations")
except DeviceError as error:
    say(str(error).splitlines()[0])
