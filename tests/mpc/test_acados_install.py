"""Finding and unpacking acados, without one."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from mpc import NonlinearMPC
from mpc.solvers.acados_install import AcadosMissing, installed, unpack
from systems import InvalidValue
from systems.library import double_integrator


@pytest.fixture
def no_acados(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.delenv("ACADOS_SOURCE_DIR", raising=False)
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path))
    installed.cache_clear()
    yield tmp_path
    installed.cache_clear()


def _wheel(path: Path, files: dict[str, int]) -> Path:
    """A wheel with files of this name and these permissions."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, mode in files.items():
            entry = zipfile.ZipInfo(f"comma_deps_acados-1.data/purelib/{name}")
            entry.external_attr = mode << 16
            archive.writestr(entry, name)
    return path


def test_without_acados_the_message_says_how_to_get_one(no_acados: Path) -> None:
    with pytest.raises(AcadosMissing, match=r"python -m mpc\.solvers\.acados_install"):
        NonlinearMPC(double_integrator(), 5, solver="acados")


def test_a_folder_without_acados_is_named(no_acados: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACADOS_SOURCE_DIR", str(no_acados / "nothing"))
    with pytest.raises(AcadosMissing, match="nothing, which holds no"):
        installed()


def test_a_wheel_is_laid_out_as_the_source_is_and_without_its_casadi(tmp_path: Path) -> None:
    files = {
        "acados/install/lib/libacados.so": 0o644,
        "acados/install/bin/t_renderer": 0o755,
        "acados/install/include/acados/utils/types.h": 0o644,
        "acados/acados_template/__init__.py": 0o644,
        "acados/acados_template/c_templates_tera/main.in.c": 0o644,
        "casadi/__init__.py": 0o644,
    }
    to = tmp_path / "to"
    unpack(_wheel(tmp_path / "a.whl", files), to)
    unpacked = {path.relative_to(to).as_posix() for path in to.rglob("*") if path.is_file()}
    assert unpacked == {
        "lib/libacados.so",
        "bin/t_renderer",
        "include/acados/utils/types.h",
        "interfaces/acados_template/acados_template/__init__.py",
        "interfaces/acados_template/acados_template/c_templates_tera/main.in.c",
    }
    assert (to / "bin" / "t_renderer").read_text() == "acados/install/bin/t_renderer"
    assert (to / "bin" / "t_renderer").stat().st_mode & 0o100
    assert not (to / "lib" / "libacados.so").stat().st_mode & 0o100


def test_a_wheel_writes_nowhere_else(tmp_path: Path) -> None:
    files = {"acados/install/lib/libacados.so": 0o644, "acados/install/../../../escaped": 0o644}
    unpack(_wheel(tmp_path / "a.whl", files), tmp_path / "deep" / "to")
    assert not list(tmp_path.rglob("escaped"))


def test_what_is_no_wheel_of_acados_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="contains no acados"):
        unpack(_wheel(tmp_path / "a.whl", {"other/file": 0o644}), tmp_path / "to")
    (tmp_path / "b.whl").write_bytes(b"nothing")
    with pytest.raises(InvalidValue, match="cannot be unpacked"):
        unpack(tmp_path / "b.whl", tmp_path / "to")
