"""What TensorRT has and this face answers another way: one table, and the exception that quotes it."""

from __future__ import annotations

from typing import Any

from engineworks.errors import Unsupported

LAYERS = "build the model as ONNX, or with engineworks.ir.GraphBuilder and engineworks.build(graph)"
DLA = "there are no deep-learning accelerators here; leave the device at its default"
PLUGINS = "an operator is one Python file here: docs/developers/add-an-operator.md"
STREAMING = "weights are mapped from the file; the system loads the pages that are used"
SHARE = "memory is planned at build and owned by the context: engineworks.load(path).context()"

TABLE: dict[str, str] = {
    "INetworkDefinition.add_": LAYERS,
    "INetworkDefinition.set_weights_name": "weights keep the names of the ONNX model",
    "Refitter": "build again: tuned kernels come from the timing cache, so a second build takes seconds",
    "OnnxParserRefitter": "build again: tuned kernels come from the timing cache, so a second build takes seconds",
    "get_plugin_registry": PLUGINS,
    "get_builder_plugin_registry": PLUGINS,
    "IPluginV2": PLUGINS,
    "IPluginV2DynamicExt": PLUGINS,
    "IPluginV3": PLUGINS,
    "IPluginCreator": PLUGINS,
    "plugin": PLUGINS,
    "Builder.get_plugin_registry": PLUGINS,
    "Runtime.get_plugin_registry": PLUGINS,
    "Runtime.load_runtime": "an engine needs no other runtime: engineworks.load(path)",
    "IAlgorithmSelector": "edit the timing cache (JSON lines, one kernel a line) to choose kernels",
    "IBuilderConfig.algorithm_selector": "edit the timing cache (JSON lines, one kernel a line) to choose kernels",
    "IBuilderConfig.set_device_type": DLA,
    "IBuilderConfig.can_run_on_DLA": DLA,
    "IGpuAllocator": SHARE,
    "IGpuAsyncAllocator": SHARE,
    "ICudaEngine.create_execution_context_without_device_memory": SHARE,
    "ICudaEngine.weight_streaming_budget": STREAMING,
    "ICudaEngine.weight_streaming_budget_v2": STREAMING,
    "IExecutionContext.set_device_memory": SHARE,
    "IExecutionContext.device_memory": SHARE,
    "IExecutionContext.set_communicator": "an engine runs on one device here",
    "IDebugListener": "engineworks.runtime.capture.capture(context, …) gives every value of an inference",
}
"""'Class.attribute', 'name of the module' or a prefix of either, to the way that Engineworks goes."""


class Absent(Unsupported, AttributeError):
    """Also an AttributeError, so that hasattr() and getattr(…, default) tell programs what is there."""


def absent(name: str) -> Absent | None:
    """The exception for `Class.attribute` or a name of the module; None when TensorRT has no such thing either."""
    way = TABLE.get(name) or next(
        (w for prefix, w in TABLE.items() if prefix.endswith("_") and name.startswith(prefix)), None
    )
    return None if way is None else Absent(f"engineworks.tensorrt has no {name}; instead: {way}")


class Face:
    """Base of the classes here: what is absent says what to do, and `with` is a no-op as in TensorRT."""

    def __getattr__(self, name: str) -> Any:
        for kind in type(self).__mro__:
            error = absent(f"{kind.__name__}.{name}")
            if error is not None:
                raise error
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        return None
