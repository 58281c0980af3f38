"""Tuning: known answers, the same trials for every controller, resumed to the same numbers, never on the final runs."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctrl import LQR, compare
from ctrl.cells import Identified
from ctrl.cli import main
from ctrl.knowledge import knowledge_of
from ctrl.sweep import sweep
from ctrl.tuning import Range, Tuning, reweighted, tunable_weights, tune
from ctrl.tuning.search import OptunaMissing
from systems import Fixed, InvalidValue, Quadratic, Task, UnknownName
from systems.library.cartpole import cartpole
from systems.library.double_integrator import double_integrator
from systems.library.pendulum import pendulum, pendulum_swing_up
from tests.ctrl.controllers import Momentum, faulty, not_applicable

TASK = dataclasses.replace(pendulum(), steps=60)
SHORT = dataclasses.replace(TASK, steps=5)


class Detuned(LQR):
    """A regulator of weights far from the task's."""

    made = 0
    allowed = 1 << 30

    def __init__(self, task: Task, share: float = 1.0) -> None:
        if Detuned.made >= Detuned.allowed:
            raise KeyboardInterrupt
        Detuned.made += 1
        super().__init__(reweighted(task, {"angle": 0.02, "rate": 30.0}))
        self.K = share * self.K


@pytest.fixture(autouse=True)
def fresh() -> None:
    Detuned.made, Detuned.allowed = 0, 1 << 30


def made(trials: int = 6, **change: Any) -> Tuning:
    pytest.importorskip("optuna")
    return tune(SHORT, {"lqr": LQR, "detuned": Detuned}, **({"trials": trials, "starts": 3} | change))


def test_weights_are_scaled_by_name_and_a_common_factor_is_left_out() -> None:
    task = cartpole()
    assert tunable_weights(task) == ("position", "angle", "velocity", "rate")
    full = dataclasses.replace(TASK, cost=Quadratic([[2.0, 1.0], [1.0, 3.0]], [0.5], [[4.0, 0.0], [0.0, 0.0]]))
    Q, R, P = reweighted(full, {"angle": 4.0, "torque": 9.0}).cost.matrices(full.plant)  # type: ignore[attr-defined]
    np.testing.assert_allclose(Q, [[8.0, 2.0], [2.0, 3.0]])
    np.testing.assert_allclose(R, [[4.5]])
    np.testing.assert_allclose(P, [[16.0, 0.0], [0.0, 0.0]])
    assert reweighted(TASK, {"angle": 1.0}) is TASK
    common = LQR(reweighted(TASK, dict.fromkeys((*TASK.plant.state.names, *TASK.plant.input.names), 7.0)))
    np.testing.assert_allclose(common.K, LQR(TASK).K, rtol=1e-9)
    with pytest.raises(UnknownName, match="angle"):
        reweighted(TASK, {"angel": 2.0})
    with pytest.raises(InvalidValue, match="factor of the weight of angle"):
        reweighted(TASK, {"angle": 0.0})


@pytest.mark.slow
def test_a_detuned_regulator_recovers_the_cost_of_the_task_s_own_weights() -> None:
    pytest.importorskip("optuna")
    tuning = tune(TASK, {"detuned": Detuned}, 32, starts=4)
    first, best = tuning.trials["detuned"][0].cost, tuning.best("detuned").cost
    own = tune(TASK, {"lqr": LQR}, 1, starts=4).best("lqr").cost
    assert own is not None
    assert best is not None
    assert first is not None
    assert first > 1.5 * own
    assert best < 1.02 * own
    # On other runs, too, and there the cost is the task's own.
    done = sweep(tuning.cells(4, (0, 1)))
    costs = {line["controller"]: line["cost"] for line in done.lines}
    assert list(costs) == ["detuned", "detuned tuned"]
    compared = compare(TASK, {"lqr": LQR, "tuned": tuning.controllers["detuned"]}, starts=4, seeds=(0, 1), proof=None)
    assert costs["detuned tuned"] == pytest.approx(compared.metrics["tuned"].cost.value)
    assert costs["detuned tuned"] < 1.02 * compared.metrics["lqr"].cost.value < costs["detuned"]


def test_settings_are_searched_within_their_range() -> None:
    tuning = made(6, ranges={"detuned": {"share": Range(0.05, 5.0)}})
    assert all(0.05 <= trial.settings["share"] <= 5.0 for trial in tuning.trials["detuned"][1:])
    assert tuning.trials["detuned"][0].settings == {}
    assert all(trial.settings == {} for trial in tuning.trials["lqr"])
    controller = tuning.controllers["detuned"](TASK)
    again = Detuned(
        reweighted(TASK, tuning.best("detuned").weights), **dict(tuning.best("detuned").settings)  # type: ignore[arg-type]
    )  # fmt: skip
    np.testing.assert_array_equal(controller.K, again.K)


