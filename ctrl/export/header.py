"""The header of an exported controller: its types, its functions, and the names and units of its signals."""

from __future__ import annotations

from ctrl.controller import Source, Status
from ctrl.export.code import ControllerCode
from ctrl.export.text import commented, identifiers
from systems.lowering.c_source import c_number
from systems.signals import Signals

__all__ = ["header"]

_STATUS_COMMENTS = {
    Status.SOLVED: "as the controller is meant to decide",
    Status.MAX_ITERATIONS: "the solver reached its bound on iterations",
    Status.TIMEOUT: "never in C, where work is bounded by iterations",
    Status.INFEASIBLE: "no plan satisfies the constraints",
    Status.UNBOUNDED: "the problem has no least cost",
    Status.NUMERICAL: "a measurement that is not finite, or numbers that cannot be used",
    Status.TERMINAL_SET_UNREACHABLE: "a plan satisfies the constraints, but does not reach the terminal set",
}
_SOURCE_COMMENTS = {
    Source.OPTIMAL: "the solution, or the law",
    Source.SUBOPTIMAL: "a point close to the solution",
    Source.SHIFTED_PLAN: "the last plan, corrected by feedback",
    Source.BACKUP: "the backup law",
}


_STEP = {
    True: (
        "/* Decides at the sample with this number, 0 for the first of a run, in the measured state. A measurement",
        "   that is not finite is answered by the fallback. */",
    ),
    False: (
        "/* Decides at the sample with this number, 0 for the first of a run, from the measured signals, NaN for those",
        "   that are not reported at this sample. To be called once for every sample. */",
    ),
}


def header(code: ControllerCode, name: str) -> str:
    """The text of ``name.h``.

    Args:
        code: of the controller.
        name: prefix of everything public.
    """
    task, upper = code.task, name.upper()
    state, inputs = code.given, task.plant.input
    lower, most = task.input_bounds
    bounds = [f"from {low:.6g} to {high:.6g}" for low, high in zip(lower, most, strict=True)]
    members = ["    long fallbacks; /* decisions of the fallback since the reset */"]
    for member in code.part.memory:
        size = "" if member.count is None else f"[{max(member.count, 1)}]"
        comment = f" /* {commented(member.comment)} */" if member.comment else ""
        members.append(f"    {member.kind} {member.name}{size};{comment}")
    statuses = [f"    {upper}_{s.name}, /* {_STATUS_COMMENTS[s]} */" for s in Status]
    sources = [f"    {upper}_{s.name}, /* {_SOURCE_COMMENTS[s]} */" for s in Source]
    return "\n".join(
        [
            f"/* {commented(code.summary)}",
            f"   Task: {commented(task.name)}. One sample is {task.dt:.9g} s. Written by Trivium; MIT license. */",
            "",
            f"#ifndef {upper}_H",
            f"#define {upper}_H",
            "",
            "#ifdef __cplusplus",
            'extern "C" {',
            "#endif",
            "",
            f"#define {upper}_STATES {len(state)}",
            f"#define {upper}_INPUTS {len(inputs)}",
            f"#define {upper}_SAMPLE_TIME {c_number(task.dt)} /* [s] */",
            "",
            "/* Places of the measured signals in state[]. */",
            *_enumeration(state, f"{name}_state", [""] * len(state)),
            "",
            "/* Places of the inputs in a decision's input[], with the bounds within which they are kept. */",
            *_enumeration(inputs, f"{name}_input", bounds),
            "",
            "/* How the computation of a sample ended. */",
            "typedef enum {",
            *_last_without_comma(statuses),
            f"}} {name}_status;",
            "",
            "/* Where the input of a sample came from. */",
            "typedef enum {",
            *_last_without_comma(sources),
            f"}} {name}_source;",
            "",
            "typedef struct {",
            f"    double input[{upper}_INPUTS]; /* finite and within bounds, whatever happened */",
            f"    {name}_status status;",
            f"    {name}_source source;",
            "    int iterations;  /* of the solver, 0 for a law in closed form */",
            "    double residual; /* violation of the optimality conditions */",
            f"}} {name}_decision;",
            "",
            "/* All that the controller remembers; one per controlled plant. Zeros mean that a run begins. */",
            "typedef struct {",
            *members,
            f"}} {name}_memory;",
            "",
            "/* Forgets the past: a new run begins. */",
            f"void {name}_reset({name}_memory *memory);",
            "",
            *_STEP[code.measurement is None],
            f"void {name}_step({name}_memory *memory, const double state[], long sample, {name}_decision *decision);",
            "",
            "/* Words for a log. */",
            f"const char *{name}_status_name({name}_status status);",
            f"const char *{name}_source_name({name}_source source);",
            "",
            "#ifdef __cplusplus",
            "}",
            "#endif",
            "",
            "#endif",
            "",
        ]
    )


def _enumeration(signals: Signals, prefix: str, remarks: list[str]) -> list[str]:
    names = identifiers(signals, prefix)
    entries = [
        f"    {c_name} = {i}, /* [{commented(signal.unit)}]{f' {remark}' if remark else ''} */"
        for i, (c_name, signal, remark) in enumerate(zip(names, signals, remarks, strict=True))
    ]
    return ["enum {", *_last_without_comma(entries), "};"]


def _last_without_comma(lines: list[str]) -> list[str]:
    return [*lines[:-1], lines[-1].replace(", /*", " /*", 1)]
