"""Linear-quadratic regulators: the gains, and the saturated regulator of a task."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter

import numpy as np
from scipy import linalg

from ctrl.answers import ESTIMATED, EXACT, NO_FORECAST, Announced, Answer, Answers, Refused, described
from ctrl.controller import (
    Decision,
    NotApplicable,
    Source,
    Status,
    measured_state,
    measured_states,
    sample_index,
)
from ctrl.export.code import CodePart, ControllerCode, NotExportable, fragment
from ctrl.export.project import ExportsCode
from ctrl.export.regulator import regulator_part
from ctrl.knowledge import Knowledge
from ctrl.laws.saturated_linear import SaturatedLinear, saturated_linear
from ctrl.linearisation import Expansions, LocalModel, LocalModels, local_model, terminal_expansion
from systems import InvalidValue, LinearPlant, Task
from systems.arguments import expect_array
from systems.errors import expect
from systems.reading import Part
from systems.semidefinite import is_positive_definite, is_symmetric

__all__ = [
    "LQR",
    "Course",
    "Feedback",
    "Gain",
    "LocalModel",
    "NotStabilisable",
    "local_model",
    "lqr",
    "riccati_recursion",
]

Feedback = tuple[np.ndarray, np.ndarray, np.ndarray]
"""K (m, n), x_ref (n,) and u_ref (m,) of u = u_ref - K (x - x_ref)."""


class NotStabilisable(NotApplicable):
    """The Riccati equation has no stabilising solution."""


@dataclass(frozen=True)
class Gain:
    """u = -K x minimises the cost x'Qx + u'Ru + 2x'Nu (integrated or summed), which is then x(0)'P x(0).

    Args:
        K: (m, n), the gain.
        P: (n, n), symmetric, the Hessian of the cost-to-go divided by 2.
    """

    K: np.ndarray
    P: np.ndarray


def lqr(plant: LinearPlant, Q: np.ndarray, R: np.ndarray, N: np.ndarray | None = None) -> Gain:
    """Infinite-horizon linear-quadratic regulator from the algebraic Riccati equation (Kalman, 1960), continuous or
    discrete as the plant is.

    Args:
        plant: continuous or discrete; its affine term c is ignored (shift the origin to an equilibrium first).
        Q: (n, n), weight of the state.
        R: (m, m), weight of the input, positive definite.
        N: (n, m), weight of the cross term; default: zero.

    Raises:
        NotStabilisable: no gain stabilises the plant, or an unstable mode is not observable through the cost.
        DimensionMismatch: a weight of another shape.
        InvalidValue: the plant is not linear, or R is not positive definite.
    """
    expect(plant, LinearPlant, "the plant of lqr", "such as linearise(plant, x, u): linearise it first")
    A, B = plant.A, plant.B
    n, m = B.shape
    Q, R = expect_array(Q, "Q", (n, n)), expect_array(R, "R", (m, m))
    N = np.zeros((n, m)) if N is None else expect_array(N, "N", (n, m))
    for name, matrix in (("Q", Q), ("R", R)):
        if not is_symmetric(matrix):
            raise InvalidValue(f"{name} must be symmetric; symmetrise it as ({name} + {name}.T) / 2")
    if not is_positive_definite(R):
        raise InvalidValue("R must be positive definite: give every input a positive weight")
    try:
        if plant.is_discrete:
            P = linalg.solve_discrete_are(A, B, Q, R, s=N)
            K = np.linalg.solve(R + B.T @ P @ B, B.T @ P @ A + N.T)
            stable = np.abs(np.linalg.eigvals(A - B @ K)).max(initial=0.0) < 1
        else:
            P = linalg.solve_continuous_are(A, B, Q, R, s=N)
            K = np.linalg.solve(R, B.T @ P + N.T)
            stable = np.linalg.eigvals(A - B @ K).real.max(initial=-1.0) < 0
    except (np.linalg.LinAlgError, ValueError) as error:
        raise NotStabilisable(_why(plant, str(error))) from error
    if not stable:
        raise NotStabilisable(_why(plant, "the closed loop is not stable"))
    return Gain(K, 0.5 * (P + P.T))


def _why(plant: LinearPlant, reason: str) -> str:
    """Names the modes no input reaches (Hautus test), the usual reason."""
    values = np.linalg.eigvals(plant.A)
    unstable = values[np.abs(values) >= 1 if plant.is_discrete else values.real >= 0]
    n = len(plant.A)
    lost = [v for v in unstable if np.linalg.matrix_rank(np.hstack([v * np.eye(n) - plant.A, plant.B]), tol=1e-9) < n]
    if lost:
        shown = ", ".join(dict.fromkeys(f"{v:.4g}" for v in lost))
        return (
            f"the plant is not stabilisable: no input reaches its unstable modes {shown}; add an actuator, or drop "
            "them (the norm of a quaternion, by in_error_coordinates(task))"
        )
    return f"no stabilising regulator found ({reason}); every unstable mode must appear in the cost: check Q"


@dataclass(frozen=True, eq=False)
class Course:
    """The regulator along a reference from one sample on: u = u_ref - feedforward - K (x - x_ref) minimises the cost to
    second order, and (x - x_ref)'P(x - x_ref) + 2 p'(x - x_ref) is the cost that remains, up to a constant.

    Args:
        K (samples, m, n), feedforward (samples, m), P (samples + 1, n, n), p (samples + 1, n), x_ref (samples + 1, n),
        u_ref (samples, m).
    """

    K: np.ndarray
    feedforward: np.ndarray
    P: np.ndarray
    p: np.ndarray
    x_ref: np.ndarray
    u_ref: np.ndarray


def riccati_recursion(models: LocalModels, P: np.ndarray, p: np.ndarray) -> Course:
    """The finite-horizon regulator of a time-varying affine-quadratic problem by the Riccati recursion (Anderson &
    Moore, 1990, chapters 2 and 4).

    Args:
        P (n, n), p (n,): of the cost at the end.
    """
    samples, n, m = models.B.shape
    K, feedforward = np.empty((samples, m, n)), np.empty((samples, m))
    Ps, ps = np.empty((samples + 1, n, n)), np.empty((samples + 1, n))
    Ps[-1], ps[-1] = P, p
    for k in reversed(range(samples)):
        A, B, later = models.A[k], models.B[k], Ps[k + 1]
        pull = ps[k + 1] + later @ models.drift[k]
        S = models.R[k] + B.T @ later @ B
        cross = models.N[k].T + B.T @ later @ A
        K[k] = np.linalg.solve(S, cross)
        feedforward[k] = np.linalg.solve(S, models.r[k] + B.T @ pull)
        now = models.Q[k] + A.T @ later @ A - cross.T @ K[k]
        Ps[k], ps[k] = 0.5 * (now + now.T), models.q[k] + A.T @ pull - cross.T @ feedforward[k]
    return Course(K, feedforward, Ps, ps, models.x_ref, models.u_ref[:-1])


class LQR(ExportsCode):
    """The regulator of a task: u = clip(u_ref - K (x - x_ref)) with the input bounds of the task.

    For a constant reference it regulates to the operating point of :func:`local_model`: the reference where that is an
    optimal steady state, else the optimal steady state. Along a reference that moves, and towards a terminal cost, its
    gains vary with time and a feed-forward term compensates the drift at the reference: together they minimise, to
    second order, the cost of all remaining samples.

    Args:
        task: its plant is linearised, and its cost expanded, along its reference.
        expansions: of the task, for values of parameters of its plant; default: those of the task.

    Attributes:
        K: (m, n), at sample 0. P: (n, n), the cost-to-go of the linearised, unsaturated loop at sample 0.
        x_ref (n,), u_ref (m,): the point at which the first sample is expanded.
        model: the expansion there; None where the gains vary with time.
        approximations: of the task, in words.

    Raises:
        NotApplicable: no regulator exists for this task.
        InvalidValue: it is not a task.
    """

    TAIL = 300  # samples beyond a block from which the recursion along a moving reference starts

    def __init__(self, task: Task, expansions: Expansions | None = None) -> None:
        expect(task, Task, "the task of LQR", "or use lqr(linear_plant, Q, R) for the gain of a plant alone")
        self.task = task
        self._lower, self._upper = task.input_bounds
        if task.reading.has_integers or task.plant.forecast is not None:
            ANSWERS.read(task)  # refuses
        self._expansions = Expansions(task) if expansions is None else expansions
        expect(self._expansions, Expansions, "expansions", "such as Expansions(task)")
        self.model: LocalModel | None = None
        self._has_limits = bool(task.reading.change_limits)
        self._state, self._is_euclidean = task.reading.state, task.reading.state.is_euclidean
        self._courses: dict[int, Course] = {}
        self._ends = task.reading.terminal is not None
        self._varies = self._ends or not task.reference.is_constant
        if self._varies:
            course = self._course(0)
            self.K, self.P = course.K[0], course.P[0]
            self.x_ref, self.u_ref = course.x_ref[0], course.u_ref[0] - course.feedforward[0]
        else:
            self.model = model = self._expansions.model()
            gain = lqr(model.plant, model.Q, model.R, model.N)
            self.K, self.P = gain.K, gain.P
            self.x_ref, self.u_ref = model.x_ref, model.u_ref

    @cached_property
    def approximations(self) -> tuple[str, ...]:
        """The approximations of the task, in words."""
        return ANSWERS.read(self.task)

    @property
    def knowledge(self) -> Knowledge:
        """Objective, tuning and foresight of the controller."""
        return Knowledge(
            "the cost of the task to second order, without an end" if not self._ends else "the cost to second order",
            "the nominal model alone",
            "the whole reference" if self._varies and not self.task.reference.is_constant else "a constant reference",
        )

    def __repr__(self) -> str:
        return described(f"LQR(task '{self.task.name}')", self.approximations)

    def gain(self, k: int) -> Feedback:
        """K (m, n), x_ref (n,) and u_ref (m,), feed-forward included, at sample ``k``."""
        if not self._varies:
            return self.K, self.x_ref, self.u_ref
        if self._ends and not 0 <= k < self.task.steps:  # beyond the run the last gain goes on
            x_ref, u_ref = self.task.reading.window(k, 1)
            return self._course(0).K[-1], x_ref[0], u_ref[0]
        block, at = self._place(k)
        course = self._course(block)
        return course.K[at], course.x_ref[at], course.u_ref[at] - course.feedforward[at]

    def cost_to_go(self, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """P (n, n), p (n,) and x_ref (n,): from sample ``k`` on the linearised loop costs
        (x - x_ref)'P(x - x_ref) + 2 p'(x - x_ref), up to a constant."""
        if not self._varies:
            return self.P, np.zeros(len(self.P)), self.x_ref
        block, at = self._place(k)
        course = self._course(block)
        return course.P[at], course.p[at], course.x_ref[at]

    def _place(self, k: int) -> tuple[int, int]:
        """The block of samples that holds ``k``, and where in it."""
        return (0, min(max(k, 0), self.task.steps)) if self._ends else divmod(k, self.task.steps)

    def _course(self, block: int) -> Course:
        if block not in self._courses:
            if len(self._courses) > _KEPT:
                self._courses.clear()
            self._courses[block] = self._made(block)
        return self._courses[block]

    def _made(self, block: int) -> Course:
        task, steps = self.task, self.task.steps
        if self._ends:
            models = self._expansions.models(0, steps)
            return riccati_recursion(models, *terminal_expansion(task, models.x_ref[-1], models.x_ref[-1]))
        models = self._expansions.models(block * steps, steps + self.TAIL)
        models = _within_run(models, task.steps - block * steps)
        last = LinearPlant(models.A[-1], models.B[-1], dt=task.dt)
        try:
            P = lqr(last, models.Q[-1], models.R[-1], models.N[-1]).P
        except NotApplicable:
            if models.are_constant:
                raise
            P = models.Q[-1]
        return riccati_recursion(models, P, np.zeros(len(P)))

    def reset(self) -> None:
        """Does nothing: the regulator has no memory."""

    def step(self, x: np.ndarray, k: int) -> Decision:
        """Decides at sample k; for a state that is not finite, or too large to be multiplied, the reference input is
        applied and the status says so.

        Raises:
            DimensionMismatch: x has another shape than (n,).
            InvalidValue: x does not consist of numbers, or k is not a sample number.
        """
        began = perf_counter()
        x, k = measured_state(x, self.task.plant.state), sample_index(k)
        if np.isfinite(x).all():
            u = self.batch(x, k)
            if np.isfinite(u).all():
                return Decision(u, seconds=perf_counter() - began)
        backup = np.clip(self.gain(k)[2], self._lower, self._upper)
        if self._has_limits:
            backup = np.clip(self.task.reading.limited(backup, x), self._lower, self._upper)
        return Decision(backup, Status.NUMERICAL, Source.BACKUP, seconds=perf_counter() - began)

    @np.errstate(over="ignore", invalid="ignore")  # :meth:`step` and the closed loop check the result
    def batch(self, x: np.ndarray, k: int) -> np.ndarray:
        """Inputs (..., m) for states (..., n); NaN where a state is, or where infinities of both signs meet."""
        x = measured_states(x, self._state)
        K, x_ref, u_ref = self.gain(sample_index(k))
        x = x if self._is_euclidean else self._state.nearest(x, x_ref)
        u = saturated_linear(x, K, x_ref, u_ref, self._lower, self._upper)
        return np.clip(self.task.reading.limited(u, x), self._lower, self._upper) if self._has_limits else u

    def c_code(self, samples: int) -> ControllerCode:
        """The regulator in C, with tables of varying gains for this number of samples.

        Raises:
            NotExportable: the task limits the change of inputs.
        """
        return ControllerCode(
            self.task,
            f"LQR {'with gains that vary' if self._varies else 'with a constant gain'}.",
            self.c_part(samples) + CodePart((fragment("ctrl.export", "lqr.c"),)),
            self.approximations,
            notes=(f"the tables of gains reach over {samples} samples; afterwards the last row is held",)
            if self._varies
            else (),
        )

    def c_part(self, samples: int) -> CodePart:
        """The tables and functions of ``ctrl/export/c/regulator.c`` for this regulator."""
        if self._has_limits:
            raise NotExportable(
                f"task '{self.task.name}' has hard limits on the change of inputs, which LQR and the fallback of "
                "predictive controllers do not apply in C; declare them soft: "
                "limit_changes(..., requirement=Soft(weight))"
            )
        return regulator_part(self.gain, samples if self._varies else 0, self._state, self._ends)

    @property
    def law(self) -> SaturatedLinear:
        """The control law of the regulator in closed form, for proofs.

        Raises:
            NotApplicable: there is no closed form: its gains vary with time, or it uses the representative of a
                periodic signal next to a point other than the reference.
        """
        if self._has_limits:
            raise NotApplicable(
                f"task '{self.task.name}': LQR applies limits on the change of its inputs, so it has no law in closed "
                "form; leave the limits out of the task, or define the intended control law: "
                "SaturatedLinear(K, x_ref, u_ref, lower, upper)"
            )
        if self._varies:
            why = "the task has a terminal cost" if self._ends else "the reference moves"
            raise NotApplicable(
                f"task '{self.task.name}': {why}, so the gains of LQR vary with time and it has no law in closed form; "
                "leave that out of the task, or define the intended control law: "
                "SaturatedLinear(K, x_ref, u_ref, lower, upper)"
            )
        if not self._is_euclidean:
            wraps = np.isfinite(self._state.periods) | np.array([bool(s.quaternion) for s in self._state])
            if not np.array_equal(self.x_ref[wraps], self.task.reading.start[0][wraps]):
                raise NotApplicable(
                    f"task '{self.task.name}': LQR regulates to {self.x_ref.tolist()}, not to the reference, and uses "
                    "the representative of periodic signals next to that point; proofs are possible only next to the "
                    "reference"
                )
        return SaturatedLinear(self.K, self.x_ref, self.u_ref, self._lower, self._upper)


def _within_run(models: LocalModels, samples: int) -> LocalModels:
    """The same, with a reference that is kept without effort after so many samples: what lies beyond a run, such as the
    end of a listed trajectory, is nothing to prepare for."""
    after = np.arange(len(models.drift)) >= samples
    drift, q, r = (np.where(after[:, None], 0.0, part) for part in (models.drift, models.q, models.r))
    return dataclasses.replace(models, drift=drift, q=q, r=r)


_KEPT = 8  # blocks of gains that are kept


def _at_operating_point(task: Task) -> Answer:
    """A reference that is not an optimal steady state."""
    if task.reading.terminal is not None:
        return EXACT  # the recursion over the run keeps the gradient of the cost
    if task.reading.free_steady_state is None:
        return Announced(
            "expands plant and cost at the reference, where the plant does not stay; there is no steady state"
        )
    return Announced("regulates to {names}, not to the reference")


_IGNORED = Announced("ignores the constraint {names}")
ANSWERS = Answers(
    {
        Part.NONLINEAR_PLANT: Announced("linearises {names}"),
        Part.KINKED_PLANT: Announced("replaces {names} in the plant by the slopes at the linearisation point"),
        Part.SINGULAR_PLANT: EXACT,  # refused by local_model where the linearisation needs it
        Part.MOVING_REFERENCE: EXACT,
        Part.VARYING_LINEARISATION: EXACT,
        Part.COST_ELSEWHERE: _at_operating_point,
        Part.REFERENCE_OUTSIDE: Announced("regulates to a reference that violates {names}"),
        Part.NON_QUADRATIC_COST: Announced("expands the cost to second order"),
        Part.KINKED_COST: Announced("ignores the kinks of the cost ({names})"),
        Part.TERMINAL_COST: EXACT,
        Part.HARD: _IGNORED,
        Part.CHANGE_LIMIT: Announced("applies the limit {names} on the change of inputs after its optimum"),
        Part.SOFT: _IGNORED,
        Part.CHANCE: _IGNORED,
        Part.BUDGET: _IGNORED,
        Part.EXCESS_BUDGET: _IGNORED,
        Part.NONLINEAR_CONSTRAINT: EXACT,  # ignored, as is said of each constraint
        Part.KINKED_CONSTRAINT: EXACT,
        Part.DISTURBANCE: EXACT,
        Part.BIASED_DISTURBANCE: Announced("assumes that the mean of the disturbance is zero ({names})"),
        Part.INTEGER: Refused(
            "the input {names} must be an integer, which a linear-quadratic regulator does not give; use "
            "LinearMPC or NonlinearMPC"
        ),
        Part.PERIODIC: EXACT,
        Part.DOMAIN: Announced("ignores the domain"),
        Part.MEASUREMENT: ESTIMATED,
        Part.FORECAST: NO_FORECAST,
    }
)
