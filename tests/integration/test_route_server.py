"""What a route server promises its clients, octet by octet: RFC 7947, and the traps of forwarding UPDATEs unchanged."""

import contextlib
import logging
from collections.abc import AsyncIterator
from ipaddress import ip_network
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.harness import decoder
from tests.harness.decoder import V4, V6, Family, Route, Update
from tests.harness.lab import Lab, lab, peer_settings
from tests.harness.speaker import ScriptedSpeaker
from trio_bgp.runtime.replays import GATHER_SECONDS
from trio_bgp.session.fsm import State
from trio_bgp.settings import AddPathSettings, BgpRole, NextHopCheck, PeerSettings
from trio_bgp.wire.numbers import IPV4_UNICAST, IPV6_UNICAST

A, B, C, D = ((V4, bytes((24, 10, 0, n))) for n in range(4))
A6, B6 = ((V6, bytes((48, 0x20, 0x01, 0x0D, 0xB8, 0, n))) for n in range(2))
HOP = bytes((192, 0, 2, 1))
HOP6 = bytes.fromhex("20010db8") + bytes(11) + b"\x01"
ORIGIN = decoder.attribute(0x40, 1, b"\0")
NEXT_HOP = decoder.attribute(0x40, 3, HOP)


def path(*numbers: int, more: bytes = b"") -> bytes:
    """ORIGIN, AS_PATH of these AS numbers, and more."""
    return ORIGIN + decoder.as_path(*numbers) + more


def announce(*routes: Route, by: tuple[int, ...] = (65001,), more: bytes = b"") -> bytes:
    """An UPDATE that announces routes of one family with this AS_PATH."""
    return decoder.announce(list(routes), path(*by, more=more), HOP if routes[0][0] == V4 else HOP6)


def forget(*clients: ScriptedSpeaker) -> None:
    """Look only at what comes from here on."""
    for client in clients:
        client.updates.clear()
        client.log.clear()
        client.end_of_rib.clear()


def as_path_of(client: ScriptedSpeaker, route: Route) -> bytes:
    """The AS_PATH attribute a client holds for a route, as octets."""
    (value,) = [value for _, kind, value in client.table[route] if kind == 2]
    return decoder.attribute(0x40, 2, value)


def seen(client: ScriptedSpeaker) -> tuple[list[Route], list[Route]]:
    """Routes withdrawn from and announced to a client since `forget`, in order, with repetitions."""
    found = [Update(each) for each in client.updates]
    return [route for each in found for route in each.withdrawn], [route for each in found for route in each.announced]


@contextlib.asynccontextmanager
async def server(count: int = 3, **changes: Any) -> AsyncIterator[tuple[Lab, list[ScriptedSpeaker]]]:
    """A route server with `count` clients that are up and have been told that there is nothing."""
    peers = [peer_settings(number, **changes) for number in range(1, count + 1)]
    async with lab(*peers) as the_lab:
        clients = [await the_lab.join(number) for number in range(1, count + 1)]
        forget(*clients)
        yield the_lab, clients


def state_of(the_lab: Lab, name: str) -> State:
    """The state of the peer of that name."""
    return next(each.state for each in the_lab.speaker.statistics() if each.name == name)


def reach(family: Family, hop: bytes, nlri: bytes) -> bytes:
    """An MP_REACH_NLRI attribute."""
    value = family[0].to_bytes(2, "big") + bytes((family[1], len(hop))) + hop + b"\0" + nlri
    return decoder.attribute(0x80, 14, value)


V4_BLOCK = ORIGIN + decoder.as_path(65001, 64999) + NEXT_HOP
UNCHANGED = {
    "plain": announce(A),
    "several prefixes": announce(B, A, D, C),
    "unknown transitive": announce(A, more=decoder.attribute(0xC0, 200, b"abc")),
    "unknown transitive, partial": announce(A, more=decoder.attribute(0xE0, 200, b"abc")),
    "unknown non-transitive": announce(A, more=decoder.attribute(0x80, 201, b"abc")),
    "unknown of 300 octets": announce(A, more=decoder.attribute(0xC0, 202, bytes(300))),
    "MED": announce(A, more=decoder.attribute(0x80, 4, b"\0\0\1\2")),
    "NO_EXPORT and NO_ADVERTISE": announce(A, more=decoder.attribute(0xC0, 8, b"\xff\xff\xff\x01\xff\xff\xff\x02")),
    "GRACEFUL_SHUTDOWN and BLACKHOLE": announce(A, more=decoder.attribute(0xC0, 8, b"\xff\xff\0\0\xff\xff\2\x9a")),
    "communities out of order and twice": announce(A, more=decoder.attribute(0xC0, 8, b"\0\2\0\2\0\1\0\1\0\2\0\2")),
    "extended communities": announce(A, more=decoder.attribute(0xC0, 16, b"\0\2\xfd\xe9\0\0\0\1")),
    "large communities": announce(A, more=decoder.attribute(0xC0, 32, bytes(range(12)))),
    "AGGREGATOR and ATOMIC_AGGREGATE": announce(
        A, more=decoder.attribute(0x40, 6, b"") + decoder.attribute(0xC0, 7, b"\0\0\xfd\xe9\x0a\0\0\1")
    ),
    "next hop of a third party": decoder.announce([A], path(65001), b"\x08\x08\x08\x08"),
    "attributes in descending order": decoder.update(
        b"",
        decoder.attribute(0xC0, 200, b"x")
        + decoder.attribute(0xC0, 8, b"\0\1\0\1")
        + NEXT_HOP
        + decoder.as_path(65001)
        + ORIGIN,
        A[1],
    ),
    "extended length for short values": decoder.update(
        b"", b"\x50\x01\x00\x01\x00" + decoder.as_path(65001) + b"\x50\x03\x00\x04" + HOP, A[1]
    ),
    "an empty AS_PATH": announce(A, by=()),
    "AS_SET": decoder.update(
        b"", ORIGIN + decoder.attribute(0x40, 2, b"\2\1\0\0\xfd\xe9\1\2\0\0\0\1\0\0\0\2") + NEXT_HOP, A[1]
    ),
    "default route": announce((V4, b"\0")),
    "host route": announce((V4, b"\x20\x0a\0\0\1")),
    "IPv6": announce(A6, B6),
    "IPv6 with a link-local next hop": decoder.announce([A6], path(65001), HOP6 + b"\xfe\x80" + bytes(14)),
    "MP_REACH_NLRI last": decoder.update(b"", path(65001) + reach(V6, HOP6, A6[1])),
    "NEXT_HOP next to MP_REACH_NLRI": decoder.update(b"", path(65001) + NEXT_HOP + reach(V6, HOP6, A6[1])),
    "IPv4 in MP_REACH_NLRI": decoder.update(b"", path(65001) + reach(V4, HOP, A[1])),
}


