"""What `compile` returns: a TorchScript module of engines that says what it cannot do."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn, Self

import torch

from engineworks.engine import container
from engineworks.engine.schema import TargetRecord
from engineworks.errors import InvalidInput, Unsupported
from engineworks.torch_tensorrt import operator as engine_operator
from engineworks.torch_tensorrt.structure import Result

_DTYPES = (
    "the dtypes of an engine are fixed when it is built: compile again, with Input(…, dtype=…) and "
    "enabled_precisions={…}"
)
_NO_TRAINING = "an engine computes no gradients: train the model, then compile it again"


class EngineModule(torch.jit.RecursiveScriptModule):
    """A compiled module: engine files in uint8 buffers, and TorchScript that runs them.

    `torch.jit.save(module, path)` writes it, and `torch.jit.load(path)` reads it in any process that imported
    `engineworks.torch_tensorrt`; nothing is converted or compiled there.

    Attributes:
        report: what runs where and why (`Plan`), as `dryrun=True` shows it; None after loading.
    """

    @classmethod
    def of(cls, scripted: Any, result: Result | None = None, report: Any = None) -> Self:
        """The module around TorchScript that calls engines.

        Args:
            scripted: what torch.jit.script or torch.jit.load gave.
            result: restores classes of results that TorchScript has no form for.
        """
        made = cls.__new__(cls)
        made._reconstruct(scripted._c)
        made.__dict__["_result"] = result if result is not None and result.needs_rebuilding else None
        made.__dict__["report"] = report
        return made

    # -- running
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the original module returns.

        Raises:
            InvalidInput: a shape, dtype or device that the engines were not built for, another constant than compiled,
            or an input that requires grad.
            EngineMismatch: the engines were built for hardware that this machine is not.
        """
        try:
            returned = self._c._get_method("forward")(*args, **kwargs)
        except torch.jit.Error as failure:
            # Raised by the lines that compare constants; the last line has the sentence.
            raise InvalidInput(str(failure).rpartition("Exception: ")[2].strip()) from None
        except RuntimeError:
            original = engine_operator.take_error()
            if original is None:
                raise
            # TorchScript turns errors into text; this is the one it speaks of.
            raise original from None
        rebuilt: Result | None = self.__dict__.get("_result")
        return returned if rebuilt is None else rebuilt.rebuilt(returned)

    # -- what is inside
    @property
    def device(self) -> torch.device:
        """The kind of device that its engines are for: 'cpu' or 'cuda'; of a module without engines, the CPU."""
        kinds = {target_of(engine).device for engine in self.engines().values()}
        return torch.device("cuda" if "cuda" in kinds else "cpu")

    def engines(self) -> dict[str, torch.Tensor]:
        """The engine files, by the name of their buffer: [bytes] uint8, as `engineworks.load` takes them."""
        return {name: tensor for name, tensor in self.named_buffers() if name.startswith("engine_")}

    def signatures(self) -> dict[str, str]:
        """What each engine takes and gives, 'x: f32[N, 3] -> f32[N, 10]', by the name of its buffer."""
        calls = (n for n in self.inlined_graph.nodes() if n.kind() == "engineworks::execute_engine")
        return {_buffer_of(call): list(call.inputs())[2].toIValue() for call in calls}

    @property
    def inlined_graph(self) -> Any:
        return self._c._get_method("forward").inlined_graph

    @property
    def code(self) -> str:
        """The TorchScript of `forward`."""
        return self._c._get_method("forward").code

    def __repr__(self) -> str:
        signatures = self.signatures()
        engines = "".join(
            f"\n  ({name}): {tensor.numel():,} bytes, {signatures.get(name, 'not called')}"
            for name, tensor in self.engines().items()
        )
        eager = sum(map(_is_eager, self.inlined_graph.nodes()))
        between = f"\n  in PyTorch: {eager} operation{'s' * (eager != 1)}" if eager else ""
        return f"{type(self).__name__}({engines}{between}\n)"

    # -- copies and files
    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        copied = type(self).of(
            _loaded(_saved(self)), self.__dict__.get("_result"), self.__dict__.get("report")
        )
        memo[id(self)] = copied
        return copied

    def __copy__(self) -> Self:
        return type(self).of(self, self.__dict__.get("_result"), self.__dict__.get("report"))

    def __reduce_ex__(self, protocol: Any) -> tuple:
        """Pickling, and so torch.save: the bytes of torch.jit.save."""
        return _loaded, (_saved(self), self.__dict__.get("_result"))

    # -- what a module of engines cannot do
    def train(self, mode: bool = True) -> Self:
        """Itself for False. Raises Unsupported for True."""
        if mode:
            raise Unsupported(f"a compiled module cannot be trained: {_NO_TRAINING}.")
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Itself for the CPU, or the current GPU, which it was compiled for. Raises Unsupported: a dtype, elsewhere."""
        device, dtype, _, _ = torch._C._nn._parse_to(*args, **kwargs)
        if device is not None and not self._is_at_home(device):
            self._refuse_device(f"'{device}'")
        if dtype is not None:
            raise Unsupported(f"a compiled module cannot become {dtype}: {_DTYPES}.")
        return self

    def _is_at_home(self, device: torch.device) -> bool:
        if device.type != self.device.type:
            return False
        return device.type == "cpu" or device.index in (None, torch.cuda.current_device())

    def cpu(self) -> Self:
        """Itself. Raises Unsupported: its engines are for GPUs."""
        return self.to("cpu")

    def cuda(self, device: Any = None) -> Self:
        """Itself. Raises Unsupported: its engines are for the CPU, or on another GPU."""
        given = "cuda" if device is None else device
        return self.to(torch.device("cuda", given) if isinstance(given, int) else given)

    def _refuse_dtype(self, *_: Any) -> NoReturn:
        raise Unsupported(f"a compiled module cannot change its dtype: {_DTYPES}.")

    def _refuse_device(self, device: Any = "another device", *_: Any, **__: Any) -> NoReturn:
        has, wants = ("the current GPU", "cpu") if self.device.type == "cuda" else ("the CPU", "cuda")
        raise Unsupported(
            f"a compiled module cannot move to {device}: its engines are code for {has}. Keep the module and its "
            f"inputs there, or compile model.{wants}()."
        )

    half = float = double = bfloat16 = type = _refuse_dtype
    xpu = ipu = to_empty = _refuse_device

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Itself for False. Raises Unsupported for True."""
        if requires_grad:
            raise Unsupported(f"a compiled module has no gradients: {_NO_TRAINING}.")
        return self

    def parameters(self, recurse: bool = True) -> Iterator[torch.nn.Parameter]:
        """None: weights are inside of the engines."""
        return iter(())

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> NoReturn:
        """Raises Unsupported: weights are inside of the engines."""
        raise Unsupported(
            "weights are inside of the engines: load them into the model, and compile it again "
            "(kernels come from the cache, so that a second build is quick)."
        )


