"""Modes, transitions, and the hybrid system that they make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

from systems.arguments import expect_arguments, expect_name
from systems.errors import InvalidValue, UnknownName, expect
from systems.hybrid.guards import Guard
from systems.plant import Plant
from systems.signals import Vector

__all__ = ["HybridSystem", "Mode", "Transition"]


@final
@dataclass(frozen=True)
class Mode:
    """One plant of a hybrid system, by name.

    Args:
        name: of the mode.
        plant: the dynamics while the system is in this mode.

    Raises:
        InvalidValue: a name that is not text, or something else than a plant.
    """

    name: str
    plant: Plant

    def __post_init__(self) -> None:
        expect_name(self.name, "the name of a mode")
        expect(self.plant, Plant, f"mode '{self.name}': plant", "such as Mode('flight', Ball())")


def unchanged(x: Vector) -> Any:
    """The reset that keeps the state."""
    return x.column


@final
@dataclass(frozen=True)
class Transition:
    """A change of mode: taken where the guard is 0 or below and does not increase.

    That it must not increase makes resets onto the guard's border possible: a ball that leaves the ground has the
    height 0, but rises. A guard may start below 0; if it decreases, the transition is taken at once.

    Args:
        source: name of the mode that it leaves.
        target: name of the mode that it enters.
        guard: ``lambda x: x.height``, an expression of the state of the source; positive while the mode may be kept.
        reset: ``lambda x: (x.height, -0.8 * x.speed)``, the state of the target, one expression per state; default: the
            same state.

    Raises:
        InvalidValue: a name that is not text, or a guard or reset that is not a function of one argument.
    """

    source: str
    target: str
    guard: Callable[[Vector], Any]
    reset: Callable[[Vector], Any] = unchanged

    def __post_init__(self) -> None:
        expect_name(self.source, "the source of a transition")
        expect_name(self.target, "the target of a transition")
        for what, function in (("guard", self.guard), ("reset", self.reset)):
            expect_arguments(function, "x", f"{what} of the transition {self}")

    def __str__(self) -> str:
        return f"{self.source} -> {self.target}"


@final
@dataclass(frozen=True)
class HybridSystem:
    """Modes with their transitions (Alur et al., 1995; Goebel, Sanfelice & Teel, 2012).

    Dynamics, guards and resets are written once, here; the simulation with located events, the sampled plant of
    controllers and the proofs of single modes are derived from this text. Of several transitions that are due at the
    same instant the first in this order is taken. All modes have the same inputs and disturbances, since a controller
    has one output; their states may differ.

    Args:
        modes: all of them.
        transitions: between them; default: none.

    Raises:
        InvalidValue: no mode, two of one name, inputs or disturbances that differ, modes that mix continuous and
            discrete time, a guard or reset that does not fit its modes.
        UnknownName: a transition from or to a mode that is not given.
    """

    modes: tuple[Mode, ...]
    transitions: tuple[Transition, ...] = ()

    def __post_init__(self) -> None:
        for field, kind, hint in (
            ("modes", Mode, "such as (Mode('flight', Ball()),)"),
            ("transitions", Transition, "such as (Transition('flight', 'flight', guard, reset),)"),
        ):
            given = getattr(self, field)
            expect(given, (list, tuple), f"HybridSystem: {field}", hint)
            for entry in given:
                expect(entry, kind, f"HybridSystem: an entry of {field}", hint)
            object.__setattr__(self, field, tuple(given))
        if not self.modes:
            raise InvalidValue("a hybrid system without modes; give at least one, such as Mode('flight', Ball())")
        names = [mode.name for mode in self.modes]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InvalidValue(f"mode names given twice: {', '.join(twice)}; every mode needs a name of its own")
        first = self.modes[0]
        for mode in self.modes[1:]:
            self._expect_alike(first, mode)
        for transition in self.transitions:
            for name in (transition.source, transition.target):
                if name not in names:
                    raise UnknownName.among(name, names, f"mode (transition {transition})")
        _ = self.guards

    def _expect_alike(self, first: Mode, mode: Mode) -> None:
        for role in ("input", "disturbance"):
            theirs, ours = getattr(first.plant, role), getattr(mode.plant, role)
            if theirs != ours:
                raise InvalidValue(
                    f"mode '{mode.name}' has the {role} ({', '.join(map(str, ours))}), mode '{first.name}' "
                    f"({', '.join(map(str, theirs))}); all modes need the same, in the same order: let a plant ignore "
                    "what does not act on it"
                )
        if mode.plant.is_discrete != first.plant.is_discrete:
            raise InvalidValue(
                f"modes '{first.name}' and '{mode.name}' are in continuous and in discrete time; discretise the "
                "continuous plant, or write both by ode(x, u, w)"
            )

    def mode(self, name: str) -> Mode:
        """The mode called ``name``.

        Raises:
            UnknownName: no mode has this name.
        """
        return self.modes[self.index(name)]

    def index(self, name: str) -> int:
        """Position of the mode called ``name``.

        Raises:
            UnknownName: no mode has this name.
        """
        names = [mode.name for mode in self.modes]
        if name not in names:
            raise UnknownName.among(name, names, "mode")
        return names.index(name)

    @cached_property
    def guards(self) -> dict[str, tuple[Guard, ...]]:
        """The transitions out of each mode as CasADi functions, in order."""
        return {
            mode.name: tuple(
                Guard.of(mode.plant, self.mode(t.target).plant, t.target, t.guard, t.reset, str(t))
                for t in self.transitions
                if t.source == mode.name
            )
            for mode in self.modes
        }
