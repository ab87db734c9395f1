"""`python -m bench.scenarios frozen|joiners`: what slow and late receivers cost the others.

frozen: 50 receivers, a tenth of which read nothing, while UPDATEs flow at a steady rate. The delay of the others is
compared with that of a run in which nobody is frozen; then the frozen ones read on and must hold what all hold.

joiners: a full table is being loaded; in the middle of it 50 receivers join at once, with a hold time of 9 s and the
daemon and everybody else on one processor. Every session must stay, and every receiver must hold the table.
"""

import argparse
import contextlib
import json
import os
import select
import socket
import statistics
import struct
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import attrs

from bench.daemons import ADDRESS, AS, FIRST_AS, Bird, CompiledTrioBgp, Daemon, TrioBgp, client_address
from bench.table import first_peer
from tests.harness import decoder

PORT = 20300
PREFIXES = 20_000


@attrs.define(eq=False)
class Receiver:
    """One session, read as fast as it comes unless it is frozen."""

    connection: socket.socket
    octets: bytearray = attrs.Factory(bytearray)
    frozen: bool = False
    up: bool = False
    ended: str = ""
    messages: list[bytes] = attrs.Factory(list)
    keep: bool = True
    """Keep whole UPDATEs, for the table in the end."""

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
        if self.keep:
            self.messages += found
        return found

    def table(self) -> dict[bytes, bytes]:
        """What it holds: IPv4 prefixes with their attribute blocks."""
        held: dict[bytes, bytes] = {}
        for whole in self.messages:
            for _, prefix in decoder.Update(whole).withdrawn:
                held.pop(prefix, None)
            size = 21 + int.from_bytes(whole[19:21], "big")
            block = whole[size + 2 : size + 2 + int.from_bytes(whole[size : size + 2], "big")]
            for prefix, _ in decoder.prefixes(whole[size + 2 + len(block) :]):
                held[prefix] = block
        return held


def dial(index: int, port: int, hold_time: int = 0) -> Receiver:
    """Connect as client `index` and say OPEN and KEEPALIVE."""
    connection = socket.socket()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.bind((client_address(index), 0))
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


def update(sequence: int) -> bytes:
    """An UPDATE of one size: a prefix out of `PREFIXES`, and the sequence as MED."""
    prefix = bytes((24, 20, sequence % PREFIXES >> 8, sequence % PREFIXES & 0xFF))
    block = decoder.attribute(0x40, 1, b"\0") + decoder.as_path(FIRST_AS, 7)
    block += decoder.attribute(0x80, 4, struct.pack(">I", sequence))
    return decoder.announce([(decoder.V4, prefix)], block, b"\xc0\0\2\1")


def frozen(kind: type[Daemon], port: int, receivers: int, part: float, seconds: float, rate: int) -> dict[str, Any]:
    """One run; with `part` 0 nobody is frozen."""
    with tempfile.TemporaryDirectory() as name:
        daemon = kind(Path(name), port, receivers + 1)
        processors = sorted(os.sched_getaffinity(0))
        daemon.start(processors[0])
        os.sched_setaffinity(0, {processors[-1]})
        try:
            sender = dial(0, port)
            others = [dial(index + 1, port) for index in range(receivers)]
            all_up([sender, *others])
            count = int(receivers * part)
            for receiver in others[:count]:
                receiver.frozen = True
            return _flow(daemon, sender, others, seconds, rate)
        finally:
            daemon.stop()
            os.sched_setaffinity(0, set(processors))


