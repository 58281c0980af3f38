"""Solver checks of ``trivium doctor``, and the code that it compiles in advance."""

from __future__ import annotations

from time import perf_counter
from typing import final

from ctrl.realtime.doctor import Finding

__all__ = ["Solvers"]


@final
class Solvers:
    """The solvers that controllers of this package call."""

    def findings(self) -> list[Finding]:
        """Reports which HPIPM is used, and whether one built for this processor is available."""
        import casadi

        from mpc.solvers.acados_install import AcadosMissing
        from mpc.solvers.hpipm import HPIPMMissing, library
        from mpc.solvers.hpipm_acados import acados_library

        try:
            path = library()._name
        except HPIPMMissing as error:
            return [Finding("HPIPM", str(error), "NonlinearMPC uses ipopt alone; real-time iterations need CasADi 3.8")]
        version = casadi.CasadiMeta.version()
        findings = [Finding("HPIPM", f"of CasADi {version}, generic BLASFEO: {path}")]
        try:
            findings.append(Finding("HPIPM of acados", f"by NonlinearMPC(hpipm='acados'): {acados_library()._name}"))
        except AcadosMissing:
            findings.append(Finding("HPIPM of acados", "no acados is installed; python -m mpc.solvers.acados_install"))
        except HPIPMMissing as error:
            findings.append(Finding("HPIPM of acados", str(error)))
        return findings

    def compile(self) -> list[tuple[str, float]]:
        """Steps one small controller of every family whose code numba compiles on first use."""
        from mpc.harmonic.harmonic_mpc import HarmonicMPC
        from mpc.linear.linear_mpc import LinearMPC
        from systems.library import double_integrator

        task, done = double_integrator(), []
        x = task.reading.start[0]
        for kind in (LinearMPC, HarmonicMPC):
            began = perf_counter()
            kind(task).step(x, 0)
            done.append((kind.__name__, perf_counter() - began))
        return done
