"""Each address family end to end: from a route-server client to receivers of every kind."""

import struct
from ipaddress import IPv6Address
from typing import Any

import pytest
from trio.testing import MockClock

from tests.harness import decoder
from tests.harness.decoder import V4, Family, Route
from tests.harness.lab import LOCAL_AS, lab, peer_settings
from tests.harness.speaker import ScriptedSpeaker
from trio_bgp.settings import AddPathSettings, NextHopCheck, Policy, Role
from trio_bgp.wire.numbers import FAMILIES
from trio_bgp.wire.numbers import family as make_family

ALL = AddPathSettings(send=AddPathSettings.ALL)
HOP4, HOP6 = bytes((192, 0, 2, 1)), bytes.fromhex("20010db8000000000000000000000001")
RD = "0000fde900000001"
LABEL = "000641"
LINK = "0001 0009 03 0000000000000001"

ROUTES: dict[str, tuple[Family, tuple[str, str]]] = {
    "ipv4-unicast": (V4, ("18 0a0001", "00")),
    "ipv6-unicast": ((2, 1), ("20 20010db8", "80 20010db8000000000000000000000001")),
    "ipv4-multicast": ((1, 2), ("18 0a0001", "20 0a000101")),
    "ipv6-multicast": ((2, 2), ("20 20010db8", "00")),
    "ipv4-labelled-unicast": ((1, 4), (f"30 {LABEL} 0a0001", f"38 {LABEL} 0a000001")),
    "ipv6-labelled-unicast": ((2, 4), (f"38 {LABEL} 20010db8", f"18 {LABEL}")),
    "vpnv4-unicast": ((1, 128), (f"70 {LABEL} {RD} 0a0001", f"58 {LABEL} {RD}")),
    "vpnv6-unicast": ((2, 128), (f"78 {LABEL} {RD} 20010db8", f"58 {LABEL} {RD}")),
    "vpnv4-multicast": ((1, 129), (f"70 {LABEL} {RD} 0a0001", f"60 {LABEL} {RD} 0a")),
    "vpnv6-multicast": ((2, 129), (f"78 {LABEL} {RD} 20010db8", f"58 {LABEL} {RD}")),
    "rt-constrain": ((1, 132), ("60 0000fde9 0002fde900000001", "00")),
    "ipv4-flowspec": ((1, 133), ("05 01180a0001", "f0f1" + "01180a0001" + "03" + "0106" * 117 + "81")),
    "ipv6-flowspec": ((2, 133), ("07 01200020010db8", "03 038106")),
    "vpnv4-flowspec": ((1, 134), (f"0d {RD} 01180a0001", f"0b {RD} 038106")),
    "vpnv6-flowspec": ((2, 134), (f"0f {RD} 01200020010db8", f"0b {RD} 038106")),
    "l2vpn-evpn": (
        (25, 70),
        (f"02 21 {RD} {'00' * 10} 00000064 30 020000000001 00 {LABEL}", f"03 11 {RD} 00000064 20 c0000201"),
    ),
    "l2vpn-vpls": ((25, 65), (f"0011 {RD} 0001 0001 0008 {LABEL}", f"0011 {RD} 0002 0001 0008 {LABEL}")),
    "ipv4-mvpn": ((1, 5), (f"01 0c {RD} c0000201", f"05 12 {RD} 20 0a000001 20 e0010101")),
    "ipv6-mvpn": ((2, 5), (f"01 18 {RD} {'20' * 16}", f"02 0c {RD} 0000fde9")),
    "bgp-ls": ((16388, 71), (LINK, "0002 0003 010203")),
    "bgp-ls-vpn": ((16388, 72), (f"0001 0011 {RD} 03 0000000000000001", f"0003 0008 {RD}")),
    "ipv4-sr-policy": ((1, 73), ("60 00000001 00000064 c0000201", "60 00000002 00000064 c0000201")),
    "ipv6-sr-policy": ((2, 73), ("c0 00000001 00000064" + "20" * 16, "c0 00000002 00000064" + "20" * 16)),
    "ipv4-mup": ((1, 85), (f"01 0001 0c {RD} 180a0001", f"01 0002 0c {RD} c0000201")),
    "ipv6-mup": ((2, 85), (f"01 0001 0d {RD} 2020010db8", f"01 0002 18 {RD} {'20' * 16}")),
}
"""By our name the family, and two routes."""


def next_hop(family: Family) -> bytes:
    """As its RFC has it."""
    afi, safi = family
    if safi in (133, 134):
        return b""
    address = HOP6 if afi == 2 else HOP4
    return bytes(8) + address if safi in (128, 129) else address


def test_every_family_is_here() -> None:
    """With its AFI and SAFI."""
    assert {name: make_family(*family) for name, (family, _) in ROUTES.items()} == dict(FAMILIES)


def held(client: ScriptedSpeaker) -> set[Route]:
    """The routes of a speaker, without their path identifiers."""
    return {(family, nlri[4:] if client.receives_add_path else nlri) for family, nlri in client.table}


