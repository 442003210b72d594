"""What a figure was measured on, and how many floating-point operations the machine can do at best."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import subprocess
import threading
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("engineworks", "numpy", "llvmlite", "onnx", "onnxruntime", "openvino", "torch")
ITERATIONS = 200_000


def fingerprint() -> dict[str, object]:
    """CPU model, cores, caches, features, kernel and package versions; no names of machines or users."""
    from engineworks.core.target import host

    return {
        "cpu": _field("model name"),
        "cores": len(os.sched_getaffinity(0)),
        "target": str(host()),
        "caches": _caches(),
        "kernel": platform.release().split("-")[0],
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := version_of(name))},
    }


def commit() -> str:
    """The repository's commit, with '+' when files differ from it; empty outside of a repository."""
    if shutil.which("git") is None:
        return ""
    folder = Path(__file__).parent
    git = ["git", "-C", os.fspath(folder)]
    found = subprocess.run(
        [*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False
    )
    changed = subprocess.run(
        [*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() + ("+" if changed.stdout.strip() else "")


def peak_gflops(threads: int = 1, seconds: float = 0.5) -> float:
    """f32 operations per ns (two for each multiply-add) of `threads` threads in a loop of independent FMAs.

    The best of many short stretches, so that other load on the machine hardly counts.
    """
    kernel, operations = _fma_kernel()
    best = [0.0] * threads
    end = time.perf_counter() + seconds

    def work(index: int) -> None:
        out = ctypes.create_string_buffer(64 * 64)
        while (start := time.perf_counter()) < end:
            kernel(ITERATIONS, ctypes.addressof(out))
            best[index] = max(best[index], ITERATIONS * operations / (time.perf_counter() - start) / 1e9)

    workers = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(best)


def _fma_kernel():
    """(callable(iterations, out), operations per iteration): as many accumulators as registers allow."""
    from engineworks.codegen.llvm.compile import compile_object, module_text
    from engineworks.codegen.llvm.function import AVX2, AVX512, Function
    from engineworks.core.target import host
    from engineworks.runtime.cpu.link import link
    from engineworks.runtime.cpu.loader import load

    isa = AVX512 if host().arch == "x86-64-v4" else AVX2
    accumulators = isa.registers * 3 // 4
    kind = f"<{isa.lanes} x float>"
    f = Function("fma_peak", (("i64", "count"), ("ptr", "out")))
    slots = [f.variable(kind, f"splat (float {n + 1}.0)") for n in range(accumulators)]
    # Loaded, so that the compiler cannot fold the loop into a constant.
    f.line(f"store volatile {kind} splat (float 0.5), ptr %out, align 4")
    half = f.value(f"load volatile {kind}, ptr %out, align 4")
    with f.loop(0, "%count"):
        for slot in slots:
            arguments = (f"{kind} {half}", f"{kind} {half}", f"{kind} {f.get(kind, slot)}")
            f.set(kind, slot, f.call(kind, f"llvm.fma.v{isa.lanes}f32", *arguments))
    for n, slot in enumerate(slots):
        f.line(f"store {kind} {f.get(kind, slot)}, ptr {f.at('%out', n * isa.lanes * 4)}, align 4")
    image = load(link([compile_object(module_text([f.text()], f.declarations, isa), isa)]), ["fma_peak"])
    call = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p)(image.addresses["fma_peak"])

    def run(iterations: int, out: int, _keep: object = image) -> None:
        call(iterations, out)

    return run, accumulators * isa.lanes * 2


def version_of(package: str) -> str:
    """Of an installed package; empty when it is not."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _field(name: str) -> str:
    found = re.search(rf"^{name}\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1].strip() if found else platform.processor()


def _caches() -> dict[str, str]:
    """Size of each cache that core 0 reaches, such as {'L1d': '32K'}."""
    out = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind = (folder / "type").read_text().strip()
        level = (folder / "level").read_text().strip()
        letter = {"Data": "d", "Instruction": "i"}.get(kind, "")
        out[f"L{level}{letter}"] = (folder / "size").read_text().strip()
    return out


if __name__ == "__main__":
    import json

    print(json.dumps(fingerprint(), indent=1))
    print(f"FMA peak, 1 thread: {peak_gflops():.1f} GFLOP/s")
