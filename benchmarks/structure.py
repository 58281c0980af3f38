"""Is the code easy to follow: do files import each other in circles, and how many files does a call visit?

    python -m benchmarks.structure

Prints the import circles of the four packages, and for five calls the number of distinct files of the project in which
a function ran and how often the call went from one file to another. Ends with one line of JSON. Imports count wherever
they stand, also inside functions and for type checkers.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

__all__ = ["circles", "import_graph", "visits"]

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("systems", "ctrl", "mpc", "safe_rl")


def import_graph(root: Path, packages: tuple[str, ...]) -> dict[str, set[str]]:
    """The modules that each module of the packages imports.

    Args:
        root: the folder that holds the packages.
        packages: their names.
    """
    files = {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for package in packages
        for path in (root / package).rglob("*.py")
    }
    return {name: _imports(name, path, files) for name, path in files.items()}


def _imports(name: str, path: Path, files: Mapping[str, Path]) -> set[str]:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module in files:
            parts = {f"{node.module}.{alias.name}" for alias in node.names}
            imported |= parts & set(files) or {node.module}
        elif isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names} & set(files)
    return imported - {name}


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, directly or through others in the group."""
    reach = {name: _reachable(graph, name) for name in graph}
    groups = {frozenset(b for b in reach[a] if a in reach[b]) for a in graph if a in reach[a]}
    return sorted(sorted(group) for group in groups)


def _reachable(graph: Mapping[str, set[str]], start: str) -> set[str]:
    reached: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting.extend(graph[name])
    return reached


def visits(call: Callable[[], Any]) -> tuple[list[str], int]:
    """The files of the packages in which functions run during a call, and the number of passages from one to another.

    Args:
        call: without arguments.
    """
    files: list[str] = []

    def profile(frame: FrameType, event: str, _: Any) -> None:
        if event in ("call", "return"):
            here = frame if event == "call" else frame.f_back
            path = Path(here.f_code.co_filename) if here is not None else ROOT
            if path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[:1] and path.suffix == ".py":
                name = path.relative_to(ROOT)
                if name.parts[0] in PACKAGES and (not files or files[-1] != name.as_posix()):
                    files.append(name.as_posix())

    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
    return sorted(set(files)), max(0, len(files) - 1)


def calls() -> dict[str, Callable[[], Any]]:
    """Five calls, each prepared so that it alone is counted."""
    from ctrl import LQR, simulate
    from ctrl.certify import Effort, certify, riccati
    from mpc import LinearMPC
    from safe_rl import DSACT, DSACTSettings
    from systems.library import cartpole, double_integrator, pendulum

    task, fresh, upright = double_integrator(), double_integrator(), pendulum()
    controller, law, V = LinearMPC(task), LQR(upright).law, riccati(upright)
    one = dataclasses.replace(task, steps=1)
    regulator, x = LQR(task), task.initial.sample(task.plant.state, _generator(), (1,))
    learner = DSACT(cartpole(), seed=0, settings=DSACTSettings(hidden=(8, 8), batch_size=16))
    learner.learn(updates=2, progress=False)
    batch = learner.buffer.sample(16, learner.generator)
    return {
        "LinearMPC.__init__": lambda: LinearMPC(fresh),
        "LinearMPC.step": lambda: controller.step(x[0], 0),
        "certify": lambda: certify(upright, law, V, level=1e-3, budget=Effort(seconds=20)),
        "update of DSACT": lambda: learner.update(batch),
        "sample of simulate": lambda: simulate(one, regulator, x),
    }


def _generator() -> Any:
    import numpy as np

    return np.random.default_rng(0)


def main() -> None:
    found = circles(import_graph(ROOT, PACKAGES))
    for circle in found:
        print("circle:", ", ".join(circle))
    counts = {}
    for name, call in calls().items():
        files, passages = visits(call)
        counts[name] = {"files": len(files), "passages": passages}
        print(f"{name}: {len(files)} files, {passages} passages between files")
        print("   ", ", ".join(files))
    print(json.dumps({"circles": len(found), "calls": counts}))


if __name__ == "__main__":
    main()
