"""The GPU's program on the emulated GPU: what is launched, captured, copied and waited for, and the numbers."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from engineworks.engine.schema import Buffer, Ref, Symbol, Tensor, TensorMap
from engineworks.errors import DeviceError, InvalidInput, RunError
from engineworks.runtime.capture import capture
from engineworks.runtime.cuda.arrays import DeviceArray
from engineworks.runtime.engine import Engine
from engineworks.testing.emulated_gpu import emulated_backend, emulated_device
from tests.gpu.engines import ADD, COPY_TILES, Draft, blocks, chain, counted, repeated

GPU = emulated_backend()


@pytest.fixture
def device():
    return emulated_device()


@pytest.fixture
def chained(device) -> Engine:
    return Engine.open(chain(GPU), device=device)


def expected(a, b):
    return 4 * (a + b) + 3


def logged(device, what: str) -> list[int]:
    return [n for name, n in device.driver.log if name == what]


def on_device(device, array: np.ndarray, *, shift: int = 0, stream: int | None = None) -> DeviceArray:
    """The array in the device's memory, `shift` bytes off an aligned address."""
    memory = device.driver.allocate(array.nbytes + shift, "an array")
    device.driver.upload(memory.address + shift, array, 0)
    return DeviceArray(
        device.driver, memory.address + shift, array.shape, array.dtype, stream=stream, owner=memory
    )


def test_host_arrays_go_in_and_come_out(chained):
    a, b = np.arange(300, dtype=np.float32), np.full(300, 0.5, np.float32)
    assert np.array_equal(chained.run(a=a, b=b)["y"], expected(a, b))


def test_a_stretch_is_captured_once_for_each_shape_and_replayed(chained, device):
    context = chained.context()
    for size in (5, 5, 7, 5, 7):
        a = np.arange(size, dtype=np.float32)
        assert np.array_equal(context.run(a=a, b=a)["y"], expected(a, a))
    assert logged(device, "capture") == [3, 3]
    assert logged(device, "replay") == [3] * 5


def test_arrays_on_the_device_are_used_where_they_lie_without_a_wait(chained, device):
    context = chained.context()
    a, b = (on_device(device, np.arange(10, dtype=np.float32)) for _ in range(2))
    y = context.run(a=a, b=b)["y"]
    assert context._program.places.ports == [a.address, b.address, y.address]
    assert logged(device, "synchronize") == []
    assert np.array_equal(y.numpy(), expected(a.numpy(), b.numpy()))


def test_a_graph_follows_arrays_that_move(chained, device):
    context = chained.context()
    b = on_device(device, np.zeros(10, np.float32))
    for k in range(3):
        a = on_device(device, np.full(10, k, np.float32))
        y = context.run(a=a, b=b)["y"]
        assert np.array_equal(y.numpy(), np.full(10, 4 * k + 3))
    assert logged(device, "capture") == [3]
    assert set(logged(device, "update")) == {0, 2}, "the launch in the middle touches no input or output"


def test_an_array_that_is_not_aligned_is_copied(chained, device):
    a = on_device(device, np.arange(10, dtype=np.float32), shift=4)
    y = on_device(device, np.zeros(10, np.float32), shift=8)
    context = chained.context()
    context.bind(a=a, b=a, y=y)
    context.execute()
    assert np.array_equal(y.numpy(), expected(a.numpy(), a.numpy()))
    assert logged(device, "copy") == [40, 40, 40]


def test_a_run_is_work_of_the_stream_that_its_inputs_come_from(chained, device):
    context = chained.context()
    a = on_device(device, np.arange(10, dtype=np.float32), stream=0x77)
    y = context.run(a=a, b=a)["y"]
    assert y.stream == 0x77
    assert logged(device, "wait") == []


def test_inputs_of_two_streams_meet_in_the_context_s_own_and_both_wait_for_the_outputs(chained, device):
    context = chained.context()
    array = np.arange(10, dtype=np.float32)
    a, b = on_device(device, array, stream=0x77), on_device(device, array, stream=0x78)
    y = context.run(a=a, b=b)["y"]
    own = int(context._program.own_stream)
    assert y.stream == own
    waits = logged(device, "wait")
    assert waits[:2] == [own, own]
    assert set(waits[2:]) == {0x77, 0x78}


