"""Runs cells on a local or an existing Ray cluster."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, final

from ctrl.cells.engine import Cell, Ended, Engine, attempt
from systems.errors import TriviumError

__all__ = ["RayEngine", "RayMissing"]

_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class RayMissing(TriviumError, ImportError):
    """Ray is not installed."""


@final
class RayEngine(Engine):
    """Runs cells as Ray tasks. A cell whose worker or node is lost is run again elsewhere, as often as necessary, since
    its result depends only on its content.

    Args:
        address: of an existing cluster, such as "ray://head:10001" or "auto"; default: a local one, which ends with
            this process.
        workers: processors of a local cluster; default: all.
        gpus: share of a GPU that each cell requests; default: 0.
        ahead: cells that wait in the cluster in addition to those that run; default: 64.

    Raises:
        RayMissing: Ray is not installed.
    """

    def __init__(
        self, address: str | None = None, workers: int | None = None, gpus: float = 0.0, ahead: int = 64
    ) -> None:
        try:
            import ray
        except ImportError as error:
            raise RayMissing("the engine ray needs Ray: pip install 'trivium-control[cluster]'") from error
        self._ray: Any = ray
        if not ray.is_initialized():
            local = {} if address else {"num_cpus": workers, "include_dashboard": False}
            environment = {"env_vars": _ONE_THREAD}
            ray.init(address=address, log_to_driver=False, logging_level="warning", runtime_env=environment, **local)
        self.workers = max(1, int(ray.cluster_resources().get("CPU", 1)))
        self._gpus, self._ahead = gpus, ahead

    def run(self, cells: Sequence[Cell]) -> Generator[Ended, None, None]:
        ray = self._ray
        remote = ray.remote(num_cpus=1, num_gpus=self._gpus, max_retries=-1)(attempt)
        waiting: set[Any] = set()
        queue = iter(enumerate(cells))
        try:
            while True:
                while len(waiting) < self.workers + self._ahead and (entry := next(queue, None)) is not None:
                    waiting.add(remote.remote(*entry))
                if not waiting:
                    return
                ended, _ = ray.wait(list(waiting), num_returns=1)
                for reference in ended:
                    waiting.discard(reference)
                    yield ray.get(reference)
        finally:
            for reference in waiting:
                ray.cancel(reference, force=True)
