"""Slow receivers and late joiners beside others who are neither, in virtual time and on one real processor."""

import contextlib
import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import trio
from trio.testing import MockClock

from tests.harness import decoder
from tests.harness.decoder import V4, Attribute, Route
from tests.harness.lab import lab, peer_settings
from trio_bgp.passthrough.pool import LARGE_SLAB

SECONDS = 60
RATE = 50
PREFIXES = 400
LIMIT = 20_000
FROZEN = (3, 4)
OTHERS = range(5, 22)
HOLD_TIME = 90


def update(sequence: int) -> tuple[bytes, Route]:
    """The UPDATE of this number, no two alike, and the prefix it announces or withdraws."""
    route = (V4, bytes((24, 20, sequence % PREFIXES >> 8, sequence % PREFIXES & 255)))
    if sequence % 7 == 0:
        return decoder.withdraw([route]), route
    block = decoder.attribute(0x40, 1, b"\0") + decoder.as_path(65001, 7)
    block += decoder.attribute(0x80, 4, sequence.to_bytes(4, "big"))
    return decoder.announce([route], block, b"\xc0\0\2\1"), route


async def test_a_tenth_of_the_receivers_freezes_for_a_minute(autojump_clock: MockClock) -> None:
    """Others get each UPDATE in the instant it is sent; what the frozen ones cost is bounded; then they converge."""
    numbers = (1, 2, *FROZEN, *OTHERS)
    async with lab(*(peer_settings(each, queue_limit=LIMIT, hold_time=HOLD_TIME) for each in numbers)) as the_lab:
        one = await the_lab.join(1, hold_time=HOLD_TIME, keepalives=True)
        others = [await the_lab.join(each, hold_time=HOLD_TIME, keepalives=True) for each in (2, *OTHERS)]
        frozen = [await the_lab.join(each, hold_time=HOLD_TIME, keepalives=True, window=3000) for each in FROZEN]
        for client in (*others, *frozen):
            client.updates.clear()
        for client in frozen:
            client.freeze()
        pool = the_lab.speaker.forwarder.board.pool
        members = [the_lab.member(each) for each in FROZEN]
        oracle: dict[Route, tuple[Attribute, ...]] = {}
        sent: list[bytes] = []
        for tick in range(SECONDS * 10):
            for sequence in range(tick * RATE // 10, (tick + 1) * RATE // 10):
                octets, route = update(sequence)
                found = decoder.Update(octets)
                known = route in oracle
                oracle.update(found.announced)
                if not found.announced:
                    oracle.pop(route, None)
                if found.announced or known:
                    sent.append(octets)
                await one.say(octets)
            await the_lab.settle()
            if tick % 50 == 0:
                assert all(len(client.updates) == len(sent) for client in others), "somebody waits for the frozen ones"
            assert pool.outstanding_octets <= 64 * LARGE_SLAB
            for member in members:
                assert member.outbound.queued <= LIMIT + 4096
                assert sum(map(len, (member.behind or {}).values())) <= PREFIXES
            await trio.sleep(0.1)
        assert all(client.updates == sent for client in others)
        shown = {each.name: each for each in the_lab.speaker.statistics()}
        for each in FROZEN:
            status = shown[f"p{each}"]
            assert status.behind
            assert status.detached == 1
            assert status.queued > 0
            assert status.lag > SECONDS - 10
        assert not any(shown[f"p{each}"].detached for each in OTHERS)
        for client in frozen:
            client.thawed.set()
        await the_lab.settle()
        for client in frozen:
            assert client.table == oracle
            assert len(client.updates) < len(sent) / 2, "superseded routes were sent"
            assert not client.closed.is_set()
        assert not any(each.behind for each in the_lab.speaker.statistics())


TABLE = 300_000
JOINERS = 40
SHORT_HOLD_TIME = 3
"""The shortest there is, in seconds: each second a KEEPALIVE must come and go."""


class Peer:
    """One session over a real socket, which reads all that comes."""

    def __init__(self, number: int, port: int, connections: contextlib.ExitStack) -> None:
        self.connection = connections.enter_context(socket.socket())
        self.connection.bind((f"127.0.0.{10 + number}", 0))
        self.connection.connect(("127.0.0.1", port))
        octets = decoder.open_message(65001, 0x0A000001 + number, hold_time=SHORT_HOLD_TIME)
        self.connection.sendall(octets + decoder.message(decoder.KEEPALIVE))
        self.connection.setblocking(False)
        self.octets = 0
        self.last = time.monotonic()
        self.silence = 0.0
        self.ended = False
        self.waiting = b""
        self._rest = b""
        self.end_of_rib = False

    def read(self) -> None:
        """Read what is there."""
        received = self.connection.recv(1 << 20)
        now = time.monotonic()
        self.silence, self.last = max(self.silence, now - self.last), now
        self.ended = self.ended or not received
        self.octets += len(received)
        self._rest = (self._rest + received)[-len(received) - 22 :]
        self.end_of_rib = self.end_of_rib or decoder.update() in self._rest

    def write(self) -> None:
        """Send some of what waits."""
        if self.waiting:
            self.waiting = self.waiting[self.connection.send(self.waiting[: 1 << 18]) :]


def test_nobody_runs_out_of_time_on_one_loaded_processor(tmp_path: Path) -> None:
    """A full table comes in, 40 peers join in the middle of it, then it is withdrawn: hold times of 3 s hold."""
    port = 20390
    (tmp_path / "config.toml").write_text(
        f'[speaker]\nlocal_as = 65000\nbgp_identifier = "10.255.0.1"\nlisten = ["127.0.0.1:{port}"]\n'
        f'[control]\nsocket = "{tmp_path}/s"\n[log]\nlevel = "warning"\n[[peers]]\nname = "all"\n'
        f'range = "127.0.0.0/24"\npeer_as = 65001\nhold_time = {SHORT_HOLD_TIME}\n'
    )
    processor = min(os.sched_getaffinity(0))
    with (tmp_path / "log").open("wb") as log:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "trio_bgp", "run", str(tmp_path / "config.toml")],
            stderr=log,
            preexec_fn=lambda: os.sched_setaffinity(0, {processor}),
        )
    peers: list[Peer] = []
    connections = contextlib.ExitStack()
    try:
        deadline = time.monotonic() + 20
        while not (tmp_path / "s").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        block = decoder.attribute(0x40, 1, b"\0")
        table = b"".join(
            decoder.announce(
                [(V4, b"\x18" + number.to_bytes(3, "big")) for number in range(start, start + 5)],
                block + decoder.as_path(65001, start + 1),
                b"\xc0\0\2\1",
            )
            for start in range(0x140000, 0x140000 + TABLE, 5)
        )
        peers = [Peer(number, port, connections) for number in range(2)]
        pump(peers, lambda: all(peer.octets > 60 for peer in peers))
        source, first = peers
        source.waiting = table
        pump(peers, lambda: first.octets > len(table) // 4)
        peers += [Peer(number, port, connections) for number in range(2, JOINERS + 2)]
        pump(peers, lambda: first.octets >= len(table) and all(peer.end_of_rib for peer in peers))
        least = TABLE * 4
        before = [peer.octets for peer in peers]
        source.connection.close()
        peers.remove(source)
        pump(peers, lambda: all(peer.octets - then >= least for peer, then in zip(peers, before[1:], strict=True)))
        assert max(peer.silence for peer in peers) < SHORT_HOLD_TIME - 0.5
    finally:
        connections.close()
        daemon.terminate()
        daemon.wait(20)
    assert (tmp_path / "log").read_text() == ""


def pump(peers: list[Peer], done: Callable[[], bool]) -> None:
    """Read and write until it is done, with a KEEPALIVE each second."""
    deadline, keepalive = time.monotonic() + 60, 0.0
    with selectors.DefaultSelector() as selector:
        for peer in peers:
            selector.register(
                peer.connection, selectors.EVENT_READ | (selectors.EVENT_WRITE if peer.waiting else 0), peer
            )
        while not done():
            assert time.monotonic() < deadline
            for key, events in selector.select(0.1):
                if events & selectors.EVENT_READ:
                    key.data.read()
                    assert not key.data.ended, "a session ended"
                if events & selectors.EVENT_WRITE:
                    key.data.write()
                    if not key.data.waiting:
                        selector.modify(key.fileobj, selectors.EVENT_READ, key.data)
            if time.monotonic() - keepalive > SHORT_HOLD_TIME / 3:
                keepalive = time.monotonic()
                for peer in peers:
                    if not peer.waiting:
                        peer.connection.send(decoder.message(decoder.KEEPALIVE))
