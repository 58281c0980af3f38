"""The command line: ``trivium compare | sweep | list | check | train | verify | loop | export | doctor``."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import tyro

# Slow imports are made by the command that needs them, when it runs, so that --help is fast.
from ctrl.commands.check import Check
from ctrl.commands.compare import Compare
from ctrl.commands.doctor import Doctor
from ctrl.commands.export import Export
from ctrl.commands.listing import List
from ctrl.commands.loop import Loop
from ctrl.commands.sweep import SweepCommand
from ctrl.commands.train import Train
from ctrl.commands.verify import Verify

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Entry of the console script.

    Exit status of every command: 0 done, or shown; 1 not shown, or something failed; 2 misuse; 130 interrupted; 141
    nobody reads the output any more.
    """
    try:
        try:
            return _run(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # such as `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more at its end
        return 141


def _run(arguments: list[str] | None) -> int:
    command = tyro.cli(
        Annotated[Compare, tyro.conf.subcommand("compare")]
        | Annotated[SweepCommand, tyro.conf.subcommand("sweep")]
        | Annotated[List, tyro.conf.subcommand("list")]
        | Annotated[Check, tyro.conf.subcommand("check")]
        | Annotated[Train, tyro.conf.subcommand("train")]
        | Annotated[Verify, tyro.conf.subcommand("verify")]
        | Annotated[Loop, tyro.conf.subcommand("loop")]
        | Annotated[Export, tyro.conf.subcommand("export")]
        | Annotated[Doctor, tyro.conf.subcommand("doctor")],
        prog="trivium",
        description="Compare controllers, check your own plants and controllers, train learners, certify regions of "
        "attraction, run a controller at a fixed rate, and export it to C. Exit status: 0 success; 1 not proved, or "
        "something failed; 2 misuse; 130 interrupted.",
        args=arguments,
    )
    try:
        return command.run()
    except SystemExit as end:  # raised by the user's task or controller, so not a verdict
        print(f"trivium: code that was given ended the program (sys.exit({end.code!r}))", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interruption:
        print(f"interrupted: {interruption}" if str(interruption) else "interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        raise
    except (ValueError, OSError, ImportError, RuntimeError) as error:  # every error of ours is one of these
        print(f"trivium: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
