"""`python -m bench.smoke`: work counted instead of timed, on fixed inputs, against what it was when this was written.

Counts do not depend on how busy a machine is, so a build can fail by them: calls of functions, memory blocks kept,
pieces in a receiver's queue, steps of tasks, system calls. Those of the first part, without input or output, are the
same each time; those of a daemon over real sockets vary a little with when octets arrive.
"""

import argparse
import cProfile
import gc
import json
import math
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import trio
import trio.testing

from bench.daemons import AS, FIRST_AS
from bench.table import made
from tests.harness import decoder
from trio_bgp.passthrough.mask import NO_REQUIREMENT
from trio_bgp.passthrough.message import PassthroughMessage
from trio_bgp.passthrough.pool import LARGE_SLAB, BufferPool
from trio_bgp.routing.catch_up import Progress, Removal, Replay
from trio_bgp.routing.forward import RoutingCore
from trio_bgp.routing.group import Member
from trio_bgp.runtime.session.transport import SocketTransport
from trio_bgp.runtime.speaker import Speaker
from trio_bgp.session.negotiation import Negotiated
from trio_bgp.settings import PeerSettings, Settings, SpeakerSettings
from trio_bgp.wire.header import scan
from trio_bgp.wire.numbers import IPV4_UNICAST

__all__ = ["LIMITS", "allowed", "count_core", "count_daemon", "count_variant", "excesses"]

LIMITS = Path(__file__).with_name("smoke.json")
PREFIXES = 20_000
RECEIVERS = 10
CHURN = 300
SLACK = {"core": (1.02, 5), "daemon": (1.25, 5)}
"""How much more than what was counted is allowed, by the first word of a count's name: times, plus."""
SPEAKER = SpeakerSettings(local_as=AS, bgp_identifier=0x0AFF0001)

Counts = dict[str, int]


class _Queue:
    """Counts what it is given and releases it."""

    queued = 0
    waiting = 0
    drained: Callable[[], None] | None = None

    def __init__(self) -> None:
        self.pieces = 0

    def put(self, item: bytes | PassthroughMessage) -> None:
        self.pieces += 1
        if isinstance(item, PassthroughMessage):
            item.release()

    def put_all(self, items: Sequence[PassthroughMessage]) -> None:
        for item in items:
            self.put(item)


def _settings(index: int) -> PeerSettings:
    return PeerSettings(
        name=f"c{index}",
        address=ip_address(f"127.0.1.{index + 1}"),
        peer_as=FIRST_AS + index,
        passive=True,
        hold_time=0,
        enforce_first_as=False,
        families=(IPV4_UNICAST,),
    )


def _member(index: int, *, asn4: bool = True) -> Member:
    settings = _settings(index)
    negotiated = Negotiated(
        peer_as=settings.peer_as, bgp_identifier=index + 1, hold_time=0, asn4=asn4, families=frozenset({IPV4_UNICAST})
    )
    address = ip_address(f"127.0.1.{index + 1}")
    return Member(
        name=settings.name,
        address=address,
        settings=settings,
        negotiated=negotiated,
        outbound=_Queue(),
        speaker=SPEAKER,
    )


def _feed(server: RoutingCore, member: Member, octets: bytes, pool: BufferPool) -> None:
    """The octets as reads of a slab each."""
    at = 0
    while at < len(octets):
        slab = pool.take(LARGE_SLAB)
        size = min(LARGE_SLAB, len(octets) - at)
        slab.data[:size] = octets[at : at + size]
        found = scan(slab.data, 0, size, 4096)
        message = PassthroughMessage(slab, 0, found.end, len(found.offsets), NO_REQUIREMENT)
        server.updates(member, message, found.offsets)
        message.release()
        slab.release()
        at += found.end


