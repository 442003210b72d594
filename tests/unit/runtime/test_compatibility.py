"""Which GPUs run which engines, and every reason why not."""

from __future__ import annotations

import pytest

from engineworks.engine.schema import Kernel, TargetRecord
from engineworks.runtime.compatibility import capability_of, differences, runs_cubin
from engineworks.testing.emulated_gpu import emulated_device

FACTS = {"gpu": "emulated sm_90", "processors": "132", "cuda": "13.0"}


def test_an_engine_runs_on_the_model_it_was_tuned_on():
    assert differences(TargetRecord("cuda", "sm_90", (), "", FACTS), emulated_device("sm_90")) == []


def test_every_difference_from_another_model_is_named():
    facts = {"gpu": "NVIDIA H100 PCIe", "processors": "114", "cuda": "14.1"}
    found = differences(TargetRecord("cuda", "sm_90", (), "", facts), emulated_device("sm_90"))
    assert found == [
        "GPU: the engine was tuned on NVIDIA H100 PCIe, this is emulated sm_90",
        "multiprocessors: the engine was tuned for 114, this GPU has 132",
        "driver: the engine needs one for CUDA 14.1, this is for 13.0",
    ]


def test_other_models_of_an_architecture_run_engines_that_allow_it():
    facts = {"gpu": "NVIDIA H100 PCIe", "processors": "114"}
    record = TargetRecord("cuda", "sm_90", (), "same_compute_capability", facts)
    assert differences(record, emulated_device("sm_90")) == []
    (why,) = differences(record, emulated_device("sm_100"))
    assert why == "architecture: the engine needs sm_90, this is sm_100"


def test_machine_code_runs_within_its_major_version_and_ptx_on_all_that_follow():
    record = TargetRecord("cuda", "sm_80", (), "ampere_plus", FACTS)
    bare, translated = Kernel("bare", size=8), Kernel("translated", size=8, ptx_size=8)
    assert differences(record, emulated_device("sm_86"), [bare]) == []
    assert differences(record, emulated_device("sm_90"), [translated]) == []
    (why,) = differences(record, emulated_device("sm_90"), [translated, bare])
    assert why == (
        "architecture: machine code for sm_80 does not run on sm_90, and 1 of 2 kernels carry no PTX to translate "
        "(the first is bare)"
    )


def test_an_older_gpu_is_refused():
    record = TargetRecord("cuda", "sm_86", (), "ampere_plus")
    (why,) = differences(record, emulated_device("sm_80"), [Kernel("k", ptx_size=8)])
    assert why == "architecture: the engine needs sm_86 or newer, this is sm_80"


def test_an_engine_for_a_cpu_does_not_run_on_a_gpu():
    (why,) = differences(TargetRecord("cpu", "x86-64-v3"), emulated_device())
    assert why == "device: the engine needs cpu, this is cuda"


@pytest.mark.parametrize(("arch", "capability"), [("sm_80", (8, 0)), ("sm_90a", (9, 0)), ("sm_120", (12, 0))])
def test_a_capability_is_read_from_its_name(arch, capability):
    assert capability_of(arch) == capability


def test_minor_versions_run_older_code_only():
    assert runs_cubin("sm_80", "sm_89")
    assert not runs_cubin("sm_89", "sm_86")
    assert not runs_cubin("sm_90", "sm_100")
