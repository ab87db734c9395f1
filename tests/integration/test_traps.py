"""The traps of forwarding UPDATEs, one by one: each test names the section that says what must happen.

Expectations are octets and attributes written from the RFCs; nothing here asks the daemon what it thinks.
"""

import contextlib
import struct
from collections.abc import AsyncIterator
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from trio.testing import MockClock

from tests.harness import decoder
from tests.harness.decoder import BGP_LS, V4, V6, Family, Route, Update
from tests.harness.lab import LOCAL_AS, Lab, lab, peer_settings
from tests.harness.speaker import ScriptedSpeaker
from trio_bgp.settings import AddPathSettings, BgpRole, NextHopCheck, PeerSettings, Policy, Role
from trio_bgp.wire.numbers import BGP_LS as BGP_LS_FAMILY
from trio_bgp.wire.numbers import IPV4_UNICAST

A, B, C, D = ((V4, bytes((24, 10, 0, n))) for n in range(4))
A6, B6 = ((V6, bytes((48, 0x20, 0x01, 0x0D, 0xB8, 0, n))) for n in range(2))
HOP = bytes((192, 0, 2, 1))
HOP6 = bytes.fromhex("20010db8") + bytes(11) + b"\x01"
LINK_LOCAL = b"\xfe\x80" + bytes(13) + b"\x01"
OUR_V4 = bytes((192, 0, 2, 254))
OUR_V6 = bytes.fromhex("20010db8") + bytes(11) + b"\xff"
OUR_ID = bytes.fromhex("0aff0001")
NO_EXPORT, NO_ADVERTISE = b"\xff\xff\xff\x01", b"\xff\xff\xff\x02"
NO_EXPORT_SUBCONFED = b"\xff\xff\xff\x03"
GRACEFUL_SHUTDOWN, BLACKHOLE, LLGR_STALE = b"\xff\xff\x00\x00", b"\xff\xff\x02\x9a", b"\xff\xff\x00\x06"
ORIGIN = decoder.attribute(0x40, 1, b"\0")
NEXT_HOP = decoder.attribute(0x40, 3, HOP)
ALL = AddPathSettings(send=AddPathSettings.ALL, receive=True)
EXTENDED_NEXT_HOP = b"\x05\x06\x00\x01\x00\x01\x00\x02"
"""RFC 8950: IPv4 unicast may have an IPv6 next hop."""
LLGR = b"\x47\x07\x00\x01\x01\x80\x00\x0e\x10"
"""RFC 9494: IPv4 unicast, an hour."""


def rs(number: int, **changes: Any) -> PeerSettings:
    """A route-server client."""
    return peer_settings(number, **changes)


def rr(number: int, **changes: Any) -> PeerSettings:
    """A reflector's client."""
    return peer_settings(number, **{"peer_as": LOCAL_AS, "role": Role.RR_CLIENT, **changes})


def ibgp(number: int, **changes: Any) -> PeerSettings:
    """An internal peer that is no client."""
    return rr(number, role=Role.IBGP, **changes)


def ebgp(number: int, **changes: Any) -> PeerSettings:
    """An ordinary external peer that is given our address as next hop."""
    return peer_settings(
        number,
        **{
            "role": Role.EBGP,
            "import_policy": Policy.ACCEPT,
            "export_policy": Policy.ACCEPT,
            "next_hop_ipv4": IPv4Address(OUR_V4),
            "next_hop_ipv6": IPv6Address(OUR_V6),
            **changes,
        },
    )


def forget(*clients: ScriptedSpeaker) -> None:
    """Look only at what comes from here on."""
    for client in clients:
        client.updates.clear()
        client.log.clear()
        client.end_of_rib.clear()


@contextlib.asynccontextmanager
async def network(
    *peers: PeerSettings, options: dict[int, dict[str, Any]] | None = None, **changes: Any
) -> AsyncIterator[tuple[Lab, list[ScriptedSpeaker]]]:
    """A daemon with these peers, all up and told that there is nothing.

    Args:
        peers: in the order of the speakers; their numbers are the ends of their names.
        options: of the speakers, by peer number.
        changes: to the daemon's own settings.
    """
    async with lab(*peers, **changes) as the_lab:
        clients = []
        for each in peers:
            number = int(each.name[1:])
            clients.append(await the_lab.join(number, **{"asn": each.peer_as, **(options or {}).get(number, {})}))
        forget(*clients)
        yield the_lab, clients


def block(*numbers: int, more: bytes = b"") -> bytes:
    """ORIGIN, AS_PATH of these AS numbers, and more."""
    return ORIGIN + decoder.as_path(*numbers) + more


def announce(*routes: Route, by: tuple[int, ...] = (65001,), more: bytes = b"", hop: bytes | None = None) -> bytes:
    """An UPDATE that announces routes of one family with this AS_PATH."""
    if hop is None:
        hop = HOP if routes[0][0] == V4 else HOP6
    return decoder.announce(list(routes), block(*by, more=more), hop)


def communities(*values: bytes) -> bytes:
    """A COMMUNITIES attribute."""
    return decoder.attribute(0xC0, 8, b"".join(values))


def reach(family: Family, hop: bytes, nlri: bytes, flags: int = 0x80) -> bytes:
    """An MP_REACH_NLRI attribute."""
    return decoder.attribute(flags, 14, struct.pack(">HBB", *family, len(hop)) + hop + b"\0" + nlri)


def unreach(family: Family, nlri: bytes) -> bytes:
    """An MP_UNREACH_NLRI attribute."""
    return decoder.attribute(0x80, 15, struct.pack(">HB", *family) + nlri)


def value(client: ScriptedSpeaker, route: Route, kind: int) -> bytes | None:
    """The value of an attribute that a speaker holds for a route; 0: the next hop in MP_REACH_NLRI."""
    return next((octets for _, each, octets in client.table[route] if each == kind), None)


def flags(client: ScriptedSpeaker, route: Route, kind: int) -> int | None:
    """The flags of an attribute that a speaker holds for a route."""
    return next((found for found, each, _ in client.table[route] if each == kind), None)


def kinds(client: ScriptedSpeaker, route: Route) -> set[int]:
    """The attributes that a speaker holds for a route."""
    return {kind for _, kind, _ in client.table[route]}


def sequence(*numbers: int, width: str = "I") -> bytes:
    """The value of an AS_PATH of one sequence."""
    return struct.pack(f">BB{len(numbers)}{width}", 2, len(numbers), *numbers)


def attributes_in(whole: bytes) -> list[tuple[int, int, bytes]]:
    """All attributes of an UPDATE, in order."""
    size = int.from_bytes(whole[19:21], "big")
    rest = whole[21 + size :]
    return decoder.attributes_of(rest[2 : 2 + int.from_bytes(rest[:2], "big")])


def with_identifier(identifier: int, route: Route) -> Route:
    """A route behind a path identifier."""
    return route[0], identifier.to_bytes(4, "big") + route[1]


def identifiers(client: ScriptedSpeaker, route: Route) -> dict[bytes, int]:
    """By AS_PATH value, the path identifier under which a speaker holds each path to a route."""
    return {
        next(octets for _, kind, octets in found if kind == 2): int.from_bytes(nlri[:4], "big")
        for (family, nlri), found in client.table.items()
        if (family, nlri[4:]) == route
    }


# 1: late joiners and refresh


async def test_trap_01_late_joiner_gets_the_adj_rib_out_then_end_of_rib(autojump_clock: MockClock) -> None:
    """RFC 4724, section 4.2: who joins late has all routes before the End-of-RIB of their family."""
    async with lab(rs(1), rs(2)) as the_lab:
        one = await the_lab.join(1)
        await one.say(announce(A, B) + announce(A6))
        await the_lab.settle()
        late = await the_lab.join(2)
        assert set(late.table) == {A, B, A6}
        kept = [Update(each) for each in late.updates]
        for family in (V4, V6):
            (end,) = [index for index, each in enumerate(kept) if each.end_of_rib == family]
            assert not [
                index for index, each in enumerate(kept) if index > end and family in {f for f, _ in each.announced}
            ]


@pytest.mark.parametrize("enhanced", [False, True])
async def test_trap_01_route_refresh_is_the_whole_adj_rib_out(enhanced: bool, autojump_clock: MockClock) -> None:
    """RFC 2918, sections 3 and 4, RFC 7313, section 4: all is sent anew, between BoRR and EoRR where both know them."""
    options = {2: {"enhanced_refresh": enhanced}}
    async with network(rs(1), rs(2), options=options) as (the_lab, (one, two)):
        await one.say(announce(A, B) + announce(C, by=(65001, 9)) + announce(A6))
        await two.say(announce(D, by=(65002,)))
        await the_lab.settle()
        forget(two)
        before = dict(two.table)
        two.table.clear()
        await two.say(decoder.message(decoder.REFRESH, b"\0\1\0\1"))
        await the_lab.settle()
        assert two.table == {route: held for route, held in before.items() if route[0] == V4}
        assert set(two.table) == {A, B, C}
        assert two.refreshes == ([b"\0\1\1\1", b"\0\1\2\1"] if enhanced else [])
        if enhanced:
            assert [two.log[0][18], two.log[-1][18]] == [decoder.REFRESH, decoder.REFRESH]
        assert two.end_of_rib == []


# 2: several sources of one prefix


async def test_trap_02_two_sources_of_one_prefix_never_overwrite_each_other(autojump_clock: MockClock) -> None:
    """RFC 4271, sections 3.1 and 9.1, RFC 7947, section 2.3: the best to all, to its source the runner-up."""
    async with network(rs(1), rs(2), rs(3)) as (the_lab, (one, two, three)):
        await one.say(announce(A, by=(65001,)))
        await the_lab.settle()
        await two.say(announce(A, B, by=(65002, 65009)))
        await the_lab.settle()
        assert value(three, A, 2) == sequence(65001)
        assert value(two, A, 2) == sequence(65001)
        assert value(one, A, 2) == sequence(65002, 65009)
        assert value(three, B, 2) == sequence(65002, 65009)


