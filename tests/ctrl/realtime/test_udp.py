"""A plant over UDP: both ends, and what a network or somebody else may send."""

from __future__ import annotations

import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctrl import LQR
from ctrl.realtime import Loop, LoopSettings, RealClock, UDPPeer, UDPPlant
from ctrl.realtime.datagrams import Kind, decode, encode, size
from systems import TriviumError
from tests.ctrl.realtime.plants import START, TASK, plant


@pytest.fixture
def ends() -> Iterator[tuple[UDPPeer, UDPPlant]]:
    peer = UDPPeer(TASK, 0)
    connection = UDPPlant(TASK, "127.0.0.1", peer.port)
    yield peer, connection
    peer.close()
    connection.close()


def greeted(peer: UDPPeer, connection: UDPPlant) -> None:
    assert connection.read() is None
    assert peer.receive() is None  # the greeting commands nothing
    assert peer.rejected == 0


@given(
    st.lists(st.floats(allow_nan=False), max_size=20),
    st.integers(0, 2**64 - 1),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from(Kind),
)
def test_what_is_sent_is_read(values: list[float], sequence: int, time: int, kind: Kind) -> None:
    data = encode(kind, np.array(values), sequence, time)
    assert len(data) == size(len(values))
    read = decode(data, kind, len(values))
    assert read is not None
    assert (read.values.tolist(), read.sequence, read.time) == (values, sequence, time)


@given(st.data())
def test_one_changed_bit_or_byte_is_noticed(data: st.DataObject) -> None:
    good = encode(Kind.COMMAND, np.array([1.0, -2.0]), 7, 9)
    at, change = data.draw(st.integers(0, len(good) - 1)), data.draw(st.integers(1, 255))
    bad = bytearray(good)
    bad[at] ^= change
    assert decode(bytes(bad), Kind.COMMAND, 2) is None


@given(st.binary(max_size=100))
def test_any_bytes_are_refused(data: bytes) -> None:
    assert decode(data, Kind.MEASUREMENT, 4) is None


@pytest.mark.parametrize("change", ["kind", "count", "magic", "reserved", "short", "long"])
def test_a_datagram_of_another_form_is_refused_even_with_the_right_checksum(change: str) -> None:
    head = {"magic": b"TRV1", "kind": 2, "reserved": 0, "count": 2}
    assert decode(_made(**head), Kind.COMMAND, 2) is not None
    if change in ("short", "long"):
        data = _made(**head)
        assert decode(data[:-1] if change == "short" else data + b"0", Kind.COMMAND, 2) is None
    else:
        assert decode(_made(**head | {change: b"TRV2" if change == "magic" else 1}), Kind.COMMAND, 2) is None


def _made(magic: bytes, kind: int, reserved: int, count: int) -> bytes:
    body = struct.pack("<4sBBHQq2d", magic, kind, reserved, count, 7, 9, 1.0, 2.0)
    return body + struct.pack("<I", zlib.crc32(body))


def test_the_newest_measurement_and_command_count(ends: tuple[UDPPeer, UDPPlant]) -> None:
    peer, connection = ends
    greeted(peer, connection)
    for i in range(3):
        peer.send(START + i)
        connection.write(np.array([float(i)]))
    measured = connection.read()
    assert measured is not None
    assert measured.x.tolist() == (START + 2).tolist()
    assert measured.sequence == 3
    assert peer.receive() == 2.0
    assert connection.read() is None
    assert peer.receive() is None


def test_strangers_are_not_heard(ends: tuple[UDPPeer, UDPPlant]) -> None:
    """Neither by the loop, which is connected to one address, nor by the plant, if they speak another language."""
    peer, connection = ends
    greeted(peer, connection)
    address = connection._socket.getsockname()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(encode(Kind.MEASUREMENT, np.full(4, 9.0), 10**6, 1), address)
        for data in (b"", b"hello", bytes(size(1)), b"x" * 60000, encode(Kind.COMMAND, np.array([1.0, 2.0]), 5, 5)):
            stranger.sendto(data, ("127.0.0.1", peer.port))
        time.sleep(0.05)
        assert peer.receive() is None
        assert peer.rejected == 5
        assert connection.read() is None
    peer.send(START)
    peer._socket.sendto(b"garbage", address)
    measured = connection.read()
    assert measured is not None
    assert measured.sequence == 1
    assert connection.rejected == 1


def test_commands_that_are_not_finite_or_older_are_not_applied(ends: tuple[UDPPeer, UDPPlant]) -> None:
    peer, connection = ends
    connection.write(np.array([np.nan]))
    assert peer.receive() is None
    connection.write(np.array([3.0]))
    assert peer.receive() == 3.0
    connection._sequence = 0  # one that was overtaken on its way
    connection.write(np.array([4.0]))
    assert peer.receive() is None


def test_a_peer_that_is_away_is_a_missing_measurement() -> None:
    peer = UDPPeer(TASK, 0)
    port = peer.port
    peer.close()
    connection = UDPPlant(TASK, "127.0.0.1", port)
    for _ in range(5):
        connection.write(np.zeros(1))
        assert connection.read() is None
    connection.close()


def test_addresses_that_cannot_be_opened() -> None:
    with pytest.raises(TriviumError, match="port"):
        UDPPlant(TASK, "127.0.0.1", 0)
    with pytest.raises(TriviumError, match="host"):
        UDPPlant(TASK, 5, 9000)  # type: ignore[arg-type]
    with pytest.raises(TriviumError, match="cannot be opened"):
        UDPPlant(TASK, "no.such.host.invalid", 9000)
    first = UDPPeer(TASK, 0)
    with pytest.raises(TriviumError, match="cannot be opened"):
        UDPPeer(TASK, first.port)
    first.close()


def test_a_loop_over_udp() -> None:
    """The peer runs in a thread, faster than the loop, and is away until the samples have begun."""
    simulated, end = plant(RealClock()), threading.Event()
    peer = UDPPeer(TASK, 0)
    loops: list[Loop] = []

    def serve() -> None:
        while not (loops and loops[0].log.samples >= 3) and not end.wait(0.005):
            pass
        while not end.wait(0.01):
            u = peer.receive()
            if u is not None:
                simulated.write(u)
            peer.send(simulated._x[0])
            simulated.read()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        connection = UDPPlant(TASK, "127.0.0.1", peer.port)
        settings = LoopSettings(seconds=2.0, in_process=True)
        loops.append(Loop(TASK, LQR, connection, settings))
        run = loops[0].run()
    finally:
        end.set()
        thread.join()
    numbers = run.summary
    assert numbers.measurements["fresh"] > 15
    assert numbers.inputs["safe"] >= 1
    assert numbers.inputs["controller"] > 15
    assert connection.rejected == peer.rejected == 0
