"""What do damaged and hostile files do? Certificates, policies and checkpoints are mutated at random and read.

    python -m benchmarks.hostile_files --count 10000 --seed 0

Files are changed byte by byte, and value by value in their JSON: other types, huge numbers, NaN, deep nesting, keys
twice, parts of other files, tensors of other sizes. Half of the changed certificates get the words that their numbers
come to, as a forger would write them, and all changed policies and checkpoints a checksum that is theirs. A mutation is
a fault if reading ends in anything but an answer or a FileError, takes over 30 s, imports, starts or connects to
anything, or if a claim is shown again that numbers refute: laws and functions of this file, nothing of the verifier.

The last line is JSON: counts, seed, slowest read, largest memory, and every fault with the number that makes it again.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
import io
import json
import math
import random
import re
import resource
import struct
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import casadi as ca
import numpy as np
import tyro

from ctrl import LQR
from ctrl.certify import NeuralLyapunov, SearchLimits, SymbolicLyapunov, certify, disturbances, riccati
from ctrl.certify.claims.claim import Claim
from ctrl.certify.claims.sentences import sentence
from ctrl.certify.claims.sublevel_set import SublevelSet
from ctrl.certify.files.content import array_of, intervals_of, law_of, lyapunov_of, plain, proof_of
from ctrl.certify.files.file import save
from ctrl.certify.loops.closed_loop import ClosedLoop
from ctrl.commands.proofs import verify_again
from ctrl.laws import Expression, Network
from ctrl.laws.lattice import Lattice, MaxMin
from systems import Task
from systems.files import FileError
from systems.library import cartpole, pendulum, van_der_pol_reversed

SLOW = 30.0  # seconds
Answer = tuple[str, str]
"""What a read came to: refused, shown, read, or fault with what was wrong."""


# ---- what mutations make ----

JUNK: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 10**18, 10**39, -(10**39), 10**400, 0.0, -0.0, 0.5, 1e308, -1e308, 5e-324, 1e-9,
    math.nan, math.inf, -math.inf, "", "x", "inf", "nan", "1.5", "0x1.8p+1", "0x1.8p+99999", "os:abort", "../../x",
    "\x1b[2J", "\u202e", [], [[]], {}, {"kind": "expression"}, [1, 2], [[1.0, 0.0], [0.0, 1.0]], "call", "." * 5000,
    "0." * 3000, {"tensor": 0},
]  # fmt: skip


def of_bytes(data: bytes, rng: random.Random) -> bytes:
    """Flips, cuts, insertions, repetitions."""
    new = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 8])):
        if not new:
            break
        a, b = sorted(rng.randrange(len(new)) for _ in range(2))
        b = min(b, a + rng.choice([1, 4, 100, len(new)]))
        match rng.randrange(7):
            case 0:
                new[a] ^= 1 << rng.randrange(8)
            case 1:
                new[a] = rng.randrange(256)
            case 2:
                del new[a:]
            case 3:
                del new[a:b]
            case 4:
                new[a:a] = rng.randbytes(rng.choice([1, 8, 64]))
            case 5:
                new[a:a] = new[a:b]
            case 6:  # a digit for a digit
                digits = [k for k in range(a, min(a + 2000, len(new))) if 48 <= new[k] < 58]
                if digits:
                    new[rng.choice(digits)] = rng.randrange(48, 58)
    return bytes(new)


def of_json(content: Any, rng: random.Random, donors: list[Any]) -> Any:
    """One to three parts replaced, removed, exchanged or taken from another file."""
    new = copy.deepcopy(content)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        at, key = _place(new, rng)
        match rng.randrange(9):
            case 0 | 1:
                at[key] = copy.deepcopy(rng.choice(JUNK))
            case 2 | 3 if isinstance(at[key], (int, float)) and not isinstance(at[key], bool):
                with contextlib.suppress(OverflowError):
                    at[key] = at[key] * rng.choice([-1.0, 0.0, 0.5, 1.0 + 1e-12, 1.0 + 1e-6, 1.01, 1.5, 1e6, 1e300])
            case 4:
                if isinstance(at, dict) and rng.random() < 0.5:
                    at[key + rng.choice(["", " ", "\x1b[2J", "\u202e"])] = at.pop(key)
                else:
                    del at[key]
            case 5:
                other, there = _place(new, rng)
                with contextlib.suppress(KeyError, IndexError):
                    at[key], other[there] = copy.deepcopy(other[there]), copy.deepcopy(at[key])
            case 6:
                donor, there = _place(rng.choice(donors), rng)
                at[key] = copy.deepcopy(donor[there])
            case 7 if isinstance(at[key], list):
                match rng.randrange(4):
                    case 0:
                        at[key] = at[key] * rng.choice([2, 100])
                    case 1:
                        at[key] = at[key][::-1]
                    case 2:
                        at[key] = at[key][: rng.randrange(len(at[key]) + 1)]
                    case 3:
                        at[key] = [at[key]]
            case 8 if isinstance(at[key], str):
                text = list(at[key])
                rng.shuffle(text)
                at[key] = "".join(text)
            case _:
                nested: Any = 0
                for _ in range(rng.choice([3, 400])):
                    nested = [nested]
                at[key] = nested
    return new


def _place(content: Any, rng: random.Random) -> tuple[Any, Any]:
    """A container in a content and one of its keys."""
    at = content
    while True:
        key = rng.choice(list(at) if isinstance(at, dict) else range(len(at)))
        if isinstance(at[key], (dict, list)) and at[key] and rng.random() < 0.85:
            at = at[key]
        else:
            return at, key


def as_text(content: Any, rng: random.Random) -> bytes:
    """JSON as a stranger may write it: keys twice, or nested without end."""
    text = json.dumps(content, ensure_ascii=rng.random() < 0.5)
    if rng.random() < 0.03:
        key = rng.choice(list(content))
        text = f'{text[:-1]}, "{key}": 1}}'
    if rng.random() < 0.02:
        text = text.replace("[", "[" * rng.choice([2, 100_000]), 1)
    return text.encode("utf-8", "surrogatepass")


# ---- certificates ----


def certificates(folder: Path) -> list[tuple[Task, dict[str, Any]]]:
    """One of each kind of law, function and claim."""
    balance, cart, oscillator = pendulum(), cartpole(), van_der_pol_reversed()
    law = LQR(balance).law
    x = ca.SX.sym("x", 2)
    P = riccati(balance).P
    smooth = SymbolicLyapunov(ca.Function("V", [x], [ca.bilin(P, x, x) + 0.1 * ca.log1p(x[0] ** 2)]), np.zeros(2))
    neural = NeuralLyapunov((np.array([[0.4, 0.1], [-0.2, 0.3]]),), (np.zeros(2),), np.eye(2), P, np.zeros(2))
    K = LQR(balance).K
    network = Network(
        (np.vstack([-K, -K]), np.array([[1.0, -1.0]])),
        (np.array([0.75, -0.75]), np.array([-0.75])),
        ("relu", "identity"),
    )
    lattice = Lattice((MaxMin(np.vstack([-K, 0 * K, 0 * K]), np.array([0.0, 0.75, -0.75]), ((0, 1), (2,))),))
    quick = SearchLimits(seconds=20.0)
    claims: list[tuple[Task, Any, dict[str, Any]]] = [
        (balance, law, {"level": 22.0}),
        (balance, law, {"level": 22.0, "box": (np.array([-2.0, -4.0]), np.array([2.0, 4.0]))}),
        (balance, law, {"level": 15.0, "uncertain": {"mass": (0.149, 0.151)}}),
        (balance, law, {"level": 20.0, "disturbance": disturbances(balance), "inner": 0.05}),
        (balance, law, {"level": 10.0, "continuous": True, "kappa": 1e-3}),
        (balance, Expression(law.casadi), {"level": 15.0, "V": smooth}),
        (balance, network, {"level": 15.0}),
        (balance, lattice, {"level": 15.0, "V": neural}),
        (cart, LQR(cart).law, {"level": 1.0}),
        (oscillator, LQR(oscillator).law, {"level": 0.5, "continuous": True}),
    ]
    found = []
    for k, (task, used, claim) in enumerate(claims):
        certificate = certify(task, used, **claim, budget=quick)
        if not certificate.is_proved:
            raise AssertionError(f"claim {k} is {certificate}")
        found.append((task, json.loads(save(certificate, task, used, task.name, folder / f"base-{k}").read_text())))
    return found


def forged(content: Any, task: Task) -> Any:
    """The same with the words that its numbers come to, where they come to something."""
    try:
        claims, n = content["stated"], len(task.plant.state)
        uncertain, disturbance = (intervals_of(claims[name]) for name in ("uncertain", "disturbance"))
        loop = ClosedLoop(task, law_of(content["law"]), claims["dt"] == 0, uncertain, disturbance)
        lower, upper = np.full(n, -np.inf), np.full(n, np.inf)
        if claims["domain"] is not None:
            lower, upper = array_of(claims["domain"], 2, n, finite=False)
        region = SublevelSet(lyapunov_of(claims["V"]), float(claims["level"]), lower, upper, float(claims["inner"]))
        claim = Claim(loop, region, float(claims["kappa"]))
        proof_of(content["proof"], n)
        return {**content, "stated": plain(claim.stated), "claim": sentence(claim)}
    except Exception:  # nothing to forge
        return content


def check(path: Path, task: Task) -> Answer:
    """What ``trivium verify --check`` does."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        shown = verify_again(path, 4, task)
    if not output.getvalue().replace("\n", "").isprintable():
        return "fault", "prints what a terminal obeys"
    if not shown:
        return "not shown", ""
    wrong = refuted(json.loads(path.read_text()), task, output.getvalue())
    return ("fault", f"a false claim: {wrong}") if wrong else ("shown", "")