async def test_trap_02b_withdrawal_of_a_loser_leaves_the_winner(autojump_clock: MockClock) -> None:
    """RFC 4271, section 9.1: a withdrawal of a path that was not sent is no news to its receivers."""
    async with network(rs(1), rs(2), rs(3)) as (the_lab, (one, two, three)):
        await one.say(announce(A, by=(65001,)))
        await two.say(announce(A, by=(65002, 65009)))
        await the_lab.settle()
        forget(one, two, three)
        await two.say(decoder.withdraw([A]))
        await the_lab.settle()
        assert three.updates == []
        assert value(three, A, 2) == sequence(65001)
        assert A not in one.table


async def test_trap_02b_withdrawal_of_the_winner_becomes_the_runner_up(autojump_clock: MockClock) -> None:
    """RFC 4271, section 9.1: the successor is announced, with no withdrawal before it."""
    async with network(rs(1), rs(2), rs(3)) as (the_lab, (one, two, three)):
        await one.say(announce(A, by=(65001,)))
        await two.say(announce(A, by=(65002, 65009)))
        await the_lab.settle()
        forget(one, two, three)
        await one.say(decoder.withdraw([A]))
        await the_lab.settle()
        assert value(three, A, 2) == sequence(65002, 65009)
        assert [Update(each).withdrawn for each in three.updates] == [[]]
        assert A not in two.table


async def test_trap_02c_end_of_a_session_withdraws_its_routes_and_no_others(autojump_clock: MockClock) -> None:
    """RFC 4271, section 8.2.2: all routes of the peer go, those with a successor by being replaced."""
    async with network(rs(1), rs(2), rs(3)) as (the_lab, (one, two, three)):
        await one.say(announce(A, B, by=(65001,)) + announce(A6))
        await two.say(announce(A, C, by=(65002, 65009)))
        await the_lab.settle()
        await one.cut()
        await the_lab.settle()
        assert set(three.table) == {A, C}
        assert value(three, A, 2) == sequence(65002, 65009)
        assert two.table == {}


# 3: path identifiers


async def test_trap_03_identifiers_are_ours_and_the_same_for_every_receiver(autojump_clock: MockClock) -> None:
    """RFC 7911, section 2: two sources with one identifier are two paths, told apart alike everywhere."""
    peers = [rs(number, add_path=ALL) for number in range(1, 5)]
    options = {number: {"add_path": 3, "receives_add_path": True} for number in range(1, 5)}
    async with network(*peers, options=options) as (the_lab, (one, two, three, four)):
        same = with_identifier(7, A)
        await one.say(announce(same, by=(65001,)))
        await two.say(announce(same, by=(65002,)))
        await the_lab.settle()
        held = identifiers(three, A)
        assert set(held) == {sequence(65001), sequence(65002)}
        assert len(set(held.values())) == 2
        assert identifiers(four, A) == held
        assert identifiers(one, A) == {sequence(65002): held[sequence(65002)]}
        await two.say(decoder.withdraw([same]))
        await the_lab.settle()
        assert set(identifiers(three, A)) == set(identifiers(four, A)) == {sequence(65001)}


async def test_trap_03_octets_are_unchanged_where_the_identifier_is_the_received_one(autojump_clock: MockClock) -> None:
    """RFC 7911, section 2: an identifier that is free may be ours as well, so the octets can stay."""
    peers = [rs(number, add_path=ALL) for number in range(1, 4)]
    options = {number: {"add_path": 3, "receives_add_path": True} for number in range(1, 4)}
    async with network(*peers, options=options) as (the_lab, (one, two, three)):
        messages = [
            announce(with_identifier(7, A)),
            announce(with_identifier(7, A6), with_identifier(8, B6)),
            decoder.withdraw([with_identifier(7, A)]),
        ]
        await one.say(b"".join(messages))
        await the_lab.settle()
        assert two.updates == three.updates == messages
        forget(two, three)
        taken = announce(with_identifier(8, A), by=(65002,))
        await two.say(taken)
        await the_lab.settle()
        assert three.updates != [taken], "identifier 8 is another source's"
        assert len(three.updates) == 1


async def test_trap_03_one_source_keeps_its_paths_apart(autojump_clock: MockClock) -> None:
    """RFC 7911, section 2: prefix and identifier together name a path; announced again it is replaced."""
    options = {number: {"add_path": 3, "receives_add_path": True} for number in (1, 2)}
    async with network(rs(1, add_path=ALL), rs(2, add_path=ALL), options=options) as (the_lab, (one, two)):
        await one.say(announce(with_identifier(1, A), by=(65001, 1)) + announce(with_identifier(2, A), by=(65001, 2)))
        await the_lab.settle()
        held = identifiers(two, A)
        await one.say(announce(with_identifier(2, A), by=(65001, 3)))
        await the_lab.settle()
        assert identifiers(two, A) == {
            sequence(65001, 1): held[sequence(65001, 1)],
            sequence(65001, 3): held[sequence(65001, 2)],
        }


async def test_trap_03b_framing_follows_each_receiver(autojump_clock: MockClock) -> None:
    """RFC 7911, section 3: an NLRI has an identifier exactly where that was negotiated, whatever the source wrote."""
    options = {number: {"add_path": 3, "receives_add_path": True} for number in (1, 3)}
    peers = [rs(1, add_path=ALL), rs(2), rs(3, add_path=ALL), rs(4)]
    async with network(*peers, options=options) as (the_lab, (one, two, three, four)):
        await one.say(announce(with_identifier(9, A), with_identifier(9, B)) + announce(with_identifier(9, A6)))
        await two.say(announce(C, by=(65002,)) + announce(B6, by=(65002,)))
        await the_lab.settle()
        assert set(four.table) == {A, B, A6, C, B6}
        assert {(family, nlri[4:]) for family, nlri in three.table} == {A, B, A6, C, B6}
        await one.say(decoder.withdraw([with_identifier(9, A), with_identifier(9, B)]))
        await two.say(decoder.withdraw([B6]))
        await the_lab.settle()
        assert set(four.table) == {A6, C}
        assert {(family, nlri[4:]) for family, nlri in three.table} == {A6, C}


async def test_trap_03b_each_direction_is_negotiated_for_itself(autojump_clock: MockClock) -> None:
    """RFC 7911, section 4: who only receives paths sends plain NLRI; who only sends them gets plain ones."""
    options = {1: {"add_path": 1, "receives_add_path": True}, 2: {"add_path": 2, "receives_add_path": False}}
    async with network(rs(1, add_path=ALL), rs(2, add_path=ALL), options=options) as (the_lab, (one, two)):
        await one.say(announce(A))
        await two.say(announce(with_identifier(5, B), by=(65002,)))
        await the_lab.settle()
        assert set(two.table) == {A}
        assert list(identifiers(one, B)) == [sequence(65002)]
        assert len(one.table) == 1


async def test_trap_03b_each_family_is_negotiated_for_itself(autojump_clock: MockClock) -> None:
    """RFC 7911, section 4: with ADD-PATH for IPv4 alone, IPv6 NLRI have no identifiers."""
    only_ipv4 = b"\x45\x04\x00\x01\x01\x03"
    options: dict[int, dict[str, Any]] = {number: {"extra": (only_ipv4,)} for number in (1, 2)}
    async with network(rs(1, add_path=ALL), rs(2, add_path=ALL), options=options) as (the_lab, (one, two)):
        six = announce(A6)
        await one.say(six)
        await the_lab.settle()
        assert two.updates == [six]
        two.receives_add_path = True
        four = announce(with_identifier(5, A))
        await one.say(four)
        await the_lab.settle()
        assert two.updates == [six, four]


# 4: reflection


async def test_trap_04_reflector_adds_originator_and_cluster_and_nothing_else(autojump_clock: MockClock) -> None:
    """RFC 4456, sections 8 and 10: the source's identifier and our cluster; next hop, path, LOCAL_PREF, MED stay."""
    inside = decoder.attribute(0x80, 4, b"\0\0\0\7") + decoder.attribute(0x40, 5, b"\0\0\0\x64")
    async with network(rr(1), rr(2), ibgp(3)) as (the_lab, (one, two, three)):
        await one.say(announce(A, by=(64999,), more=inside))
        await the_lab.settle()
        expected = {
            (0x40, 1, b"\0"),
            (0x40, 2, sequence(64999)),
            (0x40, 3, HOP),
            (0x80, 4, b"\0\0\0\7"),
            (0x40, 5, b"\0\0\0\x64"),
            (0x80, 9, bytes.fromhex("0a000001")),
            (0x80, 10, OUR_ID),
        }
        assert set(two.table[A]) == set(three.table[A]) == expected
        assert two.updates == three.updates, "one message for all"


async def test_trap_04_originator_is_kept_and_our_cluster_put_in_front(autojump_clock: MockClock) -> None:
    """RFC 4456, section 8: an ORIGINATOR_ID that is there stays; CLUSTER_LIST grows at its front."""
    reflected = (
        decoder.attribute(0x40, 5, b"\0\0\0\x64")
        + decoder.attribute(0x80, 9, b"\x0b\0\0\1")
        + decoder.attribute(0x80, 10, b"\x09\x09\x09\x09")
    )
    async with network(rr(1), rr(2), cluster_id=0x01020304) as (the_lab, (one, two)):
        await one.say(announce(A, by=(), more=reflected) + announce(A6, by=(), more=reflected))
        await the_lab.settle()
        for route in (A, A6):
            assert value(two, route, 9) == b"\x0b\0\0\1"
            assert value(two, route, 10) == b"\x01\x02\x03\x04\x09\x09\x09\x09"
            assert value(two, route, 2) == b""


async def test_trap_04_external_routes_are_not_reflected_ones(autojump_clock: MockClock) -> None:
    """RFC 4456, section 8, RFC 4271, section 5.1.5: to internal peers with LOCAL_PREF, not as reflected ones."""
    async with network(ebgp(1), rr(2), ibgp(3)) as (the_lab, (one, two, three)):
        await one.say(announce(A, more=decoder.attribute(0x80, 4, b"\0\0\0\7")))
        await the_lab.settle()
        for client in (two, three):
            assert kinds(client, A) == {1, 2, 3, 4, 5}
            assert value(client, A, 5) == b"\0\0\0\x64"
            assert value(client, A, 2) == sequence(65001)
            assert value(client, A, 3) == HOP


