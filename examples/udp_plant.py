"""A cart-pole in a process of its own, controlled over UDP by nonlinear MPC at 200 Hz.

    python examples/udp_plant.py                                       # the plant, until Ctrl-C
    trivium loop cartpole --controller examples/udp_plant.py:real_time_iteration \\
        --rate 200 --seconds 60 --plant udp://127.0.0.1:9000           # the loop, in another terminal

The plant integrates its equations a thousand times per second in real time, applies the newest command, and sends a
measurement each time. Without a command for half a second it applies none, as a real actuator should.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import tyro

from ctrl.loop import SingleStep
from ctrl.realtime import RealClock, UDPPeer, resampled
from mpc import NonlinearMPC
from systems import Task
from systems.library import cartpole


@dataclass(frozen=True)
class Options:
    """The plant's process.

    Args:
        port: to listen on.
        rate: integration steps and measurements per second, in Hz.
        seconds: after which it ends.
        silence: seconds without a command after which the input is zero.
    """

    port: int = 9000
    rate: float = 1000.0
    seconds: float = float("inf")
    silence: float = 0.5


def real_time_iteration(task: Task) -> NonlinearMPC:
    """One quadratic program per sample."""
    return NonlinearMPC(task, horizon=40, iterations=1)


def serve(options: Options, stop: threading.Event | None = None) -> None:
    """Simulates the plant in real time until ``stop`` is set."""
    task = resampled(cartpole(), options.rate)
    step, (low, high) = SingleStep(task.true_dynamics), task.true_dynamics.plant.bounds
    clock, stop, period = RealClock(spin=0.0), stop or threading.Event(), round(1e9 / options.rate)
    x, u, w = np.array([0.5, 0.1, 0.0, 0.0]), np.zeros(1), np.zeros(1)
    peer = UDPPeer(task, options.port)
    print(f"cart-pole at udp://127.0.0.1:{peer.port}", flush=True)
    begun, heard, k, is_free = clock.time(), clock.time(), 0, False
    while not stop.is_set() and k < options.seconds * options.rate:
        command = peer.receive()
        if command is not None:
            u, heard, is_free = np.clip(command, low, high), clock.time(), True
        elif clock.time() - heard > 1e9 * options.silence:
            u = np.zeros(1)
        if is_free and abs(x[1]) < 1.0:  # it is held until the first command, and stays where it has fallen
            x = step(x, u, w).copy()
        peer.send(x)
        k += 1
        clock.sleep_until(begun + k * period, stop)
    peer.close()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        serve(tyro.cli(Options, description=__doc__))
