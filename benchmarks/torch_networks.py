"""Full-size networks of timm and transformers against eager PyTorch: the largest error, as exported and at five sizes.

    python -m benchmarks.torch_networks                  # all: an hour and 16 GB
    python -m benchmarks.torch_networks swin t5 --small  # narrow and shallow ones

Weights are random. The packages: pip install --no-deps timm==1.0.31 transformers==5.23.0 torchvision==0.28.0, and what
their imports ask for; torchvision's own operators are not used.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree

import engineworks as ew
from benchmarks.torchvision_operators import declare_torchvision_operators

Ranges = Mapping[int, tuple[int, int]]
"""(lowest, highest) by axis."""
ALLOWED = 1e-4
LEAST_DEVIATION = 1e-3
"""Outputs that hardly vary say nothing."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A module, an example call by forward's parameters, and the axes that may change."""

    module: nn.Module
    inputs: Mapping[str, Tensor]
    ranges: Mapping[str, Ranges]

    def profile(self) -> dict[str, tuple[list[int], list[int], list[int]]]:
        return {n: (self._at(n, 0), list(t.shape), self._at(n, -1)) for n, t in self.inputs.items()}

    def _at(self, name: str, step: int) -> list[int]:
        shape = list(self.inputs[name].shape)
        for axis, (low, high) in self.ranges.get(name, {}).items():
            shape[axis] = [low, (low + high) // 2, min(low + 1, high), max(high - 1, low), high][step]
        return shape

    def calls(self) -> Iterator[dict[str, Tensor]]:
        """The example with its tensors cut or repeated to five sizes."""
        for step in range(5):
            yield {n: _resized(t, self._at(n, step)) for n, t in self.inputs.items()}


def _resized(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    for axis, size in enumerate(shape):
        tensor = tensor.index_select(axis, torch.arange(size) % tensor.shape[axis])
    return tensor.contiguous()


class Tensors(nn.Module):
    """A network of transformers: keyword arguments in, only tensors out."""

    def __init__(self, network: nn.Module, parameters: Sequence[str], fields: Sequence[str]) -> None:
        super().__init__()
        self.network, self.parameters_given, self.fields = network, tuple(parameters), tuple(fields)

    def forward(self, first: Tensor, second: Tensor | None = None) -> dict[str, Tensor]:
        given = dict(zip(self.parameters_given, (first, second), strict=False))
        result = self.network(**given)
        return {field: getattr(result, field) for field in self.fields}


def _image(name: str, small: bool, **narrow: object) -> Subject:
    declare_torchvision_operators()
    import timm

    pixels = int(narrow.get("img_size", 64)) if small else 224  # type: ignore[call-overload]
    module = timm.create_model(name, **(narrow if small else {}))
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.momentum = 1.0
        for weight in module.parameters():
            if weight.ndim > 1 and weight.std() < LEAST_DEVIATION:
                weight.normal_(0, 0.05)  # heads of zeros
        module.train()(torch.randn(8, 3, pixels, pixels))
    return Subject(module.eval(), {"x": torch.randn(2, 3, pixels, pixels)}, {"x": {0: (1, 8)}})


TEXT: Ranges = {0: (1, 4), 1: (2, 200)}


def _tokens(vocabulary: int, length: int) -> Tensor:
    return torch.randint(0, vocabulary, (2, length))


def _bert(small: bool) -> Subject:
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    config = BertConfig(**(sizes if small else {}))
    ids, mask = _tokens(config.vocab_size, 128), torch.ones(2, 128, dtype=torch.int64)
    mask[1, -20:] = 0
    names = ("input_ids", "attention_mask"), ("last_hidden_state", "pooler_output")
    return Subject(
        Tensors(BertModel(config), *names), {"first": ids, "second": mask}, {"first": TEXT, "second": TEXT}
    )


def _gpt2(small: bool) -> Subject:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(use_cache=False, **({"n_embd": 64, "n_layer": 2, "n_head": 4} if small else {}))
    module = Tensors(GPT2LMHeadModel(config), ("input_ids",), ("logits",))
    return Subject(module, {"first": _tokens(config.vocab_size, 128)}, {"first": TEXT})


def _t5(small: bool) -> Subject:
    from transformers import T5Config, T5ForConditionalGeneration

    narrow = {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4}
    config = T5Config(use_cache=False, **(narrow if small else {}))
    names = ("input_ids", "decoder_input_ids"), ("logits", "encoder_last_hidden_state")
    inputs = {"first": _tokens(config.vocab_size, 128), "second": _tokens(config.vocab_size, 16)}
    return Subject(
        Tensors(T5ForConditionalGeneration(config), *names), inputs, {"first": TEXT, "second": TEXT}
    )


def _whisper(small: bool) -> Subject:
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    width, layers, heads = (64, 2, 4) if small else (512, 6, 8)
    config = WhisperConfig(
        d_model=width, encoder_layers=layers, encoder_attention_heads=heads, encoder_ffn_dim=4 * width
    )
    module = Tensors(WhisperEncoder(config), ("input_features",), ("last_hidden_state",))
    return Subject(
        module, {"first": torch.randn(2, 80, 2 * config.max_source_positions)}, {"first": {0: (1, 4)}}
    )


SUBJECTS: Mapping[str, Callable[[bool], Subject]] = {
    "resnet50": lambda s: _image("resnet50", s),
    "mobilenetv3": lambda s: _image("mobilenetv3_large_100", s),
    "efficientnet": lambda s: _image("efficientnet_b0", s),
    "vit": lambda s: _image("vit_base_patch16_224", s, img_size=64, embed_dim=64, depth=2, num_heads=4),
    "swin": lambda s: _image("swin_tiny_patch4_window7_224", s, img_size=56, embed_dim=24, depths=(2, 2)),
    "convnext": lambda s: _image("convnext_tiny", s, depths=(1, 1, 1, 1), dims=(16, 32, 48, 64)),
    "bert": _bert,
    "gpt2": _gpt2,
    "t5": _t5,
    "whisper": _whisper,
}


def largest_error(engine: ew.Engine, module: nn.Module, inputs: Mapping[str, Tensor]) -> float:
    """Of all outputs, in parts of the largest value of each. Raises ValueError: outputs that say nothing."""
    with torch.no_grad():
        wanted = [t.numpy() for t in _pytree.tree_leaves(module(*inputs.values()))]
    errors = []
    for have, want in zip(
        engine.run(**{n: t.numpy() for n, t in inputs.items()}).values(), wanted, strict=True
    ):
        if want.std() < LEAST_DEVIATION or have.shape != want.shape:
            raise ValueError(f"{have.shape} for {want.shape}, whose standard deviation is {want.std():.1e}")
        errors.append(float(np.abs(have - want).max() / np.abs(want).max()))
    return max(errors)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="network", help=", ".join(SUBJECTS))
    parser.add_argument("--small", action="store_true")
    given = parser.parse_args()
    unknown = sorted(set(given.names) - set(SUBJECTS))
    if unknown:
        parser.error(f"no network is called {', '.join(unknown)}; there are {', '.join(SUBJECTS)}")
    for name in given.names or SUBJECTS:
        torch.manual_seed(0)
        subject = SUBJECTS[name](given.small)
        module, example = subject.module.eval(), tuple(subject.inputs.values())
        for profile, calls in ((None, [subject.inputs]), (subject.profile(), subject.calls())):
            start = time.perf_counter()
            engine = ew.build(module, args=example, profile=profile, effort=0)
            built_s = time.perf_counter() - start
            errors = [largest_error(engine, module, call) for call in calls]
            verdict = "ok" if max(errors) <= ALLOWED else "WRONG"
            shown = " ".join(f"{e:.1e}" for e in errors)
            print(
                f"{name:13} {'dynamic' if profile else 'static':8} {verdict:6} {shown}  (built in {built_s:.0f} s)"
            )


if __name__ == "__main__":
    main()
