"""C by CasADi's own generator, compiled on this machine and loaded back as CasADi functions."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import casadi as ca

from systems.cache import cache_folder
from systems.errors import InvalidValue, TriviumError
from systems.files import write
from systems.lowering.program import NotLowerable

# No fused multiply-add: the compiled function returns the same numbers as CasADi's interpreter.
_FLAGS = ("-fPIC", "-shared", "-ffp-contract=off")
_LONG = (
    1_000_000  # characters of code, beyond which a compiler that optimises takes minutes and gigabytes for one function
)
_SUFFIX = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")


class CompilerMissing(TriviumError, RuntimeError):
    """No working C compiler was found; the message says what was tried and how to fix it."""


@overload
def compile_c(functions: ca.Function, folder: str | Path | None = None) -> ca.Function: ...
@overload
def compile_c(functions: Sequence[ca.Function], folder: str | Path | None = None) -> tuple[ca.Function, ...]: ...
def compile_c(
    functions: ca.Function | Sequence[ca.Function], folder: str | Path | None = None
) -> ca.Function | tuple[ca.Function, ...]:
    """The functions, compiled into one shared library.

    Args:
        functions: one CasADi function, or several with different names. Derivatives are compiled only if they are
            passed: compile `jacobian(f)` together with `f` where it is needed.
        folder: where the library is kept, named after its content, so that the same functions are compiled once; by
            default `systems.cache.cache_folder()`. It must belong to the user, since its libraries are executed. A
            library whose SHA-256 differs from the one stored beside it is compiled again and never loaded.

    Returns:
        A `casadi.Function`, or a tuple of them in the order given.

    Raises:
        CompilerMissing: no compiler was found, or it could not compile the generated code.
        InvalidValue: two functions of the same name, or a function with free variables.
        NotLowerable: a function calls one for which CasADi generates no C, such as a callback.
    """
    given = (functions,) if isinstance(functions, ca.Function) else tuple(functions)
    loaded = functions_of(given, compiled_library(given, folder))
    return loaded[0] if isinstance(functions, ca.Function) else loaded


def compiled_library(functions: Sequence[ca.Function], folder: str | Path | None = None, more: str = "") -> Path:
    """The shared library of the functions, made where there is none yet; see :func:`compile_c`.

    Args:
        more: C code that is compiled after theirs in the same library and may call them.
    """
    planned = _plan(tuple(functions), folder, more)
    if not _is_whole(planned.library):
        _build(planned)
    return planned.library


def library_of(functions: Sequence[ca.Function], folder: str | Path | None = None, more: str = "") -> Path | None:
    """As :func:`compiled_library`, but without compiling: None if the library has not been compiled before."""
    try:
        library = _plan(tuple(functions), folder, more).library
        return library if _is_whole(library) else None
    except (TriviumError, OSError):
        return None


def functions_of(functions: Sequence[ca.Function], library: Path) -> tuple[ca.Function, ...]:
    """The functions, loaded from their library.

    Raises:
        CompilerMissing: it cannot be loaded on this machine.
    """
    try:
        return tuple(ca.external(f.name(), str(library)) for f in functions)
    except RuntimeError as error:
        raise CompilerMissing(
            f"{library}, which was compiled on this machine, cannot be loaded: {str(error).strip().splitlines()[-1]}; "
            "set $CC to a compiler for this machine"
        ) from error


@dataclass(frozen=True)
class _Planned:
    """A library to be built from C code by a compiler."""

    source: str
    command: list[str]
    library: Path


def _plan(functions: tuple[ca.Function, ...], folder: str | Path | None, more: str = "") -> _Planned:
    names = [f.name() for f in functions]
    if len(set(names)) != len(names):
        raise InvalidValue(f"functions of one library need different names, and these are {', '.join(names)}")
    for f in functions:
        if f.has_free():
            raise InvalidValue(f"{f.name()} has free variables {f.get_free()}: make them inputs of the function")
    source = _generate(functions) + more
    command = [*find_compiler(), "-O2" if len(source) <= _LONG else "-O0", *_FLAGS]
    made_for = [source, *command, sys.platform, platform.machine(), ca.CasadiMeta.version()]
    key = hashlib.sha256("\0".join(made_for).encode()).hexdigest()[:24]
    home = (cache_folder() if folder is None else Path(folder)).absolute()  # a bare name would be looked for elsewhere
    return _Planned(source, command, home / f"{names[0]}-{key}{_SUFFIX}")


def find_compiler() -> list[str]:
    """The command of a C compiler: `$CC`, else the first of cc, gcc, clang on the path.

    Raises:
        CompilerMissing: there is no compiler.
    """
    chosen = shlex.split(os.environ.get("CC", ""))
    if chosen:
        if shutil.which(chosen[0]) is None:
            raise CompilerMissing(f"$CC names {chosen[0]!r}, which is not on the path: correct $CC or unset it")
        return chosen
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return [name]
    raise CompilerMissing(
        "compiling C needs a compiler, and none of $CC, cc, gcc, clang was found: install one "
        "(Debian: apt install gcc; macOS: xcode-select --install; Windows: MinGW-w64) or set $CC to its path"
    )


def _generate(functions: tuple[ca.Function, ...]) -> str:
    generator = ca.CodeGenerator("lowered.c")
    for f in functions:
        generator.add(f)
    source = str(generator.dump())
    kinds = set(re.findall(r"#error Code generation not supported for (\w+)", source))
    if kinds:
        raise NotLowerable(_without_code(functions, kinds))
    return source


def _without_code(functions: tuple[ca.Function, ...], kinds: set[str]) -> str:
    """The error message for a function of a class for which CasADi generates no C."""
    for f in functions:
        called = [g for g in f.find_functions() if g.class_name() in kinds]
        if called:
            names = ", ".join(f"'{g.name()}' ({g.class_name()})" for g in called)
            return (
                f"{f.name()} calls {names}, for which CasADi generates no C; write it without callbacks, and equations "
                "to be solved with ca.rootfinder(..., 'fast_newton', ...)"
            )
    return f"CasADi generates no C for {', '.join(sorted(kinds))} in {', '.join(f.name() for f in functions)}"


def _is_whole(library: Path) -> bool:
    """Whether a library exists and is, byte for byte, the one that was compiled."""
    try:
        return hashlib.sha256(library.read_bytes()).hexdigest() == _checksum(library).read_text().strip()
    except (OSError, ValueError):
        return False


def _checksum(library: Path) -> Path:
    return library.with_name(f"{library.name}.sha256")


def _build(planned: _Planned) -> None:
    library = planned.library
    with tempfile.TemporaryDirectory(prefix="trivium-build-") as scratch:
        code, built = Path(scratch) / "lowered.c", Path(scratch) / library.name
        code.write_text(planned.source)
        libraries = [] if os.name == "nt" else ["-lm"]
        command = [*planned.command, str(code), "-o", str(built), *libraries]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CompilerMissing(
                f"{shlex.join(command)} failed with status {done.returncode}: {done.stderr.strip()[-2000:]}\n"
                "set $CC to a working C compiler; a function may not bear the name of one in C's library"
            )
        content = built.read_bytes()
    write(library, content)
    write(_checksum(library), f"{hashlib.sha256(content).hexdigest()}\n".encode())
