"""Each bound of the proof by itself: no member of what it speaks of lies beyond it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from fractions import Fraction

import casadi as ca
import numpy as np
import pytest

from ctrl.certify import ClosedLoop, Lyapunov, QuadraticLyapunov, SearchLimits, SymbolicLyapunov, certify
from ctrl.certify.bounds.decrease import change, decreases_around, lowest, negative_definite
from ctrl.certify.bounds.examiner import Examiner
from ctrl.certify.bounds.frame import Frame, frames
from ctrl.certify.claims.claim import Claim
from ctrl.certify.claims.sublevel_set import SublevelSet
from ctrl.certify.search.border import holds_at_border
from ctrl.laws import SaturatedLinear
from systems import Box, Plant, Quadratic, SetPoint, Task, Uniform, signals
from systems.arithmetic.affine import Affine, Patch
from systems.arithmetic.balls import Ball
from systems.arithmetic.interval import Interval

ORIGIN = np.zeros(2)
IDLE = SaturatedLinear(np.zeros((1, 2)), ORIGIN, np.zeros(1), -np.ones(1), np.ones(1))


def bent() -> SymbolicLyapunov:
    """Neither convex nor even, with third derivatives."""
    x = ca.SX.sym("x", 2)
    W = 2 * x[0] ** 2 + x[0] * x[1] + x[1] ** 2 + 0.4 * x[0] ** 3 - 0.2 * x[1] ** 4 + ca.sin(2 * x[0] + x[1])
    return SymbolicLyapunov(ca.Function("W", [x], [W]), np.array([0.1, -0.2]))


CANDIDATES: dict[str, Lyapunov] = {
    "quadratic": QuadraticLyapunov(np.array([[2.0, 0.3], [0.3, 1.0]]), np.array([0.1, -0.2])),
    "bent": bent(),
}


def forms(rng: np.random.Generator, V: Lyapunov, count: int) -> tuple[Patch, Affine]:
    """Boxes and affine forms of some loop over them; of every third, the remainder is all that there is."""
    middle, half = rng.uniform(-1, 1, (count, 2)), 10.0 ** rng.uniform(-3, -0.5, (count, 2))
    patch = Frame(ORIGIN, rng.normal(size=(2, 2))).patch(middle - half, middle + half)
    value, matrix = rng.uniform(-1, 1, (count, 2)), rng.normal(size=(count, 2, 2))
    radius = 10.0 ** rng.uniform(-3, 0, (count, 2))
    value[::3], matrix[::3] = V.middle, 0.0
    return patch, Affine(value, matrix, radius)


@pytest.mark.parametrize("kappa", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize("which", CANDIDATES)
def test_the_change_is_bounded_whatever_the_remainder_is(which: str, continuous: bool, kappa: float) -> None:
    """f(x) = value + matrix d + e for any |e| <= radius, not only for the one that a loop happens to have."""
    V, rng = CANDIDATES[which], np.random.default_rng(3)
    patch, f = forms(rng, V, 300)
    found = change(V, patch, f, kappa, continuous)
    reached = np.full(300, -np.inf)
    for k in range(400):
        d, e = (
            (rng.choice([-1.0, 1.0], half.shape) if k % 2 else rng.uniform(-1, 1, half.shape)) * half
            for half in (patch.half, f.radius)
        )
        x = patch.point.mid + d @ patch.T.T
        after = f.value + (f.matrix @ d[..., None])[..., 0] + e
        g = (V.gradient(x) * after).sum(-1) + kappa * V(x) if continuous else V(after) - (1 - kappa) * V(x)
        assert (g <= found.upper + 1e-9 * (1 + np.abs(g))).all()
        assert (V(x) >= found.V - 1e-9).all()
        reached = np.maximum(reached, g)
    if which == "quadratic":  # and no bound is so far off that it would not see a term that is missing
        assert np.quantile((found.upper - reached) / (1 + np.abs(reached)), 0.5) < 0.5


@pytest.mark.parametrize("which", CANDIDATES)
def test_no_value_lies_below_the_lowest(which: str) -> None:
    """By which boxes are discarded as beyond the set."""
    V, rng = CANDIDATES[which], np.random.default_rng(8)
    middle, half = rng.uniform(-2, 2, (400, 2)), 10.0 ** rng.uniform(-4, 0, (400, 2))
    patch = Frame(ORIGIN, rng.normal(size=(2, 2))).patch(middle - half, middle + half)
    least = lowest(V, patch)
    reached = np.full(400, np.inf)
    for k in range(300):
        d = (rng.choice([-1.0, 1.0], half.shape) if k % 2 else rng.uniform(-1, 1, half.shape)) * patch.half
        reached = np.minimum(reached, V(patch.point.mid + d @ patch.T.T))
    assert (least <= reached + 1e-9 * (1 + np.abs(reached))).all()
    assert np.quantile((reached - least)[patch.half.max(axis=1) < 0.02], 0.5) < 0.05


@pytest.mark.parametrize("which", CANDIDATES)
def test_no_value_of_a_wide_box_lies_below_either(which: str) -> None:
    """Boxes wider than 1, in coordinates that lie across those of V: also for the bound that the change comes with."""
    V, rng = CANDIDATES[which], np.random.default_rng(18)
    middle, half = rng.uniform(-6, 6, (300, 2)), 10.0 ** rng.uniform(-1, 0.9, (300, 2))
    patch = Frame(ORIGIN, rng.normal(size=(2, 2))).patch(middle - half, middle + half)
    nowhere = Affine(np.zeros((300, 2)), np.zeros((300, 2, 2)), np.zeros((300, 2)))
    bounds = lowest(V, patch), change(V, patch, nowhere, 0.0, True).V
    reached = np.full(300, np.inf)
    for k in range(200):
        d = (rng.choice([-1.0, 1.0], half.shape) if k % 2 else rng.uniform(-1, 1, half.shape)) * patch.half
        reached = np.minimum(reached, V(patch.point.mid + d @ patch.T.T))
    for least in bounds:
        assert (least <= reached + 1e-9 * (1 + np.abs(reached))).all()
    if which == "quadratic":  # and along the coordinates of the boxes it is the tangent that tells most
        tilt = np.abs(V.gradient(patch.point.mid) @ patch.T)
        tangent = V(patch.point.mid) - (tilt * patch.half).sum(-1)
        for least in bounds:
            assert (least >= tangent - 1e-9 * (1 + np.abs(tangent))).all()
        assert (bounds[0] >= 0).all()


def test_the_lowest_is_the_better_of_two_bounds() -> None:
    """Along a ridge of V the tangent tells more, across a wide box the enclosure does."""
    V = QuadraticLyapunov(np.array([[1.0, 0.999], [0.999, 1.0]]), ORIGIN)
    far = Patch.boxes(Interval(np.array([[3.0, 3.0], [-9.0, -9.0]]), np.array([[3.2, 3.2], [9.0, 9.0]])))
    tangent = 2.0 * 2.0 * 1.999 * 3.1 * 3.1 / 2.0 - 2.0 * 1.999 * 3.1 * 0.2
    assert tangent - 1e-9 <= lowest(V, far)[0] <= V(np.array([3.0, 3.0]))
    assert lowest(V, far)[1] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize("kappa", [0.0, 0.1])
def test_all_around_the_centre_falls_where_that_is_shown(continuous: bool, kappa: float) -> None:
    """For slopes anywhere in the balls and any state of the core, as f(x) = J d, or c + J d."""
    rng = np.random.default_rng(9)
    shown_at_all = refused = 0
    for V in (QuadraticLyapunov(np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([0.3, -0.2])), around(0.3, -0.2)):
        T = np.array([[1.0, 0.4], [-0.2, 0.8]])
        half = 10.0 ** rng.uniform(-2.5, -0.5, (200, 2))
        reach = half @ np.abs(T).T
        at = Interval(np.broadcast_to(V.centre.lo, half.shape), np.broadcast_to(V.centre.hi, half.shape))
        core = Patch(Interval(at.lo - reach, at.hi + reach), at, half, T)
        base = -np.eye(2) if continuous else 0.6 * np.eye(2)
        mid = (base + 0.4 * rng.normal(size=(200, 2, 2)) * rng.random((200, 1, 1))) @ T
        slopes = Ball(mid, 0.2 * rng.random((200, 2, 2)) * rng.random((200, 1, 1)))
        shown = decreases_around(V, slopes, core, kappa, continuous)
        shown_at_all, refused = shown_at_all + int(shown.sum()), refused + int((~shown).sum())
        broken = np.zeros(200, bool)
        for k in range(300):
            d = (rng.choice([-1.0, 1.0], half.shape) if k % 2 else rng.uniform(-1, 1, half.shape)) * half
            J = slopes.mid + slopes.rad * rng.choice([-1.0, 1.0], slopes.mid.shape)
            x, moved = V.middle + d @ T.T, (J @ d[..., None])[..., 0]
            g = (
                (V.gradient(x) * moved).sum(-1) + kappa * V(x)
                if continuous
                else V(V.middle + moved) - (1 - kappa) * V(x)
            )
            broken |= (g >= 0) | (V(x) <= 0)
        assert not (shown & broken).any()
    assert shown_at_all > 40
    assert refused > 40


def core_of(half: list[float], hull: float) -> Patch:
    """A parallelepiped around the origin, its hull a little wider than it is."""
    reach, zero = np.array([half]) * hull, np.zeros((1, len(half)))
    return Patch(Interval(-reach, reach), Interval.of(zero), np.array([half]), np.eye(len(half)))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_the_share_by_which_all_around_the_centre_falls_is_asked_for(share: float) -> None:
    """Of x' = -x / 2 turned by any rate, |x|^2 falls by exactly 1 per second; of x+ = r x turned, by 1 - r^2."""
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    core = core_of([0.3, 0.3], 1.0)
    for V in (ROUND, SymbolicLyapunov(_squares(2), ORIGIN)):
        flow = Ball.of((-0.5 * share * np.eye(2) + 3.0 * turn)[None])
        r = np.sqrt(1.0 - share)
        step = Ball.of((r * (0.6 * np.eye(2) + 0.8 * turn))[None])
        for kappa, falls in ((0.99 * share, share > 0), (1.01 * share, False), (share, False)):
            assert decreases_around(V, flow, core, kappa, True)[0] == falls
            assert decreases_around(V, step, core, kappa, False)[0] == falls


