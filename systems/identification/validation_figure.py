"""The figure of a validation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from systems.style import STYLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from systems.identification.validation import Validation

__all__ = ["draw"]


def draw(validation: Validation) -> Figure:
    """One column for each state: a held-out run with its predictions, and the growth of the errors."""
    import matplotlib.style
    from matplotlib.figure import Figure

    n, horizon = len(validation.state), len(validation.errors) - 1
    measured, predicted = validation.runs.states[0], validation.predictions[0]
    time, ahead = validation.dt * np.arange(len(measured)), validation.dt * np.arange(1, horizon + 1)
    with matplotlib.style.context(STYLE):
        page = Figure(figsize=(2.6 * n + 0.6, 4.4), layout="constrained")
        axes = page.subplots(2, n, squeeze=False)
        for i, signal in enumerate(validation.state):
            top, bottom = axes[:, i]
            top.plot(time, measured[:, i], color="0.6", linewidth=3.0, label="measured")
            for k, start in enumerate(range(0, len(measured) - 1, horizon)):
                # A prediction begins at the measured state, which the predicted run holds from the one before.
                part = np.concatenate([measured[start : start + 1, i], predicted[start + 1 : start + horizon + 1, i]])
                piece = time[start : start + len(part)]
                top.plot(piece, part, color="C0", label=f"predicted, {horizon} samples" if k == 0 else None)
            top.set(title=signal.name, xlabel="time [s]", ylabel=f"{signal.name} [{signal.unit}]")
            bottom.plot(ahead, validation.errors[1:, i], color="C0", label="fit")
            bottom.plot(ahead, validation.changes[1:, i], color="0.6", label="no change")
            bottom.set(xlabel="time ahead [s]", ylabel=f"root mean square error [{signal.unit}]", yscale="log")
            bottom.set_title(f"white with p = {validation.whiteness[i]:.2g}")
        axes[0, 0].legend()
        axes[1, 0].legend()
    return page
