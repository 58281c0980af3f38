"""The comparison: common random numbers, workers, refusals, table, figure, folder."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import casadi as ca
import matplotlib
import numpy as np
import pytest

from ctrl import LQR, Comparison, Decision, NotApplicable, Status, compare
from ctrl.comparison import Rate, table
from ctrl.comparison.draws import draw, objection
from ctrl.comparison.figure import phase_plane
from ctrl.comparison.results import OutputError, prepare, reserved, save
from systems import Box, DimensionMismatch, Fixed, Inequality, InvalidValue, LinearPlant, Task, Uniform
from systems.library.cartpole import CartPole, cartpole
from systems.library.pendulum import pendulum_swing_up
from systems.statistics import Estimate
from systems.true_plant import difference
from tests.ctrl.controllers import Elsewhere, Momentum, faulty, not_applicable

TASK = dataclasses.replace(cartpole(), steps=40)
KEYS = [
    "controller", "cost", "cost_low", "cost_high", "violations", "runs", "step_p50_ms", "step_p99_ms", "missed",
    "roa_sampled", "roa_proved", "approximations"]  # fmt: skip


def test_all_controllers_see_the_same_numbers() -> None:
    one = compare(TASK, {"a": LQR, "b": LQR(TASK)}, starts=7, seeds=3)
    two = compare(TASK, {"c": Momentum}, starts=7, seeds=3, workers=1)
    np.testing.assert_array_equal(one.runs["a"].states, one.runs["b"].states)
    np.testing.assert_array_equal(one.starts, two.starts)
    np.testing.assert_array_equal(one.disturbances, two.disturbances)
    np.testing.assert_array_equal(two.runs["c"].states[:, 0], one.runs["a"].states[:, 0])


def test_a_longer_comparison_begins_like_a_shorter_one() -> None:
    (short, w_short), (long, w_long) = draw(TASK, 5, (1,)), draw(TASK, 9, (1,))
    np.testing.assert_array_equal(short, long[:5])
    np.testing.assert_array_equal(w_short, w_long[:5])
    assert not np.allclose(draw(TASK, 5, (2,))[0], short)


def test_several_seeds_follow_each_other() -> None:
    both, w = draw(TASK, 4, (5, 6))
    assert both.shape == (8, 4)
    assert w.shape == (8, 40, 1)
    np.testing.assert_array_equal(both[4:], draw(TASK, 4, (6,))[0])
    assert not np.allclose(w[:4], w[4:])


def test_numbers_do_not_depend_on_the_number_of_workers() -> None:
    alone = compare(TASK, {"m": Momentum}, starts=9, workers=1).runs["m"]
    spread = compare(TASK, {"m": Momentum}, starts=9, workers=2).runs["m"]
    for name in ("states", "inputs", "costs", "margins", "statuses", "left"):
        np.testing.assert_array_equal(getattr(alone, name), getattr(spread, name), err_msg=name)


def test_runs_are_really_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIVIUM_TEST_PARENT", str(os.getpid()))
    compared = compare(TASK, {"lqr": LQR, "here": Elsewhere}, starts=8, workers=2)
    assert "made in another process" in compared.failed["here"]


def test_given_starts_are_used() -> None:
    starts = np.array([[0.1, 0.0, 0.0, 0.0], [0.0, 0.1, 0.0, 0.0]])
    np.testing.assert_array_equal(compare(TASK, {"lqr": LQR}, starts=starts).runs["lqr"].states[:, 0], starts)


def test_an_infeasible_start_is_refused_by_name() -> None:
    fenced = dataclasses.replace(TASK, constraints=(Box("fence", {"position": (-1.5, 1.5), "force": (-5.0, 5.0)}),))
    good = np.zeros(4)
    with pytest.raises(InvalidValue, match=r"run 1 .*position = 2.*fence.* by 0\.5"):
        compare(fenced, {"lqr": LQR}, starts=[good, [2.0, 0.0, 0.0, 0.0]])
    with pytest.raises(InvalidValue, match=r"run 0 .*outside the domain.*angle in \[-0.6, 0.6\]"):
        compare(TASK, {"lqr": LQR}, starts=[[0.0, 2.0, 0.0, 0.0]])
    with pytest.raises(InvalidValue, match="not finite"):
        compare(TASK, {"lqr": LQR}, starts=[[np.nan, 0.0, 0.0, 0.0]])
    with pytest.raises(DimensionMismatch, match="position, angle"):
        compare(TASK, {"lqr": LQR}, starts=[[0.0, 0.0]])
    assert objection(fenced, good) is None, "a bound on the input forbids no start"
    soft = dataclasses.replace(TASK, constraints=(Box("fence", {"position": (-1.5, 1.5)}).soft(1.0),))
    assert objection(soft, np.array([2.0, 0.0, 0.0, 0.0])) is None, "a soft constraint may be violated"


def test_one_fault_does_not_cost_the_others() -> None:
    compared = compare(TASK, {"no": not_applicable, "bad": faulty, "lqr": LQR}, starts=3)
    assert list(compared.runs) == ["lqr"]
    assert compared.skipped == {"no": "needs a linear plant"}
    assert "ZeroDivisionError: gain of nothing (controllers.py" in compared.failed["bad"]
    assert "no: skipped, needs a linear plant" in str(compared)
    assert "bad: FAILED, ZeroDivisionError" in str(compared)


def test_misuse_is_refused() -> None:
    with pytest.raises(NotApplicable, match="needs a linear plant"):
        compare(TASK, {"no": not_applicable}, starts=3)
    with pytest.raises(InvalidValue, match="no controllers"):
        compare(TASK, {})
    with pytest.raises(InvalidValue, match=r"controllers = .*LQR.*by the name"):
        compare(TASK, [LQR])  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="'x' is int"):
        compare(TASK, {"x": 3})  # type: ignore[dict-item]
    for wrong in ({"starts": 0}, {"seeds": -1}, {"workers": 0}, {"seeds": ()}):
        with pytest.raises(InvalidValue):
            compare(TASK, {"lqr": LQR}, **wrong)  # type: ignore[arg-type]


def test_table_states_the_problem_and_counts() -> None:
    task = TASK.with_truth(CartPole(pole_mass=0.15))
    told = " ".join(str(compare(task, {"lqr": LQR, "momentum": Momentum}, starts=20, workers=1)).split())
    assert "cartpole · 40 steps of 0.05 s (rk4, 0.05 s) · 20 starts · seed 0 · true plant = nominal with" in told
    assert "pole_mass 0.1 -> 0.15" in told
    assert "0/20 (≤16.1" in told.replace("\u00a0", " ")
    assert difference(TASK) == "true plant = nominal"


def told(compared: Comparison) -> str:
    """The table on one line, with plain spaces."""
    return " ".join(str(compared).replace("\u00a0", " ").split())


def test_footnotes_say_whether_chances_and_budgets_were_kept() -> None:
    rate = Box("rate", {"rate": (-0.1, 0.1)})
    task = dataclasses.replace(
        TASK,
        constraints=(
            rate.chance(0.9),
            dataclasses.replace(rate, name="seldom").budget(0.5),
            dataclasses.replace(rate, name="later").budget(1e3, per="discounted"),
            Box("track", {"position": (-2.4, 2.4)}),
        ),
    )
    compared = compare(task, {"lqr": LQR}, starts=20)
    verdicts = compared.metrics["lqr"].verdicts
    assert [verdict.kept for verdict in verdicts] == [False, False, True, True]
    said = told(compared)
    assert "lqr: 'rate' NOT KEPT: violated by" in said
    assert "of the runs at its worst sample" in said
    assert "; allowed 10 %" in said
    assert "lqr: 'seldom' NOT KEPT:" in said
    assert "violated samples per run on average; allowed 0.5" in said
    assert "lqr: 'later' kept:" in said
    assert "discounted by 0.97 on average; allowed 1000" in said
    assert "'track' kept" not in said, "a hard constraint has a column"


def test_a_mean_above_its_budget_is_never_called_kept() -> None:
    """Few runs may be no evidence against a budget; they are none for it either."""
    fast = Box("fast", {"rate": (-0.1, 0.1)})
    task = dataclasses.replace(TASK, constraints=(fast.budget(0.5),))
    measured = compare(task, {"lqr": LQR}, starts=2).metrics["lqr"].verdicts[0].measured
    assert isinstance(measured, Estimate)
    assert measured.low < 0.99 * measured.value
    task = dataclasses.replace(TASK, constraints=(fast.budget(0.99 * measured.value),))
    assert "lqr: 'fast' perhaps kept, too few runs to tell:" in told(compare(task, {"lqr": LQR}, starts=2))


def test_few_runs_within_a_budget_are_no_evidence_that_it_is_kept() -> None:
    fast = Box("fast", {"rate": (-0.1, 0.1)})
    task = dataclasses.replace(TASK, constraints=(fast.budget(0.5),))
    measured = compare(task, {"lqr": LQR}, starts=2).metrics["lqr"].verdicts[0].measured
    assert isinstance(measured, Estimate)
    for limit, said in ((1.01 * measured.value, "kept in these runs, too few to rule out more"), (1e3, "kept")):
        task = dataclasses.replace(TASK, constraints=(fast.budget(limit),))
        assert f"lqr: 'fast' {said}:" in told(compare(task, {"lqr": LQR}, starts=2))


class Doubtful:
    """A regulator that owns up to having found nothing in its first five samples."""

    def __init__(self, task: Task) -> None:
        self.law = LQR(task)

    def reset(self) -> None:
        pass

    def step(self, x: np.ndarray, k: int) -> Decision:
        found = self.law.step(x, k)
        return dataclasses.replace(found, status=Status.NUMERICAL) if k < 5 else found


def test_endings_that_occurred_are_explained_and_others_not() -> None:
    assert "nearly optimal" not in told(compare(TASK, {"lqr": LQR}, starts=3))
    said = told(compare(TASK, {"doubtful": Doubtful}, starts=3, workers=1))
    assert "doubtful: 15 samples numerical" in said
    assert "numerical: the solver's point failed the optimality check" in said
    assert "otherwise the shifted last plan, or else a backup control law" in said
    assert "infeasible:" not in said


def test_who_breaks_a_hard_constraint_is_not_called_cheapest_without_a_mark() -> None:
    fenced = dataclasses.replace(
        TASK,
        constraints=(Box("crawl", {"velocity": (-0.5, 0.5)}),),
        initial=Uniform({"position": 1.0}, {"position": 2.0}),
    )
    compared = compare(fenced, {"lqr": LQR, "other": Momentum}, starts=6, workers=1)
    assert compared.metrics["lqr"].broke_hard.k == 6
    assert compared.metrics["lqr"].left.k == 0
    assert "lqr*" in str(compared)
    assert "*lqr: violated a hard constraint in 6 runs" in told(compared)
    kept = compare(TASK, {"lqr": LQR}, starts=3)
    assert kept.metrics["lqr"].unsafe.k == 0
    assert "lqr*" not in str(kept)


@pytest.mark.slow
def test_an_undefined_margin_is_shown_and_no_json_has_it(tmp_path: Path) -> None:
    torn = Inequality("torn", lambda x, u: ca.sqrt(x.position) - 10)
    steep = dataclasses.replace(TASK, constraints=(torn,))
    assert objection(steep, np.full(4, -0.5)) == "the hard constraint 'torn' is undefined there"
    task = dataclasses.replace(TASK, constraints=(torn.budget(0.0), Box("track", {"position": (-2.4, 2.4)})), steps=5)
    compared = compare(task, {"lqr": LQR}, starts=[[-0.5, 0.0, 0.0, 0.0], [0.5, 0.0, 0.0, 0.0]])
    assert compared.metrics["lqr"].violations["torn"] == Rate(1, 2)
    assert "undefined (torn)" in told(compared)
    folder = save(compared, tmp_path)
    table = json.loads((folder / "table.json").read_text(), parse_constant=pytest.fail)
    assert table[0]["violations"] == 1
    with open(folder / "table.csv", newline="") as file:
        row = next(csv.DictReader(file))
    assert row["worst_margin[torn]"] == "nan"
    assert float(row["worst_margin[track]"]) < 0


def test_a_single_run_has_no_interval() -> None:
    compared = compare(TASK, {"lqr": LQR, "m": Momentum}, starts=1)
    assert np.isnan(compared.metrics["lqr"].cost.low)
    assert str(compared)


def test_the_proof_fills_its_column() -> None:
    compared = compare(TASK, {"lqr": LQR}, starts=3, proof=lambda task, law: 0.625 if task is TASK else None)
    assert compared.proved == {"lqr": 0.625}
    assert "62.5 %" in str(compared)


def test_folder_holds_everything_and_the_json_keeps_its_keys(tmp_path: Path) -> None:
    compared = compare(TASK, {"lqr": LQR, "momentum": Momentum, "no": not_applicable}, starts=6, workers=1)
    folder = save(compared, tmp_path / "deep" / "results", command=["trivium", "compare"])
    wanted = {"table.csv", "table.json", "figure.png", "figure.pdf", "task.json", "versions.json"}
    assert {path.name for path in folder.iterdir()} == wanted, "nothing missing, nothing left over"
    table = json.loads((folder / "table.json").read_text(), parse_constant=pytest.fail)  # NaN and Infinity are no JSON
    assert [list(row) for row in table] == [KEYS, KEYS]
    assert [row["controller"] for row in table] == ["lqr", "momentum"]
    for row in table:
        assert row["cost_low"] < row["cost"] < row["cost_high"]
        assert row["runs"] == 6
        assert 0 < row["step_p50_ms"] <= row["step_p99_ms"]
        assert 0 <= row["roa_sampled"] <= 1
        assert row["roa_proved"] is None
    assert "ignores the constraint 'track'" in table[0]["approximations"]
    assert table[1]["approximations"] is None, "it does not say"
    with open(folder / "table.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [row["controller"] for row in lines] == ["lqr", "momentum"]
    for row, name in zip(lines, compared.runs, strict=True):
        metrics = compared.metrics[name]
        assert [int(row[key]) for key in ("settled", "left", "hard_violated", "violated[track]")] == [
            metrics.settled.k, metrics.left.k, metrics.broke_hard.k, metrics.violations["track"].k,
        ]  # fmt: skip
        assert float(row["cost_ratio"]) == compared.ratios[name].value
        assert float(row["worst_margin[track]"]) == metrics.worst_margin["track"]
        assert row["verdict[track]"] == "kept"
        assert int(row["samples[solved]"]) == metrics.statuses[Status.SOLVED]
        assert row["settling_s"] == ("" if np.isnan(metrics.settling) else str(metrics.settling))
    task = json.loads((folder / "task.json").read_text(), parse_constant=pytest.fail)
    assert "sin(angle)" in task["plant"]["ode"]
    assert task["constraints"][0]["g"] == "[(-2.2-position), (position-2.2)]"
    assert "1.33333333333333" in task["plant"]["ode"], "constants are written in full"
    versions = json.loads((folder / "versions.json").read_text())
    assert versions["seeds"] == [0]
    assert versions["skipped"] == {"no": "needs a linear plant"}
    assert versions["packages"]["casadi"]
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "figure.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.slow
def test_a_second_comparison_replaces_the_first(tmp_path: Path) -> None:
    for starts in (3, 4):
        save(compare(TASK, {"lqr": LQR}, starts=starts), tmp_path)
    assert json.loads((tmp_path / "table.json").read_text())[0]["runs"] == 4


def test_results_of_another_task_are_not_overwritten(tmp_path: Path) -> None:
    save(compare(TASK, {"lqr": LQR}, starts=3), tmp_path)
    before = (tmp_path / "table.json").read_bytes()
    other = dataclasses.replace(TASK, name="other")
    with pytest.raises(OutputError, match=r"contains results of task 'cartpole', which those of task 'other' would"):
        save(compare(other, {"lqr": LQR}, starts=4), tmp_path)
    assert (tmp_path / "table.json").read_bytes() == before
    (tmp_path / "task.json").write_text("[]")
    with pytest.raises(OutputError, match=r"its task\.json was not written by Trivium"):
        prepare(tmp_path, TASK)


def test_no_empty_folder_stays_behind(tmp_path: Path) -> None:
    def interrupted(results: Path, left_over: str = "") -> None:
        with reserved(results, TASK) as folder:
            assert folder.is_dir()
            if left_over:
                (folder / left_over).write_text("something")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "deep" / "results")
    assert not (tmp_path / "deep").exists()
    (tmp_path / "mine").mkdir()
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "mine" / "results", left_over="kept")
    assert (tmp_path / "mine" / "results" / "kept").exists()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"file/results/task\.json' cannot be written: .*; choose another place"):
        prepare(tmp_path / "file" / "results")


def test_figure_has_a_column_per_controller_and_labels_with_units() -> None:
    before = matplotlib.rcParams["font.size"]
    page = compare(TASK, {"lqr": LQR, "momentum": Momentum}, starts=5, workers=1).figure()
    axes = page.get_axes()
    assert len(axes) == 2 * 6 + 3
    labels = {a.get_ylabel() for a in axes} | {a.get_xlabel() for a in axes}
    assert {"position\n[m]", "force\n[N]", "time [s]", "angle [rad]", "rate [rad/s]"} <= labels
    assert matplotlib.rcParams["font.size"] == before, "the style stays inside"


def test_figures_of_other_shapes() -> None:
    """One state, no input worth the name of bounds, a fixed start, a swing-up from everywhere."""
    from systems import Quadratic, Task

    lag = Task("lag", LinearPlant([[-1.0]], [[1.0]]), 0.1, 10, Quadratic([1.0], [1.0]), Fixed([1.0]))
    assert phase_plane(lag) is None
    assert len(compare(lag, {"lqr": LQR}, starts=2).figure().get_axes()) == 2 + 3
    swing = dataclasses.replace(pendulum_swing_up(), steps=30)
    assert phase_plane(swing) == (0, 1)
    assert phase_plane(TASK) == (1, 3), "the costliest coordinate against its speed"
    compare(swing, {"lqr": LQR}, starts=3).figure()


@pytest.mark.parametrize("status", [Status.TERMINAL_SET_UNREACHABLE, Status.INFEASIBLE])
def test_a_plan_without_its_terminal_set_is_not_said_to_be_replaced(status: Status) -> None:
    metrics: Any = SimpleNamespace(metrics={"mpc": SimpleNamespace(statuses={status: 3})})
    said = " ".join(table._endings(metrics))
    assert status.replace("_", " ") in said
    assert ("nearly optimal" in said) is (status is Status.INFEASIBLE)