async def test_trap_04b_non_clients_hear_of_clients_only(autojump_clock: MockClock) -> None:
    """RFC 4456, section 6: from a non-client to clients and external peers, from a client to all."""
    async with network(rr(1), rr(2), ibgp(3), ibgp(4), ebgp(5)) as (the_lab, (one, two, three, four, five)):
        await one.say(announce(A, by=(64999,)))
        await three.say(announce(B, by=(64998,)))
        await five.say(announce(C, by=(65005,)))
        await the_lab.settle()
        assert set(one.table) == {B, C}
        assert set(two.table) == {A, B, C}
        assert set(three.table) == {A, C}
        assert set(four.table) == {A, C}
        assert set(five.table) == {A, B}


async def test_trap_04b_a_non_client_that_hides_the_best_path_gets_the_next(autojump_clock: MockClock) -> None:
    """RFC 4456, section 6: what a non-client may not have hides nothing that it may."""
    async with network(rr(1), ibgp(2), ibgp(3)) as (the_lab, (one, two, three)):
        await one.say(announce(A, by=(64999, 64998)))
        await two.say(announce(A, by=(64999,)))
        await the_lab.settle()
        assert value(three, A, 2) == sequence(64999, 64998)
        assert value(one, A, 2) == sequence(64999)


# 5: ordinary external peers


@pytest.mark.parametrize("source", [rs, ebgp, rr], ids=["rs-client", "ebgp", "rr-client"])
async def test_trap_05_external_peers_get_our_as_and_next_hop(source: Any, autojump_clock: MockClock) -> None:
    """RFC 4271, sections 5.1.2 to 5.1.5: our AS in front, our next hop, neither MED nor LOCAL_PREF."""
    more = decoder.attribute(0x80, 4, b"\0\0\0\7") + communities(b"\xfd\xe9\0\1")
    if source is rr:
        more += decoder.attribute(0x40, 5, b"\0\0\0\x65") + decoder.attribute(0x80, 9, b"\x0b\0\0\1")
    async with network(source(1), ebgp(2), ebgp(3)) as (the_lab, (one, two, three)):
        await one.say(announce(A, by=(65001, 64999), more=more) + announce(A6, by=(65001, 64999), more=more))
        await the_lab.settle()
        common = {(0x40, 1, b"\0"), (0x40, 2, sequence(65000, 65001, 64999)), (0xC0, 8, b"\xfd\xe9\0\1")}
        assert set(two.table[A]) == common | {(0x40, 3, OUR_V4)}
        assert set(two.table[A6]) == common | {(0, 0, OUR_V6)}
        assert two.updates == three.updates


async def test_trap_05_a_full_or_unordered_first_segment_is_not_prepended_to(autojump_clock: MockClock) -> None:
    """RFC 4271, section 5.1.2: before an AS_SET, and before 255 AS numbers, goes a segment of its own."""
    full = bytes((2, 255)) + struct.pack(">I", 65001) * 255
    unordered = b"\1\2\0\0\0\1\0\0\0\2"
    ours = sequence(65000)
    async with network(rs(1), ebgp(2)) as (the_lab, (one, two)):
        for route, path in ((A, full), (B, unordered), (C, b"")):
            await one.say(decoder.update(b"", ORIGIN + decoder.attribute(0x40, 2, path) + NEXT_HOP, route[1]))
        await the_lab.settle()
        assert value(two, A, 2) == ours + full
        assert value(two, B, 2) == ours + unordered
        assert value(two, C, 2) == ours


async def test_trap_05_confederation_segments_stay_inside(autojump_clock: MockClock) -> None:
    """RFC 5065, section 4.1: they are removed towards external peers, before our AS is put in front."""
    inside = b"\3\2\0\0\0\x09\0\0\0\x0a" + sequence(64999) + b"\4\1\0\0\0\x0b"
    async with network(rr(1), ebgp(2), rs(3), rr(4)) as (the_lab, (one, two, three, four)):
        await one.say(decoder.update(b"", ORIGIN + decoder.attribute(0x40, 2, inside) + NEXT_HOP, A[1]))
        await the_lab.settle()
        assert value(two, A, 2) == value(three, A, 2) == sequence(LOCAL_AS, 64999)
        assert value(four, A, 2) == inside


@pytest.mark.parametrize(
    ("kind", "policy"),
    [(ebgp, None), (ebgp, Policy.NONE), (rs, Policy.NONE)],
    ids=["ebgp", "ebgp none", "rs-client none"],
)
async def test_trap_05_without_a_policy_nothing_is_exchanged(
    kind: Any, policy: Policy | None, autojump_clock: MockClock
) -> None:
    """RFC 8212, section 2: an external peer without policies gets nothing and nothing of it is taken."""
    closed = kind(2, import_policy=policy, export_policy=policy)
    async with network(rs(1), closed, rs(3)) as (the_lab, (one, two, three)):
        await one.say(announce(A) + announce(A6))
        await two.say(announce(B, by=(65002,)))
        await the_lab.settle()
        assert set(three.table) == {A, A6}
        assert one.table == {}
        assert two.table == {}


# 6: malformed attributes


DISCARDED = {
    "ATOMIC_AGGREGATE with a value": decoder.attribute(0x40, 6, b"x"),
    "AGGREGATOR too short": decoder.attribute(0xC0, 7, bytes(6)),
    "LOCAL_PREF from outside": decoder.attribute(0x40, 5, b"\0\0\0\1"),
    "AS4_PATH from a 4-octet peer": decoder.attribute(0xC0, 17, sequence(70000)),
    "a second ORIGIN": decoder.attribute(0x40, 1, b"\2"),
    "a second COMMUNITIES": communities(b"\0\1\0\2"),
}


@pytest.mark.parametrize("extra", DISCARDED.values(), ids=DISCARDED.keys())
async def test_trap_06_repaired_messages_are_never_forwarded_as_they_came(
    extra: bytes, autojump_clock: MockClock
) -> None:
    """RFC 7606, sections 2 and 3 (g): a discarded attribute, or all but the first of equal ones, reaches nobody."""
    kept = communities(b"\0\3\0\4")
    async with network(rs(1), rs(2), rs(3, bgp_role=BgpRole.RS)) as (the_lab, (one, two, three)):
        await one.say(announce(A, more=kept + extra) + announce(A6, more=kept + extra))
        await the_lab.settle()
        assert two.updates == [announce(A, more=kept), announce(A6, more=kept)]
        for route in (A, A6):
            assert sorted(kinds(three, route) - {0, 3}) == [1, 2, 8, 35]
            assert value(three, route, 8) == b"\0\3\0\4"
            assert value(three, route, 1) == b"\0"


WITHDRAWN = {
    "ORIGIN of 5": decoder.attribute(0x40, 1, b"\5") + decoder.as_path(65001) + NEXT_HOP,
    "ORIGIN of two octets": decoder.attribute(0x40, 1, b"\0\0") + decoder.as_path(65001) + NEXT_HOP,
    "ORIGIN with wrong flags": decoder.attribute(0x80, 1, b"\0") + decoder.as_path(65001) + NEXT_HOP,
    "no ORIGIN": decoder.as_path(65001) + NEXT_HOP,
    "no AS_PATH": ORIGIN + NEXT_HOP,
    "no NEXT_HOP": block(65001),
    "AS_PATH segment too long": ORIGIN + decoder.attribute(0x40, 2, b"\2\2\0\0\xfd\xe9") + NEXT_HOP,
    "AS_PATH segment of no AS": ORIGIN + decoder.attribute(0x40, 2, b"\2\0") + NEXT_HOP,
    "AS_PATH segment type 9": ORIGIN + decoder.attribute(0x40, 2, b"\x09\1\0\0\xfd\xe9") + NEXT_HOP,
    "NEXT_HOP of 3 octets": block(65001) + decoder.attribute(0x40, 3, b"\1\2\3"),
    "MED of 3 octets": block(65001) + NEXT_HOP + decoder.attribute(0x80, 4, b"\1\2\3"),
    "COMMUNITIES of 5 octets": block(65001) + NEXT_HOP + decoder.attribute(0xC0, 8, bytes(5)),
    "large communities of 11 octets": block(65001) + NEXT_HOP + decoder.attribute(0xC0, 32, bytes(11)),
    "an attribute longer than the block": block(65001) + NEXT_HOP + b"\xc0\x08\x08\0\0\0\0",
}


@pytest.mark.parametrize("attributes", WITHDRAWN.values(), ids=WITHDRAWN.keys())
async def test_trap_06_malformed_announcements_are_withdrawals(attributes: bytes, autojump_clock: MockClock) -> None:
    """RFC 7606, sections 2, 3 and 7: routes with such attributes are withdrawn, the session and others stay."""
    async with network(rs(1), rs(2), rs(3)) as (the_lab, (one, two, three)):
        await one.say(announce(A, B))
        await two.say(announce(B, by=(65002, 65009)))
        await the_lab.settle()
        await one.say(decoder.update(b"", attributes, A[1] + B[1] + C[1]))
        await the_lab.settle()
        assert set(three.table) == {B}
        assert value(three, B, 2) == sequence(65002, 65009)
        assert one.notifications == []
        await one.say(announce(C))
        await the_lab.settle()
        assert set(three.table) == {B, C}


RESETS = {
    "MP_REACH_NLRI twice": (
        decoder.update(b"", reach(V6, HOP6, A6[1]) + reach(V6, HOP6, B6[1]) + block(65001)),
        b"\3\1",
    ),
    "prefix of 33 bits": (decoder.update(b"", block(65001) + NEXT_HOP, b"\x21\1\2\3\4\5"), b"\3\x0a"),
    "prefix beyond its field": (decoder.update(b"", block(65001) + NEXT_HOP, b"\x18\1\2"), b"\3\x0a"),
    "attributes beyond the message": (decoder.message(2, b"\0\0\0\x09\x40\1\1\0"), b"\3\1"),
    "nothing announced and an error": (
        decoder.update(b"", unreach(V6, A6[1]) + decoder.attribute(0x40, 1, b"\5")),
        b"\3",
    ),
    "unknown well-known attribute": (
        decoder.update(b"", block(65001) + NEXT_HOP + decoder.attribute(0x40, 99, b"x"), A[1]),
        b"\3\2",
    ),
}


