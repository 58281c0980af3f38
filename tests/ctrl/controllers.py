"""Controllers that the tests of this folder share; worker processes import them from here."""

from __future__ import annotations

import os

import numpy as np

from ctrl import LQR, Decision, NotApplicable
from systems import Task


class Momentum:
    """A law with memory, so it cannot answer in batches and must be reset."""

    def __init__(self, task: Task) -> None:
        self.law, self.memory = LQR(task), np.zeros(len(task.plant.input))

    def reset(self) -> None:
        self.memory = np.zeros_like(self.memory)

    def step(self, x: np.ndarray, k: int) -> Decision:
        u = self.law.step(x, k).input
        self.memory = 0.8 * u + 0.2 * self.memory
        return Decision(self.memory.copy())


class Elsewhere(Momentum):
    """Works in the process it was defined for and nowhere else."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        if os.environ.get("TRIVIUM_TEST_PARENT") != str(os.getpid()):
            raise RuntimeError("made in another process")


def not_applicable(task: Task) -> LQR:
    raise NotApplicable("needs a linear plant")


def faulty(task: Task) -> LQR:
    raise ZeroDivisionError("gain of nothing")
