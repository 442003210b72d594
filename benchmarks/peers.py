"""The runtimes that Engineworks is compared with, each behind the same small face.

All compute with the asked number of threads, from and into memory bound once. Precision "fp32" is f32 throughout.
"bf16" is what each calls so: OpenVINO's hint, torch in bf16 with bf16 inputs. "int8" is explicit quantisation
(`benchmarks.quantised`): each runtime reads the form of the file that it runs faster, and computes in bf16 what is
not quantised, where it can.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np

from benchmarks import zoo
from benchmarks.quantised import quantised
from benchmarks.zoo import ZooModel

Precision = Literal["fp32", "bf16", "int8"]
Outputs = dict[str, np.ndarray]


class Unavailable(RuntimeError):
    """This peer cannot run this network here; the message says why."""


@dataclass(frozen=True, slots=True)
class Runner:
    """A network made ready by one runtime.

    Attributes:
        call: computes once.
        outputs: copies of what the last call computed, by name.
        facts: of our own engine: `flops` of one inference (matrix products, convolutions and attention), `build_s`,
            and `load_s`, the least of three loads once everything is imported.
    """

    call: Callable[[], object]
    outputs: Callable[[], Outputs]
    facts: Mapping[str, float] = field(default_factory=dict)


def file_for(runtime: str, model: ZooModel, precision: Precision) -> ZooModel:
    """The file that a runtime reads at a precision.

    Of the two quantised forms ONNX Runtime runs u8 activations faster (ResNet-50: twice), the others s8.
    """
    if precision != "int8":
        return model
    return quantised(model, "u8" if runtime == "onnxruntime" else "s8")


def onnxruntime(model: ZooModel, threads: int, precision: Precision = "fp32") -> Runner:
    """ONNX Runtime's CPU provider with all optimisations, inputs and outputs bound.

    Raises:
        Unavailable: bf16, for which its CPU provider has no kernels.
    """
    import onnxruntime as ort

    if precision == "bf16":
        raise Unavailable("ONNX Runtime has no bf16 convolution or matrix product on this CPU")
    model = file_for("onnxruntime", model, precision)

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Its threads may spin while it runs; afterwards they would slow whoever is timed next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = ort.InferenceSession(os.fspath(model.path), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    kept = {name: ort.OrtValue.ortvalue_from_numpy(value) for name, value in model.inputs.items()}
    for name, value in kept.items():
        binding.bind_ortvalue_input(name, value)
    names = [output.name for output in session.get_outputs()]
    first = dict(zip(names, session.run(names, model.inputs), strict=True))
    for name in names:
        if _has_data_dependent_size(session, name):
            binding.bind_output(name, "cpu")
        else:
            kept[name] = ort.OrtValue.ortvalue_from_numpy(np.zeros_like(first[name]))
            binding.bind_ortvalue_output(name, kept[name])
    run = ort.RunOptions()

    def call(_keep: object = kept) -> None:
        session.run_with_iobinding(binding, run)

    return Runner(call, lambda: dict(zip(names, binding.copy_outputs_to_cpu(), strict=True)))


def _has_data_dependent_size(session, name: str) -> bool:
    """Sizes that are still symbols although no input has any."""
    shapes = {output.name: output.shape for output in session.get_outputs()}
    inputs = [d for i in session.get_inputs() for d in i.shape]
    is_fixed = all(isinstance(d, int) for d in inputs)
    return is_fixed and not all(isinstance(d, int) for d in shapes[name])


def openvino(model: ZooModel, threads: int, precision: Precision = "fp32") -> Runner:
    """OpenVINO's CPU plugin for latency; f32 is asked for (by itself it takes bf16 where the CPU has it)."""
    import openvino as ov

    model = file_for("openvino", model, precision)
    core = ov.Core()
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32" if precision == "fp32" else "bf16",
        "ENABLE_CPU_PINNING": False,
    }
    compiled = core.compile_model(core.read_model(os.fspath(model.path)), "CPU", settings)
    request = compiled.create_infer_request()
    for port in compiled.inputs:
        request.set_tensor(port, ov.Tensor(np.array(model.inputs[port.any_name], order="C")))

    def outputs(_keep: object = core) -> Outputs:
        return {port.any_name: request.get_tensor(port).data.copy() for port in compiled.outputs}

    return Runner(request.infer, outputs)


