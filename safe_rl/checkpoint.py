"""Files that are whole or refused: written atomically, checked before they are read, never executed.

Layout: magic (8 bytes), format version and length of the payload (little endian), SHA-256 of the payload,
payload. The payload is a `torch.save` archive of tensors, numbers, strings, lists and dicts, read with
`weights_only=True`, which builds those and nothing else: a file from a stranger cannot run code.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import torch

from systems.errors import TriviumError

MAGIC = b"TRIVIUM\x00"
VERSION = 1
_HEADER = struct.Struct("<8sIQ32s")


class CheckpointError(TriviumError, RuntimeError):
    """A file that cannot be used as a checkpoint; the message says why and what to do."""


def write_checkpoint(path: str | Path, kind: str, content: dict[str, Any]) -> None:
    """Write `content` so that at every instant `path` holds the old file or the new one, whole.

    Args:
        kind: what the content is, checked on reading, for instance "DSACT".
        content: tensors, numbers, strings, lists, dicts.
    """
    path = Path(path)
    stream = io.BytesIO()
    torch.save({"kind": kind, "content": content}, stream)
    payload = stream.getbuffer()
    header = _HEADER.pack(MAGIC, VERSION, len(payload), hashlib.sha256(payload).digest())
    path.parent.mkdir(parents=True, exist_ok=True)
    # A fixed name: what a killed process leaves behind is overwritten by the next one.
    part = path.with_name(path.name + ".part")
    with open(part, "wb") as file:
        file.write(header)
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
    if os.name == "posix":  # the rename itself must survive a power cut
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def read_checkpoint(path: str | Path, kind: str) -> dict[str, Any]:
    """The content of a file of that kind, tensors on the CPU.

    Raises:
        CheckpointError: missing, foreign, of another version, truncated, altered, or of another kind.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    if not data.startswith(MAGIC):
        what = "an empty file" if not data else f"a file that begins with {data[:8]!r}"
        raise CheckpointError(f"{path}: {what}, not a checkpoint of this package; give a file written by save()")
    if len(data) < _HEADER.size:
        raise CheckpointError(f"{path}: cut off inside its header ({len(data)} bytes); use an older copy")
    _, version, length, digest = _HEADER.unpack_from(data)
    if version != VERSION:
        raise CheckpointError(
            f"{path}: written in format {version}, this version reads format {VERSION}; "
            "load it with the version of the package that wrote it"
        )
    payload = memoryview(data)[_HEADER.size :]
    if len(payload) != length:
        word = "cut off" if len(payload) < length else "followed by foreign bytes"
        raise CheckpointError(f"{path}: {word}: {len(payload)} bytes of content, {length} announced; use an older copy")
    if hashlib.sha256(payload).digest() != digest:
        raise CheckpointError(f"{path}: altered since it was written (checksum differs); use an older copy")
    try:
        stored = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError) as error:
        raise CheckpointError(
            f"{path}: holds something other than tensors and plain values and was not loaded; "
            "give a file written by save()"
        ) from error
    if not isinstance(stored, dict) or set(stored) != {"kind", "content"}:
        raise CheckpointError(f"{path}: has no kind and content; give a file written by save()")
    if stored["kind"] != kind:
        raise CheckpointError(
            f"{path}: a checkpoint of {stored['kind']}, one of {kind} was expected; give it to what wrote it"
        )
    content: dict[str, Any] = stored["content"]
    return content
