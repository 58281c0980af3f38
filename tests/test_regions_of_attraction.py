"""The figure of regions of attraction in small: three controllers, proved and sampled, each by the other's measure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ctrl.laws import Law, Network
from ctrl.regulator import LQR
from examples import regions_of_attraction
from examples.regions_of_attraction import Options, Panel, caption, examine, figure, table
from mpc import ExplicitMPC
from systems.library import double_integrator

TASK = double_integrator()
OPTIONS = Options(draws=2000, degree=6)


def policy() -> Network:
    """A network near the regulator, smooth and bounded, that rests a little beside the reference."""
    K = LQR(TASK).K
    first = np.vstack([-K, -0.5 * K])
    return Network((first, np.array([[0.7, 0.5]])), (np.array([0.02, 0.1]), np.array([-0.03])), ("tanh", "tanh"))


def steep() -> Network:
    """Reacts so steeply that a sample is too late: it circles its rest point."""
    return Network((np.array([[-32.0, -24.0]]),), (np.array([0.3]),), ("tanh",))


@pytest.fixture(scope="module")
def panels() -> list[Panel]:
    laws: dict[str, Law] = {
        "LQR": LQR(TASK).law,
        "explicit MPC": ExplicitMPC(TASK, horizon=5).law,
        "policy": policy(),
        "steep policy": steep(),
    }
    shares, regions_of_attraction.SHARES = regions_of_attraction.SHARES, (0.6,)
    try:
        return [examine(name, TASK, law, OPTIONS) for name, law in laws.items()]
    finally:
        regions_of_attraction.SHARES = shares


def test_what_is_proved_is_attracted(panels: list[Panel]) -> None:
    rng = np.random.default_rng(0)
    lower, upper = TASK.domain_bounds
    for panel in panels[:3]:
        certificate, sampled, rest = panel.certificate, panel.sampled, panel.rest
        assert certificate is not None
        assert sampled is not None
        assert rest is not None
        assert certificate.is_proved, panel.name
        assert 0.4 * sampled.volume < certificate.volume <= sampled.interval[1], panel.name
        x = rng.uniform(lower, upper, (4000, 2))
        x = x[certificate.contains(x)]
        assert len(x) > 500
        for _ in range(1500):
            x = panel.loop(x)
            assert ((x >= lower) & (x <= upper)).all()
        assert np.abs(x - rest.box.mid).max() < 1e-6, panel.name


def test_the_policy_rests_beside_the_reference_and_the_others_at_it(panels: list[Panel]) -> None:
    away = [panel.certificate.offset.max() for panel in panels[:3] if panel.certificate is not None]
    assert away[0] <= 1e-9
    assert away[1] <= 1e-9
    assert 1e-3 < away[2] < 0.2


def test_nothing_is_claimed_of_a_loop_that_circles(panels: list[Panel]) -> None:
    assert panels[3].certificate is None
    assert "limit cycle" in panels[3].reason
    assert caption(panels[3]) == "attracted to nothing: no proof"


def test_figure_and_table(panels: list[Panel], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [tmp_path / "regions.png", tmp_path / "regions.pdf"]
    figure([panels], paths, resolution=41)
    assert all(path.stat().st_size > 10_000 for path in paths)
    table([panels])
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if line.startswith(TASK.name)]) == 4


def test_draws_come_with_the_interval_of_wilson(panels: list[Panel]) -> None:
    sampled = panels[0].sampled
    assert sampled is not None
    low, high = sampled.interval
    box = float(np.prod(np.subtract(*TASK.domain_bounds[::-1])))
    assert low < sampled.volume < high <= box
    assert sampled.box == pytest.approx(box)
    assert high - low == pytest.approx(2 * 1.96 * box * np.sqrt(0.25 / 2000), rel=0.5)
