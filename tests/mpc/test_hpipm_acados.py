"""The HPIPM of acados: the same solutions as CasADi's, refused where it does not fit, and named where it runs."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import numpy as np
import pytest

from ctrl import simulate
from ctrl.controller import Status
from mpc import NonlinearMPC
from mpc.doctor import Solvers
from mpc.solvers import hpipm_acados
from mpc.solvers.acados_install import Acados, AcadosMissing, installed
from mpc.solvers.hpipm_acados import HPIPMMissing, acados_library
from mpc.solvers.sqp import SQP
from systems import InvalidValue, library
from tests.mpc.test_hpipm import random_program
from tests.mpc.test_sqp import HAS_COMPILER, soft_program

try:
    installed()
    MISSING = ""
except AcadosMissing as error:
    MISSING = str(error)
HAS_ACADOS = pytest.mark.skipif(bool(MISSING), reason=MISSING)


@pytest.fixture
def forgotten() -> Iterator[None]:
    """The library is opened anew, before and after."""
    acados_library.cache_clear()
    yield
    acados_library.cache_clear()


@HAS_ACADOS
@pytest.mark.parametrize("mode", ["speed_abs", "speed", "balance", "robust"])
def test_both_solve_the_same_programs(mode: str) -> None:
    for seed in range(5):
        one, other = random_program(seed, mode), random_program(seed, mode, "acados")
        assert one.solve() is other.solve() is Status.SOLVED
        assert np.abs(one.step).max() > 0.1
        np.testing.assert_allclose(other.step, one.step, atol=1e-3 if mode == "speed_abs" else 1e-6)
        if mode != "speed_abs":  # which leaves some out, and stops early
            np.testing.assert_allclose(other.pi, one.pi, atol=1e-4)
            for side in ("lam_lower", "lam_upper"):
                np.testing.assert_allclose(getattr(other, side), getattr(one, side), rtol=1e-3, atol=1e-4)
        assert other.iterations > 1


@HAS_ACADOS
@HAS_COMPILER
def test_the_compiled_iteration_calls_it() -> None:
    results = []
    for origin, compiled in (("casadi", True), ("acados", True), ("acados", False)):
        sqp = SQP(soft_program(), origin=origin)  # type: ignore[arg-type]
        if compiled:
            sqp.linearisation.compile()
        else:
            sqp.compiled = None
        sqp.point.p[:] = 0.1
        x = np.array([0.6, -0.1])
        assert sqp.solve(x).status is Status.SOLVED
        assert sqp.real_time(x + 0.05).status is Status.SOLVED
        results.append(np.concatenate([sqp.point.variables, sqp.point.multipliers, sqp.point.pi.ravel()]))
    assert np.abs(results[0]).max() > 0.1
    for other in results[1:]:
        np.testing.assert_allclose(other, results[0], atol=1e-5)


@HAS_ACADOS
@pytest.mark.parametrize("iterations", [None, 1])
def test_closed_loops_cost_the_same(iterations: int | None) -> None:
    task = library.cartpole_track()
    starts = task.initial.sample(task.plant.state, np.random.default_rng(3), (2,))
    still = np.zeros((2, 20, len(task.plant.disturbance)))
    mpc = NonlinearMPC(task, 12, iterations=iterations, hpipm="acados")
    own, other = simulate(task, mpc, starts, still), simulate(task, NonlinearMPC(task, 12), starts, still)
    np.testing.assert_allclose(own.cost, other.cost, rtol=1e-4)
    assert repr(mpc).startswith("<NonlinearMPC(task 'cartpole-track', horizon=12, hpipm='acados')")
    assert "hpipm" not in repr(NonlinearMPC(task, 12))
    assert repr(pickle.loads(pickle.dumps(mpc))) == repr(mpc)
    assert mpc._sequential is not None
    assert isinstance(mpc._sequential.sqp, SQP)
    assert mpc._sequential.sqp.qp._library is acados_library()


@HAS_ACADOS
@pytest.mark.usefixtures("forgotten")
def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(hpipm_acados.ACADOS_SIZES, "qp_ipm_arg", 192)
    with pytest.raises(HPIPMMissing, match=r"d_ocp_qp_ipm_arg has 160 bytes; expected 192"):
        NonlinearMPC(library.cartpole(), 5, hpipm="acados")
    told = {finding.name: finding.value for finding in Solvers().findings()}
    assert "expected 192" in told["HPIPM of acados"]


@HAS_ACADOS
@pytest.mark.usefixtures("forgotten")
def test_a_library_for_another_processor_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Acados.open

    class Elsewhere:
        """The libraries on a processor without any of the features."""

        def __init__(self, inner: object) -> None:
            self.inner = inner

        def __getattr__(self, name: str) -> object:
            return (lambda at: 0) if name == "blasfeo_processor_cpu_features" else getattr(self.inner, name)

    monkeypatch.setattr(Acados, "open", lambda self, path: Elsewhere(opened(self, path)))
    with pytest.raises(HPIPMMissing, match="built for processors with AVX2"):
        acados_library()


@HAS_ACADOS
def test_the_doctor_tells_both() -> None:
    told = {finding.name: finding.value for finding in Solvers().findings()}
    assert "generic" in told["HPIPM"]
    assert str(installed().root) in told["HPIPM of acados"]


@pytest.mark.usefixtures("forgotten")
def test_without_acados_the_error_explains_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    installed.cache_clear()
    monkeypatch.setenv("ACADOS_SOURCE_DIR", str(tmp_path))
    try:
        with pytest.raises(AcadosMissing, match="acados_install"):
            NonlinearMPC(library.cartpole(), 5, hpipm="acados")
        told = {finding.name: finding.value for finding in Solvers().findings()}
        assert "no acados is installed" in told["HPIPM of acados"]
    finally:
        installed.cache_clear()


def test_misuse() -> None:
    with pytest.raises(InvalidValue, match="only solver='sqp'"):
        NonlinearMPC(library.cartpole(), 5, solver="ipopt", hpipm="acados")
    with pytest.raises(InvalidValue, match="hpipm"):
        NonlinearMPC(library.cartpole(), 5, hpipm="own")  # type: ignore[arg-type]
