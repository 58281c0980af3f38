"""The content of a certificate's file as plain data: arrays, laws, Lyapunov functions, the halvings of a proof.

All input is treated as untrusted: types, sizes and finiteness are checked, names are looked up only in the tables of
this module, and nothing is executed.
"""

from __future__ import annotations

import math
import string
from collections.abc import Mapping
from typing import Any

import numpy as np

from ctrl.certify.claims.subdivision import Subdivision
from ctrl.certify.functions.lyapunov import Lyapunov, QuadraticLyapunov, SymbolicLyapunov
from ctrl.certify.functions.neural import NeuralLyapunov
from ctrl.laws import Expression, Law, Network, Residual, SaturatedLinear
from ctrl.laws.lattice import Lattice, MaxMin
from systems import InvalidValue, Signals
from systems.arithmetic.interval import Interval
from systems.files import shown
from systems.lowering.program_data import from_data, to_data

__all__ = [
    "array_of",
    "fields_of",
    "intervals_of",
    "law_data",
    "law_of",
    "lyapunov_data",
    "lyapunov_of",
    "number_of",
    "plain",
    "proof_data",
    "proof_of",
]

_WEIGHTS = 300_000  # numbers in a network, whose expression is written out for exact evaluation
_NEURAL_WEIGHTS = 30_000  # numbers in a Lyapunov function, whose second derivatives are needed
_PLACES = 500_000  # terms times their longest of a lattice: numbers per state that is looked at
_NODES = 10_000_000  # of the halvings
_DEPTH = 200  # halvings of a box per state
_LEAF, _AXES = ".", string.digits + string.ascii_letters


# ---- writing ----


def plain(value: Any) -> Any:
    """A field of a certificate as JSON data; infinite numbers are strings."""
    match value:
        case None | str() | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else str(float(value))
        case np.ndarray():
            return plain(value.tolist())
        case Signals():
            return [str(signal) for signal in value]
        case Interval():
            return [plain(value.lo), plain(value.hi)]
        case Lyapunov():
            return lyapunov_data(value)
        case Mapping():
            return {str(key): plain(entry) for key, entry in value.items()}
        case list() | tuple():
            return [plain(entry) for entry in value]
    raise InvalidValue(f"an object of type {type(value).__name__} cannot be stored in a certificate's file")


def law_data(law: Law) -> dict[str, Any]:
    """A law in the form read by :func:`law_of`.

    Raises:
        InvalidValue: its type cannot be stored in a file, or it is too large.
    """
    match law:
        case SaturatedLinear():
            data = {"kind": "saturated linear", **_fields(law, "K", "x_ref", "u_ref", "lower", "upper")}
        case Network():
            data = {"kind": "network", **_fields(law, "weights", "biases", "activations")}
        case Residual():
            if not (isinstance(law.base, SaturatedLinear) and isinstance(law.correction, Network)):
                raise InvalidValue(
                    "a Residual cannot be stored in a file unless a Network corrects a SaturatedLinear law"
                )
            parts = {"base": law_data(law.base), "correction": law_data(law.correction)}
            data = {"kind": "residual", **parts, **_fields(law, "lower", "upper")}
        case Lattice():
            pieces = [{"A": plain(f.A), "b": plain(f.b), "terms": plain(f.terms)} for f in law.inputs]
            data = {"kind": "lattice", "inputs": pieces}
        case Expression():
            data = {"kind": "expression", "program": to_data(law.function)}
        case _:
            raise InvalidValue(
                f"a law of type {type(law).__name__} cannot be stored in a file; write it as an Expression"
            )
    law_of(data)  # a law that could not be read again is not written
    return data


def lyapunov_data(V: Lyapunov) -> dict[str, Any]:
    """A Lyapunov function in the form read by :func:`lyapunov_of`.

    Raises:
        InvalidValue: its type cannot be stored in a file, or it is too large.
    """
    centre = plain(V.centre)
    match V:
        case QuadraticLyapunov():
            data = {"kind": "quadratic", "P": plain(V.P), "centre": centre}
        case SymbolicLyapunov():
            data = {"kind": "expression", "program": to_data(V.function), "centre": centre}
        case NeuralLyapunov():
            data = {"kind": "neural", **_fields(V, "weights", "biases", "output", "P"), "centre": centre}
        case _:
            raise InvalidValue(f"a Lyapunov function of type {type(V).__name__} cannot be stored in a file")
    lyapunov_of(data)
    return data


def _fields(thing: Any, *names: str) -> dict[str, Any]:
    return {name: plain(getattr(thing, name)) for name in names}