def _squares(n: int) -> ca.Function:
    x = ca.SX.sym("x", n)
    return ca.Function("W", [x], [ca.sumsqr(x)])


def test_the_bend_of_a_candidate_counts_where_the_core_is_mapped_to() -> None:
    """f = (3 y, 0) leads from |y| <= 0.1 to |x| <= 0.3, on one side of which V is much steeper than within the core."""
    x = ca.SX.sym("x", 2)
    for side in (1.0, -1.0):
        W = x[0] ** 2 + side * 15 * x[0] ** 3 + 25 * x[0] ** 4 + 60 * x[1] ** 2
        V = SymbolicLyapunov(ca.Function("W", [x], [W]), ORIGIN)
        start = np.array([0.0, 0.1 * side])
        image = Ball.of(np.array([[[0.0, 3.0], [0.0, 0.0]]]))
        assert V(image.mid[0] @ start) > V(start) > 0
        assert not decreases_around(V, image, core_of([0.02, 0.1], 1.0), 0.0, False)[0]
        assert decreases_around(V, image, core_of([0.02, 0.01], 1.0), 0.0, False)[0]


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize("kappa", [0.0, 0.5])
def test_a_candidate_that_is_negative_beside_the_centre_shows_nothing(continuous: bool, kappa: float) -> None:
    """V = x^2 - y^2 falls where x shrinks and y grows, and a share of what is negative is no decrease."""
    x = ca.SX.sym("x", 2)
    V = SymbolicLyapunov(ca.Function("W", [x], [x[0] ** 2 - x[1] ** 2]), ORIGIN)
    for growth in (0.0, 1.0):
        slopes = np.diag([-1.0, growth]) if continuous else np.diag([0.1, 1.0 + growth])
        assert not decreases_around(V, Ball.of(slopes[None]), core_of([0.3, 0.3], 1.0), kappa, continuous)[0]


