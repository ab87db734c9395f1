"""The traps of forwarding UPDATEs, 10 to 13: attributes and messages that not everybody can read.

Each test names the section that says what must happen. Expectations are octets and attributes written from the RFCs;
nothing here asks the daemon what it thinks.
"""

import struct
from typing import Any

import pytest
from trio.testing import MockClock

from tests.harness import decoder
from tests.harness.decoder import BGP_LS, V4, V6, Family
from tests.harness.lab import LOCAL_AS
from tests.integration.traps import (
    A6,
    B6,
    HOP,
    HOP6,
    NEXT_HOP,
    ORIGIN,
    A,
    B,
    announce,
    attributes_in,
    block,
    communities,
    ebgp,
    flags,
    forget,
    kinds,
    network,
    reach,
    rr,
    rs,
    sequence,
    unreach,
    value,
)
from trio_bgp.settings import BgpRole
from trio_bgp.wire.numbers import BGP_LS as BGP_LS_FAMILY
from trio_bgp.wire.numbers import IPV4_UNICAST

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
