"""Public names explain themselves; which there are stands in tests/golden/public_names.txt."""

from __future__ import annotations

import dataclasses
import inspect
from importlib.metadata import version

import pytest

import engineworks
import engineworks.errors


@pytest.mark.parametrize("name", engineworks.__all__)
def test_every_public_name_exists_and_explains_itself(name: str) -> None:
    assert inspect.getdoc(getattr(engineworks, name))


def test_every_error_explains_itself_and_has_one_root() -> None:
    errors = [e for e in vars(engineworks.errors).values() if inspect.isclass(e)]
    assert [e.__name__ for e in errors if not (inspect.getdoc(e) and issubclass(e, engineworks.Error))] == []


def test_public_methods_explain_themselves() -> None:
    from engineworks.runtime.context import Context

    silent = [
        f"{kind.__name__}.{name}"
        for kind in (engineworks.Engine, Context)
        for name, method in vars(kind).items()
        if not name.startswith("_") and inspect.isfunction(method) and not inspect.getdoc(method)
    ]
    assert silent == []


def test_every_knob_of_a_build_is_explained() -> None:
    text = inspect.getdoc(engineworks.BuildConfig) or ""
    assert [f.name for f in dataclasses.fields(engineworks.BuildConfig) if f"{f.name}: " not in text] == []


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'biuld'"):
        engineworks.biuld  # noqa: B018


def test_the_package_and_its_metadata_agree_on_the_version() -> None:
    assert engineworks.__version__ == version("engineworks")
