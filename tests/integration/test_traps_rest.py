"""The traps of forwarding UPDATEs, 14 to 21: mixtures, BGP Roles, stale and marked routes, limits.

Each test names the section that says what must happen. Expectations are octets and attributes written from the RFCs;
nothing here asks the daemon what it thinks.
"""

import struct
from typing import Any

import pytest
from trio.testing import MockClock

from tests.harness import decoder
from tests.harness.decoder import V4, V6, Update
from tests.harness.lab import LOCAL_AS
from tests.integration.traps import (
    A6,
    ALL,
    B6,
    BLACKHOLE,
    GRACEFUL_SHUTDOWN,
    HOP,
    HOP6,
    LLGR,
    LLGR_STALE,
    NEXT_HOP,
    ORIGIN,
    A,
    B,
    C,
    D,
    announce,
    attributes_in,
    block,
    communities,
    ebgp,
    flags,
    forget,
    identifiers,
    network,
    reach,
    rr,
    rs,
    sequence,
    unreach,
    value,
    with_identifier,
)
from trio_bgp.settings import BgpRole

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
