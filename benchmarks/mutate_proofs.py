"""Which changes of the proofs' own code does no test notice?

    python -m benchmarks.mutate_proofs                        # all files below, all mutants: hours
    python -m benchmarks.mutate_proofs border decrease --sample 60 --seconds 900

Every comparison, sum, product, constant, minimum and bound of a file is changed, one at a time, in a copy of the
repository, and the tests that are there for the file are run on it until one fails. A mutant that all of them pass
survives: a missing test, or code that only steers a search, where any value is sound. The last line is JSON: mutants
run, killed, stopped by the clock, and the survivors by place. `surviving_mutants.md` says why known ones survive.

Posix only: a process that has imported what is slow is forked for every mutant.
"""

from __future__ import annotations

import argparse
import ast
import copy
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BOUNDS = "tests/ctrl/certify/test_bounds.py"
TAPE = [
    "tests/systems/tape/test_trace.py",  # takes a second
    "tests/systems/tape/test_tape.py",
    "tests/ctrl/certify/test_compiled.py",
]
TESTS = {
    "ctrl/certify/bounds/decrease.py": [BOUNDS, "tests/ctrl/certify/test_lyapunov.py"],
    "ctrl/certify/search/border.py": [BOUNDS],
    "ctrl/certify/bounds/examiner.py": [
        BOUNDS,
        "tests/ctrl/certify/test_sentences.py",
        "tests/ctrl/certify/test_disturbed.py",
    ],
    "ctrl/certify/search/search.py": [BOUNDS, "tests/ctrl/certify/test_sentences.py"],
    "ctrl/certify/bounds/frame.py": [BOUNDS],
    "ctrl/certify/search/levels.py": [
        "tests/ctrl/certify/test_levels.py",
        "tests/ctrl/certify/test_candidates.py",
        "tests/ctrl/certify/test_roa.py",
    ],
    "ctrl/certify/candidates/disturbed.py": ["tests/ctrl/certify/test_disturbed.py"],
    "ctrl/certify/claims/sublevel_set.py": [BOUNDS, "tests/ctrl/certify/test_disturbed.py"],
    "ctrl/certify/bounds/quadratics.py": [BOUNDS, "tests/ctrl/certify/test_lyapunov.py"],
    "systems/arithmetic/balls.py": ["tests/systems/arithmetic/test_balls.py"],
    "systems/arithmetic/affine.py": ["tests/systems/arithmetic/test_affine.py", BOUNDS],
    "systems/arithmetic/exponential.py": ["tests/systems/arithmetic/test_exponential.py"],
    "systems/arithmetic/rounding.py": ["tests/systems/arithmetic/test_interval.py"],
    "systems/arithmetic/interval.py": [
        "tests/systems/arithmetic/test_undefined.py",
        "tests/systems/arithmetic/test_interval.py",
    ],
    "systems/arithmetic/interval_functions.py": [
        "tests/systems/arithmetic/test_undefined.py",
        "tests/systems/arithmetic/test_interval.py",
    ],
    **{f"systems/tape/{name}.py": TAPE for name in ("machine", "recorded", "tape", "trace")},
    "ctrl/certify/search/rising.py": ["tests/ctrl/certify/test_rising.py"],
}
SLOW = "not all_masses and not two_states_of_anything"  # of test_roa, minutes together

_COMPARE = {ast.Lt: ast.Gt, ast.Gt: ast.Lt, ast.LtE: ast.GtE, ast.GtE: ast.LtE, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}
_BINARY = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}  # fmt: skip
_NAMES = {
    "minimum": "maximum", "maximum": "minimum", "min": "max", "max": "min", "fmin": "fmax", "fmax": "fmin", "lo": "hi",
    "hi": "lo", "below": "above", "above": "below", "all": "any", "any": "all", "lower": "upper", "upper": "lower",
    "mid": "rad", "rad": "mid", "sum": "max",
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """A changed text of a file."""

    path: str
    line: int
    change: str
    text: str


def mutants(path: str) -> Iterator[Mutant]:
    """Every mutant of a file, in the order of its lines."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    # Documentation and annotations compute nothing.
    idle = {id(node.body[0].value) for node in nodes if _has_docstring(node)}  # type: ignore[attr-defined]
    for node in nodes:
        for hint in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            idle |= set(map(id, ast.walk(hint))) if hint is not None else set()
    found = []
    for k, node in enumerate(nodes):
        if id(node) in idle:
            continue
        for change, changed in _changes(node):
            other = copy.deepcopy(tree)
            twin = next(n for i, n in enumerate(ast.walk(other)) if i == k)
            _replace(other, twin, changed)
            ast.fix_missing_locations(other)
            text = ast.unparse(other)
            if text != ast.unparse(tree):
                found.append(Mutant(path, getattr(node, "lineno", 0), change, text))
    yield from sorted(found, key=lambda mutant: mutant.line)


def _has_docstring(node: ast.AST) -> bool:
    body = getattr(node, "body", None)
    is_text = isinstance(body, list) and bool(body) and isinstance(body[0], ast.Expr)
    return is_text and isinstance(body[0].value, ast.Constant) and isinstance(body[0].value.value, str)


def _changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """What may stand in place of a node, and in words."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARE:
        other = copy.deepcopy(node)
        other.ops = [_COMPARE[type(node.ops[0])]()]
        yield f"{ast.unparse(node)} -> {ast.unparse(other)}", other
    if isinstance(node, ast.BinOp):
        if type(node.op) in _BINARY:
            other_sum = copy.deepcopy(node)
            other_sum.op = _BINARY[type(node.op)]()
            yield f"{ast.unparse(node)} -> {ast.unparse(other_sum)}", other_sum
        if isinstance(node.op, (ast.Add, ast.Sub, ast.BitAnd, ast.BitOr)):
            yield f"{ast.unparse(node)} -> {ast.unparse(node.left)}", copy.deepcopy(node.left)
        if isinstance(node.op, (ast.Add, ast.BitAnd, ast.BitOr)):
            yield f"{ast.unparse(node)} -> {ast.unparse(node.right)}", copy.deepcopy(node.right)
    if isinstance(node, ast.BoolOp):
        for value in node.values:
            yield f"{ast.unparse(node)} -> {ast.unparse(value)}", copy.deepcopy(value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Invert, ast.Not)):
        yield f"{ast.unparse(node)} -> {ast.unparse(node.operand)}", copy.deepcopy(node.operand)
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        for value in {0.0: (1.0,), 1.0: (0.0, 2.0)}.get(float(node.value), (0.0, 2.0 * node.value)):
            yield f"{node.value!r} -> {value!r}", ast.Constant(type(node.value)(value))
    if isinstance(node, ast.Attribute) and node.attr in _NAMES:
        renamed = copy.deepcopy(node)
        renamed.attr = _NAMES[node.attr]
        yield f"{ast.unparse(node)} -> {ast.unparse(renamed)}", renamed
    if isinstance(node, ast.Name) and node.id in ("min", "max", "below", "above") and isinstance(node.ctx, ast.Load):
        yield f"{node.id} -> {_NAMES[node.id]}", ast.Name(_NAMES[node.id], ast.Load())
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("upward", "carried", "evaluated")
    ):
        first = node.args[0]
        inner: ast.AST = first.body if isinstance(first, ast.Lambda) else first
        if node.func.id != "evaluated" or isinstance(first, ast.Lambda):
            yield f"{ast.unparse(node)} -> {ast.unparse(inner)}", copy.deepcopy(inner)