def around(a: float, b: float) -> SymbolicLyapunov:
    x = ca.SX.sym("x", 2)
    y, z = x[0] - a, x[1] - b
    W = y**2 + 1.5 * z**2 + 0.5 * y * z + 0.6 * y**3 + 0.3 * ca.sin(z) ** 3
    return SymbolicLyapunov(ca.Function("W", [x], [W]), np.array([a, b]))


def test_a_matrix_is_negative_definite_when_all_of_its_members_are() -> None:
    rng = np.random.default_rng(10)
    mid = -np.eye(3) * rng.uniform(0.1, 2.0, (500, 1, 1)) + 0.4 * rng.normal(size=(500, 3, 3))
    mid = 0.5 * (mid + mid.swapaxes(1, 2))
    rad = rng.random((500, 1, 1)) ** 2 * rng.random((500, 3, 3))
    rad = 0.5 * (rad + rad.swapaxes(1, 2))
    shown = negative_definite(Ball(mid, rad))
    worst = np.full(500, -np.inf)
    for _ in range(200):
        signs = np.triu(rng.choice([-1.0, 1.0], (500, 3, 3)))
        signs = signs + np.triu(signs, 1).swapaxes(1, 2)
        worst = np.maximum(worst, np.linalg.eigvalsh(mid + rad * signs).max(axis=1))
    assert not (shown & (worst >= 0)).any()
    assert shown[(worst < -0.3)].mean() > 0.7
    assert 50 < shown.sum() < 450
    for r, holds in ((0.0, True), (0.99, True), (1.01, False), (1.9, False)):
        across = np.array([[[0.0, r], [r, 0.0]]])
        assert negative_definite(Ball(-np.eye(2)[None], across))[0] == holds  # -1 +- r are the eigenvalues
        assert negative_definite(Ball(-np.eye(2)[None], r * np.eye(2)[None]))[0] == holds
    chain = np.array([[[0.0, 0.9, 0.0], [0.9, 0.0, 0.3], [0.0, 0.3, 0.0]]])  # of spectral radius 0.949, row sum 1.2
    assert negative_definite(Ball(-np.eye(3)[None], chain))[0]
    assert not negative_definite(Ball(-np.eye(3)[None], 1.06 * chain))[0]
    unknown = Ball(-np.eye(2)[None], np.array([[[np.nan, 0.0], [0.0, 0.0]]]))
    assert not negative_definite(unknown)[0]
    assert not negative_definite(Ball(-np.eye(2)[None], np.full((1, 2, 2), np.inf)))[0]
    for nothing in (np.nan, np.inf, -np.inf):
        middle = -np.eye(2)[None].repeat(2, axis=0)
        middle[0, 0, 0] = nothing
        assert negative_definite(Ball.of(middle)).tolist() == [False, True], "of one row nothing is known"


