"""The thread pool and the record runner of CPU engines, as LLVM IR (docs/reference/kernel-abi.md).

Workers are started once. A run publishes a job and raises `epoch`; every thread, the caller being thread
0, then walks the same records, takes its part of each, and meets the others at barriers. Waiting threads
spin for a bounded *time* – a count of pauses takes five times longer on a shared core – and then sleep in
the kernel (futex).

Nothing here needs libc at link time: `syscall`, `pthread_create` and `pthread_join` are function pointers
in the pool. `runtime/cpu/pool.py` fills in the two structs below.

Pool, bytes (64-aligned; words that different threads write lie in different cache lines):
    0 i32 epoch · 64 i32 done · 128 i32 arrived · 192 i32 generation
    256, 320, 384 i32 sleepers on epoch, on generation, on done
    448 i64 threads · 456 i64 spin, in cycles of the time-stamp counter
    464 ptr walk · 472 ptr job · 480 i32 stop
    488 ptr syscall · 496 ptr pthread_create · 504 ptr pthread_join
    512 + 32 t: what worker t is given: ptr pool · i64 t · i64 pthread_t
Job, bytes (one for each context):
    0 ptr plan · 8 i64 first record · 16 ptr scratch · 24 i64 scratch bytes of one thread · 32 ptr cycles
Cycles (profiled runs): i64 cycles, i64 visits for each record, summed over runs; thread 0 writes them.
"""

from __future__ import annotations

from engineworks.codegen.llvm.function import Function, Isa

POOL_ABI = 1
"""Version of the two structs and the exported functions; the manifest's `runner`."""
EXPORTS = ("pool_start", "pool_stop", "program_run", "program_run_profiled")

EPOCH, DONE, ARRIVED, GENERATION = 0, 64, 128, 192
EPOCH_SLEEPERS, GENERATION_SLEEPERS, DONE_SLEEPERS = 256, 320, 384
THREADS, SPIN, WALK, JOB, STOP, SYSCALL, CREATE, JOIN, WORKERS = 448, 456, 464, 472, 480, 488, 496, 504, 512
WORKER_BYTES = 32

_FUTEX, _WAIT_PRIVATE, _WAKE_PRIVATE = 202, 128, 129
_PAUSES_BETWEEN_CLOCK_READS = 8


def pool_text(isa: Isa) -> tuple[list[str], list[str]]:
    """Texts of the pool's functions, and the declarations they need, for the module that holds the kernels.

    `isa` is the module's; the pool itself is scalar code.
    """
    functions = [
        _wait_while(), _wake(), _barrier(), _worker(), _pool_start(), _pool_stop(),
        _walk(profiled=False, alone=False), _walk(profiled=False, alone=True),
        _walk(profiled=True, alone=False), _walk(profiled=True, alone=True),
        _run(profiled=False), _run(profiled=True),
    ]  # fmt: skip
    declarations = sorted(set().union(*(f.declarations for f, _ in functions)))
    return [text for _, text in functions], declarations


def _define(
    name: str, parameters: list[tuple[str, str]], result: str = "void", *, internal: bool = True
) -> Function:
    return Function(name, parameters, result, internal=internal)


def _field(f: Function, base: str, offset: int, kind: str) -> str:
    return f.value(f"load {kind}, ptr {f.at(base, offset)}")


def _wait_while() -> tuple[Function, str]:
    """Return once *word differs from `old`: spin for the pool's time, then sleep."""
    f = _define("wait_while", [("ptr", "pool"), ("ptr", "word"), ("i32", "old"), ("ptr", "sleepers")])
    spin = _field(f, "%pool", SPIN, "i64")
    start = f.call("i64", "llvm.readcyclecounter")
    f.line("br label %spin")
    f.label("spin")
    now = f.value("load atomic i32, ptr %word acquire, align 4")
    f.line(f"br i1 {f.value(f'icmp ne i32 {now}, %old')}, label %return, label %pause")
    f.label("pause")
    for _ in range(_PAUSES_BETWEEN_CLOCK_READS):
        f.call("void", "llvm.x86.sse2.pause")
    spent = f.value(f"sub i64 {f.call('i64', 'llvm.readcyclecounter')}, {start}")
    f.line(f"br i1 {f.value(f'icmp ult i64 {spent}, {spin}')}, label %spin, label %announce")
    # The sleeper counts itself before it looks again; the waker changes the word before it counts sleepers.
    # Both in one total order (seq_cst), so one of them always sees the other.
    f.label("announce")
    f.value("atomicrmw add ptr %sleepers, i32 1 seq_cst")
    f.line("br label %look")
    f.label("look")
    again = f.value("load atomic i32, ptr %word seq_cst, align 4")
    f.line(f"br i1 {f.value(f'icmp ne i32 {again}, %old')}, label %awake, label %sleep")
    f.label("sleep")
    _futex(f, "%pool", "%word", _WAIT_PRIVATE, "%old")
    f.line("br label %look")
    f.label("awake")
    f.value("atomicrmw sub ptr %sleepers, i32 1 seq_cst")
    f.line("br label %return")
    f.label("return")
    return f, f.text()


