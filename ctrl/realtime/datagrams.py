"""The datagrams between a loop and a plant in another process: fixed size, binary, checked before use.

    bytes   content, little-endian
    0..3    "TRV1"
    4       kind: 1 measurement, 2 command
    5       reserved, 0
    6..7    count of values, unsigned
    8..15   sequence number, unsigned
    16..23  time stamp of the sender's clock in nanoseconds, signed
    24..    values, 64-bit floats
    last 4  CRC-32 of everything before

Nothing in a datagram is executed or allocated by; a size, kind or checksum that is not as expected makes it invalid.
"""

from __future__ import annotations

import struct
import zlib
from enum import IntEnum
from typing import NamedTuple

import numpy as np

__all__ = ["Datagram", "Kind", "decode", "encode", "size"]

_HEAD = struct.Struct("<4sBBHQq")
_CHECK = struct.Struct("<I")
_MAGIC = b"TRV1"


class Kind(IntEnum):
    """The kind of a datagram."""

    MEASUREMENT = 1
    COMMAND = 2


class Datagram(NamedTuple):
    """The content of a datagram.

    Args:
        values: of the state or the input. sequence: its number. time: stamp in nanoseconds.
    """

    values: np.ndarray
    sequence: int
    time: int


def size(count: int) -> int:
    """Bytes of a datagram with ``count`` values."""
    return _HEAD.size + 8 * count + _CHECK.size


def encode(kind: Kind, values: np.ndarray, sequence: int, time: int) -> bytes:
    """The bytes of a datagram with the values (count,)."""
    body = _HEAD.pack(_MAGIC, kind, 0, len(values), sequence, time) + np.asarray(values, dtype="<f8").tobytes()
    return body + _CHECK.pack(zlib.crc32(body))


def decode(data: bytes, kind: Kind, count: int) -> Datagram | None:
    """The content of a datagram of this kind with ``count`` values; None if it is anything else."""
    if len(data) != size(count):
        return None
    magic, given, reserved, length, sequence, time = _HEAD.unpack_from(data)
    if (magic, given, reserved, length) != (_MAGIC, kind, 0, count):
        return None
    body = data[: -_CHECK.size]
    if _CHECK.unpack_from(data, len(body))[0] != zlib.crc32(body):
        return None
    return Datagram(np.frombuffer(data, "<f8", count, _HEAD.size).astype(float), sequence, time)