def test_the_remainder_counts_to_second_order() -> None:
    """At the centre, from where f leads anywhere within radius 1: V(f) may be x'Px of any of it, and V is zero."""
    V = QuadraticLyapunov(np.diag([2.0, 3.0]), ORIGIN)
    patch = Patch.boxes(Interval(np.full((1, 2), -1e-9), np.full((1, 2), 1e-9)))
    f = Affine(np.zeros((1, 2)), np.zeros((1, 2, 2)), np.ones((1, 2)))
    assert change(V, patch, f, 0.0, False).upper[0] >= 5.0
    assert change(V, patch, f, 0.0, False).upper[0] < 5.0 + 1e-6


# ---- the border ----


@dataclass(frozen=True)
class Spiral(Plant):
    """x' = -x + turn y, y' = -turn x - y: V = |x|^2 falls everywhere, whether or not a box is left."""

    turn: float = 2.0

    state = signals("x", "y")
    input = signals("u")
    disturbance = signals("w")

    def ode(self, x, u, w):
        return (-x.x + self.turn * x.y + 0 * u.u + w.w, -self.turn * x.x - x.y)


def spiral(bounds: dict[str, tuple[float, float]], turn: float = 2.0) -> Task:
    return Task(
        name="spiral",
        plant=Spiral(turn),
        dt=0.1,
        steps=10,
        cost=Quadratic(np.eye(2), np.eye(1)),
        initial=Uniform([-1, -1], [1, 1]),
        domain=Box("d", bounds),
    )


FACES = [("x", -1), ("x", 1), ("y", -1), ("y", 1)]


@pytest.mark.parametrize(("name", "side"), FACES)
def test_every_face_of_the_box_is_looked_at(name: str, side: int) -> None:
    """Cut at 0.5 on one side alone, a fast spiral leaves through the cut and a slow one does not; one in between leaves
    through it beyond the set alone, which shows when the face is halved."""
    cut = (-10.0, 0.5) if side > 0 else (-0.5, 10.0)
    V = QuadraticLyapunov(np.eye(2), ORIGIN)
    for turn, holds in (
        *((2.0, False), (0.575, True), (0.55, True), (0.2, True)),
        *((-0.2, True), (-0.55, True), (-0.575, True), (-2.0, False)),
    ):
        task = spiral({name: cut}, turn)
        loop = ClosedLoop(task, IDLE, continuous=True)
        boxes, fault = holds_at_border(Claim(loop, SublevelSet(V, 1.0, *task.domain_bounds)), SearchLimits(20_000, 10))
        assert boxes > 0
        assert (fault == "") == holds, (turn, fault)
        assert holds or "leave the region" in fault
        if turn in (2.0, 0.55):
            assert certify(task, IDLE, V, 1.0, continuous=True, budget=SearchLimits(20_000, 10)).is_proved == holds


@pytest.mark.parametrize(("name", "side"), FACES)
def test_a_face_that_the_set_does_not_reach_does_not_matter(name: str, side: int) -> None:
    cut = (-10.0, 0.5) if side > 0 else (-0.5, 10.0)
    V = QuadraticLyapunov(np.eye(2), ORIGIN)
    loop = ClosedLoop(spiral({name: cut}), IDLE, continuous=True)
    assert holds_at_border(Claim(loop, SublevelSet(V, 0.24, *loop.domain)), SearchLimits(20_000, 10))[1] == ""


def test_a_border_that_the_budget_does_not_reach_is_not_shown() -> None:
    V = QuadraticLyapunov(np.eye(2), ORIGIN)
    loop = ClosedLoop(spiral({"x": (-0.5, 0.5)}, 0.57), IDLE, continuous=True)
    region = SublevelSet(V, 1.0, *loop.domain)
    needed, fault = holds_at_border(Claim(loop, region), SearchLimits(20_000, 10))
    assert fault == ""
    assert needed > 8
    assert holds_at_border(Claim(loop, region), SearchLimits(needed, 10))[1] == ""
    boxes, fault = holds_at_border(Claim(loop, region), SearchLimits(needed - 1, 10))
    assert "limits reached on the border" in fault
    assert 0 < boxes < needed
    assert "limits reached" in holds_at_border(Claim(loop, region), SearchLimits(20_000, 0.0))[1]


@pytest.mark.parametrize("side", [-1, 1])
def test_disturbances_push_through_a_face(side: int) -> None:
    """x' = -x + w is at most -0.5 + |w| outward on the face at 0.5."""
    cut = (-10.0, 0.5) if side > 0 else (-0.5, 10.0)
    V = QuadraticLyapunov(np.eye(2), ORIGIN)
    task = spiral({"x": cut}, turn=0.0)
    for most, holds in ((0.45, True), (0.55, False)):
        W = {"w": (-0.1, most) if side > 0 else (-most, 0.1)}
        loop = ClosedLoop(task, IDLE, continuous=True, disturbance=W)
        fault = holds_at_border(Claim(loop, SublevelSet(V, 1.0, *loop.domain, 0.3)), SearchLimits(20_000, 10))[1]
        assert (fault == "") == holds