@pytest.mark.parametrize(("octets", "code"), RESETS.values(), ids=RESETS.keys())
async def test_trap_06_what_cannot_be_read_ends_the_session(
    octets: bytes, code: bytes, autojump_clock: MockClock
) -> None:
    """RFC 7606, sections 3, 5.2, 5.3 and 7.11: where the routes meant are unknown the session is reset."""
    async with network(rs(1), rs(2)) as (the_lab, (one, two)):
        await one.say(announce(D))
        await the_lab.settle()
        assert set(two.table) == {D}
        await one.say(octets)
        await the_lab.settle()
        assert [each[: len(code)] for each in one.notifications] == [code]
        assert two.table == {}
        assert two.notifications == []


# 7: loops


async def test_trap_07_our_as_in_the_path_is_a_loop(autojump_clock: MockClock) -> None:
    """RFC 4271, section 9.1.2: a path with our AS is not taken, and what it replaces is gone."""
    async with network(rs(1), rs(2)) as (the_lab, (one, two)):
        await one.say(announce(A, B))
        await the_lab.settle()
        await one.say(announce(A, by=(65001, LOCAL_AS, 64999)))
        await the_lab.settle()
        assert set(two.table) == {B}


async def test_trap_07_our_as_in_as4_path_is_a_loop(autojump_clock: MockClock) -> None:
    """RFC 6793, section 4.2.3, RFC 4271, section 9.1.2: the loop is looked for in the path put together."""
    ours = 4200000000
    path = decoder.attribute(0x40, 2, sequence(65001, 23456, width="H")) + decoder.attribute(0xC0, 17, sequence(ours))
    other = decoder.attribute(0x40, 2, sequence(65001, 23456, width="H")) + decoder.attribute(0xC0, 17, sequence(70000))
    async with network(rs(1), rs(2), options={1: {"asn4": False}}, local_as=ours) as (the_lab, (one, two)):
        await one.say(decoder.announce([A], ORIGIN + path, HOP) + decoder.announce([B], ORIGIN + other, HOP))
        await the_lab.settle()
        assert set(two.table) == {B}


LOOPS = {
    "our ORIGINATOR_ID": decoder.attribute(0x80, 9, OUR_ID),
    "our cluster": decoder.attribute(0x80, 10, b"\x09\x09\x09\x09\x01\x02\x03\x04"),
}


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS.keys())
async def test_trap_07_our_own_reflection_is_a_loop(loop: bytes, autojump_clock: MockClock) -> None:
    """RFC 4456, section 8: a route with our BGP Identifier or our cluster came back."""
    near = decoder.attribute(0x80, 9, b"\x0b\0\0\1") + decoder.attribute(0x80, 10, b"\x04\x01\x02\x03")
    async with network(rr(1), rr(2), cluster_id=0x01020304) as (the_lab, (one, two)):
        await one.say(announce(A, by=(64999,)) + announce(B, by=(64999,), more=near))
        await the_lab.settle()
        assert set(two.table) == {A, B}
        await one.say(announce(A, by=(64999,), more=loop))
        await the_lab.settle()
        assert set(two.table) == {B}


async def test_trap_07_external_reflection_attributes_are_no_loop(autojump_clock: MockClock) -> None:
    """RFC 7606, sections 7.9 and 7.10: from outside ORIGINATOR_ID and CLUSTER_LIST are discarded before they count."""
    more = decoder.attribute(0x80, 9, OUR_ID) + decoder.attribute(0x80, 10, OUR_ID)
    async with network(rs(1), rs(2)) as (the_lab, (one, two)):
        await one.say(announce(A, more=more))
        await the_lab.settle()
        assert two.updates == [announce(A)]


async def test_trap_07_the_originator_can_tell_that_a_route_is_its_own(autojump_clock: MockClock) -> None:
    """RFC 4456, section 8: a router ignores what has its own ORIGINATOR_ID; we send it, and leave it that attribute."""
    own = decoder.attribute(0x80, 9, bytes.fromhex("0a000002")) + decoder.attribute(0x80, 10, b"\x09\x09\x09\x09")
    async with network(rr(1), rr(2), rr(3)) as (the_lab, (one, two, three)):
        await one.say(announce(A, by=(), more=own))
        await the_lab.settle()
        assert A in three.table
        assert (0x80, 9, bytes.fromhex("0a000002")) in two.table[A]


async def test_trap_07b_first_as_is_the_peers(autojump_clock: MockClock) -> None:
    """RFC 4271, section 6.3: checked unless switched off, as clients of another route server have to."""
    peers = [rs(1, enforce_first_as=True), rs(2), rs(3)]
    assert PeerSettings(name="x", peer_as=1).enforce_first_as
    async with network(*peers) as (the_lab, (one, two, three)):
        await one.say(announce(A, by=(65001, 1)) + announce(B, by=(64999, 65001)) + announce(C, by=()))
        await two.say(announce(D, by=(64999,)))
        await the_lab.settle()
        assert set(three.table) == {A, D}
        await one.say(announce(A, by=(64999,)))
        await the_lab.settle()
        assert set(three.table) == {D}


# 8: next hops


async def test_trap_08_route_server_and_reflector_leave_the_next_hop_alone(autojump_clock: MockClock) -> None:
    """RFC 7947, section 2.2.1, RFC 4456, section 10: whoever's address it is."""
    hop, hop6 = b"\x08\x08\x08\x08", bytes.fromhex("2a00") + bytes(13) + b"\x08"
    async with network(rs(1), rs(2), rr(3), rr(4)) as (the_lab, (one, two, three, four)):
        messages = [announce(A, hop=hop), announce(A6, hop=hop6)]
        await one.say(b"".join(messages))
        await three.say(announce(B, by=(64999,), hop=hop) + announce(B6, by=(64999,), hop=hop6))
        await the_lab.settle()
        assert two.updates[:2] == messages
        assert (value(four, B, 3), value(four, B6, 0)) == (hop, hop6)
        assert (value(four, A, 3), value(four, A6, 0)) == (hop, hop6)


async def test_trap_08_strict_check_refuses_others_next_hops(autojump_clock: MockClock) -> None:
    """RFC 7948, section 4.8: with the check on, only the client's own address is a next hop."""
    async with network(rs(1, next_hop_check=NextHopCheck.STRICT), rs(2)) as (the_lab, (one, two)):
        await one.say(announce(A, hop=bytes((192, 0, 2, 1))) + announce(B, hop=bytes((192, 0, 2, 2))))
        await the_lab.settle()
        assert set(two.table) == {A}


async def test_trap_08_a_next_hop_that_is_no_host_is_refused(autojump_clock: MockClock) -> None:
    """RFC 4271, section 6.3, RFC 7606, section 7.3: neither 0.x nor multicast."""
    async with network(rs(1), rs(2)) as (the_lab, (one, two)):
        await one.say(announce(A, hop=bytes(4)) + announce(B, hop=b"\xe0\0\0\5") + announce(C))
        await the_lab.settle()
        assert set(two.table) == {C}


async def test_trap_08b_link_local_next_hops_stay_on_their_link(autojump_clock: MockClock) -> None:
    """RFC 2545, section 3: route-server clients share the link, reflector's clients and others need not."""
    whole = announce(A6, hop=HOP6 + LINK_LOCAL)
    async with network(rs(1), rs(2), rr(3), ibgp(4), ebgp(5)) as (the_lab, (one, two, three, four, five)):
        await one.say(whole)
        await the_lab.settle()
        assert two.updates == [whole]
        assert value(three, A6, 0) == HOP6
        assert value(four, A6, 0) == HOP6
        assert value(five, A6, 0) == OUR_V6


async def test_trap_08b_reflected_link_local_next_hops_are_cut_off(autojump_clock: MockClock) -> None:
    """RFC 2545, section 3: internal peers are not on each other's links."""
    async with network(rr(1), rr(2)) as (the_lab, (one, two)):
        await one.say(announce(A6, by=(64999,), hop=HOP6 + LINK_LOCAL))
        await the_lab.settle()
        assert value(two, A6, 0) == HOP6


async def test_trap_08b_link_local_next_hops_of_ipv4_routes_are_cut_off_too(autojump_clock: MockClock) -> None:
    """RFC 8950, section 3, RFC 2545, section 3: a 32-octet next hop means the same whatever the NLRI's family."""
    settings = {"extended_next_hop": True}
    options: dict[int, dict[str, Any]] = {number: {"extra": (EXTENDED_NEXT_HOP,)} for number in (1, 2, 3)}
    peers = [rs(1, **settings), rs(2, **settings), rr(3, **settings)]
    async with network(*peers, options=options) as (the_lab, (one, two, three)):
        whole = decoder.update(b"", reach(V4, HOP6 + LINK_LOCAL, A[1]) + block(65001))
        await one.say(whole)
        await the_lab.settle()
        assert two.updates == [whole]
        assert value(three, A, 0) == HOP6


async def test_trap_08c_ipv6_next_hops_of_ipv4_routes_only_to_those_who_know_them(autojump_clock: MockClock) -> None:
    """RFC 8950, section 4: others get the best path they can read, if any."""
    peers = [rs(1, extended_next_hop=True), rs(2), rs(3, extended_next_hop=True), rs(4), rs(5, extended_next_hop=True)]
    options: dict[int, dict[str, Any]] = {number: {"extra": (EXTENDED_NEXT_HOP,)} for number in (1, 3, 4)}
    async with network(*peers, options=options) as (the_lab, (one, two, three, four, five)):
        whole = decoder.update(b"", reach(V4, HOP6, A[1] + B[1]) + block(65001))
        await one.say(whole)
        await the_lab.settle()
        assert three.updates == [whole]
        assert two.updates == four.updates == five.updates == [], "not offered by both"
        await two.say(announce(A, by=(65002, 65009)))
        await the_lab.settle()
        assert value(three, A, 0) == HOP6
        for client in (four, five):
            assert set(client.table) == {A}
            assert value(client, A, 3) == HOP
        await one.say(decoder.withdraw([A, B]))
        await the_lab.settle()
        assert set(three.table) == {A}
        assert value(three, A, 2) == sequence(65002, 65009)
        assert set(four.table) == {A}


