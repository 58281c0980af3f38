"""A learned policy as a controller: state in, decision out, without torch in the step."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import final

import numpy as np

from ctrl.answers import described
from ctrl.controller import Decision, NotApplicable, Source, Status, measured_state, measured_states, sample_index
from ctrl.export.code import ControllerCode, NotExportable, reference_notes
from ctrl.export.network import policy_part, residual_part
from ctrl.export.project import ExportsCode
from ctrl.knowledge import Knowledge
from ctrl.laws.law import Law
from ctrl.laws.residual import Residual
from safe_rl.answers import POLICY, expect_fits, policy_knowledge, policy_objective
from safe_rl.measured_policy import MeasuredPolicyController
from safe_rl.policy import Policy
from systems import Task
from systems.errors import expect
from systems.lowering import lower
from systems.lowering.program import NotLowerable
from systems.references import TabulatedReference

__all__ = ["PolicyController"]


@final
class PolicyController(ExportsCode):
    """The mean action of a policy on a task: u = clip(pi(o(x, x_r))), o as the task defines it.

    Args:
        task: defines observation, reference and input bounds.
        policy: trained on it.

    Attributes:
        task, policy: as given.
        approximations: of the task, in words.
        training_log: of the training, as a CSV file, for learning curves; None where it is not known.

    Raises:
        NotApplicable: the policy observes or acts on signals that the task does not have, or policies of this task
            observe measured signals; use :class:`safe_rl.MeasuredPolicyController` for those.
    """

    def __init__(self, task: Task, policy: Policy) -> None:
        expect(task, Task, "the task of PolicyController", "such as systems.library.cartpole()")
        expect(policy, Policy, "the policy of PolicyController", "such as learner.result, or Policy.load(file)")
        if task.observes_measurement:
            raise NotApplicable(
                f"policies of task '{task.name}' observe its measured signals: use MeasuredPolicyController(task, "
                "policy); combine a policy that was trained on the state with an estimator: OutputFeedback("
                "PolicyController(dataclasses.replace(task, measurement=None), policy), ExtendedKalmanFilter(task))"
            )
        expect_fits(policy, task)
        self.task, self.policy = task, policy
        self.training_log: Path | None = None
        self._state = task.plant.state
        self._act = policy.law()
        # An observation that is the state itself needs no program; its call would take longer than the network.
        self._sees_state = task.observation is None and task.reference.is_constant
        plain = self._sees_state and task.reading.state.is_euclidean
        self._observe = None if plain else lower(task.observe_function(), to="numpy")
        self._lower, self._upper = task.input_bounds
        self._is_regulator = policy.regulator is not None and float(policy.regulator.share) == 0.0
        alone = (
            ("adds nothing to its regulator, since no trial in training improved on it",) if self._is_regulator else ()
        )
        trained = (
            (f"was trained with {policy.filtered_by}, without which its inputs may be unsafe",)
            if policy.filtered_by
            else ()
        )
        self.approximations = (policy_objective(task), *alone, *POLICY.read(task), *trained)
        self._reference = TabulatedReference(task.reference, task.plant, task.steps + 1)

    @property
    def knowledge(self) -> Knowledge:
        """Objective, tuning and foresight of the controller."""
        moving = "the reference of the current sample, with what the task's observation adds"
        return policy_knowledge(self.task, moving)

    def __repr__(self) -> str:
        return described("PolicyController", self.approximations)

    @property
    def law(self) -> Law | None:
        """The input as a function of the state, before it is clipped to the task's bounds, the function to certify;
        None if the policy observes something other than the state. For periodic signals it uses the representative
        nearest to the reference. A residual policy whose share is 0 has the law of its regulator, which is the same
        function and far easier to certify.
        """
        if not self._sees_state:
            return None
        return self._act.base if self._is_regulator and isinstance(self._act, Residual) else self._act

    @classmethod
    def load(cls, task: Task, path: str | Path) -> PolicyController | MeasuredPolicyController:
        """Loads a policy saved by ``Policy.save`` as a controller; for a task whose policies observe the measured
        signals, as a :class:`safe_rl.MeasuredPolicyController`."""
        return (MeasuredPolicyController if task.observes_measurement else cls)(task, Policy.load(path))

    def c_code(self, samples: int) -> ControllerCode:
        """The policy in C, with a table of a moving reference for this number of samples.

        Raises:
            NotExportable: the observation cannot be written in C.
        """
        try:
            if isinstance(self._act, Residual):
                part = residual_part(self.task, self._act, self._reference)
            else:
                part = policy_part(self.task, self._act, self._reference, samples)
        except NotLowerable as reason:
            raise NotExportable(
                f"task '{self.task.name}': its observation cannot be exported to C: {reason}"
            ) from reason
        widths = "x".join(str(width) for width in self.policy.hidden)
        return ControllerCode(
            self.task,
            f"A {'residual ' if isinstance(self._act, Residual) else ''}policy, a network of {widths} units.",
            part,
            self.approximations,
            tolerance=1e-6,
            notes=reference_notes(self.task, samples),
        )

    def reset(self) -> None:
        """Does nothing: the policy has no memory."""

    def step(self, x: np.ndarray, k: int) -> Decision:
        """Decides at sample k; for a state that is not finite, the reference input is applied and the status says so.

        Raises:
            DimensionMismatch: x has another shape than (n,).
            InvalidValue: x does not consist of numbers, or k is not a sample number.
        """
        began = perf_counter()
        x, k = measured_state(x, self._state), sample_index(k)
        if np.isfinite(x).all():
            u = self.batch(x, k)
            if np.isfinite(u).all():
                return Decision(u, seconds=perf_counter() - began)
        backup = np.clip(self._reference(k)[1], self._lower, self._upper)
        return Decision(backup, Status.NUMERICAL, Source.BACKUP, seconds=perf_counter() - began)

    @np.errstate(over="ignore", invalid="ignore")  # :meth:`step` and the closed loop check the result
    def batch(self, x: np.ndarray, k: int) -> np.ndarray:
        """Inputs (..., m) for states (..., n)."""
        x, k = measured_states(x, self._state), sample_index(k)
        observation = x if self._observe is None else self._observe(x, self._reference(k)[0])
        return np.minimum(np.maximum(self._act(observation), self._lower), self._upper)
