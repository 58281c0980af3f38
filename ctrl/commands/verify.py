"""`trivium verify`."""

from __future__ import annotations

import math
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from ctrl.commands.misuse import Misuse, short_name, tell

if TYPE_CHECKING:
    from systems import Task

__all__ = ["PROOF_SECONDS", "Verify"]

PROOF_SECONDS = 60.0
"""Default time limit of a proof, in every command."""


@dataclass(frozen=True)
class Verify:
    """Prove a region of attraction of a controller on a task and write the certificate; or re-verify a certificate from
    its file; or, for a controller without a law in closed form, report what random runs show.

    For example:
      trivium verify pendulum --controller lqr
      trivium verify path-tracking --degree 6 --out certificates/path.json
      trivium verify pendulum --disturbed
      trivium verify pendulum --true mass=0.2
      trivium verify double-integrator --within-constraints --survives push
      trivium verify cartpole --controller nonlinear-mpc --samples 500 --at-least 0.95
      trivium verify --check certificates/path.json
      trivium verify --check certificates/mass.json mass.py:task

    Exit status: 0 proved, or re-verified, or at least --at-least with 95 % confidence; 1 not shown, as always with
    --samples alone; 2 misuse, or a file that is not a certificate.
    """

    task: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="TASK")] = None
    """Name of a task, or path/to/file.py:MyTask, or module:MyTask. Optional with --check for tasks of the
    library; your own task is imported only if you name it here."""
    controller: Annotated[str, tyro.conf.arg(metavar="NAME")] = "lqr"
    """A controller with a control law (with --samples, any controller): a name, path/to/file.py:MyController, or a
    trained policy's file."""
    true: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE ...")] = ()
    """Parameters of the true plant that differ from the nominal ones, which controllers know. The claim is about the
    true plant, for all parameters that the task draws for every run."""
    nominal: bool = False
    """Prove the claim for the nominal plant instead."""
    degree: int | None = None
    """Also fit a polynomial Lyapunov function of this degree, and keep the larger proved region."""
    continuous: bool = False
    """Evaluate the control law continuously instead of once per sample."""
    disturbed: bool = False
    """Prove the claim for all disturbances in the support of the task's distribution, which must be bounded."""
    within_constraints: bool = False
    """Lower the level until the set lies within the domain and the hard constraints of the task."""
    time_constant: float | None = None
    """Seconds in which V must decrease to 1/e of its value."""
    survives: Annotated[str | None, tyro.conf.arg(metavar="SIGNAL")] = None
    """Find the largest bounds on a disturbance under which no trajectory leaves the set, and the same for half its
    level: the name of a signal, or 'all' for the scaled support of the task's distribution."""
    samples: int | None = None
    """Number of random runs from the task's initial distribution, under its disturbances. They bound the probability
    that a run keeps the hard constraints, stays in the domain and arrives, but prove nothing."""
    at_least: float | None = None
    """With --samples: probability that must be shown with 95 % confidence for exit status 0."""
    seed: int = 0
    """Seed of the random runs."""
    seconds: float | None = None
    """Time limit of each proof and Lyapunov candidate (default: 60) or, with --check, of the check (default: 25)."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """File to which the certificate is written, replacing an existing one; default: a new file
    runs/TASK-CONTROLLER.certificate.json, with the options of the claim in its name."""
    check: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Certificate to re-verify without a search, and to audit at random points in a second arithmetic. Nothing in
    the file is executed or imported."""
    points: int = 500
    """Number of random points of the audit."""

    def run(self) -> int:
        if self.seconds is not None and not self.seconds > 0:
            raise Misuse(f"--seconds {self.seconds:g}; expected more than 0")
        if self.nominal and self.true:
            raise Misuse("--nominal --true; give one of the two: a claim is about one plant")
        if self.check is not None:
            return self._verify_again(self.check)
        if self.task is None:
            raise Misuse("give either a TASK for a proof, or --check FILE")
        if self.degree is not None and self.degree < 2:
            raise Misuse(f"--degree {self.degree}; a Lyapunov function needs 2 or more")
        if self.time_constant is not None and not 0 < self.time_constant < math.inf:
            raise Misuse(f"--time-constant {self.time_constant:g}; expected seconds, more than 0")
        if self.samples is not None:
            return self._run(self.task, self.samples)
        if self.at_least is not None:
            raise Misuse("--at-least is of --samples N; a proof holds for every state of its set")
        return self._prove(self.task)

    def _run(self, name: str, samples: int) -> int:
        from ctrl.certify.runs import claim_by_runs
        from ctrl.discovery import load

        asked = ("degree", "continuous", "disturbed", "within_constraints", "time_constant", "survives", "out")
        if given := [f"--{option.replace('_', '-')}" for option in asked if getattr(self, option)]:
            raise Misuse(f"{', '.join(given)}: of proofs, and --samples proves nothing")
        if samples < 1:
            raise Misuse(f"--samples {samples}; expected at least 1")
        if self.at_least is not None and not 0 < self.at_least < 1:
            raise Misuse(f"--at-least {self.at_least:g}; expected a probability between 0 and 1, such as 0.95")
        task, short = self._announced(name), short_name(self.controller)
        claim = claim_by_runs(task, load("trivium.controllers", self.controller), samples, self.seed, name=short)
        print(claim)
        if self.at_least is None:
            return 1
        is_shown = claim.whole.at_least >= self.at_least
        print(f"{'shown' if is_shown else 'NOT SHOWN'}: at least {self.at_least:g} with 95 % confidence")
        return 0 if is_shown else 1

    def _verify_again(self, path: Path) -> int:
        from ctrl.commands.proofs import CHECK_SECONDS, verify_again
        from ctrl.discovery import load_task

        if self.points < 0:
            raise Misuse(f"--points {self.points}; expected at least 0")
        if self.task is None and (self.nominal or self.true):
            raise Misuse("--check with --nominal or --true: they change a TASK; name the one that they were given with")
        task = None if self.task is None else self._changed(load_task(self.task))
        return 0 if verify_again(path, self.points, task, self.seconds or CHECK_SECONDS) else 1

    def _prove(self, name: str) -> int:
        from ctrl.certify.files.content import law_data
        from ctrl.certify.files.file import save
        from ctrl.commands.claims import constraint_lines, disturbance_lines, lowered, unit_disturbance
        from ctrl.commands.proofs import best_certificate, law_of_controller, reach_line
        from ctrl.discovery import load
        from systems.files import kept, locked, locked_new, probe

        task = self._announced(name)
        law = law_of_controller(load("trivium.controllers", self.controller)(task), self.controller)
        unit = None if self.survives is None else unit_disturbance(task, self.survives)
        # What cannot be stored in a file must show before the work, and so must a place that takes no file.
        law_data(law)
        file = f"{task.name}-{short_name(self.controller)}{self._asked}.certificate.json"
        with locked_new(Path("runs") / file) if self.out is None else locked(self.out.with_suffix(".json")) as place:
            probe(place)
            seconds = self.seconds or PROOF_SECONDS
            kappa = self._kappa(0.0 if self.continuous else task.dt)
            certificate, lines = best_certificate(
                task, law, seconds, self.degree, self.continuous, self.disturbed, kappa
            )
            if self.time_constant is not None and certificate.is_proved and certificate.inner >= certificate.level:
                print(certificate, lines, sep="\n")
                print("NOT SHOWN: a time constant, as trajectories end in this very set; ask for a longer one")
                return 1
            if self.within_constraints and certificate.is_proved:
                part, lines = lowered(certificate, lines, seconds)
                if part is None:
                    print(certificate, lines, sep="\n")
                    return 1
                certificate = part
            try:
                print(certificate, lines, sep="\n")
                if certificate.is_proved:
                    print(reach_line(certificate))
                print(constraint_lines(certificate, may_lower=not self.within_constraints))
                if certificate.is_proved and unit is not None:
                    print(disturbance_lines(certificate, unit, seconds))
                sys.stdout.flush()
            finally:  # whatever became of the output
                if certificate.is_proved:
                    result = kept(place, lambda path: save(certificate, task, law, name, path))
        if not certificate.is_proved:
            return 1
        tell(result)
        if self.nominal or self.true:
            options = ["--nominal"] if self.nominal else ["--true", *self.true]
            command = ["trivium", "verify", "--check", str(result.path), name, *options]
            print(f"to re-verify: {shlex.join(command)}")
        return 0

    def _announced(self, name: str) -> Task:
        """The task with the plant that was asked for; a line says which if the task itself has two."""
        from ctrl.commands.true_plant import plant_line
        from ctrl.discovery import load_task

        task = load_task(name)
        if line := "" if self.true else plant_line(task, self.nominal):
            print(line, flush=True)
        return self._changed(task)

    def _changed(self, task: Task) -> Task:
        from ctrl.commands.true_plant import nominal, with_true_parameters

        return nominal(task) if self.nominal else with_true_parameters(task, self.true)

    def _kappa(self, dt: float) -> float:
        """The relative decrease of V, per sample (dt > 0) or per second, that the time constant requires."""
        if self.time_constant is None:
            return 0.0
        # A little more, so that rounding does not make the time that is proved the longer one.
        return (1.0 + 1e-9) * (-math.expm1(-dt / self.time_constant) if dt > 0 else 1.0 / self.time_constant)

    @property
    def _asked(self) -> str:
        """The options that distinguish claims about one controller, for the names of their files."""
        parts = {
            f"degree{self.degree}": self.degree,
            "continuous": self.continuous,
            "disturbed": self.disturbed,
            "nominal": self.nominal,
            "-".join(self.true): bool(self.true),
            "within": self.within_constraints,
            f"{self.time_constant or 0:g}s": self.time_constant,
        }
        return "".join(f"-{part}" for part, asked in parts.items() if asked)
