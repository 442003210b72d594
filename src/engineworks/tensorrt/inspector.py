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
        calls = [r for r in manifest.program if r.op == "call"]
        return [
            {"Name": r.name, "LayerType": "Kernel", "TacticName": manifest.kernels[r.kernel].tactic}
            for r in calls
        ]

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
            else f"{layer['Name']}: {layer['TacticName']}"
        )
