"""Checks of a task."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import warnings

import numpy as np

from ctrl.answers import steady_state_in_words
from ctrl.check.plants import plant_report
from ctrl.check.report import Check, Objection, Report, attempt
from ctrl.check.samples import of_task
from ctrl.comparison.draws import draw, objection
from ctrl.regulator import LQR
from systems import Budget, Discretisation, Task, Trajectory, linearise
from systems.errors import TriviumError, expect
from systems.forecast import with_known
from systems.inputs.augmented_plant import SampledPlant
from systems.lowering import lower
from systems.lowering.program import read
from systems.measured_history import observed_in_words

__all__ = ["check_task"]

DRAWS = 256
HORIZON = 30  # samples that a controller may look beyond the end of a run
STILL = 1e-6  # per second: what moves less stands still
NEAR, FAR = 0.5, 40.0  # times the slowest mode that a discount looks ahead
DOUBLED = 2.0  # what grows less over a whole run may be the rounding of a chain of integrators


def check_task(task: Task) -> Report:
    """Checks that a task can be simulated, learned and optimised as written; includes the checks of its plant.

    Args:
        task: to check.

    Raises:
        InvalidValue: it is not a task.
    """
    expect(task, Task, "the task to check", "such as systems.library.cartpole()")
    plant = plant_report(task.plant, lambda _: of_task(task))
    checks = [
        Check("its plant satisfies the interface", plant.passed, f"{plant.subject}, {len(plant.checks)} checks"),
        *(check for check in plant.checks if not check.passed),
        attempt(
            f"{DRAWS} sampled initial states lie inside the domain and satisfy the hard constraints",
            lambda: _starts(task),
            "narrow the distribution of initial states, or widen the domain or the constraint",
        ),
        attempt(
            "the reference lies inside the domain and satisfies the hard constraints", lambda: _reference_allowed(task)
        ),
        attempt(
            "the reference is an equilibrium, or a trajectory of the plant",
            lambda: _reference_holds(task),
            warning=True,
        ),
        attempt(
            "the reference minimises the cost",
            lambda: _least(task),
            warning=True,
        ),
        attempt(
            "plant and cost are differentiable at the reference and at initial states",
            lambda: _differentiable(task),
            "optimisers write roots as sqrt(q + 1e-12); regulators and linear controllers need a reference elsewhere",
            warning=True,
        ),
        attempt(
            "kinks of the cost and the constraints have an epigraph form",
            lambda: _kinks(task),
            "optimisers may stop there early; write it with squares, or as maxima with positive weights",
            warning=True,
        ),
        attempt(
            "it can be lowered to every arithmetic",
            lambda: _readable(task),
            "proofs cannot read it, and gradients do not pass through it; write a look-up table as casadi.pw_lin",
            warning=True,
        ),
        attempt(
            "every budget can be exceeded",
            lambda: _breakable(task),
            "a run has fewer samples than it allows: lower it, or leave the constraint out",
            warning=True,
        ),
        attempt("the reference extends beyond the end of the run", lambda: _listed(task), warning=True),
        attempt(
            "every input is bounded",
            lambda: _bounded(task),
            f"learners and Gymnasium act in finite boxes: give limits() to {task.plant.name}, or a hard Box constraint",
            warning=True,
        ),
        attempt(
            "its input bounds are small enough for learners (32 bits)",
            lambda: _moderate(task),
            "their 32 bits do not hold the squares of such inputs: choose a larger unit, such as kN for N",
            warning=True,
        ),
        attempt(
            "diverging runs terminate",
            lambda: _ends(task),
            "give the task a domain, the box of states in which the model is meant to hold, unless runs are meant to "
            "go that far",
            warning=True,
        ),
        attempt("the discount suits learners", lambda: _discount(task), warning=True),
        attempt(
            "one sample from every sampled initial state gives a finite state",
            lambda: _moves(task),
            "shorten dt, or raise substeps",
        ),
        attempt(
            "the integrator is accurate enough",
            lambda: _fine(task),
            "raise substeps or shorten dt, unless this very recursion is meant",
            warning=True,
        ),
        attempt("stage cost, terminal cost and margins are finite", lambda: _costs(task)),
        attempt(
            "arrival is well defined",
            lambda: _arrival(task),
            "give tolerance={state: half-width}",
            warning=True,
        ),
    ]
    if task.measurement is not None:
        checks.append(attempt("it says what learners observe", lambda: observed_in_words(task)))
    if importlib.util.find_spec("gymnasium") is not None and np.isfinite(task.input_bounds).all():
        checks.append(attempt("its environment passes Gymnasium's check_env", lambda: _environment(task)))
    return Report(f"task '{task.name}'", tuple(checks))


def _draws(task: Task) -> tuple[np.ndarray, np.ndarray]:
    starts, disturbances = draw(task, DRAWS, (0,))
    return starts, disturbances[:, 0]


def _starts(task: Task) -> None:
    starts, _ = _draws(task)
    reasons = [why for x in starts if (why := objection(task, x))]
    if reasons:
        raise Objection(f"{len(reasons)} of {DRAWS} may not start, the first because {reasons[0]}")


def _reference_allowed(task: Task) -> None:
    x_ref, u_ref = task.reference.at(task.plant, np.arange(task.steps + 1))
    for k in (0,) if task.reference.is_constant else range(task.steps + 1):
        why = objection(task, x_ref[k])
        if why:
            raise Objection(f"at sample {k} {why}")
    lower, upper = task.input_bounds
    beyond: np.ndarray = np.any((u_ref < lower) | (u_ref > upper), axis=0)
    if beyond.any():
        names = [name for name, out in zip(task.plant.input.names, beyond, strict=True) if out]
        raise Objection(f"the reference of {', '.join(names)} is beyond its bounds {lower}, {upper}")


def _reference_holds(task: Task) -> str:
    x_ref, u_ref = task.reference.at(task.plant, np.arange(task.steps + 1))
    w = np.broadcast_to(task.disturbance.mean(task.plant.disturbance), (task.steps, len(task.plant.disturbance)))
    w = with_known(task.plant, w)
    after = task.dynamics.lower("numpy")(x_ref[:-1], u_ref[:-1], w, np.zeros(0))
    gap = np.abs(after - x_ref[1:]) / task.dt
    k, i = np.unravel_index(np.argmax(gap), gap.shape)
    drift = f"largest drift {gap.max(initial=0.0):.1g} per second"
    if gap[k, i] <= STILL:
        return drift
    residual = _residual(task) if task.reference.is_constant else np.inf
    disturbed = [name for name, mean in zip(task.plant.disturbance.names, w[0], strict=True) if mean != 0]
    if residual <= STILL and not disturbed:
        return f"an equilibrium to {residual:.1g}, {drift}"
    if residual <= STILL:
        fix = f"it is an equilibrium, but the mean of the disturbance ({', '.join(disturbed)}) moves the plant off it"
    elif task.reference.is_constant:
        fix = "systems.equilibrium(plant, x, u) finds one; without one no controller can stay there"
    else:
        fix = "no controller can follow it exactly; list what the plant itself can do, or accept the error"
    raise Objection(f"at sample {k} the plant drifts off it: {_rates(task, gap[k])}; {fix}")


def _least(task: Task) -> str:
    """Whether a constant reference is an optimal steady state."""
    reading = task.reading
    if not task.reference.is_constant:
        return "" if reading.gradient_vanishes else "not asked of a reference that moves; the cost is not least on it"
    if reading.not_differentiable:
        raise Objection(f"the equations call {reading.not_differentiable}, which has no derivatives to find out with")
    if not reading.settles_elsewhere():
        return ""
    where = steady_state_in_words(task)
    if reading.free_steady_state is None:
        raise Objection("the plant has no steady state that is cheapest; controllers that settle have nowhere to go")
    raise Objection(
        f"controllers settle at {where}; give that as the reference, or write the cost with its distance from xr and ur"
    )


def _differentiable(task: Task) -> str:
    reading = task.reading
    if reading.not_differentiable:
        raise Objection(f"the equations call {reading.not_differentiable}, which has none")
    if reading.singular:
        raise Objection(f"the equations of {', '.join(reading.singular)} have none at the reference")
    if reading.is_singular_on_the_way:
        raise Objection("an equation has none at a start, such as that of a square root at 0")
    return ""


def _kinks(task: Task) -> str:
    reading = task.reading
    ends = reading.terminal.left if reading.terminal is not None else ()
    left = sorted({*reading.stage.left, *ends})
    left += [f"{', '.join(kinks)} in '{name}'" for name, kinks in reading.kinked_constraints.items()]
    if left:
        raise Objection(f"{', '.join(left)} cannot")
    return f"{', '.join(reading.cost_kinks)}" if reading.cost_kinks else ""


def _readable(task: Task) -> str:
    plant = task.plant
    functions = [
        task.dynamics.function(),
        task.stage_cost_function(),
        task.terminal_cost_function(),
        task.margin_function(),
    ]
    calls = sorted({f"'{f.name()}' ({f.class_name()})" for g in functions for f in read(g).functions})
    if calls:
        raise Objection(f"{plant.name} calls {', '.join(calls)}, which CasADi does not expand")
    return ""


def _rates(task: Task, rates: np.ndarray) -> str:
    """The states that move, and how fast."""
    moving = zip(task.plant.state, rates, strict=True)
    return ", ".join(f"{signal.name} at {rate:.3g} {signal.unit}/s" for signal, rate in moving if not rate <= STILL)


def _residual(task: Task) -> float:
    """How far from standing still the undisturbed plant is at its reference, in the terms of its own equations."""
    x_ref, u_ref = task.reference.at(task.plant, 0)
    value = np.array(task.plant.casadi()(x_ref, u_ref, 0, 0))[:, 0] - (x_ref if task.plant.is_discrete else 0.0)
    return float(np.max(np.abs(value), initial=0.0))


def _listed(task: Task) -> str:
    x = np.asarray(task.reference.x) if isinstance(task.reference, Trajectory) else np.zeros((1, 1))
    needed = task.steps + HORIZON
    if len(x) == 1 or len(x) >= needed:
        return ""
    rates = np.abs(x[-1] - x[-2]) / task.dt
    if (rates > STILL).any():
        raise Objection(
            f"it lists {len(x)} samples for a run of {task.steps} and still moves at its end ({_rates(task, rates)}), "
            "where the last sample is held: a controller that looks ahead brakes for that; make it longer by a "
            f"controller's horizon, to {needed} samples"
        )
    return "it ends at rest"


def _breakable(task: Task) -> None:
    """A run violated at every sample spends the sum of the weights."""
    for constraint in task.constraints:
        required = constraint.requirement
        if isinstance(required, Budget) and required.of == "steps":
            most = float(np.sum((task.discount if required.per == "discounted" else 1.0) ** np.arange(task.steps)))
            if required.limit >= most:
                raise Objection(f"'{constraint.name}' allows {required.limit:g} of at most {most:.3g} violated samples")


def _bounded(task: Task) -> None:
    bounds = zip(task.plant.input.names, *task.input_bounds, strict=True)
    unbounded = [name for name, low, high in bounds if not np.isfinite([low, high]).all()]
    if unbounded:
        raise Objection(f"{', '.join(unbounded)} may be anything")


def _moderate(task: Task) -> None:
    """A learner's actions, and costs with squares of them, are 32-bit numbers."""
    lower, upper = task.input_bounds
    with np.errstate(over="ignore", invalid="ignore"):
        square = (upper - lower) ** 2
    bounded = zip(task.plant.input.names, lower, upper, square, strict=True)
    wide = [name for name, low, high, s in bounded if np.isfinite([low, high]).all() and s > np.finfo(np.float32).max]
    if wide:
        raise Objection(f"{', '.join(wide)} may be as large as {np.abs([lower, upper]).max():.3g}")


