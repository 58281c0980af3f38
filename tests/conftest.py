"""What all tests share."""

import os

# Each worker has a core; threads of several linear algebra libraries on the same two cores wait for each other. Set
# before numpy and torch are imported, and inherited by the workers and by what tests start.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

from hypothesis import settings  # noqa: E402

# How long an example takes says nothing on a busy machine.
settings.register_profile("trivium", deadline=None)
settings.load_profile("trivium")
