"""Engines loaded and run: answers, shapes, threads, processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import warnings

import msgspec
import numpy as np
import pytest

from engineworks.engine import container
from engineworks.engine.schema import Record, Ref, Symbol, TargetRecord, Tensor
from engineworks.engine.validate import problems
from engineworks.errors import CorruptEngine, EngineMismatch, InvalidInput, NewerFormat, RunError
from engineworks.runtime.engine import Engine
from engineworks.runtime.shapes import ShapeSolver

X = np.linspace(-3, 3, 1000, dtype=np.float32).reshape(10, 100)
EXPECTED = (X + np.float32(1)) * np.arange(1000, dtype=np.float32).reshape(10, 100)


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("chunks", [0, 1, 5, 2000])
def test_every_split_of_the_work_gives_the_same_answer(open_engine, static_manifest, threads, chunks):
    context = open_engine(static_manifest(chunks), threads=threads).context()
    for _ in range(20):
        np.testing.assert_array_equal(context.run(x=X)["y"], EXPECTED)


def test_an_engine_in_a_file_and_in_memory_are_the_same(static_engine):
    for source in (static_engine, str(static_engine), static_engine.read_bytes()):
        np.testing.assert_array_equal(Engine.open(source, verify=True)(x=X)["y"], EXPECTED)


def test_a_saved_engine_is_the_file_it_came_from(static_engine, tmp_path):
    engine = Engine.open(static_engine)
    engine.save(tmp_path / "copy.engine")
    assert (tmp_path / "copy.engine").read_bytes() == static_engine.read_bytes() == engine.serialize()


def test_bound_arrays_are_read_and_written_in_place(static_engine):
    context = Engine.open(static_engine).context()
    x, y = X.copy(), np.zeros_like(X)
    context.bind(x=x, y=y)
    assert context.execute()["y"] is y
    np.testing.assert_array_equal(y, EXPECTED)
    x[:] = 0
    context.execute()
    np.testing.assert_array_equal(y.ravel(), np.arange(1000))


def test_run_between_executes_does_not_touch_the_bound_arrays(static_engine):
    context = Engine.open(static_engine).context()
    y = np.zeros_like(X)
    context.bind(x=X, y=y)
    context.execute()
    context.run(x=np.zeros_like(X))
    np.testing.assert_array_equal(y, EXPECTED)
    context.execute()
    np.testing.assert_array_equal(y, EXPECTED)


@pytest.mark.parametrize("resolves", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_sizes_follow_the_shape(control_engine, resolves, threads):
    context = control_engine("dynamic", resolves, threads=threads).context()
    for rows in (1, 8, 3, 8, 4):
        x = np.arange(10 * rows).reshape(rows, 10)
        np.testing.assert_array_equal(context.run(x=x)["y"], x + 10 * rows)


def test_a_shape_outside_the_range_says_the_range(control_engine):
    engine = control_engine("dynamic", False)
    with pytest.raises(InvalidInput, match=r"axis 0 \('B'\) is 9; the engine was built for 1 to 8"):
        engine(x=np.zeros((9, 10), np.int64))
    with pytest.raises(InvalidInput, match="1 to 2 in profile 'small'"):
        engine.context("small").run(x=np.zeros((3, 10), np.int64))
    with pytest.raises(InvalidInput, match="there are: 0 'wide', 1 'small'"):
        engine.context("large")


def test_a_symbol_may_be_inside_an_expression_and_have_any_name(control_engine):
    manifest = control_engine("dynamic", False).manifest
    odd = msgspec.structs.replace(
        manifest,
        inputs=(Tensor("x", "i64", ("2*`row pairs` + 1", 10)),),
        outputs=(Tensor("y", "i64", ("2*`row pairs`", 10)),),
        symbols=(Symbol("row pairs", 2, 4, 8, 0, 0, multiple=2),), profiles=(), checks=(),
        buffers=tuple(msgspec.structs.replace(b, size=0, value=None) for b in manifest.buffers),
        program=(
            msgspec.structs.replace(manifest.program[0], words=(7, Ref(0), Ref(1)), tasks="20*`row pairs`"),
            Record(op="end"),
        ),
    )  # fmt: skip
    solver = ShapeSolver(odd, None)
    assert problems(odd) == []
    assert solver.solve([(9, 10)]).output_dims == ((8, 10),)
    with pytest.raises(InvalidInput, match="must be 2"):
        solver.solve([(10, 10)])
    with pytest.raises(InvalidInput, match="2 to 8 in multiples of 2"):
        solver.solve([(7, 10)])


def test_an_engine_call_picks_a_profile_that_fits(control_engine):
    engine = control_engine("dynamic", False)
    for rows in (1, 8, 2, 6):
        x = np.zeros((rows, 10), np.int64)
        np.testing.assert_array_equal(engine(x=x)["y"], x + 10 * rows)
    with pytest.raises(InvalidInput, match="built for 1 to"):
        engine(x=np.zeros((9, 10), np.int64))


def test_a_run_time_check_speaks_with_its_message(control_engine):
    with pytest.raises(InvalidInput, match="node 'add' cannot take five rows"):
        control_engine("dynamic", False)(x=np.zeros((5, 10), np.int64))


def test_data_dependent_outputs_are_trimmed(control_engine):
    engine = control_engine("positives")
    for x in (np.array([3, -1, 0, 5]), np.array([-1]), np.array([], np.int64), np.arange(1, 7)):
        np.testing.assert_array_equal(engine(x=x)["y"], x[x > 0])
    context = engine.context()
    context.bind(x=np.array([1, -2, 3]))
    for _ in range(2):
        assert context.execute()["y"].tolist() == [1, 3]
    with pytest.raises(InvalidInput, match="found seven"):
        engine(x=np.ones(7, np.int64))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("chunks", [0, 4])
def test_loops_run_natively(control_engine, threads, chunks):
    context = control_engine("loop", 17, chunks, threads=threads).context()
    x = np.arange(1000, dtype=np.float32)
    for _ in range(10):
        np.testing.assert_array_equal(context.run(x=x)["y"], x + 19)


def test_eight_threads_share_one_engine(control_engine):
    engine = control_engine("loop", 5, 4, threads=2)
    wrong: list[int] = []

    def work(number: int) -> None:
        x = np.full(1000, number, np.float32)
        for _ in range(100):
            if not (engine(x=x)["y"] == number + 7).all():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert not any(t.is_alive() for t in threads)


def test_a_forked_child_runs_and_so_does_its_parent(control_engine):
    engine = control_engine("loop", 5, 4, threads=2)
    context = engine.context()
    x = np.zeros(1000, np.float32)
    context.run(x=x)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # Python 3.12 warns of forking with threads: the very test
        child = os.fork()
    if child == 0:
        ok = all((c.run(x=x)["y"] == 7).all() for c in (context, engine.context()))
        os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (context.run(x=x)["y"] == 7).all()


def test_two_threads_in_one_context_are_told(control_engine):
    context = control_engine("loop", 5, 0).context()
    context._in_use.acquire()
    with pytest.raises(RunError, match="give each thread its own"):
        context.run(x=np.zeros(1000, np.float32))


def test_an_engine_for_another_cpu_is_refused_with_each_difference(open_engine, static_manifest):
    target = TargetRecord("cpu", "x86-64-v3", ("avx2", "avx1024", "quantum"))
    manifest = msgspec.structs.replace(static_manifest(), target=target)
    with pytest.raises(EngineMismatch, match=r"cpu feature: avx1024\n  cpu feature: quantum"):
        open_engine(manifest)


def test_an_engine_for_an_unknown_device_names_those_there_are(open_engine, static_manifest):
    manifest = msgspec.structs.replace(static_manifest(), target=TargetRecord("abacus", "wood"))
    with pytest.raises(EngineMismatch, match="there are: cpu, cuda, null"):
        open_engine(manifest)


def test_an_image_of_another_runner_is_refused(open_engine, static_manifest):
    with pytest.raises(NewerFormat, match="runner ABI 99"):
        open_engine(msgspec.structs.replace(static_manifest(), runner=99))


def test_changed_code_is_found_before_it_runs(static_engine, code):
    data = bytearray(static_engine.read_bytes())
    data[bytes(data).index(code[:64]) + len(code) - 1] ^= 1
    with pytest.raises(CorruptEngine, match="section 'code'"):
        Engine.open(bytes(data))


def test_a_thread_count_out_of_range_is_refused(static_engine):
    with pytest.raises(InvalidInput, match="1 to 256"):
        Engine.open(static_engine, threads=0)


def test_memory_of_closed_engines_is_returned(static_engine):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        Engine.open(static_engine, threads=1)(x=X)
    assert len(os.listdir("/proc/self/fd")) <= before + 4


def test_a_profile_gives_each_record_its_time(control_engine):
    times = control_engine("loop", 3, 0, threads=2).context().profile(5, x=np.zeros(1000, np.float32))
    visits = {t.name: t.visits for t in times if t.name}
    assert visits == {"first": 5, "turn": 15, "last": 5}
    assert all(t.duration_s > 0 for t in times)


BARE = """
import sys
import numpy as np
from engineworks.runtime.engine import Engine
from engineworks.runtime.shapes import ShapeSolver
y = Engine.open(sys.argv[1])(x=np.zeros((10, 100), np.float32))["y"]
assert (y.ravel() == np.arange(1000)).all()
installed = [n for n, m in sys.modules.items() if "site-packages" in (getattr(m, "__file__", "") or "")]
print(" ".join({n.partition(".")[0] for n in installed}))
"""


def test_running_an_engine_imports_nothing_but_numpy_ml_dtypes_and_msgspec(static_engine):
    done = subprocess.run(
        [sys.executable, "-c", BARE, static_engine], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = {m for m in done.stdout.split() if not m.startswith(("_", "sitecustomize"))}
    # msgspec looks for typing_extensions and works without.
    assert loaded <= {"numpy", "ml_dtypes", "msgspec", "typing_extensions"}


def test_the_null_device_runs_the_whole_runtime_without_hardware(static_manifest):
    from engineworks.runtime.null.device import NullDevice

    manifest = msgspec.structs.replace(static_manifest(), target=TargetRecord("null", "none"))
    device = NullDevice()
    engine = Engine.open(container.encode(manifest, {"weights": bytes(4000), "code": b""}), device=device)
    assert engine(x=X)["y"].shape == (10, 100)
    assert device.calls == [
        ("load", 2),
        ("weights", 4000),
        ("allocate", 4096),
        ("allocate", 0),
        ("launch", 1),
    ]
