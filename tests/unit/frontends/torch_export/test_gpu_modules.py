"""Modules on a GPU: what `engineworks.build` takes them for. Their parameters are faked."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch._subclasses import FakeTensorMode  # noqa: E402  after the package is known to be there

import engineworks as ew  # noqa: E402
from engineworks.frontends.torch_export.programs import lies_on_gpu  # noqa: E402
from engineworks.testing.emulated_gpu import build_emulated, emulated_device  # noqa: E402


class Scaling(torch.nn.Module):
    def __init__(self, device: str) -> None:
        super().__init__()
        with FakeTensorMode(allow_non_fake_inputs=True):
            self.weight = torch.nn.Parameter(torch.empty(4, device=device))

    def forward(self, x: Any) -> Any:
        return x * self.weight


def test_a_parameter_says_where_a_module_lies() -> None:
    assert lies_on_gpu(Scaling("cuda:0"))
    assert not lies_on_gpu(Scaling("cpu"))
    assert not lies_on_gpu("model.onnx")


def test_a_parameter_says_where_a_program_lies() -> None:
    program = torch.export.export(torch.nn.Linear(4, 2), (torch.ones(3, 4),))
    assert not lies_on_gpu(program)
    program._state_dict["weight"] = Scaling("cuda:0").weight
    assert lies_on_gpu(program)


@pytest.mark.parametrize(
    ("device", "options", "target"),
    [
        ("cuda:0", {}, "cuda"),
        ("cuda:0", {"target": "cpu"}, "cpu"),
        ("cuda:0", {"target": "cuda:sm_80"}, "cuda:sm_80"),
        ("cpu", {}, "cpu"),
    ],
)
def test_without_a_target_a_module_is_built_for_where_it_lies(
    monkeypatch: pytest.MonkeyPatch, device: str, options: dict[str, str], target: str
) -> None:
    class Built(Exception):
        """Carries the config that a build began with."""

    def building(model: object, config: ew.BuildConfig, progress: object) -> bytes:
        raise Built(config.target)

    monkeypatch.setattr("engineworks.builder.build.build_bytes", building)
    monkeypatch.setattr(
        "engineworks.frontends.torch_export.export.export_module", lambda module, *_, **__: module
    )
    with pytest.raises(Built, match=f"^{target}$"):
        ew.build(Scaling(device), args=(), **options)


def test_load_takes_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int | None] = []

    def find(name: str, index: int | None = None) -> object:
        asked.append(index)
        return emulated_device()

    module = torch.nn.Linear(4, 2)
    engine = build_emulated(torch.export.export(module, (torch.ones(3, 4),)), tf32=False)
    monkeypatch.setattr("engineworks.runtime.device.find", find)
    loaded = ew.load(engine, device=1)
    assert asked == [1]
    x = torch.linspace(-1, 1, 12).reshape(3, 4)
    torch.testing.assert_close(loaded(input=x)["output"], module(x).detach())
