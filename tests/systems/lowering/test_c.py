"""Compiled C: caching, several functions in one library, and what happens without a compiler."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import casadi as ca
import pytest

from systems.lowering import NotLowerable, lower
from systems.lowering.c_backend import CompilerMissing, compile_c, find_compiler

ROOT = Path(__file__).parents[3]


def square():
    x = ca.SX.sym("x", 2)
    return ca.Function("square", [x], [x**2], ["x"], ["y"])


def test_compiled_once_and_loaded_with_its_names(tmp_path):
    first = compile_c(square(), tmp_path)
    (library,) = tmp_path.glob("square-*[!6]")
    stamp = library.stat().st_mtime_ns
    second = compile_c(square(), tmp_path)
    assert (second.name_in(), second.name_out()) == (["x"], ["y"])
    assert library.stat().st_mtime_ns == stamp
    assert [f([2, 3]).full().ravel().tolist() for f in (first, second)] == [[4, 9], [4, 9]]


FOREIGN = """
#include <stdio.h>
__attribute__((constructor)) static void run(void) { fclose(fopen("executed", "w")); }
"""


@pytest.mark.skipif(os.name == "nt", reason="needs a compiler of POSIX")
@pytest.mark.parametrize(
    "damage", ["cut", "empty", "foreign", "foreign with its own checksum's name", "no checksum", "bit"]
)
@pytest.mark.every(3)
def test_a_library_that_is_not_the_compiled_one_is_compiled_again(tmp_path, damage):
    """In a process of its own, which a cut library would kill; nothing of a foreign one is executed."""
    compile_c(square(), tmp_path)
    (library,) = tmp_path.glob("square-*[!6]")
    (checksum,) = tmp_path.glob("square-*.sha256")
    whole = library.read_bytes()
    if damage == "cut":
        library.write_bytes(whole[: len(whole) // 3])
    elif damage == "empty":
        library.write_bytes(b"")
    elif damage == "bit":
        library.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
    elif damage == "no checksum":
        checksum.unlink()
    else:
        (tmp_path / "foreign.c").write_text(FOREIGN)
        command = [*find_compiler(), "-shared", "-fPIC", str(tmp_path / "foreign.c"), "-o", str(library)]
        subprocess.run(command, check=True)
        if damage != "foreign":
            checksum.write_text("0" * 64)
    code = (
        "import sys; from tests.systems.lowering.test_c import *; from pathlib import Path\n"
        "sys.exit(compile_c(square(), Path(sys.argv[1]))([2, 3]).full().ravel().tolist() != [4, 9])"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=tmp_path, env=env, check=False)
    assert done.returncode == 0
    assert not (tmp_path / "executed").exists()
    assert hashlib.sha256(library.read_bytes()).hexdigest() == checksum.read_text().strip()


def test_a_folder_without_a_slash_is_still_that_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert compile_c(square(), ".")([2, 3]).full().ravel().tolist() == [4, 9]


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


class Sine(ca.Callback):
    """A callback of CasADi, for which there is no C."""

    def __init__(self):
        ca.Callback.__init__(self)
        self.construct("sine", {})

    def eval(self, arguments):
        return [ca.sin(arguments[0])]


def root(kind):
    """z of z^3 + z = x."""
    x, z = ca.MX.sym("x"), ca.MX.sym("z")
    find = ca.rootfinder("cubic", kind, {"x": z, "p": x, "g": z**3 + z - x})
    return ca.Function("mine", [x], [find(x0=0, p=x)["x"]])


def test_a_function_without_c_is_named(tmp_path):
    x, sine = ca.MX.sym("x"), Sine()
    with pytest.raises(NotLowerable, match=r"mine calls 'sine' \(CallbackInternal\)"):
        compile_c(ca.Function("mine", [x], [sine(x)]), tmp_path)
    with pytest.raises(NotLowerable, match=r"mine calls 'cubic' \(Newton\).*fast_newton"):
        compile_c([square(), root("newton")], tmp_path)


def test_a_root_finder_that_has_c_is_compiled(tmp_path):
    z = float(compile_c(root("fast_newton"), tmp_path)(2.0))
    assert z**3 + z == pytest.approx(2.0, abs=1e-9)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs a shell")
def test_long_code_is_compiled_without_optimisation(tmp_path, monkeypatch):
    """Compilers that optimise need minutes and gigabytes for one long function."""
    wrapper, log = tmp_path / "compiler", tmp_path / "log"
    wrapper.write_text(f'#!/bin/sh\necho "$@" >> {log}\nexec {" ".join(find_compiler())} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("CC", str(wrapper))
    x = ca.SX.sym("x", 2)
    value = x
    for k in range(12_000):
        value = ca.sin(value) + (k + 1) * value[::-1]
        value = value / (1.0 + ca.norm_1(value))
    long = ca.Function("lengthy", [x], [value])
    built = compile_c(long, tmp_path / "kept")
    assert built([0.3, -2.0]).full().tolist() == long([0.3, -2.0]).full().tolist()
    compile_c(square(), tmp_path / "kept")
    first, second = log.read_text().splitlines()
    assert "-O0" in first
    assert "-O2" not in first
    assert "-O2" in second
