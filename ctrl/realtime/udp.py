"""A plant in another process or on another machine over UDP; both ends of the connection."""

from __future__ import annotations

import socket
import time
from typing import final

import numpy as np

from ctrl.realtime.connection import Measurement, reported_signals
from ctrl.realtime.datagrams import Datagram, Kind, decode, encode, size
from systems import InvalidValue, Task
from systems.arguments import expect_whole
from systems.errors import TriviumError, expect, shown

__all__ = ["AddressInUse", "UDPPeer", "UDPPlant"]

_MOST = 1000  # datagrams taken in one reading, so that a flood cannot hold the loop


class AddressInUse(TriviumError, OSError):
    """A UDP address cannot be opened."""


@final
class UDPPlant:
    """The loop's end: commands go to one address, and only datagrams from that address are accepted.

    The peer answers whoever sends it commands. Anybody who can send from the peer's address can control the plant: the
    checksum detects transmission errors, not forgery, so use this on a network that you trust.

    Args:
        task: whose state, or outputs if it has a measurement, are measured, and whose input is commanded.
        host, port: of the peer.

    Attributes:
        rejected: number of datagrams that were not valid measurements.

    Raises:
        AddressInUse: the address does not exist or cannot be opened.
    """

    def __init__(self, task: Task, host: str, port: int) -> None:
        expect(task, Task, "task", "such as systems.library.cartpole()")
        self._values, self._inputs = len(reported_signals(task)), len(task.plant.input)
        self._socket = _opened(host, port, is_server=False)
        self._sequence, self.rejected, self._has_heard = 0, 0, False

    def read(self) -> Measurement | None:
        """The newest measurement that has arrived since the last call, None if there is none."""
        if not self._has_heard:
            self._send(np.full(self._inputs, np.nan))  # a command that commands nothing: it makes the peer answer
        newest: Datagram | None = None
        for _ in range(_MOST):
            data = _received(self._socket, self._values)
            if data is None:
                break
            datagram = decode(data, Kind.MEASUREMENT, self._values)
            if datagram is None:
                self.rejected += 1
            elif newest is None or datagram.sequence > newest.sequence:
                newest = datagram
        if newest is None:
            return None
        self._has_heard = True
        return Measurement(newest.values, newest.sequence, newest.time)

    def write(self, u: np.ndarray) -> None:
        self._send(u)

    def close(self) -> None:
        self._socket.close()

    def _send(self, u: np.ndarray) -> None:
        self._sequence += 1
        _sent(self._socket, encode(Kind.COMMAND, u, self._sequence, time.monotonic_ns()), None)


@final
class UDPPeer:
    """The plant's end: receives commands and sends measurements to whoever sent the last valid command.

    Args:
        task: whose state, or outputs if it has a measurement, are measured, and whose input is commanded.
        port: to listen on; 0 for any that is free.
        host: address to listen on; default: this machine alone.

    Attributes:
        rejected: number of datagrams that were not valid commands.

    Raises:
        AddressInUse: the address does not exist or cannot be opened.
    """

    def __init__(self, task: Task, port: int, host: str = "127.0.0.1") -> None:
        expect(task, Task, "task", "such as systems.library.cartpole()")
        self._values, self._inputs = len(reported_signals(task)), len(task.plant.input)
        self._socket = _opened(host, port, is_server=True)
        self._client: tuple[str, int] | None = None
        self._sequence, self._last, self.rejected = 0, -1, 0

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def receive(self) -> np.ndarray | None:
        """The newest command (m,) that has arrived since the last call, None if there is none."""
        newest = None
        for _ in range(_MOST):
            try:
                data, sender = self._socket.recvfrom(size(self._inputs) + 1)
            except OSError:
                break
            datagram = decode(data, Kind.COMMAND, self._inputs)
            if datagram is None:
                self.rejected += 1
                continue
            if sender != self._client:  # another loop, which counts from the beginning
                self._client, self._last = sender, -1
            if datagram.sequence > self._last:
                self._last = datagram.sequence
                newest = datagram.values if np.isfinite(datagram.values).all() else newest
        return newest

    def send(self, x: np.ndarray) -> None:
        """Sends a state (n,), or outputs (p,) with NaN where a signal is not reported; nothing before the first
        command."""
        if self._client is not None:
            self._sequence += 1
            data = encode(Kind.MEASUREMENT, x, self._sequence, time.monotonic_ns())
            _sent(self._socket, data, self._client)

    def close(self) -> None:
        self._socket.close()


def _opened(host: str, port: int, is_server: bool) -> socket.socket:
    expect_whole(port, "port", least=0 if is_server else 1, most=65535)
    if not isinstance(host, str):
        raise InvalidValue(f"host = {shown(host)}; expected a name or an address, such as '127.0.0.1'")
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.setblocking(False)
    try:
        if is_server:
            opened.bind((host, port))
        else:
            opened.connect((host, port))  # the kernel discards datagrams from anywhere else
    except OSError as error:
        opened.close()
        raise AddressInUse(f"udp://{host}:{port} cannot be opened: {error.strerror or error}") from error
    return opened


def _received(opened: socket.socket, count: int) -> bytes | None:
    """The next datagram; None if there is none. A refused connection, which means that the peer is away, is none."""
    try:
        return opened.recv(size(count) + 1)
    except OSError:
        return None


def _sent(opened: socket.socket, data: bytes, to: tuple[str, int] | None) -> None:
    """Sends, unless the network cannot: a lost datagram is what the receiver has to expect anyway."""
    try:
        if to is None:
            opened.send(data)
        else:
            opened.sendto(data, to)
    except OSError:
        pass
