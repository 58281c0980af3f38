"""The C code that solves quadratic programs with the stages of optimal control."""

from __future__ import annotations

from ctrl.export.code import CodePart, Member, fragment
from mpc.solvers.hpipm import StageSizes

__all__ = ["interior_point"]


def interior_point(sizes: StageSizes) -> CodePart:
    """``solve_program(memory, most, &iterations)``, see ``mpc/export/c/staged_interior_point.c``; its data and results
    are members of the memory that begin with ``qp_``.

    Args:
        sizes: of the program.
    """
    N, n, m, rows = sizes.horizon, sizes.states, sizes.inputs, sizes.rows
    width = n + max(m, sizes.last_inputs)
    limits = max(m + rows, sizes.last_inputs + sizes.last_rows, 1)
    most_rows = max(rows, sizes.last_rows, 1)
    constants = {
        "HORIZON": N,
        "VARIABLES": m,
        "ROWS": rows,
        "LAST_VARIABLES": sizes.last_inputs,
        "LAST_ROWS": sizes.last_rows,
        "WIDTH": width,
        "LIMITS": limits,
        "MOST_ROWS": most_rows,
    }
    points, pairs, all_limits = (N + 1) * width, N * n, (N + 1) * limits
    counts = {
        "qp_H": points * width,
        "qp_h": points,
        "qp_F": pairs * (n + m),
        "qp_b": pairs,
        "qp_G": points * most_rows,
        **{f"qp_{name}": all_limits for name in ("low", "high", "compliance")},
        "qp_z": points,
        "qp_pi": pairs,
        **{f"qp_lam_{side}": all_limits for side in ("low", "high")},
        **{f"ip_{name}_{side}": all_limits for name in ("t", "r", "dt", "dlam") for side in ("low", "high")},
        "ip_weight": all_limits,
        "ip_r_z": points,
        "ip_r_b": pairs,
        "ip_L": points * width,
        "ip_P": (N + 1) * n * n,
        "ip_q": points,
        "ip_dz": points,
        "ip_dpi": pairs,
    }
    memory = tuple(Member("double", name, count, _COMMENTS.get(name, "")) for name, count in counts.items())
    numbers = tuple(Member("double", f"ip_{name}") for name in ("count", "scale", "homogeneous"))
    return CodePart((fragment("mpc.export", "staged_interior_point.c"),), sizes=constants, memory=memory + numbers)


_COMMENTS = {
    "qp_H": "quadratic program: Hessians",
    "qp_h": "gradients",
    "qp_F": "dynamics",
    "qp_G": "general constraints",
    "qp_low": "limits",
    "qp_z": "its solution",
    "ip_t_low": "of the interior-point method",
}
