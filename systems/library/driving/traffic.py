"""One sample of traffic on several lanes: car following, lane changes, and the resulting positions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import casadi as ca

from systems.library.driving.drivers import Driver
from systems.library.driving.road import Road

__all__ = ["LENGTH", "WIDTH", "Vehicle", "advance", "brakes", "decide", "in_the_way", "separation", "sideways"]

LENGTH, WIDTH = 4.5, 1.8  # m, of every vehicle, the ego included
NEAR, FAR = 1.9, 2.6  # m, lateral distances up to which a vehicle is wholly and beyond which it is not in the way
CLOSEST = 0.1  # m, gap that needs are computed for where there is less
ALONG, ACROSS = 8.0, 2.6  # m, half axes of the ellipse around each vehicle's middle that the ego's must stay out of
SETTLED = 0.3  # m from its lane's centre line, within which a vehicle may leave the lane again


@dataclass(frozen=True)
class Vehicle:
    """One vehicle as CasADi expressions.

    Args:
        ahead: position along the road, m. y: across, m. speed: m/s.
        lane: centre line it holds or makes for, m; None for the ego, whose mind nobody knows.
        desired: speed it would like, m/s; None for the ego.
    """

    ahead: Any
    y: Any
    speed: Any
    lane: Any = None
    desired: Any = None

    @property
    def span(self) -> tuple[Any, Any]:
        """The lateral positions that it claims, from right to left: a change of lanes claims both."""
        return (self.y, self.y) if self.lane is None else (ca.fmin(self.y, self.lane), ca.fmax(self.y, self.lane))


def in_the_way(one: tuple[Any, Any], other: tuple[Any, Any]) -> Any:
    """Smooth overlap of two spans, from 0 to 1."""
    apart = ca.fmax(one[0], other[0]) - ca.fmin(one[1], other[1])
    t = ca.fmin(ca.fmax((FAR - apart) / (FAR - NEAR), 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


def brakes(road: Road, driver: Driver, vehicles: Sequence[Vehicle]) -> list[list[Any]]:
    """brake[i][j]: :meth:`Driver.brake` of i for j in front of it, were they in one lane; 0 for i = j."""
    brake = [[ca.SX(0) for _ in vehicles] for _ in vehicles]
    for i, a in enumerate(vehicles):
        for j, b in enumerate(vehicles[:i]):
            d = road.forward(a.ahead - b.ahead)
            for behind, front, way in ((j, i, d), (i, j, road.length - d)):
                speed, gap = vehicles[behind].speed, ca.fmax(way - LENGTH, CLOSEST)
                brake[behind][front] = driver.brake(speed, speed - vehicles[front].speed, gap)
    return brake


def strongest(weights: Sequence[Any], values: Sequence[Any]) -> tuple[Any, Any]:
    """The largest and the second largest of the products, at least 0."""
    first, second = ca.SX(0), ca.SX(0)
    for weight, value in zip(weights, values, strict=True):
        product = weight * value
        second = ca.fmax(second, ca.fmin(first, product))
        first = ca.fmax(first, product)
    return first, second


def decide(
    road: Road,
    driver: Driver,
    vehicles: Sequence[Vehicle],
    brake: Sequence[Sequence[Any]],
    way: Sequence[Sequence[Any]],
) -> list[Any]:
    """The centre lines that all vehicles but the first, the ego, make for after this sample, m.

    MOBIL with the incentive a~_c - a_c + p (a~_n - a_n + a~_o - a_o) > threshold (Kesting, Treiber & Helbing, 2007,
    c the one who changes, n the new and o the old follower). The free term of the driver model is the same before and
    after and cancels; the criterion of safety leaves it out, which is on the safe side, and is asked of the one who
    changes as well. Leaders and followers are those for whom most must be braked. Drivers decide one after the other,
    so that no two take one place.

    Args:
        brake: from :func:`brakes`. way: way[i][j], how much i and j are in each other's way.
    """
    drivers, a = range(len(vehicles)), driver.acceleration
    present = [[in_the_way(v.span, (centre, centre)) for centre in road.centres] for v in vehicles]
    now, without = zip(*(strongest(way[i], brake[i]) for i in drivers), strict=True)  # without its leader
    chosen = []
    for i in drivers[1:]:
        me, others = vehicles[i], [j for j in drivers if j != i]
        # j brakes for me if its brake for me is the strongest; asked of the middle between its two strongest, because
        # intervals cannot tell that two equal numbers are equal.
        follows = (way[j][i] * brake[j][i] > 0.5 * (now[j] + without[j]) for j in drivers)
        released = (ca.if_else(is_leader, now[j] - without[j], 0.0) for j, is_leader in enumerate(follows))
        gain = now[i] + driver.politeness * _largest(released)
        settled = ca.fabs(me.y - me.lane) <= SETTLED
        target, best = me.lane, ca.SX(driver.threshold / a)
        for k, centre in enumerate(road.centres):
            mine = _largest(present[j][k] * brake[i][j] for j in others)
            theirs = [present[j][k] * brake[j][i] for j in others]
            lost = _largest(theirs[n] - now[j] for n, j in enumerate(others))
            incentive = gain - mine - driver.politeness * lost
            safe = ca.fmax(mine, _largest(theirs)) <= driver.safe_braking / a
            beside = ca.fabs(ca.fabs(centre - me.lane) - road.lane_width) <= 0.5 * road.lane_width
            better = ca.logic_and(ca.logic_and(settled, beside), ca.logic_and(safe, incentive > best))
            target, best = ca.if_else(better, centre, target), ca.if_else(better, incentive, best)
        for k, centre in enumerate(road.centres):
            present[i][k] = ca.fmax(present[i][k], ca.fabs(target - centre) <= 0.5 * road.lane_width)
        chosen.append(target)
    return chosen


def _largest(values: Iterable[Any]) -> Any:
    largest = ca.SX(0)
    for value in values:
        largest = ca.fmax(largest, value)
    return largest


def separation(road: Road, one: Vehicle, other: Vehicle) -> Any:
    """Smooth squared distance of two vehicles, 1 on the ellipse that the middle of the other must stay out of."""
    return (road.chord(other.ahead - one.ahead) / ALONG) ** 2 + ((other.y - one.y) / ACROSS) ** 2


def sideways(driver: Driver, vehicle: Vehicle, dt: float) -> Any:
    """Lateral displacement of the vehicle to the left in dt seconds on its way to its lane, m."""
    reach = driver.lateral_speed * dt
    return ca.fmin(ca.fmax(vehicle.lane - vehicle.y, -reach), reach)


def advance(road: Road, driver: Driver, vehicles: Sequence[Vehicle], noise: Sequence[Any], dt: float) -> list[Vehicle]:
    """The vehicles but the first, which is the ego, dt seconds later; ``ahead`` is measured on the standing road.

    Args:
        noise: accelerations added to those of the driver model, m/s^2, one per vehicle but the first.
    """
    vehicles = [
        v if v.lane is None else Vehicle(v.ahead, v.y, v.speed, road.nearest(v.lane), v.desired) for v in vehicles
    ]
    brake = brakes(road, driver, vehicles)
    way = [[ca.SX(0) for _ in vehicles] for _ in vehicles]
    for i, a in enumerate(vehicles):
        for j, b in enumerate(vehicles[:i]):
            way[i][j] = way[j][i] = in_the_way(a.span, b.span)
    lanes = decide(road, driver, vehicles, brake, way)
    after = []
    for i, lane in enumerate(lanes, start=1):
        me = vehicles[i]
        acceleration = driver.follow(me.speed, me.desired, strongest(way[i], brake[i])[0]) + noise[i - 1]
        speed = ca.fmax(me.speed + dt * driver.apply(acceleration), 0.0)
        ahead = me.ahead + 0.5 * dt * (me.speed + speed)
        after.append(Vehicle(ahead, me.y + sideways(driver, me, dt), speed, lane, me.desired))
    return after
