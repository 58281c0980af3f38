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

pytestmark = pytest.mark.slow

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


def examined(laws: dict[str, Law]) -> list[Panel]:
    """Panels with one fit each."""
    shares, regions_of_attraction.SHARES = regions_of_attraction.SHARES, (0.6,)
    try:
        return [examine(name, TASK, law, OPTIONS) for name, law in laws.items()]
    finally:
        regions_of_attraction.SHARES = shares


@pytest.fixture(scope="module")
def panels() -> list[Panel]:
    return examined({"LQR": LQR(TASK).law, "explicit MPC": ExplicitMPC(TASK, horizon=5).law, "steep policy": steep()})


def is_attracted(panel: Panel) -> None:
    """What is proved is not much less than what is sampled, and all of it arrives."""
    certificate, sampled, rest = panel.certificate, panel.sampled, panel.rest
    assert certificate is not None
    assert sampled is not None
    assert rest is not None
    assert certificate.is_proved, panel.name
    assert 0.4 * sampled.volume < certificate.volume <= sampled.interval[1], panel.name
    lower, upper = TASK.domain_bounds
    x = np.random.default_rng(0).uniform(lower, upper, (2000, 2))
    x = x[certificate.contains(x)]
    assert len(x) > 500
    for _ in range(1000):
        x = panel.loop(x)
        assert ((x >= lower) & (x <= upper)).all()
    assert np.abs(x - rest.box.mid).max() < 1e-6, panel.name


def test_what_is_proved_is_attracted_to_the_reference(panels: list[Panel]) -> None:
    for panel in panels[:2]:
        is_attracted(panel)
        assert panel.certificate is not None
        assert panel.certificate.is_at_reference


def test_what_is_proved_of_a_policy_is_attracted_to_where_it_rests() -> None:
    (panel,) = examined({"policy": policy()})
    is_attracted(panel)
    assert panel.certificate is not None
    assert 1e-3 < panel.certificate.offset.max() < 0.2


def test_nothing_is_claimed_of_a_loop_that_circles(panels: list[Panel]) -> None:
    assert panels[2].certificate is None
    assert "limit cycle" in panels[2].reason
    assert caption(panels[2]) == "attracted to nothing: no proof"


def test_figure_and_table(panels: list[Panel], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [tmp_path / "regions.png", tmp_path / "regions.pdf"]
    figure([panels], paths, resolution=31)
    assert all(path.stat().st_size > 10_000 for path in paths)
    table([panels])
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if line.startswith(TASK.name)]) == 3


def test_draws_come_with_the_interval_of_wilson(panels: list[Panel]) -> None:
    sampled = panels[0].sampled
    assert sampled is not None
    low, high = sampled.interval
    box = float(np.prod(np.subtract(*TASK.domain_bounds[::-1])))
    assert low < sampled.volume < high <= box
    assert sampled.box == pytest.approx(box)
    assert high - low == pytest.approx(2 * 1.96 * box * np.sqrt(0.25 / 2000), rel=0.5)