def _flow(daemon: Daemon, sender: Receiver, others: list[Receiver], seconds: float, rate: int) -> dict[str, Any]:
    poller = select.epoll()
    by_fd = {receiver.connection.fileno(): receiver for receiver in others}
    for fd, receiver in by_fd.items():
        if not receiver.frozen:
            poller.register(fd, select.EPOLLIN)
    sent: list[float] = []
    delays: list[float] = []
    counts = dict.fromkeys(by_fd, 0)
    watched = next(fd for fd, receiver in by_fd.items() if not receiver.frozen)
    begun = time.monotonic()
    cpu = daemon.cpu()
    while (now := time.monotonic()) - begun < seconds or any(
        counts[fd] < len(sent) for fd, receiver in by_fd.items() if not receiver.frozen
    ):
        if now - begun > seconds + 60:
            raise RuntimeError("receivers that are not frozen do not get everything")
        due = min(int((now - begun) * rate), int(seconds * rate))
        if due > len(sent):
            batch = b"".join(update(sequence) for sequence in range(len(sent), due))
            sender.connection.setblocking(True)
            sender.connection.sendall(batch)
            sender.connection.setblocking(False)
            sent += [time.monotonic()] * (due - len(sent))
        for fd, _ in poller.poll(0.002):
            found = by_fd[fd].read()
            arrived = time.monotonic()
            for _ in found:
                # Each announcement is new to everybody, so the n-th to arrive is the n-th that was sent.
                if counts[fd] < len(sent):
                    delays.append(arrived - sent[counts[fd]])
                counts[fd] += 1
            if by_fd[fd].ended:
                raise RuntimeError(f"a session ended: {by_fd[fd].ended}")
    used, memory = daemon.cpu() - cpu, daemon.memory()
    expected = by_fd[watched].table()
    # The frozen ones read on until they hold what all hold.
    thawed = [receiver for receiver in others if receiver.frozen]
    deadline = time.monotonic() + 60
    while thawed and time.monotonic() < deadline:
        for receiver in thawed:
            receiver.read()
        if all(receiver.table() == expected for receiver in thawed):
            break
        time.sleep(0.2)
    if any(receiver.ended or receiver.table() != expected for receiver in others):
        raise RuntimeError("a receiver does not hold what the others do")
    ordered = sorted(delays)
    return {
        "updates": len(sent),
        "p50_ms": round(1000 * statistics.median(ordered), 3),
        "p99_ms": round(1000 * ordered[int(len(ordered) * 0.99)], 3),
        "max_ms": round(1000 * ordered[-1], 3),
        "cpu": round(used, 2),
        "memory": memory,
    }


def joiners(kind: type[Daemon], port: int, receivers: int, folder: Path) -> dict[str, Any]:
    """One run on one processor."""
    table, _, prefixes = first_peer("rrc06-2010-full-table", folder, AS)
    octets = table.read_bytes()
    processors = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        daemon = kind(Path(name), port, receivers + 6)
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
                    receiver.keep = False
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
                "memory": daemon.memory(),
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
    """Run one scenario for each daemon and print what was measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.scenarios", description=__doc__)
    parser.add_argument("scenario", choices=["frozen", "joiners"])
    parser.add_argument("--seconds", type=float, default=10.0, help="frozen: how long UPDATEs flow")
    parser.add_argument("--rate", type=int, default=1000, help="frozen: UPDATEs a second")
    parser.add_argument("--receivers", type=int, default=50)
    parser.add_argument("--daemons", nargs="+", default=["trio-bgp", "trio-bgp compiled", "BIRD"])
    arguments = parser.parse_args()
    port = PORT
    for kind in (TrioBgp, CompiledTrioBgp, Bird):
        if kind.name not in arguments.daemons:
            continue
        if arguments.scenario == "joiners":
            port += 1
            folder = Path(__file__).resolve().parent / "out"
            folder.mkdir(exist_ok=True)
            print(json.dumps({"daemon": kind.name, **joiners(kind, port, arguments.receivers, folder)}), flush=True)
            continue
        runs = {}
        for part in (0.0, 0.1):
            port += 1
            runs[part] = frozen(kind, port, arguments.receivers, part, arguments.seconds, arguments.rate)
            print(json.dumps({"daemon": kind.name, "frozen": part, **runs[part]}), flush=True)
        ratio = runs[0.1]["p99_ms"] / runs[0.0]["p99_ms"]
        print(f"{kind.name}: p99 with a tenth frozen is {ratio:.2f} of p99 without", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