def test_the_stream_of_enqueue_is_taken_from_any_object_that_has_one(chained, device):
    class Stream:
        def __cuda_stream__(self):
            return 0, 0x99

    a = on_device(device, np.arange(10, dtype=np.float32))
    y = chained.context().enqueue(Stream(), a=a, b=a)["y"]
    assert y.stream == 0x99
    with pytest.raises(InvalidInput, match="a str is no CUDA stream"):
        chained.context().enqueue("0x99", a=a, b=a)


def test_a_loop_runs_as_often_as_its_condition_says(device):
    engine = Engine.open(repeated(GPU), device=device)
    device.driver.log.clear()
    for rounds in (1, 2, 5):
        y = engine.run(x=np.zeros(100, np.float32), n=np.float32([rounds]))["y"]
        assert np.array_equal(y, np.full(100, rounds))
    # Each round reads the condition, and each run waits for its output.
    assert len(logged(device, "synchronize")) == 1 + 2 + 5 + 3


def test_sizes_that_kernels_find_shape_the_outputs(device):
    engine = Engine.open(counted(GPU), device=device)
    context = engine.context()
    for positive in (5, 0, 90, 5, 5):
        x = np.where(np.arange(100) < positive, 2, -1).astype(np.float32)
        y = context.run(x=x)["y"]
        assert y.shape == (positive,)
        assert np.all(y == 4)
    # Sizes that come once are launched as they are; only 5 came again.
    assert logged(device, "capture") == [2]


def test_launches_over_nothing_are_left_out(device):
    engine = Engine.open(counted(GPU), device=device)
    assert engine.run(x=np.full(100, -1, np.float32))["y"].shape == (0,)
    assert logged(device, "launch") == [1]


def test_a_size_beyond_its_bound_stops_the_run(device):
    draft = Draft(GPU)
    draft.call(ADD, Ref(0), Ref(0), Ref(1), 2)  # two floats beside each other are a huge integer
    draft.op("resolve")
    content = draft.engine(
        inputs=(Tensor("x", "f32", (2,)),),
        outputs=(),
        symbols=(Symbol("K", 0, 10, 10),),
        buffers=(Buffer("input"), Buffer("symbols")),
    )
    engine = Engine.open(content, device=device)
    with pytest.raises(RunError, match=r"a kernel set 'K' to \d+, outside 0 … 10"):
        engine.run(x=np.ones(2, np.float32))


def test_tensor_maps_follow_inputs_and_sizes(device):
    draft = Draft(GPU)
    draft.call(COPY_TILES, Ref(0, 0, 0), Ref(1), 160, grid=(blocks("R"), 2))
    content = draft.engine(
        inputs=(Tensor("x", "f16", ("R", 160)),),
        outputs=(Tensor("y", "f16", (64, 160)),),
        symbols=(Symbol("R", 1, 64, 64, input=0, axis=0),),
        buffers=(Buffer("input"), Buffer("output")),
        maps=(TensorMap("f16", ("R", 160), (160, 1), (64, 128)),),
    )
    context = Engine.open(content, device=device).context()
    for rows in (3, 64, 3):
        x = np.random.default_rng(rows).random((rows, 160)).astype(np.float16)
        y = context.run(x=x)["y"]
        assert np.array_equal(y[:rows], x)
        assert not y[rows:].any()


def test_values_are_captured_record_by_record(chained):
    a = np.arange(10, dtype=np.float32)
    (found,) = capture(chained.context(), a=a, b=a)
    assert (found.record, found.name) == (0, "sum")
    assert np.array_equal(found.array, 2 * a)


def test_a_profile_counts_visits_and_leaves_the_results_right(device):
    engine = Engine.open(repeated(GPU), device=device)
    context = engine.context()
    times = context.profile(10, x=np.zeros(100, np.float32), n=np.float32([3]))
    assert [(t.index, t.visits) for t in times] == [(0, 10), (1, 10), (2, 30), (3, 30), (6, 10)]
    assert all(t.duration_s > 0 for t in times)


def test_memory_that_is_not_there_is_named():
    engine = Engine.open(chain(GPU, arena_bytes=9000), device=emulated_device(memory_bytes=4000))
    with pytest.raises(DeviceError, match="for activations: 9,224 bytes are needed, 4,000 of 4,000 are free"):
        engine.context()


