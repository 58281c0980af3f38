"""Random sequences that are correlated in time, of unit variance."""

from __future__ import annotations

import numpy as np

__all__ = ["coloured"]


def coloured(length: int, exponent: float) -> np.ndarray:
    """The matrix (length, length) that turns white noise into noise whose power is proportional to frequency^-exponent.

    Every entry of the result has unit variance. Frequency zero has the power of the next one, as in Pinneri, Sawant,
    Blaes, Achterhold, Stueckler, Rolinek & Martius (2020), section 3.1. They filter by a Fourier transform; the matrix
    makes a transform at run time unnecessary.

    Args:
        length: of the sequence.
        exponent: 0 for white noise; larger values give smoother sequences.
    """
    frequencies = np.fft.rfftfreq(length)
    frequencies[0] = frequencies[1] if len(frequencies) > 1 else 1.0
    response = np.fft.irfft(frequencies ** (-0.5 * exponent), length)
    response /= np.linalg.norm(response)
    return response[(np.arange(length)[:, None] - np.arange(length)) % length]
