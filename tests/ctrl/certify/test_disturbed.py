"""Bounded disturbances: what is proved is kept by the worst of them, and what they break is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import casadi as ca
import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from ctrl.certify import (
    Certificate,
    ClosedLoop,
    Kind,
    QuadraticLyapunov,
    SearchLimits,
    certify,
    disturbances,
    largest_level,
    riccati,
    sampled_inner,
)
from ctrl.certify.candidates.disturbed import reachable
from ctrl.certify.candidates.sampling import corners
from ctrl.certify.files.audit import audit
from ctrl.certify.files.file import read, save
from ctrl.certify.files.verification import recheck
from ctrl.controller import NotApplicable
from ctrl.laws import SaturatedLinear
from ctrl.laws.law import Law
from ctrl.regulator import LQR
from systems import Fixed, Gaussian, InvalidValue, LinearPlant, Plant, Quadratic, Task, Uniform, UnknownName, signals
from systems.arithmetic.affine import Patch
from systems.arithmetic.interval import Interval
from systems.library.cartpole import cartpole
from systems.library.pendulum import pendulum
from tests.ctrl.certify.forged import forged

TASK = pendulum()
LAW = LQR(TASK).law
V = riccati(TASK)
W = disturbances(TASK)


def linear(A: object, E: object, dt: float = 0.1) -> tuple[Task, Law]:
    """x+ = A x + E w, and a law that does nothing."""
    A, E = np.array(A, dtype=float), np.array(E, dtype=float)
    plant = LinearPlant(A, np.zeros((len(A), 1)), E, dt=dt)
    n = len(A)
    task = Task("linear", plant, dt, 50, Quadratic(np.eye(n), np.eye(1)), Uniform(-np.ones(n), np.ones(n)))
    return task, SaturatedLinear(np.zeros((1, n)), np.zeros(n), [0.0], [-1.0], [1.0])


def box(reach: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full(n, -reach), np.full(n, reach)


# ---- against what is known in closed form ----


@pytest.mark.parametrize(("a", "w"), [(0.5, 1.0), (-0.9, 0.3), (0.99, 0.01)])
def test_the_least_set_of_a_scalar_loop(a: float, w: float) -> None:
    """x+ = a x + w, |w| <= b: the least set that motions come to and stay in is |x| <= b / (1 - |a|)."""
    task, law = linear([[a]], [[1.0]])
    P, least = QuadraticLyapunov(np.eye(1), np.zeros(1)), (w / (1 - abs(a))) ** 2
    name = task.plant.disturbance.names[0]
    pushes, around = {name: (-w, w)}, box(4 * w / (1 - abs(a)), 1)
    loop = ClosedLoop(task, law, disturbance=pushes)
    assert sampled_inner(loop, P, level=9 * least, box=around) == pytest.approx(least, rel=1e-3)

    def claimed(inner: float, pushes: dict[str, tuple[float, float]] = pushes) -> Certificate:
        return certify(task, law, P, 9 * least, box=around, disturbance=pushes, inner=inner)

    assert claimed(1.001 * least).is_proved
    assert claimed(0.999 * least).kind is Kind.REFUSED
    assert claimed(1.001 * least, {name: (-w, 1.01 * w)}).kind is Kind.REFUSED
    assert claimed(1.001 * least, {name: (-1.01 * w, w)}).kind is Kind.REFUSED


def test_a_disturbance_that_is_not_centred() -> None:
    """x+ = x / 2 + w, 0.9 <= w <= 1: the farthest point that is reached is 2."""
    task, law = linear([[0.5]], [[1.0]])
    P, name = QuadraticLyapunov(np.eye(1), np.zeros(1)), task.plant.disturbance.names[0]
    for inner, kind in ((4.01, Kind.PROVED), (3.99, Kind.REFUSED)):
        claim = certify(task, law, P, 20.0, box=box(9, 1), disturbance={name: (0.9, 1.0)}, inner=inner)
        assert claim.kind is kind


def least_level(A: np.ndarray, E: np.ndarray, P: np.ndarray, pushes: np.ndarray) -> float:
    """The least c with (Ax + Ew)'P(Ax + Ew) <= max(x'Px, c), by the S-procedure, which is exact for two quadratics.

    For each corner w and 0 <= s < 1 with sP - A'PA > 0, the maximum over x of V(Ax + Ew) - s V(x) is
    w'E'PEw + |A'PEw|^2 in the inverse of sP - A'PA, and must not exceed (1 - s) c.
    """
    fastest = np.linalg.eigvals(np.linalg.solve(P, A.T @ P @ A)).real.max()

    def needed(s: float, w: np.ndarray) -> float:
        d = E @ w
        b = A.T @ P @ d
        return float((d @ P @ d + b @ np.linalg.solve(s * P - A.T @ P @ A, b)) / (1 - s))

    bounds = (fastest + 1e-9, 1 - 1e-9)
    found = [
        minimize_scalar(needed, bounds=bounds, args=(w,), method="bounded", options={"xatol": 1e-12}).fun
        for w in pushes
    ]
    return max(found)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.every(2)
def test_the_least_level_of_linear_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 2 if seed < 3 else 3
    A, E = rng.standard_normal((n, n)), rng.standard_normal((n, 2))
    A *= 0.8 / np.abs(np.linalg.eigvals(A)).max()
    task, law = linear(A, E)
    Q, P = np.eye(n), np.eye(n)
    for _ in range(300):  # P = A'PA + Q
        P = A.T @ P @ A + Q
    form = QuadraticLyapunov(0.5 * (P + P.T), np.zeros(n))
    pushes = dict(zip(task.plant.disturbance.names, ((-0.1, 0.1), (-0.05, 0.05)), strict=True))
    loop = ClosedLoop(task, law, disturbance=pushes)
    least = least_level(A, E, form.P, corners(loop))
    around = tuple(4 * bound for bound in form.bounding_box(least))
    assert sampled_inner(loop, form, level=4 * least, box=around) == pytest.approx(least, rel=5e-3)
    assert sampled_inner(loop, form, level=4 * least, box=around) <= least * (1 + 1e-9)

    def claimed(share: float) -> Certificate:
        return certify(task, law, form, 4 * least, box=around, disturbance=pushes, inner=share * least)

    assert claimed(1.05 if n == 2 else 1.2).is_proved
    assert claimed(0.97).kind is Kind.REFUSED


def test_continuous_time() -> None:
    """x' = -x + w, |w| <= 1/2: wherever |x| > 1/2 the motion points inward."""
    plant = LinearPlant([[-1.0]], [[0.0]], [[1.0]])
    task = Task("decay", plant, 0.1, 50, Quadratic(np.eye(1), np.eye(1)), Uniform([-1.0], [1.0]))
    law = SaturatedLinear([[0.0]], [0.0], [0.0], [-1.0], [1.0])
    P, name = QuadraticLyapunov(np.eye(1), np.zeros(1)), plant.disturbance.names[0]
    for inner, around, kind in (
        (0.251, 3.0, Kind.PROVED),
        (0.249, 3.0, Kind.REFUSED),
        (0.251, 0.9, Kind.PROVED),  # the box cuts the set, and motions turn back at its border
        (0.26, 0.48, Kind.UNDECIDED),  # they do not at this one
    ):
        claim = certify(
            task, law, P, 4.0, continuous=True, box=box(around, 1), disturbance={name: (-0.5, 0.5)}, inner=inner
        )
        assert claim.kind is kind, (inner, around, str(claim))
    proved = certify(TASK, LAW, V, 10.0, continuous=True, disturbance=W)
    assert proved.is_proved
    assert "where V(x) >=" in str(proved)