def target_of(engine: torch.Tensor) -> TargetRecord:
    """What an engine file asks of the machine."""
    return container.read(engine.detach().cpu().contiguous().numpy().data).manifest.target


def _is_eager(node: Any) -> bool:
    """An operator of PyTorch on tensors."""
    is_ours = node.kind().startswith(("prim::", "engineworks::")) or node.kind() == "aten::__getitem__"
    return not is_ours and any("Tensor" in str(o.type()) for o in node.outputs())


def _buffer_of(call: Any) -> str:
    file = list(call.inputs())[1].node()
    return file.s("name") if file.kind() == "prim::GetAttr" else ""


def _saved(module: EngineModule) -> bytes:
    return module.save_to_buffer()


def _loaded(file: bytes, result: Result | None = None) -> EngineModule:
    """The module in the bytes of a TorchScript file, giving its results in the classes that they had."""
    return EngineModule.of(read_script(io.BytesIO(file)), result)


def read_script(
    source: Any, map_location: Any = None, extra_files: dict[str, Any] | None = None
) -> EngineModule:
    """The module in a TorchScript file, as torch.jit.load takes one.

    Raises:
        EngineError: in its kinds: an engine in it is damaged, too new, or built for other hardware.
        OSError, ValueError, RuntimeError: as torch.jit.load.
    """
    with warnings.catch_warnings():
        # TorchScript is deprecated, and asked for.
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.jit.load(source, map_location=map_location, _extra_files=extra_files)
    made = EngineModule.of(scripted)
    for engine in made.engines().values():
        engine_operator.open_engine(engine)
    return made
