"""A pendulum balanced by its measured angle alone: the same regulator with five estimators, and with the state.

Run: python examples/measured_pendulum.py, or: trivium compare examples/measured_pendulum.py:task
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ctrl import (
    LQR,
    ExtendedKalmanFilter,
    LuenbergerObserver,
    OutputFeedback,
    SteadyKalmanFilter,
    UnscentedKalmanFilter,
    compare,
)
from ctrl.estimation import Estimator
from mpc import MovingHorizonEstimator
from systems import Gaussian, Measurement, Task, Uniform, signals
from systems.library import pendulum

# An encoder of 360 lines, whose wires pick up noise, read once per sample.
encoder = Measurement(signals("angle [rad]"), noise=Gaussian({"angle": 0.01}), quantum=np.deg2rad(1.0))
task = dataclasses.replace(
    pendulum(),
    initial=Uniform({"angle": -0.3, "rate": -0.5}, {"angle": 0.3, "rate": 0.5}),
    measurement=encoder,
)
ESTIMATORS = {
    "extended": ExtendedKalmanFilter,
    "unscented": UnscentedKalmanFilter,
    "steady (LQG)": SteadyKalmanFilter,
    "luenberger": lambda task: LuenbergerObserver(task, [0.6, 0.7]),
    "moving horizon": lambda task: MovingHorizonEstimator(task, 8),
}


def pair(name: str, task: Task) -> OutputFeedback:
    """The regulator of the state with one of the estimators."""
    estimator: Estimator = ESTIMATORS[name](task)
    return OutputFeedback(LQR(task), estimator)


def main(starts: int = 16) -> None:
    print(compare(task, {name: pair(name, task) for name in ESTIMATORS}, starts))
    known = dataclasses.replace(task, measurement=None)
    print("with the state known:")
    print(compare(known, {"lqr": LQR}, starts))


if __name__ == "__main__":
    main()
