"""`trivium loop`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ctrl.commands.misuse import Misuse, tell

__all__ = ["Loop"]


@dataclass(frozen=True)
class Loop:
    """Run a controller at a fixed rate on a simulated plant, on a plant over UDP, or on your own object.

    For example:
      trivium loop cartpole --controller linear-mpc --seconds 10
      trivium loop cartpole --controller my_controller.py:rti --rate 200 --seconds 60 --plant udp://127.0.0.1:9000
      trivium loop my_plant.py:task --controller lqr --plant my_rig.py:Rig --standby
      trivium loop battery --controller linear-mpc --simulated-time

    Exit status: 0 the run was completed; 2 misuse; 130 stopped by a signal, with the safe input written last and the
    run saved.
    """

    task: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TASK")]
    """Name of a task (see `trivium list`), or path/to/file.py:MyTask, or module:MyTask."""
    controller: Annotated[str, tyro.conf.arg(metavar="NAME")] = "lqr"
    """Name of a controller, path/to/file.py:MyController, or the file of a trained policy."""
    rate: Annotated[float | None, tyro.conf.arg(metavar="HZ")] = None
    """Samples per second; the task is sampled at this rate. Default: the task's own, 1 / dt."""
    seconds: Annotated[float | None, tyro.conf.arg(metavar="S")] = None
    """Length of the run; default: until Ctrl-C."""
    plant: Annotated[str, tyro.conf.arg(metavar="simulator|udp://HOST:PORT|FILE.py:THING")] = "simulator"
    """The plant: the task's true plant, simulated; a program that speaks ctrl.realtime.datagrams; or an object with
    read() and write(u), or a function of the task that returns one."""
    in_process: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Call the controller in the loop's own thread instead of a process of its own."""
    standby: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Keep a second controller process, which takes over if the first one dies."""
    overrun: Literal["late", "hold", "fallback"] = "fallback"
    """Input to apply if the controller's answer is late: the answer once it arrives, the previous input, or the
    fallback's."""
    budget: float = 0.9
    """Share of a sample within which the answer must arrive."""
    fallbacks: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="NAME ...")] = None
    """Controllers, called in this order if there is no answer; default: lqr, if the task has one."""
    predict_delay: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Compute each input one sample ahead, from the predicted state."""
    watchdog: Annotated[float | None, tyro.conf.arg(metavar="S")] = None
    """Seconds without a fresh measurement after which the safe input is applied; default: 10 samples."""
    rate_limit: Annotated[tuple[float, ...] | None, tyro.conf.arg(metavar="LIMIT ...")] = None
    """Largest change of each input per second."""
    safe_input: Annotated[tuple[float, ...] | None, tyro.conf.arg(metavar="VALUE ...")] = None
    """Input applied when the watchdog expires and when the loop ends; default: the task's reference input."""
    simulated_time: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Do not wait between samples, with the simulator as plant: for tasks whose samples are minutes or hours long. The
    default length is then that of the task."""
    seed: int = 0
    """Seed of the simulator's initial state and disturbances."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder for the run; default: a new one, runs/TASK-TIME."""

    def run(self) -> int:
        from ctrl.comparison.results import reserved
        from ctrl.discovery import load, load_task
        from ctrl.realtime import Loop as RealTimeLoop
        from ctrl.realtime import LoopSettings, Overrun, RealClock, SimulatedClock, resampled
        from ctrl.realtime.view import View
        from systems.files import kept

        task = load_task(self.task)
        if self.rate is not None:
            if not self.rate > 0:
                raise Misuse(f"--rate {self.rate:g}; expected more than 0")
            task = resampled(task, self.rate)
        seconds, clock = self.seconds, SimulatedClock() if self.simulated_time else RealClock()
        if self.simulated_time:
            if self.plant != "simulator":
                raise Misuse(f"--simulated-time with --plant {self.plant}; only the simulator need not be waited for")
            seconds = task.steps * task.dt if seconds is None else seconds
        settings = LoopSettings(
            None, seconds, Overrun(self.overrun), self.budget, self.in_process, self.standby,
            predict_delay=self.predict_delay, watchdog_seconds=self.watchdog, rate_limit=self.rate_limit,
            safe_input=self.safe_input,
        )  # fmt: skip
        backups = None
        if self.fallbacks is not None:
            backups = {name: load("trivium.controllers", name)(task) for name in self.fallbacks}
        with reserved(self.out, task) as folder:  # a fault here must show before the work
            loop = RealTimeLoop(
                task, load("trivium.controllers", self.controller), self._plant(task, clock), settings, backups, clock
            )
            with View(loop):
                run = loop.run()
            try:
                print(run)
                sys.stdout.flush()
            finally:  # whatever became of the output
                saved = kept(folder, lambda place: run.save(place, ["trivium", *sys.argv[1:]]))
        tell(saved)
        return 130 if run.stopped else 0

    def _plant(self, task: Any, clock: Any) -> Any:
        from ctrl.comparison.draws import draw_all
        from ctrl.discovery import place
        from ctrl.realtime import PlantConnection, SimulatedPlant, UDPPlant

        if self.plant == "simulator":
            drawn = draw_all(task, 1, (self.seed,))
            p, v = (None if part is None else part[0] for part in (drawn.parameters, drawn.noise))
            return SimulatedPlant(task, clock, drawn.starts[0], drawn.disturbances[0], p, v)
        if self.plant.startswith("udp://"):
            host, colon, port = self.plant.removeprefix("udp://").rpartition(":")
            if not (host and colon and port.isdecimal()):
                raise Misuse(f"--plant {self.plant}; expected udp://HOST:PORT, such as udp://127.0.0.1:9000")
            return UDPPlant(task, host, int(port))
        if ":" not in self.plant:
            raise Misuse(f"--plant {self.plant}; expected simulator, udp://HOST:PORT or path/to/file.py:Thing")
        thing = place(self.plant)
        is_made = isinstance(thing, PlantConnection) and not isinstance(thing, type)
        return thing if is_made or not callable(thing) else thing(task)
