"""Harmonic MPC: the prediction ends on a sinusoid of the plant that is optimised with it."""

from __future__ import annotations

from ctrl.answers import Answers
from mpc.harmonic.answers import FITTED, answers
from mpc.harmonic.artificial_reference import OffsetWeights, harmonic_program, tracking_model
from mpc.harmonic.artificial_reference_mpc import ArtificialReferenceMPC, ConeBackEnd
from mpc.harmonic.frequency_sweep import sweep
from mpc.harmonic.target import FittedTarget, SinusoidTarget, SteadyTarget, Target
from mpc.online import check_horizon
from systems import Sinusoid, Task
from systems.arguments import expect_number
from systems.costs import Weight, weight_matrix
from systems.errors import expect

__all__ = ["HarmonicMPC"]


class HarmonicMPC(ArtificialReferenceMPC):
    """MPC with an artificial harmonic reference, for set-points (Krupa, Limon & Alamo, 2022), sinusoids and any
    trajectory (Krupa, Limon & Alamo, 2023):

        min  sum_j |x_j - x_h(j)|_Q^2 + |u_j - u_h(j)|_R^2 + |x_e - x_re|_Te^2 + |u_e - u_re|_Se^2
             + |x_s - x_rs|_Th^2 + |x_c - x_rc|_Th^2 + |u_s - u_rs|_Sh^2 + |u_c - u_rc|_Sh^2
        s.t. x_{j+1} = A x_j + B u_j + c,  x_N = x_h(N),  lower <= E x_j + F u_j <= upper,
             x_h(j) = x_e + x_s sin(w (j - N)) + x_c cos(w (j - N)),  u_h likewise, a trajectory of the plant,
             |(y_s, y_c)_i| <= min(upper_i - eps - y_e,i,  y_e,i - lower_i - eps)   for every output y = E x + F u.

    It needs no terminal set, remains feasible under any change of the reference, and has a much larger domain of
    attraction than MPC for tracking with the same short horizon. A reference that cannot be followed is replaced by the
    nearest harmonic that can.

    Args:
        task: its plant is linearised where its reference starts; its cost must be quadratic, its constraints boxes and
            polytopes. Soft constraints are treated as hard. Constraints on the state alone are not imposed on the
            measured state.
        horizon: number of predicted samples, N.
        frequency: w in rad per sample; default: that of a sinusoidal reference, else chosen as by
            :func:`mpc.harmonic.frequency.choose_frequency`; kept by `follow`, `set_cost` and the like.
        Te: weight of the mean of the state; default: 10 N Q. The defaults are those of the authors' toolbox.
        Th: weight of the amplitude of the state; default: 10 N Q.
        Se: weight of the mean of the input; default: R.
        Sh: weight of the amplitude of the input; default: R / 2.
        eps: distance of the artificial harmonic from every bound, in the unit of the output.
        solver: see :data:`mpc.harmonic.artificial_reference_mpc.ConeBackEnd`; default: the interior point up to 300
            free variables, Clarabel beyond.
        max_iterations: of the solver in one step.
        time_limit: seconds of one step; see :class:`mpc.harmonic.artificial_reference_mpc.ArtificialReferenceMPC`.

    A step takes 5 to 16 iterations, regardless of the problem's size. With f = m (horizon + 3) - n free variables, an
    iteration costs about horizon (n + m) f^2 / 3 multiplications, so the step grows as m^2 (n + m) horizon^3, where
    Clarabel grows in proportion to the horizon. For three oscillating masses (n = 6, m = 2) the median step took 0.04
    of the time of Clarabel, called directly, at horizon 10, 0.05 at 20, 0.1 at 50, 0.3 at 100, 0.6 at 150 and 0.8 at
    200. Above f = 300 Clarabel is the default. Equality constraints are eliminated by an orthonormal basis of the whole
    prediction instead of powers of A, which has the effect of a stabilising gain: predictions over 100 samples of
    plants with spectral radius 1.5 satisfy their dynamics to 1e-14.

    A reference that is neither constant nor a sinusoid of the frequency w is fitted by such a sinusoid at every sample,
    over the horizon and another half horizon beyond it.

    Raises:
        NotApplicable: a cost that is not quadratic, a constraint that is not affine, a plant that is not controllable
            or a horizon shorter than its controllability index, a direction with zero weight.
        InvalidValue: a horizon below 1, a frequency that is not finite, an eps that leaves no admissible output.

    Examples:
        >>> from systems.library import ball_and_plate_axis
        >>> controller = HarmonicMPC(ball_and_plate_axis(), horizon=5, frequency=0.3254)
        >>> controller.step([0.0, 0.0, 0.0, 0.0], 0).status
        <Status.SOLVED: 'solved'>
    """

    def __init__(
        self,
        task: Task,
        horizon: int = 10,
        frequency: float | None = None,
        Te: Weight | None = None,
        Th: Weight | None = None,
        Se: Weight | None = None,
        Sh: Weight | None = None,
        eps: float = 1e-4,
        solver: ConeBackEnd | None = None,
        max_iterations: int = 80,
        time_limit: float | None = None,
    ) -> None:
        check_horizon(horizon)
        if frequency is None:
            frequency = _frequency(task, horizon)
        expect_number(frequency, "frequency", hint="in rad per sample")
        system = tracking_model(task)
        state, inputs = task.plant.state, task.plant.input
        weights = OffsetWeights(
            10.0 * horizon * system.Q if Te is None else weight_matrix(Te, state, "Te"),
            10.0 * horizon * system.Q if Th is None else weight_matrix(Th, state, "Th"),
            system.R if Se is None else weight_matrix(Se, inputs, "Se"),
            0.5 * system.R if Sh is None else weight_matrix(Sh, inputs, "Sh"),
        )
        self.weights = weights
        program = harmonic_program(system, horizon, float(frequency), weights, eps)
        super().__init__(task, program, float(frequency), solver, max_iterations, time_limit)
        self._arguments = (task, horizon, frequency, Te, Th, Se, Sh, eps, solver, max_iterations, time_limit)

    @property
    def _answers(self) -> Answers:
        return answers(FITTED)

    def _target_of(self, task: Task) -> Target:
        reference = task.reference
        if reference.is_constant:
            return SteadyTarget(task, parts=3)
        if isinstance(reference, Sinusoid) and abs(reference.frequency - self.frequency) < 1e-12:
            return SinusoidTarget(task, self.horizon)
        # Half a horizon beyond its end determines the direction of the prediction; more would worsen the fit of near
        # samples.
        return FittedTarget(task, self.horizon, self.frequency, max(3, 3 * self.horizon // 2))


def _frequency(task: Task, horizon: int) -> float:
    expect(task, Task, "the task of HarmonicMPC", "such as systems.library.ball_and_plate_axis()")
    if isinstance(task.reference, Sinusoid):
        return task.reference.frequency
    return sweep(task, horizon, lambda frequency: HarmonicMPC(task, horizon, frequency)).best
