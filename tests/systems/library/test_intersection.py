"""The intersection: what its ellipses contain, its manoeuvres against closed forms, and its agents."""

from __future__ import annotations

import numpy as np
import pytest

from systems import InvalidValue
from systems.library import Intersection, intersection
from systems.library.intersection import LENGTH, USERS, WIDTH, collided
from systems.multimodal import Agent

TASK = intersection()


def test_ellipses_contain_every_overlap() -> None:
    """Random states near the intersection, and the corners at which two rectangles just touch."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-8.0, 12.0, (20_000, 8))
    gaps = np.array(TASK.margin_function().map(len(x))(x.T, np.zeros((1, len(x)))))[1]
    hit = collided(x)
    assert hit.any(axis=0).all()
    assert (gaps[hit.any(axis=1)] > 0.0).all()
    for k, user in enumerate(USERS):
        corner = np.full(8, 1e3)
        corner[0] = user.crosses_at + 0.499 * (LENGTH + user.width)
        corner[2 + 2 * k] = 0.499 * (WIDTH + user.length)
        assert collided(corner).tolist() == [i == k for i in range(3)]
        assert float(TASK.margin_function()(corner, 0.0)[1]) > 0.0
        corner[2 + 2 * k] = 0.501 * (WIDTH + user.length)
        assert not collided(corner).any()


def test_a_car_that_stops_is_critically_damped() -> None:
    """along'' = (stop - along) / 4 - along' has the solution (c + d t) exp(-t / 2) about its stop."""
    plant = Intersection(intention_left=1.5)
    step = TASK.dynamics.__class__(plant, 0.2, substeps=4).function()
    x = np.array([0.0, 9.0, -30.0, 8.0, 0.0, 9.0, 0.0, 5.0])
    c, d = -30.0 + 8.0, 8.0 + 0.5 * (-30.0 + 8.0)
    for k in range(1, 31):
        x = np.array(step(x, 0.0, np.zeros(3), []))[:, 0]
        assert x[2] == pytest.approx(-8.0 + (c + d * 0.2 * k) * np.exp(-0.1 * k), abs=1e-4)


@pytest.mark.parametrize(
    ("intention", "speed"), [(0.0, 5.0), (0.999, 5.0), (1.0, 3.0), (2.5, 1.5), (3.0, 0.0), (4.0, 0.0)]
)
def test_integer_part_of_an_intention_selects_the_manoeuvre(intention: float, speed: float) -> None:
    x = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -4.0, speed])
    given = Intersection(intention_cyclist=intention).casadi()(x, 0.0, np.zeros(3), [])
    symbolic = Intersection().casadi(("intention_cyclist",))(x, 0.0, np.zeros(3), intention)
    assert float(given[7]) == pytest.approx(0.0)
    assert float(symbolic[7]) == pytest.approx(0.0)


def test_every_mode_of_an_agent_is_a_manoeuvre() -> None:
    plant = Intersection()
    for agent, user in zip(plant.agents, USERS, strict=True):
        assert len(agent.modes) == len(user.manoeuvres)
        assert sum(agent.probabilities) == pytest.approx(1.0)
        for mode, manoeuvre in zip(agent.modes, user.manoeuvres, strict=True):
            x = np.zeros(8)
            x[plant.state.where(f"along_{user.name}")] = -10.0
            rate = plant.with_parameters(mode).casadi()(x, 0.0, np.zeros(3), [])
            expected = manoeuvre.stiffness * (manoeuvre.stop + 10.0) + manoeuvre.damping * manoeuvre.speed
            assert float(rate[plant.state.where(f"speed_{user.name}")]) == pytest.approx(expected)


@pytest.mark.parametrize("probabilities", [(0.5,), (0.5, 0.4), (1.0, 0.0), (-1.0, 2.0)])
def test_probabilities_that_are_none_are_refused(probabilities: tuple[float, ...]) -> None:
    with pytest.raises(InvalidValue, match="probabilit"):
        Agent("a", ("x",), ("w",), ({"p": 0.0}, {"p": 1.0}), probabilities)


def test_drawing_shows_every_road_user_where_it_is() -> None:
    x = np.array([-12.0, 8.0, -9.0, 8.0, -14.0, 8.0, -5.0, 3.0])
    drawing = Intersection().drawing(x, np.array([-3.0]))
    bodies = [shape.points.mean(axis=0) for shape in drawing.shapes if shape.kind == "body"]
    expected = [[-1.75, 9.0], [1.75, -14.0], [7.0, -5.0], [-12.0, 0.0]]
    np.testing.assert_allclose(bodies, expected)
    (force,) = (shape.points for shape in drawing.shapes if shape.kind == "force")
    np.testing.assert_allclose(force[1] - force[0], [-3.0, 0.0])
