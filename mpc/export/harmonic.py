"""The C code of MPC with an artificial reference: its reduced cone program and the interior point for it."""

from __future__ import annotations

import numpy as np

from ctrl.export.code import CodePart, Member, fragment
from mpc.harmonic.conic_program import ConicProgram
from mpc.solvers.harmonic.solver import CompiledSolver
from systems.lowering.c_source import c_number

__all__ = ["artificial_reference_part"]

_TOLERANCES = ("GAP", "FINE", "ACCURATE", "LOOSE", "FEASIBLE", "STATIONARY", "REFINE", "REFINED", "CAP", "RADIUS",
               "CENTRING")  # fmt: skip


def artificial_reference_part(
    program: ConicProgram,
    solver: CompiledSolver,
    frequency: float,
    targets: np.ndarray,
    max_iterations: int,
    usable: float,
    without_end: CodePart | None,
) -> CodePart:
    """The whole step, but the functions of the fallback and of the representative.

    Args:
        program: the problem.
        solver: its dedicated solver, which has reduced it.
        frequency: of the artificial reference, rad per sample.
        targets: (samples, parameters), what follows the state in the parameter; the last row is held.
        max_iterations: of the interior point.
        usable: largest residual of a point that is used although the solver did not finish.
        without_end: linear MPC over the same horizon that may end anywhere, None where there is none.
    """
    from mpc.solvers.harmonic import interior_point as method  # numba is slow to import

    packed, reduced = solver.tables(), solver.projection
    free, wide = packed["G"].shape
    boxed, cones, rows = packed["box"].shape[1], len(packed["sign"]), len(packed["offset"])
    horizon = len(program.state_at)
    parts = 0 if not len(program.mean_at) else 3 if len(program.sine_at) else 1
    spread = np.zeros((len(reduced.Z), free))
    spread[:, : reduced.Z.shape[1]] = reduced.Z
    constants = [f"static const double IP_{name} = {c_number(getattr(method, name))};" for name in _TOLERANCES]
    constants.append(f"static const double USABLE = {c_number(usable)};\n")
    own = CodePart(
        (
            "\n".join(constants),
            *(fragment("mpc.export", name) for name in ("cones.c", "interior_point.c")),
            fragment("mpc.export", "no_other_end.c" if without_end is None else "without_end.c"),
            fragment("mpc.export", "harmonic.c"),
        ),
        {
            "MATRIX": packed["G"],
            "START": packed["start"],
            "REACH": packed["reach"],
            "OFFSET": packed["offset"],
            "OFFSET_PARAMETER": packed["offset_parameter"],
            "BOX_UPPER": packed["box"][0],
            "BOX_LOWER": packed["box"][1],
            "HAS_UPPER": packed["box"][2],
            "HAS_LOWER": packed["box"][3],
            "TRIPLE": packed["triple"],
            "CONE_SIGN": packed["sign"],
            "CONE_BOUND": packed["bound"],
            "PLAN_FREE": spread,
            "PLAN_PARAMETER": reduced.Y,
            "PLAN_CONSTANT": reduced.y,
            "TARGET": targets,
            "FREQUENCY": np.array([frequency]),
        },
        {
            "FREE": free,
            "WIDE": wide,
            "BOXED": boxed,
            "CONES": cones,
            "TRIPLES": len(reduced.low),
            "OFFSETS": rows,
            "PARAMETERS": reduced.Y.shape[1],
            "TARGET_ROWS": len(targets),
            "SAMPLES_AHEAD": horizon,
            "ARTIFICIAL_PARTS": parts,
            "MAX_IP_ITERATIONS": max_iterations,
        },
        (
            Member("double", "offsets", rows + 2 * boxed + 3 * cones, "of rows and cones in this sample"),
            Member("double", "space", method.space_needed(free, wide, boxed, cones) + wide, "of the interior point"),
            Member("double", "kept", free, "the last accepted point"),
            Member("double", "asked", reduced.Y.shape[1], "its parameter: state and reference"),
            Member("long", "accepted_sample", None, "its sample"),
            Member("int", "accepted", None, "whether there is one"),
        ),
    )
    return own if without_end is None else without_end + own
