"""Results of checks, with explanations and fixes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from systems import TriviumError

__all__ = ["Check", "CheckFailed", "Objection", "Report", "attempt"]


class CheckFailed(TriviumError, ValueError):
    """A check failed; the message lists which, why and how to fix it."""


class Objection(Exception):
    """Raised inside a check to say what is wrong."""


@final
@dataclass(frozen=True)
class Check:
    """One question and its answer.

    Args:
        name: the requirement, in words.
        passed: whether it is satisfied.
        explanation: what is wrong, why, and how to fix it, or what was measured; default: none.
        warning: a failure is worth knowing but forbids nothing; default: False.
    """

    name: str
    passed: bool
    explanation: str = ""
    warning: bool = False

    def __str__(self) -> str:
        mark = "ok     " if self.passed else "warning" if self.warning else "FAILED "
        return f"{mark}  {self.name}" + (f": {self.explanation}" if self.explanation else "")


@final
@dataclass(frozen=True)
class Report:
    """All checks of one object; ``print`` it, or call :meth:`raise_if_failed`.

    Args:
        subject: the object, in words.
        checks: in the order in which they ran.
    """

    subject: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed; warnings do not count."""
        return not self.failures

    @property
    def failures(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.passed and not check.warning)

    @property
    def warnings(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.passed and check.warning)

    def __str__(self) -> str:
        warned = f"{len(self.warnings)} warning{'s' * (len(self.warnings) != 1)}"
        counts = f"{len(self.checks)} checks, {len(self.failures)} failed, {warned}"
        return "\n".join([f"{self.subject}: {counts}", *(f"  {check}" for check in self.checks)])

    def raise_if_failed(self) -> None:
        """Raises :class:`CheckFailed` with every failure, if there is any."""
        if not self.passed:
            raise CheckFailed("\n".join([f"{self.subject}:", *(f"  {check}" for check in self.failures)]))


def attempt(name: str, test: Callable[[], str | None], fix: str = "", warning: bool = False) -> Check:
    """Runs one test, which fails by raising.

    Args:
        name: the contract, in words.
        test: returns an explanation of its success, or None.
        fix: how to fix a failure; default: not said.
        warning: whether a failure forbids nothing; default: False.
    """
    try:
        return Check(name, True, test() or "")
    except Objection as objection:
        why = str(objection)
    except Exception as error:  # the object under test may do anything
        why = f"{type(error).__name__}: {error}"
    return Check(name, False, f"{why}; {fix}" if fix else why, warning)
