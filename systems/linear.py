"""Linear plants from matrices, from ``control.StateSpace``, or from anything that has A and B."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np

from systems.arguments import expect_array, expect_number, expect_pair
from systems.errors import DimensionMismatch, InvalidValue, expect
from systems.plant import Plant
from systems.signals import Signals, Vector, signals

__all__ = ["LinearPlant", "linear_plant"]


@dataclass(frozen=True, eq=False)
class LinearPlant(Plant):
    """x' = A x + B u + E w + c in continuous time (``dt`` None), or x+ = the same with samples ``dt`` seconds apart.

    Args:
        A: (n, n).
        B: (n, m).
        E: (n, q); default: no disturbance.
        c: (n,); default: zero.
        dt: seconds between samples of a discrete plant, None for continuous time.
        state, input, disturbance: names and units; default: x1, x2, ..., u1, ... and w1, ...
        input_limits: one (lower, upper) per input, empty for none.

    Raises:
        DimensionMismatch: shapes that do not fit.
        InvalidValue: entries that are not finite, a dt that is not positive.
    """

    A: np.ndarray
    B: np.ndarray
    E: np.ndarray = None  # type: ignore[assignment]  # the fields left out are filled in below
    c: np.ndarray = None  # type: ignore[assignment]
    dt: float | None = None
    state: Signals = None  # type: ignore[assignment]
    input: Signals = None  # type: ignore[assignment]
    disturbance: Signals = None  # type: ignore[assignment]
    input_limits: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        a = _matrix(self.A, "A", rows=None)
        n = a.shape[0]
        if a.shape != (n, n):
            raise DimensionMismatch(f"A has shape {a.shape}; expected a square matrix")
        b = _matrix(self.B, "B", rows=n)
        e = np.zeros((n, 0)) if self.E is None else _matrix(self.E, "E", rows=n)
        c = np.zeros(n) if self.c is None else _constant(self.c, n)
        if self.dt is not None:
            expect_number(self.dt, "dt", above=0.0, hint="seconds between samples, or None for continuous time")
        for name, value in {"A": a, "B": b, "E": e, "c": c}.items():
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        sizes = {"state": ("x", n), "input": ("u", b.shape[1]), "disturbance": ("w", e.shape[1])}
        for role, (letter, size) in sizes.items():
            declared = getattr(self, role)
            if declared is None:
                declared = signals(*[f"{letter}{i + 1}" for i in range(size)])
                object.__setattr__(self, role, declared)
            expect(declared, Signals, f"{role} of a LinearPlant", 'such as signals("position [m]")')
            if len(declared) != size:
                raise DimensionMismatch(
                    f"{len(declared)} {role} signals declared ({', '.join(declared.names)}); the matrices have {size}"
                )
        expect(self.input_limits, (list, tuple), "input_limits", "one pair (lower, upper) per input")
        for i, limit in enumerate(self.input_limits):
            expect_pair(limit, f"input_limits[{i}]")
        object.__setattr__(self, "input_limits", tuple(map(tuple, self.input_limits)))
        if self.input_limits and len(self.input_limits) != b.shape[1]:
            raise DimensionMismatch(
                f"{len(self.input_limits)} input limits given; expected one (lower, upper) per input: {b.shape[1]}"
            )
        super().__post_init__()

    @property
    def is_discrete(self) -> bool:
        return self.dt is not None

    @property
    def parameters(self) -> dict[str, Any]:
        return {}  # matrices are not scalar parameters, and dt is not physics

    def _affine(self, x: Vector, u: Vector, w: Vector) -> Any:
        return ca.SX(self.A) @ x.column + ca.SX(self.B) @ u.column + ca.SX(self.E) @ w.column + ca.SX(self.c)

    ode = _affine
    step = _affine

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return dict(zip(self.input.names, self.input_limits, strict=bool(self.input_limits)))

    def _content(self) -> tuple[Any, ...]:
        matrices = tuple((m.shape, m.tobytes()) for m in (self.A, self.B, self.E, self.c))
        return (matrices, self.dt, self.state, self.input, self.disturbance, self.input_limits)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LinearPlant) and self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self._content())

    def to_control(self) -> Any:
        """The undisturbed plant as ``control.StateSpace`` with full state output; needs the package ``control``."""
        import control

        n, m = self.B.shape
        return control.ss(
            self.A, self.B, np.eye(n), np.zeros((n, m)), self.dt or 0,
            inputs=list(self.input.names), states=list(self.state.names), outputs=list(self.state.names),
        )  # fmt: skip


def linear_plant(system: Any) -> LinearPlant:
    """A plant from ``control.StateSpace``, ``scipy.signal.StateSpace`` or anything else with A and B (and maybe dt).

    Args:
        system: an object with matrices A and B, and optionally dt in seconds (0 or None for continuous time), and
            ``state_labels`` and ``input_labels``, which become the names of the signals.

    Raises:
        InvalidValue: the object has no A and B.
    """
    if not (hasattr(system, "A") and hasattr(system, "B")):
        raise InvalidValue(
            f"{type(system).__name__} has no A and B; give a state-space model, or LinearPlant(A, B) from arrays"
        )
    dt = getattr(system, "dt", None)
    if dt is True:
        raise InvalidValue("the discrete model does not say its sample time (dt=True); set dt in seconds")
    if dt is not None:
        dt = expect_number(dt, "dt of the model", least=0.0, hint="0 or None for continuous time")

    def labels(kind: str) -> Signals | None:
        names = [str(name) for name in getattr(system, f"{kind}_labels", None) or ()]
        return signals(*names) if names and all(name.isidentifier() for name in names) else None

    state, inputs = labels("state"), labels("input")
    if state and inputs and set(state.names) & set(inputs.names):
        state = inputs = None
    return LinearPlant(
        A=expect_array(system.A, "A of the model"),
        B=expect_array(system.B, "B of the model"),
        dt=float(dt) if dt else None,
        state=state,  # type: ignore[arg-type]
        input=inputs,  # type: ignore[arg-type]
    )


def _matrix(value: Any, name: str, rows: int | None) -> np.ndarray:
    array = expect_array(value, name)
    if array.ndim != 2 or (rows is not None and array.shape[0] != rows):
        expected = f"({rows}, columns)" if rows is not None else "(n, n)"
        raise DimensionMismatch(
            f"{name} has shape {array.shape}; expected {expected}; write a column as [[1.0], [2.0]]"
        )
    return array


def _constant(value: Any, n: int) -> np.ndarray:
    array = expect_array(value, "c")
    if array.shape not in ((n,), (n, 1)):
        raise DimensionMismatch(f"c has shape {array.shape}; expected ({n},), one number per state")
    return array.reshape(n)
