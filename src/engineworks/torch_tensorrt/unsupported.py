"""What Torch-TensorRT has and this face answers another way: one table, and the exception that quotes it."""

from __future__ import annotations

from engineworks.errors import Unsupported

REBUILD = (
    "compile again: tuned kernels come from the timing cache, so that a second compilation takes seconds"
)
SHAPES = "one engine serves all shapes between min_shape and max_shape"
NO_DLA = "there are no deep-learning accelerators here; leave it at its default"
MEMORY = "memory is planned when the engine is built"
TARGET = 'engineworks.build(module, args=…, target="cpu:avx2") makes an engine that more machines can run'
CALIBRATE = "compile(…, enabled_precisions={torch.int8}, calibrate=batches, calibration_cache=path)"

TABLE: dict[str, str] = {
    "MutableTorchTensorRTModule": "torch.compile(model, backend='engineworks') follows changed weights by itself",
    "dynamo.refit_module_weights": REBUILD,
    "refit_module_weights": REBUILD,
    "cross_compile_for_windows": f"engine files run on Linux; {TARGET}",
    "save_cross_compiled_exported_program": f"engine files run on Linux; {TARGET}",
    "load_cross_compiled_exported_program": "call torch_tensorrt.load(path)",
    "fx": 'use ir="dynamo", which takes the same modules',
    "distributed": "an engine runs on one machine",
    "kernels": "an operator is one Python file here: docs/developers/add-an-operator.md",
    "dynamo.conversion": "an operator is one Python file here: docs/developers/add-an-operator.md",
    "runtime.weight_streaming": "weights are mapped from the file; the system loads the pages that are used",
    "runtime.enable_cudagraphs": "a call of an engine is one native call already; leave it out",
    "runtime.enable_pre_allocated_outputs": "engineworks.load(bytes).context().bind(…) writes to arrays of yours",
    "runtime.enable_output_allocator": "outputs whose sizes depend on data are allocated by the engine",
    "runtime.optimization_profile": SHAPES,
    "runtime.RuntimeCache": "nothing is compiled when an engine is loaded; leave it out",
    "runtime.runtime_cache": "nothing is compiled when an engine is loaded; leave it out",
    "runtime.RuntimeSettings": "an engine has no settings at run time but its threads: torch.set_num_threads(n)",
    "runtime.runtime_config": "an engine has no settings at run time but its threads: torch.set_num_threads(n)",
    "runtime.set_dynamic_shapes_kernel_strategy": SHAPES,
    "runtime.TorchTensorRTModule": "engineworks.load(bytes) is the engine; compile() gives modules",
    "runtime.PythonTorchTensorRTModule": "engineworks.load(bytes) is the engine; compile() gives modules",
    "ts.embed_engine_in_new_module": "engineworks.torch_tensorrt.embed_engine(bytes) makes a module of an engine",
    "ts.TensorRTCompileSpec": "give compile() the same options",
    "ts.ptq": CALIBRATE,
    "ptq": CALIBRATE,
    # -- options of compile
    "calibrator": CALIBRATE,
    "dla_sram_size": NO_DLA,
    "dla_local_dram_size": NO_DLA,
    "dla_global_dram_size": NO_DLA,
    "enable_weight_streaming": "weights are mapped from the file; leave it out",
    "strip_engine_weights": "engines hold their weights; leave it out",
    "refit_identical_engine_weights": REBUILD,
    "refit": REBUILD,
    "make_refittable": REBUILD,
    "enable_cross_compile_for_windows": f"engine files run on Linux; {TARGET}",
    "enable_cross_platform_compatibility": f"engine files run on Linux; {TARGET}",
    "hardware_compatible": TARGET,
    "use_distributed_mode_trace": "an engine runs on one machine; leave it out",
    "enable_autocast": "enabled_precisions={torch.half} permits half precision where it pays",
    "autocast_low_precision_type": "enabled_precisions={torch.half} permits half precision where it pays",
    "autocast_excluded_nodes": "enabled_precisions={torch.half} permits half precision where it pays",
    "autocast_excluded_ops": "enabled_precisions={torch.half} permits half precision where it pays",
    "autocast_max_output_threshold": "enabled_precisions={torch.half} permits half precision where it pays",
    "autocast_max_depth_of_reduction": "enabled_precisions={torch.half} permits half precision where it pays",
    "autocast_calibration_dataloader": "enabled_precisions={torch.half} permits half precision where it pays",
    "enable_resource_partitioning": MEMORY,
    "cpu_memory_budget": MEMORY,
    "input_signature": "give arg_inputs=(…) and kwarg_inputs={…}: they may hold tuples, lists and dicts of Input",
    "capture_dynamic_output_shape_ops": "operators whose sizes depend on data run in PyTorch where engines cannot",
}
"""A name of the package, or an option of compile, to the way that Engineworks goes."""


class Absent(Unsupported, AttributeError):
    """Also an AttributeError, so that hasattr() and getattr(…, default) tell programs what is there."""


def absent(name: str) -> Absent | None:
    """The exception for a name of the package; None when Torch-TensorRT has no such thing either."""
    way = TABLE.get(name)
    return None if way is None else Absent(f"engineworks.torch_tensorrt has no {name}; instead: {way}")


def missing(room: str, name: str) -> AttributeError:
    """What `__getattr__` of a module here raises for `name`; `room` is '' or the sub-module with a dot."""
    return absent(f"{room}{name}") or AttributeError(
        f"module 'engineworks.torch_tensorrt{'.' * bool(room)}{room.rstrip('.')}' has no attribute '{name}'"
    )
