"""Filtered actions in Gymnasium."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from benchmarks.filtered_tasks import braking_certificate, disturbed_braking
from ctrl.filters import Shield
from ctrl.filters.gym import FilteredActions
from systems import InvalidValue
from systems.errors import NotReady


@pytest.fixture(scope="module")
def shield() -> Shield:
    return Shield(disturbed_braking(), braking_certificate())


def test_random_actions_stay_in_the_set_and_replaced_ones_are_reported(shield):
    env = FilteredActions(shield.task.env(seed=3), shield)
    with pytest.raises(NotReady):
        env.step(np.zeros(1))
    env.reset(seed=1, options={"state": shield.certificate.V.middle})
    env.action_space.seed(0)
    replaced = 0
    for _ in range(60):
        action = np.abs(env.action_space.sample())  # towards the wall
        *_, info = env.step(action)
        assert shield.certificate.contains(info["state"])
        assert info["margins"]["wall"] <= 0
        assert (info["intervention"] == "") == np.array_equal(info["applied"], action.astype(float))
        replaced += info["intervention"] == "unsafe input"
    assert env.statistics.count == replaced > 0
    assert env.statistics.steps == 60


@pytest.mark.filterwarnings("ignore::UserWarning")  # of infinite observations, and of being a wrapper
def test_it_is_an_environment_by_gymnasiums_own_checks(shield):
    check_env(FilteredActions(shield.task.env(seed=0), shield), skip_render_check=True)


def test_refuses_what_shows_no_state(shield):
    env = FilteredActions(gymnasium.make("Pendulum-v1"), shield)
    with pytest.raises(InvalidValue, match="no 'state'"):
        env.reset()
    with pytest.raises(InvalidValue, match="the filter of FilteredActions"):
        FilteredActions(shield.task.env(), shield.certificate)


def test_the_filter_receives_the_sample_number(shield, monkeypatch):
    asked = []
    correct = shield.correct
    monkeypatch.setattr(shield, "correct", lambda x, u, k: (asked.append(k), correct(x, u, k))[1])
    env = FilteredActions(shield.task.env(seed=0), shield)
    for _ in range(2):
        env.reset()
        for _ in range(3):
            env.step(np.zeros(1))
    assert asked == [0, 1, 2, 0, 1, 2]