def test_whole_ranges_give_whole_numbers() -> None:
    pytest.importorskip("optuna")
    from ctrl.tuning.search import Search

    search = Search((), {"horizon": Range(3, 5), "offset": Range(-1.0, 1.0)}, 0)
    search.tell(search.ask()[0], 1.0)
    asked = [search.ask()[2] for _ in range(20)]
    assert {type(settings["horizon"]) for settings in asked} == {int}
    assert {settings["horizon"] for settings in asked} == {3, 4, 5}
    assert min(settings["offset"] for settings in asked) < 0
    for low, high in ((2, 1), (1, 1), (float("nan"), 1), (0, float("inf"))):
        with pytest.raises(InvalidValue, match="end of a range"):
            Range(low, high)


@pytest.mark.parametrize("allowed", [0, 5])
def test_an_interrupted_tuning_goes_on_to_the_same_trials(tmp_path: Path, allowed: int) -> None:
    whole = made()
    Detuned.made, Detuned.allowed = 0, allowed
    with pytest.raises(KeyboardInterrupt):
        made(out=tmp_path)
    Detuned.made, Detuned.allowed = 0, 1 << 30
    again = made(out=tmp_path)
    assert again.trials == whole.trials
    assert Detuned.made == 6 - allowed
    Detuned.made, Detuned.allowed = 0, 4
    longer = made(10, out=tmp_path)  # more trials go on from those that are there
    assert {name: trials[:6] for name, trials in longer.trials.items()} == dict(whole.trials)
    Detuned.allowed = 1 << 30
    assert made(10).trials == longer.trials


def test_a_trial_that_breaks_more_runs_is_not_the_best() -> None:
    tuning = made(3)
    trials = tuple(
        dataclasses.replace(tuning.trials["lqr"][0], cost=cost, broken=broken)
        for cost, broken in ((3.0, 1), (1.0, 2), (2.0, 1), (2.5, 0))
    )
    chosen = dataclasses.replace(tuning, trials={"lqr": trials})
    assert chosen.best("lqr").cost == 2.0
    failed = dataclasses.replace(trials[0], cost=None, failed="no")
    assert dataclasses.replace(tuning, trials={"lqr": (failed, *trials[1:])}).best("lqr").cost == 2.5


def test_the_search_avoids_trials_that_break_more_runs() -> None:
    pytest.importorskip("optuna")
    from ctrl.tuning.search import Search

    late = []
    for constrained in (True, False):
        search = Search(("a",), {}, 0)
        for i in range(60):
            asked, weights, _ = search.ask()
            cheap = weights["a"] > 1.0
            search.tell(asked, -np.log(weights["a"]), int(cheap and constrained))
            if i == 59:
                trials = [trial.params.get("weight a", 1.0) for trial in search._study.trials]
        late.append(np.mean(np.array(trials[30:]) > 1.5))
    assert late[0] < 0.5 < 0.8 < late[1]


def test_controllers_that_cannot_be_tuned_cost_no_other() -> None:
    pytest.importorskip("optuna")
    given = {"no": not_applicable, "bad": faulty, "lqr": LQR}
    tuning = tune(TASK, given, trials=5, starts=2)
    assert list(tuning.controllers) == ["lqr"]
    assert "needs a linear plant" in tuning.skipped["no"]
    assert "ZeroDivisionError" in tuning.skipped["bad"]
    assert "bad: not tuned" in str(tuning)


def test_the_true_plant_is_unknown_to_a_tuning() -> None:
    pytest.importorskip("optuna")
    other = TASK.with_truth(dataclasses.replace(TASK.plant, mass=0.3))  # type: ignore[type-var, call-arg]
    nominal, told = (tune(task, {"lqr": LQR}, trials=3, starts=2).trials for task in (TASK, other))
    assert nominal == told


def test_runs_of_the_tuning_are_refused_as_evidence() -> None:
    tuning = made(2)
    controllers = tuning.controllers
    with pytest.raises(InvalidValue, match="'lqr' was tuned on 3 of the 5 runs"):
        compare(SHORT, controllers, starts=5, seeds=10_000, proof=None)
    with pytest.raises(InvalidValue, match="'lqr' was tuned on 2 of the 4 runs"):
        tuning.cells(2, (0, 10_000))
    still = dataclasses.replace(double_integrator(), steps=5, initial=Fixed({"position": 1.0}))
    with pytest.raises(InvalidValue, match="distribution of its initial states"):
        tune(still, {"lqr": LQR}, trials=1, starts=2).cells(2, (0,))