# ---- a share of what is negative ----


@dataclass(frozen=True)
class Resting(Plant):
    """Everything stays where it is."""

    dt: float = 1.0

    state = signals("x", "y")
    input = signals("u")

    def step(self, x, u, w):
        return (x.x + 0 * u.u, x.y)


@dataclass(frozen=True)
class RestingFlow(Plant):
    state = signals("x", "y")
    input = signals("u")

    def ode(self, x, u, w):
        return (0 * u.u, 0)


@dataclass(frozen=True)
class DisturbedRest(Plant):
    """At rest, though a disturbance is named."""

    state = signals("x", "y")
    input = signals("u")
    disturbance = signals("v")

    def ode(self, x, u, w):
        return (0 * u.u + 0 * w.v, 0)


@pytest.mark.parametrize("plant", [Resting(), RestingFlow()])
def test_a_share_of_a_negative_value_is_no_decrease(plant: Plant) -> None:
    """V(f) = V < (1 - kappa) V wherever V < 0, and V'f = 0 < -kappa V: nothing falls, and nothing may be settled."""
    x = ca.SX.sym("x", 2)
    V = SymbolicLyapunov(ca.Function("V", [x], [ca.sumsqr(x) * ((x[0] - 3) ** 2 - 0.5)]), ORIGIN)
    assert V(np.array([3.0, 0.0])) < -4
    task = Task(
        name="rest",
        plant=plant,
        dt=1.0,
        steps=5,
        cost=Quadratic(np.eye(2), np.eye(1)),
        initial=Uniform([-1, -1], [1, 1]),
        domain=Box("d", {"x": (-5, 5), "y": (-5, 5)}),
    )
    loop = ClosedLoop(task, IDLE, continuous=not plant.is_discrete)
    for kappa in (0.0, 0.2):
        examiner = Examiner(Claim(loop, SublevelSet(V, 10.0, *loop.domain), kappa), Frame(ORIGIN, np.eye(2)))
        found = examiner.examine(np.array([[2.9, -0.1]]), np.array([[3.1, 0.1]]), np.full(2, 0.01))
        assert found.open.all(), kappa


# ---- what settles a box ----


@dataclass(frozen=True)
class Turning(Plant):
    """x+ = 0.9 times x turned by a quarter, and further out 1.5 times x: |x|^2 falls within |x_i| < 0.5 alone."""

    grows: bool = False
    dt: float = 1.0

    state = signals("x", "y")
    input = signals("u")
    disturbance = signals("v", "w")

    def step(self, x, u, w):
        if not self.grows:
            return (0.9 * x.y + 0 * u.u + w.v, -0.9 * x.x + w.w)
        further = [2.0 * (ca.fmax(0, z - 0.5) + ca.fmin(0, z + 0.5)) for z in (x.x, x.y)]
        return (0.5 * x.x + further[0] + 0 * u.u, 0.5 * x.y + further[1])


def turning(grows: bool = False, **bounds: tuple[float, float]) -> Task:
    return Task(
        name="turning",
        plant=Turning(grows),
        dt=1.0,
        steps=5,
        cost=Quadratic(np.eye(2), np.eye(1)),
        initial=Uniform([-1, -1], [1, 1]),
        domain=Box("d", {"x": (-9.0, 9.0), "y": (-9.0, 9.0)} | bounds),
    )


ROUND = QuadraticLyapunov(np.eye(2), ORIGIN)


def examiner(task: Task, level: float, W: dict[str, tuple[float, float]] | None = None, inner: float = 0.0) -> Examiner:
    loop = ClosedLoop(task, IDLE, disturbance=W or {})
    return Examiner(Claim(loop, SublevelSet(ROUND, level, *loop.domain, inner)), Frame(ORIGIN, np.eye(2)))


@pytest.mark.parametrize(("name", "side"), FACES)
def test_the_core_may_not_leave_the_box_either(name: str, side: int) -> None:
    cut = (-9.0, 0.3) if side > 0 else (-0.3, 9.0)
    found = examiner(turning(**{name: cut}), 2.0).settled_around(np.array([[0.29, 0.29], [0.9, 0.9], [0.05, 0.05]]))
    assert found.tolist() == [True, False, True]
    whole = examiner(turning(), 2.0).settled_around(np.array([[0.29, 0.29], [0.9, 0.9]]))
    assert whole.all()


