"""The plan of a comparison, the settings on which its runs depend, and an estimate of their duration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ctrl.cells import Engine, identity
from ctrl.cells.identity import digest
from ctrl.cells.settings import versions
from ctrl.comparison.draws import Draws
from ctrl.comparison.progress import about, duration
from systems import Task
from systems.describe import content
from systems.true_plant import difference

__all__ = ["estimate", "plan", "settings"]


def settings(
    task: Task, seeds: tuple[int, ...], draws: Draws, proof: Callable[..., float | None] | None
) -> dict[str, Any]:
    """Everything except controllers on which the runs depend, by the names used in messages."""
    return {
        "kind": "comparison of Trivium, format 1",
        "task": f"{task.name} ({content(task)[:16]})",
        "plant": difference(task),
        "seeds": list(seeds),
        "starts": len(draws.starts),
        "initial states": _digest(draws.starts),
        "disturbances": _digest(draws.disturbances),
        "noise": "none" if draws.noise is None else _digest(draws.noise),
        "parameters": "the plant's own" if draws.parameters is None else _digest(draws.parameters),
        "proof": "none" if proof is None else identity(proof) or "of the caller",
        "versions": versions(),
    }


def _digest(array: np.ndarray) -> str:
    return digest(np.ascontiguousarray(array).tobytes())[:16]


def plan(task: Task, names: Sequence[str], x0: np.ndarray, engine: Engine, out: str | Path | None) -> str:
    """A one-line summary of the plan of a comparison."""
    runs = f"{len(x0)} run{'s' if len(x0) > 1 else ''} of {task.steps} steps each"
    at_once = f"{engine.workers} process{'es' if engine.workers > 1 else ''}"
    place = "" if out is None else f"; finished runs are stored in {out}"
    return f"comparing {', '.join(names)} on {task.name}: {runs}, {at_once}{place}"


def estimate(seconds: Mapping[str, float], engine: Engine, is_proof_tried: bool) -> str:
    """About how long the rest will take, in one line."""
    each = {name: value / engine.workers for name, value in seconds.items()}
    total = sum(each.values())
    longest = [f"{name} {duration(value)}" for name, value in each.items() if value > 0.2 * total and value >= 1]
    slowest = f" ({', '.join(longest)})" if total > 2 and longest else ""
    return f"{about(total)} to go{slowest}{', plus the proofs' if is_proof_tried else ''}; Ctrl-C stops"