def _futex(f: Function, pool: str, word: str, operation: int, value: str) -> None:
    system_call = _field(f, pool, SYSCALL, "ptr")
    arguments = f"i64 {_FUTEX}, ptr {word}, i64 {operation}, i32 {value}, ptr null, ptr null, i32 0"
    f.value(f"call i64 (i64, ...) {system_call}({arguments})")


def _wake() -> tuple[Function, str]:
    """Wake all that sleep on `word`; cheap when nobody does."""
    f = _define("wake", [("ptr", "pool"), ("ptr", "word"), ("ptr", "sleepers")])
    count = f.value("load atomic i32, ptr %sleepers seq_cst, align 4")
    with f.when(f.value(f"icmp ne i32 {count}, 0")):
        _futex(f, "%pool", "%word", _WAKE_PRIVATE, str(2**31 - 1))
    return f, f.text()


def _barrier() -> tuple[Function, str]:
    """Return once all threads of the pool have called it; what they wrote before is visible after."""
    f = _define("barrier", [("ptr", "pool")])
    arrived, generation = f.at("%pool", ARRIVED), f.at("%pool", GENERATION)
    sleepers = f.at("%pool", GENERATION_SLEEPERS)
    current = f.value(f"load atomic i32, ptr {generation} acquire, align 4")
    before = f.value(f"atomicrmw add ptr {arrived}, i32 1 acq_rel")
    threads = f.value(f"trunc i64 {_field(f, '%pool', THREADS, 'i64')} to i32")
    is_last = f.value(f"icmp eq i32 {f.value(f'add i32 {before}, 1')}, {threads}")

    def release() -> None:
        f.line(f"store atomic i32 0, ptr {arrived} monotonic, align 4")
        f.value(f"atomicrmw add ptr {generation}, i32 1 seq_cst")
        f.line(f"call void @wake(ptr %pool, ptr {generation}, ptr {sleepers})")

    def wait() -> None:
        f.line(f"call void @wait_while(ptr %pool, ptr {generation}, i32 {current}, ptr {sleepers})")

    f.branch(is_last, release, wait)
    return f, f.text()


def _worker() -> tuple[Function, str]:
    """A thread's life: wait for the next epoch, walk the job's records, count itself done."""
    f = _define("worker", [("ptr", "given")], "ptr")
    pool = _field(f, "%given", 0, "ptr")
    thread = _field(f, "%given", 8, "i64")
    seen = f.variable("i32", 0)
    sleepers, done = f.at(pool, EPOCH_SLEEPERS), f.at(pool, DONE)
    f.line("br label %next")
    f.label("next")
    f.line(f"call void @wait_while(ptr {pool}, ptr {pool}, i32 {f.get('i32', seen)}, ptr {sleepers})")
    f.set("i32", seen, f.value(f"load atomic i32, ptr {pool} acquire, align 4"))
    stop = _field(f, pool, STOP, "i32")
    f.line(f"br i1 {f.value(f'icmp ne i32 {stop}, 0')}, label %leave, label %work")
    f.label("work")
    f.line(
        f"call void {_field(f, pool, WALK, 'ptr')}(ptr {pool}, ptr {_field(f, pool, JOB, 'ptr')}, i64 {thread})"
    )
    before = f.value(f"atomicrmw add ptr {done}, i32 1 seq_cst")
    workers = f.value(f"sub i64 {_field(f, pool, THREADS, 'i64')}, 1")
    last = f.value(f"icmp eq i32 {f.value(f'add i32 {before}, 1')}, {f.value(f'trunc i64 {workers} to i32')}")
    with f.when(last):
        f.line(f"call void @wake(ptr {pool}, ptr {done}, ptr {f.at(pool, DONE_SLEEPERS)})")
    f.line("br label %next")
    f.label("leave")
    return f, f.text("ptr null")


