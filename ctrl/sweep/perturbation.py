"""How the loop that runs differs from what its controller knows: in parameters, disturbances, noise and delay."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np

from ctrl.comparison.draws import Draws
from ctrl.controller import Controller, Decision
from systems import Gaussian, InvalidValue, Measurement, Task, UnknownName
from systems.arguments import expect_number, expect_whole

__all__ = ["NOMINAL", "Delayed", "NoisyState", "Perturbation", "spread"]


@final
@dataclass(frozen=True)
class Perturbation:
    """A difference between the loop that runs and the task that its controller was made for.

    Args:
        parameters: factors of parameters of the true plant, by name; default: none.
        disturbance: factor of the drawn disturbances; default: 1.
        noise: factor of the drawn noise of a measurement; default: 1.
        state_noise: of a task without a measurement, standard deviation of normal noise on the state that the
            controller is given, as a share of :func:`spread`; default: 0.
        delay: whole samples after which inputs act; before, that of the reference does; default: 0.

    Raises:
        InvalidValue: a factor that is not positive, negative noise, a delay that is not whole.
    """

    parameters: Mapping[str, float] = field(default_factory=dict)
    disturbance: float = 1.0
    noise: float = 1.0
    state_noise: float = 0.0
    delay: int = 0

    def __post_init__(self) -> None:
        for name, factor in self.parameters.items():
            expect_number(factor, f"the factor of {name}", hint="such as 1.2")
        for name in ("disturbance", "noise"):
            expect_number(getattr(self, name), f"the factor of the {name}", above=0.0, hint="such as 2")
        expect_number(self.state_noise, "state_noise", least=0.0, hint="a share, such as 0.05")
        expect_whole(self.delay, "delay", least=0, unit="samples")

    def __str__(self) -> str:
        parts = [f"{name} x {factor:g}" for name, factor in self.parameters.items()]
        parts += [f"{name} x {value:g}" for name in ("disturbance", "noise") if (value := getattr(self, name)) != 1.0]
        parts += [f"state noise {self.state_noise:g}"] if self.state_noise else []
        parts += [f"delay {self.delay}"] if self.delay else []
        return ", ".join(parts) or "none"

    def task(self, task: Task) -> Task:
        """The task that runs.

        Args:
            task: that the controller knows.

        Raises:
            UnknownName: the true plant has no such parameter.
            InvalidValue: a value outside its declared range; noise on the state of a task with a measurement.
        """
        if self.parameters:
            plant = task.truth or task.plant
            known = plant.parameters
            for name in self.parameters:
                if name not in known:
                    raise UnknownName.among(name, known, f"parameter of {plant.name}")
            values = {name: factor * float(known[name]) for name, factor in self.parameters.items()}
            task = task.with_truth(plant.with_parameters(values))
        if self.state_noise:
            if task.measurement is not None:
                raise InvalidValue(
                    f"task '{task.name}' measures something else than its state; scale that noise instead"
                )
            deviation = self.state_noise * spread(task)
            task = dataclasses.replace(task, measurement=Measurement(task.plant.state, noise=Gaussian(deviation)))
        return task

    def draws(self, draws: Draws) -> Draws:
        """What the runs meet.

        Args:
            draws: of the task that runs.
        """
        noise = draws.noise if draws.noise is None or self.noise == 1.0 else self.noise * draws.noise
        scaled = draws.disturbances if self.disturbance == 1.0 else self.disturbance * draws.disturbances
        return draws._replace(disturbances=scaled, noise=noise)

    def controller(self, controller: Controller, task: Task) -> Controller:
        """The controller as it acts in the task that runs.

        Args:
            controller: of the state, or paired with an estimator.
            task: that runs.
        """
        if self.state_noise:
            assert task.measurement is not None
            controller = NoisyState(controller, task.measurement)
        if self.delay:
            controller = Delayed(controller, self.delay, task.reference.at(task.plant, 0)[1])
        return controller


NOMINAL = Perturbation()
"""The loop that runs is the one that the controller was made for."""


def spread(task: Task) -> np.ndarray:
    """Standard deviation of each initial state plus the distance of its mean from the reference, (n,): how far a run
    is from its goal. Zero for integers and for signals that are known ahead, which no sensor reports.

    Args:
        task: of the runs.
    """
    state = task.plant.state
    offset = state.deviation(task.initial.mean(state), task.reference.at(task.plant, 0)[0])
    far = np.sqrt(np.diag(task.initial.covariance(state))) + np.abs(offset)
    known = () if task.plant.forecast is None else task.plant.forecast.states.names
    exact = np.array([signal.integer or signal.name in known for signal in state], dtype=bool)
    return np.where(exact, 0.0, far)


@final
class NoisyState:
    """A controller that is given a state with noise and takes it for the state.

    Args:
        controller: of the state.
        measurement: of all states.
    """

    def __init__(self, controller: Controller, measurement: Measurement) -> None:
        self._controller, self.measurement = controller, measurement

    def reset(self) -> None:
        self._controller.reset()

    def step(self, x: np.ndarray, k: int) -> Decision:
        return self._controller.step(x, k)


@final
class Delayed:
    """A controller whose inputs act some samples after it has decided them, which it does not know.

    Args:
        controller: that decides.
        samples: of delay.
        before: (m,), the input until its first decision acts.
    """

    def __init__(self, controller: Controller, samples: int, before: np.ndarray) -> None:
        self._controller, self._samples, self._before = controller, samples, np.asarray(before, dtype=float)
        self._decided: list[np.ndarray] = []

    @property
    def measurement(self) -> Any:
        """What the controller takes, None for the state."""
        return getattr(self._controller, "measurement", None)

    @property
    def estimate(self) -> Any:
        """What it takes the state to be, where it estimates it."""
        return getattr(self._controller, "estimate", None)

    def reset(self) -> None:
        self._controller.reset()
        self._decided = [self._before.copy() for _ in range(self._samples)]

    def step(self, x: np.ndarray, k: int) -> Decision:
        decision = self._controller.step(x, k)
        self._decided.append(decision.input)
        return dataclasses.replace(decision, input=self._decided.pop(0))