def test_the_report_states_the_tuning() -> None:
    from ctrl.report.summary import summary

    tuning = made(2)
    compared = compare(SHORT, {"lqr": LQR, "tuned": tuning.controllers["detuned"]}, starts=2, proof=None)
    said = "with weights tuned for the cost of the task; made from the nominal model alone, and tuned by 2 trials"
    assert said in str(compared.knowledge["tuned"])
    assert "tuned" not in str(compared.knowledge["lqr"])
    assert said in " ".join(str(summary(compared)).split())


def test_a_wrapped_controller_states_it_too() -> None:
    from ctrl.estimation import OutputFeedback, standard_estimator
    from systems import Measurement, signals

    measured = dataclasses.replace(
        TASK, measurement=Measurement(signals("seen [rad]"), lambda x, u: x.angle)
    )  # fmt: skip
    controller = made(2).controllers["lqr"](TASK)
    paired = OutputFeedback(controller, standard_estimator(measured))
    assert knowledge_of(paired) == knowledge_of(controller)
    assert "tuned by" in str(knowledge_of(paired))


def test_misuse_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments, words in (
        ({"task": pendulum_swing_up(), "controllers": {"momentum": Momentum}}, "no weights by signal"),
        ({"controllers": {}}, "no controllers to tune"),
        ({"trials": 0}, "trials"),
        ({"starts": 0}, "starts"),
        ({"ranges": {"lqr": {"share": Range(1, 2)}}}, "setting of lqr"),
        ({"ranges": {"lqe": {"share": Range(1, 2)}}}, "controller of the tuning"),
    ):
        given: dict[str, Any] = {"task": TASK, "controllers": {"lqr": LQR}, "trials": 1}
        with pytest.raises((InvalidValue, UnknownName), match=words):
            tune(**(given | arguments))
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(OptunaMissing, match=r"trivium-control\[tuning\]"):
        tune(TASK, {"lqr": LQR}, trials=1)


def test_the_command_compares_before_and_after(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    pytest.importorskip("optuna")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    place = "systems.library.double_integrator:double_integrator"
    command = ["sweep", place, "--controllers", "ctrl.regulator:LQR", "--starts", "2", "--workers", "1", "--out", "o",
        "--trials", "5", "--tuning-starts", "2"]  # fmt: skip
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "tuning LQR on double-integrator: 5 trials each, with 2 runs of seed 10000" in said
    assert "LQR tuned" in said
    assert "none of them in the table" in " ".join(said.split())
    assert max(map(len, said.splitlines()[2:])) <= 80
    held = json.loads((tmp_path / "o" / "tuning-double-integrator.json").read_text())
    assert len(held["controllers"]["LQR"]["trials"]) == 5
    table = json.loads((tmp_path / "o" / "sweep.json").read_text())
    assert table["lines"][1]["settings"] == {"weights": held["controllers"]["LQR"]["best"]["weights"]}
    assert "5 trials" in table["notes"][0]
    assert main([*command[:-4], "--trials", "5", "--tuning-starts", "2"]) == 0
    assert "; 0 to run" in capsys.readouterr().out
    for wrong, words in (
        (["--tuning-seed", "0"], "was tuned on 2 of the 2 runs"),
        (["--training-seeds", "1"], "tune first"),
        (["--tune", "LQR:horizon=1,2"], "expected a range"),
        (["--tune", "LQR:horizon=1..a"], "'a'"),
        (["--tune", "LQR:horizon=2..1"], "end of a range"),
    ):
        assert main([*command[:-5], "p", *command[-4:], *wrong]) == 2
        assert words in capsys.readouterr().err
    assert main([*command[:-4], "--tune", "LQR:horizon=1..2"]) == 2
    assert "--trials N" in capsys.readouterr().err


@pytest.mark.slow
def test_other_engines_give_the_same_trials() -> None:
    from ctrl.cells import Processes

    pytest.importorskip("optuna")
    given = {"lqr": Identified(LQR, "lqr"), "momentum": Identified(Momentum, "momentum")}
    alone = tune(double_integrator(), given, trials=9, starts=2)
    assert tune(double_integrator(), given, trials=9, starts=2, engine=Processes(2)).trials == alone.trials
