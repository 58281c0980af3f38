"""The comparison: every controller, the same task, the same starts, the same disturbances."""

from __future__ import annotations

import os
import signal
import threading
import traceback
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import ArrayLike

from ctrl.answers import announced
from ctrl.comparison.draws import draw
from ctrl.comparison.lifeline import end_with, lifeline
from ctrl.comparison.metrics import Metrics, measure
from ctrl.controller import BatchController, Controller, NotApplicable
from ctrl.loop import simulate
from systems.statistics import Estimate, cost_ratios
from ctrl.trajectories import Trajectories, stack
from systems import InvalidValue, Task
from systems.arguments import expect_arguments, expect_factory, expect_name, expect_seed, expect_whole
from systems.errors import expect

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["STARTS", "Comparison", "Factory", "Programme", "compare"]

Factory = Callable[[Task], Controller]
"""Makes a controller for a task, or raises :class:`NotApplicable` with the reason. A controller's class is one."""

STARTS = 128
"""How many are drawn where nothing else is said."""


@final
@dataclass(frozen=True)
class Programme:
    """What a task's own comparison runs, where 128 starts would take a controller too long.

    Args:
        controllers: by name. starts: as many as one waits for.
    """

    controllers: Mapping[str, Factory]
    starts: int = STARTS


Proof = Callable[[Task, Controller], float | None]
"""Share of the starts' support (by volume) proved to reach the reference, or None where nothing can be proved."""


@final
@dataclass(frozen=True, eq=False)
class Comparison:
    """What came out. ``print`` it, ask for its ``figure``, or ``save`` all of it in a folder.

    Args:
        seeds, starts, disturbances: what every controller faced.
        runs: trajectories by controller. metrics: what was measured of them.
        proved: region of attraction by proof, as a share of the starts' support; None where there is no proof.
        skipped: why a controller does not apply. failed: what stopped one that should have.
        seconds: wall time by controller, its making included. workers: processes used.
        approximations: what each controller does not take of the task as it is written, in words; None where it does
            not say. is_proof_tried: whether proofs were asked for.
    """

    task: Task
    seeds: tuple[int, ...]
    starts: np.ndarray
    disturbances: np.ndarray
    runs: Mapping[str, Trajectories]
    proved: Mapping[str, float | None]
    skipped: Mapping[str, str]
    failed: Mapping[str, str]
    seconds: Mapping[str, float]
    workers: int
    metrics: Mapping[str, Metrics]
    approximations: Mapping[str, tuple[str, ...] | None]
    is_proof_tried: bool = True

    @property
    def ratios(self) -> Mapping[str, Estimate]:
        """Mean cost over the smallest mean cost, from paired runs."""
        return cost_ratios({name: runs.cost for name, runs in self.runs.items()})

    def figure(self) -> Figure:
        """Traces, phase portraits, cost and solve times on one page."""
        from ctrl.comparison.figure import figure

        return figure(self)

    def save(self, folder: str | Path) -> Path:
        """Writes table, figure, task and versions to a folder; see :func:`ctrl.comparison.results.save`."""
        from ctrl.comparison.results import save

        return save(self, folder)

    def __rich__(self) -> Any:
        from ctrl.comparison.table import table

        return table(self)

    def __str__(self) -> str:
        from ctrl.comparison.table import text

        return text(self)


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

    Args:
        controllers: by name, controllers or factories, such as ``{"lqr": LQR, "mpc": lambda task: MPC(task, 20)}``.
        starts: how many to draw from the task's law for each seed, or the initial states, (runs, n).
        seeds: of starts and disturbances.
        workers: processes, as many as there are cores where left out.
        proof: asked once for each controller, for the column of proved regions.

    Raises:
        InvalidValue: nothing to compare, no mapping, a start that is not allowed, something that is neither of the two.
        NotApplicable: no controller is left to compare; the message has every reason.
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
    workers = _cores() if workers is None else expect_whole(workers, "workers", least=1)
    if proof is not None:
        expect_arguments(proof, "task, controller", "proof")
    if isinstance(seeds, (list, tuple, range)) or (isinstance(seeds, np.ndarray) and seeds.ndim == 1):
        seeds = tuple(expect_seed(seed, "a seed") for seed in seeds)
    else:
        seeds = (expect_seed(seeds, "seeds", "or a list of such numbers"),)
    x0, w = draw(task, starts, seeds)
    runs: dict[str, Trajectories] = {}
    proved: dict[str, float | None] = {}
    skipped: dict[str, str] = {}
    failed: dict[str, str] = {}
    seconds: dict[str, float] = {}
    metrics: dict[str, Metrics] = {}
    approximations: dict[str, tuple[str, ...] | None] = {}
    for name, given in controllers.items():
        began = perf_counter()
        try:
            controller = _build(given, task)
            result = _run(name, given, controller, task, x0, w, workers)
            measured, said = measure(task, result), announced(controller)
            proved[name] = _proved(proof, task, controller, name)
            runs[name], metrics[name], approximations[name] = result, measured, said
            seconds[name] = perf_counter() - began
        except NotApplicable as reason:
            skipped[name] = str(reason)
        except (Exception, SystemExit) as error:  # one controller's fault must not cost the others their results
            failed[name] = _fault(error)
    if not runs:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in (skipped | failed).items())
        raise NotApplicable(f"no controller could run task '{task.name}': {reasons}")
    return Comparison(
        task, seeds, x0, w, runs, proved, skipped, failed, seconds, workers, metrics, approximations, proof is not None
    )


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


