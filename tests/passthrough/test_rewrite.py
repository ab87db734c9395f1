"""Rewritten attributes, by what the RFCs say to each kind of receiver."""

import struct
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.harness import decoder
from trio_bgp.passthrough.rewrite import RewriteRules, rewritten
from trio_bgp.rib.path import Lane, Path, Source
from trio_bgp.settings import BgpRole, NextHop, Role
from trio_bgp.wire.attributes import AttributeContext, parse_attributes
from trio_bgp.wire.numbers import EVPN, IPV4_UNICAST, IPV6_UNICAST, VPNV4, VPNV6, Family
from trio_bgp.wire.numbers import family as make_family

QUICK = settings(derandomize=True, max_examples=100, deadline=None)
ORIGIN = decoder.attribute(0x40, 1, b"\0")
HOP = bytes((192, 0, 2, 1))
NEXT_HOP = decoder.attribute(0x40, 3, HOP)
HOP6 = bytes.fromhex("20010db8") + bytes(11) + b"\x01"
LINK_LOCAL = b"\xfe\x80" + bytes(13) + b"\x01"
OUR_V4, OUR_V6 = bytes((192, 0, 2, 254)), bytes.fromhex("20010db8") + bytes(11) + b"\xff"
MED = decoder.attribute(0x80, 4, b"\0\0\0\7")
LOCAL_PREF = decoder.attribute(0x40, 5, b"\0\0\0\xc8")
ORIGINATOR = decoder.attribute(0x80, 9, b"\x0b\0\0\1")
CLUSTERS = decoder.attribute(0x80, 10, b"\x09\x09\x09\x09")
AIGP = decoder.attribute(0x80, 26, b"\1\0\x0b" + bytes(8))
COMMUNITIES = decoder.attribute(0xC0, 8, b"\xfd\xe9\0\1")
OTC = decoder.attribute(0xC0, 35, struct.pack(">I", 64999))
OUR_OTC = decoder.attribute(0xC0, 35, struct.pack(">I", 65000))
SIMPLE = ORIGIN + decoder.as_path(65001) + NEXT_HOP


def path(octets: bytes, *, external: bool = True, next_hop: bytes | None = None) -> Path:
    """A path with these attributes, from an external or internal peer with the identifier 10.0.0.7."""
    source = Source(
        name="s", peer_as=65001 if external else 65000, bgp_identifier=0x0A000007, address=1, external=external
    )
    parsed = parse_attributes(octets, AttributeContext(external=external))
    return Path(Lane(source, None, 1), octets, octets, next_hop, parsed)


def rules(role: Role = Role.RS_CLIENT, **changes: Any) -> RewriteRules:
    """What such a receiver is told: we are AS 65000, cluster 10.255.0.1."""
    if role is Role.EBGP:
        changes = {
            "next_hop": NextHop.SELF,
            "ipv4": IPv4Address(OUR_V4),
            "ipv6": IPv6Address(OUR_V6),
            **changes,
        }
    return RewriteRules(**{"role": role, "asn4": True, "local_as": 65000, "cluster_id": 0x0AFF0001, **changes})


def told(
    octets: bytes,
    receiver: RewriteRules,
    *,
    external: bool = True,
    next_hop: bytes | None = None,
    family: Family = IPV4_UNICAST,
) -> tuple[dict[int, tuple[int, bytes]], bytes | None]:
    """Flags and value of each attribute the receiver is told of a path, and its MP next hop."""
    found = rewritten(path(octets, external=external, next_hop=next_hop), family, receiver)
    assert found is not None
    attributes = decoder.attributes_of(found[0])
    assert len({kind for _, kind, _ in attributes}) == len(attributes), "an attribute appears twice"
    return {kind: (flags, value) for flags, kind, value in attributes}, found[1]


def test_route_server_clients_get_the_very_octets() -> None:
    """RFC 7947, section 2.2: nothing is rewritten, not even copied."""
    whole = SIMPLE + MED + decoder.attribute(0x80, 201, b"x") + decoder.attribute(0xC0, 200, b"y")
    made = path(whole, next_hop=HOP6 + LINK_LOCAL)
    found = rewritten(made, IPV6_UNICAST, rules())
    assert found == (whole, HOP6 + LINK_LOCAL)
    assert found is not None
    assert found[0] is made.attributes
    assert made.variants == ()