# ---- enclosures ----


@pytest.mark.parametrize("task", [TASK, cartpole(), dataclasses.replace(cartpole(), substeps=2)], ids=lambda t: t.name)
def test_affine_forms_hold_every_disturbance(task: Task) -> None:
    pushes = dict.fromkeys(task.plant.disturbance.names, (-0.4, 0.9))
    loop, n = ClosedLoop(task, LQR(task).law, disturbance=pushes), len(task.plant.state)
    rng = np.random.default_rng(0)
    middle, half = rng.uniform(-0.8, 0.8, (500, n)), 10.0 ** rng.uniform(-6, -0.5, (500, n))
    patch = Patch.boxes(Interval(middle - half, middle + half))
    form, wide = loop.relax(patch), loop.with_disturbances(patch)
    assert wide.half.shape[-1] == n + len(pushes)
    for sign in (-1.0, 0.0, 1.0, None):
        d = rng.uniform(-wide.half, wide.half) if sign is None else sign * wide.half
        w = np.clip(loop.disturbance_box.mid + d[:, n:], loop.disturbance_box.lo, loop.disturbance_box.hi)
        y = loop(patch.point.mid + d[:, :n], w)
        line = form.value + (form.matrix @ d[..., None])[..., 0]
        assert (np.abs(y - line) <= form.radius + 1e-12).all()
        enclosed = loop.enclose(patch.hull)
        assert ((y >= enclosed.lo - 1e-12) & (y <= enclosed.hi + 1e-12)).all()
    assert (form.radius[half.max(axis=1) < 1e-4] < 1e-3).all()  # the disturbance is in the form, not in the error


