"""The comparison: every controller, the same task, the same starts, the same disturbances."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from ctrl.answers import announced
from ctrl.cells import Engine, Here, Processes, identity
from ctrl.cells.engine import fault
from ctrl.cells.identity import Identified
from ctrl.comparison.comparison import Comparison
from ctrl.comparison.draws import Draws, draw_all, expect_unseen
from ctrl.comparison.metrics import Metrics, measure
from ctrl.comparison.pairing import paired
from ctrl.comparison.plan import estimate, plan, settings
from ctrl.comparison.progress import Progress
from ctrl.comparison.spec import STARTS, Factory
from ctrl.comparison.store import RunStore
from ctrl.comparison.workers import CellFailure, Work, cores
from ctrl.controller import Controller, NotApplicable
from ctrl.estimation import OutputFeedback
from ctrl.knowledge import Knowledge, knowledge_of
from ctrl.training_log import training_log
from ctrl.trajectories import Trajectories
from systems import InvalidValue, Task
from systems.arguments import expect_arguments, expect_factory, expect_name, expect_seed, expect_whole
from systems.errors import expect, shown

__all__ = ["compare"]

Proof = Callable[[Task, Controller], float | None]
"""Share of the starts' support (by volume) proved to reach the reference, or None where nothing can be proved."""


_NONE = np.zeros(0, dtype=np.int64)


def compare(
    task: Task,
    controllers: Mapping[str, Controller | Factory],
    starts: int | ArrayLike = STARTS,
    seeds: int | Sequence[int] = 0,
    workers: int | None = None,
    proof: Proof | None = None,
    out: str | Path | None = None,
    engine: Engine | None = None,
    announce: Callable[[str], None] | None = None,
) -> Comparison:
    """Runs every controller from the same initial states under the same disturbances.

    A controller without memory (:class:`BatchController`) computes all runs at once. The runs of any other controller
    that is given as a factory are distributed over processes, each with its own controller and one thread; the numbers
    do not depend on how many there are. Progress is shown on the terminal, with an estimate of the time after the first
    runs.

    On a task with a measurement, a state-feedback controller is combined with an estimator,
    :func:`ctrl.estimation.standard_estimator`, which the table names.

    Args:
        task: the task of every run.
        controllers: by name, controllers or factories, such as ``{"lqr": LQR, "mpc": lambda task: MPC(task, 20)}``.
        starts: number of initial states to draw from the task's initial distribution for each seed, or the states
            themselves, (runs, n); default: 128.
        seeds: of starts and disturbances; default: 0.
        workers: number of processes; default: the number of free cores.
        proof: function of task and controller, called once for each controller; returns the share of the starts'
            support that is proved to reach the reference; default: no proof is tried.
        out: folder in which finished runs are stored; an interrupted comparison resumes from there, with the same
            numbers. Runs of lambda functions and of controllers that were constructed beforehand are not stored, since
            it cannot be verified that they are unchanged. Default: nothing is stored.
        engine: runs the cells; default: `workers` processes of this machine.
        announce: called with lines about the plan and its estimated duration; default: they are printed on a terminal.

    Raises:
        OutputError: `out` holds runs of another task, other settings or another controller of the same name.
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
    if engine is None:
        count = cores() if workers is None else expect_whole(workers, "workers", least=1)
        engine = Here() if count == 1 else Processes(count)
    expect(engine, Engine, "engine", "such as ctrl.cells.Processes(4)")
    if out is not None and not isinstance(out, (str, Path)):
        raise InvalidValue(f"out = {shown(out)}; expected the path of a folder")
    if announce is not None:
        expect_arguments(announce, "line", "announce")
    if proof is not None:
        expect_arguments(proof, "task, controller", "proof")
    if isinstance(seeds, (list, tuple, range)) or (isinstance(seeds, np.ndarray) and seeds.ndim == 1):
        seeds = tuple(expect_seed(seed, "a seed") for seed in seeds)
    else:
        seeds = (expect_seed(seeds, "seeds", "or a list of such numbers"),)
    x0, w, noise, parameters = draws = draw_all(task, starts, seeds)
    for name, given in controllers.items():
        expect_unseen(name, given.factory if isinstance(given, Identified) else given, draws)
    store = None
    if out is not None:
        store = RunStore(Path(out), task, settings(task, seeds, draws, proof), w.shape[1], len(x0))
    results = _Results(task, proof, store)
    with Progress(list(controllers), len(x0)) as progress:
        say = progress.say if announce is None else announce
        say(plan(task, list(controllers), x0, engine, out))
        try:
            begun = _begin(controllers, task, draws, results, progress)
            if any(work.done < len(x0) for work, *_ in begun.values()):
                say(estimate({name: seconds for name, (_, _, seconds) in begun.items()}, engine, proof is not None))
            for name, (work, controller, _) in begun.items():
                results.finish(name, work, controller, engine, progress)
        finally:
            if store is not None:
                store.flush()
    if not results.runs:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in (results.skipped | results.failed).items())
        raise NotApplicable(f"no controller could run task '{task.name}': {reasons}")
    return Comparison(
        task,
        seeds,
        x0,
        w,
        results.runs,
        results.proved,
        results.skipped,
        results.failed,
        {name: results.seconds[name] for name in results.runs},
        engine.workers,
        results.metrics,
        results.approximations,
        proof is not None,
        noise=noise,
        parameters=parameters,
        estimators=results.estimators,
        knowledge=results.knowledge,
        training_logs=results.training_logs,
    )


@final
@dataclass
class _Results:
    """What is known of every controller so far."""

    task: Task
    proof: Proof | None
    store: RunStore | None
    runs: dict[str, Trajectories] = field(default_factory=dict)
    proved: dict[str, float | None] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, Metrics] = field(default_factory=dict)
    approximations: dict[str, tuple[str, ...] | None] = field(default_factory=dict)
    estimators: dict[str, str] = field(default_factory=dict)
    knowledge: dict[str, Knowledge] = field(default_factory=dict)
    training_logs: dict[str, Path] = field(default_factory=dict)

    def finish(self, name: str, work: Work, controller: Controller, engine: Engine, progress: Progress) -> None:
        """The runs that are missing, and the proof. One controller's fault must not cost the others their results."""
        began = perf_counter()
        try:
            result = work.rest(engine, progress.advance(name))
            measured, texts = measure(self.task, result), announced(controller)
            if self.store is not None:
                self.store.flush()
            progress.state(name, "proof" if self.proof is not None else "")
            self.proved[name] = self._proof(name, controller)
            self.runs[name], self.metrics[name], self.approximations[name] = result, measured, texts
            if isinstance(controller, OutputFeedback):
                self.estimators[name] = type(controller.estimator).__name__
            if (known := knowledge_of(controller)) is not None:
                self.knowledge[name] = known
            if (log := training_log(controller)) is not None:
                self.training_logs[name] = log
            progress.state(name, "")
        except NotApplicable as reason:
            self.skipped[name] = str(reason)
        except CellFailure as error:
            self.fail(name, str(error), work)
        except (Exception, SystemExit) as error:
            self.fail(name, fault(error), work)
        self.seconds[name] = self.seconds.get(name, 0.0) + perf_counter() - began

    def fail(self, name: str, reason: str, work: Work | None = None) -> None:
        """Notes why a controller has no results, and how far it came."""
        total = 0 if work is None else work.total
        self.failed[name] = f"{reason}; after {work.done} of {total} runs" if work and work.done else reason

    def _proof(self, name: str, controller: Controller) -> float | None:
        if self.store is None or self.proof is None:
            return _proved(self.proof, self.task, controller, name)
        has_ended, share = self.store.proof(name)
        if not has_ended:
            share = _proved(self.proof, self.task, controller, name)
            self.store.keep_proof(name, share)
        return share


