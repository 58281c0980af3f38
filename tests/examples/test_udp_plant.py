"""The example of a plant in another process: it answers a loop, and holds its input no longer than it should."""

from __future__ import annotations

import re
import threading
import time

import numpy as np
import pytest

from ctrl.realtime import Loop, LoopSettings, UDPPlant, resampled
from examples.udp_plant import Options, real_time_iteration, serve
from systems.library import cartpole


@pytest.mark.slow
def test_the_plant_is_balanced_over_udp(capsys: pytest.CaptureFixture[str]) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=serve, args=(Options(port=0, rate=200.0), stop))
    thread.start()
    try:
        text, deadline = "", time.monotonic() + 30
        while not (match := re.search(r":(\d+)\n", text)) and time.monotonic() < deadline:
            text += capsys.readouterr().out
            time.sleep(0.02)
        assert match
        task = resampled(cartpole(), 25.0)
        connection = UDPPlant(task, "127.0.0.1", int(match[1]))
        settings = LoopSettings(seconds=3.0, in_process=True)
        run = Loop(task, real_time_iteration, connection, settings).run()
    finally:
        stop.set()
        thread.join()
    assert run.summary.measurements["fresh"] > 50
    assert np.abs(run.columns.x[:, 1]).max() < 0.5
    assert np.abs(run.columns.x[-1, 1]) < 0.05