def proof_data(proof: Subdivision) -> dict[str, Any]:
    """A proof in the form read by :func:`proof_of`.

    Its halvings are one character per box, level by level: the axis along which the box is halved, or a dot if it is
    not halved.
    """
    if len(proof.low) > len(_AXES):
        raise InvalidValue(
            f"a proof in {len(proof.low)} states cannot be stored in a file; expected at most {len(_AXES)}"
        )
    levels, node = [], np.zeros(1, dtype=int)
    while len(node):
        axis = proof.axis[node]
        levels.append(axis)
        halved = node[axis >= 0]
        node = np.stack([proof.left[halved], proof.right[halved]], axis=1).ravel()
    alphabet = np.frombuffer((_AXES + _LEAF).encode(), dtype=np.uint8)  # -1, a leaf, is the last of it
    return {
        **_fields(proof, "T", "core", "low", "high"),
        "halvings": alphabet[np.concatenate(levels)].tobytes().decode(),
    }


# ---- reading ----


def fields_of(data: Any, *names: str) -> list[Any]:
    """The entries of an object with exactly these keys.

    Raises:
        InvalidValue: its keys differ.
    """
    if not isinstance(data, dict) or set(data) != set(names):
        raise InvalidValue(f"{shown(list(data) if isinstance(data, dict) else data)}; expected {', '.join(names)}")
    return [data[name] for name in names]


def number_of(data: Any) -> float:
    """A finite number.

    Raises:
        InvalidValue: it is not.
    """
    if type(data) not in (int, float) or not math.isfinite(data):
        raise InvalidValue(f"{shown(data)}; expected a number")
    return float(data)


def array_of(data: Any, *shape: int | None, finite: bool = True) -> np.ndarray:
    """An array of these sizes, None for any.

    Args:
        finite: whether "inf" and "-inf" are refused; default: True.

    Raises:
        InvalidValue: lists of other lengths, or entries that are not numbers.
    """
    flat, sizes = [data], []
    for size in shape:
        if not all(isinstance(row, list) for row in flat):
            raise InvalidValue(f"{shown(data)}; expected nested lists, {len(shape)} deep")
        length = len(flat[0]) if flat else size or 0
        if any(len(row) != length for row in flat) or size not in (None, length):
            expected = " x ".join("any" if size is None else str(size) for size in shape)
            raise InvalidValue(f"{shown(data)}; expected {expected} numbers")
        flat = [entry for row in flat for entry in row]
        sizes.append(length)
    infinite = {} if finite else {"inf": math.inf, "-inf": -math.inf}
    numbers = [infinite[a] if isinstance(a, str) and a in infinite else number_of(a) for a in flat]
    return np.array(numbers, dtype=float).reshape(sizes)


def intervals_of(data: Any) -> dict[str, tuple[float, float]]:
    """Intervals by name.

    Raises:
        InvalidValue: anything else.
    """
    if not isinstance(data, dict):
        raise InvalidValue(f"{shown(data)}; expected intervals by name")
    return {name: (float(ends[0]), float(ends[1])) for name, ends in ((n, array_of(e, 2)) for n, e in data.items())}


def law_of(data: Any) -> Law:
    """The law of data returned by :func:`law_data`.

    Raises:
        InvalidValue, DimensionMismatch: anything else.
    """
    match data.get("kind") if isinstance(data, dict) else None:
        case "saturated linear":
            _, K, x_ref, u_ref, lower, upper = fields_of(data, "kind", "K", "x_ref", "u_ref", "lower", "upper")
            bounds = (array_of(bound, None, finite=False) for bound in (lower, upper))
            at = array_of(x_ref, None)
            return SaturatedLinear(array_of(K, None, len(at)), at, array_of(u_ref, None), *bounds)
        case "network":
            _, weights, biases, activations = fields_of(data, "kind", "weights", "biases", "activations")
            names = tuple(map(_text_of, _list_of(activations)))
            return Network(*_layers_of(weights, biases, _WEIGHTS), names)  # type: ignore[arg-type]
        case "residual":
            _, base, correction, lower, upper = fields_of(data, "kind", "base", "correction", "lower", "upper")
            kinds = [part.get("kind") if isinstance(part, dict) else None for part in (base, correction)]
            if kinds != ["saturated linear", "network"]:
                raise InvalidValue(f"a residual of {shown(kinds)}; expected a network on a saturated linear law")
            bounds = (array_of(bound, None, finite=False) for bound in (lower, upper))
            return Residual(law_of(base), law_of(correction), *bounds)
        case "lattice":
            inputs = fields_of(data, "kind", "inputs")[1]
            return Lattice(tuple(map(_max_min_of, _list_of(inputs))))
        case "expression":
            return Expression(from_data(fields_of(data, "kind", "program")[1]))
    raise InvalidValue(f"law {shown(data)}; expected a saturated linear law, network, residual, lattice or expression")


