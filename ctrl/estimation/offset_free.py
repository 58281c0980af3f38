"""Offset-free control: the target of a state-feedback controller is computed from estimated disturbances."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any, final

import casadi as ca
import numpy as np

from ctrl.answers import announced, described, steady_state_in_words
from ctrl.controller import Controller, Decision, NotApplicable, Status, expect_sample_time
from ctrl.estimation.disturbance_model import disturbance_model
from ctrl.estimation.estimator import Estimate, Estimator, measured_outputs
from ctrl.estimation.output_feedback import standard_estimator
from systems import InvalidValue, Task
from systems.arguments import expect_arguments, expect_names
from systems.errors import expect, located, shown

__all__ = ["OffsetFree"]

NEWTON = 8  # steps towards the target at one sample
SOLVED = 1e-9  # residual, relative to 1 + the size of state and input, at which the target counts as found
FARTHEST = 1e6  # times the size of the reference, beyond which a target is not believed


@final
class OffsetFree:
    """Brings tracked signals to their reference under constant disturbances and model errors, with any state-feedback
    controller: integral action for LQR and predictive controllers alike.

    An estimator augments the plant with integrating disturbances (:func:`ctrl.estimation.disturbance_model`). At every
    sample the target, x_s = F(x_s, u_s + B d) with the tracked signals h(x_s, u_s) + C d at their reference, is
    computed for the disturbances d of the estimate. The controller is given x - (x_s - x_r), and u_s - u_r is added to
    its input. On an affine plant this is the problem in deviations from the target (Pannocchia & Rawlings, 2003).

    Args:
        controller: of the state, made for the same task.
        task: with a measurement, and a constant reference that is an equilibrium.
        tracks: names of measured signals, at most as many as there are inputs; default: all of them.
        drift: standard deviations per sample of the disturbances, by name of the input or measured signal that each is
            added to; default: see :func:`ctrl.estimation.disturbance_model`.
        estimator: constructs the estimator of the augmented task; default: the Kalman filter, extended if necessary. An
            unscented filter of a nonlinear plant settles beside the plant's equilibrium, which leaves a small offset.

    Attributes:
        measurement: the outputs passed to ``step``.
        estimate: of the last sample; None before the first.
        disturbance: by name, as estimated last.
        approximations: in words; None where the controller or the estimator does not say.

    Raises:
        NotApplicable: no measurement, a reference that moves or is not an equilibrium of least cost, more tracked
            signals than inputs, disturbances that cannot be told apart, or integer inputs.
        InvalidValue: not a controller, or a signal that is not measured.
    """

    def __init__(
        self,
        controller: Controller,
        task: Task,
        tracks: Sequence[str] = (),
        drift: Mapping[str, float] | None = None,
        estimator: Callable[[Task], Estimator] = standard_estimator,
    ) -> None:
        if isinstance(controller, type) or not isinstance(controller, Controller):
            raise InvalidValue(f"the controller = {shown(controller)}; expected a controller, such as LQR(task)")
        expect(task, Task, "the task of OffsetFree", "with a measurement")
        if drift is not None:
            expect(drift, Mapping, "drift", 'such as {"torque": 0.01}')
        expect_arguments(estimator, "task", "estimator")
        expect_sample_time(task, controller)
        self._arguments = (controller, task, tracks, drift, estimator)
        self.controller, self.task = controller, task
        if task.plant.forecast is not None:
            raise NotApplicable(
                f"task '{task.name}' has signals known ahead ({', '.join(task.plant.forecast.signals.names)}), and "
                "offset-free control needs a target that does not move; let an estimator find what is unknown: give "
                "the plant a constant unknown state whose derivative is a disturbance, and use OutputFeedback"
            )
        if not task.reading.follows:
            raise NotApplicable(f"task '{task.name}': its reference is not an equilibrium, so nothing can settle there")
        if task.reading.settles_elsewhere():
            raise NotApplicable(
                f"task '{task.name}': its cost is least at {steady_state_in_words(task)}, where controllers settle, "
                "and not at its reference, which no tracked signal would reach; make that the reference, or penalise "
                "the distance from the reference"
            )
        if any(signal.integer for signal in task.plant.input):
            raise NotApplicable(
                f"task '{task.name}' has integer inputs, and what keeps a disturbed plant at rest may be any number; "
                "use OutputFeedback"
            )
        self.model = disturbance_model(task, drift)
        assert task.measurement is not None
        self.measurement = task.measurement
        names = tuple(expect_names(tracks, "tracks")) or self.measurement.signals.names
        with located("tracks"):
            rows = [self.measurement.signals.where(name) for name in names]
        if len(rows) > len(task.plant.input):
            raise NotApplicable(
                f"task '{task.name}': {len(rows)} signals cannot all be kept at their reference by "
                f"{len(task.plant.input)} inputs; name the tracked ones: OffsetFree(controller, task, "
                f"tracks={list(names[: len(task.plant.input)])})"
            )
        self.estimator = estimator(self.model.task)
        self._x_ref, self._u_ref = task.reading.start
        self._residual = self._target_function(rows)
        of_both = announced(controller), announced(self.estimator)
        self.approximations = None if None in of_both else tuple(
            dict.fromkeys(
                (
                    *(of_both[0] or ()),
                    "keeps its constraints, and plans, in coordinates that are moved to the target of each sample",
                    *(f"estimator: {text}" for text in of_both[1] or ()),
                )
            )
        )  # fmt: skip
        self._lower, self._upper = task.input_bounds
        self.reset()

    def __repr__(self) -> str:
        return described(f"OffsetFree of {self.controller!r} by {self.estimator!r}", ())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._arguments

    def reset(self) -> None:
        """Forgets the past: a new run begins."""
        self.controller.reset()
        self.rewind()

    def rewind(self) -> None:
        """Forgets what was measured and applied; the controller keeps its plan. See :class:`ctrl.Informed`."""
        self.estimator.reset()
        self.estimate: Estimate | None = None
        self._input = self._u_ref
        self._target = np.concatenate([self._x_ref, self._u_ref])
        self._d = np.zeros(len(self.model.names))

    @property
    def disturbance(self) -> dict[str, float]:
        """The disturbances as estimated last, by name."""
        return dict(zip(self.model.names, self._d.tolist(), strict=True))

    def inform(self, u: np.ndarray) -> None:
        """The estimator is given the input u (m,) in place of the decided one."""
        self._input = np.clip(u, self._lower, self._upper)

    def observe(self, y: np.ndarray, k: int) -> None:
        """Updates estimate and target at sample ``k`` with the measurement ``y`` (p,), without a decision.

        Raises:
            DimensionMismatch, InvalidValue: arguments of another shape or kind.
        """
        y = measured_outputs(y, self.measurement.signals)
        estimate = self.estimator.update(y, self._input, k)
        n = len(self._x_ref)
        self._d = estimate.state[n:]
        covariance = None if estimate.covariance is None else estimate.covariance[:n, :n]
        self.estimate = Estimate(estimate.state[:n].copy(), covariance, estimate.status, estimate.used)
        self._follow()

    def step(self, y: np.ndarray, k: int) -> Decision:
        """Decides at sample ``k`` from the measurement ``y`` (p,), NaN where a signal is not reported.

        Raises:
            DimensionMismatch, InvalidValue: arguments of another shape or kind.
        """
        began = perf_counter()
        self.observe(y, k)
        estimate, n = self.estimate, len(self._x_ref)
        assert estimate is not None
        x_s, u_s = self._target[:n], self._target[n:]
        decision = self.controller.step(estimate.state - (x_s - self._x_ref), k)
        self.inform(decision.input + (u_s - self._u_ref))
        status = decision.status if estimate.status is Status.SOLVED else estimate.status
        seconds = perf_counter() - began
        return Decision(self._input, status, decision.source, decision.iterations, decision.residual, seconds)

    def _target_function(self, rows: list[int]) -> ca.Function:
        """``(z, d) -> (residual, Jacobian)`` of the conditions of the target z = (x, u)."""
        plant, model = self.task.plant, self.model
        x, u, d = plant.state.symbol(), plant.input.symbol(), ca.SX.sym("d", len(model.names))
        outputs = self.measurement.function(plant)
        w = ca.DM(self.task.disturbance.mean(plant.disturbance))
        rest = self.task.dynamics.function()(x, u + ca.DM(model.B) @ d, w, ca.SX(0, 1)) - x
        reference_outputs = outputs(self._x_ref, self._u_ref)
        tracked = (outputs(x, u) + ca.DM(model.C) @ d - reference_outputs)[rows]
        z, residual = ca.vertcat(x, u), ca.vertcat(rest, tracked)
        return ca.Function("target", [z, d], [ca.densify(residual), ca.densify(ca.jacobian(residual, z))])

    @np.errstate(all="ignore")  # numbers that are not finite are looked for
    def _follow(self) -> None:
        """Moves the target to that of the present disturbances, by Newton's method; it stays where that fails."""
        z, reach = self._target.copy(), FARTHEST * (1.0 + np.abs(np.concatenate([self._x_ref, self._u_ref])).max())
        for _ in range(NEWTON):
            residual, slopes = (np.array(part) for part in self._residual(z, self._d))
            if not (np.isfinite(residual).all() and np.isfinite(slopes).all() and np.abs(z).max() < reach):
                return
            if np.abs(residual).max() <= SOLVED * (1.0 + np.abs(z).max()):
                self._target = z
                return
            # Of more inputs than tracked signals the shortest step.
            z = z - np.linalg.lstsq(slopes, residual[:, 0], rcond=None)[0]
