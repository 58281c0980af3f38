"""Data of fits: what is kept, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctrl import LQR
from ctrl.comparison.draws import draw
from ctrl.loop import simulate
from systems import DimensionMismatch, InvalidValue, UnknownName, angle, signals
from systems.identification import Runs, read_csv
from systems.identification.segments import cut
from systems.library import cartpole

STATE, INPUT = signals("position [m]", angle("heading [rad]")), signals("force [N]")


def runs(count: int = 5, samples: int = 8, **changes: Any) -> Runs:
    rng = np.random.default_rng(0)
    given: dict[str, Any] = {
        "states": [rng.normal(size=(samples + 1, 2)) for _ in range(count)],
        "inputs": [rng.normal(size=(samples, 1)) for _ in range(count)],
        "times": 0.1,
    }
    return Runs(**{**given, **changes}, state=STATE, input=INPUT)


def test_transitions_stay_within_their_run() -> None:
    states = [np.array([[0.0, 0.0], [1.0, 0.1]]), np.array([[5.0, 0.0], [6.0, 0.1], [7.0, 0.2]])]
    data = runs(states=states, inputs=[[[1.0]], [[2.0], [3.0], [9.0]]])  # the last row of a logger is never applied
    x, u, after = data.transitions()
    assert x[:, 0].tolist() == [0.0, 5.0, 6.0]
    assert after[:, 0].tolist() == [1.0, 6.0, 7.0]
    assert u[:, 0].tolist() == [1.0, 2.0, 3.0]
    assert data.samples == 3
    again = runs(states=data.states, inputs=data.inputs, times=data.times)  # of unequal lengths
    assert [t.tolist() for t in again.times] == [t.tolist() for t in data.times]
    assert data.dt == pytest.approx(0.1)


def test_angles_do_not_jump() -> None:
    states = np.array([[0.0, 3.1], [0.0, -3.1], [0.0, -3.0]])
    data = runs(states=[states], inputs=[np.zeros((2, 1))])
    assert np.abs(np.diff(data.states[0][:, 1])).max() < 0.2


def test_a_split_is_by_runs_and_repeatable() -> None:
    data = runs(count=8)
    train, held = data.split(0.25, seed=3)
    assert (len(train), len(held)) == (6, 2)
    firsts = {x[0, 0] for x in data.states}
    assert {x[0, 0] for x in train.states} | {x[0, 0] for x in held.states} == firsts
    assert not {x[0, 0] for x in train.states} & {x[0, 0] for x in held.states}
    again = data.split(0.25, seed=3)[1]
    assert [x.tolist() for x in again.states] == [x.tolist() for x in held.states]
    with pytest.raises(InvalidValue, match="record more runs"):
        runs(count=1).split()


def test_bad_data_are_refused_with_what_to_do() -> None:
    good = runs(count=1)
    x, u = np.array(good.states[0]), good.inputs[0]
    holed = x.copy()
    holed[3, 1] = np.nan
    with pytest.raises(InvalidValue, match=r"heading is nan at row 3 .*cut the run there"):
        runs(states=[holed], inputs=[u])
    with pytest.raises(DimensionMismatch, match="9 rows of states and 5 of inputs"):
        runs(states=[x], inputs=[u[:5]])
    with pytest.raises(DimensionMismatch, match="at least 2"):
        runs(states=[x[:1]], inputs=[u[:0]])
    with pytest.raises(DimensionMismatch, match="1 runs of states and 2 of inputs"):
        runs(states=[x], inputs=[u, u])
    with pytest.raises(InvalidValue, match="no runs"):
        runs(states=[], inputs=[])
    with pytest.raises(DimensionMismatch):
        runs(states=[x[:, :1]], inputs=[u])
    times = 0.1 * np.arange(9.0)
    for k, by, what in ((4, 0.1, "repeats at row 5"), (4, 0.15, "decreases at row 5"), (8, 0.05, "not sampled every")):
        bad = times.copy()
        bad[k] += by
        with pytest.raises(InvalidValue, match=what):
            runs(states=[x], inputs=[u], times=[bad])
    with pytest.raises(InvalidValue, match="seconds between samples"):
        runs(times=-0.1)


def test_ambiguous_data_are_reported() -> None:
    assert runs().remarks == ()
    good = runs()
    still = runs(states=good.states, inputs=[np.ones((8, 1))] * 5)
    assert any("force is constant (1 N)" in remark for remark in still.remarks)
    coarse = runs(states=[np.repeat(x[::3], 3, axis=0)[:9] for x in good.states], inputs=good.inputs)
    assert any("position repeats its last value" in remark for remark in coarse.remarks)
    assert any("one run" in remark for remark in runs(count=1).remarks)


def test_recorded_runs_end_where_the_domain_does() -> None:
    task = cartpole()
    starts, disturbances = draw(task, 4, [0])
    starts[0] = [0.0, 0.4, 0.0, 1.5]  # leaves the domain soon
    record = simulate(task, LQR(task), starts, disturbances)
    assert record.left[0] > 1
    data = Runs.recorded(record, task.plant.state, task.plant.input, task.dt)
    assert len(data.inputs[0]) == record.left[0] - 1
    assert len(data.inputs[1]) == task.steps
    for x, u, w in zip(data.states, data.inputs, disturbances, strict=True):
        step = task.dynamics.function()(x[:-1].T, u.T, w[: len(u)].T, np.zeros((0, 1)))
        np.testing.assert_allclose(x[1:].T, step, atol=1e-10)


def test_a_table_of_text_is_read_by_name(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    rows = ["run,force [N],time,noise,heading [rad],position"]
    data = runs(count=2)
    for r, (x, u) in enumerate(zip(data.states, data.inputs, strict=True)):
        for k in range(9):
            force = u[k, 0] if k < 8 else 0.0
            rows.append(f"{r},{float(force)!r},{0.1 * k},x,{float(x[k, 1])!r},{float(x[k, 0])!r}")
    file.write_text("\n".join(rows))
    read = read_csv(file, STATE, INPUT, run="run")
    assert len(read) == 2
    for x, y in zip((*data.states, *data.inputs), (*read.states, *read.inputs), strict=True):
        np.testing.assert_array_equal(x, y)
    with pytest.raises(InvalidValue, match="decreases"):  # the second run begins at 0 s again
        read_csv(file, STATE, INPUT)
    with pytest.raises(UnknownName, match="'thrust'"):
        read_csv(file, STATE, signals("thrust [N]"), run="run")
    with pytest.raises(InvalidValue, match=r"column 'heading \[rad\]' for the signal heading \[deg\]"):
        read_csv(file, signals("position [m]", angle("heading [deg]")), INPUT, run="run")
    file.write_text(file.read_text().replace("0.1,x", "soon,x", 1))
    with pytest.raises(InvalidValue, match="'soon' is not a number"):
        read_csv(file, STATE, INPUT, run="run")
    file.write_text("time,position,heading,force\n0,1,2,3\n0.1,,2,3\n")
    with pytest.raises(InvalidValue, match="position is nan at row 1"):
        read_csv(file, STATE, INPUT)
    file.write_text("time,position,heading,force\n0,1,2,3\n0.1,2,3\n")
    with pytest.raises(DimensionMismatch, match="row 3 has 3 entries"):
        read_csv(file, STATE, INPUT)


def test_pieces_share_a_row_only_where_they_may() -> None:
    data = runs(count=2, samples=8)
    apart = cut(data, 3)
    assert [piece.states.shape for piece in apart] == [(4, 4, 2)]
    assert len({row.tobytes() for row in apart[0].states.reshape(-1, 2)}) == 16
    np.testing.assert_array_equal(apart[0].states[1], data.states[0][4:8])
    np.testing.assert_array_equal(apart[0].inputs[1], data.inputs[0][4:7])
    joined = cut(data, 3, overlap=True)
    assert [piece.inputs.shape for piece in joined] == [(4, 3, 1), (2, 2, 1)]
    np.testing.assert_array_equal(joined[0].states[0][-1], joined[0].states[1][0])
