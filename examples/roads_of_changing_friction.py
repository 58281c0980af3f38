"""Which speed and which place in the lane may the next piece of road be given, so that the car provably stays in it?

    python -m examples.roads_of_changing_friction
    python -m examples.roads_of_changing_friction --out road.pdf

A road of five segments, dry and snowed over, straight and curved, is a hybrid system: one mode per segment, and a reset
where the coordinates change to those of the next one. For each mode and each speed that it may be driven at, the
largest region is proved from which the sampled loop stays in the lane. At each change of mode the planner chooses the
fastest reference whose region holds the state and whose prediction enters proved regions two changes ahead. The
regulators that take the posted speeds instead enter the curve on snow faster than what is proved for it.

The figure shows both drives, and for each segment the section of its proved region, in offset and speed at the angle
at which the planner's car enters.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from ctrl.certify import SearchLimits, largest_level
from ctrl.hybrid import ModeReference, RegionPlanner
from ctrl.regulator import LQR
from systems import Discretisation
from systems.hybrid import HybridSystem
from systems.library.roads import ANGLE, DT, LANE, SPEEDS, Segment, road_system, segment_task

ROAD = (
    Segment(90.0, 1.0, 0.0, 14.0, turn=0.06, shift=-0.2),
    Segment(50.0, 0.3, 0.0, 12.0, turn=-0.05, shift=0.2),
    Segment(60.0, 0.3, 0.025, 8.0, turn=0.03, shift=0.0),
    Segment(70.0, 1.0, -0.025, 12.0, turn=-0.04, shift=0.3),
    Segment(60.0, 1.0, 0.0, 14.0),
)
START = np.array([0.4, 0.02, 12.0, 0.0])
BOUNDS = np.array([-LANE, -ANGLE, SPEEDS[0]]), np.array([LANE, ANGLE, SPEEDS[1]])


@dataclass(frozen=True)
class Options:
    """A drive by proved regions beside one at the posted speeds."""

    out: Path = Path("roads_of_changing_friction.png")
    """Where the figure goes; a .pdf and a .png are written."""
    speeds: tuple[float, ...] = (8.0, 10.0, 12.0, 14.0)
    """References of each segment, as far as they are not above the posted speed."""
    aside: tuple[float, ...] = (-0.5, 0.0, 0.5)
    """Way-points beside the middle of the lane, on straight segments."""
    boxes: int = 40_000
    """To examine at most in each proof."""


@dataclass(frozen=True)
class Drive:
    """States (n, 4), places along the road (n,), and for each mode entered: where, state, reference, whether proved."""

    states: np.ndarray
    places: np.ndarray
    entered: tuple[tuple[float, np.ndarray, ModeReference, bool], ...]

    @property
    def stays(self) -> bool:
        """Whether every sample lies in the lane, the angles and the speeds of the model."""
        own = self.states[:, :3]
        return bool(((own >= BOUNDS[0]) & (own <= BOUNDS[1])).all())


def proved_references(options: Options) -> dict[str, list[ModeReference]]:
    """For each segment the references with a proved region; the last is the posted speed in the middle of the lane."""
    certificates, references = {}, {}
    for i, segment in enumerate(ROAD):
        references[str(i)] = []
        for speed in (s for s in options.speeds if s <= segment.speed):
            if segment.curvature**2 * speed**4 > (0.75 * 0.9 * 9.81 * segment.friction) ** 2:
                continue  # a steady turn would leave too little of what the tyres give
            key = segment.friction, segment.curvature, speed
            if key not in certificates:
                task = segment_task(*key)
                limits = SearchLimits(options.boxes, 120.0)
                certificates[key] = largest_level(task, LQR(task).law, resolution=0.1, budget=limits)
                hull = np.array(certificates[key].region.hull)
                print(f"{task.name:<18} {certificates[key].kind}: offset, angle, speed from {hull[0]} to {hull[1]}")
            if not certificates[key].is_proved:
                continue
            for aside in sorted(options.aside if segment.curvature == 0.0 else (0.0,), key=abs, reverse=True):
                references[str(i)].append(ModeReference(certificates[key], np.array([aside, 0.0, 0.0]), BOUNDS))
    return references


def driven(system: HybridSystem, planner: RegionPlanner) -> Drive:
    """The road under a planner, changes of mode at samples; it ends where the road does or the lane is left."""
    mode, x, before = "0", START, 0.0
    states, places, entered = [], [], []
    while True:
        choice = planner.choose(mode, x)
        entered.append((before, x, choice.reference, choice.is_proved))
        step, guards = Discretisation(system.mode(mode).plant, DT).lower("numpy"), system.guards[mode]
        length = ROAD[int(mode)].length
        while x[3] < length:
            states.append(x)
            places.append(before + x[3])
            if not ((x[:3] >= BOUNDS[0]) & (x[:3] <= BOUNDS[1])).all():
                return Drive(np.array(states), np.array(places), tuple(entered))
            x = step(x, choice.reference.input(x[:3]), np.zeros(0), np.zeros(0))
        if not guards:
            return Drive(np.array(states), np.array(places), tuple(entered))
        mode, x, before = guards[0].target, np.array(guards[0].reset(x)).ravel(), before + length


def figure(drives: dict[str, Drive], paths: list[Path]) -> None:
    """Offset and speed along the road above, the proved region of each segment below."""
    import matplotlib.style
    from matplotlib.figure import Figure

    from ctrl.comparison.figure import STYLE

    with matplotlib.style.context(STYLE):
        page = Figure(figsize=(7.0, 4.6), layout="constrained")
        grid = page.add_gridspec(3, len(ROAD))
        offset, speed = page.add_subplot(grid[0, :]), page.add_subplot(grid[1, :])
        ends = np.cumsum([segment.length for segment in ROAD])
        for axes in (offset, speed):
            for start, segment in zip(ends - [s.length for s in ROAD], ROAD, strict=True):
                snow = segment.friction < 0.5
                axes.axvspan(
                    start, start + segment.length, color="tab:blue" if snow else "white", alpha=0.12, linewidth=0
                )
                axes.axvline(start, color="0.7", linewidth=0.5)
        speed.stairs([s.speed for s in ROAD], [0.0, *ends], color="black", linestyle=":", baseline=None, label="posted")
        for name, drive in drives.items():
            (line,) = offset.plot(drive.places, drive.states[:, 0], label=name)
            speed.plot(drive.places, drive.states[:, 2], color=line.get_color(), label=name)
        for limit in (-LANE, LANE):
            offset.axhline(limit, color="black", linewidth=0.8)
        offset.set(ylabel="offset [m]", xlim=(0, ends[-1]))
        speed.set(ylabel="speed [m/s]", xlabel="place along the road [m]", xlim=(0, ends[-1]))
        speed.legend(ncols=3)
        for i, (segment, (_, x, reference, _)) in enumerate(zip(ROAD, drives["planner"].entered, strict=True)):
            axes = page.add_subplot(grid[2, i])
            a, v = np.meshgrid(np.linspace(-LANE, LANE, 121), np.linspace(4.0, 20.0, 121))
            points = np.stack([a, np.full_like(a, x[1]), v], axis=-1)
            axes.contourf(
                a, v, np.minimum(reference.excess(points), 2.0), levels=[0.0, 1.0], colors=["tab:green"], alpha=0.4
            )
            axes.plot(x[0], x[2], "o", color="C0", markersize=3)
            if len(drives["posted speeds"].entered) > i:
                other = drives["posted speeds"].entered[i][1]
                axes.plot(other[0], other[2], "x", color="C1", markersize=4)
            surface = "snow" if segment.friction < 0.5 else "dry"
            axes.set(title=f"{surface}{', curve' if segment.curvature else ''}", xlabel="offset [m]", ylim=(4, 20))
            if i == 0:
                axes.set_ylabel("speed [m/s]")
        for path in paths:
            page.savefig(path)
            print(f"saved {path}")


def main(options: Options) -> None:
    references, system = proved_references(options), road_system(ROAD)
    posted = {mode: given[-1:] for mode, given in references.items()}
    drives = {
        "planner": driven(system, RegionPlanner(system, references, DT)),
        "posted speeds": driven(system, RegionPlanner(system, posted, DT)),
    }
    for name, drive in drives.items():
        proofs = [proved for *_, proved in drive.entered]
        print(f"{name}: {'stays in the lane' if drive.stays else 'leaves the lane'}; region proved at entry: {proofs}")
    figure(drives, [options.out.with_suffix(suffix) for suffix in (".pdf", ".png")])


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