@pytest.mark.parametrize("octets", UNCHANGED.values(), ids=UNCHANGED.keys())
async def test_octets_reach_every_other_client_unchanged(octets: bytes, autojump_clock: MockClock) -> None:
    """RS-1, RS-2, RS-3, RS-4, RS-8: an UPDATE arrives at each other client octet for octet, not at its sender."""
    async with server() as (the_lab, (one, two, three)):
        await one.say(octets)
        await the_lab.settle()
        assert two.updates == [octets]
        assert three.updates == [octets]
        assert one.updates == []


async def test_two_messages_in_one_read_go_out_unchanged_and_in_order(autojump_clock: MockClock) -> None:
    """What comes together leaves together: nothing is joined, dropped or turned round."""
    messages = [announce(A), decoder.withdraw([A]), announce(A6), announce(A, by=(65001, 1)), announce(B)]
    async with server() as (the_lab, (one, two, three)):
        await one.say(b"".join(messages))
        await the_lab.settle()
        assert two.updates == messages
        assert three.updates == messages


async def test_messages_in_single_octets_go_out_whole(autojump_clock: MockClock) -> None:
    """HDR-7: however the stream is cut, receivers get whole messages in order."""
    messages = [announce(A), announce(B, by=(65001, 7)), decoder.withdraw([A])]
    async with server() as (the_lab, (one, two, _)):
        for octet in b"".join(messages):
            await one.say(bytes((octet,)))
            await trio.testing.wait_all_tasks_blocked()
        await the_lab.settle()
        assert two.updates == messages


async def test_the_source_of_the_best_path_gets_the_runner_up(autojump_clock: MockClock) -> None:
    """RS-5, RS-7: no path hiding; nobody gets its own route back."""
    async with server() as (the_lab, (one, two, three)):
        await one.say(announce(A, by=(65001,)))
        await the_lab.settle()
        await two.say(announce(A, by=(65002, 65009)))
        await the_lab.settle()
        assert as_path_of(one, A) == decoder.as_path(65002, 65009)
        assert as_path_of(two, A) == decoder.as_path(65001)
        assert as_path_of(three, A) == decoder.as_path(65001)
        assert len(three.updates) == 1


async def test_a_better_path_replaces_the_best_without_a_withdrawal(autojump_clock: MockClock) -> None:
    """RS-7: others get one announcement, the source of the new best keeps the former one, that one's gets the new."""
    better = announce(A, by=(65002,))
    async with server() as (the_lab, (one, two, three)):
        await one.say(announce(A, by=(65001, 65009)))
        await the_lab.settle()
        forget(one, two, three)
        await two.say(better)
        await the_lab.settle()
        assert one.updates == [better]
        assert two.updates == []
        assert three.updates == [better]
        assert as_path_of(two, A) == decoder.as_path(65001, 65009)


async def test_the_withdrawal_of_a_loser_is_not_forwarded(autojump_clock: MockClock) -> None:
    """Trap 2b: only who had been given the losing path loses it; for the others it would be a black hole."""
    async with server() as (the_lab, (one, two, three)):
        await one.say(announce(A, by=(65001,)))
        await two.say(announce(A, by=(65002, 65009)))
        await the_lab.settle()
        forget(one, two, three)
        await two.say(decoder.withdraw([A]))
        await the_lab.settle()
        assert three.updates == []
        assert two.updates == []
        assert seen(one) == ([A], [])
        assert A in three.table
        assert A in two.table


async def test_the_withdrawal_of_the_winner_announces_the_runner_up(autojump_clock: MockClock) -> None:
    """Trap 2b: a withdrawal with a successor becomes that one's announcement and nothing else."""
    async with server() as (the_lab, (one, two, three)):
        await one.say(announce(A, by=(65001,)))
        await two.say(announce(A, by=(65002, 65009)))
        await the_lab.settle()
        forget(one, two, three)
        await one.say(decoder.withdraw([A]))
        await the_lab.settle()
        assert seen(three) == ([], [A])
        assert as_path_of(three, A) == decoder.as_path(65002, 65009)
        assert seen(two) == ([A], [])
        assert one.updates == []


