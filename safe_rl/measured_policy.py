"""A learned policy as an output-feedback controller: measured outputs in, decision out, without torch in the step."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import final

import numpy as np

from ctrl.answers import described
from ctrl.controller import Decision, NotApplicable, Source, Status, sample_index
from ctrl.estimation.estimator import measured_outputs
from ctrl.export.code import ControllerCode, NotExportable, reference_notes
from ctrl.export.network import measured_policy_part
from ctrl.export.project import ExportsCode
from ctrl.knowledge import Knowledge
from ctrl.laws.network import Network
from safe_rl.answers import POLICY, expect_fits, policy_knowledge, policy_objective
from safe_rl.policy import Policy
from systems import Task
from systems.errors import expect
from systems.measured_history import ObservedRun
from systems.references import TabulatedReference

__all__ = ["MeasuredPolicyController"]


@final
class MeasuredPolicyController(ExportsCode):
    """The mean action of a policy that was trained on the measured signals of a task, without an estimator.

    It is a :class:`ctrl.Controller` of the measured outputs, NaN where a signal is not reported, and stores the past
    values that the policy observes: see :class:`systems.MeasuredWindow`. The stored inputs are those decided.

    Args:
        task: with a measurement, and no ``Observation`` of the state.
        policy: trained on it.

    Attributes:
        task, policy: as given.
        measurement: of the task: the outputs passed to ``step``.
        approximations: of the task, in words.
        training_log: of the training, as a CSV file, for learning curves; None where it is not known.

    Raises:
        NotApplicable: policies of this task observe its state, or the policy observes or acts on different signals.
    """

    def __init__(self, task: Task, policy: Policy) -> None:
        expect(task, Task, "the task of MeasuredPolicyController", "with a measurement")
        expect(policy, Policy, "the policy of MeasuredPolicyController", "such as learner.result, or Policy.load(file)")
        if not task.observes_measurement:
            raise NotApplicable(f"policies of task '{task.name}' observe its state: use PolicyController(task, policy)")
        expect_fits(policy, task)
        assert task.measurement is not None
        self.task, self.policy, self.measurement = task, policy, task.measurement
        self.training_log: Path | None = None
        self.approximations = (policy_objective(task), *POLICY.read(task))
        self._act, self._run = policy.law(), ObservedRun(task)
        self._lower, self._upper = task.input_bounds
        self._reference = TabulatedReference(task.reference, task.plant, task.steps + 1)

    @property
    def knowledge(self) -> Knowledge:
        """Objective, tuning and foresight of the controller."""
        return policy_knowledge(self.task, "the reference of the current sample")

    def __repr__(self) -> str:
        return described("MeasuredPolicyController", self.approximations)

    def __reduce__(self) -> tuple[object, ...]:
        return _copied, (self.task, self.policy, self.training_log)

    @classmethod
    def load(cls, task: Task, path: str | Path) -> MeasuredPolicyController:
        """Loads a policy saved by ``Policy.save`` as a controller."""
        return cls(task, Policy.load(path))

    def c_code(self, samples: int) -> ControllerCode:
        """The policy in C with its memory, and a table of a moving reference for this number of samples."""
        law = self.policy.law()
        if not isinstance(law, Network):
            raise NotExportable("a residual policy of measured signals has no C code")
        widths = "x".join(str(width) for width in self.policy.hidden)
        return ControllerCode(
            self.task,
            f"A policy of measured signals, a network of {widths} units.",
            measured_policy_part(self.task, law, self._reference, samples),
            self.approximations,
            tolerance=1e-6,
            notes=reference_notes(self.task, samples),
            measurement=self.measurement,
        )

    def reset(self) -> None:
        """Clears the stored values for a new run."""
        self._run.reset()

    def rewind(self) -> None:
        """The same as :meth:`reset`, as a policy has no plan. See :class:`ctrl.Informed`."""
        self.reset()

    def inform(self, u: np.ndarray) -> None:
        """Stores the input u (m,) in place of the decided one."""
        self._run.apply(u.copy())

    def observe(self, y: np.ndarray, k: int) -> None:
        """Stores the measurement ``y`` (p,) of sample ``k``, without a decision.

        Raises:
            DimensionMismatch, InvalidValue: arguments of another shape or kind.
        """
        self._run.observe(measured_outputs(y, self.measurement.signals), sample_index(k))

    @np.errstate(over="ignore", invalid="ignore")
    def step(self, y: np.ndarray, k: int) -> Decision:
        """Decides at sample ``k`` from the measurement ``y`` (p,), NaN where a signal is not reported.

        Raises:
            DimensionMismatch, InvalidValue: arguments of another shape or kind.
        """
        began = perf_counter()
        y, k = measured_outputs(y, self.measurement.signals), sample_index(k)
        u = np.minimum(np.maximum(self._act(self._run.observe(y, k)), self._lower), self._upper)
        status, source = Status.SOLVED, Source.OPTIMAL
        if not np.isfinite(u).all():
            u = np.clip(self._reference(k)[1], self._lower, self._upper)
            status, source = Status.NUMERICAL, Source.BACKUP
        self._run.apply(u)
        return Decision(u, status, source, seconds=perf_counter() - began)


def _copied(task: Task, policy: Policy, training_log: Path | None) -> MeasuredPolicyController:
    """The same controller in another process, at the beginning of a run."""
    controller = MeasuredPolicyController(task, policy)
    controller.training_log = training_log
    return controller