def _ends(task: Task) -> str:
    """Whether a domain ends the runs of a plant that is unstable where it shall stay."""
    if np.isfinite(task.domain_bounds).any():
        return "a domain ends it"
    x_ref, u_ref = task.reference.at(task.plant, 0)
    growth = float(np.abs(np.linalg.eigvals(linearise(task.dynamics, x_ref, u_ref).A)).max(initial=0.0))
    if task.steps * math.log(max(growth, 1.0)) <= math.log(DOUBLED):
        return "the plant does not diverge from its reference"
    raise Objection(
        f"the plant is unstable at its reference (a mode grows by {100 * (growth - 1):.2g} % per sample) and no domain "
        f"ends a run: under random inputs, as a learner begins with, {_reach(task)}"
    )


def _discount(task: Task) -> str:
    """Whether a learner looks about as far ahead as the regulated loop takes to settle."""
    if task.discount >= 1:
        raise Objection("it is 1, with which no learner can learn; give one below 1, such as 0.99")
    ahead = 1.0 / (1.0 - task.discount)
    text = f"it looks {ahead:.3g} samples ahead"
    try:
        regulator = LQR(task)
        x_ref, u_ref = regulator.x_ref, regulator.u_ref
        model = linearise(task.dynamics, x_ref, u_ref)
        radius = float(np.abs(np.linalg.eigvals(model.A - model.B @ regulator.K)).max(initial=0.0))
    except TriviumError:  # no regulator: nothing to measure it by
        return text
    if not task.reference.is_constant or not 0 < radius < 1:
        return text
    slowest = -1.0 / math.log(radius)
    fits = 1.0 - 1.0 / (5.0 * slowest + 1.0)
    text += f", and the slowest mode of the loop with LQR takes {slowest:.3g} to decay by a factor of e"
    if ahead < NEAR * slowest:
        raise Objection(f"{text}: learners do not see what their inputs lead to; give one of about {fits:.3g}")
    if ahead > FAR * max(slowest, 1.0):
        raise Objection(
            f"{text}: what an input does is small beside the rest of the return that learners see; give one of about "
            f"{fits:.3g}"
        )
    return text


