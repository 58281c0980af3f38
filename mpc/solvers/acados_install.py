"""Finds an installed acados, and unpacks one from a wheel: ``python -m mpc.solvers.acados_install``.

acados is not a dependency: on PyPI it exists only in the wheel ``comma-deps-acados``, which also contains a folder
``casadi`` that would overwrite CasADi if pip installed it. The wheel is therefore unpacked into a separate folder, with
the layout of acados' repository and without its CasADi.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import io
import os
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, final

import tyro

from systems.cache import cache_folder
from systems.errors import InvalidValue, TriviumError
from systems.files import write
from systems.lowering.c_backend import CompilerMissing, find_compiler

__all__ = ["Acados", "AcadosMissing", "installed", "unpack"]

WHEEL = "comma-deps-acados>=0.2.2.post92,<0.3"
_FOLDERS = {"install": PurePosixPath(), "acados_template": PurePosixPath("interfaces/acados_template/acados_template")}
_LARGEST = 200_000_000  # bytes of a file in the wheel
_NEW, _LMID = -1, 1  # LM_ID_NEWLM and RTLD_DI_LMID of <dlfcn.h>


class AcadosMissing(TriviumError, ImportError):
    """No usable acados is installed on this machine; the message says how to install one."""


@final
@dataclass(frozen=True, eq=False)
class Acados:
    """An installed acados.

    Its libraries are loaded in a separate link namespace (``dlmopen``), with their own BLASFEO and HPIPM. CasADi ships
    libraries of the same names with other interfaces, and in one namespace the dynamic linker would give acados
    whichever was loaded first, even with RTLD_LOCAL and RTLD_DEEPBIND.

    Args:
        root: the folder with ``lib``, ``include``, ``bin`` and ``interfaces``.
    """

    root: Path

    @functools.cached_property
    def template(self) -> Any:
        """The module ``acados_template`` of this installation.

        Raises:
            AcadosMissing: it cannot be imported.
        """
        folder = str(self.root / "interfaces" / "acados_template")
        sys.path.insert(0, folder)
        try:
            with self.environment(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of escapes in its docstrings
                module = importlib.import_module("acados_template")
                importlib.import_module("acados_template.acados_ocp_solver")
        except ImportError as error:
            raise AcadosMissing(
                f"{folder} contains no acados_template that can be imported: {error}; {_HOW}"
            ) from error
        finally:
            sys.path.remove(folder)
        return module

    @contextlib.contextmanager
    def environment(self) -> Iterator[None]:
        """Sets what acados' Python interface reads while it generates code, and keeps it from printing."""
        given = {
            "ACADOS_SOURCE_DIR": str(self.root),
            "TERA_PATH": str(self.root / "bin" / "t_renderer"),
            "ACADOS_PYTHON_INTERFACE_PATH": str(self.root / "interfaces" / "acados_template" / "acados_template"),
        }
        before = {name: os.environ.get(name) for name in given}
        os.environ.update(given)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value

    def solver(self, ocp: Any, folder: Path) -> Any:
        """An ``AcadosOcpSolver``, generated and compiled in a folder, in the namespace of this acados.

        Raises:
            AcadosMissing: it cannot be compiled or loaded on this machine.
        """
        module = self.template.acados_ocp_solver
        loaded, module.CDLL = module.CDLL, self.open
        ocp.code_export_directory = str(folder / "c")
        working = os.getcwd()
        try:
            with self.environment():
                return module.AcadosOcpSolver(ocp, json_file=str(folder / "ocp.json"), verbose=False)
        except OSError as error:
            raise AcadosMissing(
                f"acados in {self.root} cannot compile or load a solver: {error}; it needs make, a C compiler and "
                "libraries for this machine"
            ) from error
        finally:
            module.CDLL = loaded
            os.chdir(working)

    def open(self, path: str) -> ctypes.CDLL:
        """Opens a library in the namespace of this acados."""
        return ctypes.CDLL(path, handle=_opened(path, self._namespace))

    @functools.cached_property
    def _namespace(self) -> int:
        """The link namespace, opened by a library without content that depends on those of acados."""
        lib, names = self.root / "lib", ("acados", "hpipm", "blasfeo", "m")
        with tempfile.TemporaryDirectory(prefix="trivium-acados-") as scratch:
            source, shim = Path(scratch) / "acados.c", Path(scratch) / "libtrivium_acados.so"
            source.write_text("typedef int nothing;\n")
            # A path of the old kind is inherited by the libraries that acados depends on.
            path = ["-Wl,--no-as-needed", "-Wl,--disable-new-dtags", f"-Wl,-rpath,{lib}", f"-L{lib}"]
            command = [*find_compiler(), "-shared", "-fPIC", str(source), "-o", str(shim), *path]
            try:
                done = subprocess.run(
                    [*command, *(f"-l{name}" for name in names)], capture_output=True, text=True, check=False
                )
            except OSError as error:
                raise AcadosMissing(f"{command[0]} cannot be run: {error}") from error
            if done.returncode:
                raise AcadosMissing(f"the libraries in {lib} cannot be linked: {done.stderr.strip()[-1000:]}")
            handle = _opened(str(shim), _NEW)
        space = ctypes.c_long()
        dlinfo = ctypes.CDLL(None).dlinfo
        dlinfo.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
        if dlinfo(handle, _LMID, ctypes.byref(space)):
            raise AcadosMissing("the dynamic linker does not tell the namespace of acados' libraries")
        return space.value


