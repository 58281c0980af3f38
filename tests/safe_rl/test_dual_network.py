"""The network that predicts active constraints: trained, evaluated in numpy, saved, without influence on decisions."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from ctrl import simulate
from mpc import DualNetwork, DualRecorder, MultiModalMPC
from mpc.reduction.dual_network import features
from safe_rl import train_dual_network
from systems import InvalidValue
from systems.files import FileError
from systems.library import intersection

TASK = dataclasses.replace(intersection(), steps=16)
HORIZON = 10


@pytest.fixture(scope="module")
def records() -> DualRecorder:
    recorder, rng = DualRecorder(MultiModalMPC(TASK, HORIZON)), np.random.default_rng(0)
    starts = TASK.initial.sample(TASK.plant.state, rng, (4,))
    noise = TASK.disturbance.sample(TASK.plant.disturbance, rng, (4, TASK.steps))
    simulate(TASK, recorder, starts, noise, parameters=TASK.draw_parameters(rng, 4))
    return recorder


@pytest.fixture(scope="module")
def network(records: DualRecorder) -> DualNetwork:
    return train_dual_network(records, hidden=(32,), updates=500, learning_rate=0.02)


def test_records_are_those_of_solved_samples(records: DualRecorder) -> None:
    assert len(records.inputs) == len(records.active) > 50
    assert sum(map(len, records.active)) > 10
    assert records.shape == (3, 16, HORIZON)


def test_network_learns_what_was_recorded(records: DualRecorder, network: DualNetwork) -> None:
    hits = misses = extra = 0
    for x, active in zip(records.inputs, records.active, strict=True):
        predicted = set(np.flatnonzero(network.probabilities(x) > network.threshold))
        hits += len(predicted & set(active))
        misses += len(set(active) - predicted)
        extra += len(predicted - set(active))
    assert hits > 0.8 * (hits + misses)
    assert extra < 5 * hits


def test_numpy_gives_the_values_of_torch(network: DualNetwork) -> None:
    x = np.random.default_rng(1).normal(size=(5, len(network.mean)))
    layers: list[torch.nn.Module] = []
    for weight, bias in zip(network.weights, network.biases, strict=True):
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
        linear.weight.data, linear.bias.data = torch.tensor(weight), torch.tensor(bias)
        layers += [linear, torch.nn.ReLU()]
    expected = torch.nn.Sequential(*layers[:-1], torch.nn.Sigmoid())(torch.tensor((x - network.mean) / network.scale))
    np.testing.assert_allclose(network.probabilities(x), expected.detach().numpy(), atol=1e-12)


def test_predictions_do_not_change_decisions(network: DualNetwork) -> None:
    rng = np.random.default_rng(3)
    start = TASK.initial.sample(TASK.plant.state, rng, (1,))
    noise = TASK.disturbance.sample(TASK.plant.disturbance, rng, (1, TASK.steps))
    runs = [
        simulate(TASK, MultiModalMPC(TASK, HORIZON, predictor), start, noise, parameters=np.array([[0.5, 1.5, 2.5]]))
        for predictor in (None, network)
    ]
    np.testing.assert_allclose(runs[0].inputs, runs[1].inputs, atol=1e-3)


def test_a_file_gives_the_same_network(network: DualNetwork, tmp_path: Path) -> None:
    network.save(tmp_path / "network.json")
    assert DualNetwork.load(tmp_path / "network.json") == network
    (tmp_path / "other.json").write_text('{"shape": [1, 2, 3]}')
    with pytest.raises(FileError, match="no network"):
        DualNetwork.load(tmp_path / "other.json")


def test_a_network_of_another_horizon_is_refused(network: DualNetwork) -> None:
    with pytest.raises(InvalidValue, match="horizon"):
        MultiModalMPC(TASK, HORIZON + 1, network)


@pytest.mark.parametrize(
    "changes",
    [{"shape": (3, 16, 5)}, {"mean": np.zeros(3)}, {"scale": np.zeros(16)}, {"weights": ()}, {"threshold": 1.0}],
)
def test_arrays_that_do_not_fit_are_refused(network: DualNetwork, changes: dict[str, object]) -> None:
    with pytest.raises(InvalidValue):
        dataclasses.replace(network, **changes)  # type: ignore[arg-type]


def test_features_are_state_and_probabilities() -> None:
    controller = MultiModalMPC(TASK, HORIZON)
    x = TASK.initial.sample(TASK.plant.state, np.random.default_rng(0))
    controller.step(x, 0)
    assert controller.situation is not None
    np.testing.assert_allclose(features(controller.situation), [*x, 0.5, 0.5, 0.5, 0.5, *[0.25] * 4])