def refuted(content: Any, task: Task, output: str) -> str:
    """Why a claim that was shown again is not true, or not what was printed; empty where numbers find nothing."""
    claims = content["stated"]
    level = re.search(r"V <= (\S+)", content["claim"])
    if f"PROVED: {content['claim']}\n" not in output or level is None:
        return "another sentence was printed"
    if abs(float(level[1].rstrip(",")) - claims["level"]) > 1e-5 * claims["level"]:
        return f"the sentence says {level[0]}, the numbers {claims['level']}"
    if [claims["task"], claims["state"]] != [task.name, [str(s) for s in task.plant.state]]:
        return "of another task"
    V, law = _value(claims["V"]), _law(content["law"], task)
    centre = 0.5 * np.sum(claims["V"]["centre"], axis=0)
    lower, upper = np.array(claims["domain"] or [[-np.inf] * len(centre), [np.inf] * len(centre)], dtype=float)
    rng = np.random.default_rng(0)
    names, w = list(task.plant.disturbance.names), np.zeros(len(task.plant.disturbance))
    for _ in range(40):
        direction = rng.normal(size=len(centre))
        reach = _reach(V, centre, direction, claims["level"])
        x = centre + direction * reach * rng.uniform() ** 0.3
        if not ((x >= lower) & (x <= upper)).all() or not 1e-9 * claims["level"] < V(x) <= claims["level"]:
            continue
        values = {name: float(rng.choice(ends)) for name, ends in claims["uncertain"].items()}
        for name, ends in claims["disturbance"].items():
            w[names.index(name)] = rng.choice(ends)
        after = _moved(task, values, x, law(x), w, claims["dt"])
        least = (1 - claims["kappa"]) * V(x) if claims["dt"] else V(x)
        if V(after) >= max(least, claims["inner"]) * (1 + 1e-9):
            return f"V rises from {V(x)} to {V(after)} at {x.tolist()}"
        if claims["dt"] and not ((after >= lower - 1e-9) & (after <= upper + 1e-9)).all():
            return f"a motion leaves the domain at {x.tolist()}"
    return ""


