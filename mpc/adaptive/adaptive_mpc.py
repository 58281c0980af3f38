"""Predictive control with a residual that is learned online."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from enum import StrEnum
from time import perf_counter
from typing import Any, final

import numpy as np

from ctrl.answers import announced, described
from ctrl.controller import Controller, Decision, measured_state, sample_index
from ctrl.knowledge import Knowledge
from ctrl.loop import SingleStep
from mpc.adaptive.tunable import adapted_knowledge, tunable
from mpc.nonlinear.nonlinear_mpc import NonlinearMPC
from mpc.online import quiet
from systems import DimensionMismatch, InvalidValue, Task
from systems.arguments import expect_number
from systems.errors import expect, located, shown
from systems.identification.online import FourierFeatures, Learned, OnlineRule, RecursiveLeastSquares, ResidualPlant
from systems.lowering.buffered import Buffered

__all__ = ["AdaptiveMPC", "Learning"]


class Learning(StrEnum):
    """The outcome of the last update.

    ``WAITING``: nothing, there was no sample just before it. ``LIMITED``: the error of the prediction exceeded the
    largest residual, and was taken as that. ``SKIPPED``: nothing, numbers were not finite.
    """

    WAITING = "waiting"
    LEARNED = "learned"
    LIMITED = "limited"
    SKIPPED = "skipped"


@final
class AdaptiveMPC:
    """Nonlinear MPC that learns from every sample what its plant leaves out: x+ = f(x, u) + h(x, u).

    h is a combination of random Fourier features. After each sample a rule updates its weights from the error of the
    nominal prediction; the weights are parameters of the controller's program, so that f + h is its model at once and
    nothing is built again (Zhou, Zhang & Tzoumas, 2025).

    The weights lie in a ball within which h never exceeds the sizes given as ``outputs``. A new run starts from
    ``learned``, so that runs do not depend on each other. Terminal cost and backup control law are those of the nominal
    plant.

    Args:
        task: the controlled task, whose plant is the nominal one.
        features: what h depends on.
        outputs: by name of the states that h is added to: the largest change of the state per sample, in its unit, that
            h may have. Choose about twice of what you expect.
        rule: how weights are updated; default: recursive least squares.
        predictive: constructs the controller, by ``predictive(task, parameters=names)``; default: NonlinearMPC.
        learned: with which a run starts; default: nothing.

    Attributes:
        controller: that was constructed.
        learned: the state of the rule. To go on in another process, give it to the constructor there.
        learning: the outcome of the last update; see :class:`Learning`.
        approximations: in words; None where the controller does not say.

    Raises:
        UnknownName: an output that is not a state, or a feature of neither a state nor an input.
        InvalidValue: no output, a size that is not positive, or a controller without parameters.
        DimensionMismatch: ``learned`` of another number of features or outputs.
        NotApplicable: the controller cannot control this task.
    """

    def __init__(
        self,
        task: Task,
        features: FourierFeatures,
        outputs: Mapping[str, float],
        rule: OnlineRule = RecursiveLeastSquares(),  # noqa: B008  # frozen
        predictive: Callable[..., Controller] = NonlinearMPC,
        learned: Learned | None = None,
    ) -> None:
        expect(task, Task, "the task of a controller", "such as systems.library.cartpole()")
        expect(features, FourierFeatures, "features", 'such as FourierFeatures({"speed": 0.5})')
        expect(rule, OnlineRule, "rule", "such as RecursiveLeastSquares()")
        self._arguments = (task, features, outputs, rule, predictive, learned)
        self.task, self.rule = task, rule
        self._state = periodic = task.reading.state
        self._rows, self._sizes = _read(outputs, task)
        plant = ResidualPlant(task.dynamics, features, tuple(outputs), tuple(self._sizes.tolist()), periodic)
        model = dataclasses.replace(task, plant=plant, truth=None)
        self.controller = controller = tunable(predictive, model, plant.weight_names)
        shape = (features.count, len(self._rows))
        self._first = rule.start(*shape) if learned is None else learned
        expect(self._first, Learned, "learned", "as another AdaptiveMPC has it")
        if (self._first.estimate.shape, self._first.covariance.shape) != (shape, rule.start(*shape).covariance.shape):
            raise DimensionMismatch(
                f"learned: weights of shape {self._first.estimate.shape} and covariance of shape "
                f"{self._first.covariance.shape} do not fit {shape[0]} features, {shape[1]} outputs and {rule!r}; "
                "give what was learned with the same ones"
            )
        announcement = announced(controller)
        own = "plans with the residual as learned so far"
        own += f"; {controller.unchanged} are those without it" if controller.unchanged else ""
        self.approximations = None if announcement is None else (*announcement, own)
        self._bounds = task.plant.bounds
        self._nominal = SingleStep(task.dynamics)
        self._x, self._u, self._phi = (np.zeros(size) for size in (len(self._state), len(task.plant.input), shape[0]))
        function = features.function(periodic, task.plant.input)
        self._features = Buffered(function, [self._x, self._u], [self._phi])
        self.reset()

    def __repr__(self) -> str:
        names = ", ".join(self._state.names[i] for i in self._rows)
        return described(f"AdaptiveMPC of {self.controller!r}, which learns the change of {names}", ())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._arguments

    @property
    def knowledge(self) -> Knowledge | None:
        """That of the controller; its model is learned in addition."""
        return adapted_knowledge(self.controller)

    def reset(self) -> None:
        """Starts a new run, with what the constructor was given as ``learned``."""
        self.controller.reset()
        self.learned, self.learning = self._first, Learning.WAITING
        self._last: tuple[np.ndarray, np.ndarray, int] | None = None

    def residual(self, x: np.ndarray, u: np.ndarray) -> np.ndarray:
        """h(x, u), the learned change per sample of each output, in the states' units.

        Args:
            x: (n,). u: (m,).
        """
        return np.asarray(self._sizes * (self._phi_at(x, u) @ self.learned.weights))

    def step(self, x: np.ndarray, k: int) -> Decision:
        """Learns from the sample before, and decides at sample ``k`` in state ``x`` (n,).

        The input of the sample before is taken to be the one that was decided, within the limits of the actuators.

        Raises:
            DimensionMismatch, InvalidValue: arguments of another shape or kind.
        """
        began = perf_counter()
        x, k = measured_state(x, self._state), sample_index(k)
        self.learning = self._learn(x, k)
        self.controller.set_parameters(self.learned.weights.ravel(order="F"))
        decision = self.controller.step(x, k)
        self._last = (x.copy(), np.clip(decision.input, *self._bounds), k) if np.isfinite(x).all() else None
        return dataclasses.replace(decision, seconds=perf_counter() - began)

    @quiet
    def _learn(self, x: np.ndarray, k: int) -> Learning:
        if not np.isfinite(x).all():
            return Learning.SKIPPED
        if self._last is None or self._last[2] != k - 1:
            return Learning.WAITING
        x_before, u_before, _ = self._last
        error = self._state.deviation(x, self._nominal(x_before, u_before))[self._rows] / self._sizes
        phi = self._phi_at(x_before, u_before)
        if not (np.isfinite(error).all() and np.isfinite(phi).all()):
            return Learning.SKIPPED
        limited = np.clip(error, -1.0, 1.0)
        learned = self.rule.update(self.learned, phi, limited)
        if not (np.isfinite(learned.estimate).all() and np.isfinite(learned.covariance).all()):
            return Learning.SKIPPED
        self.learned = learned
        return Learning.LIMITED if (limited != error).any() else Learning.LEARNED

    def _phi_at(self, x: np.ndarray, u: np.ndarray) -> np.ndarray:
        """The features (count,) there, valid until the next call."""
        self._x[:], self._u[:] = x, u
        self._features.run()
        return self._phi


def _read(outputs: Mapping[str, float], task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Indices and sizes of the outputs."""
    if not isinstance(outputs, Mapping) or not outputs:
        raise InvalidValue(
            f"outputs = {shown(outputs)}; expected the largest residual by name of a state, such as "
            f'{{"{task.plant.state.names[-1]}": 0.1}}'
        )
    state = task.plant.state
    with located("outputs"):
        rows = np.array([state.where(name) for name in outputs], dtype=int)
    sizes = [expect_number(size, f"outputs: the size of {name}", above=0.0) for name, size in outputs.items()]
    return rows, np.array(sizes, dtype=float)