def _replace(tree: ast.AST, old: ast.AST, new: ast.AST) -> None:
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
                return
            if isinstance(value, list) and any(item is old for item in value):
                setattr(parent, name, [new if item is old else item for item in value])
                return


def verdict(mutant: Mutant, home: Path, seconds: float) -> str:
    """What the tests make of it: "killed", "survived", or "late" where they do not end in time."""
    (home / mutant.path).write_text(mutant.text, encoding="utf-8")
    child = os.fork()
    if child == 0:
        os.setsid()
        os.chdir(home)
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        sys.path.insert(0, str(home))
        sys.dont_write_bytecode = True
        import pytest

        options = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "-W", "ignore", "-k", SLOW]
        os._exit(int(pytest.main([*options, *TESTS[mutant.path]])))
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return "survived" if os.waitstatus_to_exitcode(status) == 0 else "killed"
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "late"


@dataclass
class Count:
    run: int = 0
    killed: int = 0
    late: int = 0
    survivors: list[str] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="files by stem, such as border; all where left out")
    parser.add_argument("--sample", type=int, help="so many mutants of each file, drawn at random")
    parser.add_argument("--seconds", type=float, default=1e9, help="in all")
    parser.add_argument("--each", type=float, default=120.0, help="seconds for the tests of one mutant")
    parser.add_argument("--lines", help="only these lines, such as 60-140")
    given = parser.parse_args()
    import casadi  # noqa: F401  # slow to import, and the same for all
    import flint  # noqa: F401
    import hypothesis  # noqa: F401
    import pytest  # noqa: F401
    import scipy.linalg
    import scipy.special  # noqa: F401

    began, counts = time.monotonic(), {}
    with tempfile.TemporaryDirectory() as aside:
        home = Path(aside) / "copy"
        skipped = shutil.ignore_patterns(".git", ".venv", "__pycache__", "runs", "*.jsonl")
        shutil.copytree(ROOT, home, ignore=skipped)
        for path in TESTS:
            if given.names and Path(path).stem not in given.names:
                continue
            count = counts[path] = Count()
            original = (home / path).read_text(encoding="utf-8")
            plain = Mutant(path, 0, "none", original)
            if verdict(plain, home, given.each) != "survived":
                raise SystemExit(f"the tests of {path} fail or take longer than {given.each:g} s without any change")
            chosen = list(mutants(path))
            if given.lines:
                first, last = map(int, given.lines.split("-"))
                chosen = [mutant for mutant in chosen if first <= mutant.line <= last]
            if given.sample and given.sample < len(chosen):
                chosen = sorted(random.Random(0).sample(chosen, given.sample), key=lambda mutant: mutant.line)
            for mutant in chosen:
                if time.monotonic() - began > given.seconds:
                    break
                said = verdict(mutant, home, given.each)
                count.run += 1
                count.killed += said == "killed"
                count.late += said == "late"
                if said == "late":
                    print(f"  late {path}:{mutant.line}: {mutant.change}", flush=True)
                if said == "survived":
                    count.survivors.append(f"{path}:{mutant.line}: {mutant.change}")
                    print(f"  survived {count.survivors[-1]}", flush=True)
            (home / path).write_text(original, encoding="utf-8")
            print(
                f"{path}: {count.run} of {len(chosen)} mutants, {count.killed} killed, {count.late} late, "
                f"{len(count.survivors)} survived",
                flush=True,
            )
    print(json.dumps({path: vars(count) for path, count in counts.items()}))


if __name__ == "__main__":
    main()
