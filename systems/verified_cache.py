"""Compiled functions whose cache on disk is verified before use, and recreated if it is damaged."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache

from systems.files import write

__all__ = ["compiled"]


def compiled(fastmath: Any = False) -> Callable[[Callable[..., Any]], Any]:
    """``numba.njit`` with a cache that tolerates truncated or altered files.

    numba unpickles its cache without checks: a file truncated by a full disk would raise at every later call, and an
    altered one would run. Here a SHA-256 is stored with the files of a function; if it does not match, the function is
    compiled again. The interpreter lock is released, and division is numpy's.

    Args:
        fastmath: as of ``numba.njit``.
    """

    def decorated(function: Callable[..., Any]) -> Any:
        dispatcher = njit(cache=True, nogil=True, error_model="numpy", fastmath=fastmath)(function)
        dispatcher._cache = _VerifiedCache(function)
        return dispatcher

    return decorated


class _VerifiedCache(FunctionCache):
    def load_overload(self, sig: Any, target_context: Any) -> Any:
        if self._is_whole():
            with suppress(Exception):  # such as what another build of numba cannot load
                return super().load_overload(sig, target_context)
        with suppress(OSError):
            self.flush()
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        super().save_overload(sig, data)
        with suppress(OSError):  # a cache that cannot be written is none
            write(self._checksum, self._digest().encode())

    def _is_whole(self) -> bool:
        try:
            return self._checksum.read_text() == self._digest()
        except (OSError, ValueError):
            return False

    def _digest(self) -> str:
        digest = hashlib.sha256()
        for path in sorted(
            glob.glob(f"{glob.escape(self._base)}.nb[ci]") + glob.glob(f"{glob.escape(self._base)}.*.nbc")
        ):
            digest.update(f"{Path(path).name}\0".encode())
            digest.update(Path(path).read_bytes())
        return digest.hexdigest()

    @property
    def _base(self) -> str:
        return str(Path(self.cache_path) / self._impl.filename_base)

    @property
    def _checksum(self) -> Path:
        return Path(f"{self._base}.sha256")
