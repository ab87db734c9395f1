"""What a whole daemon makes of routes by role, width of AS numbers, path identifiers and refreshes.

The rows of the conformance table that are not about one wrong UPDATE: AS4, RR, AP, RF, GR, RO, PO. Names say which.
"""

import contextlib
from collections.abc import AsyncIterator
from ipaddress import IPv4Address
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.harness import decoder
from tests.harness.decoder import V4, V6, Family, Route, Update, attribute, message
from tests.harness.lab import Lab, lab, peer_settings
from tests.harness.speaker import ScriptedSpeaker
from trio_bgp.settings import AddPathSettings, PeerSettings, Policy, Role

A, B, C = ((V4, bytes((24, 10, 0, n))) for n in range(3))
ORIGIN = attribute(0x40, 1, b"\0")
LOCAL_PREF = attribute(0x40, 5, b"\0\0\0\x96")
MED = attribute(0x80, 4, b"\0\0\0\7")
HOP = b"\xc6\x33\x64\x01"
CLUSTER = b"\x0a\xff\0\1"


def internal(number: int, role: Role = Role.RR_CLIENT) -> PeerSettings:
    """An internal peer."""
    return peer_settings(number, peer_as=65000, role=role)


def external(number: int, **changes: Any) -> PeerSettings:
    """An ordinary external peer with which everything is exchanged."""
    settings = peer_settings(number, role=Role.EBGP, import_policy=Policy.ACCEPT, export_policy=Policy.ACCEPT)
    return attrs.evolve(settings, **{"next_hop_ipv4": IPv4Address("192.0.2.254"), **changes})


@contextlib.asynccontextmanager
async def network(*peers: PeerSettings, **options: dict[str, Any]) -> AsyncIterator[tuple[Lab, list[ScriptedSpeaker]]]:
    """A daemon with these peers, all up and told that there is nothing; `options` of the speakers by name (p1)."""
    async with lab(*peers) as the_lab:
        clients = []
        for each in peers:
            more = {"asn": each.peer_as, **options.get(each.name, {})}
            clients.append(await the_lab.join(int(each.name[1:]), **more))
        for client in clients:
            client.updates.clear()
            client.log.clear()
        yield the_lab, clients


def announce(*routes: Route, by: tuple[int, ...] = (), more: bytes = b"") -> bytes:
    """An UPDATE that announces these routes."""
    return decoder.announce(list(routes), ORIGIN + decoder.as_path(*by) + more, HOP)


def held(client: ScriptedSpeaker, route: Route) -> dict[int, bytes]:
    """What a speaker holds of a route, by attribute type."""
    return {kind: value for _, kind, value in client.table[route]}


async def test_as4_1_a_new_peer_never_gets_the_old_attributes(autojump_clock: MockClock) -> None:
    """AS4-1: from an old peer with AS4_PATH and AS4_AGGREGATOR to a new one: 4 octets, and neither attribute."""
    path = attribute(0x40, 2, b"\2\2\xfd\xe9\x5b\xa0")
    more = (
        attribute(0xC0, 7, b"\x5b\xa0\x0a\0\0\1")
        + attribute(0xC0, 17, b"\2\1\0\1\x11\x70")
        + attribute(0xC0, 18, b"\0\1\x11\x70\x0a\0\0\1")
    )
    async with network(peer_settings(1), peer_settings(2), p1={"asn4": False}) as (the_lab, (one, two)):
        await one.say(decoder.announce([A], ORIGIN + path + more, HOP))
        await the_lab.settle()
        found = held(two, A)
        assert found[2] == b"\2\2" + (65001).to_bytes(4, "big") + (70000).to_bytes(4, "big")
        assert found[7] == b"\0\1\x11\x70\x0a\0\0\1"
        assert not {17, 18} & set(found)


