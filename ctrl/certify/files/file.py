"""Certificates as files: one JSON text that says everything, with all digits, so that what is read is what was proved.

Nothing in a file is executed, imported or called. docs/files.md describes the format.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from ctrl.certify.claims.certificate import Certificate, Kind, stated
from ctrl.certify.claims.sublevel_set import Region
from ctrl.certify.claims.volume import volume
from ctrl.certify.files.content import (
    array_of,
    fields_of,
    intervals_of,
    law_data,
    law_of,
    lyapunov_of,
    number_of,
    plain,
    proof_data,
    proof_of,
)
from ctrl.certify.functions.lyapunov import QuadraticLyapunov, SymbolicLyapunov
from ctrl.certify.functions.neural import NeuralLyapunov
from ctrl.certify.loops.closed_loop import ClosedLoop
from ctrl.certify.loops.equilibrium import at_most, distance, equilibrium_near, is_same
from ctrl.certify.search.branch_and_bound import holds_again
from ctrl.certify.search.search import CHUNK
from ctrl.certify.search.subdivision import Proof
from ctrl.laws import Expression, Law, Network
from ctrl.laws.lattice import Lattice
from systems import InvalidValue, Task
from systems.describe import statement
from systems.files import FileError, json_text, parse_json, printable, read_json, shown, write_json

__all__ = ["Contradiction", "Recheck", "Stored", "TaskNeeded", "read", "recheck", "save"]

FORMAT = 3
_KIND = "certificate of Trivium"
_MEMORY = 1 << 27  # doubles that the examination of boxes may take at a time
_NOT_AT_REST = "the closed loop is not shown to rest at the centre of V"


class Contradiction(FileError):
    """A certificate of this format that cannot be: it was damaged, or altered."""


class TaskNeeded(FileError):
    """A certificate of a task that is none of Trivium's own: whoever checks it must give the task."""


@dataclass(frozen=True, eq=False)
class Stored:
    """What a file claims, ready to be shown again."""

    loop: ClosedLoop
    region: Region
    kappa: float
    proof: Proof


@dataclass(frozen=True, eq=False)
class Recheck:
    """What became of a stored claim.

    Args:
        holds: whether it was shown again, with outward rounding. reason: why not.
        low, high: parts (b, n) of the proof, in the frame's coordinates. seconds: wall time.
        certificate: what was shown, in full; None where nothing was.
    """

    holds: bool
    reason: str
    low: np.ndarray
    high: np.ndarray
    seconds: float
    certificate: Certificate | None = None


def save(certificate: Certificate, task: Task, law: Law, source: str, path: Path) -> Path:
    """Writes ``path`` (.json), whole or not at all.

    Args:
        source: what the task was called on the command line, for whoever reads the file; nothing is done with it.

    Returns:
        The path of the text.

    Raises:
        InvalidValue: the certificate is not proved, speaks of another task or law, or of a law or V without file form.
    """
    if certificate.proof is None:
        raise InvalidValue(f"the certificate is {certificate.kind}, not proved; there is nothing to check again")
    loop = ClosedLoop(task, law, certificate.dt == 0, certificate.uncertain, certificate.disturbance)
    claims = plain(stated(loop, certificate.region, certificate.kappa))
    if wrong := _difference({name: plain(getattr(certificate, name)) for name in claims}, claims):
        raise InvalidValue(f"the certificate speaks of another task or law than those given: {wrong}")
    content = {
        "kind": _KIND,
        "format": FORMAT,
        "claim": certificate.claim,
        "stated": claims,
        "law": law_data(law),
        "task": {"source": source, "content": statement(task)},
        "proof": proof_data(certificate.proof),
        "effort": {"boxes": certificate.boxes, "seconds": certificate.seconds, "cpu": certificate.cpu},
    }
    path = path.with_suffix(".json")
    write_json(path, content, indent=1)
    return path


