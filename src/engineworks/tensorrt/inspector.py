"""EngineInspector: what each launch does, as text or JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from engineworks.tensorrt.enums import LayerInformationFormat
from engineworks.tensorrt.unsupported import Face

if TYPE_CHECKING:
    from engineworks.runtime.engine import Engine


class EngineInspector(Face):
    """Tells the program of an engine; the build report (engineworks explain) tells more."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.execution_context: Any = None
        self.error_recorder: Any = None

    def _layers(self) -> list[dict[str, Any]]:
        manifest = self._engine.manifest
        precisions = _precisions(self._engine)
        layers = []
        for record in manifest.program:
            if record.op != "call":
                continue
            written = [manifest.buffers[b].value for b in record.writes]
            outputs = [
                {"Name": v.name, "Dimensions": list(v.dims), "Format/Datatype": v.dtype} for v in written if v
            ]
            layers.append(
                {
                    "Name": record.name,
                    "LayerType": "Kernel",
                    "Precision": precisions.get(record.group, "fp32"),
                    "Outputs": outputs,
                    "TacticName": manifest.kernels[record.kernel].tactic,
                }
            )
        return layers

    def get_layer_information(self, layer_index: int, format: LayerInformationFormat) -> str:
        return self._text(self._layers()[layer_index], format)

    def get_engine_information(self, format: LayerInformationFormat) -> str:
        layers = self._layers()
        if format is LayerInformationFormat.JSON:
            bindings = [t.name for t in (*self._engine.inputs, *self._engine.outputs)]
            return json.dumps({"Layers": layers, "Bindings": bindings}, indent=2)
        return "\n".join(self._text(layer, format) for layer in layers)

    def _text(self, layer: dict[str, Any], format: LayerInformationFormat) -> str:
        return (
            json.dumps(layer)
            if format is LayerInformationFormat.JSON
            else f"{layer['Name']}: {layer['TacticName']}, {layer['Precision']}"
        )


def _precisions(engine: Engine) -> dict[str, str]:
    """What each group's products compute in, by the group's name; everything else computes in fp32."""
    from engineworks.builder.report import decode

    if not engine.report:
        return {}
    told = decode(engine.report)
    of_node = {name: made.precision for made in told.precisions for name in made.origin}
    found = {group.number: {of_node[n] for n in group.origin if n in of_node} for group in told.groups}
    return {number: "+".join(sorted(names)) for number, names in found.items() if names}
