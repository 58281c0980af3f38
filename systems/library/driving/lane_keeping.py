"""The simplest driver of the ego: keep the lane, follow whoever is in front."""

from __future__ import annotations

import casadi as ca

from systems.library.driving.highway import CAR, Highway
from systems.library.driving.traffic import brakes, in_the_way, strongest
from systems.signals import Vector

__all__ = ["lane_keeping"]

LATERAL = 0.5  # 1/s, twice over: error e and its rate obey e'' + 2 LATERAL e' + LATERAL^2 e = 0
STEERING_LAG = 0.2  # s
CRAWL = 5.0  # m/s, below which the steering is as if at this speed


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
    brake = brakes(plant.road, driver, vehicles)[0]
    ego = vehicles[0]
    way = [in_the_way(ego.span, other.span) for other in vehicles]
    acceleration = driver.apply(driver.follow(ego.speed, speed, strongest(way, brake)[0]))
    v = ca.fmax(state.speed, CRAWL)
    error, rate = state.y - plant.road.nearest(state.y), v * state.heading
    steering = -(CAR.front + CAR.rear) / v**2 * (LATERAL**2 * error + 2.0 * LATERAL * rate)
    u = ca.vertcat((steering - state.steering) / STEERING_LAG, acceleration)
    lower, upper = (ca.DM(bound) for bound in plant.bounds)
    return ca.Function("lane_keeping", [x], [ca.fmin(ca.fmax(u, lower), upper)], ["x"], ["u"])