# ---- a saturated loop ----


@pytest.fixture(scope="module")
def proved() -> Certificate:
    claim = certify(TASK, LAW, V, disturbance=W, kappa=1e-3)
    assert claim.is_proved
    return claim


@pytest.mark.slow
def test_attacks_find_nothing(proved: Certificate) -> None:
    loop, rng = ClosedLoop(TASK, LAW, disturbance=W), np.random.default_rng(0)
    reach = loop.disturbance_box.hi[0]
    z = rng.standard_normal((20_000, 2))
    z *= rng.random((len(z), 1)) ** 0.5 / np.linalg.norm(z, axis=1, keepdims=True)
    x = np.sqrt(proved.level) * z @ np.linalg.inv(np.linalg.cholesky(V.P))
    within = np.zeros(len(x), dtype=bool)
    for k in range(300):
        worst = np.stack([V(loop(x, np.full((len(x), 1), w))) for w in (-reach, reach)])
        greedy = np.where(worst[0] > worst[1], -reach, reach)
        w = (greedy, rng.uniform(-reach, reach, len(x)), np.full(len(x), reach if k // 7 % 2 else -reach))[k % 3]
        after = loop(x, w[:, None])
        assert (V(after) <= np.maximum((1 - proved.kappa) * V(x), proved.inner)).all()
        x, within = after, within | (V(x) <= proved.inner)
        assert (V(x[within]) <= proved.inner).all()
    assert within.all()


def test_what_a_certificate_says(proved: Certificate) -> None:
    assert "any push in [-0.02, 0.02] in any sample" in proved.claim
    assert "without disturbance" not in str(proved)
    assert "V(f(x, w)) < max((1 - 0.001) V(x), " in str(proved)
    assert proved.inner < 0.01 * proved.level
    assert largest_level(TASK, LAW, V, disturbance=W, resolution=0.01).level > proved.level


def mutated(**fields: object) -> SaturatedLinear:
    return dataclasses.replace(LAW, **fields)  # type: ignore[arg-type]


def wronged(
    pushes: float = 0.02, law: Law = LAW, task: Task = TASK, level: float = 1.0, **fields: float
) -> Certificate:
    inner, kappa = (fields.get(name, otherwise) for name, otherwise in (("inner", 0.034), ("kappa", 0.0)))
    P = QuadraticLyapunov(V.P * [[1, fields.get("tilt", 1.0)], [fields.get("tilt", 1.0), 1]], np.zeros(2))
    W = {"push": (-pushes, pushes)}
    return certify(task, law, P, level, kappa, SearchLimits(100_000, 20.0), disturbance=W, inner=inner)


MUTANTS: dict[str, Callable[[], Certificate]] = {
    "more push": lambda: wronged(0.03),
    "much more push": lambda: wronged(0.6, level=20.0, inner=10.0),
    "push beyond the motor": lambda: wronged(0.9, level=20.0, inner=10.0),
    "less inner": lambda: wronged(inner=0.025),
    "no inner": lambda: wronged(inner=1e-9),
    "level": lambda: wronged(level=24.0),
    "sign": lambda: wronged(law=mutated(K=-LAW.K)),
    "weak gain": lambda: wronged(law=mutated(K=0.5 * LAW.K)),
    "no gain": lambda: wronged(law=mutated(K=0.0 * LAW.K)),
    "strong gain": lambda: wronged(law=mutated(K=4.0 * LAW.K)),
    "one gain": lambda: wronged(law=mutated(K=LAW.K * [[1.0, -1.0]])),
    "offset": lambda: wronged(law=mutated(u_ref=[0.02])),
    "beside": lambda: wronged(law=mutated(x_ref=[0.05, 0.0])),
    "weak motor": lambda: wronged(law=mutated(lower=[-0.4], upper=[0.4]), level=21.0),
    "slow sampling": lambda: wronged(task=dataclasses.replace(TASK, dt=0.3)),
    "heavier": lambda: wronged(task=dataclasses.replace(TASK, truth=dataclasses.replace(TASK.plant, mass=0.3))),
    "kappa": lambda: wronged(kappa=0.2),
    "tilted V": lambda: wronged(tilt=-1.0),
}


def breaks(claim: Certificate, task: Task, law: Law, push: float) -> bool:
    """Whether some of many states of the set break the claim under one of the largest pushes, by numbers."""
    z = np.random.default_rng(1).standard_normal((50_000, 2))
    z *= (np.arange(len(z))[:, None] / len(z)) ** 0.5 / np.linalg.norm(z, axis=1, keepdims=True)
    x = np.sqrt(claim.level) * z @ np.linalg.inv(np.linalg.cholesky(claim.V.P))  # type: ignore[attr-defined]
    loop = ClosedLoop(task, law)
    most = np.maximum(*(claim.V(loop(x, np.full((len(x), 1), w))) for w in (-push, push)))
    return bool((most > np.maximum((1 - claim.kappa) * claim.V(x), claim.inner) + 1e-9).any())


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_are_refused(name: str) -> None:
    claim = MUTANTS[name]()
    assert claim.kind is Kind.REFUSED, str(claim)
    assert claim.counterexample is not None
    assert "under w = " in claim.reason


def test_what_is_not_mutated_is_proved() -> None:
    assert wronged().is_proved
    assert wronged(level=21.0).is_proved


def test_counterexamples_break_the_claim_by_numbers() -> None:
    for claim, push in ((wronged(0.03), 0.03), (wronged(level=24.0), 0.02), (wronged(inner=0.025), 0.02)):
        assert breaks(claim, TASK, LAW, push)
        loop, x = ClosedLoop(TASK, LAW), claim.counterexample
        assert x is not None
        after = max(float(claim.V(loop(x, np.array([w])))) for w in (-push, push))
        assert after > max(float(claim.V(x)), claim.inner)
    assert not breaks(wronged(), TASK, LAW, 0.02)


# ---- files ----


def test_a_certificate_survives_its_file(tmp_path: Path, proved: Certificate) -> None:
    stored = read(save(proved, TASK, LAW, "pendulum", tmp_path / "p"), TASK)
    found = recheck(stored)
    assert found.holds, found.reason
    looked = audit(stored, found.low, found.high, points=200)
    assert looked.failure is None
    assert looked.relevant > 20
    region, loop = stored.claim.region, stored.claim.loop
    for fake in (
        forged(stored, region=dataclasses.replace(region, inner=0.5 * region.inner)),
        forged(stored, region=dataclasses.replace(region, inner=0.0)),
        forged(stored, region=dataclasses.replace(region, inner=2 * region.level)),
        forged(stored, region=dataclasses.replace(region, level=1.1 * region.level)),
        forged(stored, loop=dataclasses.replace(loop, disturbance={"push": (-0.05, 0.02)})),
        forged(stored, loop=dataclasses.replace(loop, disturbance={"push": (-0.02, 0.05)})),
        forged(stored, proof=dataclasses.replace(stored.proof, axis=np.full_like(stored.proof.axis, -1))),
    ):
        assert not recheck(fake).holds
    core = dataclasses.replace(stored.proof, core=np.full(2, 1e3))
    small = dataclasses.replace(region, inner=0.5 * region.inner)
    assert not recheck(forged(stored, proof=core, region=small)).holds
    wild = forged(stored, loop=dataclasses.replace(loop, disturbance={"push": (-0.5, 0.5)}))
    assert audit(wild, -np.ones((1, 2)), np.ones((1, 2)), points=300).failure is not None


# ---- misuse ----


def test_misuse() -> None:
    with pytest.raises(NotApplicable, match="unbounded"):
        disturbances(dataclasses.replace(TASK, disturbance=Gaussian({"push": 0.1})))
    with pytest.raises(NotApplicable, match="has no disturbance"):
        disturbances(dataclasses.replace(TASK, disturbance=Fixed()))
    with pytest.raises(UnknownName):
        certify(TASK, LAW, V, 1.0, disturbance={"wind": (-1.0, 1.0)})
    for ends in ((0.1, -0.1), (-np.inf, 0.1), (np.nan, 0.1)):
        with pytest.raises(InvalidValue, match="bounded interval"):
            certify(TASK, LAW, V, 1.0, disturbance={"push": ends})
    with pytest.raises(InvalidValue, match="inner"):
        certify(TASK, LAW, V, 1.0, disturbance=W, inner=0.0)
    with pytest.raises(InvalidValue, match="inner"):
        certify(TASK, LAW, V, 1.0, disturbance=W, inner=2.0)


def test_the_inner_level_that_is_claimed_by_default() -> None:
    """None without disturbances, and never one beyond the level."""
    assert reachable(ClosedLoop(TASK, LAW), V) == 0.0
    loop = ClosedLoop(TASK, LAW, disturbance=W)
    wide = reachable(loop, V)
    assert wide == pytest.approx(1.2 * sampled_inner(loop, V))
    assert reachable(loop, V, level=0.01 * wide) == 0.01 * wide


def test_one_unbounded_disturbance_among_others_is_refused() -> None:
    task, _ = linear(0.5 * np.eye(2), np.eye(2))
    first = task.plant.disturbance.names[0]
    with pytest.raises(NotApplicable, match="unbounded disturbances"):
        disturbances(dataclasses.replace(task, disturbance=Gaussian({first: 0.1})))


@pytest.mark.parametrize("kappa", [0.0, 0.3])
def test_a_share_of_the_decrease_asks_for_a_larger_inner_level(kappa: float) -> None:
    """x+ = x / 2 + w leaves (1 - kappa) x^2 where |x| = |w| / (sqrt(1 - kappa) - 1/2); x' = -x + w where
    |x| = 2 |w| / (2 - kappa)."""
    square = QuadraticLyapunov(np.eye(1), np.zeros(1))
    task, law = linear([[0.5]], [[1.0]])
    loop = ClosedLoop(task, law, disturbance={task.plant.disturbance.names[0]: (-0.1, 0.1)})
    right = (1 - kappa) * (0.1 / (np.sqrt(1 - kappa) - 0.5)) ** 2
    assert sampled_inner(loop, square, kappa, level=1.0, box=box(1.0, 1)) == pytest.approx(right, rel=1e-3)
    flowing = dataclasses.replace(task, plant=LinearPlant([[-1.0]], [[0.0]], [[1.0]]))
    flow = ClosedLoop(flowing, law, True, disturbance={flowing.plant.disturbance.names[0]: (-0.1, 0.1)})
    least = (0.2 / (2 - kappa)) ** 2
    assert sampled_inner(flow, square, kappa, level=1.0, box=box(1.0, 1)) == pytest.approx(least, rel=1e-3)


# ---- where the inner level is sampled ----


@dataclass(frozen=True)
class Cliff(Plant):
    """x+ = x / 2 + share * w, and far more of w where a condition on the state is positive."""

    beyond: Any
    share: float = 1.0
    dt: float = 1.0

    state = signals("a", "b")
    input = signals("u")
    disturbance = signals("w")

    def step(self, x, u, w):
        return 0.5 * x.a + w.w * (self.share + 1e3 * ca.fmax(0, self.beyond(x.a, x.b))), 0.5 * x.b + 0 * u.u


def cliff(beyond: Any, share: float = 1.0) -> ClosedLoop:
    task = Task("cliff", Cliff(beyond, share), 1.0, 5, Quadratic([1.0, 1.0], [1.0]), Fixed(np.zeros(2)))
    idle = SaturatedLinear(np.zeros((1, 2)), np.zeros(2), np.zeros(1), [-1.0], [1.0])
    return ClosedLoop(task, idle, disturbance={"w": (-0.05, 0.05)})


ROUND = QuadraticLyapunov(np.eye(2), np.zeros(2))


def test_the_inner_level_is_sampled_within_the_level() -> None:
    loop = cliff(lambda a, b: a**2 + b**2 - 1.0, share=0.0)
    assert sampled_inner(loop, ROUND, level=1.0, box=box(1.0, 2)) == 0.0
    assert sampled_inner(loop, ROUND, level=1.5, box=box(1.0, 2)) > 0.0


def test_a_disturbance_without_effect_still_claims_a_set() -> None:
    """An inner level of zero would claim convergence."""
    loop = cliff(lambda a, b: -1.0, share=0.0)
    assert 0.0 < reachable(loop, ROUND, level=1.0, box=box(1.0, 2)) <= 1e-12


@dataclass(frozen=True)
class Edge(Plant):
    """x+ = x/2 + w, and five times as much for each unit beyond 0.22."""

    dt: float = 1.0
    state, input, disturbance = signals("x"), signals("u"), signals("w")

    def step(self, x, u, w):
        return (0.5 * x.x + 5.0 * (ca.fmax(x.x - 0.22, 0.0) - ca.fmax(-x.x - 0.22, 0.0)) + w.w,)


def test_the_inner_level_is_sampled_within_the_box() -> None:
    """V = x^2 need not decrease up to |x| = 0.2, where it is 0.04 at most afterwards; beyond the box it grows."""
    idle = SaturatedLinear(np.zeros((1, 1)), *np.zeros((4, 1)))
    task = Task("edge", Edge(), 1.0, 5, Quadratic([1.0], [1.0]), Fixed([0.1]))
    loop = ClosedLoop(task, idle, disturbance={"w": (-0.1, 0.1)})
    square = QuadraticLyapunov(np.eye(1), np.zeros(1))
    assert sampled_inner(loop, square, level=1.0, box=box(0.22, 1)) == pytest.approx(0.04, rel=1e-3)
