"""Checks how well this machine can run a loop at a fixed rate, and which settings would improve it.

Packages add what they need to know by the entry-point group ``trivium.doctor``: an object with ``findings()`` and
``compile()``, see :class:`Examination`.
"""

from __future__ import annotations

import os
import platform
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from ctrl.discovery import BrokenEntryPoint, entry_points, load
from ctrl.realtime.clock import RealClock
from ctrl.realtime.summary import Quantiles

__all__ = ["Examination", "Finding", "compiled", "findings", "jitter"]

_COMPILERS = ("cc", "gcc", "clang", "cl")
_LOAD = 0.2  # seconds over which the load of the cores is measured
_BUSY = 0.5  # share of a core in use from which on it does not count as free


class Finding(NamedTuple):
    """One fact about the machine.

    Args:
        name: subject. value: the result. advice: what to change; empty if nothing can be improved.
    """

    name: str
    value: str
    advice: str = ""


class Examination(Protocol):
    """The contribution of a package to the findings."""

    def findings(self) -> list[Finding]:
        """Facts that matter to this package; must be quick."""

    def compile(self) -> list[tuple[str, float]]:
        """Compiles what is compiled on first use: what was compiled, and in how many seconds."""


def findings(rate: float, seconds: float) -> Iterator[Finding]:
    """All findings about this machine.

    Args:
        rate: of the empty loop whose jitter is measured, in Hz. seconds: its length.
    """
    yield Finding("system", f"{platform.system()} {platform.release()}, Python {platform.python_version()}")
    yield _scheduler()
    yield _priority()
    yield _kernel()
    yield _governor()
    yield _cores()
    yield _compiler()
    for name, examination in _examinations():
        if isinstance(examination, str):
            yield Finding(name, f"cannot be examined: {examination}")
        else:
            yield from examination.findings()
    yield _empty_loop(rate, seconds)


def compiled() -> Iterator[tuple[str, float]]:
    """Compiles everything that packages compile on first use; yields what was compiled, and the seconds it took."""
    for _, examination in _examinations():
        if not isinstance(examination, str):
            yield from examination.compile()


def jitter(rate: float, seconds: float) -> np.ndarray:
    """The latency of each sample of an empty loop, in nanoseconds.

    Args:
        rate: in Hz. seconds: length of the loop.
    """
    clock, stop, period = RealClock(), threading.Event(), round(1e9 / rate)
    late = np.zeros(max(round(rate * seconds), 1), dtype=np.int64)
    start = clock.time() + period
    for k in range(len(late)):
        clock.sleep_until(start + k * period, stop)
        late[k] = clock.time() - (start + k * period)
    return late


def _examinations() -> Iterator[tuple[str, Examination | str]]:
    for name in entry_points("trivium.doctor"):
        try:
            yield name, load("trivium.doctor", name)()
        except BrokenEntryPoint as error:
            yield name, str(error)


def _scheduler() -> Finding:
    if not hasattr(os, "sched_getscheduler"):
        return Finding("scheduler", "cannot be read on this operating system")
    known = ("SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "SCHED_IDLE")
    names = {getattr(os, name): name for name in known if hasattr(os, name)}
    policy = os.sched_getscheduler(0)
    is_real_time = policy in (os.SCHED_FIFO, os.SCHED_RR)
    advice = "" if is_real_time else "run the loop as: chrt -f 50 trivium loop ..."
    return Finding("scheduler", names.get(policy, str(policy)), advice)


def _priority() -> Finding:
    """Whether SCHED_FIFO may be used: by the limit of this process, or by trying it in a thread that ends at once."""
    name = "SCHED_FIFO permitted"
    if not hasattr(os, "sched_setscheduler"):
        return Finding(name, "not on this system")
    allowed = []

    def attempt() -> None:  # on Linux the policy is that of the calling thread
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
            allowed.append(True)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    if allowed:
        return Finding(name, "yes")
    limits = "'@realtime - rtprio 99' to /etc/security/limits.conf"
    return Finding(name, "no", f"as root: add the line {limits}, and this user to the group 'realtime'")


def _kernel() -> Finding:
    """Whether the kernel can be interrupted everywhere."""
    path = Path("/sys/kernel/realtime")
    with suppress(OSError):
        if path.read_text().strip() == "1":
            return Finding("kernel", "PREEMPT_RT")
    version = platform.version()
    kind = next((word for word in ("PREEMPT_RT", "PREEMPT_DYNAMIC", "PREEMPT") if word in version), "not preemptible")
    return Finding("kernel", kind, "" if kind == "PREEMPT_RT" else "jitter below 100 us needs a PREEMPT_RT kernel")


def _governor() -> Finding:
    governors = set()
    for path in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor"):
        with suppress(OSError):
            governors.add(path.read_text().strip())
    if not governors:
        return Finding("CPU governor", "cannot be read (a virtual machine, or not Linux)")
    advice = "" if governors == {"performance"} else "cpupower frequency-set -g performance"
    return Finding("CPU governor", ", ".join(sorted(governors)), advice)


def _cores() -> Finding:
    mine = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    loads = _loads()
    if loads is None:
        return Finding("cores", f"{len(mine)} available; their load cannot be read")
    free = sum(loads.get(core, 0.0) < _BUSY for core in mine)
    need = "the loop and the controller's process need a core each: stop other programs, or reserve cores by isolcpus="
    advice = "" if free >= 2 else need
    return Finding("cores", f"{len(mine)} available, {free} of them idle", advice)


def _loads() -> dict[int, float] | None:
    """Share in use of every core, from two readings of /proc/stat; None where there is none."""

    def read() -> dict[int, np.ndarray]:
        lines = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
        return {int(w[0][3:]): np.array(w[1:9], dtype=float) for w in lines if w[0][:3] == "cpu" and w[0][3:].isdigit()}

    try:
        before = read()
        time.sleep(_LOAD)
        after = read()
    except (OSError, ValueError):
        return None
    loads = {}
    for core in before.keys() & after.keys():
        passed = after[core] - before[core]
        total = passed.sum()
        loads[core] = 1.0 - (passed[3] + passed[4]) / total if total > 0 else 0.0  # idle, and waiting for a disk
    return loads


def _compiler() -> Finding:
    path = next(filter(None, map(shutil.which, _COMPILERS)), None)
    if path is None:
        return Finding("C compiler", "none", "install one, such as gcc, for exported controllers and compiled solvers")
    return Finding("C compiler", path)


def _empty_loop(rate: float, seconds: float) -> Finding:
    late = Quantiles.of(jitter(rate, seconds))
    values = ", ".join(
        f"{name} {1e6 * value:.0f} us"
        for name, value in (("p50", late.p50), ("p99", late.p99), ("p99.9", late.p999), ("worst", late.worst))
    )
    share = late.p999 * rate
    advice = f"p99.9 is {share:.0%} of a sample at {rate:g} Hz: see scheduler" if share > 0.1 else ""
    return Finding(f"jitter of an empty loop at {rate:g} Hz", values, advice)