async def test_of_one_withdrawal_each_prefix_goes_its_way(autojump_clock: MockClock) -> None:
    """One UPDATE withdraws a winner, a loser, an only route and one nobody has: each is told for itself."""
    async with server() as (the_lab, (one, two, three)):
        await one.say(announce(A, C, by=(65001,)) + announce(B, by=(65001, 65009)))
        await two.say(announce(A, by=(65002, 65009)) + announce(B, by=(65002,)))
        await the_lab.settle()
        forget(one, two, three)
        await one.say(decoder.withdraw([A, B, C, D]))
        await the_lab.settle()
        assert seen(three) == ([C], [A])
        assert as_path_of(three, B) == decoder.as_path(65002)


async def test_a_withdrawal_of_nothing_is_not_forwarded(autojump_clock: MockClock) -> None:
    """UPD-27: a prefix never announced, or announced by another only, is withdrawn from nobody."""
    async with server() as (the_lab, (one, two, three)):
        await one.say(announce(A))
        await the_lab.settle()
        forget(one, two, three)
        await two.say(decoder.withdraw([A]) + decoder.withdraw([B]) + decoder.withdraw([A6]))
        await the_lab.settle()
        assert one.updates == two.updates == three.updates == []


@pytest.mark.parametrize("how", ["cut", "cut inside a message", "notification", "bad marker"])
async def test_the_end_of_a_session_withdraws_exactly_what_must_go(how: str, autojump_clock: MockClock) -> None:
    """Trap 2c, RES-3: its only routes are withdrawn, its winners replaced, its losers no news; each told once."""
    async with server() as (the_lab, (one, two, three)):
        await one.say(announce(A, B, by=(65001,)) + announce(C, by=(65001, 65009)) + announce(A6))
        await two.say(announce(A, by=(65002, 65009)) + announce(C, by=(65002,)))
        await the_lab.settle()
        forget(one, two, three)
        if how == "notification":
            await one.say(decoder.message(decoder.NOTIFICATION, b"\6\2"))
        elif how == "bad marker":
            await one.say(bytes(19))
        else:
            if how == "cut inside a message":
                await one.say(announce(D)[:-2])
            await one.cut()
        await the_lab.settle()
        withdrawn, announced = seen(three)
        assert sorted(withdrawn) == sorted([B, A6])
        assert announced == [A]
        assert as_path_of(three, A) == decoder.as_path(65002, 65009)
        assert sorted(seen(two)[0]) == sorted([A, B, A6, C])
        assert set(three.table) == {A, C}
        assert two.table == {}


async def test_a_late_joiner_gets_the_whole_table_then_end_of_rib(autojump_clock: MockClock) -> None:
    """Trap 1, GR-1: everything there is, with the attributes it came with, and one End-of-RIB a family behind it."""
    async with lab(*(peer_settings(number) for number in (1, 2, 3))) as the_lab:
        one = await the_lab.join(1)
        two = await the_lab.join(2)
        odd = decoder.attribute(0xC0, 200, b"odd") + decoder.attribute(0x80, 201, b"odder")
        await one.say(announce(A, B, by=(65001,), more=odd) + announce(A6, B6))
        await two.say(announce(B, by=(65002, 1)) + announce(C, by=(65002,)))
        await the_lab.settle()
        late = await the_lab.join(3)
        assert set(late.table) == {A, B, C, A6, B6}
        assert late.table == {**two.table, C: one.table[C]}
        assert sorted(late.end_of_rib) == [V4, V6]
        for family in (V4, V6):
            positions = [
                index
                for index, each in enumerate(late.updates)
                if any(route[0] == family for route in Update(each).announced)
            ]
            (end,) = [index for index, each in enumerate(late.updates) if Update(each).end_of_rib == family]
            assert max(positions) < end
        assert seen(late)[0] == []


async def test_a_joiner_of_an_empty_server_gets_end_of_rib_at_once(autojump_clock: MockClock) -> None:
    """GR-1: an empty UPDATE for IPv4, an empty MP_UNREACH_NLRI for IPv6, nothing else."""
    async with lab(peer_settings(1)) as the_lab:
        one = await the_lab.join(1)
        assert sorted(one.updates) == sorted([decoder.update(), decoder.update(b"", b"\x80\x0f\x03\x00\x02\x01")])


async def test_those_who_join_a_large_table_together_all_get_it(autojump_clock: MockClock) -> None:
    """Joiners share one replay: each has the same table, without its own routes, and one End-of-RIB a family."""
    prefixes = [(V4, bytes((24, 11, n >> 8, n & 255))) for n in range(3000)]
    async with lab(*(peer_settings(number) for number in range(1, 6))) as the_lab:
        one = await the_lab.join(1)
        for start in range(0, 3000, 500):
            await one.say(announce(*prefixes[start : start + 500], by=(65001, start + 1)))
        await the_lab.settle()
        clients = [await the_lab.join(number, wait=False) for number in range(2, 6)]
        await the_lab.settle()
        await trio.sleep(2)
        await the_lab.settle()
        for client in clients:
            assert set(client.table) == set(prefixes)
            assert sorted(client.end_of_rib) == [V4, V6]
            assert len(client.updates) < 50
        assert one.table == {}


