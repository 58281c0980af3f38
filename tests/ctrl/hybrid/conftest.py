"""Proved references of two kinds of road, made once."""

from __future__ import annotations

import pytest

from ctrl.certify import Certificate, SearchLimits, largest_level
from ctrl.regulator import LQR
from systems.library.roads import segment_task


def proved(friction: float, curvature: float, speed: float) -> Certificate:
    task = segment_task(friction, curvature, speed)
    limits = SearchLimits(boxes=40_000, seconds=60.0)
    return largest_level(task, LQR(task).law, resolution=0.1, budget=limits)


@pytest.fixture(scope="session")
def dry() -> Certificate:
    return proved(1.0, 0.0, 12.0)


@pytest.fixture(scope="session")
def slow() -> Certificate:
    return proved(1.0, 0.0, 9.0)


@pytest.fixture(scope="session")
def snow() -> Certificate:
    return proved(0.3, 0.025, 8.0)
