"""The sentences of a report say what the numbers say, and no more."""

from __future__ import annotations

import dataclasses
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from ctrl.comparison import Comparison
from ctrl.report import summary
from ctrl.report.differences import broken, differences
from systems import Box, Task
from tests.ctrl.report.comparisons import comparison, runs, task

TASK = task()
HARD = TASK.constraints[-1].name


def answer(compared: Comparison, question: int) -> str:
    return " ".join(summary(compared)[question].sentences).replace("\u00a0", " ")


def with_requirement(constraint: Box) -> Task:
    return dataclasses.replace(TASK, constraints=(constraint,))


@given(st.integers(0, 10_000), st.floats(0, 3), st.integers(2, 4), st.integers(3, 40))
@settings(max_examples=40, deadline=None)
def test_a_controller_is_called_better_only_where_the_paired_interval_says_so(
    seed: int, shift: float, count: int, b: int
) -> None:
    """Judged by scipy's paired t test at 5 % over the number of pairs."""
    chance = np.random.default_rng(seed)
    shared = 100 + 30 * chance.normal(size=b)
    costs = {f"c{i}": shared + i * shift + chance.normal(size=b) for i in range(count)}
    said = answer(comparison(TASK, {name: runs(TASK, cost) for name, cost in costs.items()}), 0)
    pairs = list(combinations(costs, 2))
    best = min(costs, key=lambda name: costs[name].mean())
    for one, other in pairs:
        clear = ttest_rel(costs[one], costs[other]).pvalue < 0.05 / len(pairs)
        low, high = sorted((one, other), key=lambda name: costs[name].mean())
        assert differences(costs)[frozenset((one, other))].is_clear == clear
        assert not (f"{low} is better than {high}" in said and not clear)
        assert f"{high} is better than {low}" not in said
        if low == best:
            assert (f"{low} is better than {high}" in said) == clear
            assert (f"{low} and {high} are tied" in said) == (not clear)
        assert not (f"{low} and {high} are tied" in said and clear)


def test_differences_hold_together() -> None:
    """With three alike controllers, at most 5 % of comparisons may call any difference clear."""
    chance = np.random.default_rng(1)
    wrong = 0
    for _ in range(600):
        pairs = differences({name: chance.normal(size=12) + 50 for name in "abc"})
        wrong += any(pair.is_clear for pair in pairs.values())
    assert wrong / 600 < 0.05 + 3 * (0.05 * 0.95 / 600) ** 0.5


def test_the_numbers_of_a_difference_are_those_of_the_runs() -> None:
    costs = {"a": np.array([1.0, 2.0, 3.0]), "b": np.array([2.0, 3.1, 3.9])}
    pair = differences(costs)[frozenset("ab")]
    interval = ttest_rel(costs["b"], costs["a"]).confidence_interval(0.95)
    assert (pair.first, pair.second) == ("a", "b")
    np.testing.assert_allclose([pair.cost.low, pair.cost.high], [interval.low, interval.high])
    assert pair.share == pytest.approx(0.5)


def test_equal_costs_are_tied_and_solver_tolerances_are_no_difference() -> None:
    cost = np.array([10.0, 20.0, 30.0])
    said = answer(comparison(TASK, {"a": runs(TASK, cost), "b": runs(TASK, cost + 1e-9)}), 0)
    assert "a and b are tied: no run differs in cost by more than a millionth" in said
    assert "better" not in said


def test_a_cheaper_controller_that_breaks_a_constraint_is_not_called_better() -> None:
    cheap = runs(TASK, [1.0, 1.1, 1.2, 1.3], {HARD: [0.2, -1, -1, -1]})
    kept = runs(TASK, [5.0, 5.2, 5.1, 5.3])
    compared = comparison(TASK, {"cheap": cheap, "kept": kept})
    said = answer(compared, 0)
    assert "kept has the lowest mean cost of those that kept every constraint" in said
    assert "cheap costs less than kept by" in said
    assert f"did not keep '{HARD}', unlike kept: that cost is not comparable" in said
    assert "better" not in said
    assert f"hard '{HARD}' violated in 1 of 4 runs" in answer(compared, 1)
    assert "its largest margin is 0.200" in answer(compared, 1)
    assert broken(compared, "cheap") == {HARD: f"'{HARD}'"}


