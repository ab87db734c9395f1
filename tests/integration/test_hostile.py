"""What one peer does on purpose, or by a fault, costs that peer alone: its own time, memory and session."""

import contextlib
import gc
import logging
from collections.abc import Callable, Sequence
from ipaddress import ip_network
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.harness import decoder
from tests.harness.decoder import V4, Route
from tests.harness.lab import Lab, address_of, lab, peer_settings
from tests.harness.speaker import ScriptedSpeaker
from trio_bgp.passthrough.message import PassthroughMessage
from trio_bgp.passthrough.pool import LARGE_SLAB
from trio_bgp.routing import catch_up
from trio_bgp.routing.catch_up import Replay
from trio_bgp.routing.forward import RoutingCore
from trio_bgp.routing.group import Member
from trio_bgp.runtime.forwarder import SLICE_MESSAGES
from trio_bgp.runtime.session.transport import StreamTransport
from trio_bgp.settings import AddPathSettings
from trio_bgp.wire.numbers import IPV4_UNICAST

HOP = bytes((192, 0, 2, 1))
KEEPALIVE = decoder.message(decoder.KEEPALIVE)
REFRESH = decoder.message(decoder.REFRESH, b"\0\1\0\1")


def prefix(number: int) -> Route:
    """One of 65,536 prefixes."""
    return (V4, bytes((24, 11, number >> 8, number & 255)))


def announce(*routes: Route, by: tuple[int, ...] = (65001,), more: bytes = b"") -> bytes:
    """An UPDATE that announces routes."""
    return decoder.announce(list(routes), decoder.attribute(0x40, 1, b"\0") + decoder.as_path(*by) + more, HOP)


async def large_table(client: ScriptedSpeaker, count: int) -> None:
    """Announce `count` prefixes, ten in an UPDATE."""
    for start in range(0, count, 10):
        routes = [prefix(number) for number in range(start, start + 10)]
        await client.say(announce(*routes, by=(65001, start + 1)))


class Flood(StreamTransport):
    """A connection on which, once `pour` is set, a read always finds 13,797 KEEPALIVEs, as long as `reads` lasts."""

    pour = False
    reads = 0

    def receive_now(self, view: memoryview) -> int | None:
        """See `Transport.receive_now`."""
        if not self.pour or not self.reads:
            return super().receive_now(view)
        self.reads -= 1
        octets = KEEPALIVE * (len(view) // 19)
        view[: len(octets)] = octets
        return len(octets)

    def unread(self) -> bool:
        """See `Transport.unread`."""
        return self.pour or super().unread()


async def flood(the_lab: Lab, number: int) -> tuple[ScriptedSpeaker, Flood]:
    """Join over a connection that can be flooded."""
    ours, theirs = trio.testing.memory_stream_pair()
    transport = Flood(theirs, peer_address=address_of(number))
    client = ScriptedSpeaker(ours, asn=65000 + number, identifier=number)
    the_lab.speaker.accept(transport)
    the_lab.nursery.start_soon(client.run)
    await the_lab.settle()
    return client, transport


async def test_a_flood_of_keepalives_leaves_the_others_their_turn(autojump_clock: MockClock) -> None:
    """A peer that says KEEPALIVE faster than it can be read: between any two reads all others have their turn."""
    async with lab(peer_settings(1), peer_settings(2)) as the_lab:
        one, transport = await flood(the_lab, 1)
        two = await the_lab.join(2)
        turns = []

        async def others() -> None:
            while transport.reads:
                turns.append(transport.reads)
                await trio.sleep(0.02)

        transport.reads, transport.pour = 40, True
        the_lab.nursery.start_soon(others)
        await one.say(KEEPALIVE)
        await trio.sleep(10)
        assert len(set(turns)) >= 20, "others waited while one was read again and again"
        transport.pour = False
        await one.say(announce(prefix(1)))
        await the_lab.settle()
        assert set(two.table) == {prefix(1)}


class Server:
    """A daemon's `RoutingCore` with another `updates`; the class itself cannot be changed where it is compiled."""

    def __init__(self, the_lab: Lab, updates: Callable[[RoutingCore, Member, Any, Any], None]) -> None:
        self._server = the_lab.speaker.forwarder.core
        self._updates = updates
        the_lab.speaker.forwarder.core = self  # type: ignore[assignment]

    def updates(self, member: Member, message: PassthroughMessage, offsets: Sequence[int]) -> None:
        """See `RoutingCore.updates`."""
        self._updates(self._server, member, message, offsets)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)


