"""Rows of :mod:`benchmarks.verify` with more states: the quadrotor in space, and the pendulum by output feedback.

The quadrotor has twelve states in error coordinates, its regulator and its rotors' limits. The pendulum has the torque,
the box and the sample time of a published region of four states (Yang, Dai, Shi, Hsieh, Tedrake & Zhang 2024, with
networks as controller and observer): angle and rate within 0.7 pi, both errors of the estimate within 0.175 pi, torque
within 1 N m, Euler steps of 10 ms; only the angle is measured. Trajectories from the proved set stay in that box.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from ctrl.certify import Certificate, ClosedLoop, SearchLimits, largest_level, lyapunov, reshaped
from ctrl.certify.loops.equilibrium import rest_point
from ctrl.certify.semidefinite.ellipsoids import largest_ellipsoid
from ctrl.estimation import LuenbergerObserver, OutputFeedback, observer_loop
from ctrl.laws import Law
from ctrl.regulator import LQR
from systems import Box, Measurement, Quadratic, Task, signals
from systems.library import Pendulum, pendulum, quadrotor_error_coordinates

__all__ = ["contradictions", "measured_pendulum", "output_feedback", "quadrotor_in_space", "reach"]

_HALF = np.pi * np.array([0.7, 0.7, 0.175, 0.175])
_RATE = 0.5  # of the linearised loop's own decay
_POLES = (0.001, 0.972)  # of the observer


def quadrotor_in_space(continuous: bool, limits: SearchLimits) -> tuple[Certificate, ClosedLoop]:
    """The largest ellipsoid of fast decrease of the linearised loop, at the highest level that is proved."""
    task = quadrotor_error_coordinates()
    law = LQR(task).law
    loop = ClosedLoop(task, law, continuous)
    growth = rest_point(loop).growth
    V = largest_ellipsoid(loop, _RATE * (-2.0 * growth if continuous else 1.0 - growth**2))
    return largest_level(task, law, V, budget=limits, continuous=continuous), loop


def reach(certificate: Certificate) -> dict[str, float]:
    """The most by which states of the set differ from hovering: metres, metres per second, degrees of tilt and yaw.

    The direction of thrust is tilted by 2 asin(|(qx, qy)|), and the whole turn is 2 asin(|e|) for the error e.
    """
    covariance = certificate.level * np.linalg.inv(certificate.V.enclose_hessian(certificate.V.centre).mid / 2.0)

    def most(which: slice) -> float:
        return float(np.sqrt(np.linalg.eigvalsh(covariance[which, which]).max()))

    turn = {"tilt_degrees": most(slice(3, 5)), "turn_degrees": most(slice(3, 6))}
    return {
        "position_metres": most(slice(0, 3)),
        "speed": most(slice(6, 9)),
        **{name: float(np.degrees(2.0 * np.arcsin(size))) for name, size in turn.items()},
    }


def measured_pendulum() -> tuple[Task, Law]:
    """The pendulum, a Luenberger observer of its angle and a regulator, as one loop of four states."""
    half = float(_HALF[0])
    task = dataclasses.replace(
        pendulum(),
        plant=Pendulum(max_torque=1.0),
        dt=0.01,
        cost=Quadratic(Q={"angle": 1.0, "rate": 8.0}, R={"torque": 3.0}),
        domain=Box("model", {"angle": (-half, half), "rate": (-half, half)}),
    )
    observer = LuenbergerObserver(dataclasses.replace(task, measurement=Measurement(signals("angle [rad]"))), _POLES)
    return observer_loop(OutputFeedback(LQR(task), observer))


def output_feedback(limits: Callable[[], SearchLimits], rounds: int = 6000) -> tuple[Certificate, ClosedLoop]:
    """A quadratic reshaped within the published box, at the highest level that is proved."""
    task, law = measured_pendulum()
    loop, box = ClosedLoop(task, law), (-_HALF, _HALF)
    V = reshaped(loop, lyapunov(task, law), box, rounds)
    return largest_level(task, law, V, resolution=1e-3, budget=limits(), box=box), loop


def contradictions(certificate: Certificate, loop: ClosedLoop, count: int = 1_000_000, seed: int = 0) -> int:
    """How many of so many random states of the set contradict it: V does not fall, or they leave the box."""
    rng, V, region = np.random.default_rng(seed), certificate.V, certificate.region
    lower, upper = region.hull
    root, drawn, wrong = np.linalg.cholesky(np.linalg.inv(V.enclose_hessian(V.centre).mid / 2.0)), 0, 0
    while drawn < count:
        z = rng.normal(size=(100_000, len(lower)))
        z *= rng.uniform(size=(len(z), 1)) ** (1.0 / len(lower)) / np.linalg.norm(z, axis=1, keepdims=True)
        x = V.middle + np.sqrt(certificate.level) * z @ root.T
        x = x[((x >= lower) & (x <= upper)).all(axis=1)][: count - drawn]
        drawn += len(x)
        after = loop(x)
        if loop.continuous:
            falls = (V.gradient(x) * after).sum(axis=1) < 0
        else:
            falls = (V(after) < V(x)) & ((after >= region.lower) & (after <= region.upper)).all(axis=1)
        wrong += int((~falls).sum())
    return wrong