def _moved(task: Task, values: dict[str, float], x: np.ndarray, u: np.ndarray, w: np.ndarray, dt: float) -> np.ndarray:
    """The state after a sample, by the task's own rule; in continuous time after so little that Euler's will do."""
    plant: Any = dataclasses.replace(task.plant, **values) if values else task.plant
    rate = plant.casadi()
    if not dt:
        return np.asarray(x + 1e-7 * np.array(rate(x, u, w, ca.DM(0, 1))).ravel())
    step = dataclasses.replace(task.dynamics, plant=plant).function()
    return np.array(step(x, u, w, ca.DM(0, 1))).ravel()


def _value(data: Any) -> Callable[[np.ndarray], float]:
    """V from a file, by text of its own."""
    centre = 0.5 * np.sum(data["centre"], axis=0)
    if data["kind"] == "expression":
        run = _program(data["program"])
        n = len(centre)
        slope = np.array([(run(centre + e)[0] - run(centre - e)[0]) / 2e-5 for e in 1e-5 * np.eye(n)])
        return lambda x: float(run(x)[0] - run(centre)[0] - slope @ (x - centre))

    P = np.array(data["P"])

    def features(x: np.ndarray) -> np.ndarray:
        for W, b in zip(data.get("weights", []), data.get("biases", []), strict=True):
            x = np.tanh(np.array(W) @ x + b)
        return np.array(data["output"]) @ x if "output" in data else np.zeros(1)

    return lambda x: float(np.sum((features(x) - features(centre)) ** 2) + (x - centre) @ P @ (x - centre))


