"""The step common to all sampling controllers: draw input sequences, predict with each, move their distribution."""

from __future__ import annotations

from abc import abstractmethod
from time import perf_counter
from typing import NamedTuple, get_args

import numpy as np

from ctrl.answers import ESTIMATED, EXACT, Announced, Answers, Refused
from ctrl.controller import Status
from ctrl.knowledge import Knowledge
from ctrl.terminal import Kind
from ctrl.terminal import terminal as terminal_cost
from mpc.approximations import DOMAIN, HELD_AS_HARD, UNDISTURBED
from mpc.fallback import Plan
from mpc.memory import expect_dense
from mpc.online import COLD_AFTER, OnlineController, SolveResult, predictive_knowledge, quiet
from mpc.sampling.intervention import Intervention
from mpc.sampling.noise import coloured
from mpc.sampling.rollouts import Prediction, Predictions, Rollouts
from mpc.sampling.safety import Safety
from systems import InvalidValue, Task
from systems.arguments import expect_choice, expect_number, expect_seed, expect_whole
from systems.errors import expect
from systems.reading import Part
from systems.signals import Values, expect_values, left_out

__all__ = ["ANSWERS", "Distribution", "SamplingMPC"]

MOST = 1_000_000  # roll-outs in one round
MOST_COLOUR = 10.0  # beyond it, sequences are constant, and powers of the lowest frequencies overflow
KEPT = 1e-9  # violation of hard constraints, in their own units, up to which they count as satisfied
STIRRED = 0.3  # least deviation of an integer input, at which one draw in ten differs from the mean
_STREAMS = 2**63
LEARNED = (
    "corrects inputs to barrier conditions of a model that is learned in flight; sampled, not proved: that an input "
    "satisfies them, and that the band holds the residual"
)


class Distribution(NamedTuple):
    """Independent normal distributions of the inputs of a plan, up to their correlation in time.

    Args:
        mean, deviation: (horizon, m).
        kept: (horizon, m, count), sequences that are used again in the next round.
    """

    mean: np.ndarray
    deviation: np.ndarray
    kept: np.ndarray


