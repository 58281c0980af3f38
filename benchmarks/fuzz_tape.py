"""Do recorded programs of intervals give numpy's bounds, and do these hold what Arb computes?

    python -m benchmarks.fuzz_tape                       # 10^7 operations against numpy, 10^6 against Arb: minutes
    python -m benchmarks.fuzz_tape --numpy 1e8 --seed 1

Random programs run on boxes of all sizes: huge, tiny, of no width, around zero. Against numpy: the same to the bit
where rounding is that of IEEE 754, to the error of the library else, and silent exactly where something is undefined or
unbounded. Against Arb: at points of the boxes, with 300 bits. The last line is JSON: operations, how many of them were
silent, how many wrong. Needs python-flint.
"""

from __future__ import annotations

import argparse
import json
from time import process_time

import numpy as np

from tests.systems.tape.programs import (
    LIBRARY,
    ROUNDED,
    Tally,
    Written,
    compare_with_arb,
    compare_with_numpy,
    drawn_boxes,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--numpy", type=float, default=1e7, help="operations")
    parser.add_argument("--arb", type=float, default=1e6, help="operations")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    numbers: dict[str, dict[str, float]] = {}
    for what, most in (("numpy", given.numpy), ("arb", given.arb)):
        tally, began = Tally(), process_time()
        while tally.operations < most:
            length = int(rng.integers(1, 40 if what == "numpy" else 8))
            written = Written.drawn(rng, list(ROUNDED) if what == "numpy" else [*ROUNDED, *LIBRARY], length)
            low, high = drawn_boxes(rng, 2000 if what == "numpy" else 200, written.inputs)
            if what == "numpy":
                compare_with_numpy(written, low, high, tally)
            else:
                compare_with_arb(written, low, high, tally, rng)
        seconds = process_time() - began
        numbers[what] = {**vars(tally), "seconds": float(f"{seconds:.4g}")}
        print(f"{what}: {tally.operations:,} operations, {tally.silent:,} silent, {tally.wrong} wrong, {seconds:.1f} s")
    print(json.dumps(numbers))


if __name__ == "__main__":
    main()
