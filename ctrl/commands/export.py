"""`trivium export`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ctrl.commands.misuse import Misuse

__all__ = ["Export"]


@dataclass(frozen=True)
class Export:
    """Write a controller as a self-contained C99 project with a test; it uses no heap and no library except <math.h>.

    For example:
      trivium export cartpole --controller lqr --to firmware/cartpole
      trivium export double-integrator --controller linear-mpc --to firmware/mpc --name axis
      trivium export cartpole --controller runs/mine/dsact.policy --to firmware/policy

    Exit status: 0 written; 2 misuse, or a controller that cannot be exported to C.
    """

    task: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TASK")]
    """Name of a task, or path/to/file.py:MyTask, or module:MyTask."""
    to: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder for the project; existing files with the same names are replaced."""
    controller: Annotated[str, tyro.conf.arg(metavar="NAME")] = "lqr"
    """A controller: a name, path/to/file.py:MyController, or a trained policy's file."""
    name: str = ""
    """Prefix of all identifiers in the C code; default: the names of task and controller."""
    samples: int | None = None
    """Length of the tables of a moving reference, whose last rows are held afterwards; default: the run's samples."""

    def run(self) -> int:
        from ctrl.discovery import load, load_task
        from ctrl.export import export

        if self.samples is not None and self.samples < 1:
            raise Misuse(f"--samples {self.samples}; expected at least 1")
        controller = load("trivium.controllers", self.controller)(load_task(self.task))
        folder = export(controller, self.to, self.name, self.samples)
        print(f"written: {folder}\nbuild and test it: cd {folder} && cmake -S . -B build && cmake --build build && "
              "ctest --test-dir build")  # fmt: skip
        return 0