def _pool_start() -> tuple[Function, str]:
    """i32 pool_start(ptr pool): start threads 1 … threads-1; 0, or pthread_create's error and the count
    that runs.

    After an error `threads` holds how many there are, so that pool_stop() ends exactly those.
    """
    f = _define("pool_start", [("ptr", "pool")], "i32", internal=False)
    threads, create = _field(f, "%pool", THREADS, "i64"), _field(f, "%pool", CREATE, "ptr")
    error = f.variable("i32", 0)
    with f.loop(1, threads) as thread, f.when(f.value(f"icmp eq i32 {f.get('i32', error)}, 0")):
        given = f.at("%pool", f.add(f.mul(thread, WORKER_BYTES), WORKERS))
        f.line(f"store ptr %pool, ptr {given}")
        f.line(f"store i64 {thread}, ptr {f.at(given, 8)}")
        result = f.value(f"call i32 {create}(ptr {f.at(given, 16)}, ptr null, ptr @worker, ptr {given})")
        with f.when(f.value(f"icmp ne i32 {result}, 0")):
            f.set("i32", error, result)
            f.line(f"store i64 {thread}, ptr {f.at('%pool', THREADS)}")
    return f, f.text(f"i32 {f.get('i32', error)}")


def _pool_stop() -> tuple[Function, str]:
    """void pool_stop(ptr pool): end the workers and wait for their end. No run may be in progress."""
    f = _define("pool_stop", [("ptr", "pool")], internal=False)
    f.line(f"store i32 1, ptr {f.at('%pool', STOP)}")
    f.value("atomicrmw add ptr %pool, i32 1 seq_cst")
    f.line(f"call void @wake(ptr %pool, ptr %pool, ptr {f.at('%pool', EPOCH_SLEEPERS)})")
    join = _field(f, "%pool", JOIN, "ptr")
    with f.loop(1, _field(f, "%pool", THREADS, "i64")) as thread:
        given = f.at("%pool", f.add(f.mul(thread, WORKER_BYTES), WORKERS))
        f.value(f"call i32 {join}(i64 {_field(f, given, 16, 'i64')}, ptr null)")
    return f, f.text()


def _run(*, profiled: bool) -> tuple[Function, str]:
    """void program_run(ptr pool, ptr job): a null pool means that the caller does everything itself."""
    suffix = "_profiled" if profiled else ""
    f = _define(f"program_run{suffix}", [("ptr", "pool"), ("ptr", "job")], internal=False)

    def alone() -> None:
        f.line(f"call void @walk_alone{suffix}(ptr null, ptr %job, i64 0)")

    def together() -> None:
        done, sleepers = f.at("%pool", DONE), f.at("%pool", DONE_SLEEPERS)
        f.line(f"store ptr @walk{suffix}, ptr {f.at('%pool', WALK)}")
        f.line(f"store ptr %job, ptr {f.at('%pool', JOB)}")
        f.line(f"store atomic i32 0, ptr {done} release, align 4")
        f.value("atomicrmw add ptr %pool, i32 1 seq_cst")
        f.line(f"call void @wake(ptr %pool, ptr %pool, ptr {f.at('%pool', EPOCH_SLEEPERS)})")
        f.line(f"call void @walk{suffix}(ptr %pool, ptr %job, i64 0)")
        workers = f.value(f"sub i64 {_field(f, '%pool', THREADS, 'i64')}, 1")
        target = f.value(f"trunc i64 {workers} to i32")
        check, wait, end = f.fresh("check"), f.fresh("wait"), f.fresh("end")
        f.line(f"br label %{check}")
        f.label(check)
        count = f.value(f"load atomic i32, ptr {done} acquire, align 4")
        f.line(f"br i1 {f.value(f'icmp eq i32 {count}, {target}')}, label %{end}, label %{wait}")
        f.label(wait)
        f.line(f"call void @wait_while(ptr %pool, ptr {done}, i32 {count}, ptr {sleepers})")
        f.line(f"br label %{check}")
        f.label(end)

    f.branch(f.value("icmp eq ptr %pool, null"), alone, together)
    return f, f.text()


