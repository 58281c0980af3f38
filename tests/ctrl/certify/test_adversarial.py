"""A million samples and attacks inside every kind of certified set find nothing that the proof says is not there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from ctrl.certify import (
    Certificate,
    ClosedLoop,
    QuadraticLyapunov,
    SearchLimits,
    certify,
    largest_level,
    riccati,
    sampled_limit,
)
from ctrl.certify.candidates.fit import fitted, sampled_basin
from ctrl.regulator import LQR
from systems import Quadratic, Task
from systems.library.cartpole import cartpole
from systems.library.path_tracking import path_tracking
from systems.library.pendulum import energies, pendulum
from systems.library.planar_quadrotor import planar_quadrotor
from systems.library.van_der_pol import ReversedVanDerPol, van_der_pol_reversed
from tests.ctrl.certify import test_equilibrium

SAMPLES = 1_000_000


def regulator(task: Task, share: float) -> tuple[Certificate, ClosedLoop]:
    law, V = LQR(task).law, riccati(task)
    limit = sampled_limit(ClosedLoop(task, law), V).level
    return certify(task, law, V, share * limit, budget=SearchLimits(5_000_000, 200)), ClosedLoop(task, law)


def oscillator(mu: float, share: float) -> tuple[Certificate, ClosedLoop]:
    task = dataclasses.replace(van_der_pol_reversed(), plant=ReversedVanDerPol(mu=mu))
    law = LQR(van_der_pol_reversed()).law
    loop = ClosedLoop(task, law, continuous=True)
    box = (np.array([-2.5, -2.0 - 1.4 * mu]), np.array([2.5, 2.0 + 1.4 * mu]))
    V = fitted(loop, 6, sampled_basin(loop, *box), share=share, rounds=8)
    effort = SearchLimits(seconds=60)
    return largest_level(task, law, V, resolution=5e-3, budget=effort, continuous=True, box=box), loop


def planar(task: Task, weight: float, degree: int, share: float, own: bool) -> tuple[Certificate, ClosedLoop]:
    law = LQR(dataclasses.replace(task, cost=Quadratic(np.eye(2), weight * np.eye(1)))).law
    loop = ClosedLoop(task, law)
    basin = sampled_basin(loop, *loop.domain)
    margin, features = (1e-3, energies()) if own else (3e-3, None)
    V = fitted(loop, degree, basin, share=share, margin=margin, rounds=10, features=features)
    return largest_level(task, law, V, resolution=5e-3, budget=SearchLimits(seconds=120)), loop


def beside() -> tuple[Certificate, ClosedLoop]:
    """A loop that rests beside the reference."""
    task, law = test_equilibrium.TASK, test_equilibrium.LAW
    return certify(task, law, equilibrium="own"), ClosedLoop(task, law)


SETS: dict[str, Callable[[], tuple[Certificate, ClosedLoop]]] = {
    "pendulum, ellipse": lambda: regulator(pendulum(), 0.999),
    "cart-pole": lambda: regulator(cartpole(), 0.95),
    "quadrotor": lambda: regulator(planar_quadrotor(), 0.3),
    "oscillator, mu = 1": lambda: oscillator(1.0, 0.97),
    "oscillator, mu = 3": lambda: oscillator(3.0, 0.85),
    "pendulum, fitted": lambda: planar(pendulum(), 100.0, 4, 0.6, True),
    "pendulum, own equilibrium": beside,
    "path, fitted": lambda: planar(path_tracking(), 10.0, 6, 0.97, False),
}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", SETS)
def test_nothing_is_found(name: str) -> None:
    certificate, loop = SETS[name]()
    assert certificate.is_proved
    V, region = certificate.V, certificate.region
    lower, upper = region.hull
    rng = np.random.default_rng(0)

    def growth(x: np.ndarray) -> np.ndarray:
        """Of V, relative to it; infinite where the motion leaves the box in one sample; -infinite outside the set."""
        after = loop(x)
        value = V(x)
        within = ((x >= lower) & (x <= upper)).all(axis=1) & (value <= certificate.level)
        if loop.continuous:
            g = (V.gradient(x) * after).sum(-1)
        else:
            g = V(after) - value
            g = np.where(((after < region.lower) | (after > region.upper)).any(axis=1), np.inf, g)
        return np.where(within, g / np.maximum(value, 1e-30), -np.inf)

    def samples(count: int) -> np.ndarray:
        n = len(lower)
        if isinstance(V, QuadraticLyapunov):
            z = rng.standard_normal((count, n))
            z *= rng.random((count, 1)) ** (1.0 / n) / np.linalg.norm(z, axis=1, keepdims=True)
            return V.middle + np.sqrt(certificate.level) * z @ np.linalg.inv(np.linalg.cholesky(V.P))
        return rng.uniform(lower, upper, (count, n))

    def floor(x: np.ndarray) -> np.ndarray:
        """What rounding does to the quotient: V is a difference of large numbers close to its centre."""
        return 1e-12 * (1.0 + np.abs(certificate.level) / np.maximum(V(x), 1e-30))

    size = upper - lower
    tried, best = 0, np.zeros((0, len(lower)))
    while tried < SAMPLES:
        x = samples(100_000)
        g = growth(x)
        tried += int(np.isfinite(g).sum())
        assert (g < floor(x)).all()
        best = np.concatenate([best, x[np.argsort(g)[-300:]]])
    # Gradient attacks from the worst of them, in steps that shrink, kept inside the set.
    x, step = best[np.argsort(growth(best))[-2000:]], 0.02
    for _ in range(120):
        slope = np.stack(
            [(growth(x + e) - growth(x - e)) / 2e-6 for e in 1e-6 * size[:, None] * np.eye(len(size))], axis=1
        )
        slope = np.where(np.isfinite(slope), slope, 0.0)
        slope /= np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-300)
        noise = 0.3 * rng.standard_normal(x.shape)
        ahead = x + step * size * (slope + noise) * rng.random((len(x), 1))
        better = growth(ahead) > growth(x)
        x = np.where(better[:, None], ahead, x)
        step *= 0.97
    assert (growth(x) < floor(x)).all()
    # Runs from the border of the set arrive.
    starts = samples(20_000)
    starts = starts[(growth(starts) > -np.inf)]
    starts = starts[np.argsort(V(starts))[-200:]]
    x = starts
    h = 0.5 * loop.task.dt
    for _ in range(6000):
        if loop.continuous:
            k1 = loop(x)
            k2 = loop(x + 0.5 * h * k1)
            k3 = loop(x + 0.5 * h * k2)
            x = x + h / 6 * (k1 + 2 * (k2 + k3) + loop(x + h * k3))
        else:
            x = loop(x)
    assert (V(x) < 1e-3 * certificate.level).all()
