"""Files of policies and checkpoints: complete or refused, plain data, never code.

Layout, numbers little endian: magic (8 bytes), format (4), length of the payload (8), SHA-256 of the payload (32), and
the payload: length of a text (8), the text, the bytes of all tensors one after the other. The text is JSON,
``{"kind", "tensors": [[type, [sizes]], ...], "content"}``. In the content a dictionary is ``{"dict": {...}}``, the k-th
tensor ``{"tensor": k}``, a number that is not finite ``{"float": "inf"}``; everything else is what it is in JSON.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from systems.files import FileError, json_text, parse_json, read_bytes, shown, write

__all__ = ["MAGIC", "VERSION", "CheckpointError", "expect_like", "read_checkpoint", "size_of", "write_checkpoint"]

MAGIC = b"TRIVIUM\x00"
VERSION = 2
_HEADER = struct.Struct("<8sIQ32s")
_LENGTH = struct.Struct("<Q")
_LARGEST = 1 << 36
_DIMENSIONS = 8
_TYPES = {"float32": "<f4", "float64": "<f8", "int64": "<i8", "int32": "<i4", "uint8": "u1", "bool": "u1"}


class CheckpointError(FileError, RuntimeError):
    """A file that cannot be used as a policy or checkpoint; the message says why and what to do."""


def write_checkpoint(path: str | Path, kind: str, content: dict[str, Any]) -> None:
    """Writes `content` atomically: at every instant, `path` contains either the complete old file or the complete new
    one.

    Args:
        kind: type of the content, checked on reading, for instance "DSACT".
        content: tensors, numbers, strings, lists, dicts with strings as keys; tuples come back as lists.

    Raises:
        OSError: the file cannot be written.
        TypeError: something else in the content.
    """
    tensors: list[torch.Tensor] = []
    tree = _tree(content, tensors)
    types = [str(t.dtype).removeprefix("torch.") for t in tensors]
    listed = [[name, list(t.shape)] for name, t in zip(types, tensors, strict=True)]
    text = json_text({"kind": kind, "tensors": listed, "content": tree}, indent=None).encode()
    arrays = [
        np.ascontiguousarray(t.numpy().astype(_TYPES[name], copy=False)) for t, name in zip(tensors, types, strict=True)
    ]
    payload: list[bytes | memoryview] = [_LENGTH.pack(len(text)), text]
    payload += [a.reshape(-1).view(np.uint8).data for a in arrays if a.size]
    digest = hashlib.sha256()
    for piece in payload:
        digest.update(piece)
    header = _HEADER.pack(MAGIC, VERSION, sum(map(len, payload)), digest.digest())
    write(path, [header, *payload])


def read_checkpoint(path: str | Path, kind: str) -> dict[str, Any]:
    """The content of a file of the given kind, with tensors on the CPU.

    Raises:
        CheckpointError: missing, foreign, of another format, truncated, altered, or of another kind.
    """
    try:
        data = memoryview(read_bytes(path, _LARGEST))
    except FileError as error:
        raise CheckpointError(str(error)) from error
    payload = _payload(path, data)
    try:
        stored = _stored(path, payload)
    except CheckpointError:
        raise
    except Exception as error:  # a checksum can be made for any content
        raise CheckpointError(f"{path}: its content was not written by save(): {error}; use another copy") from error
    if stored["kind"] != kind:
        raise CheckpointError(
            f"{path}: a checkpoint of {shown(stored['kind'])}; expected one of {kind}: load it with the class that "
            "wrote it"
        )
    content: dict[str, Any] = stored["content"]
    return content


def size_of(content: Any) -> int:
    """Bytes of all tensors in a content."""
    if isinstance(content, torch.Tensor):
        return content.numel() * content.element_size()
    entries = content.values() if isinstance(content, Mapping) else content if isinstance(content, list) else ()
    return sum(map(size_of, entries))


def expect_like(stored: Any, mine: torch.Tensor, what: str) -> torch.Tensor:
    """A stored tensor, which must have the shape and type of the tensor it replaces, and is returned in the memory
    order of that one, since sums are rounded differently in another order.

    Raises:
        ValueError: another shape or type.
    """
    if not isinstance(stored, torch.Tensor) or (stored.shape, stored.dtype) != (mine.shape, mine.dtype):
        given = f"{stored.dtype} {tuple(stored.shape)}" if isinstance(stored, torch.Tensor) else shown(stored)
        raise ValueError(f"{what} is {given}; expected {mine.dtype} {tuple(mine.shape)}")
    return torch.empty_like(mine).copy_(stored)


# ---- writing ----


def _tree(content: Any, tensors: list[torch.Tensor]) -> Any:
    """The content as JSON; its tensors are appended to the list."""
    match content:
        case None | str() | bool() | int():
            return content
        case np.integer():
            return int(content)
        case float() | np.floating():
            return float(content) if math.isfinite(content) else {"float": str(float(content))}
        case torch.Tensor():
            if str(content.dtype).removeprefix("torch.") not in _TYPES:
                raise TypeError(f"a tensor of {content.dtype} cannot be stored in a file; expected {', '.join(_TYPES)}")
            tensors.append(content.detach().cpu())
            return {"tensor": len(tensors) - 1}
        case list() | tuple():
            return [_tree(entry, tensors) for entry in content]
        case Mapping() if all(isinstance(key, str) for key in content):
            return {"dict": {key: _tree(entry, tensors) for key, entry in content.items()}}
    raise TypeError(
        f"{type(content).__name__} cannot be stored in a file; expected tensors, numbers, strings, lists, dicts"
    )


# ---- reading ----


def _payload(path: str | Path, data: memoryview) -> memoryview:
    """The payload behind the header, unchanged."""
    if bytes(data[: len(MAGIC)]) != MAGIC:
        what = "an empty file" if not len(data) else f"a file that begins with {bytes(data[:8])!r}"
        raise CheckpointError(f"{path}: {what}, not a checkpoint of this package; give a file written by save()")
    if len(data) < _HEADER.size:
        raise CheckpointError(f"{path}: cut off inside its header ({len(data)} bytes); use an older copy")
    _, version, length, digest = _HEADER.unpack_from(data)
    if version != VERSION:
        way = "train it again" if version < VERSION else "load it with the release that wrote it"
        raise CheckpointError(f"{path}: a checkpoint of format {version}; this release reads format {VERSION}; {way}")
    payload = data[_HEADER.size :]
    if len(payload) != length:
        word = "cut off" if len(payload) < length else "followed by other data"
        raise CheckpointError(f"{path}: {word}: {len(payload)} bytes of content, expected {length}; use an older copy")
    if hashlib.sha256(payload).digest() != digest:
        raise CheckpointError(f"{path}: altered since it was written (checksum differs); use an older copy")
    return payload


def _stored(path: str | Path, payload: memoryview) -> dict[str, Any]:
    """Kind and content of a payload."""
    (length,) = _LENGTH.unpack_from(payload)
    text = payload[_LENGTH.size : _LENGTH.size + length]
    stored = parse_json(text, str(path))
    if not isinstance(stored, dict) or set(stored) != {"kind", "tensors", "content"}:
        raise ValueError(f"{shown(stored)}; expected an object with kind, tensors and content")
    tensors = _tensors(stored["tensors"], payload[_LENGTH.size + length :])
    content = _content(stored["content"], tensors)
    if not isinstance(content, dict):
        raise ValueError(f"content {shown(stored['content'])}; expected a dictionary")
    return {"kind": stored["kind"], "content": content}


def _tensors(listed: Any, data: memoryview) -> list[torch.Tensor]:
    tensors, at, largest = [], 0, max(len(data), 1 << 20)
    for name, sizes in listed:
        kind = np.dtype(_TYPES[name])
        if len(sizes) > _DIMENSIONS or not all(type(size) is int and 0 <= size <= largest for size in sizes):
            raise ValueError(f"a tensor of sizes {shown(sizes)} in {len(data)} bytes")
        count = math.prod(sizes)
        array = np.frombuffer(data, kind, count, at) if count else np.empty(0, kind)
        at += count * kind.itemsize
        array = array.reshape(sizes)
        tensors.append(torch.from_numpy(array.astype(bool if name == "bool" else kind.newbyteorder("="))))
    if at != len(data):
        raise ValueError(f"tensors of {at} bytes; expected {len(data)}")
    return tensors


def _content(tree: Any, tensors: list[torch.Tensor]) -> Any:
    if isinstance(tree, list):
        return [_content(entry, tensors) for entry in tree]
    if not isinstance(tree, dict):
        return tree
    match list(tree.items()):
        case [("dict", dict(entries))]:
            return {key: _content(entry, tensors) for key, entry in entries.items()}
        case [("tensor", int(k))] if 0 <= k < len(tensors):
            return tensors[k]
        case [("float", "inf" | "-inf" | "nan" as text)]:
            return float(text)
    raise ValueError(f"{shown(tree)}; expected a dict, a tensor or a float")
