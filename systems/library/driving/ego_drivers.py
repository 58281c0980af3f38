"""Rule-based drivers of the ego vehicle: one keeps its lane, one changes to a faster one."""

from __future__ import annotations

from typing import Any

import casadi as ca

from systems.library.driving.drivers import Driver
from systems.library.driving.highway import CAR, Highway
from systems.library.driving.traffic import brakes, in_the_way, strongest
from systems.signals import Vector

__all__ = ["lane_changing", "lane_keeping"]

STEERING_LAG = 0.2  # s
CRAWL = 5.0  # m/s, below which the steering is as if at this speed
HABIT = 0.3  # m/s^2 of acceleration given up rather than to go over to the middle of the next lane
BESIDE = 1.2  # lanes, distance within which a lane's middle is that of the next lane
PRESSING = Driver(headway=0.15, standstill=5.0, acceleration=3.0, safe_braking=4.0)
"""Wants at least 12.5 to 13.7 m from axle to axle at 20 to 28 m/s; the ellipse of the constraint asks for 8 m."""


def lane_keeping(plant: Highway, speed: float) -> ca.Function:
    """``u(x) -> (2, 1)``, within the plant's limits: it never changes lanes, and follows as the others do.

    Along the road the intelligent driver model with the others' parameters; across, critically damped feedback to the
    nearest centre line, computed from the kinematics at small angles (y'' = speed^2 steering / wheelbase).

    Args:
        speed: desired, m/s.
    """
    x = plant.state.symbol()
    state = Vector(plant.state, x, "state")
    vehicles, driver = plant.vehicles(state), plant.driver
    way = [in_the_way(vehicles[0].span, other.span) for other in vehicles]
    brake, _ = strongest(way, brakes(plant.road, driver, vehicles)[0])
    u = _inputs(plant, state, plant.road.nearest(state.y), 0.5, driver.apply(driver.follow(state.speed, speed, brake)))
    return ca.Function("lane_keeping", [x], [u], ["x"], ["u"])


def lane_changing(plant: Highway, speed: float, driver: Driver = PRESSING) -> ca.Function:
    """``u(x) -> (2, 1)``, as :func:`lane_keeping`, but in the lane in which least must be braked, and closer.

    Each lane is worth the acceleration that the intelligent driver model keeps in it, less a habit that grows with its
    distance, so that small gains do not make the driver change. Only the present lane and those next to it are
    considered, and of the latter only those in which neither this driver nor one behind would have to brake harder than
    is safe (MOBIL's safety criterion; Kesting, Treiber & Helbing, 2007). The law has no memory: halfway over, both
    lanes are equally far.

    Args:
        plant: whose road and vehicles these are.
        speed: desired, m/s.
        driver: parameters of the ego; with those of the others it gains next to nothing.
    """
    road = plant.road
    x = plant.state.symbol()
    state = Vector(plant.state, x, "state")
    vehicles = plant.vehicles(state)
    ego = vehicles[0]
    brake = brakes(road, driver, vehicles)
    lane, least = road.nearest(state.y), ca.SX(ca.inf)
    for centre in road.centres:
        present = [in_the_way(other.span, (centre, centre)) for other in vehicles]
        mine, _ = strongest(present[1:], brake[0][1:])
        theirs, _ = strongest(present[1:], [row[0] for row in brake[1:]])
        away = ca.fabs(centre - ego.y) / road.lane_width
        safe = ca.fmax(mine, theirs) <= driver.safe_braking / driver.acceleration
        possible = ca.logic_or(away <= 0.5, ca.logic_and(away <= BESIDE, safe))
        loss = driver.acceleration * mine + HABIT * away
        better = ca.logic_and(possible, loss < least)
        lane, least = ca.if_else(better, centre, lane), ca.if_else(better, loss, least)
    span = (ca.fmin(ego.y, lane), ca.fmax(ego.y, lane))
    way = [in_the_way(span, other.span) for other in vehicles]
    most, _ = strongest(way, brake[0])
    u = _inputs(plant, state, lane, 0.8, driver.apply(driver.follow(state.speed, speed, most)))
    return ca.Function("lane_changing", [x], [u], ["x"], ["u"])


def _inputs(plant: Highway, state: Vector, lane: Any, rate: float, acceleration: Any) -> Any:
    """Steering rate and acceleration: error e from the lane's middle obeys e'' + 2 rate e' + rate^2 e = 0."""
    v = ca.fmax(state.speed, CRAWL)
    error, error_rate = state.y - lane, v * state.heading
    steering = -(CAR.front + CAR.rear) / v**2 * (rate**2 * error + 2.0 * rate * error_rate)
    u = ca.vertcat((steering - state.steering) / STEERING_LAG, acceleration)
    lower, upper = (ca.DM(bound) for bound in plant.bounds)
    return ca.fmin(ca.fmax(u, lower), upper)
