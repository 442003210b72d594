"""An ONNX model with intermediate values among its outputs, for comparing layer by layer."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path


def with_outputs(path: Path, names: Collection[str]) -> tuple[bytes, list[str]]:
    """The model of a file with these values as further outputs.

    Returns:
        the model's bytes (weights in files beside the model included), and all names of its outputs in order.
    """
    import onnx

    model = onnx.load(path)
    present = [v.name for v in model.graph.output]
    made = {o for node in model.graph.node for o in node.output}
    added = [n for n in names if n in made and n not in present]
    for name in added:
        model.graph.output.append(onnx.ValueInfoProto(name=name))
    return model.SerializeToString(), present + added