def torch_compile(model: ZooModel, threads: int, precision: Precision = "fp32") -> Runner:
    """The same network in torch, through inductor with frozen weights; needs a C++ compiler.

    Raises:
        Unavailable: the network is not one of ours in torch, or ends in what torch does not have; int8.
    """
    if precision == "int8":
        raise Unavailable("torch.compile does not read Q/DQ files")
    made = zoo.torch_module(model.name, model.size)
    if made is None:
        raise Unavailable(f"{model.name} exists as ONNX only")
    import torch
    from torch._inductor import config

    module, names = made
    torch.set_num_threads(threads)
    config.freezing = True
    arguments = [torch.from_numpy(value) for value in model.inputs.values()]
    if precision == "bf16":
        module = module.to(torch.bfloat16)
        arguments = [a.to(torch.bfloat16) if a.is_floating_point() else a for a in arguments]
    torch._dynamo.reset()
    compiled = torch.compile(module)
    last: list[object] = [None]

    def call() -> None:
        with torch.no_grad():
            last[0] = compiled(*arguments)

    def outputs() -> Outputs:
        results = last[0] if isinstance(last[0], tuple) else (last[0],)
        return {
            name: r.float().numpy().copy() if r.is_floating_point() else r.numpy().copy()
            for name, r in zip(names, results, strict=True)
        }

    return Runner(call, outputs)


PEERS: Mapping[str, Callable[[ZooModel, int, Precision], Runner]] = MappingProxyType(
    {"onnxruntime": onnxruntime, "openvino": openvino, "torch": torch_compile}
)
PACKAGES = MappingProxyType({"onnxruntime": "onnxruntime", "openvino": "openvino", "torch": "torch"})


def peer_version(peer: str) -> str:
    """Version of the package behind a peer."""
    return version(PACKAGES[peer])


ALLOWED: Mapping[Precision, tuple[str, ...]] = MappingProxyType(
    {"fp32": ("fp32",), "bf16": ("fp32", "bf16"), "int8": ("fp32", "bf16", "int8")}
)
"""What our builder may choose among."""


def engineworks(
    model: ZooModel, threads: int, effort: int = 3, folder: Path | None = None, precision: Precision = "fp32"
) -> Runner:
    """Our own engine: built, saved, loaded again, inputs and outputs bound.

    Args:
        folder: where engines are kept; the same network is built once for each number of threads.
    """
    import engineworks as ew

    if precision == "int8":
        model = quantised(model, "s8")
    path = (
        folder or zoo.CACHE.parent / "engines"
    ) / f"{model.path.stem}-{threads}-effort{effort}-{precision}.engine"
    path.parent.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    built = ew.build(
        model.path, profile=model.profile, effort=effort, threads=threads, precision=ALLOWED[precision]
    )
    build_s = time.perf_counter() - start
    built.save(path)
    flops = sum(group.get("flops", 0.0) for group in json.loads(built.report)["groups"])
    loads = []
    for _ in range(3):
        start = time.perf_counter()
        engine = ew.load(path, threads=threads)
        loads.append(time.perf_counter() - start)
    context = engine.context()
    context.bind(**model.inputs)
    first = context.execute()
    last: list[Outputs] = [first]

    def call() -> None:
        last[0] = context.execute()

    facts = {"flops": flops, "build_s": round(build_s, 2), "load_s": round(min(loads), 5)}
    return Runner(call, lambda: {name: np.array(value) for name, value in last[0].items()}, facts)