def lyapunov_of(data: Any) -> Lyapunov:
    """The Lyapunov function of data returned by :func:`lyapunov_data`.

    Raises:
        InvalidValue, DimensionMismatch: anything else.
    """
    match data.get("kind") if isinstance(data, dict) else None:
        case "quadratic":
            _, P, centre = fields_of(data, "kind", "P", "centre")
            return QuadraticLyapunov(array_of(P, None, None), _box_of(centre))
        case "expression":
            _, program, centre = fields_of(data, "kind", "program", "centre")
            return SymbolicLyapunov(from_data(program), _box_of(centre))
        case "neural":
            parts = fields_of(data, "kind", "weights", "biases", "output", "P", "centre")
            _, weights, biases, output, P, centre = parts
            layers = _layers_of(weights, biases, _NEURAL_WEIGHTS)
            return NeuralLyapunov(*layers, array_of(output, None, None), array_of(P, None, None), _box_of(centre))
    raise InvalidValue(f"V {shown(data)}; expected a quadratic, an expression or a neural Lyapunov function")


def proof_of(data: Any, n: int) -> Subdivision:
    """The proof, in n states, of data returned by :func:`proof_data`.

    Raises:
        InvalidValue: anything else, halvings that do not form a tree, or more of them than a search makes.
    """
    T, core, low, high, halvings = fields_of(data, "T", "core", "low", "high", "halvings")
    if not isinstance(halvings, str) or not 0 < len(halvings) <= _NODES:
        raise InvalidValue(f"halvings {shown(halvings)}; expected a string of at most {_NODES:,} characters")
    known = (_AXES[:n] + _LEAF).encode()
    axes = np.full(256, n, dtype=np.int8)
    axes[list(known)] = [*range(n), -1]
    axis = axes[np.frombuffer(halvings.encode("ascii", "replace"), dtype=np.uint8)]
    halved = axis >= 0
    # After the first box, the halves follow in pairs, in the order of the boxes.
    lower_half = np.where(halved, 2 * np.cumsum(halved) - 1, 0)
    place = np.arange(len(axis))
    if (axis == n).any() or len(axis) != 1 + 2 * halved.sum() or (lower_half[halved] <= place[halved]).any():
        raise InvalidValue(f"halvings {shown(halvings)}; expected a binary tree of boxes in {n} states")
    first, last, depth = 0, 1, 0
    while first < last:
        first, last, depth = last, last + 2 * int(halved[first:last].sum()), depth + 1
        if depth > _DEPTH * n:
            raise InvalidValue(f"a box is halved more than {_DEPTH * n} times; no search does this")
    inner, lower, upper = (array_of(end, n) for end in (core, low, high))
    if (inner < 0).any() or (lower > upper).any():
        raise InvalidValue("the box of the proof has low > high, or its core has a negative width")
    left = lower_half.astype(np.int32)
    return Subdivision(
        array_of(T, n, n), inner, lower, upper, axis, left, np.where(halved, left + 1, 0).astype(np.int32)
    )


def _layers_of(weights: Any, biases: Any, most: int) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    matrices = tuple(array_of(W, None, None) for W in _list_of(weights))
    count = sum(W.size for W in matrices)
    if count > most:
        raise InvalidValue(f"a network of {count:,} weights; expected at most {most:,}")
    return matrices, tuple(array_of(b, None) for b in _list_of(biases))


def _max_min_of(data: Any) -> MaxMin:
    A, b, terms = fields_of(data, "A", "b", "terms")
    A, b = array_of(A, None, None), array_of(b, None)
    terms = tuple(map(tuple, map(_list_of, _list_of(terms))))
    if not all(type(i) is int and 0 <= i < len(A) for term in terms for i in term):
        raise InvalidValue(f"terms {shown(terms)}; expected indices of the {len(A)} pieces")
    places = len(terms) * max(map(len, terms), default=0)
    if places > _PLACES:
        raise InvalidValue(
            f"{len(terms):,} terms of up to {places // len(terms):,} pieces; expected at most {_PLACES:,} in all"
        )
    return MaxMin(A, b, terms)


def _box_of(data: Any) -> Interval:
    lower, upper = _list_of(data, 2)
    low = array_of(lower, None)
    return Interval(low, array_of(upper, len(low)))


def _list_of(data: Any, length: int | None = None) -> list[Any]:
    if not isinstance(data, list) or length not in (None, len(data)):
        raise InvalidValue(f"{shown(data)}; expected a list" + ("" if length is None else f" of {length}"))
    return data


def _text_of(data: Any) -> str:
    if not isinstance(data, str):
        raise InvalidValue(f"{shown(data)}; expected a string")
    return data