def _law(data: Any, task: Task) -> Callable[[np.ndarray], np.ndarray]:
    """A law from a file, by text of its own, clipped as the plant clips it."""
    lower, upper = task.applied_bounds

    def law(x: np.ndarray) -> np.ndarray:
        if data["kind"] == "saturated linear":
            K = np.array(data["K"], dtype=float).reshape(len(data["u_ref"]), len(x))
            u = np.array(data["u_ref"]) - K @ (x - data["x_ref"])
            u = np.clip(u, *(np.array(data[end], dtype=float) for end in ("lower", "upper")))
        elif data["kind"] == "network":
            u = x
            for W, b, name in zip(data["weights"], data["biases"], data["activations"], strict=True):
                u = np.array(W) @ u + b
                u = {"relu": np.maximum(u, 0), "identity": u, "tanh": np.tanh(u)}[name]
        elif data["kind"] == "lattice":
            pieces = [(np.array(f["A"]) @ x + f["b"], f["terms"]) for f in data["inputs"]]
            u = np.array([max(min(values[i] for i in term) for term in terms) for values, terms in pieces])
        else:
            u = np.array(_program(data["program"])(x))
        return np.clip(u, lower, upper)

    return law


def _program(data: Any) -> Callable[[np.ndarray], list[float]]:
    rules: dict[str, Callable[..., float]] = {
        "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "div": lambda a, b: a / b,
        "neg": lambda a: -a, "sq": lambda a: a * a, "twice": lambda a: 2 * a, "inv": lambda a: 1 / a, "fmin": min,
        "fmax": max, "fabs": abs, "pow": pow, "constpow": pow,
    }  # fmt: skip

    def run(x: np.ndarray) -> list[float]:
        known: list[float] = []

        def operand(a: Any) -> float:
            return float.fromhex(a) if isinstance(a, str) else known[a]

        for op, *args in data["instructions"]:
            if op == "input":
                known.append(float(x[args[1]]))
            else:
                known.append(float(rules.get(op, getattr(np, op, None))(*map(operand, args))))  # type: ignore[misc]
        return [operand(a) for a in data["entries"][0]]

    return run


def _reach(V: Callable[[np.ndarray], float], centre: np.ndarray, direction: np.ndarray, level: float) -> float:
    """How far along a direction V stays below the level, about."""
    reach = 1e-6
    while reach < 1e6 and V(centre + 1.3 * reach * direction) < level:
        reach *= 1.3
    return reach


# ---- policies and checkpoints ----