@pytest.mark.parametrize("name", list(ROUTES))
async def test_end_to_end(name: str, autojump_clock: MockClock) -> None:
    """Announced, withdrawn, asked for again, lost; to clients unchanged, to all others as they read it, also late."""
    family, texts = ROUTES[name]
    one_route, other_route = (bytes.fromhex(text) for text in texts)
    keys = [(family, nlri) for nlri, _ in decoder.prefixes(one_route + other_route, family)]
    assert len(set(keys)) == 2
    policy: dict[str, Any] = {"import_policy": Policy.ACCEPT, "export_policy": Policy.ACCEPT}
    shared: dict[str, Any] = {"families": (FAMILIES[name],)}
    peers = [
        *(peer_settings(number, **shared) for number in (1, 2, 3, 7)),
        peer_settings(4, add_path=ALL, **shared),
        peer_settings(5, peer_as=LOCAL_AS, role=Role.RR_CLIENT, **shared),
        peer_settings(6, role=Role.EBGP, next_hop_ipv6=IPv6Address(HOP6), **policy, **shared),
    ]
    async with lab(*peers) as the_lab:
        offered: dict[str, Any] = {"families": (family,)}
        one, two = [await the_lab.join(number, **offered) for number in (1, 2)]
        others = [
            await the_lab.join(3, asn4=False, **offered),
            await the_lab.join(4, add_path=1, receives_add_path=True, **offered),
            await the_lab.join(5, asn=LOCAL_AS, **offered),
            await the_lab.join(6, **offered),
        ]
        two.updates.clear()
        attributes = decoder.attribute(0x40, 1, b"\0") + decoder.as_path(65001, 70000)
        whole = decoder.announce([(family, one_route), (family, other_route)], attributes, next_hop(family))
        await one.say(whole)
        await the_lab.settle()
        assert two.updates == [whole]
        late = await the_lab.join(7, **offered)
        assert late.end_of_rib == [family]
        receivers = [two, late, *others]
        for client in receivers:
            assert held(client) == set(keys)
            assert client.end_of_rib == [family]
        gone = decoder.withdraw([(family, one_route)])
        await one.say(gone)
        await the_lab.settle()
        assert two.updates[-1] == gone
        for client in receivers:
            assert held(client) == {keys[1]}
        late.table.clear()
        await late.say(decoder.message(decoder.REFRESH, struct.pack(">HBB", family[0], 0, family[1])))
        await the_lab.settle()
        assert held(late) == {keys[1]}
        await one.cut()
        await the_lab.settle()
        for client in receivers:
            assert held(client) == set()
            assert client.notifications == []


@pytest.mark.parametrize("name", ["rt-constrain", "ipv4-mvpn", "ipv4-sr-policy", "ipv4-mup", "l2vpn-evpn", "bgp-ls"])
async def test_an_ipv6_next_hop_needs_no_capability(name: str, autojump_clock: MockClock) -> None:
    """RFC 4684, section 4, RFC 6515, RFC 9830: RFC 8950 is about unicast, multicast, labelled and VPN routes alone."""
    family, (text, _) = ROUTES[name]
    nlri = bytes.fromhex(text)
    peers = [
        *(peer_settings(number, families=(FAMILIES[name],)) for number in (1, 2)),
        peer_settings(3, families=(FAMILIES[name],), peer_as=LOCAL_AS, role=Role.RR_CLIENT),
    ]
    async with lab(*peers) as the_lab:
        one, two = [await the_lab.join(number, families=(family,)) for number in (1, 2)]
        three = await the_lab.join(3, families=(family,), asn=LOCAL_AS)
        two.updates.clear()
        attributes = decoder.attribute(0x40, 1, b"\0") + decoder.as_path(65001)
        whole = decoder.announce([(family, nlri)], attributes, HOP6)
        await one.say(whole)
        await the_lab.settle()
        assert two.updates == [whole]
        assert len(three.table) == 1


@pytest.mark.parametrize(
    "name", ["vpnv4-unicast", "vpnv4-multicast", "ipv4-flowspec", "ipv4-unicast", "ipv4-multicast"]
)
async def test_next_hops_are_checked_in_each_family(name: str, autojump_clock: MockClock) -> None:
    """RFC 7948, section 4.8, RFC 4271, section 6.3: the address behind a route distinguisher; FlowSpec has none."""
    family, (text, _) = ROUTES[name]
    nlri = bytes.fromhex(text)
    attributes = decoder.attribute(0x40, 1, b"\0") + decoder.as_path(65001)
    shared: dict[str, Any] = {"families": (FAMILIES[name],)}
    peers = [peer_settings(1, next_hop_check=NextHopCheck.STRICT, **shared), peer_settings(2, **shared)]
    async with lab(*peers, peer_settings(3, **shared)) as the_lab:
        one, two, three = [await the_lab.join(number, families=(family,)) for number in (1, 2, 3)]
        front = bytes(8) if family[1] in (128, 129) else b""
        await one.say(decoder.announce([(family, nlri)], attributes, next_hop(family)))
        await the_lab.settle()
        assert len(three.table) == 1
        await one.say(decoder.announce([(family, nlri)], attributes, front + bytes((192, 0, 2, 9))))
        await the_lab.settle()
        assert three.table == {}
        for address, count in ((bytes((192, 0, 2, 9)), 1), (bytes((127, 0, 0, 1)), 0)):
            await two.say(decoder.announce([(family, nlri)], attributes, front + address))
            await the_lab.settle()
            assert len(three.table) == count, "the second is our own address"