async def test_many_updates_in_one_read_are_handled_in_slices(autojump_clock: MockClock) -> None:
    """End-of-RIBs are the shortest UPDATEs, 11,000 in a read: others have their turn between slices of them."""
    sizes: list[int] = []

    def counted(server: RoutingCore, member: Member, message: PassthroughMessage, offsets: Sequence[int]) -> None:
        sizes.append(len(offsets))
        server.updates(member, message, offsets)

    async with lab(peer_settings(1), peer_settings(2)) as the_lab:
        Server(the_lab, counted)
        one, two = await the_lab.join(1), await the_lab.join(2)
        await one.say(decoder.update() * 5000 + announce(prefix(1)))
        await the_lab.settle()
        assert set(two.table) == {prefix(1)}
        assert sum(sizes) == 5001
        assert max(sizes) <= SLICE_MESSAGES


async def test_a_flood_of_updates_waits_for_its_turn_among_the_others(autojump_clock: MockClock) -> None:
    """One peer has sent 150,000 UPDATEs; what another says then is passed on among the next slices, not behind all."""
    at: dict[str, int] = {}
    handled = 0

    def counted(server: RoutingCore, member: Member, message: PassthroughMessage, offsets: Sequence[int]) -> None:
        nonlocal handled
        server.updates(member, message, offsets)
        handled += len(offsets)
        at.setdefault(member.name, handled)
        if member.name == "p1" and not told.is_set():
            told.set()

    told = trio.Event()
    async with lab(*(peer_settings(number) for number in (1, 2, 3))) as the_lab:
        Server(the_lab, counted)
        one, two, three = [await the_lab.join(number) for number in (1, 2, 3)]
        the_lab.nursery.start_soon(one.say, decoder.update() * 150_000)
        await told.wait()
        await two.say(announce(prefix(1), by=(65002,)))
        await the_lab.settle()
        assert set(three.table) == {prefix(1)}
        assert handled == 150_001
        assert at["p2"] <= at["p1"] + 8 * SLICE_MESSAGES