def _walk(*, profiled: bool, alone: bool) -> tuple[Function, str]:
    """One thread's way through the records: walk, walk_profiled, and their twins for a single thread."""
    name = "walk" + ("_alone" if alone else "") + ("_profiled" if profiled else "")
    f = _define(name, [("ptr", "pool"), ("ptr", "job"), ("i64", "thread")])
    plan = _field(f, "%job", 0, "ptr")
    scratch = f.at(_field(f, "%job", 16, "ptr"), f.mul("%thread", _field(f, "%job", 24, "i64")))
    threads: str | int = 1 if alone else _field(f, "%pool", THREADS, "i64")
    cycles = _field(f, "%job", 32, "ptr") if profiled else ""
    position = f.variable("i64", _field(f, "%job", 8, "i64"))
    f.line("br label %record")
    f.label("record")
    index = f.get("i64", position)
    record = f.at(plan, f.mul(index, 64))
    started = f.call("i64", "llvm.readcyclecounter") if profiled else ""
    f.set("i64", position, f.value(f"add i64 {index}, 1"))
    f.line(
        f"switch i64 {_field(f, record, 0, 'i64')}, label %end "
        "[ i64 0, label %call i64 1, label %jump i64 2, label %test ]"
    )
    f.label("call")
    _call_record(f, record, scratch, threads)
    _meet(f, record, alone)
    if profiled:
        _note_cycles(f, cycles, index, started)
    f.line("br label %record")
    f.label("jump")
    f.set("i64", position, _field(f, record, 56, "i64"))
    f.line("br label %record")
    f.label("test")
    condition = f.value(f"load i8, ptr {_field(f, record, 16, 'ptr')}")
    # All threads have read the condition before one of them can reach the kernel that writes it anew.
    _meet(f, record, alone)
    with f.when(f.value(f"icmp eq i8 {condition}, 0")):
        f.set("i64", position, _field(f, record, 56, "i64"))
    f.line("br label %record")
    f.label("end")
    return f, f.text()


def _call_record(f: Function, record: str, scratch: str, threads: str | int) -> None:
    kernel, arguments = _field(f, record, 8, "ptr"), _field(f, record, 16, "ptr")
    tasks = _field(f, record, 24, "i64")

    def part(low: str | int, high: str | int) -> None:
        with f.when(f.compare("slt", low, high)):
            f.line(f"call void {kernel}(ptr {arguments}, i64 {low}, i64 {high}, ptr {scratch})")

    if threads == 1:
        part(0, tasks)
        return
    chunks, flags = _field(f, record, 32, "i64"), _field(f, record, 40, "i64")
    is_single = f.value(f"icmp ne i64 {f.value(f'and i64 {flags}, 2')}, 0")

    def single() -> None:
        with f.when(f.value("icmp eq i64 %thread, 0")):
            part(0, tasks)

    def slice_of(number: str, parts: str | int) -> None:
        low = f.value(f"udiv i64 {f.value(f'mul i64 {tasks}, {number}')}, {parts}")
        after = f.value(f"add i64 {number}, 1")
        high = f.value(f"udiv i64 {f.value(f'mul i64 {tasks}, {after}')}, {parts}")
        part(low, high)

    def split() -> None:
        f.branch(f.compare("eq", chunks, 0), lambda: slice_of("%thread", threads), draw)

    def draw() -> None:
        counter = f.at(record, 48)
        head, body, end = f.fresh("draw"), f.fresh("chunk"), f.fresh("drawn")
        f.line(f"br label %{head}")
        f.label(head)
        number = f.value(f"atomicrmw add ptr {counter}, i64 1 acq_rel")
        f.line(f"br i1 {f.compare('slt', number, chunks)}, label %{body}, label %{end}")
        f.label(body)
        slice_of(number, chunks)
        f.line(f"br label %{head}")
        f.label(end)
        # Every thread draws exactly one number too many; who draws the last one leaves the counter at zero.
        final = f.value(f"add i64 {chunks}, {f.value(f'sub i64 {threads}, 1')}")
        with f.when(f.compare("eq", number, final)):
            f.line(f"store atomic i64 0, ptr {counter} release, align 8")

    f.branch(is_single, single, split)


def _meet(f: Function, record: str, alone: bool) -> None:
    if alone:
        return
    flag = f.value(f"and i64 {_field(f, record, 40, 'i64')}, 1")
    with f.when(f.value(f"icmp ne i64 {flag}, 0")):
        f.line("call void @barrier(ptr %pool)")


def _note_cycles(f: Function, cycles: str, index: str, started: str) -> None:
    with f.when(f.value("icmp eq i64 %thread, 0")):
        entry = f.at(cycles, f.mul(index, 16))
        visits = f.at(entry, 8)
        spent = f.value(f"sub i64 {f.call('i64', 'llvm.readcyclecounter')}, {started}")
        total = f.value(f"add i64 {_field(f, entry, 0, 'i64')}, {spent}")
        count = f.value(f"add i64 {_field(f, visits, 0, 'i64')}, 1")
        f.line(f"store i64 {total}, ptr {entry}")
        f.line(f"store i64 {count}, ptr {visits}")