async def large_table(one: ScriptedSpeaker) -> list[Route]:
    """Have a client announce so many long prefixes that a replay of them takes several steps."""
    routes = [(V6, b"\x80" + n.to_bytes(16, "big")) for n in range(9000)]
    for start in range(0, len(routes), 200):
        await one.say(announce(*routes[start : start + 200], by=(65001, start + 1)))
    return routes


async def test_what_changes_during_a_replay_is_not_lost(autojump_clock: MockClock) -> None:
    """A joiner whose table is on its way gets later announcements and withdrawals too, whenever they come."""
    numbers = range(3, 23)
    in_between = 0
    async with lab(*(peer_settings(number) for number in (1, 2, *numbers))) as the_lab:
        one, two = await the_lab.join(1), await the_lab.join(2)
        routes = await large_table(one)
        await the_lab.settle()
        for number in numbers:
            late = await the_lab.join(number, wait=False)
            await trio.sleep(0.049)
            for _ in range(2 * (number - 3)):
                await trio.lowlevel.checkpoint()
            change = announce(routes[number], by=(65001, 77, number))
            await one.say(decoder.withdraw([routes[-number]]) + change)
            await the_lab.settle()
            await trio.sleep(2)
            await the_lab.settle()
            assert late.table == two.table
            assert set(late.table) == set(routes) - {routes[-each] for each in range(3, number + 1)}
            assert sorted(late.end_of_rib) == [V4, V6]
            kinds = [Update(each) for each in late.updates]
            (end,) = [index for index, each in enumerate(kinds) if each.end_of_rib == V6]
            in_between += change in late.updates[1:end]
            await late.cut()
    assert in_between, "no change came in the middle of a replay"


def refresh(family: Family, subtype: int = 0) -> bytes:
    """A ROUTE-REFRESH."""
    return decoder.message(decoder.REFRESH, bytes((0, family[0], subtype, family[1])))


async def test_a_route_refresh_is_answered_from_the_rib(autojump_clock: MockClock) -> None:
    """RF-1: the family's whole table again, the current one; the sources and the other family are left alone."""
    async with server() as (the_lab, (one, two, three)):
        await one.say(announce(A, B, by=(65001,)) + announce(A6))
        await two.say(announce(B, by=(65002, 1)) + announce(D, by=(65002,)))
        await one.say(decoder.withdraw([A]))
        await the_lab.settle()
        before = dict(three.table)
        forget(one, two, three)
        await three.say(refresh(V4))
        await the_lab.settle()
        assert sorted(seen(three)[1]) == sorted([B, D])
        assert three.table == before
        assert three.refreshes == []
        assert one.log == two.log == []
        forget(three)
        await three.say(refresh(V6))
        await the_lab.settle()
        assert seen(three) == ([], [A6])


async def test_a_refreshing_source_gets_what_it_held(autojump_clock: MockClock) -> None:
    """RF-1: the replay is export(T, n), not the table: its own routes are not in it, the runner-up is."""
    async with server() as (the_lab, (one, two, _)):
        await one.say(announce(A, B, by=(65001,)))
        await two.say(announce(A, by=(65002, 1)))
        await the_lab.settle()
        forget(one)
        await one.say(refresh(V4))
        await the_lab.settle()
        assert seen(one) == ([], [A])
        assert as_path_of(one, A) == decoder.as_path(65002, 1)


async def test_a_refresh_of_a_family_not_negotiated_is_ignored(autojump_clock: MockClock) -> None:
    """RF-2: nothing is sent and the session stays."""
    async with lab(peer_settings(1), peer_settings(2)) as the_lab:
        one = await the_lab.join(1)
        two = await the_lab.join(2, families=(V4,))
        await one.say(announce(A) + announce(A6))
        await the_lab.settle()
        forget(two)
        await two.say(refresh(V6) + refresh((25, 70)))
        await the_lab.settle()
        assert two.log == []
        assert state_of(the_lab, "p2") is State.ESTABLISHED


async def test_enhanced_refresh_is_bracketed(autojump_clock: MockClock) -> None:
    """RF-3: BoRR first, EoRR last, all routes between, and no End-of-RIB."""
    async with lab(peer_settings(1), peer_settings(2)) as the_lab:
        one = await the_lab.join(1)
        two = await the_lab.join(2, enhanced_refresh=True)
        await one.say(announce(A, B) + announce(A6))
        await the_lab.settle()
        forget(two)
        await two.say(refresh(V4))
        await the_lab.settle()
        assert two.log[0] == refresh(V4, 1)
        assert two.log[-1] == refresh(V4, 2)
        assert [each[18] for each in two.log[1:-1]] == [decoder.UPDATE] * (len(two.log) - 2)
        assert sorted(seen(two)[1]) == [A, B]
        assert two.end_of_rib == []


async def test_updates_during_an_enhanced_refresh_are_in_what_is_left_after_it(autojump_clock: MockClock) -> None:
    """RFC 7313, section 4.1: what is not said between BoRR and EoRR is forgotten by the peer, so all must be said."""
    in_between = 0
    async with lab(peer_settings(1), peer_settings(2), peer_settings(3)) as the_lab:
        one = await the_lab.join(1)
        two = await the_lab.join(2, enhanced_refresh=True)
        three = await the_lab.join(3)
        routes = await large_table(one)
        await the_lab.settle()
        for number in range(20):
            forget(two)
            await two.say(refresh(V6))
            await trio.sleep(GATHER_SECONDS)  # others may join the answer so long
            for _ in range(2 * number):
                await trio.lowlevel.checkpoint()
            change = announce(routes[number], by=(65001, 77, number + 1))
            await one.say(decoder.withdraw([routes[-number - 1]]) + change)
            await the_lab.settle()
            assert two.log.count(refresh(V6, 1)) == two.log.count(refresh(V6, 2)) == 1
            begin, end = two.log.index(refresh(V6, 1)), two.log.index(refresh(V6, 2))
            fresh: set[Route] = set()
            for each in two.log[begin + 1 :]:
                if each[18] == decoder.UPDATE:
                    fresh.difference_update(Update(each).withdrawn)
                    fresh.update(Update(each).announced)
            assert fresh == set(three.table)
            assert two.table == three.table
            in_between += change in two.log[begin:end]
    assert in_between, "no change came in the middle of a refresh"


