"""A network that predicts active constraints from the situation, evaluated in numpy, and the records to train it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from ctrl.controller import Decision, Status
from mpc.reduction.multimodal_mpc import MultiModalMPC
from mpc.reduction.predictors import ConstraintPredictor, Situation
from systems import InvalidValue
from systems.arguments import expect_array, expect_number
from systems.errors import expect
from systems.files import FileError, read_json, write_json

__all__ = ["DualNetwork", "DualRecorder", "features"]


def features(situation: Situation) -> np.ndarray:
    """The input of a network: the state, then the probabilities of the modes."""
    return np.concatenate([situation.x, *situation.probabilities])


@final
@dataclass(frozen=True, eq=False)
class DualNetwork(ConstraintPredictor):
    """A multilayer perceptron with rectified linear units, whose outputs are the log-odds that cones are active.

    Made by :func:`safe_rl.dual_network.train_dual_network`; in place of RAID-Net (Kim, Nair & Borrelli, 2024).

    Args:
        shape: rows of the chance constraints, joint modes, samples.
        mean, scale: (features,), by which features are centred and divided.
        weights: matrices (outputs, inputs) of the layers. biases: vectors (outputs,).
        threshold: probability above which a cone is predicted to be active.

    Raises:
        InvalidValue, DimensionMismatch: arrays that do not fit each other.
    """

    shape: tuple[int, int, int]
    mean: np.ndarray
    scale: np.ndarray
    weights: Sequence[np.ndarray]
    biases: Sequence[np.ndarray]
    threshold: float = 0.1

    def __post_init__(self) -> None:
        expect_number(self.threshold, "threshold", above=0.0, below=1.0)
        mean = expect_array(self.mean, "mean", ("features",))
        scale = expect_array(self.scale, "scale", ("features",))
        weights = tuple(expect_array(w, "a matrix of weights", ("outputs", "inputs")) for w in self.weights)
        biases = tuple(expect_array(b, "a vector of biases", ("outputs",)) for b in self.biases)
        sizes = [len(mean), *map(len, biases)]
        expected = list(zip(sizes[1:], sizes[:-1], strict=True))
        if (
            len(scale) != len(mean)
            or not (scale > 0).all()
            or [w.shape for w in weights] != expected
            or sizes[-1] != int(np.prod(self.shape))
        ):
            raise InvalidValue(
                f"a network with {len(mean)} features, scales of shape {scale.shape}, weights "
                f"{[w.shape for w in weights]} and biases {[b.shape for b in biases]} for {self.shape} cones; expected "
                "positive scales, one per feature, layers that fit each other, and one output per cone"
            )
        for name, value in (("mean", mean), ("scale", scale), ("weights", weights), ("biases", biases)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "shape", tuple(int(size) for size in self.shape))

    def expect_fits(self, situation: Situation) -> None:
        if situation.shape != self.shape or len(features(situation)) != len(self.mean):
            raise InvalidValue(
                f"a network for {self.shape} cones and {len(self.mean)} features; this controller has "
                f"{situation.shape} and {len(features(situation))}: train one for its task and horizon"
            )

    def probabilities(self, inputs: np.ndarray) -> np.ndarray:
        """The probabilities (..., cones) that cones are active, for features (..., features)."""
        y = (inputs - self.mean) / self.scale
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            y = np.maximum(y @ weight.T + bias, 0.0)
        logits = y @ self.weights[-1].T + self.biases[-1]
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits, -500.0, 500.0))))

    def predict(self, situation: Situation) -> np.ndarray:
        return np.flatnonzero(self.probabilities(features(situation)) > self.threshold)

    def save(self, path: str | Path) -> None:
        """Writes a JSON file.

        Args:
            path: of the file.
        """
        write_json(
            path,
            {
                "shape": list(self.shape),
                "mean": self.mean.tolist(),
                "scale": self.scale.tolist(),
                "weights": [w.tolist() for w in self.weights],
                "biases": [b.tolist() for b in self.biases],
                "threshold": float(self.threshold),
            },
        )

    @classmethod
    def load(cls, path: str | Path) -> DualNetwork:
        """Reads a file that ``save`` wrote.

        Args:
            path: of the file.

        Raises:
            FileError: the file contains no such network.
        """
        data = read_json(path)
        try:
            return cls(**_fields(data))
        except (TypeError, ValueError, KeyError) as error:
            raise FileError(f"{path}: no network of duals: {error}") from error


def _fields(data: Any) -> dict[str, Any]:
    names = ("shape", "mean", "scale", "weights", "biases", "threshold")
    if not isinstance(data, dict) or set(data) != set(names):
        raise ValueError(f"expected the entries {', '.join(names)}")
    return {
        "shape": tuple(int(size) for size in data["shape"]),
        "mean": np.array(data["mean"], dtype=float),
        "scale": np.array(data["scale"], dtype=float),
        "weights": tuple(np.array(w, dtype=float) for w in data["weights"]),
        "biases": tuple(np.array(b, dtype=float) for b in data["biases"]),
        "threshold": data["threshold"],
    }


@final
class DualRecorder:
    """A controller that records, in each solved sample, the situation and which cones had a dual above zero.

    Args:
        controller: whose decisions it passes on.

    Attributes:
        task: of the controller.
        inputs: features, one (features,) per recorded sample.
        active: numbers of the active cones, per recorded sample.
        shape: of the cones; None before the first record.
    """

    def __init__(self, controller: MultiModalMPC) -> None:
        expect(controller, MultiModalMPC, "controller", "such as MultiModalMPC(task)")
        self.controller, self.task = controller, controller.task
        self.inputs: list[np.ndarray] = []
        self.active: list[np.ndarray] = []
        self.shape: tuple[int, int, int] | None = None

    def reset(self) -> None:
        """Starts a new run; keeps the records."""
        self.controller.reset()

    def step(self, x: np.ndarray, k: int) -> Decision:
        """The decision of the controller at sample ``k`` in state ``x`` (n,)."""
        decision = self.controller.step(x, k)
        situation, optimum = self.controller.situation, self.controller.optimum
        if decision.status is Status.SOLVED and situation is not None and optimum is not None:
            self.inputs.append(features(situation))
            self.active.append(optimum.active)
            self.shape = situation.shape
        return decision
