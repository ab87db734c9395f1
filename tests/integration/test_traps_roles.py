"""The traps of forwarding UPDATEs, 5 to 9: what each role changes, refuses and keeps to itself.

Each test names the section that says what must happen. Expectations are octets and attributes written from the RFCs;
nothing here asks the daemon what it thinks.
"""

import struct
from typing import Any

import pytest
from trio.testing import MockClock

from tests.harness import decoder
from tests.harness.decoder import V4, V6
from tests.harness.lab import LOCAL_AS
from tests.integration.traps import (
    A6,
    B6,
    EXTENDED_NEXT_HOP,
    HOP,
    HOP6,
    LINK_LOCAL,
    NEXT_HOP,
    NO_ADVERTISE,
    NO_EXPORT,
    NO_EXPORT_SUBCONFED,
    ORIGIN,
    OUR_ID,
    OUR_V4,
    OUR_V6,
    A,
    B,
    C,
    D,
    announce,
    block,
    communities,
    ebgp,
    ibgp,
    kinds,
    network,
    reach,
    rr,
    rs,
    sequence,
    unreach,
    value,
)
from trio_bgp.settings import BgpRole, NextHopCheck, PeerSettings, Policy

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