def _reach(task: Task) -> str:
    """How far random inputs carry the plant, in words."""
    chance = np.random.default_rng(0)
    x, _ = _draws(task)
    x_ref, u_ref = task.reference.at(task.plant, 0)
    lower, upper = (np.where(np.isfinite(bound), bound, u_ref) for bound in task.input_bounds)
    spread, step = np.abs(x - x_ref).max(axis=0), task.true_dynamics.lower("numpy")
    largest = spread.copy()
    with np.errstate(all="ignore"):
        for _ in range(task.steps):
            w = task.disturbance.sample(task.plant.disturbance, chance, (len(x),))
            x = step(x, chance.uniform(lower, upper, (len(x), len(lower))), w, np.zeros(0))
            if not np.isfinite(x).all():
                return "states overflow"
            largest = np.maximum(largest, np.abs(x - x_ref).max(axis=0))
    i = int(np.argmax(largest / np.where(spread > 0, spread, np.inf)))
    signal = task.plant.state[i]
    return (
        f"{signal.name} goes as far as {largest[i]:.3g} {signal.unit} from its reference, where no start is further "
        f"than {spread[i]:.3g}"
    )


def _moves(task: Task) -> None:
    x, w = _draws(task)
    lower, upper = (np.where(np.isfinite(bound), bound, 0.0) for bound in task.input_bounds)
    step = task.true_dynamics.lower("numpy")
    for u in (lower, upper):
        with np.errstate(all="ignore"):
            after = step(x, np.broadcast_to(u, (len(x), len(u))), w, np.zeros(0))
        if not np.isfinite(after).all():
            bad = int(np.flatnonzero(~np.isfinite(after).all(axis=1))[0])
            solved = task.true_dynamics.solved
            is_solved = solved is None or bool(float(solved(x[bad], u, w[bad], 0)))
            why = "" if is_solved else ": the equations of the sample were not solved by Newton's method"
            raise Objection(f"from x = {np.round(x[bad], 3)} with u = {u} the next state is {after[bad]}{why}")


