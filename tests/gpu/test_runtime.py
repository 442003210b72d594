"""Engines on a real GPU: arrays in and out, graphs, streams, overlapping launches, tensor maps, threads, refusals."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from engineworks.engine.schema import Buffer, Ref, TargetRecord, Tensor, TensorMap
from engineworks.errors import DeviceError, EngineMismatch, InvalidInput
from engineworks.kernels.cuda.backend import BACKEND
from engineworks.runtime.device import find
from engineworks.runtime.engine import Engine
from tests.gpu.engines import (
    ADD,
    COPY_TILES,
    SUM_BEFORE,
    Draft,
    blocks,
    chain,
    counted,
    repeated,
)

torch = pytest.importorskip("torch", reason="the arrays of these tests are torch's")


pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def arch() -> str:
    return find("cuda").target().arch


@pytest.fixture(scope="module")
def chained(arch) -> Engine:
    return Engine.open(chain(BACKEND, arch))


def on_gpu(size: int, seed: int = 0):
    generator = torch.Generator("cuda").manual_seed(seed)
    return torch.rand(size, device="cuda", generator=generator)


def expected(a, b):
    return 4 * (a + b) + 3


def test_host_arrays_go_in_and_come_out(chained):
    for size in (1, 127, 1000):
        a, b = np.random.default_rng(size).random((2, size), np.float32)
        np.testing.assert_allclose(chained.run(a=a, b=b)["y"], expected(a, b), rtol=1e-6)


def test_torch_tensors_are_read_where_they_lie_and_outputs_are_torch_tensors(chained):
    a, b = on_gpu(1000), on_gpu(1000, 1)
    context = chained.context()
    y = context.run(a=a, b=b)["y"]
    assert isinstance(y, torch.Tensor)
    assert y.is_cuda
    assert context._program.places.ports == [a.data_ptr(), b.data_ptr(), y.data_ptr()]
    torch.testing.assert_close(y, expected(a, b))


def test_a_graph_follows_arrays_that_move(chained):
    context = chained.context()
    held = []
    for seed in range(6):
        a, b = on_gpu(640, seed), on_gpu(640, seed + 100)
        y = context.run(a=a, b=b)["y"]
        held.append((a, b, y))
    (bound,) = next(iter(context._program.stretches.by_first.values())).bound.values()
    assert bound.graph is not None
    assert bound.visits == 6
    for a, b, y in held:
        torch.testing.assert_close(y, expected(a, b))


def test_shapes_have_graphs_of_their_own(chained):
    context = chained.context()
    for size in (10, 999, 10, 500, 999):
        a = on_gpu(size, size)
        torch.testing.assert_close(context.run(a=a, b=a)["y"], expected(a, a))


def test_overlapping_launches_wait_for_what_they_read(arch):
    """64 launches, each of which reads what another block of the one before wrote."""
    size, length = 1 << 20, 64
    draft = Draft(BACKEND, arch)
    for k in range(length):
        source = Ref(0) if k == 0 else Ref(2 + k % 2)
        to = Ref(1) if k == length - 1 else Ref(2 + (k + 1) % 2)
        draft.call(SUM_BEFORE, source, to, size, grid=(blocks(size),), overlaps=True)
    engine = Engine.open(
        draft.engine(
            inputs=(Tensor("x", "f32", (size,)),),
            outputs=(Tensor("y", "f32", (size,)),),
            buffers=(
                Buffer("input"), Buffer("output"),
                Buffer("arena", 0, 4 * size), Buffer("arena", 4 * size, 4 * size),
            ),
            arena_bytes=8 * size,
        )
    )  # fmt: skip
    x = torch.arange(size, device="cuda", dtype=torch.float32) / size
    wanted = x.double()
    for _ in range(length):
        wanted = wanted.flip(0) * 2 + 1
    context = engine.context()
    for _ in range(20):
        torch.testing.assert_close(context.run(x=x)["y"].double(), wanted, rtol=1e-5, atol=0)


def test_tensor_maps_describe_inputs_wherever_they_lie(arch):
    rows, columns = 200, 320
    draft = Draft(BACKEND, arch)
    draft.call(COPY_TILES, Ref(0, 0, 0), Ref(1), columns, grid=(-(-rows // 64), -(-columns // 128)))
    engine = Engine.open(
        draft.engine(
            inputs=(Tensor("x", "f16", (rows, columns)),),
            outputs=(Tensor("y", "f16", (256, columns)),),
            buffers=(Buffer("input"), Buffer("output")),
            maps=(TensorMap("f16", (rows, columns), (columns, 1), (64, 128)),),
        )
    )
    context = engine.context()
    for seed in range(3):
        x = on_gpu(rows * columns, seed).reshape(rows, columns).half()
        y = context.run(x=x)["y"]
        assert torch.equal(y[:rows], x)
        assert not y[rows:].any(), "rows beyond the tensor read as zero"


def test_work_is_done_in_the_stream_that_is_given(chained):
    context = chained.context()
    stream = torch.cuda.Stream()
    a = on_gpu(1000)
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(200_000_000)
        moved = a * 2
    y = context.enqueue(stream, a=moved, b=a)["y"]
    assert not stream.query(), "enqueue must not wait for the GPU"
    stream.synchronize()
    torch.testing.assert_close(y, expected(a * 2, a))


def test_run_uses_the_current_stream_of_torch(chained):
    context = chained.context()
    stream = torch.cuda.Stream()
    a = on_gpu(1000)
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(200_000_000)
        y = context.run(a=a + 1, b=a)["y"]
        assert not stream.query()
        z = y + 1
    stream.synchronize()
    torch.testing.assert_close(z, expected(a + 1, a) + 1)


def test_a_context_that_changes_streams_keeps_its_runs_in_order(chained):
    context = chained.context()
    streams = [torch.cuda.Stream() for _ in range(3)]
    a = on_gpu(1000)
    torch.cuda.synchronize()
    results = []
    for k in range(12):
        with torch.cuda.stream(streams[k % 3]):
            torch.cuda._sleep(1_000_000)
            results.append(context.run(a=a + k, b=a)["y"])
    torch.cuda.synchronize()
    for k, y in enumerate(results):
        torch.testing.assert_close(y, expected(a + k, a))


def test_eight_contexts_run_at_once(chained):
    wrong: list[str] = []

    def work(number: int) -> None:
        context = chained.context()
        for size in (100 + number, 1000 - number) * 20:
            a = np.full(size, number, np.float32)
            y = context.run(a=a, b=a)["y"]
            if not np.array_equal(y, expected(a, a)):
                wrong.append(f"context {number}, size {size}")

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_bound_arrays_are_written_in_place(chained):
    context = chained.context()
    a, b, y = on_gpu(300), on_gpu(300, 1), torch.empty(300, device="cuda")
    context.bind(a=a, b=b, y=y)
    context.execute()
    torch.testing.assert_close(y, expected(a, b))
    a += 1
    context.enqueue(torch.cuda.current_stream())
    torch.testing.assert_close(y, expected(a, b))


def test_an_input_that_is_not_aligned_is_copied(chained):
    whole = on_gpu(1001)
    a, b = whole[1:], on_gpu(1000, 1)
    assert a.data_ptr() % 16
    torch.testing.assert_close(chained.run(a=a, b=b)["y"], expected(a, b))


def test_what_the_array_interface_shows_is_read_and_given(chained):
    class Shown:
        def __init__(self, tensor) -> None:
            self.tensor = tensor

        @property
        def __cuda_array_interface__(self):
            return self.tensor.__cuda_array_interface__

    a, b = on_gpu(500), on_gpu(500, 1)
    torch.cuda.synchronize()
    y = chained.run(a=Shown(a), b=Shown(b))["y"]
    torch.testing.assert_close(torch.from_dlpack(y), expected(a, b))
    torch.testing.assert_close(torch.as_tensor(y, device="cuda"), expected(a, b))


def test_host_and_device_arrays_mix(chained):
    a, b = on_gpu(500), np.random.default_rng(0).random(500, np.float32)
    context = chained.context()
    for k in range(5):
        y = context.run(a=a, b=b + k)["y"]
        torch.testing.assert_close(y, expected(a, torch.from_numpy(b + k).cuda()))


def test_loops_are_repeated_as_often_as_their_condition_says(arch):
    engine = Engine.open(repeated(BACKEND, arch))
    for rounds in (1, 2, 9):
        y = engine.run(x=torch.zeros(100, device="cuda"), n=torch.full((1,), float(rounds), device="cuda"))[
            "y"
        ]
        assert torch.equal(y, torch.full((100,), float(rounds), device="cuda"))


def test_sizes_that_kernels_find_shape_the_outputs(arch):
    engine = Engine.open(counted(BACKEND, arch))
    context = engine.context()
    for positive in (5, 0, 90, 5, 5):
        x = torch.full((100,), -1.0, device="cuda")
        x[:positive] = 2
        y = context.run(x=x)["y"]
        assert y.shape == (positive,)
        assert torch.equal(y, torch.full((positive,), 4.0, device="cuda"))


def test_every_record_has_a_time_below_a_millisecond(chained):
    a = on_gpu(1000)
    times = chained.context().profile(10, a=a, b=a)
    assert [t.visits for t in times] == [10, 10, 10]
    for time in times:
        assert 1e-7 < time.duration_s / time.visits < 1e-3


def test_memory_that_is_not_there_is_named(arch):
    draft = Draft(BACKEND, arch)
    draft.call(ADD, Ref(0), Ref(0), Ref(1), 16)
    engine = Engine.open(
        draft.engine(
            inputs=(Tensor("x", "f32", (16,)),), outputs=(Tensor("y", "f32", (16,)),),
            buffers=(Buffer("input"), Buffer("output")), arena_bytes=1 << 42,
        )
    )  # fmt: skip
    with pytest.raises(
        DeviceError, match=r"for activations: 4,398,046,511,\d+ bytes are needed, [\d,]+ of [\d,]+ are free"
    ):
        engine.context()


def test_an_engine_for_another_architecture_is_refused(arch):
    other = "sm_80" if arch != "sm_80" else "sm_90"
    with pytest.raises(EngineMismatch, match=f"the engine needs {other}, this is {arch}"):
        Engine.open(chain(BACKEND, other))


def test_an_engine_tuned_on_another_model_is_refused_unless_it_may_run_there(arch):
    facts = {"gpu": "NVIDIA Abacus", "processors": "3"}
    target = TargetRecord("cuda", arch, (), "", facts)
    with pytest.raises(EngineMismatch, match="tuned on NVIDIA Abacus, this is NVIDIA"):
        Engine.open(chain(BACKEND, arch, target=target))
    relaxed = TargetRecord("cuda", arch, (), "same_compute_capability", facts)
    a = np.ones(10, np.float32)
    assert np.array_equal(
        Engine.open(chain(BACKEND, arch, target=relaxed)).run(a=a, b=a)["y"], expected(a, a)
    )


def test_arrays_of_another_dtype_are_refused(chained):
    with pytest.raises(InvalidInput, match=r"input 'a': expected f32\[N\], got f16\[10\]"):
        chained.run(a=on_gpu(10).half(), b=on_gpu(10))


def test_a_context_and_its_engine_leave_no_memory_behind(arch):
    content = chain(BACKEND, arch, arena_bytes=1 << 28)
    a = np.ones(10, np.float32)
    free = []
    for _ in range(4):
        Engine.open(content).context().run(a=a, b=a)
        free.append(torch.cuda.mem_get_info()[0])
    assert free[-1] >= free[0] - (1 << 24)
