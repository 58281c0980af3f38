"""Steers the distribution of the state to a normal one under chance constraints, by a policy planned before the run."""

from __future__ import annotations

from math import isfinite
from time import perf_counter
from typing import final

import numpy as np

from ctrl.answers import ESTIMATED, EXACT, NO_FORECAST, Announced, Answer, Answers, Refused, described
from ctrl.controller import Decision, NotApplicable, Source, Status, measured_state, sample_index
from ctrl.knowledge import Knowledge
from mpc.approximations import DOMAIN
from mpc.fallback import Fallback
from mpc.online import check_input
from mpc.steering.affine_chances import affine_plant, chance_constraints, quadratic_cost
from mpc.steering.mixture import GaussianMixture
from mpc.steering.program import ModePlan, steer
from systems import Gaussian, InvalidValue, Task
from systems.arguments import expect_number, expect_seed, expect_whole
from systems.errors import expect
from systems.reading import Part
from systems.semidefinite import is_positive_definite

__all__ = ["CovarianceSteering"]

TIGHT = 1e-3  # relative error of the terminal covariance above which the relaxation is refused
_STREAM = 2**32


@final
class CovarianceSteering:
    """Steers the state of an affine plant from a Gaussian mixture to a Gaussian at the end of the run, with the least
    expected cost and under affine and norm chance constraints (Kumagai & Oguri, 2024).

    Each mode i of the mixture has a plan u_k = v_k + K_k (x_k - m_k) that ends in the target distribution. At the start
    of a run, a mode is drawn with the probability that the state belongs to it, and its plan is followed, so that state
    and input are mixtures at every sample and the last state is normal. The plans come from semidefinite programs that
    the constructor solves; a control step is one matrix-vector product.

    The draw depends only on the state and the seed, so a run can be repeated. After the end of the run, the backup
    control law of :class:`mpc.fallback.Fallback` takes over.

    Args:
        task: an affine plant with a quadratic cost and a run that is as long as the plan. Its constraints are chance
            constraints, each satisfied as a whole at every sample with its probability. Its disturbance may have any
            distribution and is replaced by a normal one.
        target: distribution of the last state, with a positive definite covariance.
        initial: distribution of the first state; default: the task's, if it is normal.
        input_probability: with which the bounds of the inputs are satisfied; inputs beyond them are clipped.
        linearisations: number of programs with chance constraints. Each linearises the square roots at the variances of
            the previous one, the first at those of the plan without chance constraints.
        seed: of the draws of the mode.

    Attributes:
        plans: of the modes, :class:`mpc.steering.program.ModePlan`.
        expected_cost: of a run, without a terminal cost.
        approximations: of the task, in words.

    Raises:
        NotApplicable: a plant, cost or constraint of another kind; no plan was found.
        InvalidValue, DimensionMismatch: distributions that do not match the plant.
    """

    def __init__(
        self,
        task: Task,
        target: Gaussian,
        initial: GaussianMixture | None = None,
        input_probability: float = 0.95,
        linearisations: int = 2,
        seed: int = 0,
    ) -> None:
        expect(target, Gaussian, "the target of covariance steering", "such as Gaussian([0.1, 0.1])")
        if initial is not None:
            expect(initial, GaussianMixture, "initial", "such as GaussianMixture(weights, means, covariances)")
        expect_number(input_probability, "input_probability", above=0.0, below=1.0)
        expect_whole(linearisations, "linearisations", least=1, most=100)
        check_input(task)
        self.task, self.seed = task, expect_seed(seed)
        self.initial = _initial(task) if initial is None else initial
        state = task.plant.state
        if self.initial.means.shape[1] != len(state):
            raise InvalidValue(
                f"initial: a mixture over {self.initial.means.shape[1]} signals; task '{task.name}' has the states "
                f"{', '.join(state.names)}"
            )
        self.approximations = ANSWERS.read(task)
        if np.isfinite(task.input_bounds).any():
            self.approximations += (
                f"keeps the limits of inputs with a probability of {input_probability:g} and clips what is beyond",
            )
        plant, cost = affine_plant(task), quadratic_cost(task)
        chances = chance_constraints(task, input_probability)
        end = target.mean(state), target.covariance(state)
        if not is_positive_definite(end[1]):
            raise InvalidValue(
                f"the covariance of the target is not positive definite; give a deviation for each of "
                f"{', '.join(state.names)}"
            )
        self.plans: tuple[ModePlan, ...] = ()
        for start in zip(self.initial.means, self.initial.covariances, strict=True):
            plan = steer(plant, cost, chances, start, end, None)
            for _ in range(linearisations if chances else 0):
                plan = steer(plant, cost, chances, start, end, plan)
            error = np.abs(plan.S[-1] - end[1]).max() / np.abs(end[1]).max()
            if not error <= TIGHT:
                raise NotApplicable(
                    f"task '{task.name}': the relaxation is not tight: under the gains the last covariance misses the "
                    f"target by {error:.2g} of its size; give every input a positive weight in the cost"
                )
            self.plans = (*self.plans, plan)
        self.expected_cost = float(self.initial.weights @ [plan.expected(cost) for plan in self.plans])
        self._lower, self._upper = task.input_bounds
        self._fallback = Fallback(task)
        self._mode: int | None = None

    def __repr__(self) -> str:
        name = f"CovarianceSteering(task '{self.task.name}', {len(self.plans)} modes, {self.task.steps} samples)"
        return described(name, self.approximations)

    @property
    def knowledge(self) -> Knowledge:
        """The objective, tuning and foresight of the controller."""
        return Knowledge(
            "the expected cost of a run that ends in a given distribution",
            "the nominal model and the distributions of start and disturbance",
            "the reference of the whole run",
        )

    def distribution(self, k: int) -> GaussianMixture:
        """The distribution of the state at a sample of the run, from 0 to ``task.steps``.

        Args:
            k: sample number.

        Raises:
            InvalidValue: a sample number outside the run.
        """
        expect_whole(k, "k", least=0, most=self.task.steps)
        means, covariances = ([getattr(plan, name)[k] for plan in self.plans] for name in ("m", "S"))
        return GaussianMixture(self.initial.weights, np.array(means), np.array(covariances))

    def reset(self) -> None:
        """Starts a new run: discards the mode."""
        self._mode = None

    def step(self, x: np.ndarray, k: int) -> Decision:
        """Decides at sample ``k`` in state ``x`` (n,).

        Raises:
            DimensionMismatch: ``x`` has another shape.
            InvalidValue: ``x`` does not contain numbers, or ``k`` is not a sample number.
        """
        began = perf_counter()
        x, k = measured_state(x, self.task.plant.state), sample_index(k)
        is_measured = all(map(isfinite, x.tolist()))
        status = Status.SOLVED if is_measured else Status.NUMERICAL
        if not 0 <= k < self.task.steps:
            u = self._clip(self._fallback.backup(x, k))
            return Decision(u, status, Source.BACKUP, 0, 0.0, perf_counter() - began)
        if self._mode is None and is_measured:
            self._mode = self._drawn(x, k)
        plan = self.plans[int(np.argmax(self.initial.weights)) if self._mode is None else self._mode]
        u, source = plan.v[k], Source.SHIFTED_PLAN
        if is_measured:
            with np.errstate(over="ignore", invalid="ignore"):
                followed = u + plan.K[k] @ (x - plan.m[k])
            if np.isfinite(followed).all():
                u, source = followed, Source.OPTIMAL
            else:
                status = Status.NUMERICAL
        return Decision(self._clip(u), status, source, 0, 0.0, perf_counter() - began)

    def _drawn(self, x: np.ndarray, k: int) -> int:
        """A mode, drawn with the probability that x (n,) belongs to it."""
        with np.errstate(over="ignore", invalid="ignore"):
            shares = self.distribution(k).responsibilities(x)
        if not np.isfinite(shares).all():  # so far away that squares overflow
            return int(np.argmax(self.initial.weights))
        words = np.ascontiguousarray(x + 0.0).view(np.uint32).tolist()
        drawn = np.random.default_rng([self.seed % _STREAM, self.seed // _STREAM, *words]).random()
        return int(np.searchsorted(np.cumsum(shares)[:-1], drawn, side="right"))

    def _clip(self, u: np.ndarray) -> np.ndarray:
        return np.clip(u, self._lower, self._upper)


def _initial(task: Task) -> GaussianMixture:
    """The distribution of the first state of a task as a mixture of one mode."""
    state = task.plant.state
    if task.initial.affine(state).base != "normal":
        raise InvalidValue(
            f"task '{task.name}' starts from a {type(task.initial).__name__} distribution; give "
            "initial=GaussianMixture(weights, means, covariances), or a task that starts from a Gaussian"
        )
    return GaussianMixture(np.ones(1), task.initial.mean(state)[None], task.initial.covariance(state)[None])


def _disturbance(task: Task) -> Answer:
    if task.disturbance.affine(task.plant.disturbance).base == "normal":
        return EXACT
    return Announced("replaces the disturbance by a normal one of the same mean and covariance")


_NO_CERTAINTY = Refused(
    "the constraint {names} is hard, soft or a budget, but covariance steering can only bound probabilities; use its "
    ".chance(probability)"
)
ANSWERS = Answers(
    {
        **dict.fromkeys(Part, EXACT),
        Part.NONLINEAR_PLANT: Refused("{names} is not affine, as covariance steering needs; linearise it"),
        Part.KINKED_COST: Refused("its cost has kinks ({names}), which covariance steering does not support"),
        Part.NON_QUADRATIC_COST: Refused("its cost is not quadratic, as covariance steering needs"),
        Part.HARD: _NO_CERTAINTY,
        Part.CHANGE_LIMIT: _NO_CERTAINTY,
        Part.SOFT: _NO_CERTAINTY,
        Part.BUDGET: _NO_CERTAINTY,
        Part.EXCESS_BUDGET: _NO_CERTAINTY,
        Part.DISTURBANCE: _disturbance,
        Part.INTEGER: Refused("the input {names} is an integer, but Gaussians are continuous; use LinearMPC"),
        Part.PERIODIC: Refused(
            "a normal distribution ignores the period of {names}; declare the signal without one, or penalise its "
            "distance from the reference"
        ),
        Part.DOMAIN: DOMAIN,
        Part.MEASUREMENT: ESTIMATED,
        Part.FORECAST: NO_FORECAST,
    }
)
