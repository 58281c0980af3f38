"""What all tests share."""

import os
from collections import Counter

# Each worker has a core; threads of several linear algebra libraries on the same two cores wait for each other. Set
# before numpy and torch are imported, and inherited by the workers and by what tests start.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

# How long an example takes says nothing on a busy machine.
settings.register_profile("trivium", deadline=None)
settings.load_profile("trivium")


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of a test marked `every(n)`, the first case and every n-th after it run by default, the others are slow."""
    counts = Counter[tuple[object, str]]()
    for item in items:
        if isinstance(item, pytest.Function) and (marker := item.get_closest_marker("every")):
            key = item.parent, item.originalname
            if counts[key] % marker.args[0]:
                item.add_marker(pytest.mark.slow)
            counts[key] += 1
