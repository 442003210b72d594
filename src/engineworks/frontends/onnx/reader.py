"""ONNX protobuf to ForeignGraph: names, attributes as Python values, lazy constants, opsets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from engineworks.core.dtypes import DType
from engineworks.errors import InvalidModel, UnsupportedOperator
from engineworks.frontends.onnx.tensors import dense_from_sparse, dtype_of, lazy_tensor, tensor_array
from engineworks.ir.foreign import ForeignGraph, ForeignInput, ForeignOp

TypeOf = tuple[DType, tuple[int | str | None, ...] | None]


def read(source: str | Path | bytes) -> ForeignGraph:
    """The model of an ONNX file, or of its bytes.

    Weights stay where they are until somebody asks. Functions of the model are inlined, and so are operators that
    the ONNX standard defines by a function body and that have no rule here.

    Raises:
        InvalidModel: not an ONNX model, cut short, of an opset newer than the installed onnx package, or with
            external data that is missing or lies outside of the model's folder.
        UnsupportedOperator: an input or a weight has a type that Engineworks lacks.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return read_model(_parse(bytes(source), "the given bytes"), None, "model")
    path = Path(source)
    if not path.is_file():
        raise InvalidModel(f"there is no file '{path}'. Check the path; it is relative to {Path.cwd()}.")
    return read_model(_parse(path.read_bytes(), f"'{path}'"), path.parent, path.stem)


def read_model(model: Any, directory: Path | None, name: str) -> ForeignGraph:
    """As `read`, for an onnx.ModelProto in memory. Raises as `read`."""
    from engineworks.frontends.onnx.expand import expand_functions

    _check_opsets(model)
    model = expand_functions(model)
    opsets = _opsets(model)
    return _Reader(opsets, directory).graph(model.graph, model.graph.name or name)


def _parse(data: bytes, where: str) -> Any:
    import onnx
    from google.protobuf.message import DecodeError

    if not data:
        raise InvalidModel(f"{where} is empty. Export the model again.")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        hint = (
            " It is a Git LFS pointer: run 'git lfs pull'."
            if data.startswith(b"version https://git-lfs")
            else ""
        )
        raise InvalidModel(
            f"{where} is not an ONNX model, or one cut short ({len(data)} bytes).{hint}"
        ) from error
    if not model.HasField("graph") or not model.opset_import:
        raise InvalidModel(
            f"{where} holds no ONNX graph: 'graph' or 'opset_import' is absent. Is it another kind of file?"
        )
    return model


def _opsets(model: Any) -> dict[str, int]:
    return {_domain(o.domain): o.version for o in model.opset_import}


def _domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _check_opsets(model: Any) -> None:
    import onnx

    version, newest = _opsets(model).get("", 0), onnx.defs.onnx_opset_version()
    if version > newest:
        raise InvalidModel(
            f"the model uses opset {version}; the installed onnx {onnx.__version__} knows up to {newest}. "
            f"Upgrade the onnx package, or export with opset {newest} or lower."
        )