def test_reflected_routes_get_originator_and_cluster() -> None:
    """RFC 4456, section 8: and RFC 4271, section 5.1.5, LOCAL_PREF if it is missing."""
    for role in (Role.RR_CLIENT, Role.IBGP):
        found, _ = told(SIMPLE + MED, rules(role), external=False)
        assert found == {
            1: (0x40, b"\0"),
            2: (0x40, b"\2\1\0\0\xfd\xe9"),
            3: (0x40, HOP),
            4: (0x80, b"\0\0\0\7"),
            5: (0x40, b"\0\0\0\x64"),
            9: (0x80, b"\x0a\0\0\7"),
            10: (0x80, b"\x0a\xff\0\1"),
        }


def test_reflected_again_the_originator_stays() -> None:
    """RFC 4456, section 8: only if it is not there; our cluster goes before the others."""
    found, _ = told(SIMPLE + LOCAL_PREF + ORIGINATOR + CLUSTERS, rules(Role.RR_CLIENT), external=False)
    assert found[9] == (0x80, b"\x0b\0\0\1")
    assert found[10] == (0x80, b"\x0a\xff\0\1\x09\x09\x09\x09")
    assert found[5] == (0x40, b"\0\0\0\xc8")


def test_external_routes_are_not_reflected() -> None:
    """RFC 4456, section 8: only what came by IBGP is."""
    found, _ = told(SIMPLE + MED, rules(Role.RR_CLIENT))
    assert set(found) == {1, 2, 3, 4, 5}


def test_internal_attributes_do_not_leave() -> None:
    """RFC 4271, sections 5.1.4 and 5.1.5, RFC 4456, section 8, RFC 7311, section 3.4."""
    inside = SIMPLE + MED + LOCAL_PREF + ORIGINATOR + CLUSTERS + AIGP + COMMUNITIES
    for role in (Role.EBGP, Role.RS_CLIENT):
        found, _ = told(inside, rules(role), external=False)
        assert set(found) == {1, 2, 3, 8}
        assert found[2] == (0x40, b"\2\2\0\0\xfd\xe8\0\0\xfd\xe9")


def test_external_peers_get_our_next_hop() -> None:
    """RFC 4271, section 5.1.3: in NEXT_HOP or in MP_REACH_NLRI."""
    found, next_hop = told(SIMPLE, rules(Role.EBGP))
    assert (found[3], next_hop) == ((0x40, OUR_V4), None)
    found, next_hop = told(ORIGIN + decoder.as_path(65001), rules(Role.EBGP), next_hop=HOP6, family=IPV6_UNICAST)
    assert (set(found), next_hop) == ({1, 2}, OUR_V6)


def test_without_an_address_of_ours_nothing_can_be_told() -> None:
    """RFC 4271, section 5.1.3: not with a next hop that is not ours."""
    six = path(ORIGIN + decoder.as_path(65001), next_hop=HOP6)
    assert rewritten(six, IPV6_UNICAST, rules(Role.EBGP, ipv6=None)) is None
    assert rewritten(six, IPV6_UNICAST, rules(Role.EBGP, ipv6=None)) is None
    assert rewritten(path(SIMPLE), IPV4_UNICAST, rules(Role.EBGP, ipv4=None)) is None
    assert rewritten(path(SIMPLE), IPV4_UNICAST, rules(Role.EBGP, ipv6=None)) is not None


def test_our_next_hop_may_be_ipv6_where_that_is_negotiated() -> None:
    """RFC 8950, section 3: IPv4 routes go in MP_REACH_NLRI then, and NEXT_HOP is gone; IPv4 is used if there is one."""
    both = rules(Role.EBGP, extended_next_hop=frozenset({IPV4_UNICAST}))
    only_ipv6 = rules(Role.EBGP, extended_next_hop=frozenset({IPV4_UNICAST}), ipv4=None)
    found, next_hop = told(SIMPLE, only_ipv6)
    assert (set(found), next_hop) == ({1, 2}, OUR_V6)
    for octets, received in ((SIMPLE, None), (ORIGIN + decoder.as_path(65001), HOP6), (SIMPLE, HOP6 + LINK_LOCAL)):
        for receiver in (both, rules(Role.EBGP)):
            found, next_hop = told(octets, receiver, next_hop=received)
            assert (found[3], next_hop) == ((0x40, OUR_V4), None)
    assert rewritten(path(SIMPLE), IPV4_UNICAST, rules(Role.EBGP, ipv4=None)) is None


def test_the_next_hop_of_a_family_that_nobody_knows_is_whole() -> None:
    """Whatever its octets mean; RFC 2545 is about families of IPv6."""
    hop = bytes(range(32))
    assert told(ORIGIN, rules(Role.RR_CLIENT), next_hop=hop, family=make_family(16388, 99))[1] == hop