async def test_trap_08c_who_gets_our_next_hop_need_not_know_ipv6_ones(autojump_clock: MockClock) -> None:
    """RFC 8950, section 4, RFC 4271, section 5.1.3: ours is IPv4, whatever the received one was."""
    peers = [rs(1, extended_next_hop=True), ebgp(2), rs(3)]
    async with network(*peers, options={1: {"extra": (EXTENDED_NEXT_HOP,)}}) as (the_lab, (one, two, three)):
        await one.say(decoder.update(b"", reach(V4, HOP6 + LINK_LOCAL, A[1]) + block(65001)))
        await three.say(announce(B, by=(65003,)))
        await the_lab.settle()
        for route, asn in ((A, 65001), (B, 65003)):
            assert value(two, route, 3) == OUR_V4
            assert value(two, route, 2) == sequence(LOCAL_AS, asn)
        assert set(two.table) == {A, B}
        assert three.table == {}
        await one.say(decoder.withdraw([A]))
        await the_lab.settle()
        assert set(two.table) == {B}


async def test_trap_08c_a_usual_path_replaced_by_one_with_an_ipv6_next_hop_is_withdrawn(
    autojump_clock: MockClock,
) -> None:
    """RFC 8950, section 4, RFC 4271, section 3.1: what a receiver may no longer have, it must not keep."""
    options: dict[int, dict[str, Any]] = {number: {"extra": (EXTENDED_NEXT_HOP,)} for number in (1, 3)}
    peers = [rs(1, extended_next_hop=True), rs(2), rs(3, extended_next_hop=True)]
    async with network(*peers, options=options) as (the_lab, (one, two, three)):
        await one.say(announce(A))
        await the_lab.settle()
        assert A in two.table
        await one.say(decoder.update(b"", reach(V4, HOP6, A[1]) + block(65001)))
        await the_lab.settle()
        assert two.table == {}
        assert value(three, A, 0) == HOP6
        await one.say(announce(A))
        await the_lab.settle()
        assert two.table[A] == three.table[A]


# 9: well-known communities


async def test_trap_09_route_server_passes_no_export_and_no_advertise(autojump_clock: MockClock) -> None:
    """RFC 7947, section 2.2.4: communities are between the clients."""
    async with network(rs(1), rs(2)) as (the_lab, (one, two)):
        messages = [
            announce(A, more=communities(NO_EXPORT)),
            announce(B, more=communities(NO_ADVERTISE)),
            announce(C, more=communities(NO_EXPORT_SUBCONFED)),
        ]
        await one.say(b"".join(messages))
        await the_lab.settle()
        assert two.updates == messages


@pytest.mark.parametrize("kept_inside", [NO_EXPORT, NO_EXPORT_SUBCONFED], ids=["NO_EXPORT", "NO_EXPORT_SUBCONFED"])
@pytest.mark.parametrize("source", [rs, ebgp, rr], ids=["rs-client", "ebgp", "rr-client"])
async def test_trap_09_others_obey_no_export_and_no_advertise(
    source: Any, kept_inside: bytes, autojump_clock: MockClock
) -> None:
    """RFC 1997: NO_ADVERTISE goes to nobody, NO_EXPORT and NO_EXPORT_SUBCONFED to nobody outside our AS."""
    async with network(source(1), rr(2), ebgp(3)) as (the_lab, (one, two, three)):
        await one.say(announce(A, B, C))
        await the_lab.settle()
        assert set(two.table) == set(three.table) == {A, B, C}
        await one.say(
            announce(A, more=communities(b"\0\1\0\2", kept_inside))
            + announce(B, more=communities(NO_ADVERTISE, b"\0\1\0\2"))
        )
        await the_lab.settle()
        assert set(two.table) == {A, C}
        assert set(three.table) == {C}


# 10: unknown attributes, flags, and what has no place outside


async def test_trap_10_unknown_attributes_by_role(autojump_clock: MockClock) -> None:
    """RFC 7947, section 2.2, RFC 4271, section 9: a route server passes them on, others drop them or set Partial."""
    more = (
        decoder.attribute(0xC0, 200, b"transitive")
        + decoder.attribute(0x80, 201, b"not")
        + decoder.attribute(0xE0, 202, b"partial")
    )
    whole = announce(A, more=more)
    async with network(rs(1), rs(2), rr(3), ebgp(4)) as (the_lab, (one, two, three, four)):
        await one.say(whole)
        await the_lab.settle()
        assert two.updates == [whole]
        for client in (three, four):
            assert (flags(client, A, 200), value(client, A, 200)) == (0xE0, b"transitive")
            assert value(client, A, 201) is None
            assert (flags(client, A, 202), value(client, A, 202)) == (0xE0, b"partial")


async def test_trap_10_known_attributes_do_not_become_partial(autojump_clock: MockClock) -> None:
    """RFC 4271, section 5: Partial is for those who do not recognise an attribute; once set it stays."""
    more = communities(b"\0\1\0\2") + decoder.attribute(0xE0, 32, bytes(12))
    async with network(rs(1), rr(2), ebgp(3)) as (the_lab, (one, two, three)):
        await one.say(announce(A, more=more))
        await the_lab.settle()
        for client in (two, three):
            assert flags(client, A, 8) == 0xC0
            assert flags(client, A, 32) == 0xE0


DIRTY = {
    "unused bits of ORIGIN": b"\x4f\x01\x01\x00" + decoder.as_path(65001) + NEXT_HOP,
    "Partial on ORIGIN": b"\x60\x01\x01\x00" + decoder.as_path(65001) + NEXT_HOP,
    "unused bits of NEXT_HOP": block(65001) + b"\x41\x03\x04" + HOP,
    "unused bits of an extended length": b"\x51\x01\x00\x01\x00" + decoder.as_path(65001) + NEXT_HOP,
    "unused bits of an unknown attribute": block(65001) + NEXT_HOP + b"\xc8\xc8\x01x",
    "Partial on an unknown non-transitive attribute": block(65001) + NEXT_HOP + b"\xa0\xc9\x01x",
    "Partial on MULTI_EXIT_DISC": block(65001) + NEXT_HOP + b"\xa0\x04\x04\0\0\0\1",
}


@pytest.mark.parametrize("attributes", DIRTY.values(), ids=DIRTY.keys())
async def test_trap_10b_dirty_flags_are_cleaned(attributes: bytes, autojump_clock: MockClock) -> None:
    """RFC 4271, section 4.3: the low four bits are 0, Partial is 0 on all but optional transitive attributes."""
    async with network(rs(1), rs(2)) as (the_lab, (one, two)):
        await one.say(decoder.update(b"", attributes, A[1]))
        await the_lab.settle()
        (whole,) = two.updates
        expected = [
            (found & (0xE0 if found & 0xC0 == 0xC0 else 0xC0), kind, octets)
            for found, kind, octets in decoder.attributes_of(attributes)
        ]
        assert attributes_in(whole) == expected


async def test_trap_10b_dirty_multiprotocol_flags_are_cleaned(autojump_clock: MockClock) -> None:
    """RFC 4271, section 4.3: in MP_REACH_NLRI and MP_UNREACH_NLRI as well, announced or withdrawn."""
    async with network(rs(1), rs(2)) as (the_lab, (one, two)):
        await one.say(decoder.update(b"", reach(V6, HOP6, A6[1] + B6[1], flags=0xA3) + block(65001)))
        await one.say(decoder.update(b"", b"\x8f\x0f\x0a\0\2\1" + A6[1]))
        await the_lab.settle()
        assert set(two.table) == {B6}
        assert [found for each in two.updates for found, kind, _ in attributes_in(each) if kind > 13] == [0x80, 0x80]


async def test_trap_10c_internal_attributes_from_outside_are_discarded(autojump_clock: MockClock) -> None:
    """RFC 4271, section 5.1.5, RFC 7606, sections 7.5, 7.9 and 7.10: and do not count in the decision."""
    more = (
        decoder.attribute(0x40, 5, b"\0\0\xff\xff")
        + decoder.attribute(0x80, 9, b"\0\0\0\1")
        + decoder.attribute(0x80, 10, b"\0\0\0\1")
    )
    async with network(rs(1), rs(2), rs(3), rr(4)) as (the_lab, (one, two, three, four)):
        await one.say(announce(A, by=(65001, 64999), more=more))
        await the_lab.settle()
        assert two.updates == [announce(A, by=(65001, 64999))]
        assert kinds(four, A) == {1, 2, 3, 5}
        assert value(four, A, 5) == b"\0\0\0\x64"
        await two.say(announce(A, by=(65002,)))
        await the_lab.settle()
        assert value(three, A, 2) == sequence(65002)


async def test_trap_10c_nothing_internal_leaves_in_a_withdrawal(autojump_clock: MockClock) -> None:
    """RFC 4271, section 5.1.5: LOCAL_PREF is in no UPDATE to an external peer, whatever that withdraws."""
    inside = ORIGIN + decoder.as_path() + decoder.attribute(0x40, 5, b"\0\0\0\x64")
    async with network(rr(1), ebgp(2), rs(3)) as (the_lab, (one, two, three)):
        await one.say(announce(A, by=()) + announce(A6, by=()))
        await the_lab.settle()
        assert set(two.table) == set(three.table) == {A, A6}
        await one.say(decoder.update(b"", unreach(V6, A6[1]) + inside) + decoder.update(A[1], inside))
        await the_lab.settle()
        for client in (two, three):
            assert client.table == {}
            assert [kind for each in client.updates for _, kind, _ in attributes_in(each) if kind == 5] == []


async def test_trap_10c_aigp_from_outside_is_ignored(autojump_clock: MockClock) -> None:
    """RFC 7311, section 3.3: where it is not enabled, as on external sessions, it is not passed along."""
    aigp = decoder.attribute(0x80, 26, b"\1\0\x0b" + bytes(8))
    async with network(ebgp(1), rr(2), rr(3)) as (the_lab, (one, two, three)):
        await one.say(announce(A, more=aigp))
        await three.say(announce(B, by=(), more=aigp))
        await the_lab.settle()
        assert 26 in kinds(two, B), "internal sessions have it"
        assert 26 not in kinds(two, A)


# 11: size


async def test_trap_11_length_decides_not_the_senders_capability(autojump_clock: MockClock) -> None:
    """RFC 8654, section 4: short messages of an extended peer pass as they are, long ones are split."""
    many = [(V4, bytes((24, 11, n >> 8, n & 255))) for n in range(1500)]
    long, short = announce(*many), announce(A)
    options = {1: {"extended": True}, 2: {"extended": True}}
    async with network(rs(1), rs(2), rs(3), options=options) as (the_lab, (one, two, three)):
        await one.say(short + long)
        await the_lab.settle()
        assert two.updates == [short, long]
        assert three.updates[0] == short
        assert len(three.updates) == 3
        assert set(three.table) == {A, *many}
        gone = decoder.withdraw(many)
        assert len(gone) > 4096
        await one.say(gone)
        await the_lab.settle()
        assert two.updates[-1] == gone
        assert set(three.table) == {A}


