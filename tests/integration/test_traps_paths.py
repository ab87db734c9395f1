"""The traps of forwarding UPDATEs, 1 to 4: who holds what, path identifiers, reflection.

Each test names the section that says what must happen. Expectations are octets and attributes written from the RFCs;
nothing here asks the daemon what it thinks.
"""

from typing import Any

import pytest
from trio.testing import MockClock

from tests.harness import decoder
from tests.harness.decoder import V4, V6, Update
from tests.harness.lab import lab
from tests.integration.traps import (
    A6,
    ALL,
    B6,
    HOP,
    OUR_ID,
    A,
    B,
    C,
    D,
    announce,
    ebgp,
    forget,
    ibgp,
    identifiers,
    kinds,
    network,
    rr,
    rs,
    sequence,
    value,
    with_identifier,
)

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