def test_soft_constraints_are_reported_but_are_part_of_the_cost() -> None:
    soft = with_requirement(Box("fence", {"position": (-5.0, 5.0)}).soft(1.0))
    one = runs(soft, [1.0, 1.1, 1.2], {"fence": [0.1, -1, -1]})
    compared = comparison(soft, {"a": one, "b": runs(soft, [3.0, 3.3, 3.2])})
    assert "a is better than b" in answer(compared, 0)
    assert "soft 'fence' violated in 1 of 3 runs" in answer(compared, 1)


def test_a_budget_exceeded_by_chance_is_neither_kept_nor_broken() -> None:
    fenced = with_requirement(Box("fence", {"position": (-5.0, 5.0)}).budget(0.3))
    one = runs(fenced, [1.0, 1.1, 1.2], {"fence": [0.1, -1, -1]})
    compared = comparison(fenced, {"a": one, "b": runs(fenced, [3.0, 3.3, 3.2])})
    assert broken(compared, "a") == {"fence": "'fence' (which may be chance)"}
    assert "budget of 'fence' exceeded, which may be chance: violated samples per run 0.33" in answer(compared, 1)
    assert "b kept every constraint" in answer(compared, 0)


def test_a_budget_kept_in_few_runs_is_not_said_to_be_kept_in_others() -> None:
    fenced = with_requirement(Box("fence", {"position": (-5.0, 5.0)}).budget(0.5))
    one = runs(fenced, [1.0, 1.1, 1.2], {"fence": [0.1, -1, -1]})
    said = answer(comparison(fenced, {"a": one}), 1)
    assert "budget of 'fence' kept in these runs, too few to rule out more: violated samples per run 0.33" in said
    assert "to 1.77), allowed 0.5" in said  # Student's t: 1/3 + 4.303 / 3
    assert "%: 0.00 to" in said, "nothing below zero can be spent"
    ample = with_requirement(Box("fence", {"position": (-5.0, 5.0)}).budget(1.8))
    said = answer(comparison(ample, {"a": one}), 1)
    assert "budget of 'fence' kept: violated samples" in said


def test_without_violation_the_bound_on_the_probability_is_given() -> None:
    said = answer(comparison(TASK, {"a": runs(TASK, np.ones(128))}), 1)
    assert "a: no violation; 0 of 128 runs (95 %: at most 3.0 %) have a violation" in said  # Wilson: 2.91 %, rounded up


def test_proved_and_sampled_regions_are_distinguished() -> None:
    all_three = {name: runs(TASK, [1.0, 2.0]) for name in "abc"}
    said = answer(comparison(TASK, all_three, {"a": 0.10499, "b": 0.0, "c": None}), 2)
    assert "Proved: without disturbances, a reaches the reference from at least 10.4 %" in said
    assert "Nothing was proved for b within the time limit" in said
    assert said.count("Proved: ") == 1
    other = comparison(dataclasses.replace(TASK, truth=TASK.plant), all_three, {"a": 0.10499})
    assert "Proved: without disturbances, a reaches the reference on the true plant from" in answer(other, 2)
    assert "No proof is possible for c" in said
    untried = dataclasses.replace(comparison(TASK, all_three), is_proof_tried=False)
    assert "No proof was attempted" in answer(untried, 2)
    assert "Proved" not in answer(untried, 2)


def test_late_steps_are_counted() -> None:
    compared = comparison(TASK, {"a": runs(TASK, [1.0, 2.0], seconds=1e-3), "b": runs(TASK, [1.0, 2.0], seconds=0.5)})
    said = answer(compared, 3)
    assert "a: median 1.00 ms, 99 % within 1.00 ms; none of the 12 timed steps took longer than dt" in said
    assert (
        "b: median 500 ms, 99 % within 500 ms; 12 of 12 timed steps (95 %: at least 75.7 %) took longer than dt" in said
    )