async def test_trap_11_exactly_4096_octets_are_for_everybody(autojump_clock: MockClock) -> None:
    """RFC 8654, section 4: the limit without extended messages is 4096, header included."""
    padding = 4096 - len(announce(A, more=decoder.attribute(0xC0, 200, bytes(300)))) + 300
    fits = announce(A, more=decoder.attribute(0xC0, 200, bytes(padding)))
    longer = announce(B, more=decoder.attribute(0xC0, 200, bytes(padding + 1)))
    assert (len(fits), len(longer)) == (4096, 4097)
    options = {1: {"extended": True}, 2: {"extended": True}}
    async with network(rs(1), rs(2), rs(3), options=options) as (the_lab, (one, two, three)):
        await one.say(fits + longer)
        await the_lab.settle()
        assert two.updates == [fits, longer]
        assert three.updates[0] == fits
        assert set(three.table) == {A}


async def test_trap_11_attributes_too_long_for_a_receiver_withdraw_the_route(autojump_clock: MockClock) -> None:
    """RFC 8654, section 4: what cannot be sent is not sent, and what was sent before is withdrawn."""
    long = decoder.attribute(0xC0, 200, bytes(5000))
    options = {1: {"extended": True}, 2: {"extended": True}}
    async with network(rs(1), rs(2), rs(3), options=options) as (the_lab, (one, two, three)):
        await one.say(announce(A, B) + announce(A6))
        await the_lab.settle()
        await one.say(announce(A, more=long) + announce(A6, more=long))
        await the_lab.settle()
        assert set(two.table) == {A, B, A6}
        assert set(three.table) == {B}


async def test_trap_11_what_fits_is_sent_whatever_it_came_with(autojump_clock: MockClock) -> None:
    """RFC 8654, section 4: of two prefixes with the same attributes the longer one may be too long, live and later."""
    longer = (V4, b"\x20\x0b\0\0\1")
    padding = 4096 - len(announce(A, more=decoder.attribute(0xC0, 200, bytes(300)))) + 300
    more = decoder.attribute(0xC0, 200, bytes(padding))
    assert (len(announce(A, more=more)), len(announce(longer, more=more))) == (4096, 4097)
    async with network(rs(1), rs(2), rs(3), options={1: {"extended": True}}) as (the_lab, (one, two, three)):
        await one.say(announce(longer))
        await the_lab.settle()
        assert set(two.table) == {longer}
        await one.say(announce(A, longer, B, more=more))
        await the_lab.settle()
        assert set(two.table) == {A, B}
        two.table.clear()
        await two.say(decoder.message(decoder.REFRESH, b"\0\1\0\1"))
        await the_lab.settle()
        assert set(two.table) == set(three.table) == {A, B}


async def test_trap_11_a_route_longer_than_any_message_is_not_even_withdrawn(autojump_clock: MockClock) -> None:
    """RFC 8654, section 4: a BGP-LS route of 5,000 octets was never sent to who takes 4,096; others are as ever."""
    long, short = ((BGP_LS, struct.pack(">HH", 1, size) + bytes(size)) for size in (5000, 9))
    families = (BGP_LS_FAMILY, IPV4_UNICAST)
    options: dict[int, dict[str, Any]] = {number: {"families": (BGP_LS, V4)} for number in (1, 2, 3)}
    options[1]["extended"] = options[2]["extended"] = True
    peers = [rs(number, families=families) for number in (1, 2, 3)]
    async with network(*peers, options=options) as (the_lab, (one, two, three)):
        whole = announce(long, short)
        await one.say(whole)
        await the_lab.settle()
        assert two.updates == [whole]
        assert set(three.table) == {short}
        gone = decoder.withdraw([long, short])
        await one.say(gone)
        await the_lab.settle()
        assert two.updates == [whole, gone]
        assert three.table == {}
        assert three.notifications == one.notifications == []


async def test_trap_11_what_is_added_can_make_a_message_too_long(autojump_clock: MockClock) -> None:
    """RFC 8654, section 4, RFC 9234, section 5: the length that counts is the one after rewriting."""
    many = [(V4, bytes((24, 11, n >> 8, n & 255))) for n in range(900)]
    padding = 4096 - len(announce(*many, more=decoder.attribute(0xC0, 200, bytes(300)))) + 300
    whole = announce(*many, more=decoder.attribute(0xC0, 200, bytes(padding)))
    assert len(whole) == 4096
    async with network(rs(1), rs(2, bgp_role=BgpRole.RS), rs(3)) as (the_lab, (one, two, three)):
        await one.say(whole)
        await the_lab.settle()
        assert three.updates == [whole]
        assert set(two.table) == set(many)
        assert {value(two, route, 35) for route in two.table} == {struct.pack(">I", LOCAL_AS)}


# 12: AS numbers of two octets


async def test_trap_12_old_peers_get_as_trans_and_as4_path(autojump_clock: MockClock) -> None:
    """RFC 6793, section 4.2.2: AS_PATH and AGGREGATOR with AS_TRANS, AS4_PATH and AS4_AGGREGATOR beside them."""
    more = decoder.attribute(0xC0, 7, struct.pack(">I", 70001) + b"\x0a\0\0\1")
    async with network(rs(1), rs(2), rs(3), options={2: {"asn4": False}}) as (the_lab, (one, two, three)):
        whole = announce(A, by=(65001, 70000, 64999), more=more)
        small = announce(B, by=(65001, 64999))
        await one.say(whole + small)
        await the_lab.settle()
        assert three.updates == [whole, small]
        assert value(two, A, 2) == sequence(65001, 23456, 64999, width="H")
        assert value(two, A, 17) == sequence(65001, 70000, 64999)
        assert value(two, A, 7) == struct.pack(">H", 23456) + b"\x0a\0\0\1"
        assert value(two, A, 18) == struct.pack(">I", 70001) + b"\x0a\0\0\1"
        assert (flags(two, A, 17), flags(two, A, 18)) == (0xC0, 0xC0)
        assert value(two, B, 2) == sequence(65001, 64999, width="H")
        assert kinds(two, B) == {1, 2, 3}


async def test_trap_12_paths_from_old_peers_are_put_together(autojump_clock: MockClock) -> None:
    """RFC 6793, section 4.2.3: AS4_PATH replaces the end of AS_PATH and is gone towards new peers."""
    old = (
        ORIGIN
        + decoder.attribute(0x40, 2, sequence(65001, 64999, 23456, 23456, width="H"))
        + NEXT_HOP
        + decoder.attribute(0xC0, 7, struct.pack(">H", 23456) + b"\x0a\0\0\1")
        + decoder.attribute(0xC0, 17, sequence(70000, 70001))
        + decoder.attribute(0xC0, 18, struct.pack(">I", 70001) + b"\x0a\0\0\1")
    )
    options = {1: {"asn4": False}, 2: {"asn4": False}}
    async with network(rs(1), rs(2), rs(3), options=options) as (the_lab, (one, two, three)):
        whole = decoder.update(b"", old, A[1])
        await one.say(whole)
        await the_lab.settle()
        assert two.updates == [whole]
        assert kinds(three, A) == {1, 2, 3, 7}
        assert value(three, A, 2) == sequence(65001, 64999, 70000, 70001)
        assert value(three, A, 7) == struct.pack(">I", 70001) + b"\x0a\0\0\1"


async def test_trap_12_a_path_that_is_too_long_when_put_together_is_a_withdrawal(autojump_clock: MockClock) -> None:
    """RFC 6793, section 4.2.3, RFC 8654: 25,500 AS numbers of two octets fit an attribute, of four they do not."""
    old = decoder.attribute(0x40, 2, b"".join(sequence(*[65001] * 255, width="H") for _ in range(100)))
    options = {1: {"asn4": False, "extended": True}, 2: {"extended": True}, 3: {"extended": True, "asn4": False}}
    async with network(rs(1), rs(2), rs(3), options=options) as (the_lab, (one, two, three)):
        short = decoder.attribute(0x40, 2, sequence(65001, width="H"))
        for attributes in (short, old):
            await one.say(
                decoder.announce([A], ORIGIN + attributes, HOP) + decoder.announce([A6], ORIGIN + attributes, HOP6)
            )
            await the_lab.settle()
            for client in (two, three):
                assert set(client.table) == ({A, A6} if attributes is short else set())
        await one.say(decoder.announce([B], ORIGIN + short, HOP))
        await the_lab.settle()
        assert set(two.table) == {B}
        assert one.notifications == []


async def test_trap_12_an_aggregator_of_an_old_speaker_voids_both(autojump_clock: MockClock) -> None:
    """RFC 6793, section 4.2.3: AGGREGATOR other than AS_TRANS: AS4_AGGREGATOR and AS4_PATH are ignored."""
    old = (
        ORIGIN
        + decoder.attribute(0x40, 2, sequence(65001, 23456, width="H"))
        + NEXT_HOP
        + decoder.attribute(0xC0, 7, struct.pack(">H", 64999) + b"\x0a\0\0\1")
        + decoder.attribute(0xC0, 17, sequence(70000))
        + decoder.attribute(0xC0, 18, struct.pack(">I", 70001) + b"\x0a\0\0\1")
    )
    async with network(rs(1), rs(2), options={1: {"asn4": False}}) as (the_lab, (one, two)):
        await one.say(decoder.update(b"", old, A[1]))
        await the_lab.settle()
        assert value(two, A, 2) == sequence(65001, 23456)
        assert value(two, A, 7) == struct.pack(">I", 64999) + b"\x0a\0\0\1"


async def test_trap_12_our_own_large_as_is_as_trans_to_an_old_peer(autojump_clock: MockClock) -> None:
    """RFC 6793, section 4.2.2: what is prepended is narrowed as well."""
    ours = 4200000000
    async with network(rs(1), ebgp(2), options={2: {"asn4": False}}, local_as=ours) as (the_lab, (one, two)):
        await one.say(announce(A))
        await the_lab.settle()
        assert value(two, A, 2) == sequence(23456, 65001, width="H")
        assert value(two, A, 17) == sequence(ours, 65001)


