"""Targets: names, this machine, and what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from engineworks.core import target
from engineworks.core.target import V3, V4, Target, missing_features, parse


def test_levels_have_their_features_and_nothing_else():
    assert parse("cpu:avx2") == parse("cpu:x86-64-v3") == Target("cpu", "x86-64-v3", tuple(sorted(V3)))
    assert parse("cpu:avx512") == Target("cpu", "x86-64-v4", tuple(sorted(V4)))


def test_features_can_be_added_to_a_level():
    assert "avx512vnni" in parse("cpu:avx512+avx512vnni").features
    assert str(parse("cpu:avx512+avx512vnni")) == "cpu:x86-64-v4+avx512vnni"


def test_the_text_of_a_target_is_parsed_back():
    for text in ("cpu:avx2", "cpu:avx512+amx-tile+avx512bf16", "cuda:sm_90", "cpu"):
        assert parse(str(parse(text))) == parse(text)


@pytest.mark.parametrize("text", ["cpu:avx3", "cpu:avx2+mmx", "gpu", "", "cuda:"])
def test_other_names_are_refused(text):
    with pytest.raises(ValueError):
        parse(text)


def test_cpuid_agrees_with_the_kernels_list():
    assert target._from_cpuid() == target._from_proc(Path("/proc/cpuinfo").read_text())


def test_the_kernels_list_is_read_when_executable_memory_is_forbidden(monkeypatch):
    def forbidden(*_args, **_options):
        raise PermissionError

    expected = target.host_features()
    monkeypatch.setattr(target.mmap, "mmap", forbidden)
    assert target.host_features.__wrapped__() == expected


def test_registers_that_the_system_does_not_save_do_not_count():
    assert not target._is_saved("avx512f", 0x6)
    assert target._is_saved("avx2", 0x6)
    assert not target._is_saved("amx-tile", 0xE7)
    assert target._is_saved("amx-tile", 0x600E7)
    assert target._is_saved("popcnt", 0)


def test_fingerprints_differ_by_features():
    assert parse("cpu:avx2").fingerprint != parse("cpu:avx512").fingerprint
    assert parse("cpu:avx2").fingerprint == parse("cpu:x86-64-v3").fingerprint


def test_each_missing_feature_is_listed():
    assert missing_features(parse("cpu:avx2"), parse("cpu:avx512")) == []
    assert "cpu feature: avx512f" in missing_features(parse("cpu:avx512"), parse("cpu:avx2"))
    assert missing_features(parse("cuda:sm_90"), parse("cpu:avx2")) == [
        "device: the engine needs cuda, this is cpu"
    ]
    assert missing_features(parse("cuda:sm_90"), parse("cuda:sm_80")) == [
        "architecture: the engine needs sm_90, this is sm_80"
    ]
