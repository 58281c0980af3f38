"""The observation of driving: the ego vehicle, and its neighbours from the nearest to the farthest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import casadi as ca

from systems.library.driving.highway import CAR, Highway
from systems.library.driving.traffic import separation, sideways
from systems.signals import Vector, signals
from systems.task import Observation

__all__ = ["RANGE", "comparators", "neighbourhood"]

RANGE = 80.0  # m, how far along the road the ego sees
NEIGHBOUR = (
    "presence_{} [-]",
    "ahead_{} [m]",
    "aside_{} [m]",
    "approach_{} [m/s]",
    "heading_{} [rad]",
    "closeness_{} [-]",
)


def neighbourhood(plant: Highway) -> Observation:
    """The ego's movement and place on the road, then six numbers per neighbour, ordered by distance along the road.

    The place within the lane is given as a sine and a cosine, because the error to the nearest lane jumps between two.
    On a straight road one point of the path says what several further ahead would. Of a neighbour: whether it is within
    sight (0 or 1; if not, its other numbers are 0 as well), how far ahead and to the left it is, how much faster than
    the ego, its heading, and how close it is: 1/2 at the edge of the ellipse that the ego must stay out of, and falling
    with the square of the distance. To a network that sees 80 m on one scale, the last ten are a detail otherwise.

    Raises:
        InvalidValue: as :class:`systems.task.Observation`.
    """
    road, driver = plant.road, plant.driver

    def observed(x: Vector, x_ref: Vector) -> list[Any]:
        phase = 2.0 * ca.pi / road.lane_width * (x.y - road.centres[0])
        yaw_rate = x.speed * ca.tan(x.steering) / (CAR.front + CAR.rear)
        own = [x.speed - x_ref.speed, yaw_rate, x.heading, x.steering, x.y, ca.sin(phase), ca.cos(phase)]
        rows = []
        me, *others = plant.vehicles(x)
        for v in others:
            ahead = road.signed(v.ahead)
            settling = type(v)(v.ahead, v.y, v.speed, road.nearest(v.lane), v.desired)
            heading = ca.atan2(sideways(driver, settling, plant.dt), ca.fmax(v.speed, 1.0) * plant.dt)
            closeness = 1.0 / (1.0 + separation(road, me, v))
            rows.append([ca.fabs(ahead), ahead, v.y - x.y, v.speed - x.speed, heading, closeness])
        for i, j in comparators(len(rows)):
            order = rows[i][0] <= rows[j][0]
            pairs = list(zip(rows[i], rows[j], strict=True))
            rows[i] = [ca.if_else(order, a, b) for a, b in pairs]
            rows[j] = [ca.if_else(order, b, a) for a, b in pairs]
        for distance, *numbers in rows:
            presence = distance <= RANGE
            own += [presence, *(ca.if_else(presence, number, 0.0) for number in numbers)]
        return own

    ego = ("speed_error [m/s]", "yaw_rate [rad/s]", "heading [rad]", "steering [rad]", "y [m]")
    names = range(1, len(plant.others) + 1)
    return Observation(
        signals(*ego, "lane_sine [-]", "lane_cosine [-]", *(text.format(n) for n in names for text in NEIGHBOUR)),
        observed,
    )


def comparators(n: int) -> Iterator[tuple[int, int]]:
    """Pairs of places i < j to be put in order, one after another, which sorts n numbers (Batcher, 1968)."""
    p = 1
    while p < n:
        k = p
        while k >= 1:
            for j in range(k % p, n - k, 2 * k):
                for i in range(min(k, n - j - k)):
                    if (i + j) // (2 * p) == (i + j + k) // (2 * p):
                        yield i + j, i + j + k
            k //= 2
        p *= 2