@pytest.mark.parametrize(("asn", "old", "truth"), [(70000, b"\x5b\xa0", True), (64999, b"\xfd\xe7", False)])
async def test_as4_2_an_aggregator_for_an_old_peer(
    asn: int, old: bytes, truth: bool, autojump_clock: MockClock
) -> None:
    """AS4-2, AS4-3: AS_TRANS in AGGREGATOR, the truth in AS4_AGGREGATOR where it does not fit, else only the former."""
    aggregator = attribute(0xC0, 7, asn.to_bytes(4, "big") + b"\x0a\0\0\1")
    async with network(peer_settings(1), peer_settings(2), p2={"asn4": False}) as (the_lab, (one, two)):
        await one.say(announce(A, by=(65001,), more=aggregator))
        await the_lab.settle()
        found = held(two, A)
        assert found[7] == old + b"\x0a\0\0\1"
        assert found.get(18) == (asn.to_bytes(4, "big") + b"\x0a\0\0\1" if truth else None)


async def test_as4_4_between_old_peers_nothing_is_lost(autojump_clock: MockClock) -> None:
    """AS4-2, AS4-4: what an old peer says with AS4_PATH another old peer is told with the same meaning."""
    path = attribute(0x40, 2, b"\2\3\xfd\xe9\x5b\xa0\x5b\xa0")
    more = attribute(0xC0, 17, b"\2\2\0\1\x11\x70\0\1\x11\x71")
    old = {"asn4": False}
    async with network(peer_settings(1), peer_settings(2), p1=old, p2=old) as (the_lab, (one, two)):
        await one.say(decoder.announce([A], ORIGIN + path + more, HOP))
        await the_lab.settle()
        found = held(two, A)
        assert found[2] == path[3:]
        assert found[17] in (more[3:], b"\2\3\0\0\xfd\xe9\0\1\x11\x70\0\1\x11\x71")


async def test_rr_1_a_reflected_route_names_its_source_and_our_cluster(autojump_clock: MockClock) -> None:
    """RR-1, RR-5: ORIGINATOR_ID is the sender's identifier, CLUSTER_LIST our cluster id; all else octet for octet."""
    odd = attribute(0xC0, 8, b"\0\1\0\1") + attribute(0xC0, 16, bytes(8))
    async with network(internal(1), internal(2)) as (the_lab, (one, two)):
        octets = announce(A, by=(64999,), more=MED + LOCAL_PREF + odd)
        await one.say(octets)
        await the_lab.settle()
        added = {(0x80, 9, b"\x0a\0\0\1"), (0x80, 10, CLUSTER)}
        assert set(two.table[A]) == set(Update(octets).announced[A]) | added
        assert one.updates == []


async def test_rr_2_a_route_reflected_before_keeps_its_originator(autojump_clock: MockClock) -> None:
    """RR-2: ORIGINATOR_ID stays, our cluster id is put in front of CLUSTER_LIST."""
    more = LOCAL_PREF + attribute(0x80, 9, b"\x09\x09\x09\x09") + attribute(0x80, 10, b"\1\1\1\1\2\2\2\2")
    async with network(internal(1), internal(2)) as (the_lab, (one, two)):
        await one.say(announce(A, more=more))
        await the_lab.settle()
        assert held(two, A)[9] == b"\x09\x09\x09\x09"
        assert held(two, A)[10] == CLUSTER + b"\1\1\1\1\2\2\2\2"


