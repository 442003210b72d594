"""Engines of every released format version load and give the same answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import engineworks
from engineworks.engine import versions

ENGINES = Path(__file__).resolve().parent / "engines"
VERSIONS = sorted(p.name for p in ENGINES.glob("v*"))


def test_every_readable_version_has_a_sample() -> None:
    assert set(VERSIONS) == {f"v{n}" for n in range(versions.OLDEST, versions.CURRENT + 1)}


@pytest.mark.parametrize("version", VERSIONS)
def test_an_engine_of_this_version_runs(version: str) -> None:
    sample = np.load(ENGINES / version / "sample.npz")
    engine = engineworks.load(ENGINES / version / "sample.engine", verify=True)
    classes = engine(image=sample["image"])["classes"]
    np.testing.assert_allclose(classes, sample["classes"], rtol=1e-4, atol=1e-6)