@pytest.mark.parametrize(("name", "side"), FACES)
def test_a_box_whose_image_leaves_the_region_is_open(name: str, side: int) -> None:
    cut = (-9.0, 0.3) if side > 0 else (-0.3, 9.0)
    middle = np.zeros((4, 2))
    # One box on each axis, of which one is turned into the cut.
    middle[[0, 1], 0], middle[[2, 3], 1] = (0.8, -0.8), (0.8, -0.8)
    low, high = middle - 0.1, middle + 0.1
    assert not examiner(turning(), 2.0).examine(low, high, np.full(2, 0.01)).open.any()
    inside = ((high <= [cut[1] if name == "x" else 9.0, cut[1] if name == "y" else 9.0]).all(axis=1)) & (
        (low >= [cut[0] if name == "x" else -9.0, cut[0] if name == "y" else -9.0]).all(axis=1)
    )
    image = np.stack([0.9 * middle[:, 1], -0.9 * middle[:, 0]], axis=1)
    leaves = side * image[:, 0 if name == "x" else 1] > 0.3
    found = examiner(turning(**{name: cut}), 2.0).examine(low, high, np.full(2, 0.01))
    assert (found.open == (leaves & inside)).all()
    assert found.open.sum() == 1


@pytest.mark.parametrize(("name", "side"), FACES)
def test_a_box_whose_image_crosses_the_border_is_open(name: str, side: int) -> None:
    """A part of the image is inside, and |x|^2 falls all over the box."""
    cut = (-9.0, 0.3) if side > 0 else (-0.3, 9.0)
    middle = np.array([0.0, side * 0.3 / 0.9] if name == "x" else [-side * 0.3 / 0.9, 0.0])
    low, high = (middle - 0.1)[None], (middle + 0.1)[None]
    assert not examiner(turning(), 2.0).examine(low, high, np.full(2, 0.01)).open.any()
    assert examiner(turning(**{name: cut}), 2.0).examine(low, high, np.full(2, 0.01)).open.all()


def test_a_box_of_a_flow_is_in_the_inner_set_as_a_whole_or_open() -> None:
    """Everything rests, so that V decreases nowhere: only what lies in the inner set is settled."""
    task = dataclasses.replace(turning(), plant=DisturbedRest())
    loop = ClosedLoop(task, IDLE, continuous=True, disturbance={"v": (-0.1, 0.1)})
    known = Examiner(Claim(loop, SublevelSet(ROUND, 2.0, *loop.domain, 0.25)), Frame(ORIGIN, np.eye(2)))
    middle = np.array([[0.2, 0.0], [0.5, 0.0], [0.9, 0.0]])  # inside the inner set, across its border, beyond it
    assert known.examine(middle - 0.1, middle + 0.1, np.zeros(2)).open.tolist() == [False, True, True]


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_the_core_settles_what_lies_in_it_alone(axis: int, side: float) -> None:
    """Whatever sticks out of it on one side is looked at, where |x|^2 grows."""
    low, high = np.full((1, 2), -0.1), np.full((1, 2), 0.1)
    core = np.full(2, 0.4)
    known = examiner(turning(grows=True), 2.0)
    assert not known.examine(low, high, core).open.any()
    (high if side > 0 else low)[0, axis] = side * 0.9
    assert known.examine(low, high, core).open.all()
    (low if side > 0 else high)[0, axis] = side * 0.8
    assert known.examine(low, high, core).open.all()
    assert not examiner(turning(grows=True), 0.6).examine(low, high, core).open.any(), "beyond the level"


def test_coordinates_that_do_not_serve_settle_nothing() -> None:
    known = examiner(turning(), 2.0)
    low, high = np.full((2, 2), -0.1), np.full((2, 2), 0.1)
    for T in (np.array([[1.0, 2.0], [2.0, 4.0]]), np.full((2, 2), np.nan), np.zeros((2, 2))):
        flat = dataclasses.replace(known, frame=Frame(ORIGIN, T))
        assert flat.cover() is None
        assert flat.examine(low, high, np.full(2, 0.5)).open.all()


def test_an_inner_set_takes_what_ends_in_it() -> None:
    """Under |w| <= 0.1 the turned boxes end within 0.9 |x| + 0.1 in every coordinate."""
    W = {"v": (-0.1, 0.1), "w": (-0.1, 0.1)}
    low, high = np.array([[-0.1, -0.1], [0.2, 0.2]]), np.array([[0.1, 0.1], [0.25, 0.25]])
    most = [2 * (0.9 * 0.1 + 0.1) ** 2, 2 * (0.9 * 0.25 + 0.1) ** 2]
    for k in range(2):
        for factor, settled in ((1.05, True), (0.9, False)):
            found = examiner(turning(), 2.0, W, inner=factor * most[k]).examine(low[[k]], high[[k]], np.zeros(2))
            assert found.open[0] != settled, (k, factor)
    centred = examiner(turning(), 2.0, W, inner=1e-6).examine(low[:1], high[:1], np.full(2, 0.5))
    assert centred.open[0], "no core counts where something is claimed of an inner set"


