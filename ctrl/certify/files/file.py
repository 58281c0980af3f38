"""Certificate files: one complete JSON text with all digits, so that the claim read is exactly the one proved.

Nothing in a file is executed, imported or called. docs/files.md describes the format.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from ctrl.certify.claims.certificate import Certificate
from ctrl.certify.claims.claim import Claim
from ctrl.certify.claims.sentences import sentence
from ctrl.certify.claims.subdivision import Subdivision
from ctrl.certify.claims.sublevel_set import SublevelSet
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
from ctrl.certify.loops.closed_loop import ClosedLoop
from ctrl.laws import Law
from systems import InvalidValue, Task
from systems.describe import statement
from systems.files import FileError, json_text, parse_json, read_json, shown, write_json

__all__ = ["Contradiction", "StoredClaim", "TaskNeeded", "read", "save"]

FORMAT = 3
_KIND = "certificate of Trivium"
_BEFORE, _SHOWN = 20, 60  # characters before the first that differs, and of all that are shown
_FORMER_WORDS = ("for all future time", "for good")  # the words of files written before 0.1


class Contradiction(FileError):
    """An inconsistent certificate of this format, which was damaged or altered."""


class TaskNeeded(FileError):
    """A certificate of a task that is not in Trivium's library: supply the task to check it."""


@dataclass(frozen=True, eq=False)
class StoredClaim:
    """A claim and its proof as read from a file, to be verified again."""

    claim: Claim
    proof: Subdivision


def save(certificate: Certificate, task: Task, law: Law, source: str, path: Path) -> Path:
    """Writes ``path`` (.json) atomically.

    Args:
        source: name of the task on the command line, for human readers only.

    Returns:
        The path of the text.

    Raises:
        InvalidValue: the certificate is not proved, is about another task or law, or its law or V cannot be stored.
    """
    if certificate.proof is None:
        raise InvalidValue(
            f"the certificate is {certificate.kind}, not proved; only proved certificates can be saved and verified "
            "again"
        )
    loop = ClosedLoop(task, law, certificate.dt == 0, certificate.uncertain, certificate.disturbance)
    claims = plain(replace(certificate.claimed, loop=loop).stated)
    if wrong := _difference({name: plain(getattr(certificate, name)) for name in claims}, claims):
        raise InvalidValue(f"the certificate does not match the given task and law: {wrong}")
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


def read(path: Path, task: Task | None = None) -> StoredClaim:
    """The claim and proof written by :func:`save`.

    Any text in the file that disagrees with its numbers is a contradiction, so the text is as trustworthy as the
    numbers.

    Args:
        task: of the claim; default: the task of that name in Trivium's own library. No other task is searched for,
            since a file must not decide what is imported.

    Raises:
        FileError: it cannot be read, is not a certificate, or of another format or task.
        Contradiction: its parts contradict each other. TaskNeeded: no task was given, and the library has none of this
            name.
    """
    content = _content(path)
    with _located(path):
        claims, task_data = content["stated"], content["task"]
        described = fields_of(task_data, "source", "content")[1]
        if not isinstance(claims, dict) or not isinstance(claims.get("task"), str):
            raise InvalidValue(f"stated = {shown(claims)}; expected an object with the task and the parts of the claim")
    known = _task(path, claims["task"]) if task is None else task
    if wrong := _difference(described, parse_json(json_text(statement(known)).encode(), str(path))):
        given = "Trivium's own" if task is None else "the given task"
        raise (TaskNeeded if task is None else FileError)(
            f"{path}: its task {shown(claims['task'])} differs from {given}: {wrong}; give the task that it was made "
            "for (trivium verify --check FILE TASK), or prove the claim for this one"
        )
    with _located(path), np.errstate(all="ignore"):
        continuous = number_of(claims["dt"]) == 0
        uncertain, disturbance = (intervals_of(claims[name]) for name in ("uncertain", "disturbance"))
        loop = ClosedLoop(known, law_of(content["law"]), continuous, uncertain, disturbance)
        V, n = lyapunov_of(claims["V"]), len(known.plant.state)
        lower, upper = np.full(n, -np.inf), np.full(n, np.inf)
        if claims["domain"] is not None:
            lower, upper = array_of(claims["domain"], 2, n, finite=False)
        level, inner, kappa = (number_of(claims[name]) for name in ("level", "inner", "kappa"))
        claim = Claim(loop, SublevelSet(V, level, lower, upper, inner), kappa)
        if V.centre.shape != (n,):
            raise InvalidValue(f"V is a function of {len(V.middle)} states; task '{known.name}' has {n}")
        stored = StoredClaim(claim, proof_of(content["proof"], n))
        if wrong := _difference(claims, parse_json(json_text(plain(claim.stated)).encode(), str(path))):
            raise InvalidValue(f"the stated values do not follow from the claim: {wrong}")
        words = sentence(claim)
        if content["claim"] not in (words, words.replace(*_FORMER_WORDS)):
            difference = _from_where_they_differ(content["claim"], words)
            raise InvalidValue(f"the sentence does not match the numbers: {difference}; expected '{words}'")
        return stored


