"""The HPIPM of an installed acados, which is built for the processor; CasADi's is a generic build."""

from __future__ import annotations

import ctypes
import functools

from mpc.solvers.acados_install import installed
from systems.errors import TriviumError

__all__ = ["ACADOS_SIZES", "HPIPMMissing", "acados_library", "expect_sizes"]

# Sizes in bytes of the structs of the version in acados' wheel. Its functions differ from those of CasADi's version in
# two calls: soft bounds of states, inputs and rows are counted apart, and there is no reversed list of them.
ACADOS_SIZES = {"qp_dim": 120, "qp": 120, "qp_sol": 56, "qp_ipm_arg": 160, "qp_ipm_ws": 304}


class HPIPMMissing(TriviumError):
    """No usable HPIPM is available on this machine."""


@functools.cache
def acados_library() -> ctypes.CDLL:
    """The HPIPM of the installed acados, in its link namespace.

    Raises:
        AcadosMissing: there is none, or this machine cannot use one.
        HPIPMMissing: it is of a version with another interface, or built for another processor.
    """
    acados = installed()
    path = acados.root / "lib" / "libhpipm.so"
    try:
        opened, blasfeo = acados.open(str(path)), acados.open(str(path.with_name("libblasfeo.so")))
        expect_sizes(opened, ACADOS_SIZES, str(path))
        needed, given, names = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(200)
        blasfeo.blasfeo_processor_library_features(ctypes.byref(needed))
        blasfeo.blasfeo_processor_cpu_features(ctypes.byref(given))
        blasfeo.blasfeo_processor_library_string(names)
    except (OSError, AttributeError) as error:
        raise HPIPMMissing(f"acados in {acados.root} brings no HPIPM that can be called: {error}") from error
    if needed.value & ~given.value:
        raise HPIPMMissing(
            f"{path} is built for processors with {names.value.decode().strip()}, and this one lacks some of that; use "
            "hpipm='casadi'"
        )
    return opened


def expect_sizes(opened: ctypes.CDLL, sizes: dict[str, int], where: str) -> None:
    """Checks the sizes of HPIPM's structs: a call with another layout would crash the process.

    Raises:
        HPIPMMissing: a size differs.
    """
    for struct, expected in sizes.items():
        size = getattr(opened, f"d_ocp_{struct}_strsize")
        size.restype = ctypes.c_size_t
        if size() != expected:
            raise HPIPMMissing(
                f"{where}: struct d_ocp_{struct} has {size()} bytes; expected {expected}, as in the supported version"
            )
