"""A lattice law, such as that of an explicit MPC, as a network of rectified linear units."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ctrl.laws.lattice import Lattice

__all__ = ["relu_network"]


def relu_network(law: Lattice) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """The same law as layers (W, b), with max(0, .) between one and the next.

    Numbers are compared in pairs, layer by layer, so the depth is logarithmic in the number of pieces. Exact but for
    rounding, and open to further training like any other network. YANN (arXiv 2508.16474) builds explicit laws from
    neurons that indicate regions; this network is continuous.
    """
    read = np.vstack([f.A for f in law.inputs])
    constant = np.concatenate([f.b for f in law.inputs])
    firsts = np.cumsum([0, *(len(f.b) for f in law.inputs)])
    nodes = [[[int(first) + i for i in term] for term in f.terms] for first, f in zip(firsts, law.inputs, strict=False)]
    layers = []
    while any(len(terms) > 1 or len(terms[0]) > 1 for terms in nodes):
        layer = _Layer()
        for number, terms in enumerate(nodes):
            if max(map(len, terms)) > 1:
                nodes[number] = [layer.reduce(term, -1) for term in terms]
            else:
                nodes[number] = [[i] for i in layer.reduce([i for (i,) in terms], 1)]
        before, after = layer.matrices(len(read))
        layers.append((before @ read, before @ constant))
        read, constant = after, np.zeros(len(after))
    last = [terms[0][0] for terms in nodes]
    return (*layers, (read[last], constant[last]))


@dataclass
class _Layer:
    """min(p, q) = p - max(0, p - q), max(p, q) = p + max(0, q - p) and p = max(0, p) - max(0, -p) for many numbers.

    Args:
        units: what each unit reads, (place, weight) pairs.
        numbers: what each result reads of the units.
    """

    units: list[dict[int, int]] = field(default_factory=list)
    numbers: list[dict[int, int]] = field(default_factory=list)

    def reduce(self, places: list[int], sign: int) -> list[int]:
        """Places of the results of neighbours, smaller of two for sign -1 and larger for 1; the last may stay alone."""
        results = []
        for place in range(0, len(places), 2):
            p, first = places[place], len(self.units)
            self.units += [{p: 1}, {p: -1}]
            number = {first: 1, first + 1: -1}
            if place + 1 < len(places) and places[place + 1] != p:
                self.units.append({p: -sign, places[place + 1]: sign})
                number[first + 2] = sign
            self.numbers.append(number)
            results.append(len(self.numbers) - 1)
        return results

    def matrices(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Matrices from ``count`` numbers to the units, and from the units to the results."""
        return _dense(self.units, count), _dense(self.numbers, len(self.units))


def _dense(rows: list[dict[int, int]], width: int) -> np.ndarray:
    matrix = np.zeros((len(rows), width))
    for i, row in enumerate(rows):
        matrix[i, list(row)] = list(row.values())
    return matrix
