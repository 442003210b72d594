"""Finding libraries, and what is refused before any is called."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from engineworks.engine.library_calls import value, version_of, with_version
from engineworks.errors import CorruptEngine, EngineMismatch
from engineworks.runtime.cuda import libraries, libraries_load

DRIVER = SimpleNamespace(facts=SimpleNamespace(index=0))


def test_a_missing_library_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(libraries_load.NAMES, "cublaslt", ("libcublasLt.so.none",))
    with pytest.raises(EngineMismatch, match=r"libcublasLt\.so\.none(.|\n)*Install NVIDIA's package"):
        libraries_load.load.__wrapped__("cublaslt")


def test_a_library_in_a_package_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pytest.TempPathFactory
) -> None:
    import _ctypes

    folder = tmp_path / "nvidia/cublas/lib"  # type: ignore[operator]
    folder.mkdir(parents=True)
    (folder / "libof_a_package.so").symlink_to(_ctypes.__file__)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(libraries_load.NAMES, "cublaslt", ("libof_a_package.so",))
    assert libraries_load.load.__wrapped__("cublaslt")._name == str(folder / "libof_a_package.so")


def test_an_unknown_library_is_damage() -> None:
    with pytest.raises(CorruptEngine, match="'cufft'"):
        libraries.prepare("cufft", "{}", DRIVER)  # type: ignore[arg-type]


def test_a_call_that_is_none_is_damage() -> None:
    with pytest.raises(CorruptEngine, match="cannot be read"):
        libraries.require("cublaslt", "not JSON")


def test_sizes_are_numbers_or_words() -> None:
    assert value(5, [7, 8, 9]) == 5
    assert value("%2", [7, 8, 9]) == 9


def test_a_version_is_written_into_a_call() -> None:
    assert version_of('{"m":1}') == 0
    assert version_of(with_version('{"m":1}', "91500")) == 91500
    assert with_version('{"m":1}', "") == '{"m":1}'