def _content(path: Path) -> dict[str, Any]:
    """The parts of a file of this format."""
    content = read_json(path)
    if not isinstance(content, dict) or "format" not in content:
        raise FileError(f"{path}: {shown(content)}; expected a certificate written by trivium verify")
    kind, written = content.get("kind"), content["format"]
    if type(written) is not int or not (kind == _KIND or written in (1, 2)):  # the first two formats had no kind
        raise FileError(
            f"{path}: kind {shown(kind)}, format {shown(written)}; expected '{_KIND}' of format {FORMAT}, written by "
            "trivium verify"
        )
    if written != FORMAT:
        way = "re-create it with trivium verify TASK" if written < FORMAT else "read it with the release that wrote it"
        raise FileError(f"{path}: a certificate of format {written}; this release reads format {FORMAT}; {way}")
    with _located(path):
        fields_of(content, "kind", "format", "claim", "stated", "law", "task", "proof", "effort")
    return content


def _task(path: Path, name: str) -> Task:
    """The task of Trivium's own library with a given name."""
    from ctrl.discovery import library_task

    task = library_task(name)
    if task is None:
        raise TaskNeeded(
            f"{path}: its task {shown(name)} is not in Trivium's library; give the task on the command line, trivium "
            "verify --check FILE path/to/file.py:task (a certificate never decides what is imported)"
        )
    return task


@contextmanager
def _located(path: Path) -> Iterator[None]:
    """Turns any error caused by the content of a certificate into a contradiction of that file."""
    try:
        yield
    except FileError:
        raise
    except Exception as error:
        fault = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise Contradiction(f"{path}: not a valid certificate: {fault}; the file was damaged or altered") from error


def _from_where_they_differ(stored: Any, expected: str) -> str:
    """What a file says, from a little before it differs from the words that it should say."""
    if not isinstance(stored, str):
        return shown(stored)
    alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(stored, expected, strict=False)))
    start = max(alike - _BEFORE, 0)
    return shown(f"{'...' if start else ''}{stored[start : start + _SHOWN]}")


def _difference(one: Any, other: Any, where: str = "") -> str:
    """The first place at which two JSON objects differ, with both values; empty if they agree."""
    if isinstance(one, dict) and isinstance(other, dict) and set(one) == set(other):
        return next(
            (difference for key in other if (difference := _difference(one[key], other[key], f"{where}.{key}"))), ""
        )
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        parts = ((a, b, f"{where}[{k}]") for k, (a, b) in enumerate(zip(one, other, strict=True)))
        return next((difference for a, b, place in parts if (difference := _difference(a, b, place))), "")
    if type(one) is type(other) and one == other:
        return ""
    return f"{where.removeprefix('.')} is {shown(one)}, expected {shown(other)}"
