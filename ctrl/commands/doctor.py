"""`trivium doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro

from ctrl.commands.misuse import Misuse

__all__ = ["Doctor"]


@dataclass(frozen=True)
class Doctor:
    """Show how well this machine can run a loop at a fixed rate, and which settings would improve it.

    For example:
      trivium doctor --rate 200
      trivium doctor --compile

    Exit status: 0 shown; 2 misuse.
    """

    rate: Annotated[float, tyro.conf.arg(metavar="HZ")] = 200.0
    """Samples per second of the empty loop whose jitter is measured."""
    seconds: Annotated[float, tyro.conf.arg(metavar="S")] = 5.0
    """Length of the empty loop."""
    compile: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Compile all code that is otherwise compiled on first use on this machine."""

    def run(self) -> int:
        from rich.console import Console
        from rich.table import Table

        from ctrl.realtime.doctor import compiled, findings

        if not (0 < self.rate <= 1e5 and 0 < self.seconds <= 3600):
            raise Misuse(f"--rate {self.rate:g} --seconds {self.seconds:g}; expected up to 1e5 Hz and up to 3600 s")
        table = Table("what", "this machine", "what to set")
        for finding in findings(self.rate, self.seconds):
            table.add_row(finding.name, finding.value, finding.advice)
        Console().print(table)
        if self.compile:
            for name, seconds in compiled():
                print(f"compiled: {name}, {seconds:.1f} s")
        return 0