def _run(
    name: str, given: Any, controller: Controller, task: Task, x0: np.ndarray, w: np.ndarray, workers: int
) -> Trajectories:
    is_factory = isinstance(given, type) or not isinstance(given, Controller)
    alone = isinstance(controller, BatchController) or not is_factory or workers == 1 or len(x0) < 2 * workers
    with _Progress(name, len(x0)) as advance:
        if alone:
            return simulate(task, controller, x0, w, advance)
        from joblib import Parallel, delayed, parallel_config

        chunks = np.array_split(np.arange(len(x0)), min(len(x0), 8 * workers))
        token = uuid.uuid4().hex
        done: dict[int, Trajectories] = {}
        ends = {"initializer": end_with, "initargs": (lifeline(),)}
        with parallel_config("loky", n_jobs=workers, inner_max_num_threads=1, **ends):
            work = (delayed(_chunk)(token, i, given, task, x0[rows], w[rows]) for i, rows in enumerate(chunks))
            with _sheltered():
                parts = Parallel(return_as="generator_unordered")(work)
            for i, part in parts:
                done[i] = part
                advance(len(part))
        return stack([done[i] for i in range(len(chunks))])


@contextmanager
def _sheltered() -> Iterator[None]:
    """Processes started within ignore interrupts from the terminal, as they inherit from this one.

    Theirs would each print a traceback; this one's is enough, as it ends them. One that falls within is lost.
    """
    if threading.current_thread() is not threading.main_thread():  # where Python allows no change
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


_BUILT: dict[str, Controller] = {}


def _chunk(token: str, i: int, factory: Factory, task: Task, x0: np.ndarray, w: np.ndarray) -> tuple[int, Trajectories]:
    """Some of the runs, in a worker. Its controller is made once and kept for the chunks that follow."""
    if token not in _BUILT:
        _BUILT.clear()
        _BUILT[token] = factory(task)
    return i, simulate(task, _BUILT[token], x0, w)


class _Progress:
    """A bar on the terminal while one controller runs; nothing where the output is no terminal."""

    def __init__(self, name: str, runs: int) -> None:
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        # Drawn between runs only: a thread that redraws would take time from the very steps that are timed.
        self._bar = Progress(console=console, transient=True, auto_refresh=False, disable=not console.is_terminal)
        self._task = self._bar.add_task(name, total=runs)

    def __enter__(self) -> Callable[[int], None]:
        self._bar.start()
        return self._advance

    def _advance(self, count: int) -> None:
        self._bar.advance(self._task, count)
        self._bar.refresh()

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _fault(error: BaseException) -> str:
    """An exception in one line, with the place it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({os.path.basename(frames[-1].filename)}, line {frames[-1].lineno})" if frames else ""
    said = str(error).strip() or "no message"
    return f"{type(error).__name__}: {said}{where}"
