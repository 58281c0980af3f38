"""Arrays in one file, in numpy's npz format, restricted to the expected types and shapes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from systems.files import FileError, read_bytes, write

__all__ = ["read_arrays", "write_arrays"]

_OVERHEAD = 1 << 16  # bytes of headers, for each array


def write_arrays(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays atomically, in the format of ``numpy.load``.

    Args:
        path: of the file.
        arrays: by name, of numbers.
    """
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write(path, buffer.getvalue())


def read_arrays(
    path: str | Path, expected: Mapping[str, tuple[np.dtype, tuple[int | None, ...]]]
) -> dict[str, np.ndarray]:
    """The arrays of a file.

    Args:
        path: of the file.
        expected: type and shape by name; None stands for a number of runs, the same in all arrays.

    Raises:
        FileError: it cannot be read, is damaged, or contains other arrays.
    """
    path = Path(path)
    data = read_bytes(path, 1 << 31)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            held = {info.filename: info for info in archive.infolist()}
            if len(held) != len(archive.infolist()) or held.keys() != {f"{name}.npy" for name in expected}:
                raise FileError(f"{path}: holds {', '.join(held) or 'nothing'}; expected {', '.join(expected)}")
            if sum(info.file_size for info in held.values()) > 2 * len(data) + _OVERHEAD * len(held):
                raise FileError(f"{path}: its arrays are larger than the file")
            arrays = {name: _array(archive.read(f"{name}.npy"), kind) for name, (kind, _) in expected.items()}
    except (zipfile.BadZipFile, ValueError, EOFError, KeyError, OSError, NotImplementedError, RuntimeError) as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"{path}: damaged: {error}") from error
    lengths = set()
    for name, (_, shape) in expected.items():
        given = arrays[name].shape
        if len(given) != len(shape) or any(e not in (None, g) for e, g in zip(shape, given, strict=True)):
            raise FileError(f"{path}: array '{name}' has shape {given}; expected {shape}")
        lengths |= {g for e, g in zip(shape, given, strict=True) if e is None}
    if len(lengths) > 1:
        raise FileError(f"{path}: its arrays are of different numbers of runs")
    return arrays


def _array(data: bytes, kind: np.dtype) -> np.ndarray:
    """An array of numpy's npy format, in C order."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"version {version} of the npy format")
    shape, fortran, held = np.lib.format.read_array_header_1_0(file)
    if held != kind or fortran:
        raise ValueError(f"an array of {held}, expected {kind} in C order")
    content = data[file.tell() :]
    size = int(np.prod(shape, dtype=object)) * kind.itemsize if shape else kind.itemsize
    if len(content) != size:
        raise ValueError(f"{len(content)} bytes for an array of {size}")
    return np.frombuffer(content, kind).reshape(shape).copy()