class _Reader:
    """Reads one model's graphs; bodies of control flow become ForeignGraphs too."""

    def __init__(self, opsets: Mapping[str, int], directory: Path | None) -> None:
        self.opsets = opsets
        self.directory = directory

    def graph(self, proto: Any, name: str) -> ForeignGraph:
        """A GraphProto: inputs that have an initializer are constants, as opset 8 and older list them twice."""
        constants: dict[str, Callable[[], np.ndarray]] = {}
        for tensor in proto.initializer:
            constants[tensor.name] = lazy_tensor(tensor, self.directory)
        for sparse in proto.sparse_initializer:
            constants[sparse.values.name] = dense_from_sparse(sparse, self.directory)
        foreign = ForeignGraph("onnx", name, self.opsets, constants=constants)
        foreign.inputs = [self._input(v) for v in proto.input if v.name not in constants]
        foreign.outputs = [v.name for v in proto.output]
        foreign.nodes = [self._node(n) for n in proto.node]
        return foreign

    def _input(self, value: Any) -> ForeignInput:
        kind = value.type.WhichOneof("value")
        if kind not in (None, "tensor_type"):
            raise UnsupportedOperator(
                f"input '{value.name}' is a {kind.removesuffix('_type')}, not a tensor. "
                f"Feed its tensors as inputs of their own."
            )
        if kind is None or not value.type.tensor_type.elem_type:
            return ForeignInput(value.name, None, None)  # type: ignore[arg-type]  # bodies: the caller knows
        made = _tensor_type(value)
        assert made is not None
        return ForeignInput(value.name, *made)

    def _node(self, node: Any) -> ForeignOp:
        outputs = tuple(node.output)
        name = node.name or next((o for o in outputs if o), node.op_type)
        attributes = {a.name: self._attribute(a, node, name) for a in node.attribute}
        return ForeignOp(node.op_type, _domain(node.domain), name, tuple(node.input), outputs, attributes)

    def _attribute(self, attribute: Any, node: Any, name: str) -> Any:
        """Strings as str (bytes when not UTF-8), lists as lists, tensors as arrays, graphs as ForeignGraph."""
        import onnx

        kind = onnx.AttributeProto.AttributeType.Name(attribute.type)
        body = f"{name}.{attribute.name}"
        read: dict[str, Callable[[], Any]] = {
            "FLOAT": lambda: float(attribute.f),
            "INT": lambda: int(attribute.i),
            "STRING": lambda: _string(attribute.s),
            "TENSOR": lambda: self._array(lazy_tensor, attribute.t),
            "SPARSE_TENSOR": lambda: self._array(dense_from_sparse, attribute.sparse_tensor),
            "GRAPH": lambda: self.graph(attribute.g, attribute.g.name or body),
            "FLOATS": lambda: [float(v) for v in attribute.floats],
            "INTS": lambda: [int(v) for v in attribute.ints],
            "STRINGS": lambda: [_string(v) for v in attribute.strings],
            "TENSORS": lambda: [tensor_array(t) for t in attribute.tensors],
            "GRAPHS": lambda: [self.graph(g, g.name or body) for g in attribute.graphs],
            "TYPE_PROTO": lambda: attribute.tp,
        }
        if kind not in read:
            raise InvalidModel(
                f"{node.op_type} at node '{name}': attribute '{attribute.name}' is of kind {kind}, "
                f"which cannot be read. There are {', '.join(read).lower()}."
            )
        return read[kind]()

    def _array(
        self, reader: Callable[[Any, Path | None], Callable[[], np.ndarray]], proto: Any
    ) -> np.ndarray:
        return reader(proto, self.directory)()


def _string(value: bytes) -> str | bytes:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value


def _tensor_type(value: Any) -> TypeOf | None:
    """dtype and dims of a ValueInfoProto: a name, or None where neither a size nor a name is given."""
    tensor = value.type.tensor_type
    if value.type.WhichOneof("value") != "tensor_type" or not tensor.elem_type:
        return None
    dtype = dtype_of(tensor.elem_type, f"'{value.name}'")
    if not tensor.HasField("shape"):
        return dtype, None
    return dtype, tuple(_dim(d) for d in tensor.shape.dim)


def _dim(dim: Any) -> int | str | None:
    match dim.WhichOneof("value"):
        case "dim_value":
            return int(dim.dim_value) if dim.dim_value >= 0 else None  # some exporters write -1 for unknown
        case "dim_param":
            return None if dim.dim_param in ("", "?") else dim.dim_param  # paddle2onnx writes '?' for unknown
    return None


def read_metadata(source: str | Path) -> dict[str, str]:
    """The free-form entries that an exporter left in an ONNX file (class names, character lists). Raises as `read`."""
    path = Path(source)
    if not path.is_file():
        raise InvalidModel(f"there is no file '{path}'. Check the path; it is relative to {Path.cwd()}.")
    return {p.key: p.value for p in _parse(path.read_bytes(), f"'{path}'").metadata_props}