def _begin(
    controllers: Mapping[str, Controller | Factory], task: Task, draws: Draws, results: _Results, progress: Progress
) -> dict[str, tuple[Work, Controller, float]]:  # fmt: skip
    """Every controller made, its first run done, and about the seconds that the others will take in one process."""
    begun: dict[str, tuple[Work, Controller, float]] = {}
    store = results.store
    stored: dict[str, tuple[np.ndarray, Trajectories | None]] = dict.fromkeys(controllers, (_NONE, None))
    if store is not None:  # all of them first, as a refusal must come before the work
        stored = {name: store.begin(name, identity(given)) for name, given in controllers.items()}
    for name, given in controllers.items():
        began, work = perf_counter(), None
        try:
            progress.state(name, "is made")
            controller, made = paired(_build(given, task), given, task)
            keep = _not_kept if store is None else partial(store.keep, name)
            rows, runs = stored[name]
            work = Work(made, controller, task, draws, rows, runs, keep)
            progress.state(name, "")
            progress.advance(name)(work.done)
            begun[name] = work, controller, work.first(progress.advance(name))
        except NotApplicable as reason:
            results.skipped[name] = str(reason)
        except (Exception, SystemExit) as error:
            results.fail(name, fault(error), work)
        results.seconds[name] = perf_counter() - began
    return begun


def _not_kept(rows: np.ndarray, runs: Trajectories) -> None:
    """Where no folder was named."""


def _proved(proof: Proof | None, task: Task, controller: Controller, name: str) -> float | None:
    """The proved region, None where there is none. A proof that fails must not cost the runs their results."""
    if proof is None:
        return None
    try:
        return proof(task, controller)
    except Exception as error:
        warnings.warn(f"{name}: its proof stopped with {fault(error)}", stacklevel=3)
        return None


def _build(given: Controller | Factory, task: Task) -> Controller:
    if isinstance(given, Controller) and not isinstance(given, type):
        return given
    controller = given(task)  # not a controller, so it makes one
    if not isinstance(controller, Controller):
        raise InvalidValue(f"the factory returned {type(controller).__name__}, which has no reset() and step(x, k)")
    return controller
