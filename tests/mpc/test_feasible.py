"""Feasible sets by support directions, against sets known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from mpc.feasible import FeasibleSet, plot_sections
from systems import InvalidValue, signals

STATE = signals("a [m]", "b [m]", "c [m]")


def cylinder() -> FeasibleSet:
    """a^2 + b^2 <= 4 by one cone, and |c - a| <= 1 with z = c - a."""
    G = sp.csc_matrix([[1.0, 0.0, -1.0, 1.0]])
    A = sp.csc_matrix([[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, -1.0]])
    C = sp.csc_matrix([[0.0] * 4, [-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0]])
    return FeasibleSet(STATE, G, np.zeros(1), A, np.ones(2), C, np.array([2.0, 0.0, 0.0]))


def test_support() -> None:
    found = cylinder().support({"c": 1.0}, {"b": 0.0})
    assert found is not None
    np.testing.assert_allclose(found, [2.0, 0.0, 3.0], atol=1e-6)


def test_the_section_of_a_disc_is_a_regular_polygon() -> None:
    # With c = 0 the slab |a| <= 1 cuts the disc, unless c is left free.
    section = cylinder().section(("a", "b"), {"c": np.inf}, directions=24)
    assert section.area == pytest.approx(0.5 * 24 * 4.0 * np.sin(2 * np.pi / 24), rel=1e-6)
    exact = 2.0 * (np.sqrt(3.0) + 4.0 * np.arcsin(0.5))
    many = cylinder().section(("a", "b"), directions=400).area
    assert exact - 1e-2 < many <= exact + 1e-6


def test_nothing_is_feasible_outside() -> None:
    assert cylinder().support({"c": 1.0}, {"b": 3.0}) is None
    empty = cylinder().section(("a", "c"), {"b": 3.0})
    assert empty.area == 0.0
    assert len(empty.corners) == 0


def test_unbounded_directions_are_named() -> None:
    free = FeasibleSet(
        STATE, sp.csc_matrix((0, 3)), np.zeros(0), sp.csc_matrix([[1.0, 0.0, 0.0]]), np.ones(1),
        sp.csc_matrix((0, 3)), np.zeros(0),
    )  # fmt: skip
    with pytest.raises(InvalidValue, match="unbounded along"):
        free.support({"b": 1.0}, {})


def test_only_sections_of_one_plane_are_drawn_together() -> None:
    with pytest.raises(InvalidValue, match="plane"):
        plot_sections({"x": cylinder().section(("a", "b")), "y": cylinder().section(("a", "c"))})
