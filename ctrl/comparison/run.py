"""The comparison: every controller, the same task, the same starts, the same disturbances."""

from __future__ import annotations

import os
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter

import numpy as np
from numpy.typing import ArrayLike

from ctrl.answers import announced
from ctrl.comparison.comparison import Comparison
from ctrl.comparison.draws import draw_all
from ctrl.comparison.metrics import Metrics, measure
from ctrl.comparison.pairing import paired
from ctrl.comparison.spec import STARTS, Factory
from ctrl.comparison.workers import cores, spread
from ctrl.controller import Controller, NotApplicable
from ctrl.estimation import OutputFeedback
from ctrl.knowledge import Knowledge, knowledge_of
from ctrl.trajectories import Trajectories
from systems import InvalidValue, Task
from systems.arguments import expect_arguments, expect_factory, expect_name, expect_seed, expect_whole
from systems.errors import expect

__all__ = ["compare"]

Proof = Callable[[Task, Controller], float | None]
"""Share of the starts' support (by volume) proved to reach the reference, or None where nothing can be proved."""


def compare(
    task: Task,
    controllers: Mapping[str, Controller | Factory],
    starts: int | ArrayLike = STARTS,
    seeds: int | Sequence[int] = 0,
    workers: int | None = None,
    proof: Proof | None = None,
) -> Comparison:
    """Runs every controller from the same starts under the same disturbances.

    A controller without memory (:class:`BatchController`) answers all runs at once. Any other one given as a factory
    has its runs spread over processes, each with a controller of its own and one thread; the numbers do not depend on
    how many there are. Progress is shown on the terminal.

    On a task with a measurement, a controller of the state is paired with an estimator,
    :func:`ctrl.estimation.standard_estimator`, which the table names.

    Args:
        task: the task of every run.
        controllers: by name, controllers or factories, such as ``{"lqr": LQR, "mpc": lambda task: MPC(task, 20)}``.
        starts: number of initial states to draw from the task's initial distribution for each seed, or the states
            themselves, (runs, n); default: 128.
        seeds: of starts and disturbances; default: 0.
        workers: number of processes; default: as many as there are cores that are free.
        proof: function of task and controller, called once for each controller; returns the share of the starts'
            support that is proved to reach the reference; default: no proof is tried.

    Raises:
        InvalidValue: no controllers, not a mapping, a start that is not allowed, an entry that is neither a controller
            nor a factory.
        NotApplicable: no controller is left to compare; the message has every reason.

    Examples:
        >>> from ctrl import LQR
        >>> from systems.library import double_integrator
        >>> comparison = compare(double_integrator(), {"lqr": LQR}, starts=4)
        >>> comparison.metrics["lqr"].settled.k
        4
    """
    expect(task, Task, "the task of compare", "such as systems.library.cartpole()")
    expect(controllers, Mapping, "controllers", 'such as {"lqr": LQR}: every one by the name it is shown under')
    if not controllers:
        raise InvalidValue('no controllers given; expected some, such as {"lqr": LQR}')
    for name, given in controllers.items():
        expect_name(name, "the name of a controller")
        if isinstance(given, Controller) and not isinstance(given, type):
            continue
        if not callable(given):
            raise InvalidValue(
                f"controller '{name}' is {type(given).__name__}; expected something with reset() and step(x, k), "
                "or a function of the task that returns such a thing"
            )
        expect_factory(given, "task", f"controller '{name}'", "a function of the task, such as LQR or lambda task: ...")
    workers = cores() if workers is None else expect_whole(workers, "workers", least=1)
    if proof is not None:
        expect_arguments(proof, "task, controller", "proof")
    if isinstance(seeds, (list, tuple, range)) or (isinstance(seeds, np.ndarray) and seeds.ndim == 1):
        seeds = tuple(expect_seed(seed, "a seed") for seed in seeds)
    else:
        seeds = (expect_seed(seeds, "seeds", "or a list of such numbers"),)
    x0, w, noise = draws = draw_all(task, starts, seeds)
    runs: dict[str, Trajectories] = {}
    proved: dict[str, float | None] = {}
    skipped: dict[str, str] = {}
    failed: dict[str, str] = {}
    seconds: dict[str, float] = {}
    metrics: dict[str, Metrics] = {}
    approximations: dict[str, tuple[str, ...] | None] = {}
    estimators: dict[str, str] = {}
    knowledge: dict[str, Knowledge] = {}
    for name, given in controllers.items():
        began = perf_counter()
        try:
            controller, given = paired(_build(given, task), given, task)
            result = spread(name, given, controller, task, draws, workers)
            measured, said = measure(task, result), announced(controller)
            proved[name] = _proved(proof, task, controller, name)
            runs[name], metrics[name], approximations[name] = result, measured, said
            seconds[name] = perf_counter() - began
            if isinstance(controller, OutputFeedback):
                estimators[name] = type(controller.estimator).__name__
            if (known := knowledge_of(controller)) is not None:
                knowledge[name] = known
        except NotApplicable as reason:
            skipped[name] = str(reason)
        except (Exception, SystemExit) as error:  # one controller's fault must not cost the others their results
            failed[name] = _fault(error)
    if not runs:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in (skipped | failed).items())
        raise NotApplicable(f"no controller could run task '{task.name}': {reasons}")
    return Comparison(
        task, seeds, x0, w, runs, proved, skipped, failed, seconds, workers, metrics, approximations, proof is not None,
        noise=noise, estimators=estimators, knowledge=knowledge,
    )  # fmt: skip


def _proved(proof: Proof | None, task: Task, controller: Controller, name: str) -> float | None:
    """The proved region, None where there is none. A proof that fails must not cost the runs their results."""
    if proof is None:
        return None
    try:
        return proof(task, controller)
    except Exception as error:
        warnings.warn(f"{name}: its proof stopped with {_fault(error)}", stacklevel=3)
        return None


def _build(given: Controller | Factory, task: Task) -> Controller:
    if isinstance(given, Controller) and not isinstance(given, type):
        return given
    controller = given(task)  # not a controller, so it makes one
    if not isinstance(controller, Controller):
        raise InvalidValue(f"the factory returned {type(controller).__name__}, which has no reset() and step(x, k)")
    return controller


def _fault(error: BaseException) -> str:
    """An exception in one line, with the place it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({os.path.basename(frames[-1].filename)}, line {frames[-1].lineno})" if frames else ""
    said = str(error).strip() or "no message"
    return f"{type(error).__name__}: {said}{where}"
