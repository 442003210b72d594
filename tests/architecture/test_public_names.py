"""The names that users may rely on. A change here is a change of the API: it belongs in the changelog."""

from __future__ import annotations

import inspect

import pytest

import engineworks

PUBLIC = ["BuildConfig", "Engine", "Error", "build", "load"]


def test_the_public_names_are_these() -> None:
    assert sorted(engineworks.__all__) == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_exists_and_explains_itself(name: str) -> None:
    assert inspect.getdoc(getattr(engineworks, name))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'biuld'"):
        engineworks.biuld  # noqa: B018


@pytest.mark.parametrize("name", ["Engine"])
def test_public_methods_explain_themselves(name: str) -> None:
    kind = getattr(engineworks, name)
    methods = [n for n, m in vars(kind).items() if not n.startswith("_") and inspect.isfunction(m)]
    assert [n for n in methods if not inspect.getdoc(getattr(kind, n))] == []


def test_the_package_and_its_metadata_agree_on_the_version() -> None:
    from importlib.metadata import version

    assert engineworks.__version__ == version("engineworks")