def test_a_third_partys_next_hop_stays_on_the_shared_subnet() -> None:
    """RFC 4271, section 5.1.3: a first-party router on the same subnet as the receiver."""
    third = rules(Role.EBGP, next_hop=NextHop.THIRD_PARTY, next_hop_subnet=ip_network("192.0.2.0/24"))
    assert told(SIMPLE, third)[0][3] == (0x40, HOP)
    elsewhere = ORIGIN + decoder.as_path(65001) + decoder.attribute(0x40, 3, b"\x08\x08\x08\x08")
    assert told(elsewhere, third)[0][3] == (0x40, OUR_V4)
    six = rules(Role.EBGP, next_hop=NextHop.THIRD_PARTY, next_hop_subnet=ip_network("2001:db8::/64"))
    assert told(ORIGIN, six, next_hop=HOP6, family=IPV6_UNICAST)[1] == HOP6
    assert told(ORIGIN, six, next_hop=b"\x2a" + bytes(15), family=IPV6_UNICAST)[1] == OUR_V6
    assert told(SIMPLE, six)[0][3] == (0x40, OUR_V4)


def test_a_reflector_keeps_the_next_hop_even_where_self_is_chosen() -> None:
    """RFC 4456, section 10: for what is reflected; external routes get ours."""
    own = rules(Role.RR_CLIENT, next_hop=NextHop.SELF, ipv4=IPv4Address(OUR_V4))
    assert told(SIMPLE, own, external=False)[0][3] == (0x40, HOP)
    assert told(SIMPLE, own)[0][3] == (0x40, OUR_V4)


@pytest.mark.parametrize(
    ("family", "received", "kept"),
    [
        (IPV6_UNICAST, HOP6 + LINK_LOCAL, HOP6),
        (IPV6_UNICAST, HOP6, HOP6),
        (VPNV6, bytes(8) + HOP6 + bytes(8) + LINK_LOCAL, bytes(8) + HOP6),
        (VPNV4, bytes(8) + HOP, bytes(8) + HOP),
        (EVPN, HOP, HOP),
        pytest.param(
            IPV4_UNICAST,
            HOP6 + LINK_LOCAL,
            HOP6,
        ),
    ],
    ids=["ipv6", "ipv6 global only", "vpnv6", "vpnv4", "evpn", "ipv4 with IPv6 next hop"],
)
def test_link_local_next_hops_stay_on_their_link(family: Family, received: bytes, kept: bytes) -> None:
    """RFC 2545, section 3, RFC 4659, section 3.2.1.1: cut off for all but a route server's clients."""
    octets = ORIGIN + decoder.as_path(65001)
    assert told(octets, rules(Role.RR_CLIENT), next_hop=received, family=family)[1] == kept
    assert told(octets, rules(Role.IBGP), external=False, next_hop=received, family=family)[1] == kept
    assert told(octets, rules(), next_hop=received, family=family)[1] == received


def test_labels_keep_their_next_hop() -> None:
    """RFC 4364, section 4.3.2: a label means something to who gave it out only."""
    for family in (VPNV4, EVPN):
        assert told(ORIGIN, rules(Role.EBGP), next_hop=bytes(8) + HOP, family=family)[1] == bytes(8) + HOP


@pytest.mark.parametrize("role", [Role.RR_CLIENT, Role.IBGP, Role.EBGP])
def test_unknown_attributes_are_dropped_or_become_partial(role: Role) -> None:
    """RFC 4271, sections 5 and 9; known ones are left alone."""
    more = (
        decoder.attribute(0x80, 200, b"a")
        + decoder.attribute(0xC0, 201, bytes(300))
        + decoder.attribute(0xE0, 202, b"c")
        + COMMUNITIES
    )
    found, _ = told(SIMPLE + more, rules(role))
    assert 200 not in found
    assert found[201] == (0xE0, bytes(300))
    assert found[202] == (0xE0, b"c")
    assert found[8] == (0xC0, b"\xfd\xe9\0\1")


