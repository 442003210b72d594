"""Which of several plans is loaded."""

from __future__ import annotations

import logging

import pytest

from engineworks.core.target import V3, V4, Target
from engineworks.engine import container
from engineworks.engine.container import Container
from engineworks.engine.schema import Manifest, TargetRecord, Tensor, Variant
from engineworks.errors import EngineMismatch
from engineworks.runtime.device import Device
from engineworks.runtime.null.device import NullDevice
from engineworks.runtime.variants import first_that_loads, preferred
from engineworks.testing.emulated_gpu import emulated_device

AVX2, AVX512 = TargetRecord("cpu", "x86-64-v3", V3), TargetRecord("cpu", "x86-64-v4", V4)
FACTS = {"gpu": "emulated sm_90"}
SM80, SM90, SM100 = (TargetRecord("cuda", a) for a in ("sm_80", "sm_90", "sm_100"))
AMPERE = TargetRecord("cuda", "sm_80", (), "ampere_plus")
TUNED = TargetRecord("cuda", "sm_90", (), "", FACTS)
SM86 = TargetRecord("cuda", "sm_86", (), "ampere_plus")
CPU, GPU = Target("cpu", "x86-64-v4", V4), Target("cuda", "sm_90")


@pytest.mark.parametrize(
    ("records", "order"),
    [
        ((AVX2, AVX512), [1, 0]),
        ((AVX2, SM90), [1, 0]),
        ((AVX512, AMPERE, AVX2, SM90), [3, 1, 0, 2]),
        ((SM80, SM100, SM90), [2, 1, 0]),
        ((AMPERE, SM86), [1, 0]),
        ((SM90, TUNED), [1, 0]),
        ((AVX2, AVX2), [0, 1]),
    ],
)
def test_gpus_before_cpus_their_own_architecture_first_and_more_features_before_fewer(records, order) -> None:
    assert preferred(records, {"cpu": CPU, "cuda": GPU}) == order


def test_plans_for_devices_that_are_not_here_are_left_out() -> None:
    assert preferred((SM90, AVX2, AVX512), {"cpu": CPU}) == [2, 1]


def _file(*records: TargetRecord) -> Container:
    io = {"inputs": (Tensor("x", "f32", (4,)),), "outputs": (Tensor("y", "f32", (4,)),)}
    sections, variants = {}, []
    for number, record in enumerate(records):
        parts = {"code": b"", "weights": b""}
        made = container.complete(Manifest(package="1", target=record, **io), parts)
        sections |= {f"plan.{number}": container.encode_manifest(made), f"code.{number}": b""}
        variants.append(Variant(record, f"plan.{number}", f"code.{number}"))
    outer = Manifest(package="1", target=records[0], **io, variants=tuple(variants))
    return container.read(container.encode(outer, sections | {"weights": b""}))


def _arch(plan: Container, device: Device) -> str:
    return plan.manifest.target.arch


def test_the_plan_of_a_device_is_loaded_on_it() -> None:
    file = _file(AVX2, SM80, SM90)
    assert first_that_loads(file, emulated_device("sm_90"), _arch) == "sm_90"
    assert first_that_loads(file, emulated_device("sm_80"), _arch) == "sm_80"
    assert first_that_loads(file, None, _arch) == "x86-64-v3"


def test_a_newer_gpu_takes_the_newest_plan_that_it_can_run() -> None:
    assert first_that_loads(_file(AMPERE, SM100, AVX2), emulated_device("sm_90"), _arch) == "sm_80"


def test_a_plan_that_does_not_load_is_passed_over() -> None:
    def load(plan: Container, device: Device) -> str:
        if plan.manifest.target.arch == "sm_90":
            raise EngineMismatch("the engine was tuned with cudnn 9.1; here is none.\n  Install it.")
        return plan.manifest.target.arch

    assert first_that_loads(_file(AMPERE, SM90), emulated_device("sm_90"), load) == "sm_80"
    with pytest.raises(
        EngineMismatch, match=r"cuda:sm_90: the engine was tuned with cudnn 9\.1; here is none\."
    ):
        first_that_loads(_file(SM80, SM90), emulated_device("sm_90"), load)


def test_the_log_says_which_plan_is_loaded_and_why_others_are_not(caplog) -> None:
    with caplog.at_level(logging.INFO, "engineworks"):
        first_that_loads(_file(SM100, AMPERE, AVX2), emulated_device("sm_90"), _arch)
    assert caplog.messages == [
        "<bytes>: plan 1, for cuda:sm_80, is loaded; passed over:\n"
        "  cuda:sm_100: architecture: the engine needs sm_100, this is sm_90\n"
        "  cpu:x86-64-v3: it is to be loaded on 'cuda'"
    ]


def test_where_none_runs_each_says_why() -> None:
    tuned = TargetRecord("cuda", "sm_90", (), "", {"gpu": "NVIDIA H100 PCIe", "processors": "114"})
    with pytest.raises(EngineMismatch) as caught:
        first_that_loads(_file(AVX2, SM80, tuned), emulated_device("sm_90"), _arch)
    assert str(caught.value).splitlines() == [
        "<bytes> has 3 plans, and none of them runs here:",
        "  cpu:x86-64-v3: it is to be loaded on 'cuda'",
        "  cuda:sm_80: architecture: the engine needs sm_80, this is sm_90",
        "  cuda:sm_90: GPU: the engine was tuned on NVIDIA H100 PCIe, this is emulated sm_90; multiprocessors: the "
        "engine was tuned for 114, this GPU has 132",
        "  Build it again with a target that this machine has, or with cpu:avx2 among them, which most can run.",
    ]


def test_a_number_means_the_device_of_that_number() -> None:
    with pytest.raises(EngineMismatch, match="there is no CPU device 7"):
        first_that_loads(_file(AVX2, AVX512), 7, _arch)


def test_a_device_that_no_package_provides_is_a_reason() -> None:
    with pytest.raises(
        EngineMismatch, match="wood:oak: the engine needs the device 'wood', which no installed"
    ):
        first_that_loads(_file(TargetRecord("wood", "oak"), TargetRecord("wood", "ash")), None, _arch)


def test_a_file_with_one_plan_is_loaded_as_it_is() -> None:
    manifest = Manifest(package="1", target=TargetRecord("null", "none"), inputs=(), outputs=())
    file = container.read(container.encode(manifest, {}))
    device = NullDevice()
    assert first_that_loads(file, device, lambda plan, found: (plan, found)) == (file, device)
    assert first_that_loads(file, None, lambda plan, found: found.name) == "null"
