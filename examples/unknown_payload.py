"""A pendulum with an unknown payload and a measured angle: predictive control with and without an estimate of its mass.

Run: python examples/unknown_payload.py, or: trivium compare examples/unknown_payload.py:task
"""

from __future__ import annotations

import dataclasses
from functools import partial

from ctrl import ExtendedKalmanFilter, OutputFeedback, compare
from ctrl.comparison import Comparison
from mpc import NonlinearMPC, ParameterAdaptiveMPC
from systems import Gaussian, Measurement, Uniform, signals
from systems.library import pendulum
from systems.library.pendulum import Pendulum

TRUE = 0.2  # kg; the nominal mass is 0.15 kg, and the motor can hardly hold either
task = dataclasses.replace(
    pendulum(),
    truth=Pendulum(mass=TRUE),
    steps=80,
    initial=Uniform({"angle": -0.3, "rate": -0.3}, {"angle": 0.3, "rate": 0.3}),
    measurement=Measurement(signals("angle [rad]"), noise=Gaussian({"angle": 0.005})),
)
MPC = partial(NonlinearMPC, horizon=20)


def adaptive() -> ParameterAdaptiveMPC:
    """Estimates angle, rate and mass, the latter from 0.1 to 0.3 kg."""
    return ParameterAdaptiveMPC(task, {"mass": (0.1, 0.3)}, predictive=MPC)


def main(starts: int = 16) -> tuple[Comparison, ParameterAdaptiveMPC]:
    """The comparison, and the controller with what it estimated in the last run."""
    controller = adaptive()
    nominal = OutputFeedback(MPC(task), ExtendedKalmanFilter(task))
    comparison = compare(task, {"nominal": nominal, "adaptive": controller}, starts, workers=1)
    print(comparison)
    print(f"mass at the end of the last run: {controller.parameters[0]:.3f} kg, of {TRUE} kg")
    return comparison, controller


if __name__ == "__main__":
    main()