class SamplingMPC(OnlineController):
    """Minimises the task's cost over a receding horizon by random input sequences alone, without derivatives.

    Each round draws input sequences, predicts with all of them at once, and moves the distribution towards those of
    lowest cost; subclasses define how. A sequence that violates hard constraints counts only if all of them do; they
    are then compared by their violations (Deb, 2000). The first distribution is centred at the last plan, shifted to
    the present sample, or at the prediction under the backup control law if that is better. The better of the last mean
    and the best sequence of all rounds is applied.

    The random draws of a sample depend only on its number and the seed.

    Args:
        task, horizon: see :class:`mpc.online.OnlineController`.
        samples: number of input sequences in one round.
        max_iterations: number of rounds in one step.
        deviation: standard deviation of each input at the start of a step, by name or in order; default: half of the
            distance from the middle of its range to its limits, or half of its magnitude if it has no limits.
        colour: exponent of the power spectrum of the sequences, from 0 to 10; see :func:`mpc.sampling.noise.coloured`.
        terminal: see :class:`mpc.NonlinearMPC`.
        seed: of all draws.
        time_limit: see :class:`mpc.online.OnlineController`; checked after every round.
        intervention: conditions to which inputs are corrected, with a residual that is learned in flight; see
            :class:`mpc.sampling.intervention.Intervention`. Every prediction contains the mean of the residual as it is
            along the last plan; default: none.

    Attributes:
        safety: what learns and corrects; None without an intervention.
        interventions: number of samples of the present run in which the applied input is not the planned one.

    Raises:
        NotApplicable: a task without input, or with a budget of accumulated excess; see also
            :meth:`mpc.sampling.intervention.Intervention.conditions`.
        InvalidValue: an argument outside its range.
    """

    def __init__(
        self,
        task: Task,
        horizon: int,
        samples: int,
        max_iterations: int,
        deviation: Values,
        colour: float,
        terminal: Kind,
        seed: int,
        time_limit: float | None,
        intervention: Intervention | None = None,
    ) -> None:
        expect_whole(samples, "samples", least=2, most=MOST)
        expect_whole(max_iterations, "max_iterations", least=1)
        expect_values(deviation, "deviation")
        expect_number(colour, "colour", least=0.0, most=MOST_COLOUR, hint="0 for white noise")
        expect_choice(terminal, "terminal", get_args(Kind))
        super().__init__(task, horizon, max_iterations, time_limit)
        expect_dense(horizon, 4.0 * horizon * samples * len(self._lower) + 4.0 * horizon**2, 1)
        self.samples, self.max_iterations, self.seed = samples, max_iterations, expect_seed(seed)
        self.approximations = ANSWERS.read(task)
        if left_out(deviation):
            self.deviation = 0.5 * task.reading.path.sizes[1]
        else:
            self.deviation = task.plant.input.array(deviation, what="deviation")
        if not (self.deviation > 0.0).all():
            raise InvalidValue(
                f"deviation = {self.deviation.tolist()}; expected a positive number for each of "
                f"{', '.join(task.plant.input.names)}"
            )
        self.safety: Safety | None = None
        if intervention is not None:
            expect(intervention, Intervention, "intervention", "such as Intervention(residual), or None")
            self.safety = Safety(intervention, task, terminal_cost(task, terminal).P)
            self.approximations = (*self.approximations, LEARNED)
        self.interventions = 0
        model = task if self.safety is None else self.safety.model
        self.rollouts = Rollouts(model, terminal, self.safety)
        self._warm: Plan | None = None  # the plan from which the next step starts
        self._least = np.where(self._whole, STIRRED, 0.0)
        # A run with a terminal cost ends, and the horizon shrinks with the remaining samples.
        self._ends = task.reading.terminal is not None
        lengths = range(1, horizon + 1) if self._ends else (horizon,)
        self._correlate = {length: coloured(length, float(colour)) for length in lengths}

    @property
    def _whole(self) -> np.ndarray:
        return np.zeros(len(self._lower), dtype=bool) if self._integers is None else self._integers

    @property
    def terminal(self) -> str:
        """The terminal cost that was chosen, in words."""
        return self.rollouts.end.chosen

    @property
    def knowledge(self) -> Knowledge:
        """The objective, tuning and foresight of the controller."""
        task: Task = self._arguments[0]
        return predictive_knowledge(self.horizon, self.terminal, task.reference.is_constant)

    def reset(self) -> None:
        """Discards the last plan."""
        super().reset()
        self._warm, self.interventions = None, 0
        if self.safety is not None:
            self.safety.reset()

    def compile(self) -> None:
        """Compiles the predictions to C, which gives the same results up to rounding in less time.

        Compiled functions are cached for later sessions. Copies and modified controllers have to be compiled again.

        Raises:
            CompilerMissing: there is no C compiler, or it fails.
            NotLowerable: the task uses a function for which CasADi generates no C.
        """
        self.rollouts.compile()

    @abstractmethod
    def _moved(self, drawn: Distribution, u: np.ndarray, score: np.ndarray) -> Distribution:
        """The distribution after a round.

        Args:
            drawn: before it. u: (horizon, m, count), the inputs as applied.
            score: (count,), to be minimised, infinite for sequences that do not count; at least one is finite.
        """

    def _has_settled(self, drawn: Distribution) -> bool:
        """Whether further rounds would not change the plan."""
        return False

    @quiet
    def _solve(self, x: np.ndarray, k: int) -> SolveResult:
        began, steps, predict = perf_counter(), self.task.steps, self.rollouts
        length = min(self.horizon, steps - k) if self._ends and 0 <= k < steps else self.horizon
        x_ref, u_ref = self.task.reading.window(k, length + 1, x)
        generator = np.random.default_rng([self.seed, k % _STREAMS])
        p = self._residual(x, k, length)
        starts = [predict.one(x, u, x_ref, u_ref, p) for u in self._starts(x, k, x_ref, u_ref, p)]
        first = min(starts, key=_by_order)
        best_order, best = _by_order(first), first.u
        drawn = Distribution(best, np.tile(self.deviation, (length, 1)), np.stack([s.u for s in starts], axis=-1))
        status, rounds = Status.MAX_ITERATIONS, 0
        while rounds < self.max_iterations:
            rounds += 1
            predictions = predict.many(x, self._draw(drawn, generator), x_ref, u_ref, p)
            score = _score(predictions)
            i = int(np.argmin(score))
            if np.isfinite(score[i]):
                order = _order(float(predictions.cost[i]), float(predictions.violation[i]))
                if order < best_order:
                    best_order, best = order, predictions.u[..., i]
                drawn = self._moved(drawn, predictions.u, score)
            if self._has_settled(drawn):
                status = Status.SOLVED
                break
            if perf_counter() - began > self.time_limit:
                status = Status.TIMEOUT
                break
        ended = min((predict.one(x, u, x_ref, u_ref, p) for u in (drawn.mean, best)), key=_by_order)
        if not (np.isfinite(ended.cost) and np.isfinite(ended.x).all()):
            return SolveResult(Status.NUMERICAL, None, rounds)
        if ended.violation > KEPT:
            status = Status.INFEASIBLE
        self._warm = Plan(ended.x, ended.u, k)
        if self.safety is None:
            return SolveResult(status, self._warm, rounds)
        corrected = self.safety.exact(x, ended.u[0], x_ref[0], p[0])
        self.interventions += corrected.moved
        return SolveResult(status if corrected.is_feasible else Status.INFEASIBLE, self._warm, rounds,
                           input=self._clip(corrected.input))  # fmt: skip

    def _residual(self, x: np.ndarray, k: int, length: int) -> np.ndarray:
        """Learns from the sample before; mean and deviation of the residual over the horizon, (length, size): along the
        last plan, or, where there is none, everywhere those at the present state."""
        if self.safety is None:
            return np.zeros((length, 0))
        self.safety.learn(x, k)
        states, inputs, plan = np.tile(x, (length, 1)), np.tile(self._fallback.backup(x, k), (length, 1)), self._warm
        done = 0 if plan is None else k - plan.k
        if plan is not None and self._failures < COLD_AFTER and 0 <= done < len(plan.u):
            at = np.minimum(np.arange(done, done + length), len(plan.u) - 1)
            states, inputs = plan.x[at], plan.u[at]
            states[0] = x
        return self.safety.numbers(states, inputs)

    def _applied(self, x: np.ndarray, u: np.ndarray, k: int) -> None:
        if self.safety is not None:
            self.safety.applied(x, u, k)

    def _draw(self, drawn: Distribution, generator: np.random.Generator) -> np.ndarray:
        """Input sequences (horizon, m, samples): the mean, the kept sequences, and random ones."""
        length, m = drawn.mean.shape
        white = generator.standard_normal((length, m * self.samples))
        u = (self._correlate[length] @ white).reshape(length, m, self.samples)
        u *= np.maximum(drawn.deviation, self._least)[..., None]
        u += drawn.mean[..., None]
        u[..., 0] = drawn.mean
        count = min(drawn.kept.shape[2], self.samples - 1)
        u[..., 1 : count + 1] = drawn.kept[..., :count]
        return u

    def _starts(
        self, x: np.ndarray, k: int, x_ref: np.ndarray, u_ref: np.ndarray, p: np.ndarray | None = None
    ) -> list[np.ndarray]:
        """Input sequences (horizon, m) that are known before any is drawn: the last plan, shifted and extended by the
        backup law, and the prediction under that law alone. Inputs that are not finite become reference inputs."""
        plan = self._warm if self._failures < COLD_AFTER else None
        starts, length = [], len(x_ref) - 1
        if plan is not None:
            done = min(max(k - plan.k, 0), len(plan.u))
            if done < len(plan.u):
                starts.append(self._prolonged(x, plan.u[done:][:length], k, x_ref, p))
        starts.append(self._prolonged(x, np.zeros((0, len(self._lower))), k, x_ref, p))
        return [np.where(np.isfinite(u), u, u_ref[:length]) for u in starts]

    def _prolonged(
        self, x: np.ndarray, given: np.ndarray, k: int, x_ref: np.ndarray, p: np.ndarray | None = None
    ) -> np.ndarray:
        """The given inputs, followed by those of the backup law, over the references (horizon + 1, n)."""
        u = np.empty((len(x_ref) - 1, len(self._lower)))
        u[: len(given)] = given
        for i in range(len(u)):
            if i >= len(given):
                u[i] = self._fallback.backup(x, k + i)
            x = np.array(self.rollouts.after(x, u[i], x_ref[i], 0.0 if p is None else p[i]))
        return u