@pytest.mark.parametrize("when", ["before anything", "before others are told", "behind all"])
async def test_a_bug_met_by_one_peers_updates_ends_that_session_alone(
    when: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception amid its UPDATEs: Cease, its routes go, and nobody is left with what is not so; it is logged."""
    worse, bad = prefix(7), prefix(9)
    armed = False

    def broken(server: RoutingCore, member: Member, message: PassthroughMessage, offsets: Sequence[int]) -> None:
        if not armed:
            server.updates(member, message, offsets)
            return
        if when == "before others are told":
            data = bytes(message.octets)
            bounds = [*(offset - message.start for offset in offsets), len(data)]
            for start, end in pairwise(bounds):
                for part in server._ingress[member].read(data, start, end).parts:
                    table = server.table(part.family)
                    if part.path is not None:
                        table.announce(part.path, part.nlris)
                    elif part.lane is not None:
                        table.withdraw(part.lane, part.nlris)
        elif when == "behind all":
            server.updates(member, message, offsets)
        raise ZeroDivisionError

    async with lab(*(peer_settings(number) for number in (1, 2, 3)), crash_expected=True) as the_lab:
        Server(the_lab, broken)
        one, two, three = [await the_lab.join(number) for number in (1, 2, 3)]
        await two.say(announce(worse, bad, by=(65002, 5)))
        await one.say(announce(worse, bad, prefix(1)))
        await the_lab.settle()
        assert set(three.table) == {worse, bad, prefix(1)}
        armed = True
        # Something good, a path that now loses, one that is withdrawn, one that still wins, something more.
        await one.say(
            announce(prefix(2))
            + announce(worse, by=(65001, 1, 2, 3, 4))
            + decoder.withdraw([prefix(1)])
            + announce(bad, more=decoder.attribute(0x80, 4, b"\0\0\0\7"))
            + announce(prefix(3))
        )
        await the_lab.settle()
        assert one.notifications == [bytes((6, 8))]
        assert one.closed.is_set()
        assert not two.closed.is_set()
        assert not three.closed.is_set()
        assert set(three.table) == {worse, bad}
        for route in (worse, bad):
            assert {value for _, kind, value in three.table[route] if kind == 2} == {decoder.as_path(65002, 5)[3:]}
        assert two.table == {}
        armed = False
        one = await the_lab.join(1)
        assert set(one.table) == {worse, bad}
        await one.say(announce(prefix(4)))
        await the_lab.settle()
        assert set(three.table) == {worse, bad, prefix(4)}
    (line,) = [record for record in caplog.records if record.getMessage().startswith("update.crashed")]
    assert "name=p1" in line.getMessage()
    assert announce(prefix(2)).hex() in line.getMessage()
    assert line.exc_info


async def test_routes_that_cannot_be_written_for_somebody_cost_that_one(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception amid a replay: the session of whom it was for ends, the others and the daemon go on."""
    original = Replay.step

    def broken(self: Replay) -> Any:
        if any(member.name == "p3" for member in self.members):
            raise ZeroDivisionError
        return original(self)

    monkeypatch.setattr(Replay, "step", broken)
    async with lab(*(peer_settings(number) for number in (1, 2, 3)), crash_expected=True) as the_lab:
        one, two = await the_lab.join(1), await the_lab.join(2)
        await one.say(announce(prefix(1)))
        three = await the_lab.join(3)
        await trio.sleep(1)
        assert three.notifications == [bytes((6, 8))]
        await one.say(announce(prefix(2)))
        await the_lab.settle()
        assert set(two.table) == {prefix(1), prefix(2)}


async def test_small_messages_that_wait_do_not_keep_large_buffers(autojump_clock: MockClock) -> None:
    """Each UPDATE comes in a read of its own, and a frozen receiver has 2,000 of them in its queue."""
    async with lab(*(peer_settings(number) for number in (1, 2, 3, 4))) as the_lab:
        one, two = await the_lab.join(1), await the_lab.join(2)
        frozen = [await the_lab.join(number, window=4000) for number in (3, 4)]
        for each in frozen:
            each.freeze()
        for number in range(2000):
            await one.say(announce(prefix(number)))
            await trio.testing.wait_all_tasks_blocked()
        pool = the_lab.speaker.forwarder.board.pool
        assert len(two.table) == 2000
        assert all(the_lab.member(number).outbound.waiting > 1800 for number in (3, 4))
        assert all(the_lab.member(number).behind is None for number in (3, 4))
        assert pool.outstanding_octets < 64 * LARGE_SLAB
        for each in frozen:
            each.thawed.set()
        await the_lab.settle()
        assert frozen[0].table == frozen[1].table == two.table
        assert frozen[0].updates == two.updates, "they are live: what they got is what was said"


async def test_a_frozen_joiner_gets_no_more_of_a_replay_than_its_budget(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten join together and share a replay; two of them read nothing: their queues stay near `queue_limit`."""
    monkeypatch.setattr(catch_up, "STEP_PREFIXES", 200)
    limit = 30_000
    numbers = range(2, 12)
    async with lab(*(peer_settings(number, queue_limit=limit) for number in (1, *numbers))) as the_lab:
        one = await the_lab.join(1)
        await large_table(one, 20_000)
        await the_lab.settle()
        clients = [await the_lab.join(number, families=(V4,), window=30_000, wait=False) for number in numbers]
        for client in clients:
            await client.established.wait()
        frozen = clients[-2:]
        for client in frozen:
            client.freeze()
        await trio.sleep(2)
        await the_lab.settle()
        assert all(len(client.table) == 20_000 for client in clients[:-2])
        for number in numbers[-2:]:
            assert the_lab.member(number).outbound.queued <= limit + 2 * 8192
        for client in frozen:
            client.thawed.set()
        await the_lab.settle()
        assert all(client.table == clients[0].table for client in frozen)
        assert all(client.end_of_rib.count(V4) == 1 for client in clients)


@pytest.mark.parametrize("asked", [False, True], ids=["join", "refresh"])
async def test_those_who_want_the_table_at_once_share_the_work(
    asked: bool, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thirty peers that join, or send ROUTE-REFRESH, at the same time: the table is walked and written once."""
    steps = 0
    original = Replay._tell

    def counted(self: Replay, nlris: list[bytes]) -> None:
        nonlocal steps
        steps += 1
        original(self, nlris)

    numbers = range(2, 32)
    async with lab(*(peer_settings(number) for number in (1, *numbers))) as the_lab:
        one = await the_lab.join(1)
        await large_table(one, 4000)
        await the_lab.settle()
        if not asked:
            monkeypatch.setattr(Replay, "_tell", counted)
        clients = [await the_lab.join(number, wait=False) for number in numbers]
        await trio.sleep(2)
        if asked:
            for client in clients:
                client.table.clear()
            monkeypatch.setattr(Replay, "_tell", counted)
            for client in clients:
                await client.say(REFRESH)
            await trio.sleep(2)
        await the_lab.settle()
        assert all(len(client.table) == 4000 for client in clients)
        assert steps == 2, "a step looks at 2048 prefixes"


async def test_a_refresh_that_waits_for_a_slow_reader_costs_no_time(autojump_clock: MockClock) -> None:
    """A request while the answer to the last is stuck: nothing spins, and it is answered when the reader reads."""
    async with lab(*(peer_settings(number, queue_limit=20_000) for number in (1, 2))) as the_lab:
        one = await the_lab.join(1)
        slow = await the_lab.join(2, window=2000)
        await large_table(one, 4000)
        await the_lab.settle()
        slow.freeze()
        for _ in range(3):
            await slow.say(REFRESH)
            await trio.sleep(60)  # with a task that never rests virtual time would not pass
        slow.thawed.set()
        await trio.sleep(60)
        assert len(slow.table) == 4000
        assert not slow.closed.is_set()


@pytest.mark.parametrize(("octets", "stays"), [(1, False), (30, True)], ids=["one", "thirty"])
async def test_an_octet_a_second_is_no_progress(octets: int, stays: bool, autojump_clock: MockClock) -> None:
    """FSM-16 (RFC 9687): who takes no whole message in the send hold time is let go; who is merely slow is not."""
    settings = [peer_settings(number, hold_time=9, queue_limit=20_000) for number in (1, 2, 3)]
    async with lab(*settings) as the_lab:
        one, two = [await the_lab.join(number, hold_time=9, keepalives=True) for number in (1, 2)]
        slow = await the_lab.join(3, hold_time=9, keepalives=True, window=200)
        slow.freeze()

        async def sip() -> None:
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                while await slow.stream.receive_some(octets):  # noqa: ASYNC110 (it is the slowness that matters)
                    await trio.sleep(1)

        # The read that was under way when it froze ends first.
        await large_table(one, 100)
        await the_lab.settle()
        the_lab.nursery.start_soon(sip)
        for around in range(20):
            await large_table(one, 1000 if around % 2 else 990)
            await trio.sleep(30)
        names = {member.name for member in the_lab.speaker.forwarder.members}
        assert ("p3" in names) is stays
        assert {"p1", "p2"} <= names
        assert len(two.table) == 1000
        await slow.cut()


async def test_thousands_of_paths_to_one_prefix(autojump_clock: MockClock) -> None:
    """ADD-PATH, 1,500 path identifiers for one prefix, all as good as the other: each costs what the first did."""
    async with lab(peer_settings(1, add_path=AddPathSettings(receive=True)), peer_settings(2)) as the_lab:
        one = await the_lab.join(1, add_path=2)
        two = await the_lab.join(2)
        for number in range(1500):
            route = (V4, (number + 1).to_bytes(4, "big") + prefix(1)[1])
            await one.say(announce(route, by=(65001, 1000 + number)))
        await the_lab.settle()
        assert len(the_lab.speaker.forwarder.core.table(IPV4_UNICAST).routes[prefix(1)[1]]) == 1500  # type: ignore[arg-type]
        assert set(two.table) == {prefix(1)}
        for number in range(1500):
            await one.say(decoder.withdraw([(V4, (number + 1).to_bytes(4, "big") + prefix(1)[1])]))
        await the_lab.settle()
        assert two.table == {}


async def test_ever_new_attributes_and_identifiers_leave_nothing_behind(autojump_clock: MockClock) -> None:
    """One prefix with ever new attributes, communities and path identifiers: what is kept is the last one."""
    async with lab(peer_settings(1, add_path=AddPathSettings(receive=True)), peer_settings(2), peer_settings(3)) as it:
        one, two, three = await it.join(1, add_path=2), await it.join(2), await it.join(3)
        for start in range(0, 10_000, 100):
            by_one, by_two = b"", b""
            for number in range(start + 1, start + 101):
                communities = decoder.attribute(0xC0, 8, number.to_bytes(4, "big"))
                by_two += announce(prefix(1), by=(65002, number), more=communities)
                said = (V4, number.to_bytes(4, "big") + prefix(2)[1])
                by_one += announce(said, more=communities) + decoder.withdraw([said])
            await one.say(by_one)
            await two.say(by_two)
        await it.settle()
        assert set(three.table) == {prefix(1)}
        sources = {member.name: member.source for member in it.speaker.forwarder.members}
        assert sum(map(len, sources["p2"].paths.values())) == 1
        assert sum(map(len, sources["p1"].paths.values())) == 0
        assert len(sources["p1"].lanes) <= 8192


async def test_attributes_too_long_are_logged_a_few_times(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Each of 500 UPDATEs is too long for a receiver: a few lines say so."""
    long = decoder.attribute(0xC0, 8, bytes(4800))
    async with lab(peer_settings(1), peer_settings(2)) as the_lab:
        one = await the_lab.join(1, extended=True)
        await the_lab.join(2)
        for number in range(500):
            await one.say(announce(prefix(number), by=(65001, number + 1), more=long))
        await the_lab.settle()
        assert 1 <= caplog.text.count("update.withheld") <= 30


async def test_who_connects_again_and_again_is_held_off(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A known peer that connects, says nonsense and goes, 1,000 times: few lines, others unhurt, and welcome later."""
    caplog.set_level(logging.INFO)
    async with lab(peer_settings(1), peer_settings(2), peer_settings(3)) as the_lab:
        two, three = await the_lab.join(2), await the_lab.join(3)
        opened = 0
        for number in range(1000):
            wild = await the_lab.join(1, wait=False)
            await trio.sleep(0.01)
            opened += bool(wild.log)
            if not wild.closed.is_set():
                await wild.say(announce(prefix(number)) + b"\0" * 19)
            await wild.cut()
        await the_lab.settle()
        assert 30 <= opened <= 45
        assert caplog.text.count("name=p1") + caplog.text.count(f"address={address_of(1)}") < 250
        await two.say(announce(prefix(1)))
        await the_lab.settle()
        assert set(three.table) == {prefix(1)}
        await trio.sleep(2)
        assert (await the_lab.join(1)).established.is_set()


async def test_a_range_that_is_full_says_so(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """Its last place is taken by a silent connection: the next is refused with the cause, the others are not hurt."""
    members = peer_settings(1, address=None, range=ip_network("192.0.2.0/24"), max_peers=2)
    async with lab(members) as the_lab:
        one = await the_lab.join(11, asn=65001)
        silent, theirs = trio.testing.memory_stream_pair()
        the_lab.speaker.accept(StreamTransport(theirs, peer_address=address_of(12)))
        third = await the_lab.join(13, asn=65001)
        assert third.notifications == [bytes((6, 5))]
        assert "the range p1 has 2 peers already" in caplog.text
        assert one.established.is_set()
        await trio.sleep(300)  # the OPEN of the silent one does not come
        assert (await the_lab.join(13, asn=65001)).established.is_set()
        await silent.aclose()


@pytest.mark.parametrize("end", ["cut", "garbage", "notification", "refused"])
async def test_a_session_that_is_over_leaves_nothing_to_the_garbage_collector(
    end: str, autojump_clock: MockClock
) -> None:
    """Reference counts free all of it: cycles would wait for a collection that a busy daemon seldom makes."""
    async with lab(peer_settings(1), peer_settings(2)) as the_lab:
        await the_lab.join(2)
        gc.collect()
        gc.disable()
        try:
            one = await the_lab.join(1, asn=65009 if end == "refused" else 65001)
            if end != "refused":
                await one.say(announce(prefix(1)))
                await the_lab.settle()
                await one.say({"garbage": bytes(19), "notification": decoder.message(3, b"\6\4")}.get(end, b""))
            await one.cut()
            del one
            await trio.sleep(5)
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            gc.set_debug(0)
            found = {type(each).__qualname__ for each in gc.garbage if type(each).__module__.startswith("trio_bgp")}
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
        assert found == set()