def _fine(task: Task) -> str:
    finer = _finer(task.dynamics)
    if finer is None:
        return f"{task.dynamics} is taken as meant"
    x, w = _draws(task)
    _, u = task.reference.at(task.plant, np.zeros(len(x), dtype=int))
    coarse, fine = (dynamics.lower("numpy")(x, u, w, np.zeros(0)) for dynamics in (task.dynamics, finer))
    error = float(np.max(np.abs(coarse - fine) / (1e-3 + np.abs(fine - x).max(axis=0)), initial=0.0))
    if not error <= 1e-2:
        raise Objection(f"a sample differs by {100 * error:.2g} % from one with four times the substeps")
    return f"a sample differs by {100 * error:.1g} % from one with four times the substeps"


def _finer(dynamics: Discretisation) -> Discretisation | None:
    """The same with four times the substeps, also within a plant with previous inputs or signals known ahead; None if
    no integrator approximates anything."""
    plant = dynamics.plant
    if isinstance(plant, SampledPlant):
        inner = _finer(plant.sampling)
        if inner is None:
            return None
        return dynamics.replace(dataclasses.replace(plant, sampling=inner))  # type: ignore[type-var]
    if dynamics.integrator in ("euler", "exact") or plant.is_discrete:
        return None
    return dataclasses.replace(dynamics, substeps=4 * dynamics.substeps)


def _costs(task: Task) -> None:
    x, _ = _draws(task)
    x_ref, u_ref = task.reference.at(task.plant, np.zeros(len(x), dtype=int))
    given = {
        "stage cost": lower(task.stage_cost_function(), to="numpy")(x, u_ref, x_ref, u_ref),
        "terminal cost": lower(task.terminal_cost_function(), to="numpy")(x, x_ref),
        "margin of a constraint": lower(task.margin_function(), to="numpy")(x, u_ref),
    }
    for what, values in given.items():
        if not np.isfinite(values).all():
            bad = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
            raise Objection(f"the {what} at x = {np.round(x[bad], 3)} is {values[bad]}")


def _arrival(task: Task) -> str:
    if not np.isfinite(task.arrival).any():
        raise Objection("no state has a tolerance, so every run counts as settled from its first sample")
    return ", ".join(
        f"{signal.name} within {width:.3g} {signal.unit}"
        for signal, width in zip(task.plant.state, task.arrival, strict=True)
        if np.isfinite(width)
    )


def _environment(task: Task) -> None:
    from gymnasium.utils.env_checker import check_env

    with warnings.catch_warnings():  # its warnings are advice on spaces that units decide
        warnings.simplefilter("ignore")
        check_env(task.env(seed=0), skip_render_check=True)