async def test_trap_12_withdrawals_are_for_every_width(autojump_clock: MockClock) -> None:
    """RFC 6793, section 4: a bare withdrawal has no AS number in it and passes as it is."""
    async with network(rs(1), rs(2), rs(3), options={2: {"asn4": False}}) as (the_lab, (one, two, three)):
        await one.say(announce(A) + announce(A6))
        await the_lab.settle()
        forget(two, three)
        messages = [decoder.withdraw([A]), decoder.withdraw([A6])]
        await one.say(b"".join(messages))
        await the_lab.settle()
        assert two.updates == three.updates == messages


@pytest.mark.parametrize("new", [1, 2], ids=["to an old peer", "from an old peer"])
@pytest.mark.parametrize("family", [V4, V6], ids=["withdrawn routes", "MP_UNREACH_NLRI"])
async def test_trap_12_as_numbers_beside_a_withdrawal_are_not_misread(
    family: Family, new: int, autojump_clock: MockClock
) -> None:
    """RFC 6793, section 4.2.2, RFC 7606, section 5.2: an AS_PATH of the other width would reset the receiver."""
    sent, readable = ("I", "H") if new == 1 else ("H", "I")
    useless = ORIGIN + decoder.attribute(0x40, 2, sequence(65001, width=sent))
    route = A if family == V4 else A6
    async with network(rs(1), rs(2), options={3 - new: {"asn4": False}}) as (the_lab, (one, two)):
        path = decoder.attribute(0x40, 2, sequence(65001, width=sent))
        await one.say(decoder.announce([route], ORIGIN + path, HOP if family == V4 else HOP6))
        await the_lab.settle()
        forget(two)
        whole = decoder.update(A[1], useless) if family == V4 else decoder.update(b"", unreach(V6, A6[1]) + useless)
        await one.say(whole)
        await the_lab.settle()
        assert two.table == {}
        paths = [octets for each in two.updates for _, kind, octets in attributes_in(each) if kind == 2]
        assert paths in ([], [sequence(65001, width=readable)])


# 13: End-of-RIB


async def test_trap_13_end_of_rib_is_consumed(autojump_clock: MockClock) -> None:
    """RFC 4724, sections 2 and 4.1: a peer's marker says nothing about what we have sent to others."""
    ends = [
        decoder.update(),
        decoder.update(b"", unreach(V6, b"")),
        decoder.update(b"", b"\x90\x0f\x00\x03\x00\x02\x01"),
    ]
    async with network(rs(1), rs(2), rr(3)) as (the_lab, (one, two, three)):
        whole = announce(A)
        await one.say(whole + b"".join(ends))
        await the_lab.settle()
        assert two.updates == [whole]
        assert len(three.updates) == 1
        assert one.notifications == []
        assert the_lab.member(1).end_of_rib == {1 << 8 | 1, 2 << 8 | 1}


async def test_trap_13_an_empty_mp_reach_is_no_end_of_rib(autojump_clock: MockClock) -> None:
    """RFC 4724, section 2: nothing announced is nothing to tell; it reaches nobody as an empty message."""
    async with network(rs(1), rs(2)) as (the_lab, (one, two)):
        await one.say(decoder.update(b"", reach(V6, HOP6, b"") + block(65001)) + announce(A))
        await the_lab.settle()
        assert two.updates == [announce(A)]


# 14: several fields in one message


def fields(whole: bytes) -> int:
    """How many of withdrawn routes, NLRI, MP_REACH_NLRI and MP_UNREACH_NLRI an UPDATE uses."""
    found = Update(whole)
    present = {kind for _, kind, _ in attributes_in(whole)} & {14, 15}
    classic = any(route[0] == V4 for route in found.announced) + any(route[0] == V4 for route in found.withdrawn)
    return len(present) + classic


async def test_trap_14_mixed_messages_are_split_by_field_and_family(autojump_clock: MockClock) -> None:
    """RFC 4760, section 3, RFC 7606, section 5.1: one field a message, MP attributes first, families as negotiated."""
    options = {3: {"families": (V4,)}, 4: {"families": (V6,)}}
    async with network(rs(1), rs(2), rs(3), rs(4), options=options) as (the_lab, (one, two, three, four)):
        await one.say(announce(A) + announce(B6))
        await the_lab.settle()
        forget(two, three, four)
        mixed = decoder.update(
            A[1], block(65001, 7) + NEXT_HOP + reach(V6, HOP6, A6[1]) + unreach(V6, B6[1]), B[1] + C[1]
        )
        await one.say(mixed)
        await the_lab.settle()
        assert set(two.table) == {B, C, A6}
        assert set(three.table) == {B, C}
        assert set(four.table) == {A6}
        for client in (two, three, four):
            for whole in client.updates:
                assert fields(whole) == 1
                found = [kind for _, kind, _ in attributes_in(whole)]
                assert not {14, 15} & set(found[1:])
        assert {value(two, route, 2) for route in two.table} == {sequence(65001, 7)}
        assert value(two, A6, 3) in (None, HOP)


async def test_trap_14_the_longest_mixture_is_for_everybody(autojump_clock: MockClock) -> None:
    """RFC 8654, section 4, RFC 7606, section 5.1: 65,535 octets of four fields, to who reads 4,096, or one family."""
    old4, new4 = ([(V4, bytes((24, first, n >> 8, n & 255))) for n in range(3500)] for first in (11, 12))
    old6, new6 = ([(V6, bytes((48, 0x20, first, 0, 0, n >> 8, n & 255))) for n in range(2400)] for first in (1, 2))
    path = decoder.attribute(0x40, 2, sequence(65001, 70000))
    options: dict[int, dict[str, Any]] = {
        1: {"extended": True},
        2: {"extended": True},
        4: {"asn4": False},
        5: {"families": (V4,)},
        6: {"families": (V6,)},
        7: {"add_path": 1, "receives_add_path": True},
    }
    peers = [rs(1), rs(2), rs(3), rs(4), rs(5), rs(6), rs(7, add_path=ALL), rr(8)]
    async with network(*peers, options=options) as (the_lab, (one, *receivers)):
        await one.say(announce(*old4) + announce(*old6))
        await the_lab.settle()
        fields = [b"".join(nlri for _, nlri in routes) for routes in (old4, old6, new6, new4)]
        attributes = ORIGIN + path + NEXT_HOP + unreach(V6, fields[1]) + reach(V6, HOP6, fields[2])
        short = decoder.update(fields[0], attributes, fields[3])
        padding = decoder.attribute(0xC0, 200, bytes(3000))
        whole = decoder.update(fields[0], attributes + padding, fields[3])
        assert len(short) < len(whole) <= 65535
        assert len(whole) > 64000
        await one.say(whole)
        await the_lab.settle()
        for client in receivers:
            expected = {route for route in (*new4, *new6) if route[0] in client.families}
            held = {(family, nlri[4:] if client.receives_add_path else nlri) for family, nlri in client.table}
            assert held == expected
            assert all(len(each) <= 4096 for each in client.updates) is (client is not receivers[0])
            assert one.notifications == client.notifications == []


async def test_trap_14_ipv4_withdrawn_and_announced_together_is_split(autojump_clock: MockClock) -> None:
    """RFC 7606, section 5.1: withdrawn routes and NLRI are never sent in one message."""
    async with network(rs(1), rs(2)) as (the_lab, (one, two)):
        await one.say(announce(A))
        await the_lab.settle()
        forget(two)
        await one.say(decoder.update(A[1], block(65001) + NEXT_HOP, B[1]))
        await the_lab.settle()
        assert set(two.table) == {B}
        assert [fields(each) for each in two.updates] == [1, 1]


# 15: BGP Role


def role(number: int) -> tuple[bytes, ...]:
    """The capability of a peer's role."""
    return (bytes((9, 1, number)),)


OTC = decoder.attribute(0xC0, 35, struct.pack(">I", 65001))


async def test_trap_15_route_server_adds_only_to_customer(autojump_clock: MockClock) -> None:
    """RFC 9234, section 5: towards rs-clients OTC with our AS where it is absent; one message for all of them."""
    peers = [rs(1), rs(2), *(rs(number, bgp_role=BgpRole.RS) for number in (3, 4))]
    options = {number: {"extra": role(2)} for number in (3, 4)}
    async with network(*peers, options=options) as (the_lab, (one, two, three, four)):
        whole = announce(A)
        marked = announce(B, more=OTC)
        await one.say(whole + marked)
        await the_lab.settle()
        assert two.updates == [whole, marked]
        assert (flags(three, A, 35), value(three, A, 35)) == (0xC0, struct.pack(">I", LOCAL_AS))
        assert value(three, B, 35) == struct.pack(">I", 65001)
        assert three.updates == four.updates


@pytest.mark.parametrize(
    ("ours", "theirs", "allowed"),
    [
        (BgpRole.PROVIDER, 3, set[int]()),
        (BgpRole.RS, 2, set[int]()),
        (BgpRole.PEER, 4, {65001}),
        (BgpRole.CUSTOMER, 0, {65001, 64999}),
        (BgpRole.RS_CLIENT, 1, {65001, 64999}),
    ],
    ids=["customer", "rs-client", "peer", "provider", "route server"],
)
async def test_trap_15_leaks_are_refused(
    ours: BgpRole, theirs: int, allowed: set[int], autojump_clock: MockClock
) -> None:
    """RFC 9234, section 5: OTC from a customer or rs-client, or not a peer's own, is a leak; it withdraws."""
    async with network(rs(1, bgp_role=ours), rs(2), options={1: {"extra": role(theirs)}}) as (the_lab, (one, two)):
        for route, asn in ((A, 65001), (B, 64999)):
            await one.say(announce(route))
            await the_lab.settle()
            assert route in two.table
            await one.say(announce(route, more=decoder.attribute(0xC0, 35, struct.pack(">I", asn))))
            await the_lab.settle()
            assert (route in two.table) is (asn in allowed)