async def test_rr_4_who_hears_of_whom(autojump_clock: MockClock) -> None:
    """RR-4: a client's route goes to all, a non-client's to clients and external peers, an external one's to all."""
    peers = (
        internal(1),
        internal(2),
        internal(3, Role.IBGP),
        internal(4, Role.IBGP),
        external(5),
        external(6),
    )
    async with network(*peers) as (the_lab, (client, client2, other, other2, outside, outside2)):
        await client.say(announce(A, more=LOCAL_PREF))
        await other.say(announce(B, more=LOCAL_PREF))
        await outside.say(announce(C, by=(65005,)))
        await the_lab.settle()
        assert set(client.table) == {B, C}
        assert set(client2.table) == {A, B, C}
        assert set(other.table) == {A, C}
        assert set(other2.table) == {A, C}
        assert set(outside.table) == {A, B}
        assert set(outside2.table) == {A, B, C}


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
async def test_rr_6_of_equal_paths_the_shorter_cluster_list_wins(
    order: tuple[int, int], autojump_clock: MockClock
) -> None:
    """RR-6: with equal ORIGINATOR_ID the path reflected less often, whoever said it first or has the lower one."""
    origin = attribute(0x80, 9, b"\x09\x09\x09\x09")
    said = {
        1: announce(A, more=LOCAL_PREF + origin + attribute(0x80, 10, b"\1\1\1\1\2\2\2\2")),
        2: announce(A, more=LOCAL_PREF + origin + attribute(0x80, 10, b"\3\3\3\3")),
    }
    async with network(internal(1), internal(2), internal(3)) as (the_lab, clients):
        for number in order:
            await clients[number - 1].say(said[number])
            await the_lab.settle()
        assert held(clients[2], A)[10] == CLUSTER + b"\3\3\3\3"


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
async def test_rr_6_of_equal_paths_the_lower_originator_wins(order: tuple[int, int], autojump_clock: MockClock) -> None:
    """RR-6: ORIGINATOR_ID takes the place of the identifier (RFC 4456, section 9), before CLUSTER_LIST is looked at."""
    said = {
        1: announce(A, more=LOCAL_PREF + attribute(0x80, 9, b"\x09\x09\x09\x09") + attribute(0x80, 10, b"\1\1\1\1")),
        2: announce(A, more=LOCAL_PREF + attribute(0x80, 9, b"\x01\x01\x01\x01") + attribute(0x80, 10, bytes(8))),
    }
    async with network(internal(1), internal(2), internal(3)) as (the_lab, clients):
        for number in order:
            await clients[number - 1].say(said[number])
            await the_lab.settle()
        assert held(clients[2], A)[9] == b"\1\1\1\1"


async def test_rr_7_nothing_internal_leaves_the_as(autojump_clock: MockClock) -> None:
    """RR-7: to an external peer: no ORIGINATOR_ID, CLUSTER_LIST, LOCAL_PREF, MED; our AS in front, our next hop."""
    more = MED + LOCAL_PREF + attribute(0x80, 9, b"\x09\x09\x09\x09") + attribute(0x80, 10, b"\1\1\1\1")
    async with network(internal(1), external(2)) as (the_lab, (one, two)):
        await one.say(announce(A, by=(64999,), more=more))
        await the_lab.settle()
        found = held(two, A)
        assert not {4, 5, 9, 10} & set(found)
        assert found[2] == decoder.as_path(65000, 64999)[3:]
        assert found[3] == b"\xc0\0\2\xfe"


@pytest.mark.parametrize("offers", [0, 1, 2, 3], ids=["AP-1-neither", "AP-1-receive", "AP-1-send", "AP-1-both"])
@pytest.mark.parametrize("ours", [(0, False), (9, False), (0, True), (9, True)])
async def test_ap_1_path_identifiers_where_negotiated_only(
    offers: int, ours: tuple[int, bool], autojump_clock: MockClock
) -> None:
    """AP-1: identifiers come and go in each direction exactly where one side sends and the other receives."""
    send, receive = ours
    sends_to_us = bool(offers & 2) and receive
    gets_from_us = bool(offers & 1) and send > 0
    settings = peer_settings(1, add_path=AddPathSettings(send=send, receive=receive))
    options = {"add_path": offers, "receives_add_path": gets_from_us}
    async with network(settings, peer_settings(2), p1=options) as (the_lab, (one, two)):
        said = (V4, b"\0\0\0\x2a" + A[1]) if sends_to_us else A
        await one.say(announce(said, by=(65001,)))
        await two.say(announce(B, by=(65002,)))
        await the_lab.settle()
        assert set(two.table) == {A}
        (found,) = one.table
        assert found[1][-4:] == B[1]
        assert len(found[1]) == (8 if gets_from_us else 4)
        assert not one.notifications