def count_core(senders: Sequence[bytes]) -> Counts:
    """Two tables, a joiner, the first sender's end: verdicts and packing alone, without tasks and sockets."""
    counts: Counts = {}
    server = RoutingCore(SPEAKER, lambda *_: None, lambda *_: None)
    members = [_member(index) for index in range(len(senders) + RECEIVERS)]
    for member in members:
        server.join(member)
    pool = BufferPool()
    joiner = _member(len(members))

    def pieces(member: Member) -> int:
        queue = member.outbound
        return queue.pieces if isinstance(queue, _Queue) else 0

    @contextmanager
    def counted(name: str, receiver: Member = members[-1]) -> Iterator[None]:
        gc.collect()
        blocks, before = sys.getallocatedblocks(), pieces(receiver)
        profile = cProfile.Profile()
        profile.enable()
        yield
        profile.disable()
        counts[f"core {name}: calls"] = sum(entry.callcount for entry in profile.getstats())
        del profile
        gc.collect()
        counts[f"core {name}: blocks kept"] = max(0, sys.getallocatedblocks() - blocks)
        counts[f"core {name}: queue entries"] = pieces(receiver) - before

    for number, octets in enumerate(senders):
        with counted("a table" if not number else "the same prefixes again"):
            _feed(server, members[number], octets, pool)
    with counted("a joiner", joiner):
        server.join(joiner)
        replay = Replay(server, IPV4_UNICAST, dict(joiner.context.views)[IPV4_UNICAST], refresh=False)
        replay.join(joiner)
        while replay.step()[0] is not Progress.DONE:
            pass
    with counted("the first sender's end"):
        server.leave(members[0])
        removal = Removal(server, members[0].source)
        while removal.step() is not Progress.DONE:
            pass
    return counts


def count_variant(octets: bytes, receivers: int, old: int) -> int:
    """Calls to pass a table on to so many receivers, of which `old` have 2-octet AS numbers."""
    server = RoutingCore(SPEAKER, lambda *_: None, lambda *_: None)
    members = [_member(index, asn4=index <= receivers - old) for index in range(1 + receivers)]
    for member in members:
        server.join(member)
    profile = cProfile.Profile()
    profile.enable()
    _feed(server, members[0], octets, BufferPool())
    profile.disable()
    return sum(entry.callcount for entry in profile.getstats())


class _CountedSocket(socket.socket):
    """Counts the system calls of a session."""

    calls: Counter[str]

    def recv_into(self, *args: Any, **options: Any) -> int:
        self.calls["reads"] += 1
        return super().recv_into(*args, **options)

    def send(self, *args: Any) -> int:
        self.calls["writes"] += 1
        return super().send(*args)

    def sendmsg(self, *args: Any) -> int:
        self.calls["writes"] += 1
        return super().sendmsg(*args)


class _Steps(trio.abc.Instrument):
    """Counts the steps of the daemon's tasks."""

    def __init__(self, calls: Counter[str]) -> None:
        self.calls = calls

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task.name.startswith("trio_bgp."):
            self.calls["task steps"] += 1


class _Client:
    """The far end of a session: says OPEN and KEEPALIVE, then counts UPDATEs."""

    def __init__(self, index: int, speaker: Speaker, calls: Counter[str]) -> None:
        near, far = socket.socketpair()
        counted = _CountedSocket(fileno=near.detach())
        counted.calls = calls
        transport = SocketTransport(counted)
        transport.peer_address = f"127.0.1.{index + 1}"
        self.index = index
        self.stream = trio.SocketStream(trio.socket.from_stdlib_socket(far))
        self.updates = 0
        self.up = trio.Event()
        self.wanted = 0
        self.enough = trio.Event()
        speaker.accept(transport)

    async def run(self) -> None:
        await self.stream.send_all(decoder.open_message(FIRST_AS + self.index, self.index + 1, hold_time=0))
        await self.stream.send_all(decoder.message(decoder.KEEPALIVE))
        octets = bytearray()
        async for more in self.stream:
            octets += more
            at = 0
            while len(octets) - at >= 19 and len(octets) - at >= (size := octets[at + 16] << 8 | octets[at + 17]):
                if octets[at + 18] == decoder.UPDATE:
                    self.updates += size > 23
                    if size == 23:
                        self.up.set()  # End-of-RIB: the session is up, and nothing more comes by itself
                at += size
            del octets[:at]
            if self.updates >= self.wanted:
                self.enough.set()

    def want(self, updates: int) -> None:
        """Let `enough` be set when so many more have come."""
        self.wanted = self.updates + updates
        self.enough = trio.Event()


