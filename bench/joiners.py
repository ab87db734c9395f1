"""`python -m bench.joiners`: a full table is being loaded; in the middle of it 50 receivers join at once.

Hold time 9 s; the daemon and everybody else are on one processor. Every session must stay, and every receiver must hold
the table in the end.
"""

import argparse
import contextlib
import json
import os
import select
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import attrs

from bench.build import ROOT
from bench.daemons import ADDRESS, DAEMONS, FIRST_AS, Daemon, Peer
from bench.table import Table, real
from tests.harness import decoder

PORT = 20300


@attrs.define(eq=False)
class Receiver:
    """One session, read as fast as it comes."""

    connection: socket.socket
    octets: bytearray = attrs.Factory(bytearray)
    up: bool = False
    ended: str = ""

    def read(self) -> list[bytes]:
        """UPDATEs that are there now."""
        try:
            received = self.connection.recv(1 << 20)
        except BlockingIOError:
            return []
        except OSError as error:
            received, self.ended = b"", str(error)
        if not received:
            self.ended = self.ended or "closed"
            return []
        self.octets += received
        found = []
        at = 0
        while len(self.octets) - at >= 19:
            size = self.octets[at + 16] << 8 | self.octets[at + 17]
            if len(self.octets) - at < size:
                break
            kind = self.octets[at + 18]
            if kind == decoder.KEEPALIVE:
                self.up = True
            elif kind == decoder.NOTIFICATION:
                self.ended = f"NOTIFICATION {bytes(self.octets[at + 19 : at + size]).hex()}"
            elif kind == decoder.UPDATE:
                found.append(bytes(self.octets[at : at + size]))
            at += size
        del self.octets[:at]
        return found


def dial(index: int, port: int, hold_time: int = 0) -> Receiver:
    """Connect as client `index` and say OPEN and KEEPALIVE."""
    connection = socket.socket()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.bind((Peer(index).address, 0))
    connection.connect((ADDRESS, port))
    connection.sendall(decoder.open_message(FIRST_AS + index, 0x0A000001 + index, hold_time=hold_time))
    connection.sendall(decoder.message(decoder.KEEPALIVE))
    connection.setblocking(False)
    return Receiver(connection)


def all_up(receivers: list[Receiver]) -> None:
    """Wait until every session is established."""
    deadline = time.monotonic() + 20
    while not all(receiver.up for receiver in receivers):
        for receiver in receivers:
            receiver.read()
            if receiver.ended or time.monotonic() > deadline:
                raise RuntimeError(f"a session did not come up: {receiver.ended}")
        time.sleep(0.01)


def joiners(kind: type[Daemon], port: int, receivers: int, table: Table) -> dict[str, Any]:
    """One run on one processor."""
    prefixes, octets = table.prefixes, table.best.read_bytes()
    processors = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        daemon = kind(Path(name), port, [Peer(index) for index in range(receivers + 6)])
        daemon.start(processors[0])
        os.sched_setaffinity(0, {processors[0]})  # on the same one: what reads is the load
        try:
            sender = dial(0, port, 9)
            early = [dial(index + 1, port, 9) for index in range(5)]
            all_up([sender, *early])
            late: list[Receiver] = []
            begun = time.monotonic()
            position, said, joined = 0, begun, 0.0
            poller = select.epoll()
            everybody = {receiver.connection.fileno(): receiver for receiver in (sender, *early)}
            for fd in everybody:
                poller.register(fd, select.EPOLLIN)
            held: dict[int, set[bytes]] = {}
            while (
                any(len(held.get(fd, ())) < prefixes for fd in everybody if fd != sender.connection.fileno())
                or not late
            ):
                now = time.monotonic()
                if now - begun > 180:
                    raise RuntimeError(f"not everybody has the table: {[len(each) for each in held.values()]}")
                if position < len(octets):
                    with_room = octets[position : position + 65536]
                    with contextlib.suppress(BlockingIOError):
                        position += sender.connection.send(with_room)
                if now - said > 2.5:
                    said = now
                    for receiver in everybody.values():
                        if receiver is sender and position < len(octets):
                            continue  # its UPDATEs say that it is alive, and a message may be under way
                        receiver.connection.setblocking(True)
                        receiver.connection.sendall(decoder.message(decoder.KEEPALIVE))
                        receiver.connection.setblocking(False)
                if not late and position > len(octets) // 2:
                    joined = now
                    late = [dial(index + 6, port, 9) for index in range(receivers)]
                    for receiver in late:
                        everybody[receiver.connection.fileno()] = receiver
                        poller.register(receiver.connection.fileno(), select.EPOLLIN)
                for fd, _ in poller.poll(0.01):
                    receiver = everybody[fd]
                    for whole in receiver.read():
                        size = 23 + int.from_bytes(whole[21:23], "big")
                        held.setdefault(fd, set()).update(_prefixes(whole, size))
                    if receiver.ended:
                        raise RuntimeError(f"a session ended: {receiver.ended}")
            return {
                "receivers": receivers,
                "wall": round(time.monotonic() - begun, 2),
                "after_joining": round(time.monotonic() - joined, 2),
                "cpu": round(daemon.cpu(), 2),
                "memory": daemon.memory()["memory"],
            }
        finally:
            daemon.stop()
            os.sched_setaffinity(0, set(processors))


def _prefixes(whole: bytes, at: int) -> list[bytes]:
    found = []
    while at < len(whole):
        size = 1 + (whole[at] + 7 >> 3)
        found.append(whole[at : at + size])
        at += size
    return found


def main() -> int:
    """Run it for each daemon and print what was measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.joiners", description=__doc__)
    parser.add_argument("--receivers", type=int, default=50)
    parser.add_argument("--daemons", nargs="+", choices=DAEMONS, default=["trio-bgp", "trio-bgp compiled", "BIRD"])
    arguments = parser.parse_args()
    table = real("rrc06-2010-full-table", ROOT / "bench" / "build" / "tables")
    for port, name in enumerate(arguments.daemons, PORT):
        print(json.dumps({"daemon": name, **joiners(DAEMONS[name], port, arguments.receivers, table)}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
