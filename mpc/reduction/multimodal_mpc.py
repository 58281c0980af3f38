"""Stochastic MPC among agents with several modes, with feedback on their deviations and exact constraint reduction."""

from __future__ import annotations

from time import perf_counter
from typing import final

import numpy as np

from ctrl.answers import ESTIMATED, EXACT, NO_FORECAST, Announced, Answer, Answers, Refused
from ctrl.controller import Source, Status
from ctrl.knowledge import Knowledge
from mpc.approximations import DOMAIN, INTEGER
from mpc.fallback import Plan
from mpc.memory import expect_dense
from mpc.online import OnlineController, SolveResult, quiet
from mpc.reduction.generation import Optimum, solve_by_generation
from mpc.reduction.mode_filter import ModeFilter
from mpc.reduction.model import multimodal_model
from mpc.reduction.predictors import ConstraintPredictor, LastActiveSet, Situation
from mpc.reduction.program import SampleProgram
from mpc.reduction.responses import responses
from systems import Task
from systems.arguments import expect_number
from systems.errors import expect
from systems.reading import Part

__all__ = ["MultiModalMPC"]

_PENALTY = 1e4  # cost of violating a constraint by the half axis of a keep-out set in one sample
_EXTREMES = 2  # paths at the bounds of the inputs about which a program is linearised


