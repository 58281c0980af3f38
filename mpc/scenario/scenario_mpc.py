"""Nonlinear MPC for several scenarios at once (Lucia, Finkler & Engell, 2013, "Multi-stage nonlinear model
predictive control applied to a semi-batch polymerization reactor under uncertainty").

Plants and disturbances differ between scenarios and are constant over the horizon. The first inputs are common to all;
later ones may differ, since by then measurements will have shown which scenario has occurred. With one common input
this is the scenario tree of robust horizon 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from ctrl.answers import EXACT, Answers, Refused
from ctrl.controller import Source
from ctrl.knowledge import Knowledge
from ctrl.terminal import Kind
from mpc.approximations import SMOOTHED_ROOTS
from mpc.fallback import Plan
from mpc.nonlinear.nonlinear_mpc import ANSWERS as OF_ONE
from mpc.nonlinear.nonlinear_mpc import NonlinearMPC
from mpc.online import OnlineController, SolveResult
from mpc.scenario.scenario_task import Scenario, scenario_task
from systems import InvalidValue, Task
from systems.arguments import expect_whole
from systems.errors import expect
from systems.reading import Part

__all__ = ["Scenario", "ScenarioMPC"]


@final
class ScenarioMPC(OnlineController):
    """Minimises the expected cost over scenarios and satisfies the constraints in each of them.

    Every scenario is predicted from the measured state; :class:`mpc.NonlinearMPC` solves the problem of all copies of
    the plant together.

    Args:
        task: the nominal task.
        scenarios: plants and disturbances that may occur; the nominal plant is included only if it is given, as
            ``Scenario()``.
        horizon: number of predicted samples.
        shared: number of first samples with the same inputs in all scenarios, from 1 to the horizon; default: 1. If it
            equals the horizon, one input sequence must suit all scenarios.
        terminal: see :class:`mpc.NonlinearMPC`.
        iterations: number of quadratic programs per step, as in the real-time iteration; default: until convergence.
        time_limit: seconds that one step may take; see :class:`mpc.online.OnlineController`.

    Attributes:
        mpc: the controller of all copies together.

    Raises:
        NotApplicable: a task with budgets of excess or integer inputs, or one that NonlinearMPC refuses.
        InvalidValue: no scenario, or a plant with other signals or tighter input limits than the task's.
    """

    def __init__(
        self,
        task: Task,
        scenarios: Sequence[Scenario],
        horizon: int = 20,
        shared: int = 1,
        terminal: Kind = "cost-to-go",
        iterations: int | None = None,
        time_limit: float | None = None,
    ) -> None:
        super().__init__(task, horizon, None, time_limit)
        expect(scenarios, (list, tuple), "scenarios", "such as [Scenario(), Scenario(CartPole(pole_mass=0.2))]")
        if not scenarios:
            raise InvalidValue("no scenarios; expected at least one, such as Scenario() of the nominal plant")
        for scenario in scenarios:
            expect(scenario, Scenario, "one of the scenarios", "such as Scenario(CartPole(pole_mass=0.2))")
        expect_whole(shared, "shared", least=1, most=horizon, unit="samples")
        approximations = ANSWERS.read(task)
        self._arguments = (task, tuple(scenarios), horizon, shared, terminal, iterations, time_limit)
        self.scenarios, self.shared = tuple(scenarios), shared
        copies = scenario_task(task, scenarios, shared)
        self.mpc = NonlinearMPC(copies, horizon, terminal=terminal, time_limit=self.time_limit, iterations=iterations)
        smoothed = (SMOOTHED_ROOTS,) if self.mpc.staged.smoothed else ()
        self.approximations = tuple(dict.fromkeys((*approximations, *_OF_PLANTS.read(copies), *smoothed)))
        self._flags = np.ones(shared)

    def __repr__(self) -> str:
        horizon = f"horizon={self.horizon}"
        return super().__repr__().replace(horizon, f"{len(self.scenarios)} scenarios, {horizon}", 1)

    @property
    def knowledge(self) -> Knowledge:
        """The objective, tuning and foresight of the controller."""
        is_constant = self.task.reference.is_constant
        return Knowledge(
            f"the mean cost of {len(self.scenarios)} scenarios over {self.horizon} predicted samples and at their end "
            f"({self.mpc.terminal})",
            "the nominal model and the plants of its scenarios",
            "a constant reference" if is_constant else f"the reference {self.horizon} samples ahead",
        )

    @property
    def terminal(self) -> str:
        """The terminal cost that was chosen, in words."""
        return self.mpc.terminal

    def reset(self) -> None:
        """Starts a new run: discards the last plans."""
        super().reset()
        self.mpc.reset()

    def _solve(self, x: np.ndarray, k: int) -> SolveResult:
        decision = self.mpc.step(np.concatenate([np.tile(x, len(self.scenarios)), self._flags]), k)
        plan, n, m = self.mpc.plan, len(self._state), len(self._lower)
        if plan is None or decision.source in (Source.SHIFTED_PLAN, Source.BACKUP):
            return SolveResult(decision.status, None, decision.iterations, decision.residual)
        return SolveResult(
            decision.status, Plan(plan.x[:, :n], plan.u[:, :m], plan.k), decision.iterations, decision.residual
        )


def _refused(what: str, instead: str) -> Refused:
    return Refused(f"MPC over scenarios does not support {what}; {instead}")


ANSWERS = Answers(
    {
        **OF_ONE.by_part,
        Part.EXCESS_BUDGET: _refused("the budget of excess {names}", "make the constraint hard or soft"),
        Part.INTEGER: _refused("the integer {names}", "use NonlinearMPC(task), which searches for it"),
    }
)
_OF_PLANTS = Answers({**dict.fromkeys(Part, EXACT), Part.KINKED_PLANT: OF_ONE.by_part[Part.KINKED_PLANT]})
"""What is said of the plants of the scenarios, which may have kinks that the nominal one does not have."""