@dataclass(frozen=True)
class Archive:
    """A policy or checkpoint, taken apart as safe_rl/checkpoint.py describes it."""

    content: Any
    tensors: bytes

    @staticmethod
    def of(data: bytes) -> Archive:
        (length,) = struct.unpack_from("<Q", data, 52)
        return Archive(json.loads(data[60 : 60 + length]), data[60 + length :])

    def packed(self, text: bytes) -> bytes:
        payload = struct.pack("<Q", len(text)) + text + self.tensors
        return struct.pack("<8sIQ32s", b"TRIVIUM\0", 2, len(payload), hashlib.sha256(payload).digest()) + payload

    def mutated(self, rng: random.Random, donors: list[Any]) -> bytes:
        if rng.random() < 0.25:
            return Archive(self.content, of_bytes(self.tensors, rng)).packed(json.dumps(self.content).encode())
        return self.packed(as_text(of_json(self.content, rng, donors), rng))


def policies(folder: Path) -> list[bytes]:
    import torch

    from safe_rl import Policy

    found = []
    for sizes in ((2, 1, (8, 8)), (4, 2, (16,)), (3, 1, ())):
        observed, inputs, hidden = sizes
        bound = torch.ones(inputs)
        Policy(observed, -bound, bound, hidden, torch.Generator().manual_seed(0)).save(folder / "policy")
        found.append((folder / "policy").read_bytes())
    return found


def read_policy(path: Path) -> Answer:
    from safe_rl import Policy, PolicyController
    from safe_rl.controller import NotApplicable

    policy = Policy.load(path)
    u = policy.law()(np.zeros(policy.observation_size))
    if not np.isfinite(u).all():
        return "fault", "answers with what is not finite"
    with contextlib.suppress(NotApplicable):
        PolicyController(pendulum(), policy).step(np.zeros(2), 0)
    return "read", ""


def learners() -> list[tuple[Any, Task]]:
    """What makes a learner, and a task of it: a base of each kind, with a handler and without."""
    from safe_rl import DSACT, PPO, Combination, DSACTSettings, PPOSettings
    from safe_rl.combinations import PLO
    from systems.library import braking

    small = DSACTSettings(
        hidden=(8,), batch_size=16, warmup=100, environments=4, evaluation_environments=2, capacity=300
    )
    rounds = PPOSettings(hidden=(8,), environments=4, horizon=8, batch_size=16, warmup=64)
    return [
        (lambda task: DSACT(task, settings=small), pendulum()),
        (lambda task: PPO(task, settings=rounds), pendulum()),
        (lambda task: Combination("plo", DSACT, PLO.handler)(task, settings=small), braking()),
    ]


def checkpoints(folder: Path) -> list[tuple[bytes, Callable[[Path], Answer]]]:
    found = []
    for make, task in learners():
        learner = make(task).learn(20, progress=False)
        learner.save(folder / "checkpoint")
        found.append(((folder / "checkpoint").read_bytes(), _resumed(type(learner), task, learner.handler)))
    return found


def _resumed(kind: Any, task: Task, handler: Any) -> Callable[[Path], Answer]:
    def resumed(path: Path) -> Answer:
        learner = kind.load(path, task, handler=handler)
        try:  # what the command line would go on with; its errors are told in a line
            learner.learn(min(learner.updates + 3, 10**6), progress=False)
        except (ValueError, OSError, RuntimeError):
            return "read, not resumed", ""
        return "read", ""

    return resumed


# ---- the run ----