@final
class MultiModalMPC(OnlineController):
    """Plans among agents whose modes are uncertain, such as road users at an intersection, under chance constraints.

    The plan is u_t = h_t + sum_k K_t,k,mode (deviation of agent k from the mean of its mode), with the same h in all
    joint modes, after Kim, Nair & Borrelli (2024, arXiv 2402.01116). Each chance constraint, in each joint mode and at
    each sample, is a second-order cone. Only the cones that ``predictor`` expects to be active are imposed first; those
    that the result violates are added until there are none, so the result is the optimum under all of them.

    The probabilities of the modes follow from the measured transitions by Bayes' rule. The risk of a chance constraint
    is split: modes with a total probability of at most ``risk_of_modes`` of it are left out, and its rows share the
    rest evenly (Boole's inequality).

    Keep-out sets become half-spaces about the last plan. If there is none, or none that continues it, also about the
    paths under the reference input and under the bounds of the inputs, and the plan of least cost is taken. If none
    satisfies the chance constraints, their violation is minimised, and the status is ``infeasible``.

    Args:
        task: of a :class:`systems.multimodal.MultiModalPlant`. Its chance constraints keep the state out of ellipsoids,
            or are affine; its hard constraints are affine in the states and inputs that the agents do not have.
        horizon: number of predicted samples.
        predictor: of the active cones; default: those of the last sample.
        risk_of_modes: share of the smallest risk, from 0 to below 1.
        max_iterations: of the solver in one program; default: 100.
        time_limit: seconds of one step; see :class:`mpc.online.OnlineController`.

    Attributes:
        optimum: :class:`mpc.reduction.generation.Optimum` of the last sample, None before the first.
        program: :class:`mpc.reduction.program.SampleProgram` of the last sample, None before the first.
        probabilities: of the modes, by agent.
        situation: :class:`mpc.reduction.predictors.Situation` of the last sample, None before the first.

    Raises:
        NotApplicable: a task of another form.
        InvalidValue: a number out of its range.
    """

    def __init__(
        self,
        task: Task,
        horizon: int = 14,
        predictor: ConstraintPredictor | None = None,
        risk_of_modes: float = 0.2,
        max_iterations: int | None = None,
        time_limit: float | None = None,
    ) -> None:
        expect_number(risk_of_modes, "risk_of_modes", least=0.0, below=1.0)
        if predictor is not None:
            expect(predictor, ConstraintPredictor, "predictor", "such as LastActiveSet()")
        super().__init__(task, horizon, max_iterations, time_limit)
        self._arguments = task, horizon, predictor, risk_of_modes, max_iterations, time_limit
        self.approximations = ANSWERS.read(task)
        self.predictor = LastActiveSet() if predictor is None else predictor
        self.model = multimodal_model(task, risk_of_modes)
        n, m = self.model.B.shape
        noises = sum(mode.L.shape[1] * len(where) * horizon**3
                     for where, modes in zip(self.model.agents, self.model.modes, strict=True)
                     for mode in modes)  # fmt: skip
        expect_dense(horizon, float(n * m * noises), power=3)
        self.responses = responses(self.model, horizon)
        self._modes = ModeFilter(self.model)
        self._iterations = 100 if max_iterations is None else max_iterations
        joint = int(np.prod([len(modes) for modes in self.model.modes]))
        self._shape = len(self.model.keep_out), joint, horizon
        no_modes = np.zeros(0, dtype=int)
        self.predictor.expect_fits(
            Situation(np.zeros(len(task.plant.state)), self.model.prior, self._shape, no_modes, 0)
        )
        self._forget()

    def _forget(self) -> None:
        self._modes.reset()
        self.optimum: Optimum | None = None
        self.program: SampleProgram | None = None
        self.situation: Situation | None = None
        self._active, self._solved_at = np.zeros(0, dtype=int), 0

    def reset(self) -> None:
        """Starts a new run: discards the last plan, the active set, and what was learned about the modes."""
        super().reset()
        self._forget()

    @property
    def probabilities(self) -> tuple[np.ndarray, ...]:
        """Of the modes of each agent, given what was measured in this run."""
        return self._modes.probabilities

    @property
    def knowledge(self) -> Knowledge:
        """The objective, tuning and foresight of the controller."""
        return Knowledge(
            "the expected cost over its horizon",
            "the nominal model of the controlled states, and all modes of the agents with their probabilities",
            "the reference over its horizon",
        )

    @quiet
    def _solve(self, x: np.ndarray, k: int) -> SolveResult:
        began = perf_counter()
        self._modes.update(x, k)
        likely = self._modes.likely()
        self.situation = Situation(x, likely, self._shape, self._active, max(k - self._solved_at, 0))
        paths = self._paths(x, k)
        if not all(np.isfinite(path).all() for path in paths):
            return SolveResult(Status.NUMERICAL)
        given = self.model, self.responses, x, likely, self._gradients(k)
        predicted, iterations = self.predictor.predict(self.situation), 0
        has_plan, status = len(paths) > _EXTREMES + 1, Status.INFEASIBLE
        for penalty in (np.inf, _PENALTY):
            best = np.inf
            for i, path in enumerate(paths):
                program = SampleProgram(*given, path, penalty)
                optimum = solve_by_generation(program, predicted, self._iterations, self._left(began))
                iterations += optimum.iterations
                if optimum.status is Status.SOLVED:
                    if program.objective(optimum.z) < best:
                        best = program.objective(optimum.z)
                        self.program, self.optimum = program, optimum
                elif optimum.status is not Status.INFEASIBLE:
                    status = optimum.status
                if best < np.inf and has_plan and i == 0 and np.isinf(penalty):
                    break  # the last plan goes on
            if best < np.inf:
                assert self.optimum is not None
                self._active, self._solved_at = self.optimum.active, k
                met = np.isinf(penalty)
                return SolveResult(
                    Status.SOLVED if met else status,
                    self._planned(x, k, self.optimum),
                    iterations,
                    self.optimum.residual,
                    None,
                    Source.OPTIMAL if met else Source.SUBOPTIMAL,
                )
        return SolveResult(status, None, iterations)

    def _left(self, began: float) -> float:
        return self.time_limit - (perf_counter() - began)

    def _gradients(self, k: int) -> np.ndarray:
        """Of the stage cost at zero, (N + 1, n_e + m), at samples from k on."""
        samples = zip(*self.task.reading.window(k, self.horizon + 1), strict=True)
        return np.array([np.array(self.model.cost.gradient(*sample))[:, 0] for sample in samples])

    def _paths(self, x: np.ndarray, k: int) -> list[np.ndarray]:
        """The ego's states (N + 1, n_e) at samples from k on, about which keep-out sets may be linearised: in the last
        plan, whose last input is held, if there is one; under the reference input; under all lower and under all upper
        bounds of the inputs, within the hard constraints."""
        reference = self.task.reading.window(k, self.horizon)[1]
        paths = []
        if (plan := self.plan) is not None and 0 <= k - plan.k < self.horizon:
            i = k - plan.k
            paths.append(self._path(x, np.concatenate([plan.u[i:], np.repeat(plan.u[-1:], i, axis=0)])))
        paths.append(self._path(x, reference))
        for bound in (self._lower, self._upper):
            bound_inputs = np.where(np.isfinite(bound), bound, reference)
            paths.append(self._path(x, reference, bound_inputs))
        return paths

    def _path(self, x: np.ndarray, inputs: np.ndarray, bound_inputs: np.ndarray | None = None) -> np.ndarray:
        """The ego's states under inputs (N, m), or under what lies as far from them towards others as the hard
        constraints permit."""
        model = self.model
        n = len(model.ego)
        path = [x[model.ego]]
        on_input = model.C[:, n:].any(axis=1)
        for t, u in enumerate(inputs):
            after = model.A @ path[-1] + model.B @ u + model.c
            if bound_inputs is not None:
                step = bound_inputs[t] - u
                left = np.where(
                    on_input, model.d - model.C @ np.concatenate([path[-1], u]), model.d - model.C[:, :n] @ after
                )
                slope = np.where(on_input, model.C[:, n:] @ step, model.C[:, :n] @ model.B @ step)
                rising = slope > 0
                share = float(np.clip((left[rising] / slope[rising]).min(initial=1.0), 0.0, 1.0))
                after = after + model.B @ (share * step)
            path.append(after)
        return np.array(path)

    def _planned(self, x: np.ndarray, k: int, optimum: Optimum) -> Plan:
        """The nominal plan, with the agents in their most likely modes."""
        assert self.program is not None
        path, inputs = self.program.plan(optimum.z)
        states = np.empty((self.horizon + 1, len(x)))
        states[:, self.model.ego] = path
        for p, where, means in zip(self.probabilities, self.model.agents, self.program.means, strict=True):
            states[:, where] = means[int(np.argmax(p))]
        return Plan(states, inputs, k)


