"""Commands that add the parts a report does not contain."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ctrl.comparison.data import ComparisonData
from ctrl.report.additions import Additions
from ctrl.report.elements import Element, element
from systems.drawing import is_drawn
from systems.errors import TriviumError

__all__ = ["missing"]

_ADDING = ("--robustness", "--films")
_SEEDS = 5


def missing(
    comparison: ComparisonData,
    command: Sequence[str],
    sources: Mapping[str, str],
    more: Additions,
    folder: str | Path | None,
) -> Element:
    """The commands, each with a description of the part that it adds.

    Args:
        comparison: its results.
        command: the command line that produced them.
        sources: how it names the task and the controllers, by the names under which they are shown.
        more: the optional parts that the report already has.
        folder: of the results, to which a command adds; None for a new one.
    """
    repeated = [*_without(command, ("--out",)), *(() if folder is None else ("--out", str(folder)))]
    task = sources.get(comparison.task.name, comparison.task.name)
    plain = _without([part for part in command if part not in _ADDING], ("--seeds",))
    again = _without(plain, ("--starts", "--out"))
    commands = [("More runs, so narrower intervals", [*again, "--starts", str(4 * len(comparison.starts))])]
    change = _change(comparison)
    if change:
        commands.append(("A plant that differs from the model", [*_without(plain, ("--out",)), "--true", change]))
    if more.robustness is None:
        what = "Curves over parameters, disturbance, noise and delay, added to this folder"
        commands.append((what, [*repeated, "--robustness"]))
    if more.trainings is None and comparison.training_logs:
        what = f"Learning curves of {_SEEDS} training seeds with their bands, and what their policies cost"
        commands.append((what, [*repeated, "--seeds", str(_SEEDS)]))
    if not more.films and is_drawn(comparison.task):
        commands.append(("Films of a run under every controller", [*repeated, "--films"]))
    listed = [(what, shlex.join(line)) for what, line in commands]
    if not comparison.training_logs and any(
        "learned" in text for texts in comparison.approximations.values() for text in texts or ()
    ):
        train = f"{shlex.join(['trivium', 'train', task])}, then the command that it prints at its end"
        listed.append(("The learning curve of a policy, from the log beside it", train))
    law = next((name for name in comparison.runs if comparison.proved.get(name) is not None), None)
    if law is not None and comparison.task.truth is None:  # the command is about the nominal plant
        verify = shlex.join(["trivium", "verify", task, "--controller", sources.get(law, law)])
        listed.append((f"A larger proof for {law}, with its certificate", verify))
    items = [element("li", f"{what}: ", element("code", line)) for what, line in listed]
    return element("ul", items)


def _without(command: Sequence[str], options: Sequence[str]) -> list[str]:
    """A command line without some options and their one value."""
    parts, skips = list[str](), False
    for part in command:
        is_option = part.partition("=")[0] in options
        if not skips and not is_option:
            parts.append(part)
        skips = is_option and "=" not in part
    return parts


def _change(comparison: ComparisonData) -> str | None:
    """A parameter of the true plant with a different valid value; None if the true plant already differs."""
    plant = comparison.task.plant
    if comparison.task.truth is not None:
        return None
    for name, value in plant.parameters.items():
        changed = float(f"{1.2 * value:.4g}")
        with suppress(TriviumError):
            plant.with_parameters({name: changed})
            if changed != value:
                return f"{name}={changed:.4g}"
    return None