def read(path: Path, task: Task | None = None) -> Stored:
    """What ``save`` wrote.

    Every word of the file that is not what its numbers come to is a contradiction, so what is read says what the file
    says.

    Args:
        task: that the file speaks of. Where left out, the task of that name in Trivium's own library; no other is
            looked for, since a file must not decide what is imported.

    Raises:
        FileError: it cannot be read, is no certificate, or of another format or task.
        Contradiction: it is a certificate, and cannot be. TaskNeeded: no task was given, and the library has none such.
    """
    content = _content(path)
    with _located(path):
        claims, spoken_of = content["stated"], content["task"]
        described = fields_of(spoken_of, "source", "content")[1]
        if not isinstance(claims, dict) or not isinstance(claims.get("task"), str):
            raise InvalidValue(f"stated: {shown(claims)}; expected the task and what is claimed of it")
    found = _task(path, claims["task"]) if task is None else task
    if wrong := _difference(described, parse_json(json_text(statement(found)).encode(), str(path))):
        given = "Trivium's own" if task is None else "the one given"
        raise (TaskNeeded if task is None else FileError)(
            f"{path}: speaks of another task '{found.name}' than {given}: {wrong}; give the task that it was made for "
            f"(trivium verify --check FILE TASK), or prove the claim anew of this one"
        )
    with _located(path), np.errstate(all="ignore"):
        continuous = number_of(claims["dt"]) == 0
        uncertain, disturbance = (intervals_of(claims[name]) for name in ("uncertain", "disturbance"))
        loop = ClosedLoop(found, law_of(content["law"]), continuous, uncertain, disturbance)
        V, n = lyapunov_of(claims["V"]), len(found.plant.state)
        lower, upper = np.full(n, -np.inf), np.full(n, np.inf)
        if claims["domain"] is not None:
            lower, upper = array_of(claims["domain"], 2, n, finite=False)
        level, inner, kappa = (number_of(claims[name]) for name in ("level", "inner", "kappa"))
        region = Region(V, level, lower, upper, inner)
        if V.centre.shape != (n,):
            raise InvalidValue(f"V is a function of {len(V.middle)} states; task '{found.name}' has {n}")
        stored = Stored(loop, region, kappa, proof_of(content["proof"], n))
        again = _certificate(stored)
        if wrong := _difference(claims, parse_json(json_text(plain(stated(loop, region, kappa))).encode(), str(path))):
            raise InvalidValue(f"what it states is not what its numbers come to: {wrong}")
        if content["claim"] != again.claim:
            raise InvalidValue(
                f"its words are not those of its numbers: {shown(content['claim'])}, but '{again.claim}'"
            )
        return stored


