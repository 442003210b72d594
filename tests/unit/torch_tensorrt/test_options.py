"""Options of compile, and names of the package: what is there, what has no effect, what goes another way."""

from __future__ import annotations

import pytest
import torch

from engineworks import torch_tensorrt
from engineworks.errors import Unsupported
from engineworks.torch_tensorrt.settings import names_of_operator, settings_of
from engineworks.torch_tensorrt.unsupported import TABLE


def test_options_of_old_programs_are_accepted() -> None:
    settings = settings_of(
        {
            "workspace_size": 1 << 30,
            "max_aux_streams": 4,
            "debug": False,
            "device": "cuda:0",
            "optimization_level": 1,
        }
    )
    assert settings.config("m").effort == 1


def test_an_unknown_option_is_an_error_with_the_closest_one() -> None:
    with pytest.raises(TypeError, match="no option 'optimisation_level'; did you mean 'optimization_level'"):
        settings_of({"optimisation_level": 1})


def test_an_option_that_goes_another_way_names_it() -> None:
    with pytest.raises(Unsupported, match="strip_engine_weights=True.*leave it out"):
        settings_of({"strip_engine_weights": True})


def test_an_option_at_its_default_asks_for_nothing() -> None:
    assert settings_of(
        {"strip_engine_weights": False, "dla_sram_size": 1 << 20, "hardware_compatible": False}
    )


@pytest.mark.parametrize(
    ("enabled", "precision"),
    [
        (set(), "fp32"),
        ({torch.float32}, {"fp32"}),
        ({torch.half}, {"fp16"}),
        ({torch_tensorrt.dtype.bf16, torch.float}, {"bf16", "fp32"}),
    ],
)
def test_enabled_precisions_are_those_of_a_build(enabled: set, precision: object) -> None:
    assert settings_of({"enabled_precisions": enabled}).precision() == precision


def test_our_own_names_of_precisions_are_taken_too() -> None:
    assert settings_of({"precision": "bf16", "effort": 0}).precision() == {"bf16"}


def test_explicit_typing_computes_in_the_models_own_types() -> None:
    assert (
        settings_of({"enabled_precisions": {torch.half}, "use_explicit_typing": True}).precision() == "fp32"
    )


def test_a_precision_without_kernels_is_refused() -> None:
    with pytest.raises(Unsupported, match="no kernels that compute in i64"):
        settings_of({"enabled_precisions": {torch.int64}})


@pytest.mark.parametrize(
    "spelled", [torch.ops.aten.add, torch.ops.aten.add.Tensor, "torch.ops.aten.add", "aten::add"]
)
def test_operators_are_named_in_all_of_torchs_spellings(spelled: object) -> None:
    settings = settings_of({"torch_executed_ops": {spelled}})
    assert names_of_operator(torch.ops.aten.add.Tensor) & settings.eager_names
    assert not names_of_operator(torch.ops.aten.sub.Tensor) & settings.eager_names


def test_a_name_that_goes_another_way_says_so_and_is_no_attribute() -> None:
    assert not hasattr(torch_tensorrt, "MutableTorchTensorRTModule")
    with pytest.raises(Unsupported, match="torch.compile"):
        torch_tensorrt.MutableTorchTensorRTModule  # noqa: B018
    with pytest.raises(Unsupported, match="weights are mapped"):
        torch_tensorrt.runtime.weight_streaming  # noqa: B018


def test_a_name_that_nobody_has_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'complie'"):
        torch_tensorrt.complie  # noqa: B018


def test_every_way_is_a_sentence_about_what_to_do() -> None:
    assert [name for name, way in TABLE.items() if len(way.split()) < 2] == []


def test_settings_of_gpus_are_accepted_at_run_time() -> None:
    with torch_tensorrt.runtime.set_multi_device_safe_mode(True):
        torch_tensorrt.runtime.set_cudagraphs_mode(False)


def test_the_log_has_a_level_for_a_while() -> None:
    import logging

    log = logging.getLogger("engineworks")
    before = log.level
    with torch_tensorrt.logging.debug():
        assert log.level == logging.DEBUG
    assert log.level == before
