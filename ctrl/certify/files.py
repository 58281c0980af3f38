"""Certificates as files: a JSON text that says everything, and beside it the halvings as arrays.

Numbers are written with all their digits, so that what is read is what was proved.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any
from zipfile import BadZipFile

import casadi as ca
import numpy as np

from ctrl.certify.branch_and_bound import holds_again
from ctrl.certify.certificate import Certificate
from ctrl.certify.closed_loop import ClosedLoop
from ctrl.certify.equilibrium import distance, equilibrium_near, is_same
from ctrl.certify.lyapunov import Lyapunov, QuadraticLyapunov, SymbolicLyapunov
from ctrl.certify.neural import NeuralLyapunov
from ctrl.certify.region import Region
from ctrl.certify.tree import Proof
from ctrl.laws import Expression, Law, Network, SaturatedLinear
from ctrl.laws.lattice import Lattice, MaxMin
from systems import InvalidValue, Task
from systems.describe import describe
from systems.lowering.interval import Interval

__all__ = ["Recheck", "Stored", "read", "recheck", "save"]

_FORMAT = 2
_ARRAYS = ("T", "core", "low", "high", "axis", "left", "right")


@dataclass(frozen=True, eq=False)
class Stored:
    """What a file claims, ready to be shown again.

    Args:
        offset: (n,), how far at most the equilibrium is said to lie from the reference; None where it is the reference.
    """

    loop: ClosedLoop
    region: Region
    kappa: float
    proof: Proof
    offset: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Recheck:
    """What became of a stored claim.

    Args:
        holds: whether it was shown again, with outward rounding. reason: why not.
        low, high: parts (b, n) of the proof, in the frame's coordinates. seconds: wall time.
    """

    holds: bool
    reason: str
    low: np.ndarray
    high: np.ndarray
    seconds: float


def save(certificate: Certificate, task: Task, law: Law, source: str, path: Path) -> Path:
    """Writes ``path`` (.json) and the arrays beside it (.npz).

    Args:
        source: by what name or place the task is found again, as on the command line.

    Returns:
        The path of the text.

    Raises:
        InvalidValue: the certificate is not proved, or the law is of a kind that has no file form.
    """
    if certificate.proof is None:
        raise InvalidValue(f"the certificate is {certificate.kind}, not proved; there is nothing to check again")
    path = path.with_suffix(".json")
    content = {
        "format": _FORMAT,
        "claim": certificate.claim,
        "text": str(certificate).splitlines(),
        "task": {"source": source, "content": describe(task)},
        "law": _law_content(law),
        "V": _lyapunov_content(certificate.V),
        "offset": None if certificate.is_at_reference else certificate.offset.tolist(),
        "level": certificate.level,
        "kappa": certificate.kappa,
        "continuous": certificate.dt == 0,
        "inner": certificate.inner,
        "uncertain": {name: list(ends) for name, ends in certificate.uncertain.items()},
        "disturbance": {name: list(ends) for name, ends in certificate.disturbance.items()},
        "box": None if certificate.domain is None else [_numbers(bound) for bound in certificate.domain],
        "boxes": certificate.boxes,
        "seconds": certificate.seconds,
        "volume": certificate.volume,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    arrays: dict[str, Any] = {name: getattr(certificate.proof, name) for name in _ARRAYS}
    # Both are written aside and moved into place, the text last: what it names is there.
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=path.parent) as aside:
        np.savez_compressed(Path(aside) / "arrays.npz", **arrays)
        (Path(aside) / "text.json").write_text(text, encoding="utf-8")
        os.replace(Path(aside) / "arrays.npz", path.with_suffix(".npz"))
        os.replace(Path(aside) / "text.json", path)
    return path


def read(path: Path, task: Task | None = None) -> Stored:
    """What ``save`` wrote.

    Args:
        task: instead of the one the file names.

    Raises:
        InvalidValue: no certificate, of another format, or of a task that is no longer the same.
    """
    from ctrl.discovery import load_task

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != _FORMAT:
            raise InvalidValue(f"{path} has format {content['format']}; this version reads {_FORMAT}")
        found = load_task(content["task"]["source"]) if task is None else task
        if describe(found) != content["task"]["content"]:
            raise InvalidValue(
                f"task '{content['task']['source']}' is not what {path} speaks of; prove it anew with trivium verify"
            )
        uncertain, disturbance = (
            {name: (float(low), float(high)) for name, (low, high) in content[key].items()}
            for key in ("uncertain", "disturbance")
        )
        loop = ClosedLoop(found, _law(content["law"]), bool(content["continuous"]), uncertain, disturbance)
        V = _lyapunov(content["V"])
        lower, upper = loop.domain if content["box"] is None else (np.array(bound, float) for bound in content["box"])
        with np.load(path.with_suffix(".npz"), allow_pickle=False) as arrays:
            proof = Proof(**{name: arrays[name] for name in _ARRAYS})
        region = Region(V, float(content["level"]), lower, upper, float(content["inner"]))
        offset = None if content["offset"] is None else np.array(content["offset"], dtype=float)
        return Stored(loop, region, float(content["kappa"]), proof, offset)
    except InvalidValue:
        raise
    except OSError as error:
        raise InvalidValue(f"{error.filename or path} cannot be read: {error.strerror or error}") from error
    except (KeyError, TypeError, ValueError, EOFError, BadZipFile) as error:
        what = f"{path} or the arrays beside it are no certificate"
        raise InvalidValue(f"{what} ({type(error).__name__}: {error})") from error


def recheck(stored: Stored) -> Recheck:
    """Shows the claim again from what is stored: no search, no solver, no sampling."""
    began = perf_counter()
    loop, region = stored.loop, stored.region
    nothing = np.zeros((0, len(region.lower)))

    def ended(holds: bool, reason: str, low: np.ndarray = nothing, high: np.ndarray = nothing) -> Recheck:
        return Recheck(holds, reason, low, high, perf_counter() - began)

    if not (0 < region.level < np.inf and 0 <= stored.kappa < (np.inf if loop.continuous else 1)):
        return ended(False, "the level or kappa makes no sense")
    if not 0 <= region.inner <= region.level or (loop.is_disturbed and region.inner == 0):
        return ended(False, "the inner level makes no sense")
    if not np.isfinite(region.hull).all():
        return ended(False, "the region is not bounded")
    centre, reference = region.V.centre, loop.reference
    if region.inner > 0:
        still = True  # nothing is claimed of the centre
    elif (centre.lo == centre.hi).all():
        still = loop.drift(centre.lo)[0]
    else:
        found = equilibrium_near(loop, centre.mid)
        still = found is not None and bool(centre.contains(found).all())
    if not still:
        return ended(False, "the closed loop is not shown to rest at the centre of V")
    if stored.offset is None and not is_same(centre, reference):
        return ended(False, "V is not centred at the reference of the task")
    if stored.offset is not None and not (distance(centre, reference) <= stored.offset).all():
        return ended(False, "the equilibrium lies further from the reference than the file says")
    try:
        return ended(*holds_again(loop, region, stored.kappa, stored.proof))
    except (ValueError, IndexError) as error:
        return ended(False, str(error))


def _law_content(law: Law) -> dict[str, Any]:
    if isinstance(law, SaturatedLinear):
        fields = ("K", "x_ref", "u_ref", "lower", "upper")
        # Infinite bounds are text in JSON, here and in the box; everything else is the numbers themselves.
        return {"kind": "saturated linear", **{name: _numbers(getattr(law, name)) for name in fields}}
    if isinstance(law, Network):
        return {
            "kind": "network",
            "weights": [W.tolist() for W in law.weights],
            "biases": [b.tolist() for b in law.biases],
            "activations": list(law.activations),
        }
    if isinstance(law, Lattice):
        pieces = [{"A": f.A.tolist(), "b": f.b.tolist(), "terms": f.terms} for f in law.inputs]
        return {"kind": "lattice", "inputs": pieces}
    if isinstance(law, Expression):
        return {"kind": "expression", "function": law.function.serialize()}
    raise InvalidValue(f"a law of type {type(law).__name__} has no file form; write it as an Expression")


def _law(content: dict[str, Any]) -> Law:
    if content["kind"] == "saturated linear":
        rows = len(content["u_ref"])
        K = _array(content["K"]).reshape(rows, len(content["x_ref"]))
        return SaturatedLinear(K, *(_array(content[name]) for name in ("x_ref", "u_ref", "lower", "upper")))
    if content["kind"] == "network":
        weights, biases = (tuple(np.array(a, dtype=float) for a in content[name]) for name in ("weights", "biases"))
        return Network(weights, biases, tuple(content["activations"]))
    if content["kind"] == "lattice":
        pieces = content["inputs"]
        functions = [MaxMin(np.array(f["A"]), np.array(f["b"]), tuple(map(tuple, f["terms"]))) for f in pieces]
        return Lattice(tuple(functions))
    if content["kind"] == "expression":
        return Expression(ca.Function.deserialize(content["function"]))
    raise InvalidValue(f"a law of kind '{content['kind']}' is not known")


def _lyapunov_content(V: Lyapunov) -> dict[str, Any]:
    centre = {"centre": [V.centre.lo.tolist(), V.centre.hi.tolist()]}
    if isinstance(V, QuadraticLyapunov):
        return {"kind": "quadratic", "P": V.P.tolist(), **centre}
    if isinstance(V, SymbolicLyapunov):
        return {"kind": "expression", "function": V.function.serialize(), **centre}
    if isinstance(V, NeuralLyapunov):
        layers = {"weights": [W.tolist() for W in V.weights], "biases": [b.tolist() for b in V.biases]}
        return {"kind": "neural", **layers, "output": V.output.tolist(), "P": V.P.tolist(), **centre}
    raise InvalidValue(f"a Lyapunov function of type {type(V).__name__} has no file form")


def _lyapunov(content: dict[str, Any]) -> Lyapunov:
    centre = Interval(*content["centre"])
    if content["kind"] == "quadratic":
        return QuadraticLyapunov(np.array(content["P"]), centre)
    if content["kind"] == "neural":
        weights, biases = (tuple(np.array(a, dtype=float) for a in content[name]) for name in ("weights", "biases"))
        return NeuralLyapunov(weights, biases, np.array(content["output"]), np.array(content["P"]), centre)
    return SymbolicLyapunov(ca.Function.deserialize(content["function"]), centre)


def _numbers(array: np.ndarray) -> Any:
    return [_numbers(row) for row in array] if array.ndim > 1 else [repr(float(a)) for a in array]


def _array(entries: Any) -> np.ndarray:
    return np.array([[float(a) for a in e] if isinstance(e, list) else float(e) for e in entries], dtype=float)