async def test_ap_4_the_same_identifier_again_replaces(autojump_clock: MockClock) -> None:
    """AP-4: one path, the later one, for single-path and for ADD-PATH receivers."""
    same = (V4, b"\0\0\0\1" + A[1])
    peers = (
        peer_settings(1, add_path=AddPathSettings(receive=True)),
        peer_settings(2),
        peer_settings(3, add_path=AddPathSettings(send=9)),
    )
    options = {"p1": {"add_path": 2}, "p3": {"add_path": 1, "receives_add_path": True}}
    async with network(*peers, **options) as (the_lab, (one, two, three)):
        await one.say(announce(same, by=(65001,)) + announce(same, by=(65001, 7)))
        await the_lab.settle()
        assert held(two, A)[2] == decoder.as_path(65001, 7)[3:]
        ((route, _),) = three.table.items()
        assert held(three, route)[2] == decoder.as_path(65001, 7)[3:]


async def test_po_1_without_policy_nothing_is_exchanged(autojump_clock: MockClock) -> None:
    """PO-1 (RFC 8212): an external peer that is no client and has no policy is up, says nothing and hears nothing."""
    bare = peer_settings(1, role=Role.EBGP)
    async with network(bare, peer_settings(2)) as (the_lab, (one, two)):
        await one.say(announce(A, by=(65001,)))
        await two.say(announce(B, by=(65002,)))
        await the_lab.settle()
        assert one.table == two.table == {}
        assert not one.notifications


def refresh(family: Family, subtype: int = 0) -> bytes:
    """A ROUTE-REFRESH."""
    return message(decoder.REFRESH, bytes((0, family[0], subtype, family[1])))


@pytest.mark.parametrize("enhanced", [True, False])
async def test_rf_1_a_peer_that_gets_nothing_may_ask(enhanced: bool, autojump_clock: MockClock) -> None:
    """RF-1: the answer to a peer to which nothing is exported is that there is nothing; the daemon goes on."""
    bare = peer_settings(1, export_policy=Policy.NONE)
    options = {"p1": {"enhanced_refresh": enhanced}}
    async with network(bare, peer_settings(2), peer_settings(3), **options) as (the_lab, (one, two, three)):
        await two.say(announce(B, by=(65002,)))
        await one.say(refresh(V4) + refresh(V6))
        await the_lab.settle()
        assert one.table == {}
        assert not one.closed.is_set()
        await one.say(announce(A, by=(65001,)))
        await the_lab.settle()
        assert set(three.table) == {A, B}


@pytest.mark.parametrize("number", [0, 2001])
@pytest.mark.parametrize("pause", [0, 1, 3, 6, 20])
async def test_rf_3_no_borr_before_end_of_rib(number: int, pause: int, autojump_clock: MockClock) -> None:
    """RF-3 (RFC 7313, section 4.1): to a peer with graceful restart a BoRR may only follow that family's End-of-RIB."""
    routes = [(V4, bytes((24, 11, n >> 8, n & 255))) for n in range(number)]
    async with lab(peer_settings(1), peer_settings(2)) as the_lab:
        one = await the_lab.join(1)
        for start in range(0, number, 500):
            await one.say(announce(*routes[start : start + 500], by=(65001, start + 1)))
        await the_lab.settle()
        two = await the_lab.join(2, wait=False, enhanced_refresh=True, extra=(b"\x40\x02\0\0",))
        await two.established.wait()
        for _ in range(pause):
            await trio.lowlevel.checkpoint()
        await two.say(refresh(V4))
        await the_lab.settle()
        await trio.sleep(2)
        await the_lab.settle()
        assert set(two.table) == set(routes)
        assert two.log.count(refresh(V4, 1)) == two.log.count(refresh(V4, 2)) == 1
        assert two.log.index(decoder.update()) < two.log.index(refresh(V4, 1)) < two.log.index(refresh(V4, 2))


async def test_rf_4_borr_and_eorr_of_a_peer(autojump_clock: MockClock) -> None:
    """RF-4 (RFC 7313, section 4.2): what a peer does not repeat between BoRR and EoRR goes on EoRR."""
    options = {"p1": {"enhanced_refresh": True}}
    async with network(peer_settings(1), peer_settings(2), **options) as (the_lab, (one, two)):
        await one.say(announce(A, B, by=(65001,)))
        await one.say(refresh(V4, 1) + announce(A, by=(65001,)) + refresh(V4, 2))
        await the_lab.settle()
        assert set(two.table) == {A}
        assert not one.notifications