def recheck(stored: Stored, seconds: float = math.inf) -> Recheck:
    """Shows the claim again from what is stored: no search, no solver, no sampling.

    Args:
        seconds: after which to give up.
    """
    began, worked = perf_counter(), process_time()
    nothing = np.zeros((0, len(stored.region.lower)))
    low = high = nothing
    try:
        with np.errstate(all="ignore"):
            origin, reason = _rests(stored)
            if not reason:
                left = seconds - (perf_counter() - began)
                chunk = max(1, min(CHUNK, _MEMORY // _footprint(stored)))
                _, reason, low, high = holds_again(stored.loop, stored.region, stored.kappa, stored.proof, left, chunk)
    except Exception as error:  # whatever a stranger's numbers lead to, nothing is shown by it
        origin, reason = "", printable(f"{type(error).__name__}: {error}")
    spent = perf_counter() - began
    if reason:
        return Recheck(False, reason, low, high, spent)
    certificate = _certificate(stored, origin, len(low), spent, process_time() - worked)
    return Recheck(True, "", low, high, spent, certificate)


def _rests(stored: Stored) -> tuple[str, str]:
    """What is shown of the equilibrium, or why the claim makes no sense."""
    loop, region = stored.loop, stored.region
    if not (0 < region.level < np.inf and 0 <= stored.kappa < (np.inf if loop.continuous else 1)):
        return "", "the level or kappa makes no sense"
    if not 0 <= region.inner <= region.level or (loop.is_disturbed and region.inner == 0):
        return "", "the inner level makes no sense"
    if not np.isfinite(region.hull).all():
        return "", "the region is not bounded"
    if bounds := loop.beyond_half_a_period(*region.hull):
        return "", f"the region reaches beyond {bounds}, where a controller may read another representative of a state"
    centre = region.V.centre
    if region.inner > 0:
        return f"nothing is claimed of it: motions end in {{V <= {region.inner:.6g}}}", ""
    if (centre.lo == centre.hi).all():
        return "equilibrium, exactly", "" if loop.drift(centre.lo)[0] else _NOT_AT_REST
    found = equilibrium_near(loop, centre.mid)
    if found is None or not centre.contains(found).all():
        return "", _NOT_AT_REST
    where = "of it" if is_same(found, loop.reference) else "of the reference"
    away = at_most(float(distance(centre, loop.reference).max()))
    return f"one equilibrium, proved to lie within {away} {where}; V is centred there", ""


def _certificate(
    stored: Stored, origin: str = "", boxes: int = 0, seconds: float = 0.0, cpu: float = 0.0
) -> Certificate:
    """The certificate of what is stored."""
    region, proof = stored.region, stored.proof
    is_ellipsoid = isinstance(region.V, QuadraticLyapunov) and region.is_whole
    return Certificate(
        **stated(stored.loop, region, stored.kappa),
        kind=Kind.PROVED,
        boxes=boxes,
        seconds=seconds,
        cpu=cpu,
        volume=volume(region) if is_ellipsoid else math.nan,  # others take as long as a proof
        origin=origin,
        core=np.abs(proof.T) @ proof.core,
        proof=proof,
    )


def _footprint(stored: Stored) -> int:
    """About how many doubles the examination of one box takes."""
    law, V, n = stored.loop.law, stored.region.V, len(stored.region.lower)
    size = 100 * n * n
    if isinstance(law, Network):
        widths = [len(b) for b in law.biases]
        size += 6 * max(width * (n + sum(widths[: k + 1])) for k, width in enumerate(widths))
    if isinstance(law, Lattice):
        size += 4 * n * sum(f.table.size for f in law.inputs)
    if isinstance(law, Expression):
        size += 4 * law.function.n_instructions()
    if isinstance(V, NeuralLyapunov):
        widths = [len(b) for b in V.biases]
        size += 6 * n * n * (sum(widths) + max(widths) ** 2)
    if isinstance(V, SymbolicLyapunov):
        size += 4 * n * n * V.function.n_instructions()
    return size


def _content(path: Path) -> dict[str, Any]:
    """The parts of a file of this format."""
    content = read_json(path)
    if not isinstance(content, dict) or "format" not in content:
        raise FileError(f"{path}: {shown(content)}; expected a certificate, as trivium verify writes it")
    kind, written = content.get("kind"), content["format"]
    if type(written) is not int or not (kind == _KIND or written in (1, 2)):  # the first two formats had no kind
        raise FileError(
            f"{path}: kind {shown(kind)}, format {shown(written)}; expected '{_KIND}' of format {FORMAT}, as trivium "
            "verify writes it"
        )
    if written != FORMAT:
        way = "re-create it with trivium verify TASK" if written < FORMAT else "read it with the release that wrote it"
        raise FileError(f"{path}: written in format {written} of certificates; this release reads {FORMAT}; {way}")
    with _located(path):
        fields_of(content, "kind", "format", "claim", "stated", "law", "task", "proof", "effort")
    return content


def _task(path: Path, name: str) -> Task:
    """The task of Trivium's own library that goes by a name."""
    from ctrl.discovery import library_task

    found = library_task(name)
    if found is None:
        raise TaskNeeded(
            f"{path}: speaks of task {shown(name)}, which is none of Trivium's own; give it on the command line, "
            "trivium verify --check FILE path/to/file.py:task (a file of results never says what is imported)"
        )
    return found


@contextmanager
def _located(path: Path) -> Iterator[None]:
    """Whatever the content of a certificate leads to is a contradiction of that file."""
    try:
        yield
    except FileError:
        raise
    except Exception as error:
        said = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise Contradiction(f"{path}: no certificate that can be: {said}; it was damaged or altered") from error


def _difference(one: Any, other: Any, where: str = "") -> str:
    """The first place at which two objects of JSON differ, and what they say there; empty where they agree."""
    if isinstance(one, dict) and isinstance(other, dict) and set(one) == set(other):
        return next((found for key in other if (found := _difference(one[key], other[key], f"{where}.{key}"))), "")
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        parts = ((a, b, f"{where}[{k}]") for k, (a, b) in enumerate(zip(one, other, strict=True)))
        return next((found for a, b, place in parts if (found := _difference(a, b, place))), "")
    if type(one) is type(other) and one == other:
        return ""
    return f"{where.removeprefix('.')} is {shown(one)} there and {shown(other)} here"