@pytest.mark.parametrize(
    ("ours", "theirs", "marked"),
    [
        (BgpRole.CUSTOMER, 0, True),
        (BgpRole.PEER, 4, True),
        (BgpRole.RS_CLIENT, 1, True),
        (BgpRole.PROVIDER, 3, False),
        (BgpRole.RS, 2, False),
    ],
    ids=["provider", "peer", "route server", "customer", "rs-client"],
)
async def test_trap_15_routes_from_above_are_marked_and_stay_below(
    ours: BgpRole, theirs: int, marked: bool, autojump_clock: MockClock
) -> None:
    """RFC 9234, section 5: marked with the sender's AS at ingress, and then not for providers, peers or servers."""
    peers = [
        ebgp(1, bgp_role=ours),
        ebgp(2, bgp_role=BgpRole.PROVIDER),
        ebgp(3, bgp_role=BgpRole.CUSTOMER),
        ebgp(4, bgp_role=BgpRole.PEER),
        rr(5),
    ]
    options = {number: {"extra": role(kind)} for number, kind in ((1, theirs), (2, 3), (3, 0), (4, 4))}
    async with network(*peers, options=options) as (the_lab, (one, customer, provider, peer, inside)):
        await one.say(announce(A) + announce(A6))
        await the_lab.settle()
        for route in (A, A6):
            assert value(inside, route, 35) == (struct.pack(">I", 65001) if marked else None)
            assert value(customer, route, 35) == struct.pack(">I", 65001 if marked else LOCAL_AS)
            assert (route in provider.table) is (not marked)
            assert (route in peer.table) is (not marked)
            if not marked:
                assert value(provider, route, 35) is None
                assert value(peer, route, 35) == struct.pack(">I", LOCAL_AS)


# 16: long-lived graceful restart


async def test_trap_16_stale_routes_are_least_preferred(autojump_clock: MockClock) -> None:
    """RFC 9494, section 4.3: any other path is better, however long; alone it is still used."""
    async with network(rs(1), rs(2), rs(3)) as (the_lab, (one, two, three)):
        stale = announce(A, more=communities(LLGR_STALE))
        await one.say(stale)
        await the_lab.settle()
        assert three.updates == [stale]
        await two.say(announce(A, by=(65002, 1, 2, 3, 4)))
        await the_lab.settle()
        assert value(three, A, 2) == sequence(65002, 1, 2, 3, 4)
        assert value(two, A, 2) == sequence(65001)


async def test_trap_16_stale_routes_only_to_those_who_know_them(autojump_clock: MockClock) -> None:
    """RFC 9494, section 4.3: not to peers without the capability; between a server's clients all passes."""
    options: dict[int, dict[str, Any]] = {number: {"extra": (LLGR,)} for number in (3, 5)}
    peers = [rs(1), rs(2), rr(3), rr(4), ebgp(5), ebgp(6)]
    async with network(*peers, options=options) as (the_lab, (one, two, three, four, five, six)):
        await one.say(announce(A, B))
        await the_lab.settle()
        await one.say(announce(A, more=communities(LLGR_STALE)))
        await the_lab.settle()
        for client in (two, three, five):
            assert set(client.table) == {A, B}
            assert value(client, A, 8) == LLGR_STALE
        for client in (four, six):
            assert set(client.table) == {B}


# 17: communities that are for somebody else to act on


@pytest.mark.parametrize("community", [GRACEFUL_SHUTDOWN, BLACKHOLE], ids=["GRACEFUL_SHUTDOWN", "BLACKHOLE"])
async def test_trap_17_graceful_shutdown_and_blackhole_pass(community: bytes, autojump_clock: MockClock) -> None:
    """PO-2, PO-3 (RFC 8326, section 4; RFC 7999, section 3): passed on to all; a server's clients get the octets."""
    host = (V4, b"\x20\x0a\0\0\1")
    whole = announce(host, more=communities(community))
    async with network(rs(1), rs(2), rr(3), ebgp(4)) as (the_lab, (one, two, three, four)):
        await one.say(whole)
        await the_lab.settle()
        assert two.updates == [whole]
        for client in (three, four):
            assert value(client, host, 8) == community


# 18: AS_SET and AS 0


async def test_trap_18_as_sets_are_refused_where_that_is_chosen(autojump_clock: MockClock) -> None:
    """RFC 9774, section 3: with the switch on treated as withdrawn, otherwise passed on as they are."""
    whole = decoder.update(
        b"", ORIGIN + decoder.attribute(0x40, 2, sequence(65001) + b"\1\2\0\0\0\1\0\0\0\2") + NEXT_HOP, A[1]
    )
    async with network(rs(1, reject_as_set=True), rs(2), rs(3)) as (the_lab, (one, two, three)):
        await one.say(announce(A) + announce(B))
        await the_lab.settle()
        await one.say(whole)
        await the_lab.settle()
        assert set(two.table) == {B}
        forget(three)
        await two.say(whole)
        await the_lab.settle()
        assert three.updates == [whole]


async def test_trap_18_as_0_is_refused(autojump_clock: MockClock) -> None:
    """RFC 7607, section 2: in AS_PATH the route is withdrawn, as AGGREGATOR the attribute is discarded."""
    async with network(rs(1), rs(2)) as (the_lab, (one, two)):
        await one.say(announce(A, B, C))
        await the_lab.settle()
        forget(two)
        nobody = decoder.attribute(0xC0, 7, bytes(4) + b"\x0a\0\0\1")
        await one.say(announce(A, by=(65001, 0, 64999)) + announce(B, by=(65001, 5), more=nobody))
        await the_lab.settle()
        assert set(two.table) == {B, C}
        assert two.updates[-1] == announce(B, by=(65001, 5))


async def test_trap_18_as_0_in_as4_path_is_refused(autojump_clock: MockClock) -> None:
    """RFC 7607, section 2, RFC 6793, section 6: AS4_PATH with AS 0 is malformed and is discarded."""
    old = ORIGIN + decoder.attribute(0x40, 2, sequence(65001, 23456, width="H")) + NEXT_HOP
    bad = decoder.attribute(0xC0, 17, sequence(0))
    options = {1: {"asn4": False}, 2: {"asn4": False}}
    async with network(rs(1), rs(2), rs(3), options=options) as (the_lab, (one, two, three)):
        await one.say(decoder.update(b"", old + bad, A[1]))
        await the_lab.settle()
        assert two.updates == [decoder.update(b"", old, A[1])]
        assert value(three, A, 2) == sequence(65001, 23456)


# 19: split horizon


async def test_trap_19_nobody_gets_its_own_routes_back(autojump_clock: MockClock) -> None:
    """RFC 4271, section 9.2: neither live, nor among several paths, nor in a replay."""
    peers = [rs(1), rs(2, add_path=ALL), rr(3)]
    options = {2: {"add_path": 3, "receives_add_path": True}}
    async with network(*peers, options=options) as (the_lab, (one, two, three)):
        await one.say(announce(A, B) + announce(A6))
        await two.say(announce(with_identifier(1, B), with_identifier(2, B), by=(65002,)))
        await three.say(announce(C, by=()))
        await the_lab.settle()
        for client in (one, two, three):
            for family in (V4, V6):
                await client.say(decoder.message(decoder.REFRESH, struct.pack(">HBB", family[0], 0, family[1])))
        await the_lab.settle()
        assert set(one.table) == {B, C}
        assert value(one, B, 2) == sequence(65002)
        assert {(family, nlri[4:]) for family, nlri in two.table} == {A, B, A6, C}
        assert set(identifiers(two, B)) == {sequence(65001)}
        assert set(three.table) == {A, B, A6}
        assert [route for each in one.updates for route in Update(each).announced if route in (A, A6)] == []
        assert [route for each in three.updates for route in Update(each).announced if route == C] == []


# 20: what is between two neighbours only


async def test_trap_20_only_updates_are_forwarded(autojump_clock: MockClock) -> None:
    """RFC 4271, section 4, RFC 2918: KEEPALIVE, ROUTE-REFRESH and NOTIFICATION end at us."""
    async with network(rs(1), rs(2), rr(3)) as (the_lab, (one, two, three)):
        await one.say(
            decoder.message(decoder.KEEPALIVE)
            + decoder.message(decoder.REFRESH, b"\0\1\0\1")
            + announce(A)
            + decoder.message(decoder.KEEPALIVE)
            + decoder.message(decoder.NOTIFICATION, b"\6\2")
        )
        await the_lab.settle()
        for client in (two, three):
            assert {each[18] for each in client.log} == {decoder.UPDATE}
            assert client.table == {}
            assert A in {route for each in client.updates for route in Update(each).announced}
            assert not client.closed.is_set()


# 21: limits


async def test_trap_21_limits_count_what_is_in_the_table(autojump_clock: MockClock) -> None:
    """RFC 4486, section 4: repetitions and replacements do not count, withdrawals do; data names family and limit."""
    async with network(rs(1, max_prefixes=3), rs(2)) as (the_lab, (one, two)):
        for turn in range(4):
            await one.say(announce(A, B, C, by=(65001, turn + 1)) + announce(A6, by=(65001, turn + 1)))
        await one.say(decoder.withdraw([C]) + decoder.withdraw([C]) + announce(D) + announce(B6))
        await the_lab.settle()
        assert one.notifications == []
        assert set(two.table) == {A, B, D, A6, B6}
        await one.say(announce(C))
        await the_lab.settle()
        assert one.notifications == [b"\6\1\0\1\1\0\0\0\3"]
        assert two.table == {}


async def test_trap_21_contended_prefixes_count_for_each_source(autojump_clock: MockClock) -> None:
    """RFC 4486, section 4: a losing path is one of the peer's prefixes as well; a refused one is not."""
    async with network(rs(1), rs(2, max_prefixes=2), rs(3)) as (the_lab, (one, two, three)):
        await one.say(announce(A, B, C))
        await two.say(announce(A, B, by=(65002, 1, 2)))
        await two.say(announce(A, B, by=(65002, 1, 2, 3)))
        await two.say(announce(C, D, by=(65002, LOCAL_AS)))
        await the_lab.settle()
        assert two.notifications == []
        await two.say(decoder.withdraw([A]) + announce(C, by=(65002, 1, 2)))
        await the_lab.settle()
        assert two.notifications == []
        await two.say(announce(A, by=(65002, 1, 2)))
        await the_lab.settle()
        assert two.notifications == [b"\6\1\0\1\1\0\0\0\2"]
        assert set(three.table) == {A, B, C}