async def test_our_as_in_as_path_is_a_withdrawal(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """UPD-29, trap 7: a looped path replaces the former one of its source with nothing; logged, session up."""
    async with server() as (the_lab, (one, two, _)):
        await one.say(announce(A, B))
        await the_lab.settle()
        forget(two)
        await one.say(announce(A, by=(65001, 65000, 3)) + announce(D, by=(65001, 65000)))
        await the_lab.settle()
        assert seen(two) == ([A], [])
        assert set(two.table) == {B}
        assert state_of(the_lab, "p1") is State.ESTABLISHED
    assert any("AS loop" in text for text in caplog.messages)


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("by", [(65009, 65001), ()], ids=["another", "none"])
async def test_the_first_as_is_checked_where_that_is_chosen(
    check: bool, by: tuple[int, ...], autojump_clock: MockClock
) -> None:
    """Trap 7b: a path that does not begin with its sender's AS is refused with `enforce_first_as`, else untouched."""
    octets = announce(A, by=by)
    async with server(enforce_first_as=check) as (the_lab, (one, two, _)):
        await one.say(announce(A))
        await the_lab.settle()
        forget(two)
        await one.say(octets)
        await the_lab.settle()
        if check:
            assert seen(two) == ([A], [])
            assert two.table == {}
        else:
            assert two.updates == [octets]
        assert state_of(the_lab, "p1") is State.ESTABLISHED


async def test_end_of_rib_is_consumed(autojump_clock: MockClock) -> None:
    """Trap 13: a client's End-of-RIB, in either form and in any spelling, reaches nobody."""
    markers = [
        decoder.update(),
        decoder.update(b"", b"\x80\x0f\x03\x00\x02\x01"),
        decoder.update(b"", b"\x90\x0f\x00\x03\x00\x02\x01"),
        decoder.update(b"", b"\x80\x0f\x03\x00\x01\x01"),
    ]
    async with server() as (the_lab, (one, two, three)):
        await one.say(announce(A) + b"".join(markers) + announce(B))
        await the_lab.settle()
        assert two.updates == three.updates == [announce(A), announce(B)]
        assert the_lab.member(1).end_of_rib == {IPV4_UNICAST, IPV6_UNICAST}


@pytest.mark.parametrize("family", [V4, V6], ids=["ipv4", "ipv6"])
async def test_too_many_prefixes_end_the_session(family: Family, autojump_clock: MockClock) -> None:
    """FSM-12: the limit is fine, one more is Cease/1 with family and limit, and its routes are gone."""
    routes = [(family, bytes((24, 10, 0, n))) for n in range(3)]
    async with lab(peer_settings(1, max_prefixes=2), peer_settings(2)) as the_lab:
        one, two = await the_lab.join(1), await the_lab.join(2)
        await one.say(announce(*routes[:2]) + announce(routes[0], by=(65001, 4)))
        await the_lab.settle()
        assert set(two.table) == set(routes[:2])
        assert one.notifications == []
        await one.say(announce(routes[2]))
        await the_lab.settle()
        assert one.notifications == [b"\6\1" + bytes((0, family[0], family[1], 0, 0, 0, 2))]
        assert one.closed.is_set()
        assert two.table == {}


async def test_a_family_not_negotiated_is_never_sent(autojump_clock: MockClock) -> None:
    """Nothing of IPv6 reaches an IPv4 client, live, replayed or at a session's end, and the other way round."""
    async with lab(*(peer_settings(number) for number in range(1, 6))) as the_lab:
        one = await the_lab.join(1)
        two = await the_lab.join(2, families=(V4,))
        three = await the_lab.join(3, families=(V6,))
        await one.say(announce(A) + announce(A6) + decoder.withdraw([A6]) + announce(B6))
        await the_lab.settle()
        four = await the_lab.join(4, families=(V4,))
        five = await the_lab.join(5, families=(V6,))
        for client in (two, four):
            assert set(client.table) == {A}
            assert client.end_of_rib == [V4]
        for client in (three, five):
            assert set(client.table) == {B6}
            assert client.end_of_rib == [V6]
        forget(two, three, four, five)
        await one.cut()
        await the_lab.settle()
        for client in (two, four):
            assert seen(client) == ([A], [])
        for client in (three, five):
            assert seen(client) == ([B6], [])


async def test_a_family_its_sender_did_not_negotiate_is_ignored(autojump_clock: MockClock) -> None:
    """MP-1: an IPv4 client's IPv6 routes reach nobody; the IPv4 ones in the same UPDATE do, and the session stays."""
    async with lab(*(peer_settings(number) for number in (1, 2))) as the_lab:
        one = await the_lab.join(1, families=(V4,))
        two = await the_lab.join(2)
        forget(two)
        await one.say(announce(A6))
        mixed = decoder.update(b"", path(65001) + NEXT_HOP + reach(V6, HOP6, B6[1]), A[1])
        await one.say(mixed)
        await the_lab.settle()
        assert seen(two) == ([], [A])
        assert not any(kind == 14 for each in two.updates for _, kind, _ in decoder.attributes_of(block_of(each)))
        assert state_of(the_lab, "p1") is State.ESTABLISHED


def block_of(whole: bytes) -> bytes:
    """The attribute block of an UPDATE."""
    withdrawn = int.from_bytes(whole[19:21], "big")
    size = int.from_bytes(whole[21 + withdrawn : 23 + withdrawn], "big")
    return whole[23 + withdrawn : 23 + withdrawn + size]


def fields_of(whole: bytes) -> int:
    """How many of withdrawn routes, NLRI, MP_REACH_NLRI and MP_UNREACH_NLRI an UPDATE has."""
    block = block_of(whole)
    withdrawn = int.from_bytes(whole[19:21])
    nlri = len(whole) - 23 - withdrawn - len(block)
    return bool(withdrawn) + bool(nlri) + sum(kind in (14, 15) for _, kind, _ in decoder.attributes_of(block))


async def test_a_mixed_update_is_right_for_everybody(autojump_clock: MockClock) -> None:
    """Trap 14: withdrawn routes, NLRI, MP_REACH and MP_UNREACH in one UPDATE: each receiver gets what it can read."""
    unreach = decoder.attribute(0x80, 15, b"\0\2\1" + B6[1])
    more = decoder.attribute(0xC0, 8, b"\0\1\0\1")
    mixed = decoder.update(C[1], unreach + path(65001) + NEXT_HOP + more + reach(V6, HOP6, A6[1]), A[1] + B[1])
    async with lab(*(peer_settings(number) for number in (1, 2, 3, 4))) as the_lab:
        one = await the_lab.join(1)
        two = await the_lab.join(2, families=(V4,))
        three = await the_lab.join(3, families=(V6,))
        four = await the_lab.join(4)
        await one.say(announce(C, D) + announce(B6))
        await the_lab.settle()
        forget(two, three, four)
        await one.say(mixed)
        await the_lab.settle()
        expected = Update(mixed).announced
        assert two.table == {A: expected[A], B: expected[B], D: four.table[D]}
        assert set(four.table) == {A, B, D, A6}
        assert four.table[A] == expected[A]
        for client in (three, four):
            ((_, _, hop), *rest) = client.table[A6]
            assert hop == HOP6
            assert [each for each in rest if each[1] != 3] == [each for each in expected[A6][1:] if each[1] != 3]
        assert set(three.table) == {A6}
        for each in (*two.updates, *three.updates, *four.updates):
            assert fields_of(each) == 1, "RFC 7606, section 5.1: a sender does not mix them"


async def test_a_prefix_withdrawn_and_announced_in_one_update_is_announced(autojump_clock: MockClock) -> None:
    """UPD-25: the announcement wins, for a new prefix and for one that was there."""
    async with server() as (the_lab, (one, two, _)):
        await one.say(announce(A, by=(65001, 9)))
        await the_lab.settle()
        await one.say(decoder.update(A[1] + B[1], path(65001) + NEXT_HOP, A[1] + B[1]))
        await the_lab.settle()
        assert set(two.table) == {A, B}
        assert as_path_of(two, A) == decoder.as_path(65001)


@pytest.mark.parametrize("family", [V4, V6], ids=["ipv4", "ipv6"])
async def test_a_long_message_is_split_for_those_who_cannot_read_it(family: Family, autojump_clock: MockClock) -> None:
    """XM-1, XM-2, trap 11: unchanged for an extended receiver; whole prefixes in 4096-octet pieces for another."""
    routes = [(family, bytes((24, 11, n >> 8, n & 255))) for n in range(3000)]
    more = decoder.attribute(0xC0, 8, bytes(400))
    octets = announce(*routes, more=more)
    gone = decoder.withdraw(routes)
    assert len(octets) > 12000
    async with lab(*(peer_settings(number) for number in (1, 2, 3))) as the_lab:
        one = await the_lab.join(1, extended=True)
        two = await the_lab.join(2)
        three = await the_lab.join(3, extended=True)
        forget(two, three)
        await one.say(octets)
        await the_lab.settle()
        assert three.updates == [octets]
        assert seen(two) == ([], routes)
        assert len(two.updates) == 4
        assert two.table == three.table
        forget(two, three)
        await one.say(gone)
        await the_lab.settle()
        assert three.updates == [gone]
        assert seen(two) == (routes, [])
        assert all(len(each) <= 4096 for each in two.updates)


async def test_the_longest_message_passes(autojump_clock: MockClock) -> None:
    """XM-1: 65,535 octets arrive whole; a late 4096-octet joiner gets the same routes in pieces."""
    room = 65535 - len(announce(A)) + 4
    prefixes = [(V4, bytes((24, 11 + (n >> 16), n >> 8 & 255, n & 255))) for n in range(room // 4)]
    pad = [b"", b"\x00", b"\x08\x01", b"\x10\x01\x01"][room % 4]
    routes = [*prefixes, *([(V4, pad)] if pad else [])]
    octets = announce(*routes)
    assert len(octets) == 65535
    async with lab(*(peer_settings(number) for number in (1, 2, 3))) as the_lab:
        one = await the_lab.join(1, extended=True)
        two = await the_lab.join(2, extended=True)
        forget(two)
        await one.say(octets)
        await the_lab.settle()
        assert two.updates == [octets]
        three = await the_lab.join(3, wait=False)
        await the_lab.settle()
        await trio.sleep(2)
        await the_lab.settle()
        assert three.table == two.table


async def test_attributes_too_long_for_a_receiver_are_a_withdrawal(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """XM-2: no room for a prefix in 4096 octets: the former route is withdrawn there and the log says so."""
    octets = announce(A, more=decoder.attribute(0xC0, 8, bytes(4800)))
    async with lab(*(peer_settings(number) for number in (1, 2, 3, 4))) as the_lab:
        one = await the_lab.join(1, extended=True)
        two = await the_lab.join(2)
        three = await the_lab.join(3, extended=True)
        await one.say(announce(A, B))
        await the_lab.settle()
        forget(two, three)
        await one.say(octets)
        await the_lab.settle()
        assert three.updates == [octets]
        assert seen(two) == ([A], [])
        assert set(two.table) == {B}
        four = await the_lab.join(4)
        assert set(four.table) == {B}
        await one.say(announce(A))
        await the_lab.settle()
        assert set(two.table) == set(four.table) == {A, B}
    assert any(text.startswith("update.withheld") for text in caplog.messages)


async def test_a_slow_reader_costs_nobody_anything_and_converges(autojump_clock: MockClock) -> None:
    """RES-2: one receiver takes nothing while the table changes many times over; it is behind alone, then right."""
    prefixes = [(V4, bytes((24, 11, n >> 8, n & 255))) for n in range(400)]
    limit = 4000
    async with lab(*(peer_settings(number, queue_limit=limit) for number in (1, 2, 3))) as the_lab:
        one, two = await the_lab.join(1), await the_lab.join(2)
        slow = await the_lab.join(3, lockstep=True)
        slow.freeze()
        sent = 0
        for around in range(20):
            for start in range(0, 400, 20):
                await one.say(announce(*prefixes[start : start + 20], by=(65001, around + 1)))
                sent += 1
            await one.say(decoder.withdraw(prefixes[around * 10 : around * 10 + 10]))
            await the_lab.settle()
            assert set(two.table) == set(prefixes) - set(prefixes[around * 10 : around * 10 + 10])
        status = next(each for each in the_lab.speaker.statistics() if each.name == "p3")
        assert status.behind
        assert status.queued < limit + 100_000
        assert status.state is State.ESTABLISHED
        before = len(slow.updates)
        slow.thawed.set()
        await the_lab.settle()
        assert slow.table == two.table
        assert len(slow.updates) - before < sent / 2, "superseded routes were sent"
        assert not next(each for each in the_lab.speaker.statistics() if each.name == "p3").behind
        forget(slow)
        await one.say(announce(A))
        await the_lab.settle()
        assert slow.updates == [announce(A)], "it is not live again"


async def test_strict_next_hops_are_the_senders_own(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Trap 8, RFC 7948 section 4.8: a next hop that is not the client's own address is a withdrawal."""
    async with server(next_hop_check=NextHopCheck.STRICT) as (the_lab, (one, two, _)):
        own = announce(A, B)
        await one.say(own)
        await the_lab.settle()
        assert two.updates == [own]
        forget(two)
        await one.say(decoder.announce([A], path(65001), bytes((192, 0, 2, 2))))
        await one.say(decoder.announce([D], path(65001), bytes((192, 0, 2, 3))))
        await the_lab.settle()
        assert seen(two) == ([A], [])
        assert set(two.table) == {B}
        assert state_of(the_lab, "p1") is State.ESTABLISHED
    assert any("not the peer's address" in text for text in caplog.messages)


async def test_peers_from_a_range_are_clients_like_others(autojump_clock: MockClock) -> None:
    """A listen range: two addresses are two clients; a third address outside it is none; routes go when they go."""
    lan = PeerSettings(
        name="lan",
        range=ip_network("192.0.2.128/25"),
        peer_as=65001,
        hold_time=0,
        families=(IPV4_UNICAST, IPV6_UNICAST),
    )
    async with lab(lan, peer_settings(2)) as the_lab:
        two = await the_lab.join(2)
        first = await the_lab.join(200, asn=65001)
        second = await the_lab.join(201, asn=65001)
        outside = await the_lab.join(100, asn=65001)
        assert outside.notifications == [b"\6\5"]
        octets = announce(A)
        forget(two, second)
        await first.say(octets)
        await the_lab.settle()
        assert two.updates == second.updates == [octets]
        assert {each.name for each in the_lab.speaker.statistics()} == {"p2", "lan/192.0.2.200", "lan/192.0.2.201"}
        await first.cut()
        await the_lab.settle()
        assert two.table == second.table == {}
        assert {each.name for each in the_lab.speaker.statistics()} == {"p2", "lan/192.0.2.201"}


async def test_an_unknown_address_is_rejected(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """FSM-11: Cease/5 and no OPEN; the log names the address; the clients do not notice."""
    async with server() as (the_lab, (one, two, three)):
        stranger = await the_lab.join(9)
        assert stranger.notifications == [b"\6\5"]
        assert [each[18] for each in stranger.log] == [decoder.NOTIFICATION]
        assert stranger.closed.is_set()
        assert one.log == two.log == three.log == []
    assert any("connection.refused address=192.0.2.9" in text for text in caplog.messages)


async def test_path_identifiers_of_two_sources_do_not_collide(autojump_clock: MockClock) -> None:
    """AP-2, AP-3, RS-6, trap 3: two clients use one identifier for one prefix; the third gets each under another."""
    sends = AddPathSettings(receive=True)
    takes = AddPathSettings(send=AddPathSettings.ALL)
    same = (V4, b"\0\0\0\1" + A[1])
    other = (V4, b"\0\0\0\2" + A[1])
    async with lab(
        peer_settings(1, add_path=sends), peer_settings(2, add_path=sends), peer_settings(3, add_path=takes)
    ) as the_lab:
        one = await the_lab.join(1, add_path=2)
        two = await the_lab.join(2, add_path=2)
        three = await the_lab.join(3, add_path=1, receives_add_path=True)
        await one.say(announce(same, by=(65001,)) + announce(other, by=(65001, 5)))
        await two.say(announce(same, by=(65002,)))
        await the_lab.settle()
        paths = {as_path_of(three, route) for route in three.table}
        assert paths == {decoder.as_path(65001), decoder.as_path(65001, 5), decoder.as_path(65002)}
        assert len(three.table) == 3
        assert {route[1][4:] for route in three.table} == {A[1]}
        await one.say(decoder.withdraw([same]))
        await the_lab.settle()
        paths = {as_path_of(three, route) for route in three.table}
        assert paths == {decoder.as_path(65001, 5), decoder.as_path(65002)}
        await one.say(announce(other, by=(65001, 6)))
        await the_lab.settle()
        paths = {as_path_of(three, route) for route in three.table}
        assert paths == {decoder.as_path(65001, 6), decoder.as_path(65002)}
        assert as_path_of(two, A) == decoder.as_path(65001, 6)


async def test_only_to_customer_is_added_towards_clients_with_a_role(autojump_clock: MockClock) -> None:
    """RO-4, RO-5, trap 15: OTC with our AS is added for a client with a role; a client's own OTC is a leak."""
    role = (b"\x09\x01\x02",)
    async with lab(
        peer_settings(1, bgp_role=BgpRole.RS), peer_settings(2, bgp_role=BgpRole.RS), peer_settings(3)
    ) as the_lab:
        one = await the_lab.join(1, extra=role)
        two = await the_lab.join(2, extra=role)
        three = await the_lab.join(3)
        plain = announce(A)
        marked = announce(B, more=decoder.attribute(0xC0, 35, (65001).to_bytes(4, "big")))
        forget(two, three)
        await one.say(plain)
        await the_lab.settle()
        assert three.updates == [plain]
        assert two.table[A] == (*three.table[A], (0xC0, 35, (65000).to_bytes(4, "big")))
        forget(two, three)
        await one.say(marked)
        await the_lab.settle()
        assert two.updates == three.updates == []
        assert one.notifications == []


@pytest.mark.parametrize("number", [64999, 70000], ids=["small", "large"])
async def test_a_two_octet_client_reads_paths_in_its_width(number: int, autojump_clock: MockClock) -> None:
    """AS4-2, AS4-3, trap 12: AS_TRANS and AS4_PATH where needed, plain otherwise; wide clients get the octets."""
    octets = announce(A, by=(65001, number))
    async with lab(*(peer_settings(n) for n in (1, 2, 3))) as the_lab:
        one = await the_lab.join(1)
        old = await the_lab.join(2, asn4=False)
        new = await the_lab.join(3)
        forget(new)
        await one.say(octets)
        await the_lab.settle()
        assert new.updates == [octets]
        attributes = {kind: value for _, kind, value in old.table[A]}
        assert attributes[2] == b"\2\2\xfd\xe9" + (number if number < 65536 else 23456).to_bytes(2, "big")
        if number > 65535:
            assert attributes[17] == b"\2\2\0\0\xfd\xe9" + number.to_bytes(4, "big")
        else:
            assert 17 not in attributes


async def test_only_updates_are_forwarded(autojump_clock: MockClock) -> None:
    """Trap 20: a client's KEEPALIVEs, refresh requests and NOTIFICATION are between it and us."""
    async with server() as (the_lab, (one, two, three)):
        await one.say(decoder.message(decoder.KEEPALIVE) + refresh(V4) + refresh(V6))
        await one.say(decoder.message(decoder.NOTIFICATION, b"\6\4"))
        await the_lab.settle()
        assert two.log == three.log == []


async def test_repeating_a_route_changes_nothing_anybody_holds(autojump_clock: MockClock) -> None:
    """UPD-28: the same route again, then with other attributes: one replacement, no withdrawal."""
    async with server() as (the_lab, (one, two, _)):
        await one.say(announce(A) + announce(A))
        await the_lab.settle()
        held = dict(two.table)
        assert set(held) == {A}
        forget(two)
        changed = announce(A, more=decoder.attribute(0xC0, 8, b"\0\1\0\1"))
        await one.say(changed)
        await the_lab.settle()
        assert two.updates == [changed]


async def test_refused_updates_are_logged_with_peer_cause_and_octets(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """An operator can see what was refused, from whom and why."""
    caplog.set_level(logging.INFO)
    octets = announce(A, by=(65001, 65000))
    async with server() as (the_lab, (one, *_)):
        await one.say(octets)
        await the_lab.settle()
    (line,) = [text for text in caplog.messages if text.startswith("update.refused")]
    assert "name=p1" in line
    assert "AS loop" in line
    assert octets.hex() in line
