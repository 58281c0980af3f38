"""Compiled C: caching, several functions in one library, and what happens without a compiler."""

import casadi as ca
import pytest

from systems.lowering import lower
from systems.lowering.c_backend import CompilerMissing, compile_c


def square():
    x = ca.SX.sym("x", 2)
    return ca.Function("square", [x], [x**2], ["x"], ["y"])


def test_compiled_once_and_loaded_with_its_names(tmp_path):
    first = compile_c(square(), tmp_path)
    (library,) = tmp_path.iterdir()
    stamp = library.stat().st_mtime_ns
    second = compile_c(square(), tmp_path)
    assert (second.name_in(), second.name_out()) == (["x"], ["y"])
    assert library.stat().st_mtime_ns == stamp
    assert [f([2, 3]).full().ravel().tolist() for f in (first, second)] == [[4, 9], [4, 9]]


def test_lower_to_c_uses_the_cache_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("TRIVIUM_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert lower(square(), "c")([2, 3]).full().ravel().tolist() == [4, 9]
    assert list((tmp_path / "trivium").iterdir())


def test_missing_compiler_is_reported(tmp_path, monkeypatch):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CompilerMissing, match=r"none of .*cc, gcc, clang was found: install one"):
        compile_c(square(), tmp_path)
    monkeypatch.setenv("CC", "nosuchcc -m64")
    with pytest.raises(CompilerMissing, match=r"\$CC names 'nosuchcc'"):
        compile_c(square(), tmp_path)


def test_failing_compiler_is_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("CC", "false")
    with pytest.raises(CompilerMissing, match="failed with status 1"):
        compile_c(square(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_bad_functions_are_refused(tmp_path):
    with pytest.raises(ValueError, match="different names"):
        compile_c([square(), square()], tmp_path)
    x, k = ca.SX.sym("x"), ca.SX.sym("k")
    with pytest.raises(ValueError, match="free variables"):
        compile_c(ca.Function("f", [x], [k * x], {"allow_free": True}), tmp_path)