@pytest.mark.parametrize(
    ("role", "adds"),
    [
        (BgpRole.PROVIDER, True),
        (BgpRole.PEER, True),
        (BgpRole.RS, True),
        (BgpRole.CUSTOMER, False),
        (BgpRole.RS_CLIENT, False),
    ],
)
def test_otc_is_added_towards_customers_peers_and_rs_clients(role: BgpRole, adds: bool) -> None:
    """RFC 9234, section 5: with our AS, if it is not there; one that is there stays."""
    for receiver in (rules(bgp_role=role), rules(Role.EBGP, bgp_role=role)):
        found, _ = told(SIMPLE, receiver)
        assert found.get(35) == ((0xC0, struct.pack(">I", 65000)) if adds else None)
        found, _ = told(SIMPLE + OTC, receiver)
        assert found[35] == (0xC0, struct.pack(">I", 64999))


def test_a_client_with_a_role_gets_otc_and_nothing_else_changed() -> None:
    """RFC 7947, section 2.2, RFC 9234, section 5."""
    whole = SIMPLE + MED + decoder.attribute(0x80, 201, b"x")
    found = rewritten(path(whole, next_hop=HOP6 + LINK_LOCAL), IPV6_UNICAST, rules(bgp_role=BgpRole.RS))
    assert found == (whole + OUR_OTC, HOP6 + LINK_LOCAL)


def test_two_octet_receivers_get_as_trans() -> None:
    """RFC 6793, section 4.2.2: after our AS was put in front."""
    octets = ORIGIN + decoder.as_path(70000) + NEXT_HOP
    found, _ = told(octets, rules(asn4=False))
    assert found[2] == (0x40, b"\2\1\x5b\xa0")
    assert found[17] == (0xC0, b"\2\1\0\1\x11\x70")
    found, _ = told(octets, rules(Role.EBGP, asn4=False))
    assert found[2] == (0x40, b"\2\2\xfd\xe8\x5b\xa0")
    assert found[17] == (0xC0, b"\2\2\0\0\xfd\xe8\0\1\x11\x70")


def test_a_rewrite_is_made_once_for_all_receivers_alike() -> None:
    """Kept on the path: equal rules, though another object, get the same octets; other rules others."""
    made = path(SIMPLE)
    first = rewritten(made, IPV4_UNICAST, rules(Role.EBGP))
    assert rewritten(made, IPV4_UNICAST, rules(Role.EBGP)) is first
    assert rewritten(made, IPV4_UNICAST, rules(Role.RR_CLIENT)) != first
    assert rewritten(made, IPV4_UNICAST, rules(Role.EBGP)) is first
    assert rewritten(made, IPV4_UNICAST, rules(Role.EBGP, local_as=65099)) != first


EXTRAS = [MED, LOCAL_PREF, ORIGINATOR, CLUSTERS, AIGP, COMMUNITIES, OTC] + [
    decoder.attribute(flags, kind, bytes(size))
    for kind, (flags, size) in enumerate([(0x80, 1), (0xC0, 300), (0xE0, 0)], 200)
]


@QUICK
@given(
    st.lists(st.sampled_from(EXTRAS), unique=True),
    st.sampled_from([Role.RR_CLIENT, Role.IBGP, Role.EBGP]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 9),
)
def test_what_has_no_reason_to_change_stays_in_its_place(
    extras: list[bytes], role: Role, external: bool, asn4: bool, at: int
) -> None:
    """Whatever the order of attributes, each that stays keeps its octets, and a rewritten block is well-formed."""
    if external:
        extras = [each for each in extras if each not in (LOCAL_PREF, ORIGINATOR, CLUSTERS)]
    octets = b"".join([*extras[:at], SIMPLE, *extras[at:]])
    found, _ = told(octets, rules(role, asn4=asn4), external=external)
    present = {each[1] for each in extras}
    internal = role is not Role.EBGP
    reflected = internal and not external
    expected = {1, 2, 3} | present & {8, 35, 201, 202}
    if internal:
        expected |= present & {4} | {5} | present & {9, 10}
    if reflected:
        expected |= present & {26}  # AIGP is not taken from outside (RFC 7311, section 3.3)
    if reflected:
        expected |= {9, 10}
    assert set(found) == expected
    assert found[1] == (0x40, b"\0")
    assert found[3] == (0x40, HOP if internal else OUR_V4)
    numbers = ([] if internal else [65000]) + [65001]
    assert found[2] == (0x40, struct.pack(f">BB{len(numbers)}{'I' if asn4 else 'H'}", 2, len(numbers), *numbers))
    if internal:
        assert found[5] == (0x40, b"\0\0\0\xc8" if 5 in present else b"\0\0\0\x64")
    for kind in expected & {4, 8, 26, 35}:
        original = next(each for each in extras if each[1] == kind)
        assert decoder.attribute(found[kind][0], kind, found[kind][1]) == original