@functools.cache
def installed() -> Acados:
    """The acados in ``$ACADOS_SOURCE_DIR``, or else the one unpacked into the cache.

    Raises:
        AcadosMissing: there is none, or this machine cannot use one.
    """
    chosen = os.environ.get("ACADOS_SOURCE_DIR")
    root = Path(chosen) if chosen else cache_folder() / "acados"
    where = f"ACADOS_SOURCE_DIR is {root}, which" if chosen else f"ACADOS_SOURCE_DIR is not set, and {root}"
    for part in ("lib/libacados.so", "bin/t_renderer", "interfaces/acados_template/acados_template/__init__.py"):
        if not (root / part).exists():
            raise AcadosMissing(f"{where} holds no {part}; {_HOW}")
    if not hasattr(ctypes.CDLL(None), "dlmopen"):
        raise AcadosMissing("acados is used in a link namespace of its own, which only Linux with glibc offers")
    try:
        find_compiler()
    except CompilerMissing as error:
        raise AcadosMissing(f"acados compiles a solver for each problem, but {error}") from error
    return Acados(root.resolve())


def unpack(wheel: Path, to: Path) -> None:
    """Unpacks acados from a wheel of ``comma-deps-acados``, without the CasADi in it.

    Args:
        wheel: the file.
        to: the folder that becomes ``ACADOS_SOURCE_DIR``.

    Raises:
        InvalidValue: the file does not contain acados.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.infolist():
                target = _target(entry)
                if target is None:
                    continue
                if entry.file_size > _LARGEST:
                    raise InvalidValue(
                        f"{wheel}: {entry.filename} has {entry.file_size} bytes; acados has none so large"
                    )
                path = to / target
                path.parent.mkdir(parents=True, exist_ok=True)
                write(path, archive.read(entry))
                path.chmod(0o755 if (entry.external_attr >> 16) & 0o100 else 0o644)
    except (OSError, zipfile.BadZipFile) as error:
        raise InvalidValue(f"{wheel} cannot be unpacked into {to}: {error}; expected a wheel of {WHEEL}") from error
    if not (to / "lib" / "libacados.so").exists():
        raise InvalidValue(f"{wheel} contains no acados; expected a wheel of {WHEEL}")


def _target(entry: zipfile.ZipInfo) -> PurePosixPath | None:
    """Where a file of the wheel belongs, below ``ACADOS_SOURCE_DIR``; None for what is not needed."""
    parts = PurePosixPath(entry.filename).parts
    if entry.is_dir() or "acados" not in parts or ".." in parts:
        return None
    rest = parts[parts.index("acados") + 1 :]
    return _FOLDERS[rest[0]].joinpath(*rest[1:]) if len(rest) > 1 and rest[0] in _FOLDERS else None


def _opened(path: str, namespace: int) -> int:
    process = ctypes.CDLL(None)
    message, dlmopen = process.dlerror, process.dlmopen
    message.restype, dlmopen.restype = ctypes.c_char_p, ctypes.c_void_p
    dlmopen.argtypes = [ctypes.c_long, ctypes.c_char_p, ctypes.c_int]
    handle = dlmopen(namespace, path.encode(), os.RTLD_NOW)
    if not handle:
        raise OSError((message() or b"unknown error").decode())
    return int(handle)


@dataclass(frozen=True)
class Options:
    """Options of the installation of acados.

    Args:
        to: folder to unpack into; default: a folder in the cache, where it is found without ACADOS_SOURCE_DIR.
        wheel: a wheel that was downloaded before; default: pip downloads it.
    """

    to: Path | None = None
    wheel: Path | None = None


def main(options: Options) -> None:
    """Downloads the wheel with pip, unless one is given, and unpacks it."""
    to = (options.to or cache_folder() / "acados").resolve()
    with tempfile.TemporaryDirectory(prefix="trivium-acados-") as scratch:
        wheel = options.wheel
        if wheel is None:
            command = [sys.executable, "-m", "pip", "download", WHEEL, "--no-deps", "--only-binary", ":all:"]
            if subprocess.run([*command, "-d", scratch, "-q"], check=False).returncode:
                raise SystemExit(f"pip finds no {WHEEL} for this machine; build acados from its source instead")
            wheel = next(Path(scratch).glob("*.whl"))
        unpack(wheel, to)
    print(f"acados lies in {to}" + (f"; set ACADOS_SOURCE_DIR={to}" if options.to else ""))


_HOW = (
    "run 'python -m mpc.solvers.acados_install', which unpacks one from a wheel, or build acados and set "
    "ACADOS_SOURCE_DIR to its folder"
)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