def _disturbance(task: Task) -> Answer:
    if task.disturbance.affine(task.plant.disturbance).base == "normal":
        return EXACT
    return Announced("replaces the disturbance by a normal one of the same mean and covariance")


ANSWERS = Answers(
    {
        **dict.fromkeys(Part, EXACT),
        Part.NONLINEAR_PLANT: Refused("{names} is not affine, as this controller needs; linearise it"),
        Part.KINKED_COST: Refused("its cost has kinks ({names}), which this controller does not support"),
        Part.NON_QUADRATIC_COST: Refused("its cost is not quadratic, as this controller needs"),
        Part.TERMINAL_COST: Refused("it has a terminal cost, which this controller does not support; use NonlinearMPC"),
        Part.HARD: Announced("enforces {names} for the plan without its feedback"),
        Part.CHANGE_LIMIT: Announced("enforces {names} for the plan without its feedback"),
        Part.SOFT: Refused("the constraint {names} is soft, which this controller does not support; use its .chance()"),
        Part.BUDGET: Refused("the constraint {names} has a budget; use its .chance(probability)"),
        Part.EXCESS_BUDGET: Refused("the constraint {names} has a budget; use its .chance(probability)"),
        Part.NONLINEAR_CONSTRAINT: Announced(
            "replaces each set that must not be entered ({names}) by a half-space that contains it"
        ),
        Part.KINKED_CONSTRAINT: Refused(
            "the constraint {names} has kinks, which this controller does not support; write each of its smooth parts "
            "as a row"
        ),
        Part.DISTURBANCE: _disturbance,
        Part.INTEGER: INTEGER,
        Part.PERIODIC: Refused("this controller ignores the period of {names}; declare the signal without one"),
        Part.DOMAIN: DOMAIN,
        Part.MEASUREMENT: ESTIMATED,
        Part.FORECAST: NO_FORECAST,
    }
)
