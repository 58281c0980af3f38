"""`trivium verify`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ctrl.commands.misuse import Misuse, short_name, tell

__all__ = ["PROOF_SECONDS", "Verify"]

PROOF_SECONDS = 60.0
"""Default time limit of a proof, in every command."""


@dataclass(frozen=True)
class Verify:
    """Prove a region of attraction of a controller on a task and write the certificate; or re-verify a certificate from
    its file.

    For example:
      trivium verify pendulum --controller lqr
      trivium verify path-tracking --degree 6 --out certificates/path.json
      trivium verify pendulum --disturbed
      trivium verify --check certificates/path.json
      trivium verify --check certificates/mass.json mass.py:task

    Exit status: 0 proved, or re-verified; 1 not proved; 2 misuse, or a file that is not a certificate.
    """

    task: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="TASK")] = None
    """Name of a task, or path/to/file.py:MyTask, or module:MyTask. Optional with --check for tasks of the
    library; your own task is imported only if you name it here."""
    controller: Annotated[str, tyro.conf.arg(metavar="NAME")] = "lqr"
    """A controller with a control law: a name, path/to/file.py:MyController, or a trained policy's file."""
    degree: int | None = None
    """Also fit a polynomial Lyapunov function of this degree, and keep the larger proved region."""
    continuous: bool = False
    """Evaluate the control law continuously instead of once per sample."""
    disturbed: bool = False
    """Prove the claim for all disturbances in the support of the task's distribution, which must be bounded."""
    seconds: float | None = None
    """Time limit of each proof and Lyapunov candidate, default: 60; with --check, of the check, default: 25."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """File to write the certificate to, overwriting it; default: a new file runs/TASK-CONTROLLER.certificate.json, with
    degree, continuous and disturbed in its name if set."""
    check: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Certificate to re-verify without a search, and to audit at random points in a second arithmetic. Nothing in
    the file is executed or imported."""
    points: int = 500
    """Number of random points of the audit."""

    def run(self) -> int:
        if self.seconds is not None and not self.seconds > 0:
            raise Misuse(f"--seconds {self.seconds:g}; expected more than 0")
        if self.check is not None:
            return self._verify_again(self.check)
        if self.task is None:
            raise Misuse("give either a TASK for a proof, or --check FILE")
        if self.degree is not None and self.degree < 2:
            raise Misuse(f"--degree {self.degree}; a Lyapunov function needs 2 or more")
        return self._prove(self.task)

    def _verify_again(self, path: Path) -> int:
        from ctrl.commands.proofs import CHECK_SECONDS, verify_again
        from ctrl.discovery import load_task

        if self.points < 0:
            raise Misuse(f"--points {self.points}; expected at least 0")
        task = None if self.task is None else load_task(self.task)
        return 0 if verify_again(path, self.points, task, self.seconds or CHECK_SECONDS) else 1

    def _prove(self, name: str) -> int:
        from ctrl.certify.files.content import law_data
        from ctrl.certify.files.file import save
        from ctrl.commands.proofs import best_certificate, law_of_controller
        from ctrl.discovery import load, load_task
        from systems.files import kept, locked, locked_new, probe

        task = load_task(name)
        law = law_of_controller(load("trivium.controllers", self.controller)(task), self.controller)
        law_data(
            law
        )  # what cannot be stored in a file must show before the work, and so must a place that takes no file
        file = f"{task.name}-{short_name(self.controller)}{self._asked}.certificate.json"
        with locked_new(Path("runs") / file) if self.out is None else locked(self.out.with_suffix(".json")) as place:
            probe(place)
            certificate, lines = best_certificate(
                task, law, self.seconds or PROOF_SECONDS, self.degree, self.continuous, self.disturbed
            )
            try:
                print(certificate, lines, sep="\n")
                if task.constraints:
                    named = ", ".join(f"'{constraint.name}'" for constraint in task.constraints)
                    print(f"not in the claim: constraints ({named}); the task's domain would be")
                sys.stdout.flush()
            finally:  # whatever became of the output
                if certificate.is_proved:
                    result = kept(place, lambda path: save(certificate, task, law, name, path))
        if not certificate.is_proved:
            return 1
        tell(result)
        return 0

    @property
    def _asked(self) -> str:
        """The options that tell claims about one controller apart, for the names of their files."""
        parts = {f"degree{self.degree}": self.degree, "continuous": self.continuous, "disturbed": self.disturbed}
        return "".join(f"-{part}" for part, asked in parts.items() if asked)
