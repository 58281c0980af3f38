"""Every public constructor and function refuses what it cannot use: an error of the family, which names the argument.

The tables below give for every name in the ``__all__`` of the four packages arguments that are right, and for every
argument the kind of what is wrong. Nothing wrong may be accepted, and nothing may fail with an error from inside.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from typing import Any

import casadi as ca
import do_mpc
import gymnasium
import numpy as np
import pytest
import torch

import ctrl
import mpc
import safe_rl
import systems
from ctrl.certify import ClosedLoop
from ctrl.certify.candidates.disturbed import sampled_inner
from ctrl.certify.candidates.fit import sampled_basin
from ctrl.certify.candidates.sampling import sampled_limit, sampled_region
from ctrl.certify.functions.lyapunov import QuadraticLyapunov
from ctrl.comparison.draws import draw
from ctrl.laws import SaturatedLinear
from ctrl.multipliers import Integral
from mpc.lagrangian.batch import LagrangianBatch
from mpc.stochastic.reachable import AdditiveNoise
from safe_rl import handlers
from safe_rl.handlers import Lagrangian
from safe_rl.lyapunov.settings import LyapunovSettings
from safe_rl.lyapunov.training import train_lyapunov as lyapunov_function
from systems import (
    Box,
    Fixed,
    Gaussian,
    LinearPlant,
    Measurement,
    Nonlinear,
    Observation,
    Plant,
    Quadratic,
    SetPoint,
    Task,
    TriviumError,
    Uniform,
    signals,
)
from systems.errors import shown
from systems.identification.online import FourierFeatures
from systems.library import CartPole, bandit, double_integrator, intersection, pendulum, quadrotor
from tests.safe_rl.tasks import TINY

NAN, INF = math.nan, math.inf


class Stranger:
    """An object, and a class, that fits nowhere."""


class Greedy:
    """A class that takes anything, where a function is expected."""

    def __init__(self, *given: Any) -> None: ...


def generator() -> Any:
    return (x for x in (1.0, 2.0))


OBJECTS = [Stranger(), object()]
NO_NUMBER = ["1", None, True, np.True_, Decimal(1), 1j, [1.0], np.array([1.0, 2.0]), generator(), *OBJECTS]
NO_NUMBER += [np.array(1.0, dtype=object)]
NUMBER = [*NO_NUMBER, NAN, INF, -INF, np.float64(NAN), 10**400, 10**5000]
WHOLE = [*NO_NUMBER, NAN, INF, 1.5, 2.0, np.float64(2.0)]  # 10**30 is one, and no count
NO_ARRAY = ["abc", None, True, generator(), np.array([None, 1.0]), np.array(["1", "2"]), {1.0, 2.0}, *OBJECTS]

FIVE = 5.0
KINDS: dict[str, list[Any]] = {
    "number": NUMBER,
    "at least 0": [*NUMBER, -1.0, np.float32(-1.0)],
    "above 0": [*NUMBER, -1.0, 0.0, -0.0],
    "share": [*NUMBER, -0.1, 1.5],  # 0 and 1 may be allowed
    "probability": [*NUMBER, 0.0, 1.0, -0.5, 2],
    "whole": [*(value for value in WHOLE if not isinstance(value, list)), [[1], [1, 2]], [1.5], ["1"]],
    "count": [*WHOLE, 0, -1, np.int64(-3), 10**30],
    "count or 0": [*WHOLE, -1, np.int64(-3), 10**30],
    "period": [*(value for value in WHOLE if value is not INF), 0, -1, -INF],
    "seed": [*WHOLE, -1, np.int64(-1), 2**64],
    "name": ["", "  ", 5, None, True, ["a"], b"a", Stranger],
    "names": ["abc", None, 5, (n for n in "ab"), {"a": 1.0}, [None], [True, 1.5]],
    "values": [
        *NO_ARRAY,
        FIVE,
        {"speed": NAN},
        {"speed": "x"},
        {"speed": True},
        {1: 2.0},
        {"speed": [1.0]},
        [1j, 0.0],
        [[1.0, 2.0]],
        [NAN, 0.0],
        [True, 0.0],
        [True, False],
        {"speed": 1j},
    ],
    "array": [*NO_ARRAY, np.array([[1j]]), np.array([[NAN]]), [[1.0], [2.0, 3.0]], np.array([[True]])],
    "weight": [
        *NO_ARRAY,
        -1.0,
        {"speed": -1.0},
        {"speed": NAN},
        {"speed": INF},
        {"speed": True},
        [-1.0, 0.0],
        [NAN, 1.0],
        np.array([[1.0, 2.0], [0.0, 1.0]]),
        np.array([[1.0, 0.0]]),
        np.array([[0.0, 1.0], [1.0, 0.0]]),
        np.eye(2) * 1j,
    ],
    "flag": [None, 0, 1, "yes", NAN, np.array([True, False]), *OBJECTS],
    "choice": ["unknown", "", 5, True, ["rk4"], np.array(["rk4", "a"]), 1.5, *OBJECTS],
    "function": [5, "x", Stranger, Greedy, lambda: 0, lambda a, b, c, d, e, f: 0, lambda *, only: 0],
    "factory": [None, 5, "lqr", lambda: 0, lambda a, b: 0, *OBJECTS],
    "instance": [None, 5, "x", Stranger, Stranger(), [], {}],
    "task": [None, 5, "cartpole", Task, CartPole(), double_integrator, Stranger()],
    "mapping": [5, "x", None, [("a", 1)], ("a", 1), Stranger()],
    "pair": [5, "x", None, (1.0,), (1.0, 2.0, 3.0), (2.0, 1.0), (NAN, 1.0), ("a", "b"), (True, False), (INF, INF)],
    "device": ["gpu", 5, None, True, Stranger()],
    "path": [5, True, Stranger(), 1.5, ["a"]],
}


@dataclass(frozen=True)
class Case:
    """A public callable: right arguments, the kind of what is wrong for each, and words that name it in messages."""

    call: Callable[..., Any]
    good: Mapping[str, Any]
    kinds: Mapping[str, str]
    optional: tuple[str, ...] = ()  # None means left out
    words: Mapping[str, str] = field(default_factory=dict)  # patterns, where a message calls the argument otherwise
    extra: Mapping[str, list[Any]] = field(default_factory=dict)  # more that is wrong for an argument
    fine: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)  # of the kind, what this argument does take


TASK = double_integrator()
SHORT = dataclasses.replace(TASK, steps=3)
LINEAR = LinearPlant([[1.0, 0.1], [0.0, 1.0]], [[0.0], [0.1]], dt=0.1)
LINEAR_TASK = Task("linear", LINEAR, 0.1, 10, Quadratic([1.0, 1.0], [1.0]), Uniform([-1.0, -1.0], [1.0, 1.0]),
                   constraints=(Box("box", {"x1": (-5.0, 5.0), "x2": (-5.0, 5.0), "u1": (-1.0, 1.0)}),))  # fmt: skip
NOISY = dataclasses.replace(
    LINEAR_TASK,
    plant=LinearPlant(LINEAR.A, LINEAR.B, E=np.eye(2) * 0.01, dt=0.1),
    constraints=(Box("box", {"x1": (-5.0, 5.0)}).chance(0.9), Box("input", {"u1": (-1.0, 1.0)})),
    disturbance=Uniform([-1.0, -1.0], [1.0, 1.0]),
)
MEASURED = dataclasses.replace(NOISY, measurement=Measurement(signals("x1"), noise=Gaussian([0.1])))
STEERED = dataclasses.replace(LINEAR_TASK, constraints=(), initial=Gaussian([0.5, 0.5]))
CROSSING = intersection()
DUALS = mpc.DualRecorder(mpc.MultiModalMPC(CROSSING, 2))
DUALS.step(CROSSING.initial.sample(CROSSING.plant.state, np.random.default_rng(0)), 0)
POLICY = safe_rl.Policy(2, torch.tensor([-1.0]), torch.tensor([1.0]), (4,), torch.Generator())
WEIGHED = dataclasses.replace(pendulum(), measurement=Measurement(signals("angle"), noise=Gaussian({"angle": 0.1})))
NARROW = safe_rl.Policy(1, torch.tensor([-1.0]), torch.tensor([1.0]), (4,), torch.Generator())
NOISE = AdditiveNoise(np.zeros(2), np.eye(2), "uniform")


def _dompc_model() -> Any:
    model = do_mpc.model.Model("discrete")
    x, u = model.set_variable("_x", "x1"), model.set_variable("_u", "u1")
    model.set_expression("sum", x + u)
    model.set_rhs("x1", x + u)
    model.setup()
    return model


DOMPC_MODEL = _dompc_model()


def environment() -> Any:
    return gymnasium.make("Pendulum-v1")


@dataclass(frozen=True)
class Mass(Plant):
    mass: float = systems.positive(1.0)
    drag: float = systems.nonnegative(0.1)
    share: float = systems.parameter(0.5, above=0.0, most=1.0)
    plain: float = 0.0

    state = signals("position [m]", "speed [m/s]")
    input = signals("force [N]")

    def ode(self, x, u, w):
        return x.speed, (u.force - self.drag * x.speed) / self.mass


def _mpc(kind: Any, task: Task, more: Mapping[str, str], **settings: Any) -> Case:
    kinds = {"task": "task", "horizon": "count", **more}
    optional = tuple(name for name, p in inspect.signature(kind).parameters.items() if p.default is None)
    return Case(kind, {"task": task, "horizon": 3, **settings}, kinds, optional)


def _learner(kind: Any) -> Case:
    return Case(
        kind,
        {"task": bandit(), "settings": TINY[kind]},
        {"task": "task", "seed": "seed", "settings": "instance", "device": "device", "handler": "instance"},
        optional=("settings", "handler"),
    )


COUNTS = ("decay", "mean_updates", "delay", "batch_size", "capacity", "warmup", "environments", "updates_per_step",
          "threads", "horizon", "passes")  # fmt: skip
POSITIVE = ("critic_rate", "policy_rate", "temperature_rate", "return_scale", "value_rate", "clip", "largest_gradient")


def _settings(kind: Any) -> Case:
    kinds = {}
    for name in inspect.signature(kind).parameters:
        kinds[name] = (
            "count" if name in COUNTS else "above 0" if name in POSITIVE else {
                "evaluation_environments": "count or 0", "hidden": "names", "averaging": "share", "trace": "share",
                "form": "count",
            }.get(name, "number")
        )  # fmt: skip
    return Case(
        kind, {}, kinds, extra={"hidden": [(0,), (1.5,), (True,)], **({"form": [3]} if "form" in kinds else {})}
    )


def _combination(make: Any) -> Case:
    kinds = {"task": "task", "seed": "seed", "settings": "instance", "device": "device"}
    return Case(make, {"task": bandit(), "settings": TINY[make.base]}, kinds, optional=("settings",))


HANDLER = {"members": "count", "caution": "number", "source": "choice", "period": "count", "margin": "at least 0"}
LAW = ctrl.LQR(TASK).law
LOOP = ClosedLoop(TASK, LAW)
CASES: dict[str, Case] = {
    # ---- systems ----
    "systems.Box": Case(Box, {"name": "b", "bounds": {"speed": (0.0, 1.0)}},
                        {"name": "name", "bounds": "mapping", "requirement": "instance"}, words={"bounds": "bound"},
                        extra={"bounds": [{"speed": bad} for bad in KINDS["pair"]] + [{1: (0.0, 1.0)}]}),
    "systems.Budget": Case(systems.Budget, {"limit": 1.0, "per": "episode"},
                           {"limit": "at least 0", "per": "choice", "of": "choice"}, words={"limit": "budget"}),
    "systems.Chance": Case(systems.Chance, {"probability": 0.5}, {"probability": "probability"}),
    "systems.Soft": Case(systems.Soft, {"weight": 1.0}, {"weight": "above 0"}),
    "systems.Discretisation": Case(systems.Discretisation, {"plant": CartPole(), "dt": 0.1},
                                   {"plant": "instance", "dt": "above 0", "integrator": "choice", "substeps": "count"}),
    "systems.Ellipsoid": Case(systems.Ellipsoid, {"name": "e", "signals": ("a", "b"), "P": np.eye(2)},
                              {"name": "name", "signals": "names", "P": "array", "level": "above 0", "centre": "values",
                               "requirement": "instance"},
                              extra={"P": [-np.eye(2), np.eye(3), np.array([[1.0, 1.0], [0.0, 1.0]]),
                                           np.eye(2) * INF]}),
    "systems.Polytope": Case(systems.Polytope, {"name": "p", "signals": ("a",), "H": [[1.0]], "h": [1.0]},
                             {"name": "name", "signals": "names", "H": "array", "h": "array",
                              "requirement": "instance"},
                             extra={"H": [np.eye(2), [[INF]]], "h": [[1.0, 2.0], [-INF], 1.0]}),
    "systems.Inequality": Case(systems.Inequality, {"name": "i", "g": lambda x, u: x.speed},
                               {"name": "name", "g": "function", "requirement": "instance"}, words={"g": "constraint"},
                               extra={"g": [None]}),
    "systems.Quadratic": Case(Quadratic, {"Q": [1.0, 1.0], "R": [1.0]}, {"Q": "weight", "R": "weight", "P": "weight"},
                              optional=("P",)),
    "systems.Nonlinear": Case(Nonlinear, {"stage_cost": lambda x, u, xr, ur: 0.0},
                              {"stage_cost": "function", "terminal_cost": "function"}, optional=("terminal_cost",),
                              words={"stage_cost": "stage cost", "terminal_cost": "terminal cost"},
                              extra={"stage_cost": [None]}),
    "systems.Observation": Case(Observation, {"signals": signals("a"), "expression": lambda x, xr: x.a},
                                {"signals": "instance", "expression": "function"}, words={"expression": "observation"},
                                extra={"expression": [None]}),
    "systems.MeasuredWindow": Case(systems.MeasuredWindow, {}, {"past": "count or 0"}),
    "systems.estimate_parameters": Case(
        systems.estimate_parameters, {"task": WEIGHED, "intervals": {"mass": (0.1, 0.2)}, "drift": {"mass": 0.01}},
        {"task": "task", "intervals": "mapping", "drift": "mapping"}, optional=("drift",),
        words={"intervals": "estimated parameters"},
        extra={"intervals": [{}, {"mass": (0.2, 0.3)}, {"mass": (0.2, 0.1)}, {"mass": (0.1,)}, {"mass": 0.2},
                             {"mass": ("a", 1.0)}, {"weight": (0.1, 0.2)}],
               "drift": [{"mass": -1.0}, {"mass": "a"}, {"length": 0.1}]}),
    "systems.Measurement": Case(
        Measurement, {"signals": signals("a"), "expression": lambda x, u: x.a},
        {"signals": "instance", "expression": "function", "noise": "instance", "delay": "values", "every": "values",
         "quantum": "values", "dropout": "values"},
        optional=("expression",), words={"expression": "measurement"},
        extra={"delay": [-1, 0.5], "every": [0, 1.5], "quantum": [-1.0, NAN, INF], "dropout": [1.0, -0.1, NAN]},
        fine={"delay": (FIVE,), "every": (FIVE,), "quantum": (FIVE,)},
    ),
    "systems.Fixed": Case(Fixed, {}, {"value": "values"}, fine={"value": ([], {})}),
    "systems.Uniform": Case(Uniform, {"lower": {"speed": 0.0}, "upper": {"speed": 1.0}},
                            {"lower": "values", "upper": "values"},
                            words={"lower": "uniform law"}, extra={"lower": [{"speed": 2.0}, {"speed": -INF},
                                                                             {"other": 0.0}]}),
    "systems.Gaussian": Case(systems.Gaussian, {}, {"deviation": "values", "average": "values",
                                                    "covariance_matrix": "array"}, optional=("covariance_matrix",),
                             words={"average": "mean", "covariance_matrix": "covariance"},
                             extra={"deviation": [[-1.0], {"speed": -1.0}],
                                    "covariance_matrix": [-np.eye(2), np.ones((2, 3)), [[1.0, 1.0], [0.0, 1.0]]]}),
    "systems.Gauss": Case(systems.Gauss, {}, {"order": "count", "iterations": "count"},
                          extra={"order": [3, 8, 4.0], "iterations": [2, 101]}),
    "systems.Radau": Case(systems.Radau, {}, {"order": "count", "iterations": "count"},
                          extra={"order": [2, 7, 5.0], "iterations": [2, 101]}),
    "systems.SetPoint": Case(SetPoint, {}, {"x": "values", "u": "values"}),
    "systems.Sinusoid": Case(systems.Sinusoid, {"frequency": 0.1},
                             {"frequency": "number", **dict.fromkeys(("x_mean", "x_sine", "x_cosine", "u_mean",
                                                                      "u_sine",
                                                                      "u_cosine"), "values")}),
    "systems.Trajectory": Case(systems.Trajectory, {"x": np.zeros((3, 2))}, {"x": "array", "u": "array"},
                               optional=("u",),
                               words={"x": "trajectory", "u": "trajectory"},
                               extra={"x": [np.zeros(3), np.zeros((0, 2)), np.full((2, 2), INF)],
                                      "u": [np.zeros((2, 1))]}),
    "systems.Signal": Case(systems.Signal, {"name": "a"},
                           {"name": "name", "unit": "mapping", "period": "above 0", "quaternion": "mapping",
                            "integer": "flag"},
                           words={"name": "signal"}, fine={"unit": ("x",), "period": (INF,), "quaternion": ("x",)},
                           extra={"name": ["lambda", "None", "class", "__len__", "column", "2x", "a b", "a²", "aµ"]}),
    "systems.Signals": Case(systems.Signals, {"entries": (systems.Signal("a"),)}, {"entries": "names"},
                            words={"entries": "[Ss]ignal"},
                            extra={"entries": [(systems.Signal("a"),) * 2]}),
    "systems.angle": Case(systems.angle, {"declaration": "a [rad]"}, {"declaration": "name", "period": "above 0"},
                          optional=("period",), words={"declaration": "signal|unit", "period": "period"},
                          extra={"declaration": ["a [gon]", "a"]}),
    "systems.integer": Case(systems.integer, {"declaration": "a [-]"}, {"declaration": "name"},
                            words={"declaration": "signal"}),
    "systems.quaternion": Case(systems.quaternion, {"w": "w", "x": "x", "y": "y", "z": "z"},
                               dict.fromkeys("wxyz", "name"), words=dict.fromkeys("wxyz", "signal")),
    "systems.in_error_coordinates": Case(
        lambda task, quaternions: systems.in_error_coordinates(task, quaternions),
        {"task": quadrotor(), "quaternions": ("qw", "qx", "qy", "qz")},
        {"task": "instance", "quaternions": "names"},
        extra={"quaternions": [("qw", "qx", "qy"), ("qw", "qx", "qy", "qy"), ("qw", "px", "py", "pz")]}),
    "systems.signals": Case(lambda declarations: signals(declarations), {"declarations": "a [m]"},
                            {"declarations": "name"},
                            words={"declarations": "signal"},
                            extra={"declarations": ["lambda [m]", "None", "__dict__", "_owner", "names", "x-y", "if"]}),
    "systems.Vector": Case(systems.Vector, {"declared": signals("a"), "column": ca.SX.sym("a")},
                           {"declared": "instance", "column": "instance"}, words={"declared": "signals"},
                           extra={"column": [ca.SX.sym("a", 2)]}),
    "systems.LinearPlant": Case(LinearPlant, {"A": np.eye(2), "B": np.ones((2, 1)), "E": np.ones((2, 1))},
                                {"A": "array", "B": "array", "E": "array", "c": "array", "dt": "above 0",
                                 "state": "instance", "input": "instance", "disturbance": "instance",
                                 "input_limits": "mapping"},
                                optional=("E", "c", "dt", "state", "input", "disturbance"),
                                words={"input_limits": "input limits"},
                                extra={"A": [np.ones((2, 3)), np.eye(2) * INF], "B": [np.ones((3, 1))],
                                       "c": [np.ones(3)],
                                       "state": [signals("a")], "input_limits": [((1.0, -1.0),), ((0.0, 1.0),) * 2,
                                                                                 (1.0,)]}),
    "systems.linear_plant": Case(systems.linear_plant, {"system": LINEAR}, {"system": "instance"},
                                 words={"system": "A and B"}),
    "systems.linearise": Case(systems.linearise, {"model": CartPole(), "x": [0.0] * 4, "u": [0.0]},
                              {"model": "instance", "x": "values", "u": "values"}),
    "systems.equilibrium": Case(systems.equilibrium, {"plant": CartPole()},
                                {"plant": "instance", "x": "values", "u": "values", "tolerance": "above 0",
                                 "hold": "names"}),
    "systems.exact": Case(systems.exact, {"plant": LinearPlant([[0.0]], [[1.0]]), "dt": 0.1},
                          {"plant": "instance", "dt": "above 0"}),
    "systems.lower": Case(systems.lower, {"function": CartPole().casadi(), "to": "numpy"},
                          {"function": "instance", "to": "choice"}),
    "systems.parameter": Case(lambda **given: Mass(**given), {},
                              {"mass": "above 0", "drag": "at least 0", "share": "above 0", "plain": "number"},
                              extra={"share": [1.5]}),
    "systems.Task": Case(
        Task,
        {"name": "t", "plant": Mass(), "dt": 0.1, "steps": 5, "cost": Quadratic([1.0, 1.0], [1.0]), "initial": Fixed()},
        {"name": "name", "plant": "instance", "dt": "above 0", "steps": "count", "cost": "instance",
         "initial": "instance",
         "constraints": "names", "reference": "instance", "disturbance": "instance", "domain": "instance",
         "tolerance": "values", "discount": "above 0", "integrator": "choice", "substeps": "count",
         "observation": "instance", "truth": "instance", "measurement": "instance", "variation": "instance"},
        optional=("domain", "tolerance", "observation", "truth", "measurement", "variation"),
        words={"constraints": "constraint", "truth": "true plant"},
        extra={"discount": [1.5], "tolerance": [{"speed": -1.0}, [1.0], {"nothing": 1.0}], "truth": [CartPole()],
               "variation": [Uniform([0.5], [1.5]), Uniform({"nothing": 0.5}, {"nothing": 1.5})],
               "domain": [Box("d", {"nothing": (0.0, 1.0)})], "initial": [Fixed([1.0]), Fixed({"nothing": 1.0})]},
    ),
    # ---- ctrl ----
    "ctrl.LQR": Case(ctrl.LQR, {"task": TASK}, {"task": "task", "expansions": "instance"}, optional=("expansions",)),
    "ctrl.lqr": Case(ctrl.lqr, {"plant": LINEAR, "Q": np.eye(2), "R": np.eye(1)},
                     {"plant": "instance", "Q": "array", "R": "array", "N": "array"}, optional=("N",),
                     extra={"Q": [np.eye(3), [[1.0, 1.0], [0.0, 1.0]]], "R": [[[0.0]], [[-1.0]], np.eye(2)]}),
    "ctrl.simulate": Case(ctrl.simulate, {"task": TASK, "controller": ctrl.LQR(TASK), "starts": [[0.1, 0.0]]},
                          {"task": "task", "controller": "instance", "starts": "array", "disturbances": "array",
                           "progress": "function", "noise": "array", "parameters": "array"},
                          optional=("disturbances", "progress", "noise", "parameters"),
                          extra={"controller": [ctrl.LQR], "starts": [[0.1, 0.0], [[1.0]], np.zeros((0, 2)),
                                 [[INF, 0.0]]]}),
    "ctrl.totals": Case(ctrl.totals, {"task": TASK, "controller": ctrl.LQR(TASK), "starts": [[0.1, 0.0]]},
                          {"task": "task", "controller": "instance", "starts": "array", "disturbances": "array",
                           "progress": "function", "noise": "array", "parameters": "array"},
                          optional=("disturbances", "progress", "noise", "parameters"),
                          extra={"controller": [ctrl.LQR], "starts": [[0.1, 0.0], [[1.0]], np.zeros((0, 2)),
                                 [[INF, 0.0]]]}),
    "ctrl.compare": Case(ctrl.compare, {"task": TASK, "controllers": {"lqr": ctrl.LQR}, "starts": 2, "workers": 1},
                         {"task": "task", "controllers": "mapping", "starts": "count", "seeds": "seed",
                          "workers": "count", "proof": "function", "out": "path", "engine": "instance",
                          "announce": "function"}, optional=("workers", "proof", "out", "engine", "announce"),
                         fine={"starts": ([1.0], np.array([1.0, 2.0])), "seeds": ()},
                         words={"controllers": "controller", "seeds": "seed", "starts": "start"},
                         extra={"controllers": [{}] + [{"lqr": bad} for bad in KINDS["factory"]] + [{1: ctrl.LQR}],
                                "seeds": [[0, None], [], [True], [1.5], ["1"], [[0], [0, 1]]]}),
    "ctrl.check_task": Case(ctrl.check_task, {"task": TASK}, {"task": "task"}),
    "ctrl.check_controller": Case(ctrl.check_controller, {"controller": ctrl.LQR, "task": TASK}, {"task": "task"}),
    **{
        f"ctrl.{kind.__name__}": Case(kind, {"task": MEASURED}, {"task": "task", "model_error": "values"},
                                      fine={"model_error": ([], {})}, extra={"model_error": [{"x1": -1.0}, [1.0]]})
        for kind in (ctrl.KalmanFilter, ctrl.ExtendedKalmanFilter, ctrl.UnscentedKalmanFilter, ctrl.SteadyKalmanFilter)
    },
    "ctrl.LuenbergerObserver": Case(ctrl.LuenbergerObserver, {"task": MEASURED, "poles": [0.1, 0.2]},
                                    {"task": "task", "poles": "array"}, extra={"poles": [[0.1], [0.1, 1.0], 0.5]}),
    "ctrl.OutputFeedback": Case(ctrl.OutputFeedback,
                                {"controller": ctrl.LQR(MEASURED), "estimator": ctrl.KalmanFilter(MEASURED)},
                                {"controller": "instance", "estimator": "instance"},
                                extra={"controller": [ctrl.LQR], "estimator": [ctrl.KalmanFilter, ctrl.LQR(MEASURED)]}),
    "ctrl.OffsetFree": Case(ctrl.OffsetFree, {"controller": ctrl.LQR(MEASURED), "task": MEASURED, "drift": {"u1": 0.1}},
                            {"controller": "instance", "task": "task", "tracks": "names", "drift": "mapping",
                             "estimator": "function"}, optional=("drift",),
                            extra={"controller": [ctrl.LQR], "tracks": [["nothing"]], "drift": [{"u1": -1.0}]}),
    # ---- mpc ----
    "mpc.MovingHorizonEstimator": _mpc(mpc.MovingHorizonEstimator, MEASURED, {
        "model_error": "values", "bounds": "instance", "max_iterations": "count", "time_limit": "above 0"}),
    "mpc.LinearMPC": _mpc(mpc.LinearMPC, LINEAR_TASK, {"terminal": "choice", "solver": "choice",
                                                       "time_limit": "above 0", "max_iterations": "count",
                                                       "blocking": "instance", "parameters": "names"}),
    "mpc.MoveBlocking": Case(mpc.MoveBlocking, {"lengths": (1, 2)}, {"lengths": "names"},
                             words={"lengths": "block"}, extra={"lengths": [(), (0,), (1.5,), (True,)]}),
    "mpc.NonlinearMPC": _mpc(mpc.NonlinearMPC, LINEAR_TASK, {"solver": "choice", "terminal": "choice",
                              "time_limit": "above 0", "max_iterations": "count", "iterations": "count",
                              "blocking": "instance", "hpipm": "choice", "parameters": "names"}),
    "mpc.AdaptiveMPC": Case(mpc.AdaptiveMPC, {"task": LINEAR_TASK, "features": FourierFeatures({"x1": 1.0}, count=5),
                                              "outputs": {"x1": 0.1}},
                            {"task": "task", "features": "instance", "outputs": "mapping", "rule": "instance",
                             "predictive": "instance", "learned": "instance"}, optional=("learned",),
                            extra={"outputs": [{}, {"x1": -1.0}]}),
    "mpc.ParameterAdaptiveMPC": Case(
        mpc.ParameterAdaptiveMPC, {"task": WEIGHED, "intervals": {"mass": (0.1, 0.2)}, "drift": {"mass": 0.01}},
        {"task": "task", "intervals": "mapping", "drift": "mapping", "estimator": "instance",
         "predictive": "instance"},
        optional=("drift",), words={"intervals": "estimated parameters"},
        extra={"estimator": [lambda task: None], "predictive": [ctrl.LQR]}),
    "mpc.LagrangianMPC": _mpc(mpc.LagrangianMPC, LINEAR_TASK,
                              {"make": "function",
                              "time_limit": "above 0", "max_iterations": "count", "tolerance": "above 0"}),
    "mpc.ExplicitMPC": _mpc(mpc.ExplicitMPC, LINEAR_TASK,
                            {"terminal": "choice", "within": "instance", "max_regions": "count"},
                            within=Box("w", {"x1": (-5.0, 5.0), "x2": (-5.0, 5.0)})),
    "mpc.Scenario": Case(mpc.Scenario, {"plant": Mass()},
                         {"plant": "instance", "disturbance": "values", "weight": "above 0"}, optional=("plant",)),
    "mpc.ScenarioMPC": _mpc(mpc.ScenarioMPC, LINEAR_TASK,
                            {"scenarios": "names", "shared": "count", "terminal": "choice", "iterations": "count",
                             "time_limit": "above 0"}, scenarios=[mpc.Scenario()], shared=1),
    "mpc.MPPI": _mpc(mpc.MPPI, LINEAR_TASK, {"samples": "count", "max_iterations": "count", "temperature": "above 0",
                                             "deviation": "values", "cooling": "above 0", "colour": "at least 0",
                                             "terminal": "choice", "seed": "seed", "time_limit": "above 0",
                                             "intervention": "instance"},
                     samples=10),
    "mpc.CrossEntropyMPC": _mpc(mpc.CrossEntropyMPC, LINEAR_TASK,
                                {"samples": "count", "max_iterations": "count", "elites": "count",
                                 "smoothing": "at least 0", "tolerance": "above 0", "deviation": "values",
                                 "colour": "at least 0", "terminal": "choice", "seed": "seed",
                                 "time_limit": "above 0", "intervention": "instance"}, samples=30),
    "mpc.GaussianMixture": Case(mpc.GaussianMixture, {"weights": [1.0], "means": [[0.0]], "covariances": [[[1.0]]]},
                                dict.fromkeys(("weights", "means", "covariances"), "array"),
                                extra={"weights": [[0.5], [-1.0, 2.0]], "covariances": [[[[-1.0]]], [[1.0]]]},
                                words={"weights": "mixture", "means": "mixture", "covariances": "mixture"}),
    "mpc.CovarianceSteering": Case(mpc.CovarianceSteering, {"task": STEERED, "target": Gaussian([0.5, 0.5])},
                                   {"task": "task", "target": "instance", "initial": "instance",
                                    "input_probability": "probability", "linearisations": "count", "seed": "seed"},
                                   optional=("initial",)),
    "mpc.MultiModalMPC": _mpc(mpc.MultiModalMPC, CROSSING, {"predictor": "instance", "risk_of_modes": "share",
                                                            "max_iterations": "count", "time_limit": "above 0"}),
    "mpc.DualRecorder": Case(mpc.DualRecorder, {"controller": mpc.MultiModalMPC(CROSSING, 2)},
                             {"controller": "instance"}),
    "mpc.EqualityMPC": _mpc(mpc.EqualityMPC, LINEAR_TASK, {"solver": "choice",
                                                           "time_limit": "above 0", "max_iterations": "count"}),
    "mpc.TrackingMPC": _mpc(mpc.TrackingMPC, LINEAR_TASK, {"T": "weight", "S": "weight", "eps": "at least 0",
                                                           "solver": "choice",
                              "time_limit": "above 0", "max_iterations": "count"}),
    "mpc.HarmonicMPC": _mpc(mpc.HarmonicMPC, LINEAR_TASK,
                            {"frequency": "number", "Te": "weight", "Th": "weight", "Se": "weight", "Sh": "weight",
                             "eps": "at least 0", "solver": "choice",
                              "time_limit": "above 0", "max_iterations": "count"}, frequency=0.3),
    "mpc.StochasticMPC": _mpc(mpc.StochasticMPC, NOISY,
                              {"recondition_every": "period", "tightening": "choice", "K": "array",
                               "terminal_steps": "count or 0", "joint": "flag", "input_probability": "share",
                               "recovery": "flag", "time_limit": "above 0", "max_iterations": "count"}),
    "mpc.to_dompc": Case(mpc.to_dompc, {"task": LINEAR_TASK, "horizon": 3},
                         {"task": "task", "horizon": "count", "terminal": "choice", "seed": "seed"}),
    "mpc.from_dompc": Case(mpc.from_dompc, {"model": DOMPC_MODEL, "dt": 0.1},
                           {"model": "instance", "parameters": "mapping", "dt": "above 0", "limits": "mapping"},
                           optional=("parameters", "limits"), words={"parameters": "parameter", "limits": "input"},
                           extra={"parameters": [{"none": 1.0}], "limits": [{"u1": bad} for bad in KINDS["pair"]]}),
    "mpc.dompc_expression": Case(mpc.dompc_expression, {"model": DOMPC_MODEL, "name": "sum"},
                                 {"model": "instance", "name": "name", "parameters": "mapping"},
                                 optional=("parameters",), extra={"parameters": [{"none": 1.0}], "name": ["none"]},
                                 words={"name": "expression", "parameters": "parameter"}),
    "mpc.choose_frequency": Case(mpc.choose_frequency, {"task": LINEAR_TASK, "horizon": 3, "frequencies": [0.3]},
                                 {"task": "task", "horizon": "count", "frequencies": "array", "controller": "factory",
                                  "plane": "names", "starts": "count or 0", "seed": "seed"},
                                 optional=("frequencies", "controller", "plane"),
                                 extra={"frequencies": [[-1.0], [0.0], 0.3, []], "controller": [lambda w: w, float]}),
    "mpc.tube_gain": Case(mpc.tube_gain, {"A": LINEAR.A, "B": LINEAR.B, "covariance": np.eye(2)},
                          {"A": "array", "B": "array", "covariance": "array"},
                          extra={"A": [np.eye(3)], "B": [np.ones((3, 1)), [1.0, 2.0]], "covariance": [np.eye(3)]}),
    "mpc.ErrorDynamics": Case(mpc.ErrorDynamics, {"A": 0.5 * np.eye(2), "noise": NOISE},
                              {"A": "array", "noise": "instance"}, extra={"A": [np.eye(3), 2.0 * np.eye(2)]}),
    **{f"mpc.{make.__name__}": Case(make, {"task": NOISY}, {"task": "task"})
       for make in (mpc.indirect_feedback_mpc, mpc.nominal_mpc, mpc.robust_mpc, mpc.robust_stochastic_mpc)},
    # ---- safe_rl ----
    **{f"safe_rl.{kind.__name__}": _learner(kind) for kind in (safe_rl.DSACT, safe_rl.SAC, safe_rl.PPO)},
    **{f"safe_rl.{kind.__name__}": _settings(kind)
       for kind in (safe_rl.DSACTSettings, safe_rl.SACSettings, safe_rl.PPOSettings)},
    **{f"safe_rl.{name}": _combination(getattr(safe_rl, name))
       for name in ("CAL", "DSACH", "DSACPID", "PLO", "PPOPID", "SACPID", "SACPLO", "DSACLagrangian", "DSACPenalty",
                    "PPOLagrangian", "SACLagrangian")},
    "safe_rl.Combination": Case(safe_rl.Combination, {"name": "c", "base": safe_rl.SAC, "handler": Lagrangian()},
                                {"name": "name", "base": "instance", "handler": "instance", "settings": "instance"},
                                optional=("settings",)),
    "safe_rl.JumpStart": Case(safe_rl.JumpStart, {"task": TASK, "prior_policy": ctrl.LQR},
                              {"task": "task", "prior_policy": "factory", "settings": "instance"},
                              optional=("settings",),
                              extra={"prior_policy": [ctrl.LQR(TASK), lambda task: task]}),
    "safe_rl.JumpStartSettings": Case(safe_rl.JumpStartSettings, {},
                                      {"longest": "count", "threshold": "share", "step": "above 0", "memory": "count"},
                                      extra={"step": [1.5]}),
    "safe_rl.train_dual_network": Case(safe_rl.train_dual_network, {"records": DUALS, "updates": 2},
                                       {"records": "instance", "hidden": "names", "updates": "count",
                                        "learning_rate": "above 0", "threshold": "probability", "seed": "seed"},
                                       extra={"hidden": [(0,), (1.5,), (True,)],
                                              "records": [mpc.DualRecorder(mpc.MultiModalMPC(CROSSING, 2))]}),
    "safe_rl.GymnasiumTask": Case(safe_rl.GymnasiumTask, {"name": "g", "make": environment},
                                  {"name": "name", "make": "factory", "budgets": "mapping", "steps": "count or 0",
                                   "discount": "share"},
                                  words={"budgets": "cost"}, fine={"make": (KINDS["factory"][3],)},
                                  extra={"make": [environment(), lambda a: 0, lambda: 5, lambda: None, Stranger],
                                         "discount": [1.0],
                                         "budgets": [{"cost": bad} for bad in KINDS["at least 0"]] +
                                         [{1: 2.0}, {"": 1.0}]}),
    "safe_rl.Policy": Case(safe_rl.Policy, {"observation_size": 2, "action_low": torch.tensor([-1.0]),
                                            "action_high": torch.tensor([1.0]), "hidden": (4,),
                                            "generator": torch.Generator()},
                           {"observation_size": "count", "action_low": "array", "action_high": "array",
                            "hidden": "names", "generator": "instance"}, words={"action_low": "action",
                                                                                "action_high": "action"},
                           extra={"action_low": [torch.tensor([NAN]), torch.tensor([-INF]), torch.tensor([2.0]),
                                                 torch.tensor([-3e38]), torch.tensor([-2e19]), torch.tensor(-1.0),
                                                 torch.tensor([-1.0, -1.0])],
                                  "hidden": [(0,), (True,), (1.5,)]}),
    "safe_rl.PolicyController": Case(safe_rl.PolicyController, {"task": TASK, "policy": POLICY},
                                     {"task": "task", "policy": "instance"}),
    "safe_rl.MeasuredPolicyController": Case(
        safe_rl.MeasuredPolicyController, {"task": WEIGHED, "policy": NARROW}, {"task": "task", "policy": "instance"}),
    "safe_rl.assess": Case(safe_rl.assess, {"policy": POLICY, "task": SHORT, "episodes": 1},
                           {"policy": "instance", "task": "task", "episodes": "count", "seed": "seed",
                            "safety_filter": "instance"},
                           optional=("safety_filter",), words={"policy": "assess"}),
    "safe_rl.evaluate": Case(safe_rl.evaluate, {"policy": POLICY, "task": SHORT, "episodes": 1},
                             {"policy": "instance", "task": "task", "episodes": "count", "seed": "seed",
                              "safety_filter": "instance"},
                             optional=("safety_filter",), words={"policy": "assess"}),
    "safe_rl.cost_limits": Case(safe_rl.cost_limits, {"task": TASK}, {"task": "task"}),
    "safe_rl.export_onnx": Case(safe_rl.export_onnx, {"policy": POLICY, "path": "/nonexistent/p.onnx"},
                                {"policy": "instance", "path": "path", "observation_signals": "names",
                                 "action_signals": "names", "discount": "share", "settings": "mapping"},
                                optional=("observation_signals", "action_signals", "discount", "settings"),
                                words={"policy": "export"}),
}  # fmt: skip

LINEAR_MPC = mpc.StochasticMPC(NOISY, horizon=3, terminal_steps=2)


@cache
def tracking() -> mpc.TrackingMPC:
    """Not at import: the first of its kind compiles its solver."""
    return mpc.TrackingMPC(LINEAR_TASK, horizon=3)


LEARNER = safe_rl.SAC(TASK, settings=TINY[safe_rl.SAC])
ENV = TASK.env(seed=0)
ENV.reset()

METHODS: dict[str, Case] = {
    "Signals.array": Case(lambda values: Mass.state.array(values, what="values"), {"values": [0.0, 1.0]},
                          {"values": "values"}, words={"values": "signal"}),
    "Signals.where": Case(Mass.state.where, {"name": "speed"}, {"name": "name"}, words={"name": "signal"}),
    "Constraint.soft": Case(Box("b", {}).soft, {"weight": 1.0}, {"weight": "above 0"}),
    "Constraint.chance": Case(Box("b", {}).chance, {"probability": 0.5}, {"probability": "probability"}),
    "Constraint.budget": Case(Box("b", {}).budget, {"limit": 1.0}, {"limit": "at least 0", "per": "choice",
                                                                    "of": "choice"},
                              words={"limit": "budget"}),
    "Reference.at": Case(lambda k: SetPoint().at(CartPole(), k), {"k": 3}, {"k": "whole"}),
    "Trajectory.at": Case(lambda k: systems.Trajectory(np.zeros((3, 2))).at(Mass(), k), {"k": [0, 9]},
                              {"k": "whole"}),
    "Sinusoid.at": Case(lambda k: systems.Sinusoid(0.1).at(Mass(), k), {"k": np.arange(3)}, {"k": "whole"}),
    "Plant.casadi": Case(Mass().casadi, {"parameters": ("mass",)}, {"parameters": "names"},
                         extra={"parameters": [("nothing",)]}, words={"parameters": "parameter"}),
    "Task.vector_env": Case(TASK.vector_env, {"n": 2}, {"n": "count", "device": "device", "seed": "seed",
                                                        "dtype": "device"}, optional=("dtype",)),
    "Task.env": Case(TASK.env, {}, {"seed": "seed"}, optional=("seed",)),
    "Task.with_truth": Case(TASK.with_truth, {"truth": TASK.plant}, {"truth": "instance"}, optional=("truth",)),
    "GymEnv.reset": Case(ENV.reset, {"seed": 3}, {"seed": "seed", "options": "mapping"}, optional=("seed", "options"),
                         extra={"options": [{"state": bad} for bad in KINDS["values"] if bad is not None]}),
    "GymEnv.step": Case(ENV.step, {"action": np.zeros(1)}, {"action": "array"}, extra={"action": [np.zeros(2)]}),
    "Discretisation.lower": Case(TASK.dynamics.lower, {"to": "numpy"}, {"to": "choice", "parameters": "names"},
                                 words={"parameters": "parameter"}),
    "ErrorDynamics.ellipsoid": Case(mpc.ErrorDynamics(0.5 * np.eye(2), NOISE).ellipsoid, {"probability": 0.9},
                                    {"probability": "probability", "steps": "count or 0", "gaussian": "flag"},
                                    optional=("steps", "gaussian")),
    "StochasticMPC.feasible_set": Case(LINEAR_MPC.feasible_set, {}, {"within": "instance"}, optional=("within",)),
    "FeasibleSet.section": Case(lambda **given: tracking().feasible_set().section(**given),
                                {"plane": ("x1", "x2"), "directions": 3},
                                {"plane": "names", "held": "mapping", "directions": "count"}, optional=("held",),
                                extra={"plane": [("x1",), ("x1", "x9")],
                                       "held": [{"x1": NAN}, {"x1": "a"}, [], [1.0, 1.0]]},
                                words={"plane": "signal"}),
    "ArtificialReferenceMPC.follow": Case(lambda **given: tracking().follow(**given),
                                          {"reference": SetPoint()}, {"reference": "instance"}),
    "LagrangianBatch": Case(LagrangianBatch, {"task": LINEAR_TASK, "horizon": 2},
                            {"task": "task", "horizon": "count", "parameters": "names", "make": "function",
                             "max_iterations": "count", "tolerance": "above 0", "device": "device"},
                            words={"parameters": "parameter"}),
    "Policy.act": Case(POLICY.act, {"observation": torch.zeros(2)}, {"observation": "array"},
                       extra={"observation": [torch.zeros(3)]}),
    "Learner.learn": Case(LEARNER.learn, {"updates": 0, "progress": False},
                          {"updates": "count or 0", "progress": "flag", "checkpoint": "path",
                           "checkpoint_every": "count",
                           "evaluate_every": "count", "log": "path"},
                          optional=("checkpoint", "evaluate_every", "log"), extra={"updates": [None]}),
    "Learner.learn until": Case(LEARNER.learn, {"steps": 0, "progress": False}, {"steps": "count or 0"}),
    "Learner.predict": Case(LEARNER.predict, {"observation": [0.0, 0.0]}, {"observation": "array",
                                                                           "deterministic": "flag"},
                            extra={"observation": [[0.0], [0.0, 0.0, 0.0]]}),
    "Learner.with_jump_start": Case(LEARNER.with_jump_start, {"start": safe_rl.JumpStart(TASK, ctrl.LQR)},
                                    {"start": "instance"}, words={"start": "jump start"}),
    "Lagrangian": Case(handlers.Lagrangian, {}, {"gains": "instance", "normalised": "flag", **HANDLER}),
    "Harmonic": Case(handlers.Harmonic, {}, {"rule": "choice", "weight": "at least 0", **HANDLER, "margin": "above 0"}),
    "FixedPenalty": Case(handlers.FixedPenalty, {}, {"weight": "at least 0", **HANDLER}),
    "ConservativeAugmented": Case(handlers.ConservativeAugmented, {}, {"convexity": "at least 0", "gains": "instance",
                                                                       **HANDLER}),
    "PIDGains": Case(handlers.PIDGains, {}, dict.fromkeys(("kp", "ki", "kd"), "at least 0") | {"delay": "count"},
                     extra={"filter_p": [1.0, -0.1, "a"], "filter_d": [1.0, NAN, None],
                            "maximum": [-1.0, NAN, "a", None]}),
    "IntegralGains": Case(handlers.IntegralGains, {}, {"ki": "at least 0"}),
    "PredictiveGains": Case(handlers.PredictiveGains, {},
                            {"horizon": "count", "r": "at least 0", "s": "at least 0", "b_min": "above 0",
                             "covariance": "above 0", "forgetting": "above 0", "smoothing": "at least 0"},
                            extra={"effect": [0.0, 1.0, NAN, "a", None], "delay": [2, -1, 0.5, True],
                                   "smoothing": [1.0]}),
    "DualAdamGains": Case(handlers.DualAdamGains, {}, {"rate": "above 0"}, extra={"initial": [NAN, "a", None]},
                          words={"initial": "multipliers"}),
    "LyapunovSettings": Case(LyapunovSettings, {}, {"hidden": "names", "features": "count", "controller": "names",
                                                    "updates": "count", "horizon": "count", "rate": "above 0",
                                                    "input_weight": "at least 0", "period": "count",
                                                    "probes": "count"}),
    "lyapunov.trained": Case(lyapunov_function, {"task": TASK, "law": LAW, "settings": LyapunovSettings(updates=1)},
                             {"task": "task", "seed": "seed", "settings": "instance", "box": "pair"},
                             optional=("settings", "box"), extra={"box": [([0.0], [1.0]), ([1.0, 1.0], [0.0, 0.0])]},
                             words={"box": "lower|upper"}),
    "SaturatedLinear": Case(SaturatedLinear, {"K": np.ones((1, 2)), "x_ref": [0.0, 0.0], "u_ref": [0.0],
                                              "lower": [-1.0],
                                              "upper": [1.0]},
                            dict.fromkeys(("K", "x_ref", "u_ref", "lower", "upper"), "array"),
                            extra={"lower": [[2.0], [NAN]], "K": [np.ones(2)]}, words={"lower": "bound"}),
    "Integral": Case(Integral, {"ki": 1.0}, {"ki": "at least 0", "shape": "count or 0"},
                     extra={"maximum": [-1.0, NAN, "a", None], "shape": [(), (1.5,)]},
                     fine={"ki": tuple(value for value in NUMBER if isinstance(value, list))}),
}  # fmt: skip
CASES |= {f"methods.{name}": case for name, case in METHODS.items()}

RECORDS = {
    "systems.Equilibrium", "ctrl.Comparison", "ctrl.Decision", "ctrl.Gain", "ctrl.Totals", "ctrl.Trajectories",
    "mpc.DoMPC", "mpc.FrequencySweep", "safe_rl.CostLimit", "safe_rl.Assessment",
}  # fmt: skip
"""What the library returns: nobody makes one by hand. A decision is checked where it is used, see below."""

ABSTRACT = {
    "systems.Constraint", "systems.Cost", "systems.DifferentialAlgebraicPlant",
    "systems.Distribution", "systems.Plant", "systems.Reference",
    "ctrl.BatchController", "ctrl.Controller", "ctrl.Informed", "ctrl.Preparing", "safe_rl.Learner",
}  # fmt: skip
"""What users derive from: their class bodies are checked, see below and in the tests of each."""

ELSEWHERE = {
    "mpc.DualNetwork": "tests/safe_rl/test_dual_network.py",
    "mpc.EveryConstraint": "it has no arguments",
    "mpc.LastActiveSet": "it has no arguments",
    "mpc.from_acados": "tests/mpc/test_acados.py, where there is an acados",
    "ctrl.check_plant": "a report says what is wrong with what it was given",
    "systems.Forecast": "tests/systems/test_known_ahead.py",
    "systems.know_ahead": "tests/systems/test_known_ahead.py",
    "systems.sample_times": "tests/systems/test_free_end_time.py",
    "systems.with_free_end_time": "tests/systems/test_free_end_time.py",
    "systems.positive": "covered by parameter",
    "systems.nonnegative": "covered by parameter",
    "systems.Hard": "takes nothing",
    "ctrl.Source": "an enumeration",
    "ctrl.Status": "an enumeration",
}


def public() -> dict[str, Any]:
    return {f"{m.__name__}.{name}": getattr(m, name) for m in (systems, ctrl, mpc, safe_rl) for name in m.__all__}


def test_every_public_name_is_covered() -> None:
    errors = {name for name, thing in public().items() if isinstance(thing, type) and issubclass(thing, Exception)}
    assert not set(public()) - set(CASES) - RECORDS - ABSTRACT - set(ELSEWHERE) - errors
    assert all(issubclass(public()[name], TriviumError) for name in errors)


@pytest.mark.parametrize("name", CASES)
def test_every_argument_has_a_kind(name: str) -> None:
    case = CASES[name]
    if name in ("systems.signals", "systems.parameter") or name.startswith("methods."):
        return
    own = {"check_controller": {"controller"}, "Vector": {"owner"}}.get(name.rpartition(".")[2], set())
    assert set(inspect.signature(case.call).parameters) - own == set(case.kinds), name


@pytest.mark.parametrize("name", CASES)
def test_right_arguments_are_taken(name: str) -> None:
    case = CASES[name]
    if name in ("safe_rl.export_onnx", "methods.lyapunov.trained"):
        return  # which writes a file, or takes long
    case.call(**case.good)


def wrong_values(case: Case, argument: str) -> list[Any]:
    fine = [*case.fine.get(argument, ()), *([None] if argument in case.optional else [])]
    values = [*(KINDS[case.kinds[argument]] if argument in case.kinds else ()), *case.extra.get(argument, [])]
    return [value for value in values if not any(value is other for other in fine)]


@pytest.mark.parametrize("name", CASES)
def test_wrong_arguments_are_refused_by_name(name: str) -> None:
    case, faults = CASES[name], []
    for argument in {**case.kinds, **case.extra}:
        for value in wrong_values(case, argument):
            given = f"{name}({argument}={shown(value)})"
            try:
                case.call(**{**case.good, argument: value})
            except TriviumError as error:
                if not re.search(rf"\b({case.words.get(argument, argument)}|{argument})", str(error)):
                    faults.append(f"{given}: not named in '{error}'")
            except Exception as error:  # whatever comes from inside
                faults.append(f"{given}: {type(error).__name__}: {error}")
            else:
                faults.append(f"{given}: accepted")
    assert not faults, "\n".join([f"{len(faults)} faults", *faults])


SEEDED: dict[str, Callable[[Any], Any]] = {
    "comparison": lambda seed: draw(TASK, 2, (seed,)),
    "region": lambda seed: sampled_region(LOOP, np.zeros(2), -np.ones(2), np.ones(2), draws=10, steps=2, seed=seed),
    "limit": lambda seed: sampled_limit(LOOP, QuadraticLyapunov(np.eye(2), np.zeros(2)), rays=16, seed=seed),
    "inner": lambda seed: sampled_inner(LOOP, QuadraticLyapunov(np.eye(2), np.zeros(2)), level=0.1, seed=seed),
    "basin": lambda seed: sampled_basin(LOOP, -np.ones(2), np.ones(2), rays=8, seed=seed, steps=5),
    "gymnasium": lambda seed: TASK.env(seed=seed) if seed is not None else TASK.env().reset(seed=-1),
    "vectors": lambda seed: TASK.vector_env(1, seed=seed),
    "foreign vectors": lambda seed: safe_rl.GymnasiumTask("g", environment).vector_env(1, seed=seed),
    "learner": lambda seed: safe_rl.SAC(TASK, seed, TINY[safe_rl.SAC]),
    "combination": lambda seed: safe_rl.PLO(bandit(), seed, TINY[safe_rl.DSACT]),
    "evaluation": lambda seed: safe_rl.evaluate(POLICY, SHORT, 1, seed),
    "frequency": lambda seed: mpc.choose_frequency(LINEAR_TASK, 3, [0.3], starts=1, seed=seed),
}


@pytest.mark.parametrize("name", SEEDED)
def test_seeds_are_whole_numbers_everywhere(name: str) -> None:
    for seed in (None, True, -1, 1.5, "0", NAN, 2.0, [0], np.float64(1.0), np.int64(-1), 2**64, object()):
        with pytest.raises(TriviumError, match=r"seed"):
            SEEDED[name](seed)
    for seed in (0, np.int64(3), np.uint32(2**32 - 1), 2**40):
        SEEDED[name](seed)