STARTS = ("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "subprocess.", "socket.")
OTHERS = ("ctypes.dlopen", "pickle.find_class", "os.remove", "os.rename", "shutil.rmtree")


@dataclass
class Watch:
    """What reading must not do, by Python's audit events."""

    active: bool = False
    event: str = ""

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if self.active and (event.startswith(STARTS) or event in OTHERS or self._is_foreign(event, args)):
            self.event = f"{event} {str(args)[:200]}"

    def _is_foreign(self, event: str, args: tuple[Any, ...]) -> bool:
        """Whether what is executed is no text of ours and of no library that is loaded already."""
        if event == "import":
            return str(args[0]).partition(".")[0] not in sys.modules
        if event != "exec" or " arithmetic>" in args[0].co_filename:
            return False
        frame = sys._getframe()
        while frame.f_back is not None:  # a part of a library that is imported late, whose name was looked at above
            frame = frame.f_back
            if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
                return False
        return True


WATCH = Watch()
"""Hooks of Python's audit stay for good, so there is one."""
sys.addaudithook(WATCH)


@contextlib.contextmanager
def watched() -> Iterator[None]:
    WATCH.active, WATCH.event = True, ""
    try:
        yield
    finally:
        WATCH.active = False


def judged(read: Callable[[Path], Answer], path: Path) -> Answer:
    began = perf_counter()
    try:
        with watched(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answer = read(path)
    except FileError as error:
        says = str(error)
        answer = (
            ("refused", "") if str(path) in says and says.isprintable() else ("fault", f"an error that says {says!r}")
        )
    except (Exception, SystemExit) as error:
        answer = "fault", f"{type(error).__name__}: {error}"
    if WATCH.event:
        answer = "fault", f"does {WATCH.event}"
    if perf_counter() - began > SLOW:
        answer = "fault", f"takes {perf_counter() - began:.0f} s"
    return answer


def run(count: int = 10_000, seed: int = 0, first: int = 0, only: tuple[str, ...] = ()) -> dict[str, Any]:
    """Mutates and reads.

    Args:
        count: mutations. first: number of the first, to make one of them again. only: kinds of files, all where empty.
    """
    kinds = only or ("certificate", "policy", "checkpoint")
    answers: Counter[str] = Counter()
    faults: list[dict[str, Any]] = []
    slowest = 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        proved = certificates(folder) if "certificate" in kinds else []
        texts = [content for _, content in proved]
        saved = policies(folder) if "policy" in kinds else []
        resumable = checkpoints(folder) if "checkpoint" in kinds else []
        archives = [Archive.of(data) for data in [*saved, *(data for data, _ in resumable)]]
        donors = [archive.content for archive in archives]
        path = folder / "mutated.json"
        began = perf_counter()
        bases: list[tuple[str, bytes, Callable[[Path], Answer]]] = []
        for task, content in proved:
            bases.append(("certificate", json.dumps(content).encode(), lambda path, task=task: check(path, task)))
        bases += [("policy", data, read_policy) for data in saved]
        bases += [("checkpoint", data, resumed) for data, resumed in resumable]
        for kind, data, read in bases:  # imports what a good file needs, and shows that it passes
            path.write_bytes(data)
            answer = read(path)
            if answer not in (("shown", ""), ("read", "")):
                raise AssertionError(f"a good {kind} is {answer}")
        for k in range(first, first + count):
            rng = random.Random(f"{seed} {k}")
            kind = rng.choice(kinds)
            read: Callable[[Path], Answer]
            if kind == "certificate":
                task, content = rng.choice(proved)
                read = lambda path, task=task: check(path, task)  # noqa: E731
                if rng.random() < 0.3:
                    data = of_bytes(json.dumps(content).encode(), rng)
                else:
                    changed = of_json(content, rng, texts)
                    data = as_text(forged(changed, task) if rng.random() < 0.5 else changed, rng)
            else:
                good, read = rng.choice([(data, read_policy) for data in saved] if kind == "policy" else resumable)
                data = of_bytes(good, rng) if rng.random() < 0.2 else Archive.of(good).mutated(rng, donors)
            path.write_bytes(data)
            at = perf_counter()
            answer = judged(read, path)
            slowest = max(slowest, perf_counter() - at)
            answers[f"{kind}: {answer[0]}"] += 1
            if answer[0] == "fault":
                faults.append({"mutation": k, "kind": kind, "what": answer[1][:300]})
                print(f"FAULT {k} {kind}: {answer[1]}", file=sys.stderr)
    return {
        "mutations": count,
        "seed": seed,
        "first": first,
        "answers": dict(sorted(answers.items())),
        "faults": faults,
        "slowest_s": round(slowest, 2),
        "largest_memory_MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "seconds": round(perf_counter() - began, 1),
    }


def main(count: int = 10_000, seed: int = 0, first: int = 0, only: tuple[str, ...] = ()) -> int:
    """Mutates and reads files.

    Args:
        count: mutations. seed: of all of them. first: number of the first, to make one again. only: kinds of files,
            among certificate, policy and checkpoint.
    """
    found = run(count, seed, first, only)
    print(json.dumps(found))
    return 1 if found["faults"] else 0


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
