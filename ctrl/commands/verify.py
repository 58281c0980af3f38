"""`trivium verify`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ctrl.commands.misuse import Misuse, short_name

__all__ = ["PROOF_SECONDS", "Verify"]

PROOF_SECONDS = 60.0
"""To spend on a proof where nothing else is said, by every command."""


@dataclass(frozen=True)
class Verify:
    """Prove a region of attraction of a controller on a task and write the certificate; or show one again from its
    file.

    For example:
      trivium verify pendulum --controller lqr
      trivium verify path-tracking --degree 6 --out certificates/path.json
      trivium verify pendulum --disturbed
      trivium verify --check certificates/path.json
    """

    task: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="TASK")] = None
    """Name of a task, or path/to/file.py:MyTask, or module:MyTask."""
    controller: Annotated[str, tyro.conf.arg(metavar="NAME")] = "lqr"
    """A controller that has a law in closed form: a name, path/to/file.py:MyController, or a trained policy's file."""
    degree: int | None = None
    """Also fit a polynomial Lyapunov function of this degree, and keep whichever proves more."""
    continuous: bool = False
    """In continuous time, the law answering at every instant, instead of sampled."""
    disturbed: bool = False
    """Under whatever the task's law of disturbances can draw, which must be bounded, instead of undisturbed."""
    seconds: float = PROOF_SECONDS
    """To spend on each proof: of every candidate for a Lyapunov function."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Where to write the certificate; where left out runs/TASK-CONTROLLER.certificate.json, with degree, continuous and
    disturbed in the name where they were asked for."""
    check: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A certificate to show again, without search, and to audit at random points in a second arithmetic."""
    points: int = 500
    """Of the audit."""

    def run(self) -> int:
        from ctrl.certify.command import law_of, prove, show_again
        from ctrl.certify.files import save
        from ctrl.discovery import load, load_task

        if (self.task is None) == (self.check is None):
            raise Misuse("give either a TASK to prove something of, or --check FILE")
        if self.check is not None:
            return 0 if show_again(self.check, self.points) else 1
        assert self.task is not None
        if self.degree is not None and self.degree < 2:
            raise Misuse(f"--degree {self.degree}; a Lyapunov function needs 2 or more")
        if not self.seconds > 0:
            raise Misuse(f"--seconds {self.seconds:g}; expected more than 0")
        task = load_task(self.task)
        law = law_of(load("trivium.controllers", self.controller)(task), self.controller)
        certificate, sampled = prove(task, law, self.seconds, self.degree, self.continuous, self.disturbed)
        saved = None
        if certificate.is_proved:  # written first, whatever becomes of the output
            name = f"{task.name}-{short_name(self.controller)}{self._asked}.certificate.json"
            saved = save(certificate, task, law, self.task, self.out or Path("runs") / name)
        print(certificate)
        print(sampled)
        if task.constraints:
            named = ", ".join(f"'{constraint.name}'" for constraint in task.constraints)
            print(f"not in the claim: constraints ({named}); the task's domain would be")
        if saved is None:
            return 1
        print(f"saved: {saved}")
        return 0

    @property
    def _asked(self) -> str:
        """What tells claims about one controller apart, for their files."""
        parts = {f"degree{self.degree}": self.degree, "continuous": self.continuous, "disturbed": self.disturbed}
        return "".join(f"-{part}" for part, asked in parts.items() if asked)
