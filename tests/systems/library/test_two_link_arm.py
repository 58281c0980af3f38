"""The arm with two links against the closed form of the textbook."""

from __future__ import annotations

import dataclasses

import casadi as ca
import numpy as np

from systems.euler_lagrange import solve_positive_definite
from systems.library.two_link_arm import TwoLinkArm, two_link_arm


def textbook(p: TwoLinkArm, q: np.ndarray, v: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Accelerations by the formulas of Spong, Hutchinson & Vidyasagar (2006), section 7.3.2, with the payload as part
    of the second link, and angles from hanging down."""
    l1, l2, m1, m2 = p.upper_length, p.lower_length, p.upper_mass, p.lower_mass + p.payload
    c1, c2 = l1 / 2, (p.lower_mass * l2 / 2 + p.payload * l2) / m2
    i1 = p.upper_mass * l1**2 / 12
    i2 = p.lower_mass * l2**2 / 12 + p.lower_mass * (c2 - l2 / 2) ** 2 + p.payload * (l2 - c2) ** 2
    d11 = m1 * c1**2 + m2 * (l1**2 + c2**2 + 2 * l1 * c2 * np.cos(q[1])) + i1 + i2
    d12 = m2 * (c2**2 + l1 * c2 * np.cos(q[1])) + i2
    d22 = m2 * c2**2 + i2
    h = -m2 * l1 * c2 * np.sin(q[1])
    coriolis = np.array([h * v[1] * v[0] + h * (v[0] + v[1]) * v[1], -h * v[0] ** 2])
    g2 = m2 * c2 * p.gravity * np.sin(q[0] + q[1])
    g1 = (m1 * c1 + m2 * l1) * p.gravity * np.sin(q[0]) + g2
    right = u - p.damping * v - coriolis - np.array([g1, g2])
    return np.linalg.solve(np.array([[d11, d12], [d12, d22]]), right)


def test_derived_equations_are_those_of_the_textbook() -> None:
    rng = np.random.default_rng(0)
    for payload in (0.0, 0.7, 2.0):
        plant = dataclasses.replace(TwoLinkArm(), payload=payload)
        f = plant.casadi()
        for _ in range(10):
            q, v, u = rng.uniform(-3, 3, 2), rng.uniform(-5, 5, 2), rng.uniform(-10, 10, 2)
            rates = f(np.concatenate([q, v]), u, [], []).full()[:, 0]
            np.testing.assert_array_equal(rates[:2], v)
            np.testing.assert_allclose(rates[2:], textbook(plant, q, v, u), rtol=1e-10, atol=1e-10)


def test_the_reference_is_held_and_payloads_may_vary() -> None:
    task = two_link_arm()
    x, u = task.reference.at(task.plant, 0)
    np.testing.assert_allclose(task.plant.casadi()(x, u, [], []).full(), 0.0, atol=1e-12)


def test_positive_definite_systems_are_solved() -> None:
    rng = np.random.default_rng(1)
    matrix, right = ca.SX.sym("A", 5, 5), ca.SX.sym("b", 5)
    f = ca.Function("solve", [matrix, right], [solve_positive_definite(matrix, right)])
    root = rng.standard_normal((5, 5))
    A, b = root @ root.T + 0.1 * np.eye(5), rng.standard_normal(5)
    np.testing.assert_allclose(f(A, b).full()[:, 0], np.linalg.solve(A, b), rtol=1e-10)