def test_one_run_and_infinite_costs_give_no_difference() -> None:
    one = answer(comparison(TASK, {"a": runs(TASK, [1.0]), "b": runs(TASK, [2.0])}), 0)
    assert "cannot be distinguished: a single run" in one
    diverged = comparison(TASK, {"a": runs(TASK, [1.0, 2.0]), "b": runs(TASK, [2.0, np.inf])})
    assert "cannot be compared: a mean cost is not finite" in answer(diverged, 0)
    assert "better" not in one + answer(diverged, 0)


def test_of_controllers_that_all_break_a_constraint_none_is_better() -> None:
    often = runs(TASK, [1.0, 1.1, 1.2, 1.15], {HARD: [0.2, 0.3, 0.4, 0.5]})
    once = runs(TASK, [2.0, 2.1, 2.2, 2.15], {HARD: [0.01, -1, -1, -1]})
    said = answer(comparison(TASK, {"often": often, "once": once}), 0)
    assert "better" not in said
    assert (
        f"often costs less than once by 1.00 in every run, 90 % of the mean cost of often, but neither kept '{HARD}'"
        in said
    )
    first = TASK.constraints[0].name
    both = runs(TASK, [1.0, 1.1, 1.2, 1.15], {HARD: [0.2, 0.3, 0.4, 0.5], first: [1, 1, 1, 1]})
    said = answer(comparison(TASK, {"both": both, "once": once}), 0)
    assert f"but did not keep '{first}', and neither kept '{HARD}'" in said
    tied = answer(comparison(TASK, {"both": both, "once": runs(TASK, both.cost, {HARD: [0.1] * 4})}), 0)
    assert f"are tied: no run differs in cost by more than a millionth; but both did not keep '{first}'." in tied


def test_a_limit_exceeded_beyond_chance_is_not_called_kept_beside_one_that_may_be() -> None:
    fenced = with_requirement(Box("fence", {"position": (-5.0, 5.0)}).chance(0.9))
    cost = np.arange(20) / 10
    few, all_ = runs(fenced, cost + 1, {"fence": [1] * 3 + [-1] * 17}), runs(fenced, cost + 5, {"fence": [1] * 20})
    said = answer(comparison(fenced, {"few": few, "all": all_}), 0)
    assert "few costs less than all" in said
    assert "but neither can be said to have kept 'fence'" in said
    assert "better" not in said
    assert "unlike" not in said


def test_a_controller_that_violates_a_soft_constraint_is_not_reported_to_keep_all() -> None:
    walls = dataclasses.replace(
        TASK, constraints=(Box("fence", {"position": (-5.0, 5.0)}).soft(1.0), Box("wall", {"position": (-6.0, 6.0)}))
    )
    soft, hard = runs(walls, [1.0, 2.0, 4.0], {"fence": [1] * 3}), runs(walls, [2.0, 4.0, 8.0], {"wall": [1] * 3})
    said = answer(comparison(walls, {"soft": soft, "hard": hard}), 0)
    assert "soft kept every constraint that is not soft and stayed in the domain; hard did not keep 'wall'." in said
    assert "soft has the lowest mean cost of those that kept every constraint that is not soft" in said


def test_infinite_costs_in_different_runs_are_not_tied() -> None:
    compared = comparison(TASK, {"a": runs(TASK, [np.inf, 1, 1]), "b": runs(TASK, [1, np.inf, 1])})
    said = answer(compared, 0)
    assert "tied" not in said
    assert "No controller has a finite mean cost over 3 runs. The costs of a and b cannot be compared" in said


def test_diverged_runs_are_reported_for_a_task_without_constraints_and_domain() -> None:
    free = dataclasses.replace(TASK, constraints=(), domain=None)
    gone = dataclasses.replace(runs(free, [1.0, 2.0, 4.0]), left=np.array([-1, 3, -1]))
    compared = comparison(free, {"gone": gone, "kept": runs(free, [5.0, 6.0, 8.0])})
    assert "gone: 1 of 3 runs (95 %: 6.1 to 79.3 %) diverged" in answer(compared, 1)
    assert "kept kept every constraint and did not diverge; gone diverged." in answer(compared, 0)
    assert "better" not in answer(compared, 0)