def _order(cost: float, violation: float) -> tuple[bool, float, float]:
    """The order of predictions: finite ones first, then by violation if it exceeds rounding, then by cost."""
    return not np.isfinite(cost), violation if violation > KEPT else 0.0, cost


def _by_order(prediction: Prediction) -> tuple[bool, float, float]:
    return _order(prediction.cost, prediction.violation)


def _score(predictions: Predictions) -> np.ndarray:
    """The score to minimise: the cost of sequences that satisfy the hard constraints; the violation if none does."""
    admissible = (predictions.violation <= KEPT) & np.isfinite(predictions.cost)
    if admissible.any():
        return np.where(admissible, predictions.cost, np.inf)
    return np.where(np.isfinite(predictions.cost), predictions.violation, np.inf)


HELD = Announced(
    "enforces {names} by the drawn plan that violates it least; a plan that satisfies it may exist but not be drawn"
)
ANSWERS = Answers(
    {
        **dict.fromkeys(Part, EXACT),
        Part.HARD: HELD,
        Part.CHANCE: HELD_AS_HARD,
        Part.BUDGET: HELD_AS_HARD,
        Part.EXCESS_BUDGET: Refused(
            "the budget of {names} limits the accumulated excess, which MPC by sampling cannot handle; use the "
            "nonlinear MPC"
        ),
        Part.BIASED_DISTURBANCE: UNDISTURBED,
        Part.DOMAIN: DOMAIN,
        Part.MEASUREMENT: ESTIMATED,
    }
)