async def count_daemon(table: bytes) -> Counts:
    """A table, and single UPDATEs one after the other, through a whole daemon over sockets to ten receivers."""
    counts: Counts = {}
    calls: Counter[str] = Counter()
    settings = Settings(speaker=SPEAKER, peers=tuple(_settings(index) for index in range(1 + RECEIVERS)))
    speaker = Speaker(settings)
    steps = _Steps(calls)

    def note(name: str) -> None:
        for kind in ("task steps", "reads", "writes"):
            counts[f"daemon {name}: {kind}"] = calls[kind]
        calls.clear()

    async with trio.open_nursery() as nursery:
        await nursery.start(partial(speaker.run))
        clients = [_Client(index, speaker, calls) for index in range(1 + RECEIVERS)]
        for client in clients:
            nursery.start_soon(client.run)
        for client in clients:
            await client.up.wait()
        await trio.sleep(0.1)
        trio.lowlevel.add_instrument(steps)
        calls.clear()
        messages = len(scan(table, 0, len(table), 4096).offsets)
        await _pass(clients, table, messages)
        note("a table")
        for number in range(CHURN):
            await _pass(clients, _single(number), 1)
        note("single UPDATEs")
        trio.lowlevel.remove_instrument(steps)
        nursery.cancel_scope.cancel()
    return counts


async def _pass(clients: Sequence[_Client], octets: bytes, messages: int) -> None:
    for client in clients[1:]:
        client.want(messages)
    await clients[0].stream.send_all(octets)
    for client in clients[1:]:
        await client.enough.wait()
    await trio.testing.wait_all_tasks_blocked()


def _single(number: int) -> bytes:
    block = decoder.attribute(0x40, 1, b"\0") + decoder.as_path(FIRST_AS, 65100)
    block += decoder.attribute(0x80, 4, number.to_bytes(4, "big"))
    return decoder.announce([(decoder.V4, b"\x18\xcb\0\x71")], block, bytes((192, 0, 2, 1)))


def count(folder: Path) -> Counts:
    """All counts."""
    tables = made(PREFIXES, 2, folder)
    senders = [path.read_bytes() for path in tables.senders]
    variant = {"core half of 10 with 2-octet AS numbers: calls": count_variant(senders[0], 10, 5)}
    return count_core(senders) | variant | trio.run(count_daemon, senders[0])


def allowed(name: str, value: int) -> int:
    """The limit for a count of which this was seen."""
    times, plus = SLACK[name.split()[0]]
    return math.ceil(value * times) + (100 if "blocks" in name else plus)


def excesses(counts: Counts, limits: Counts) -> list[str]:
    """What is above its limit, or has none, in words."""
    return [
        f"{name}: {value:,}, at most {limits[name]:,} are allowed" if name in limits else f"{name}: has no limit"
        for name, value in counts.items()
        if name not in limits or value > limits[name]
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Count and compare."""
    parser = argparse.ArgumentParser(prog="python -m bench.smoke", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"make what is counted now the limits in {LIMITS.name}")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        counts = count(Path(name))
    if options.write:
        LIMITS.write_text(json.dumps({each: allowed(each, value) for each, value in counts.items()}, indent=1) + "\n")
    limits = json.loads(LIMITS.read_text())
    for each, value in counts.items():
        print(f"{each:45s} {value:12,} {limits.get(each, 0):12,}")
    found = excesses(counts, limits)
    for line in found:
        print(f"MORE WORK: {line}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
