"""Proofs about unit quaternions, in the three coordinates of their error."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ctrl.certify import ClosedLoop, SearchLimits, certify, lyapunov, riccati
from ctrl.certify.candidates.fast import fast_ellipsoid
from ctrl.certify.files.file import read, save
from ctrl.certify.files.verification import recheck
from ctrl.certify.loops.equilibrium import rest_point
from ctrl.commands.proofs import best_certificate
from ctrl.controller import NotApplicable
from ctrl.regulator import LQR
from systems import in_error_coordinates
from systems.library import Quadrotor, pendulum, quadrotor, quadrotor_error_coordinates

NAMES = ("qw", "qx", "qy", "qz")


class Unrestored(Quadrotor):
    """Without the term that draws the norm of the quaternion to 1, which an ordinary model does not have."""

    def ode(self, x, u, w):
        rates = list(super().ode(x, u, w))
        pull = 1.0 - (x.qw**2 + x.qx**2 + x.qy**2 + x.qz**2)
        for i, q in zip(range(3, 7), (x.qw, x.qx, x.qy, x.qz), strict=True):
            rates[i] -= pull * q
        return rates


def test_a_norm_that_nothing_restores_has_a_regulator_in_error_coordinates_alone() -> None:
    task = replace(quadrotor(), plant=Unrestored())
    with pytest.raises(NotApplicable, match=r"no input reaches .* in_error_coordinates\(task\)"):
        LQR(task)
    gain, known = LQR(in_error_coordinates(task, NAMES)).K, LQR(quadrotor()).K
    assert np.allclose(gain, np.delete(known, 3, axis=1), atol=1e-8 * np.abs(known).max())


@pytest.mark.slow
def test_a_region_in_error_coordinates_is_one_of_the_plant(tmp_path: Path) -> None:
    task = quadrotor_error_coordinates()
    law, plant = LQR(task).law, task.plant
    V = riccati(task)
    found = certify(task, law, V, level=1e-5, budget=SearchLimits(2000, 20))
    assert found.is_proved, found
    for part in (
        "in error coordinates, the unit quaternion (qw, qx, qy, qz) = 1 * (sqrt(1 - |e|^2), e)",
        "given by its error e = (qx_error, qy_error, qz_error), in which its samples are integrated: every start",
    ):
        assert part in found.claim
    # The four components of the plant itself, from starts of that set: V falls from sample to sample.
    rng = np.random.default_rng(0)
    z = rng.normal(size=(100, 12)) @ np.linalg.inv(np.linalg.cholesky(V.P))
    z *= np.sqrt(1e-5 / V(z))[:, None] * rng.uniform(0.2, 1.0, (100, 1))
    x = np.insert(z, 3, np.sqrt(1.0 - (z[:, 3:6] ** 2).sum(axis=1)), axis=1)
    step = quadrotor().dynamics.lower("numpy")
    for _ in range(200):
        before = V(plant.reduced(x))
        x = step(x, law(plant.reduced(x)), np.zeros((100, 3)), np.zeros((100, 0)))
        assert (V(plant.reduced(x)) < before).all()
    assert V(plant.reduced(x)).max() < 1e-9
    path = save(found, task, law, "quadrotor-error-coordinates", tmp_path / "c.json")
    again = recheck(read(path or tmp_path / "c.json", task), 20.0)
    assert again.certificate is not None
    assert again.certificate.claim == found.claim


def test_continuous_claims_say_nothing_of_samples() -> None:
    task = quadrotor_error_coordinates()
    law = LQR(task).law
    found = certify(task, law, lyapunov(task, law, True), level=1e-7, continuous=True, budget=SearchLimits(2000, 20))
    assert found.is_proved
    assert "in error coordinates" in found.claim
    assert "samples" not in found.claim
    assert "error coordinates" not in certify(pendulum(), LQR(pendulum()).law, level=1e-3).claim


@pytest.mark.parametrize("continuous", [False, True])
def test_the_ellipsoid_of_fast_decrease_decreases_fast(continuous: bool) -> None:
    task = pendulum()
    loop = ClosedLoop(task, LQR(task).law, continuous)
    rest = rest_point(loop)
    V = fast_ellipsoid(loop, rest)
    assert V is not None
    A, P = rest.slopes, V.P
    if continuous:
        decay = -np.linalg.eigvals(np.linalg.solve(P, A.T @ P + P @ A)).real.max()
        most = -2.0 * np.linalg.eigvals(A).real.max()
    else:
        decay = 1.0 - np.linalg.eigvals(np.linalg.solve(P, A.T @ P @ A)).real.max()
        most = 1.0 - np.abs(np.linalg.eigvals(A)).max() ** 2
    assert 0.99 * 0.5 * most <= decay <= most


@pytest.mark.slow
def test_verify_keeps_the_ellipsoid_where_a_search_does_not_get_far() -> None:
    task = quadrotor_error_coordinates()
    certificate, lines = best_certificate(task, LQR(task).law, 20.0, None, False)
    assert certificate.is_proved
    assert "V:       the largest ellipsoid of fast decrease" in lines
    lower, upper = certificate.region.hull
    assert (upper - lower)[0] > 2 * 0.008  # metres; the full state is proved within 0.0006
