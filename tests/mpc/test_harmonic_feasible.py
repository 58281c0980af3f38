"""Feasible sets of the controllers with an artificial reference, against polytopes computed backwards in time."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.spatial import ConvexHull, HalfspaceIntersection

from mpc import EqualityMPC, HarmonicMPC, TrackingMPC
from mpc.harmonic.artificial_reference_mpc import ArtificialReferenceMPC
from systems import Box, Fixed, LinearPlant, Quadratic, SetPoint, Task, exact

EPS = 1e-4
ANGLES = np.linspace(0.05, 2.0 * np.pi, 24, endpoint=False)
DIRECTIONS = np.column_stack([np.cos(ANGLES), np.sin(ANGLES)])


def task(A: list[list[float]], target: float = 0.0) -> Task:
    """Two states and one input, all bounded, unevenly."""
    plant = LinearPlant(A, [[0.0], [1.0]], input_limits=((-1.0, 0.7),))
    box = Box("box", {"x1": (-2.0, 1.5), "x2": (-0.8, 1.2)})
    return Task(
        "two states", plant, 0.3, 10, Quadratic([1.0, 1.0], [0.1]), Fixed(), (box,), SetPoint({"x1": target}),
        integrator="exact",
    )  # fmt: skip


def supports(controller: ArtificialReferenceMPC) -> np.ndarray:
    """(24,): how far the feasible set reaches in each of the directions."""
    found = controller.feasible_set()
    return np.array([d @ found.support({"x1": d[0], "x2": d[1]}, {}) for d in DIRECTIONS])


def hull(points: np.ndarray) -> np.ndarray:
    return points[ConvexHull(points).vertices]


def backwards(problem: Task, ends: np.ndarray, horizon: int) -> np.ndarray:
    """Vertices of the states of the box from which admissible inputs lead to the convex hull of ``ends`` (k, 2)."""
    plant = exact(problem.plant, problem.dt)
    lower, upper = problem.input_bounds
    box = np.array([[1.0, 0.0, -1.5], [-1.0, 0.0, -2.0], [0.0, 1.0, -1.2], [0.0, -1.0, -0.8]])
    vertices = ends
    for _ in range(horizon):
        summed = np.vstack([vertices - plant.B[:, 0] * u for u in (lower[0], upper[0])])
        half = np.vstack([ConvexHull(np.linalg.solve(plant.A, summed.T).T).equations, box])
        norm = np.linalg.norm(half[:, :2], axis=1)
        inside = linprog([0.0, 0.0, -1.0], np.column_stack([half[:, :2], norm]), -half[:, 2], bounds=[(None, None)] * 3)
        vertices = hull(HalfspaceIntersection(half, inside.x[:2]).intersections)
    return vertices


@pytest.mark.parametrize("horizon", [2, 4, 8])
@pytest.mark.parametrize("A", [[[0.0, 1.0], [0.0, 0.0]], [[0.0, 1.0], [1.5, 0.3]]], ids=["integrators", "unstable"])
def test_areas_against_backward_reachable_polytopes(A: list[list[float]], horizon: int) -> None:
    problem = task(A)
    plant = exact(problem.plant, problem.dt)
    controllers = (TrackingMPC(problem, horizon, eps=EPS), HarmonicMPC(problem, horizon, 0.0, eps=EPS))
    # Equilibria: the states that one input holds, within all bounds less eps.
    null = np.linalg.svd(np.hstack([np.eye(2) - plant.A, -plant.B]))[2][-1]
    low, high = np.array([-2.0, -0.8, -1.0]) + EPS, np.array([1.5, 1.2, 0.7]) - EPS
    far = np.abs(null) > 1e-9
    reach = np.where(far, np.where(null > 0, high, low) / np.where(far, null, 1.0), np.inf).min()
    back = np.where(far, np.where(null > 0, low, high) / np.where(far, null, 1.0), -np.inf).max()
    ends = np.array([reach * null[:2], back * null[:2]])
    for controller in controllers:
        expected = (DIRECTIONS @ backwards(problem, ends, horizon).T).max(axis=1)
        np.testing.assert_allclose(supports(controller), expected, atol=1e-6)
    if horizon > 2:
        point = 1e-8 * np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
        expected = (DIRECTIONS @ backwards(problem, point, horizon).T).max(axis=1)
        np.testing.assert_allclose(supports(EqualityMPC(problem, horizon)), expected, atol=1e-6)


def test_the_polygon_through_all_corners_has_the_area_of_the_set() -> None:
    problem = task([[0.0, 1.0], [0.0, 0.0]])
    corners = backwards(problem, np.array([[-2.0 + EPS, 0.0], [1.5 - EPS, 0.0]]), 6)
    found = TrackingMPC(problem, 6, eps=EPS).feasible_set().section(("x1", "x2"), directions=720)
    assert found.area == pytest.approx(ConvexHull(corners).volume, rel=1e-5)


@pytest.mark.parametrize("frequency", [0.1, 0.4, 1.0])
def test_the_harmonic_set_contains_that_of_tracking_and_only_solvable_states(frequency: float) -> None:
    problem = task([[0.0, 1.0], [1.5, 0.3]], target=0.3)
    controller = HarmonicMPC(problem, 4, frequency)
    section = controller.feasible_set().section(("x1", "x2"), directions=48)
    assert (supports(controller) >= supports(TrackingMPC(problem, 4)) - 1e-6).all()
    centre = section.corners.mean(axis=0)
    for corner in section.corners[::4]:
        assert controller.step(centre + 0.999 * (corner - centre), 0).status == "solved"
    # Just outside in the very direction of the support there is no solution.
    for direction in DIRECTIONS:
        furthest = controller.feasible_set().support({"x1": direction[0], "x2": direction[1]}, {})
        assert furthest is not None
        outside = furthest + 1e-3 * direction
        free = (-2.0 < outside[0] < 1.5) and (-0.8 < outside[1] < 1.2)  # bounds of the measured state are not enforced
        assert not free or controller.step(outside, 0).status in ("terminal_set_unreachable", "infeasible")