@pytest.mark.parametrize(("name", "side"), FACES)
def test_a_box_across_the_border_of_the_region_is_looked_at(name: str, side: int) -> None:
    cut = (-9.0, 0.7) if side > 0 else (-0.7, 9.0)
    low, high = np.full((2, 2), -0.01), np.full((2, 2), 0.01)
    axis = 0 if name == "x" else 1
    low[:, axis], high[:, axis] = ([0.6, 0.71], [0.8, 0.8]) if side > 0 else ([-0.8, -0.8], [-0.6, -0.71])
    found = examiner(turning(grows=True, **{name: cut}), 2.0).examine(low, high, np.full(2, 0.01))
    assert found.open.tolist() == [True, False], "the second lies beyond the border as a whole"


# ---- coordinates ----


def exactly(T: np.ndarray, z: np.ndarray, origin: np.ndarray) -> list[Fraction]:
    """origin + T z without rounding."""
    return [
        Fraction(o) + sum((Fraction(a) * Fraction(b) for a, b in zip(row, z.tolist(), strict=True)), Fraction(0))
        for row, o in zip(T.tolist(), origin.tolist(), strict=True)
    ]


@pytest.mark.parametrize("n", [1, 2, 4])
def test_a_patch_holds_its_states(n: int) -> None:
    rng = np.random.default_rng(n)
    for scale in (1.0, 1e-6, 1e5):
        frame = Frame(rng.normal(size=n) * rng.integers(2), scale * rng.normal(size=(n, n)))
        middle, half = rng.normal(size=(30, n)), 10.0 ** rng.uniform(-16, 0, (30, n))
        middle[::2] = 0.0
        low, high = middle - half, middle + half
        patch = frame.patch(low, high)
        centre = Interval(low, high).mid
        for k in range(30):
            for z in (low[k], high[k], centre[k], *np.where(frame.T > 0, low[k], high[k])):
                for i, x in enumerate(exactly(frame.T, z, frame.origin)):
                    assert Fraction(patch.hull.lo[k, i]) <= x <= Fraction(patch.hull.hi[k, i])
            for i, x in enumerate(exactly(frame.T, centre[k], frame.origin)):
                assert Fraction(patch.point.lo[k, i]) <= x <= Fraction(patch.point.hi[k, i])
            # Coordinates d from the middle reach both ends.
            assert Fraction(patch.half[k, 0]) >= Fraction(high[k, 0]) - Fraction(centre[k, 0])
            assert Fraction(patch.half[k, 0]) >= Fraction(centre[k, 0]) - Fraction(low[k, 0])
        assert ((patch.hull.hi - patch.hull.lo) <= 2.01 * (half @ np.abs(frame.T).T) + 1e-12 * scale + 1e-12).all()


