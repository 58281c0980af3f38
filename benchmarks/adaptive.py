"""How fast does learning online close the gap to a controller that knows the plant, and what does an update cost?

    python -m benchmarks.adaptive [--steps 400]

The cart of `examples/unknown_forces.py`. Regret is the cost so far above that of nonlinear MPC with the true plant, on
the same run; `exponent` is the slope of its logarithm over that of the time, between a tenth of the run and its end:
below 1 it grows slower than the time. Times are processor times, of 200 features: of one update of the weights, and of
a whole step as a ratio to that of the nominal controller. The last line is JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from time import process_time

import numpy as np

from ctrl import Controller
from examples.unknown_forces import cart, learning, run
from mpc import NonlinearMPC
from systems.identification.online import OnlineRule, ProjectedGradient, RecursiveLeastSquares

UPDATES = 300
FEATURES = 200


def update_seconds(rule: OnlineRule) -> float:
    """Median processor time of one update of two outputs."""
    rng, learned, seconds = np.random.default_rng(0), rule.start(FEATURES, 2), []
    for _ in range(UPDATES):
        phi = np.sqrt(2.0 / FEATURES) * np.cos(rng.uniform(0.0, 2.0 * np.pi, FEATURES))
        y = rng.uniform(-0.5, 0.5, 2)
        began = process_time()
        learned = rule.update(learned, phi, y)
        seconds.append(process_time() - began)
    return float(np.median(seconds))


def main() -> None:
    """Prints the table, and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=400)
    task = cart(parser.parse_args().steps)
    rules: dict[str, OnlineRule] = {"least_squares": RecursiveLeastSquares(), "gradient": ProjectedGradient()}
    controllers: dict[str, Controller] = {
        "known": NonlinearMPC(dataclasses.replace(task, plant=task.truth, truth=None), horizon=15),
        "nominal": NonlinearMPC(task, horizon=15),
        **{name: learning(task, rule, FEATURES) for name, rule in rules.items()},
    }
    results: dict[str, dict[str, float]] = {}
    costs: dict[str, np.ndarray] = {}
    for name, controller in controllers.items():
        began = process_time()
        errors, costs[name] = run(task, controller)
        results[name] = {
            "error_mm": 1e3 * float(np.sqrt((errors**2).mean())),
            "cost": float(costs[name].sum()),
            "step_ms": 1e3 * (process_time() - began) / task.steps,
        }
        regret = np.cumsum(costs[name] - costs["known"])
        results[name]["regret"] = float(regret[-1])
        early = regret[task.steps // 10]
        if name in rules:
            results[name]["exponent"] = float(np.log(max(regret[-1], 1e-12) / max(early, 1e-12)) / np.log(10.0))
            results[name]["update_ms"] = 1e3 * update_seconds(rules[name])
            results[name]["step_ratio_to_nominal"] = results[name]["step_ms"] / results["nominal"]["step_ms"]
        print(f"{name:14s}", "  ".join(f"{key} {value:.4g}" for key, value in results[name].items()))
    print(json.dumps(results))


if __name__ == "__main__":
    main()
