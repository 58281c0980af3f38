"""Drawings show where plants are, and scenes what constraints forbid."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import casadi as ca
import numpy as np
import pytest

from ctrl import LQR, Trajectories, compare, simulate
from ctrl.report import page
from ctrl.report.additions import Additions
from ctrl.report.films import shown_run
from systems import Box, Inequality, InvalidValue, Task, Vector
from systems.drawing import Drawn, Scene, film, is_drawn, scenes
from systems.inputs import delay_inputs
from systems.library import (
    CartPole,
    Pendulum,
    PlanarQuadrotor,
    Quadrotor,
    Rocket,
    ball_and_plate,
    battery,
    cartpole,
    double_integrator,
    dynamic_car,
    kinematic_car,
    oscillating_masses,
    path_tracking,
    pendulum,
    planar_quadrotor,
    quadrotor,
    rocket_landing,
    segway,
)
from systems.library.gallery.double_pendulum import DoublePendulum, double_pendulum_obstacle
from systems.library.gallery.kite import Kite, towing_kite
from systems.library.gallery.oscillating_masses import MassPair, mass_pair
from systems.library.gallery.quadcopter import Quadcopter, quadcopter_figure_eight
from tests.ctrl.report.test_page import Reader

DRAWN = [
    cartpole, pendulum, planar_quadrotor, ball_and_plate, double_integrator, segway, oscillating_masses, rocket_landing,
    quadrotor, path_tracking, kinematic_car, dynamic_car, double_pendulum_obstacle, mass_pair, quadcopter_figure_eight,
    towing_kite,
]  # fmt: skip


def resting(task: Task, x: np.ndarray, steps: int = 4, margin: float = -1.0) -> Trajectories:
    """Runs (b, n) that stay where they are."""
    b, rest = len(x), np.zeros((len(x), steps), dtype=np.int8)
    u = np.broadcast_to(task.reference.at(task.plant, 0)[1], (b, steps, len(task.plant.input)))
    return Trajectories(
        np.repeat(x[:, None], steps + 1, axis=1), u, np.zeros((b, steps)), np.zeros(b),
        np.full((b, steps, len(task.constraints)), margin), rest + 1.0, rest, rest, np.full(b, -1),
    )  # fmt: skip


def moving(plant: Any, x: np.ndarray, u: np.ndarray, w: np.ndarray, of: Any, h: float = 1e-4) -> np.ndarray:
    """Second time derivative of what is read off the drawing, along the motion of the plant."""
    f = plant.casadi()

    def slope(at: np.ndarray) -> np.ndarray:
        return np.array(f(at, u, w, [])).ravel()

    def after(step: float) -> np.ndarray:  # Taylor to second order is enough for a second difference
        rate = slope(x)
        curve = (slope(x + h * rate) - slope(x - h * rate)) / (2 * h)
        return of(plant.drawing(x + step * rate + 0.5 * step**2 * curve, u))

    return (after(h) - 2 * after(0.0) + after(-h)) / h**2


def test_momentum_of_the_drawn_cart_and_pole_changes_by_the_force() -> None:
    """M a + m a_pole = F with the centres read off the drawing, so the pole leans to the side it really does."""
    plant = CartPole()
    x, u = np.array([0.3, 0.7, -0.4, 1.1]), np.array([3.0])

    def weighted(drawing: Any) -> np.ndarray:
        _, cart, pole, _ = drawing.shapes
        return plant.cart_mass * cart.points.mean(axis=0) + plant.pole_mass * pole.points.mean(axis=0)

    assert moving(plant, x, u, np.zeros(1), weighted)[0] == pytest.approx(3.0, rel=1e-4)


def test_the_drawn_pendulum_falls_with_its_potential_energy() -> None:
    """Without damping and torque, kinetic energy and m g z of the drawn mass are constant: d/dt of the two cancel."""
    plant = Pendulum(damping=0.0)
    x, h = np.array([0.6, -1.3]), 1e-6
    rate = np.array(plant.casadi()(x, np.zeros(1), np.zeros(1), [])).ravel()

    def energy(at: np.ndarray) -> float:
        mass = plant.drawing(at, np.zeros(1)).shapes[2].points.mean(axis=0)
        return float(0.5 * plant.mass * plant.length**2 * at[1] ** 2 + plant.mass * plant.gravity * mass[1])

    assert (energy(x + h * rate) - energy(x - h * rate)) / (2 * h) == pytest.approx(0.0, abs=1e-6)


def test_the_drawn_rotors_push_where_the_body_accelerates() -> None:
    plant = PlanarQuadrotor()
    x, u = np.array([0.1, -0.2, 0.4, 0.0, 0.0, 0.0]), np.array([3.0, 4.0])
    pull = moving(plant, x, u, np.zeros(1), lambda d: d.shapes[0].points.mean(axis=0)) + np.array([0.0, plant.gravity])
    for shape in plant.drawing(x, u).shapes:
        if shape.kind == "force":
            thrust = shape.points[1] - shape.points[0]
            assert np.dot(thrust, pull) == pytest.approx(np.linalg.norm(thrust) * np.linalg.norm(pull), rel=1e-4)
    right, left = (s.points[1] for s in plant.drawing(x, u).shapes if s.kind == "rod")
    spin = np.array(plant.casadi()(x, np.array([4.0, 3.0]), np.zeros(1), [])).ravel()[5]
    assert spin > 0, "more thrust on the right turns it to the left, counter-clockwise,"
    assert right[0] > left[0], "with the first rotor on the right"


def test_the_flame_of_the_rocket_pushes_it_where_it_accelerates() -> None:
    plant = Rocket()
    x, u = np.array([5.0, 60.0, 0.2, 1.0, -9.0, 0.01]), np.array([250.0, 0.1])
    rocket = moving(plant, x, u, np.zeros(1), lambda d: d.shapes[2].points.mean(axis=0))
    _, flame, body = plant.drawing(x, u).shapes
    np.testing.assert_allclose(body.points.mean(axis=0), x[:2])
    push = flame.points[0] - flame.points[1]
    expected = 1e3 * u[0] / plant.mass * push / np.linalg.norm(push)
    np.testing.assert_allclose(rocket, expected - [0.0, plant.gravity], atol=1e-3)
    tilt = body.points[2:].mean(axis=0) - body.points[:2].mean(axis=0)
    np.testing.assert_allclose(flame.points[0], x[:2] - 0.5 * tilt, atol=1e-9)  # at the foot
    turning = np.array(plant.casadi()(x, u, np.zeros(1), [])).ravel()[5]
    assert np.sign(tilt[0] * push[1] - tilt[1] * push[0]) == -np.sign(turning), (
        "a push at the foot turns it the other way"
    )


def test_the_drawn_arms_of_the_quadrotor_are_those_of_its_torques() -> None:
    plant = Quadrotor()
    q = np.array([0.9, 0.1, 0.3, -0.2])
    x = np.concatenate([[0.1, 0.2, 0.3], q / np.linalg.norm(q), np.zeros(6)])
    u = np.array([0.05, 0.06, 0.07, 0.08])
    drawing = plant.drawing(x, u)
    pull = moving(plant, x, u, np.zeros(3), lambda d: d.shapes[0].points[0]) + np.array([0.0, plant.gravity])
    for shape in drawing.shapes[1::2]:
        bar = shape.points[1] - shape.points[0]
        assert np.dot(bar, pull) == pytest.approx(np.linalg.norm(bar) * np.linalg.norm(pull), rel=1e-4)
    level = np.concatenate([np.zeros(3), [1.0], np.zeros(9)])
    tips = [shape.points[1][0] for shape in plant.drawing(level, u).shapes[::2]]
    np.testing.assert_allclose(np.array(tips) / plant.arm, np.array([1, -1, -1, 1]) * 0.5**0.5)
    # More thrust on the right lifts the right side: the body rolls to the left, whose arms sink.
    after = level + 1e-2 * np.array(plant.casadi()(level, [0.0, 0.0, 1e-3, 1e-3], np.zeros(3), [])).ravel()
    after[3:7] += 1e-2 * np.array(plant.casadi()(after, np.zeros(4), np.zeros(3), [])).ravel()[3:7]
    heights = [shape.points[1][1] - after[2] for shape in plant.drawing(after, u).shapes[::2]]
    assert min(heights[2:]) > 0 > max(heights[:2])


@pytest.mark.parametrize("make", [kinematic_car, path_tracking])
def test_cars_move_where_their_rear_axle_points_and_turn_to_the_side_of_their_wheels(make: Any) -> None:
    plant, h = make().plant, 1e-6
    x = np.array([3.0, 0.5, 0.2, 12.0, 0.3]) if make is kinematic_car else np.array([0.5, 0.3])
    u = np.array([0.0, 0.0]) if make is kinematic_car else np.array([0.2])
    flow = np.array(plant.casadi()(x, u, [], [])).ravel()
    along = {kinematic_car: slice(0, 1), path_tracking: slice(1, 2)}[make]
    body, wheel = plant.drawing(x, u).shapes[along][0], plant.drawing(x, u).shapes[-1]
    axis = body.points[1] - body.points[0]
    turned = wheel.points[1] - wheel.points[0]
    assert axis[0] * turned[1] - axis[1] * turned[0] > 0
    if make is kinematic_car:
        moved = plant.drawing(x + h * flow, u).shapes[0].points
        middle = 0.5 * (plant.front + plant.rear) / (1.7 * (plant.front + plant.rear))
        rear = [p.mean(axis=0) - middle * (p[1] - p[0]) for p in (body.points, moved)]
        np.testing.assert_allclose(np.cross([*(rear[1] - rear[0]), 0.0], [*axis, 0.0]) / h, 0.0, atol=1e-3)
        assert np.linalg.norm(rear[1] - rear[0]) / h == pytest.approx(12.0, rel=1e-4)
    else:
        slope = float(axis[1] / np.linalg.norm(axis))
        assert flow[0] == pytest.approx(plant.speed * slope)


def test_momentum_of_the_drawn_double_pendulum_changes_by_the_force() -> None:
    plant = DoublePendulum()
    x, u = np.array([0.2, 0.5, -0.8, 0.1, 1.0, -1.5]), np.array([2.0])

    def weighted(drawing: Any) -> np.ndarray:
        _, cart, one, two, _ = drawing.shapes
        centres = [shape.points.mean(axis=0) for shape in (cart, one, two)]
        return np.asarray(np.array([plant.cart_mass, plant.mass_1, plant.mass_2]) @ centres)

    assert moving(plant, x, u, np.zeros(0), weighted)[0] == pytest.approx(2.0, rel=1e-4)


def test_the_drawn_kite_flies_where_it_points() -> None:
    """Against the flow along its heading, which only a finite glide ratio adds to."""
    plant = Kite(glide_ratio=1e9)
    x = np.array([0.6, 0.3, 0.5])
    flow = np.array(plant.casadi()(x, [0.0], [], [])).ravel()
    place, rod = plant.drawing(x, np.zeros(1)).shapes[2:]
    step = 1e-6 * flow / np.abs(flow).max()
    moved = plant.drawing(x + step, np.zeros(1)).shapes[2].points.mean(axis=0) - place.points.mean(axis=0)
    ahead = rod.points[1] - rod.points[0]
    assert np.dot(moved, ahead) == pytest.approx(np.linalg.norm(moved) * np.linalg.norm(ahead), rel=1e-6)
    assert place.points.mean(axis=0)[1] == pytest.approx(float(plant.height(Vector(plant.state, ca.DM(x), "state"))))


def test_the_drawn_quadcopter_leans_to_where_it_accelerates() -> None:
    plant = Quadcopter()
    x = np.zeros(12)
    x[6:9] = 0.4, 0.3, 0.2
    pull = moving(plant, x, np.full(4, 0.1), np.zeros(0), lambda d: d.shapes[0].points[0])
    *arms, ahead = plant.drawing(x, np.full(4, 0.1)).shapes
    forward, left = (arms[0].points[1] - arms[i].points[1] for i in (1, 3))
    # In its own axes, the upward one of an attitude is forward x left, of which the drawing shows the shadow.
    c, s = np.cos([0.4, 0.3, 0.2]), np.sin([0.4, 0.3, 0.2])
    expected = [c[0] * s[1] * c[2] + s[0] * s[2], s[0] * s[1] * c[2] - c[0] * s[2]]
    np.testing.assert_allclose(pull / np.linalg.norm(pull), expected / np.linalg.norm(expected), rtol=1e-4)
    side = 2 * plant.arm * 0.5**0.5
    heights = [np.sqrt(1 - np.linalg.norm(v / side) ** 2) for v in (forward, left)]
    assert heights == pytest.approx([s[1], c[1] * s[2]])
    assert np.dot(ahead.points[1] - ahead.points[0], forward) > 0


def test_the_force_acts_on_the_second_of_two_masses() -> None:
    still, pushed = (MassPair().drawing(np.zeros(4), np.array([u])).shapes for u in (0.0, 0.5))
    assert pushed[-1].points[1][0] == pushed[-1].points[0][0] + 2.0
    assert pushed[-1].points[0][0] == still[-2].points.mean(axis=0)[0] == 3.0


@pytest.mark.parametrize("make", DRAWN)
def test_every_drawn_task_has_scenes_with_all_of_the_run(make: Any) -> None:
    task = make()
    x0 = task.initial.sample(task.plant.state, np.random.default_rng(0), (2,))
    runs = resting(task, x0, steps=9)
    assert is_drawn(task)
    (scene,) = scenes(task, [runs], 1, frames=4)
    assert [frame.time for frame in scene.frames] == pytest.approx([0.0, 3 * task.dt, 6 * task.dt, 9 * task.dt])
    left, right, bottom, top = scene.window
    for frame in scene.frames:
        for shape in frame.shapes:
            if shape.kind != "ground":
                assert (shape.points > (left, bottom)).all()
                assert (shape.points < (right, top)).all()
    assert not any(frame.is_violated for frame in scene.frames)


def area(scene: Scene) -> float:
    """Of what is forbidden, by the shoelace formula; holes run the other way."""
    total = 0.0
    for outline in scene.unsafe:
        x, y = outline.T
        total += 0.5 * float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))
    return abs(total)


def test_an_obstacle_is_where_the_constraint_says() -> None:
    task = dataclasses.replace(
        planar_quadrotor(),
        constraints=(Inequality("obstacle", lambda x, u: 0.09 - (x.x - 0.4) ** 2 - (x.z + 0.1) ** 2),),
    )
    x0 = np.zeros((1, 6))
    x0[0, :2] = 1.0, -0.6
    (scene,) = scenes(task, [resting(task, x0)])
    assert area(scene) == pytest.approx(np.pi * 0.09, rel=0.02)
    centre = np.concatenate(scene.unsafe).mean(axis=0)
    np.testing.assert_allclose(centre, [0.4, -0.1], atol=0.02)
    assert not scene.limits


def test_the_track_is_drawn_to_its_ends_and_bounds_of_angles_as_the_plant_at_them() -> None:
    (scene,) = scenes(cartpole(), [resting(cartpole(), np.array([[1.2, 0.0, 0.0, 0.0]]))])
    left, right, bottom, top = scene.window
    assert left < -2.4
    assert right > 2.4, "of a domain that is not far, all is shown"
    assert area(scene) == pytest.approx((right - left - 4.4) * (top - bottom), rel=0.02)
    (scene,) = scenes(segway(), [resting(segway(), np.zeros((1, 2)))])
    leans = sorted(float(np.arctan2(*(shape.points[1]))) for shape in scene.limits)
    assert leans == pytest.approx([-np.radians(25.0), np.radians(25.0)])
    (scene,) = scenes(oscillating_masses(), [resting(oscillating_masses(), np.zeros((1, 6)))])
    assert len(scene.limits) == 6, "the bounds of three places; those of speeds move nothing"


def test_violations_between_two_frames_are_seen() -> None:
    task = cartpole()
    runs = resting(task, np.zeros((1, 4)), steps=12)
    runs.margins[0, 5, 0] = 0.1
    (scene,) = scenes(task, [runs], frames=4)
    assert [frame.is_violated for frame in scene.frames] == [False, False, True, False]
    left = dataclasses.replace(runs, left=np.array([6]))
    assert [frame.time for frame in scenes(task, [left], frames=4)[0].frames] == pytest.approx([0.0, 0.2, 0.3])


def test_a_plant_that_carries_another_is_drawn_as_that_one() -> None:
    task = delay_inputs(cartpole(), {"force": 0.1})
    x0 = np.zeros((1, 6))
    x0[0, 0] = 0.5
    assert is_drawn(task)
    (scene,) = scenes(task, [resting(task, x0)])
    assert scene.frames[0].shapes[1].points.mean(axis=0)[0] == pytest.approx(0.5)


def test_a_film_has_its_frames_and_lasts_as_long_as_the_run(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    task = dataclasses.replace(cartpole(), steps=20)
    runs = simulate(task, LQR(task), np.array([[1.0, 0.1, 0.0, 0.0]]))
    file = film(task, runs, tmp_path / "run.gif", frames=6)
    with image.open(file) as shown:
        assert shown.n_frames == 6
        assert shown.info["duration"] == pytest.approx(200, abs=10)  # ms: every fourth sample of 50 ms
        first = np.asarray(shown.convert("RGB"))
        shown.seek(5)
        assert (np.asarray(shown.convert("RGB")) != first).mean() > 0.01


def test_films_on_the_page_are_paused_and_move_by_whole_frames() -> None:
    task = dataclasses.replace(cartpole(), steps=20)
    compared = compare(task, {"lqr": LQR, "<again>": LQR}, starts=5, workers=1)
    order = np.argsort(compared.runs["lqr"].cost)
    assert shown_run(compared) == order[2]
    text = page(compared, ["trivium", "compare", "x"], more=Additions(films=True))
    reader = Reader(text)
    assert "paused" in text
    switch = [attributes for tag, attributes in reader.tags if tag == "input"]
    assert switch == [{"type": "checkbox", "id": "play", "class": "play"}]
    moves = [a["style"] for _, a in reader.tags if a.get("class") == "frames"]
    assert len(moves) == 2
    assert all("--shift: -6300px" in style and "steps(21)" in style for style in moves)
    assert len(re.findall(r'transform="translate\(\d+ 0\)"', text)) == 2 * 21
    assert "--films" not in text
    assert "--films" in page(compared, ["trivium", "compare", "x"])


def test_plants_without_a_drawing_are_refused() -> None:
    task = battery()
    assert not is_drawn(task)
    assert not isinstance(task.plant, Drawn)
    x0 = task.initial.sample(task.plant.state, np.random.default_rng(0), (1,))
    with pytest.raises(InvalidValue, match="has no drawing"):
        scenes(task, [resting(task, x0)])
    with pytest.raises(InvalidValue, match="run 1 of 1"):
        scenes(cartpole(), [resting(cartpole(), np.zeros((1, 4)))], 1)
    boxed = dataclasses.replace(cartpole(), constraints=(Box("lean", {"angle": (-0.2, 0.2)}),))
    (scene,) = scenes(boxed, [resting(boxed, np.zeros((1, 4)))])
    assert not scene.unsafe
    assert len(scene.limits) == 2
