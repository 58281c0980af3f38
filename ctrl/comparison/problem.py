"""The problem that all controllers of a comparison face, in one line."""

from __future__ import annotations

from ctrl.comparison.data import ComparisonData
from systems.true_plant import difference

__all__ = ["problem"]


def problem(comparison: ComparisonData) -> str:
    """Task, steps, starts, seeds and true plant in one line."""
    task, seeds = comparison.task, comparison.seeds
    steps = f"{task.steps} steps of {task.dt:g} s ({task.true_dynamics})"
    seed = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}"
    count = len(comparison.starts)
    return f"{task.name} · {steps} · {count} start{'s' if count != 1 else ''} · {seed} · {difference(task)}"