@pytest.mark.parametrize("n", [1, 2, 4])
def test_a_cover_holds_the_coordinates_of_all_states(n: int) -> None:
    """Also of an ill-conditioned frame, whose inverse in floating point is off by much."""
    rng = np.random.default_rng(10 + n)
    for condition in (1.0, 1e6, 1e11, 1e14, 1e15):
        U, V = (np.linalg.qr(rng.normal(size=(n, n)))[0] for _ in range(2))
        T = U * np.geomspace(1.0, 1.0 / condition, n) @ V
        frame = Frame(rng.normal(size=n), T)
        lower, upper = -rng.random(n), rng.random(n)
        cover = frame.cover(lower, upper)
        if cover is None and condition > 1e12:  # too far from regular to tell
            continue
        assert cover is not None
        R = np.linalg.inv(T)
        for x in (*np.where(R > 0, lower, upper), *np.where(R > 0, upper, lower), *rng.uniform(lower, upper, (20, n))):
            z = solved(T, [Fraction(a) - Fraction(b) for a, b in zip(x.tolist(), frame.origin.tolist(), strict=True)])
            for i, a in enumerate(z):
                assert Fraction(cover[0][i]) <= a <= Fraction(cover[1][i]), (condition, i)
    assert Frame(np.zeros(2), np.array([[1.0, 2.0], [2.0, 4.0]])).cover(-np.ones(2), np.ones(2)) is None
    assert Frame(np.zeros(2), np.array([[1.0, np.inf], [2.0, 4.0]])).cover(-np.ones(2), np.ones(2)) is None


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_cover_allows_for_an_inverse_that_is_off(sign: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """By much more than rounding: of a state alone, and of a box from it to the origin."""
    rng = np.random.default_rng(21)
    inverse = np.linalg.inv
    for _ in range(50):
        T = rng.normal(size=(2, 2))
        wrong = np.eye(2) + 3e-3 * rng.uniform(-1, 1, (2, 2))
        monkeypatch.setattr(np.linalg, "inv", lambda T, wrong=wrong: wrong @ inverse(T))
        frame = Frame(np.zeros(2), T)
        for k in range(2):
            x = sign * T[:, k]  # its coordinates are 1 and 0
            z = solved(T, [Fraction(a) for a in x.tolist()])
            for lower, upper in ((x, x), (np.minimum(x, 0.0), np.maximum(x, 0.0))):
                cover = frame.cover(lower, upper)
                assert cover is not None
                for i, a in enumerate(z):
                    assert Fraction(cover[0][i]) <= a <= Fraction(cover[1][i]), i
    wrong = np.eye(2) + 0.02
    monkeypatch.setattr(np.linalg, "inv", lambda T: wrong @ inverse(T))
    assert Frame(np.zeros(2), np.eye(2)).cover(-np.ones(2), np.ones(2)) is None


def solved(T: np.ndarray, y: list[Fraction]) -> list[Fraction]:
    """T z = y without rounding, by elimination."""
    n = len(y)
    rows = [[Fraction(a) for a in row] + [b] for row, b in zip(T.tolist(), y, strict=True)]
    for i in range(n):
        pivot = max(range(i, n), key=lambda k: abs(rows[k][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [a / rows[i][i] for a in rows[i]]
        for k in range(n):
            if k != i:
                rows[k] = [a - rows[k][i] * b for a, b in zip(rows[k], rows[i], strict=True)]
    return [row[n] for row in rows]


def test_all_frames_that_are_tried_serve() -> None:
    loop = ClosedLoop(turning(grows=True), IDLE)
    found = frames(loop, ROUND)
    assert np.array_equal(found[0].T, np.eye(2))
    for frame in found:
        assert frame.cover(-np.ones(2), np.ones(2)) is not None


@dataclass(frozen=True)
class Shifted(Plant):
    """x+ = c + (x - c) / 2 around c = (0.3, -0.2), and away from it beyond 0.5 on one side of one coordinate."""

    axis: int
    side: float
    dt: float = 1.0

    state = signals("x", "y")
    input = signals("u")

    def step(self, x, u, w):
        away = [x.x - 0.3, x.y + 0.2]
        grown = 3.0 * self.side * ca.fmax(0, self.side * away[self.axis] - 0.5)
        after = [0.5 * a + (grown if i == self.axis else 0.0) for i, a in enumerate(away)]
        return (0.3 + after[0] + 0 * u.u, -0.2 + after[1])


@pytest.mark.parametrize(("name", "side"), FACES)
def test_the_core_lies_around_the_centre_of_V(name: str, side: int) -> None:
    axis, centre = (0 if name == "x" else 1), np.array([0.3, -0.2])
    V = QuadraticLyapunov(np.eye(2), centre)
    task = dataclasses.replace(turning(), plant=Shifted(axis, float(side)), reference=SetPoint(centre, [0.0]))
    loop = ClosedLoop(task, SaturatedLinear(np.zeros((1, 2)), centre, np.zeros(1), -np.ones(1), np.ones(1)))
    frame = Frame(centre, np.eye(2))
    known = Examiner(Claim(loop, SublevelSet(V, 2.0, *loop.domain)), frame)
    assert known.settled_around(np.array([[0.45, 0.45], [0.9, 0.9]])).tolist() == [True, False]
    # The image is c + J d: it stays in a box that ends beyond c by as much, and not in one that ends before.
    for far, holds in ((0.46 / 2, True), (0.44 / 2, False)):
        lower, upper = np.full(2, -9.0), np.full(2, 9.0)
        (upper if side > 0 else lower)[axis] = centre[axis] + side * far
        cut = Examiner(Claim(loop, SublevelSet(V, 2.0, lower, upper)), frame)
        assert cut.settled_around(np.array([[0.45, 0.45]]))[0] == holds


@pytest.mark.parametrize(("name", "side"), FACES)
def test_coordinates_may_begin_anywhere(name: str, side: int) -> None:
    """The core lies around the centre of V, not around the origin of the coordinates: what sticks out of it is open."""
    axis, centre = (0 if name == "x" else 1), np.array([0.3, -0.2])
    V = QuadraticLyapunov(np.eye(2), centre)
    task = dataclasses.replace(turning(), plant=Shifted(axis, float(side)), reference=SetPoint(centre, [0.0]))
    loop = ClosedLoop(task, SaturatedLinear(np.zeros((1, 2)), centre, np.zeros(1), -np.ones(1), np.ones(1)))
    core = np.full(2, 0.45)
    for origin in (np.zeros(2), centre, -centre, np.array([5.0, 7.0])):
        known = Examiner(Claim(loop, SublevelSet(V, 2.0, *loop.domain)), Frame(origin, np.eye(2)))
        low, high = np.tile(centre - 0.01, (2, 1)), np.tile(centre + 0.01, (2, 1))
        near, far = sorted((0.4 * side, 0.64 * side))
        low[1, axis], high[1, axis] = centre[axis] + near, centre[axis] + far
        assert known.examine(low - origin, high - origin, core).open.tolist() == [False, True]
        cover = known.cover()
        assert cover is not None
        assert (cover[0] <= centre - origin - np.sqrt(2.0)).all()
        assert (cover[1] >= centre - origin + np.sqrt(2.0)).all()
        assert np.allclose(cover[1] - cover[0], 2 * np.sqrt(2.0), rtol=1e-9)
