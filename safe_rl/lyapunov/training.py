"""Neural Lyapunov functions, learned from simulated trajectories and counterexamples, optionally with the controller.

First the network is fitted to Zubov's function of the simulated trajectories, which gives it the size of the region of
attraction. Then it is trained to satisfy the condition to be proved: V decreases wherever V < 1, and V > 1 where
trajectories leave the box. States at which a random ascent finds a violation are repeatedly added to the training set
(counterexample-guided synthesis: Ahmed, Peruffo & Abate 2020; Chang, Roohi & Gao 2019). A controller network is first
pretrained to bring trajectories to the reference, by gradient descent through the simulation; after that, the condition
trains V and controller together. Nothing here is a proof: the result is a candidate for
:func:`ctrl.certify.largest_level`.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import process_time
from typing import final

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ctrl.certify import ClosedLoop, NeuralLyapunov
from ctrl.laws import Law
from safe_rl.arithmetic import quick_arithmetic
from safe_rl.lyapunov.condition import Condition, Round, local_shape
from safe_rl.lyapunov.control import pretrained
from safe_rl.lyapunov.networks import Control, Scale, Value
from safe_rl.lyapunov.settings import LyapunovSettings
from safe_rl.lyapunov.zubov import simulated
from systems import InvalidValue, Task
from systems.arguments import expect_array, expect_seed
from systems.errors import expect, shown

__all__ = ["LyapunovTraining", "train_lyapunov"]


@final
@dataclass(frozen=True, eq=False)
class LyapunovTraining:
    """Args:
    V, law: what training ended with; {V <= 1} is what it aimed at.
    history: of the searches.
    seconds: of processor time.
    basin: share of the box from which simulated trajectories arrived, before the controller was moved by the condition.
    """

    V: NeuralLyapunov
    law: Law
    history: tuple[Round, ...]
    seconds: float
    basin: float


def train_lyapunov(
    task: Task,
    law: Law | None = None,
    box: tuple[np.ndarray, np.ndarray] | None = None,
    continuous: bool = False,
    seed: int = 0,
    settings: LyapunovSettings | None = None,
    progress: bool = True,
) -> LyapunovTraining:
    """A candidate V for a control law, or for a controller network that is trained with it.

    Args:
        law: of the closed loop; default: a network that is trained with V.
        box: lower and upper (n,) in which trajectories must stay; default: the task's domain.
        continuous: whether the control law is evaluated continuously instead of once per sample.
        progress: whether to show a progress bar.

    Returns:
        The same for the same arguments, to the last digit on the same machine.

    Raises:
        InvalidValue: an unbounded box; a law that does not stabilise the reference; inputs that a network cannot
            bound.
        NotApplicable: the reference moves.
    """
    settings = LyapunovSettings() if settings is None else settings
    expect(task, Task, "the task of a Lyapunov function", "such as systems.library.pendulum()")
    expect(settings, LyapunovSettings, "settings", "such as LyapunovSettings(updates=2000)")
    seed = expect_seed(seed)
    began = process_time()
    n = len(task.plant.state)
    if box is not None and not (isinstance(box, (list, tuple)) and len(box) == 2):
        raise InvalidValue(f"box = {shown(box)}; expected the pair (lower, upper), each ({n},)")
    lower, upper = (
        expect_array(bound, name, (n,), infinite=True)
        for name, bound in zip(("lower", "upper"), task.domain_bounds if box is None else box, strict=True)
    )
    if not np.isfinite([lower, upper]).all() or not (lower < upper).all():
        raise InvalidValue(
            f"the box from {lower} to {upper} is unbounded or empty; give finite bounds, lower < upper, within which "
            "trajectories have to stay"
        )
    generator, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    scale = Scale(task.reference.at(task.plant, 0)[0].astype(float), lower, upper)
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[news]}"),
        TimeRemainingColumn(),
        console=console,
        disable=not (progress and console.is_terminal),
    )
    with quick_arithmetic(1), bar:
        control = None
        if law is None:
            control = Control(task, scale, settings.controller, generator)
            row = bar.add_task("controller", total=settings.controller_updates, news="")
            for loss in pretrained(task, scale, control, settings, generator):
                bar.update(row, advance=1, news=f"loss {loss:.3g}")
            law = control.law()
        loop = ClosedLoop(task, law, continuous)
        samples = simulated(loop, lower, upper, settings.starts, settings.steps, rng)
        V = Value(scale, settings.hidden, settings.features, local_shape(loop, scale, samples.unit), generator)
        condition = Condition(loop, scale, V, control, samples, settings, rng, generator)
        row = bar.add_task(f"V, {samples.share:.0%} of the box", total=settings.updates, news="")
        history: list[Round] = []
        while not history or history[-1].update < settings.updates:
            latest = condition.round()
            history.append(latest)
            news = f"target {latest.target:.2g}  decrease {latest.decrease:.2g}  broken {latest.broken:.2%}"
            bar.update(row, completed=latest.update, news=news)
    law = control.law() if control else law
    return LyapunovTraining(V.lyapunov(), law, tuple(history), process_time() - began, samples.share)