def test_contexts_give_their_memory_back(device):
    engine = Engine.open(chain(GPU), device=device)
    before = device.driver.free_bytes
    a = np.zeros(10, np.float32)
    engine.context().run(a=a, b=a)
    assert device.driver.free_bytes == before


def test_what_the_array_interface_shows_is_read(chained, device):
    class Shown:
        def __init__(self, array: np.ndarray, strides=None) -> None:
            self.array = array
            self.__cuda_array_interface__ = {
                "shape": array.shape, "typestr": array.dtype.str, "data": (array.ctypes.data, False), "version": 3,
                "strides": strides, "stream": 1,
            }  # fmt: skip

    a = np.arange(12, dtype=np.float32)
    y = chained.run(a=Shown(a), b=Shown(a))["y"]
    assert y.stream == 0, "1 is the legacy default stream"
    assert np.array_equal(y.numpy(), expected(a, a))
    with pytest.raises(InvalidInput, match=r"input 'a'.* strides \[8\] is not dense"):
        chained.run(a=Shown(a, (8,)), b=Shown(a))


def test_arrays_go_to_other_packages_through_dlpack(chained, device):
    from engineworks.runtime import dlpack

    a = on_device(device, np.arange(6, dtype=np.float32))
    y = chained.run(a=a, b=a)["y"]
    assert y.__dlpack_device__() == (dlpack.CUDA, 0)
    memory = dlpack.device_memory(y.__dlpack__(stream=-1))
    assert (memory.address, memory.shape, memory.dtype) == (y.address, (6,), np.float32)
    held = (ctypes.c_float * 6).from_address(memory.address)
    del y
    assert list(held) == list(expected(np.arange(6), np.arange(6)))


def test_dlpack_is_preferred_where_the_array_interface_names_no_stream(chained, device):
    source = on_device(device, np.arange(6, dtype=np.float32), stream=0x55)

    class Both:
        def __init__(self) -> None:
            self.__cuda_array_interface__ = {**source.__cuda_array_interface__, "version": 2, "stream": None}
            self.__dlpack_device__ = source.__dlpack_device__
            self.__dlpack__ = source.__dlpack__

    context = chained.context()
    y = context.run(a=Both(), b=Both())["y"]
    own = int(context._program.own_stream)
    assert logged(device, "wait")[0] == own, "the context's stream waits for the producer's"
    assert y.stream == own
    assert np.array_equal(y.numpy(), expected(np.arange(6), np.arange(6)))
    device.driver.log.clear()
    context.enqueue(0x66, a=Both(), b=Both())
    assert set(logged(device, "wait")) == {0x66}, "or the one that is asked for"


def test_an_array_on_another_gpu_is_refused(chained, device):
    class Elsewhere:
        def __dlpack_device__(self):
            return 2, 3

    with pytest.raises(InvalidInput, match="input 'a': it lies on GPU 3, the engine runs on GPU 0"):
        chained.run(a=Elsewhere(), b=np.zeros(3, np.float32))


def test_an_engine_on_the_cpu_has_no_streams(control_engine):
    with pytest.raises(InvalidInput, match="which has no streams"):
        control_engine("dynamic", False).context().enqueue(7, x=np.zeros((2, 10), np.int64))


def test_an_output_that_the_user_drops_is_gone(chained, device):
    context = chained.context()
    a = on_device(device, np.arange(10, dtype=np.float32))
    context.run(a=a, b=a)
    free = device.driver.free_bytes
    y = context.run(a=a, b=a)["y"]
    assert device.driver.free_bytes == free - 40
    del y
    assert device.driver.free_bytes == free


def test_bound_arrays_are_run_again_by_a_single_replay(chained, device):
    context = chained.context()
    a, y = (on_device(device, np.arange(10, dtype=np.float32)) for _ in range(2))
    context.bind(a=a, b=a, y=y)
    context.execute()
    device.driver.upload(a.address, np.ones(10, np.float32), 0)
    device.driver.log.clear()
    context.execute()
    assert [what for what, _ in device.driver.log if what != "launch"] == ["replay"]
    assert np.array_equal(y.numpy(), np.full(10, 11))
    context.enqueue(0x66)
    context.execute()
    assert logged(device, "wait")[:2] == [0x66, int(context._program.own_stream)], "each waits for the other"
