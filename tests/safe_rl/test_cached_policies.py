"""Policies that are trained once and kept: what is reused, what is resumed, and how good the cart-pole's is."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from ctrl.comparison.draws import draw
from ctrl.controller import NotApplicable
from ctrl.loop import simulate
from mpc import NonlinearMPC
from safe_rl import DSACT, DSACTSettings, Policy, cached_policies
from systems import Task
from systems.files import locked
from systems.library import CartPole, cartpole

TINY = DSACTSettings(hidden=(8, 8), batch_size=16, warmup=80, environments=4, capacity=500)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own and trainings of a second."""
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path))
    monkeypatch.setattr(cached_policies, "UPDATES", 40)
    monkeypatch.setattr(cached_policies, "CHECKPOINT_EVERY", 15)
    monkeypatch.setattr(cached_policies, "DSACTSettings", lambda: TINY)
    return tmp_path


def inputs(task: Task) -> np.ndarray:
    """What the trained policy does at some starts."""
    x = task.initial.sample(task.plant.state, np.random.default_rng(0), (20,))
    return cached_policies.dsact(task).batch(x, 0)


def test_second_call_reads_what_the_first_one_learned(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = inputs(cartpole())
    assert sorted(file.suffix for file in cache.iterdir()) == [".csv", ".policy"]
    monkeypatch.setattr(DSACT, "learn", lambda *_, **__: pytest.fail("trained again"))
    np.testing.assert_array_equal(inputs(cartpole()), first)
    # Neither its name nor the plant that really runs is part of what is learned ...
    np.testing.assert_array_equal(inputs(cartpole().with_truth(CartPole(pole_mass=0.17))), first)
    # ... but everything else is.
    with pytest.raises(pytest.fail.Exception, match="trained again"):
        inputs(dataclasses.replace(cartpole(), discount=0.9))


def test_interrupted_training_ends_as_an_uninterrupted_one(
    cache: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = inputs(cartpole())
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path_factory.mktemp("second")))
    iterate, made = DSACT.iterate, []

    def interrupted(learner: DSACT) -> None:
        if learner.updates == 22:
            raise KeyboardInterrupt
        made.append(learner.updates)
        iterate(learner)

    monkeypatch.setattr(DSACT, "iterate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cached_policies.dsact(cartpole())

    def counted(learner: DSACT) -> None:
        made.append(learner.updates)
        iterate(learner)

    monkeypatch.setattr(DSACT, "iterate", counted)
    np.testing.assert_array_equal(inputs(cartpole()), expected)
    assert made == [*range(22), *range(15, 40)]  # goes on from the last checkpoint, not from the beginning


def test_damaged_files_are_replaced(cache: Path) -> None:
    expected = inputs(cartpole())
    (kept,) = cache.glob("*.policy")
    kept.write_bytes(b"no policy")
    kept.with_suffix(".learner").write_bytes(b"no learner")
    np.testing.assert_array_equal(inputs(cartpole()), expected)


def test_a_policy_of_another_task_in_its_place_is_replaced(cache: Path) -> None:
    expected = inputs(cartpole())
    (kept,) = cache.glob("*.policy")
    Policy(3, torch.tensor([-1.0]), torch.tensor([1.0]), (4,), torch.Generator()).save(kept)
    np.testing.assert_array_equal(inputs(cartpole()), expected)


def test_who_asks_meanwhile_waits_for_the_training(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = inputs(cartpole())
    (kept,) = cache.glob("*.policy")
    whole, begun = kept.read_bytes(), threading.Event()
    kept.unlink()

    def trains() -> None:
        with locked(kept):
            begun.set()
            time.sleep(0.5)
            kept.write_bytes(whole)

    thread = threading.Thread(target=trains)
    thread.start()
    begun.wait()
    monkeypatch.setattr(DSACT, "learn", lambda *_, **__: pytest.fail("trained twice"))
    np.testing.assert_array_equal(inputs(cartpole()), expected)
    thread.join()


def test_a_cache_that_is_full_costs_no_policy(
    cache: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = inputs(cartpole())
    (kept,) = cache.glob("*.policy")
    name = kept.name
    kept.unlink()
    elsewhere, real = tmp_path_factory.mktemp("elsewhere"), os.replace
    monkeypatch.chdir(elsewhere)

    def full(source: str, target: str) -> None:
        if Path(target).parent == cache:
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(UserWarning, match=rf"No space left on device; the policy is .*{name}"):
        np.testing.assert_array_equal(inputs(cartpole()), expected)
    assert (elsewhere / name).exists()


def test_unbounded_inputs_are_refused(cache: Path) -> None:
    class Unbounded(CartPole):
        def limits(self) -> dict[str, tuple[float, float]]:
            return {}

    with pytest.raises(NotApplicable, match="finite bounds"):
        cached_policies.dsact(dataclasses.replace(cartpole(), plant=Unbounded()))
    assert not list(cache.iterdir())


@pytest.mark.slow
def test_cartpole_policy_is_nearly_as_good_as_nonlinear_mpc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path))
    task = cartpole()
    x0, w = draw(task, 128, [0])
    learned, optimal = (simulate(task, law, x0, w) for law in (cached_policies.dsact(task), NonlinearMPC(task)))
    assert learned.stayed.all()
    assert learned.cost.mean() <= 1.10 * optimal.cost.mean()
