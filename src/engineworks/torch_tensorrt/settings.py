"""The options of compile: what they mean here, which have no effect, and which are answered another way."""

from __future__ import annotations

import dataclasses
import difflib
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from engineworks.builder.config import BuildConfig
from engineworks.errors import Unsupported
from engineworks.torch_tensorrt.device import Device
from engineworks.torch_tensorrt.enums import EngineCapability
from engineworks.torch_tensorrt.enums import dtype as Dtype
from engineworks.torch_tensorrt.unsupported import TABLE, Absent

_log = logging.getLogger("engineworks")

PRECISIONS: Mapping[str, str] = {"f32": "fp32", "f16": "fp16", "bf16": "bf16", "i8": "int8"}
"""By the name of an element type, what BuildConfig calls computing in it."""
_PASSING = frozenset({"f64"})
"""Element types that are permitted and change nothing: the model's own."""

WITHOUT_EFFECT: Mapping[str, str] = {
    "workspace_size": "memory is planned when the engine is built, and no kernel takes more than its plan",
    "max_aux_streams": "kernels run in the stream of the caller",
    "num_avg_timing_iters": "optimization_level says how long kernels are timed",
    "immutable_weights": "weights are always part of the engine",
    "use_fast_partitioner": "there is one partitioner, and it is fast",
    "enable_experimental_decompositions": "an operator is taken apart exactly where no rule takes it whole",
    "assume_dynamic_shape_support": "every operator takes sizes that change",
    "lazy_engine_init": "an engine is opened at its first call",
    "use_fp32_acc": "sums are always of fp32",
    "offload_module_to_cpu": "weights are read one by one, and copied to the host",
    "tiling_optimization_level": "optimization_level says how many tiles are tried",
    "l2_limit_for_tiling": "optimization_level says how many tiles are tried",
    "dynamically_allocate_resources": "memory is allocated with the first call",
    "decompose_attention": "attention is one kernel where that is faster",
    "attn_bias_is_causal": "masks are taken as they are",
    "fallback_data_dependent_ops": "operators whose sizes depend on data are in engines only where that works",
    "use_complex_decomposition": "operators on complex numbers run in PyTorch",
    "disabled_constant_fold_exclusions": "constants are always folded",
    "cache_built_engines": "compiled kernels and their timings are always cached",
    "reuse_cached_engines": "compiled kernels and their timings are always cached",
    "engine_cache_dir": "ENGINEWORKS_CACHE_DIR says where the cache is",
    "engine_cache_size": "ENGINEWORKS_CACHE_DIR says where the cache is",
    "custom_engine_cache": "ENGINEWORKS_CACHE_DIR says where the cache is",
    "use_python_runtime": "there is one runtime",
    "sparse_weights": "zeros in weights are multiplied like other numbers",
    "version_compatible": "later versions of Engineworks read the engine anyway",
    "allow_shape_tensors": "sizes are always followed",
    "truncate_long_and_double": "see truncate_double",
    "strict": "modules are exported without TorchDynamo",
    "allow_complex_guards_as_runtime_asserts": "engines check the sizes that they depend on",
    "prefer_deferred_runtime_asserts_over_guards": "engines check the sizes that they depend on",
}
"""Options that are accepted, with the reason why nothing depends on them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompilationSettings:
    """What a compilation may do; the names and defaults are Torch-TensorRT's.

    Attributes:
        enabled_precisions: element types that kernels may compute in, beside the model's own.
        use_explicit_typing: compute in the model's own types alone.
        min_block_size: operations below which an engine beside PyTorch's operators is not worth a call.
        torch_executed_ops: operators that run in PyTorch: torch.ops.aten.add, torch.ops.aten.add.Tensor or their names.
        torch_executed_modules: modules that run in PyTorch: classes or their names.
        require_full_compilation: refuse a model of which something would run in PyTorch.
        pass_through_build_failures: raise what ends the build of an engine, instead of running its part in PyTorch.
        truncate_double: compute float64 as float32 (compile; under torch.compile the model's own types are kept).
        optimization_level: 0 predicts the kernels, 3 times the promising ones, 5 tries all.
        timing_cache_path: file with earlier measurements, read and extended; None: the user's own cache.
        dryrun: only decide what runs where; a path also writes the plan there.
        device: where the model lies. It need not be given; a GPU where PyTorch sees none is taken for a wish.
        disable_tf32: on GPUs, products of float32 are computed in float32.
        hardware_compatible: on GPUs, other models of the architecture may load the engines; every GPU from Ampere on,
            where target is 'cuda:sm_80'.
        debug: log what is done.
        calibrate: for torch.int8 in enabled_precisions: example inputs of the model, as BuildConfig takes them.
        calibration_cache: file with the ranges of an earlier calibration, read if it is there and else written.
        target: as BuildConfig; None: 'cuda' for a model that lies on a GPU, else 'cpu'.
        calibration_method, threads, strict_math: as BuildConfig.
    """

    enabled_precisions: frozenset[Dtype] = frozenset()
    use_explicit_typing: bool = False
    min_block_size: int = 5
    torch_executed_ops: tuple[Any, ...] = ()
    torch_executed_modules: tuple[Any, ...] = ()
    require_full_compilation: bool = False
    pass_through_build_failures: bool = False
    truncate_double: bool = False
    optimization_level: int | None = None
    timing_cache_path: str | None = None
    dryrun: bool | str = False
    device: Device | None = None
    disable_tf32: bool = False
    hardware_compatible: bool = False
    engine_capability: EngineCapability = EngineCapability.STANDARD
    debug: bool = False
    calibrate: Any = None
    calibration_cache: str | None = None
    calibration_method: Any = "entropy"
    threads: int | None = None
    target: str | None = None
    strict_math: bool = False

    @property
    def eager_names(self) -> frozenset[str]:
        """Names of the operators that the user wants in PyTorch."""
        return frozenset(_operator_name(op) for op in self.torch_executed_ops)

    @property
    def eager_modules(self) -> frozenset[str]:
        """Names of the classes that the user wants in PyTorch."""
        return frozenset(m if isinstance(m, str) else m.__qualname__ for m in self.torch_executed_modules)

    def config(self, name: str = "") -> BuildConfig:
        """The options of one engine's build.

        Raises:
            BuildError: a value outside of its range.
            Unsupported: hardware_compatible=True for the CPU.
        """
        options: dict[str, Any] = {"name": name, "threads": self.threads, "target": self.target or "cpu"}
        if self.hardware_compatible:
            options["hardware_compatibility"] = _compatibility(options["target"])
        if self.optimization_level is not None:
            options["effort"] = self.optimization_level
        if self.timing_cache_path:
            options["timing_cache"] = Path(self.timing_cache_path)
        return BuildConfig(
            precision=self.precision(), strict_math=self.strict_math, tf32=not self.disable_tf32, **options
        )

    def precision(self) -> str | frozenset[str]:
        """What kernels may compute in, as BuildConfig names it."""
        lower = frozenset(PRECISIONS[p.value] for p in self.enabled_precisions if p.value in PRECISIONS)
        return "fp32" if self.use_explicit_typing or not lower else lower


def _compatibility(target: str) -> str:
    """`BuildConfig.hardware_compatibility` of an engine that more GPUs may load."""
    if "cuda" not in target:
        raise Absent(
            f"compile(hardware_compatible=True): for the CPU there is no such option; instead: "
            f"{TABLE['hardware_compatible']}"
        )
    return "ampere_plus" if "cuda:sm_80" in target else "same_compute_capability"


def settings_of(options: Mapping[str, Any]) -> CompilationSettings:
    """The settings that keyword arguments of compile stand for.

    Raises:
        Unsupported: an option or a value that is answered another way, and which way that is.
        TypeError: no such option; the sentence has the closest one.
    """
    known = {f.name for f in dataclasses.fields(CompilationSettings)}
    given = dict(options)
    _rename(given)
    chosen: dict[str, Any] = {}
    for name, value in given.items():
        if name in known:
            chosen[name] = _checked(name, value)
        elif name in WITHOUT_EFFECT:
            _log.info("%s=%r has no effect: %s.", name, value, WITHOUT_EFFECT[name])
        elif name in TABLE:
            _refuse_if_set(name, value)
        else:
            raise _unknown(name, known)
    return CompilationSettings(**chosen)


def _rename(given: dict[str, Any]) -> None:
    """Older and our own spellings."""
    if given.pop("truncate_long_and_double", False):
        given["truncate_double"] = True
    if (precision := given.pop("precision", None)) is not None:
        names = {precision} if isinstance(precision, str) else set(precision)
        given["enabled_precisions"] = {*given.get("enabled_precisions", ()), *map(_precision_named, names)}
    if (number := given.pop("gpu_id", None)) is not None and number >= 0:
        given["device"] = Device(gpu_id=number)
    if (effort := given.pop("effort", None)) is not None:
        given["optimization_level"] = effort


def _precision_named(name: Any) -> Any:
    by_name = {precision: dtype for dtype, precision in PRECISIONS.items()}
    return Dtype(by_name[name]) if name in by_name else name


def _checked(name: str, value: Any) -> Any:
    if name == "enabled_precisions":
        return frozenset(map(_precision, value if isinstance(value, Iterable) else {value}))
    if name in ("torch_executed_ops", "torch_executed_modules"):
        return tuple(value)
    if name == "device":
        return Device._from(value) if value is not None else None
    if name == "engine_capability" and getattr(value, "name", value) not in ("STANDARD", "DEFAULT"):
        raise Unsupported(f"engine_capability={value}: engines have no restrictions; leave it out.")
    return value


def _precision(value: Any) -> Dtype:
    found = Dtype._from(value)
    if found.value not in PRECISIONS and found.value not in _PASSING:
        raise Unsupported(
            f"enabled_precisions: there are no kernels that compute in {found.name}; "
            f"there are {', '.join(Dtype(p).name for p in PRECISIONS)}."
        )
    return found


def _refuse_if_set(name: str, value: Any) -> None:
    """An option that is off, or at its default, asks for nothing."""
    if value and value not in (frozenset(), -1, 1 << 20, 1 << 29, 1 << 30):
        raise Absent(f"compile({name}={value!r}): there is no such option; instead: {TABLE[name]}")


def _unknown(name: str, known: Collection[str]) -> TypeError:
    there = sorted({*known, *WITHOUT_EFFECT, *TABLE, "precision", "effort"})
    close = difflib.get_close_matches(name, there, n=1)
    hint = f"; did you mean '{close[0]}'?" if close else f". There are {', '.join(sorted(known))}."
    return TypeError(f"compile() has no option '{name}'{hint}")


def _operator_name(op: Any) -> str:
    """'aten.add' or 'aten.add.Tensor', from an operator or a name in one of torch's spellings."""
    text = op if isinstance(op, str) else str(op)
    return text.removeprefix("torch.ops.").replace("::", ".")


def names_of_operator(target: Any) -> frozenset[str]:
    """The names by which a program may mean an operator: its own, and that of its overloads together."""
    if not isinstance(target, torch._ops.OpOverload):
        return frozenset({str(target)})
    return frozenset({str(target), str(target.overloadpacket), _operator_name(str(target.overloadpacket))})
