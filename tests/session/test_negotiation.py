from ipaddress import ip_address

import attrs
import pytest

from trio_bgp.session.negotiation import make_open, negotiate
from trio_bgp.settings import AddPathSettings, BgpRole, PeerSettings, SpeakerSettings
from trio_bgp.wire.capabilities import (
    AddPath,
    Capability,
    ExtendedMessage,
    ExtendedNextHop,
    FourOctetAs,
    Fqdn,
    Multiprotocol,
    RouteRefresh,
    UnknownCapability,
    encode_capability,
)
from trio_bgp.wire.header import HEADER_LENGTH
from trio_bgp.wire.notification import Notification, NotificationError
from trio_bgp.wire.numbers import IPV4_FLOWSPEC, IPV4_UNICAST, IPV6_UNICAST, RT_CONSTRAIN, VPNV4
from trio_bgp.wire.open import Open, decode_open, encode_open

SPEAKER = SpeakerSettings(local_as=65000, bgp_identifier=0x0A000001)
PEER = PeerSettings(name="peer", address=ip_address("192.0.2.1"), peer_as=65001)


def remote(
    *capabilities: Capability, asn: int = 65001, my_as: int | None = None, hold_time: int = 90, identifier: int = 9
) -> Open:
    """A peer's OPEN with the 4-octet AS capability and `capabilities`."""
    return Open(
        my_as=min(asn, 23456) if my_as is None and asn > 0xFFFF else (my_as or asn),
        hold_time=hold_time,
        bgp_identifier=identifier,
        capabilities=(FourOctetAs(asn), *capabilities),
    )


def refused(message: Open, *, peer: PeerSettings = PEER, speaker: SpeakerSettings = SPEAKER) -> Notification:
    """The NOTIFICATION that `message` is answered with."""
    with pytest.raises(NotificationError) as caught:
        negotiate(speaker, peer, make_open(speaker, peer), message)
    assert caught.value.reason
    return caught.value.notification


def test_our_open_survives_the_wire() -> None:
    """What `make_open` says is what the peer decodes, and it names our AS, identifier and hold time."""
    ours = make_open(attrs.evolve(SPEAKER, local_as=4200000000, hostname="rs1"), PEER)
    assert decode_open(encode_open(ours)[HEADER_LENGTH:]) == ours
    assert (ours.my_as, ours.peer_as, ours.hold_time, ours.bgp_identifier) == (23456, 4200000000, 90, 0x0A000001)
    assert Fqdn("rs1") in ours.capabilities
    assert Multiprotocol(IPV6_UNICAST) in ours.capabilities


def test_extended_messages_are_offered_only_when_chosen() -> None:
    """RFC 8654 is the operator's choice."""
    assert ExtendedMessage() in make_open(SPEAKER, PEER).capabilities
    assert ExtendedMessage() not in make_open(SPEAKER, attrs.evolve(PEER, extended_message=False)).capabilities


def test_ipv6_next_hops_are_offered_for_what_they_are_defined_for() -> None:
    """RFC 8950, section 4: IPv4 unicast, multicast, labelled and VPN routes; both sides have to offer them."""
    families = (IPV4_UNICAST, IPV6_UNICAST, IPV4_FLOWSPEC, VPNV4, RT_CONSTRAIN)
    peer = attrs.evolve(PEER, families=families, extended_next_hop=True)
    ours = make_open(SPEAKER, peer)
    assert ExtendedNextHop(((IPV4_UNICAST, 2), (VPNV4, 2))) in ours.capabilities
    both = [Multiprotocol(family) for family in families]
    assert negotiate(SPEAKER, peer, ours, remote(*both)).extended_next_hop == frozenset()
    theirs = remote(*both, ExtendedNextHop(((VPNV4, 2), (IPV4_FLOWSPEC, 2))))
    assert negotiate(SPEAKER, peer, ours, theirs).extended_next_hop == {(VPNV4, 2)}
    for other in (attrs.evolve(peer, extended_next_hop=False), attrs.evolve(peer, families=(IPV6_UNICAST,))):
        assert not any(isinstance(each, ExtendedNextHop) for each in make_open(SPEAKER, other).capabilities)


@pytest.mark.parametrize(("asn", "my_as"), [(65009, 65009), (65009, 65001)])
def test_another_as_than_configured_is_2_2(asn: int, my_as: int) -> None:
    """OPN-2 and OPN-19: the 4-octet capability rules, a matching My AS does not save it."""
    assert refused(remote(asn=asn, my_as=my_as)) == Notification(2, 2)


def test_an_as_beyond_two_octets_is_known_by_its_capability() -> None:
    """OPN-18: My AS is AS_TRANS, the session is with the capability's AS."""
    peer = attrs.evolve(PEER, peer_as=4200000001)
    found = negotiate(SPEAKER, peer, make_open(SPEAKER, peer), remote(asn=4200000001, my_as=23456))
    assert found.peer_as == 4200000001


def test_our_identifier_is_refused_from_internal_peers_only() -> None:
    """OPN-5 (RFC 6286): 2/3 from an internal peer, accepted from an external one."""
    same = remote(asn=65000, identifier=SPEAKER.bgp_identifier)
    assert refused(same, peer=attrs.evolve(PEER, peer_as=65000)) == Notification(2, 3)
    external = remote(identifier=SPEAKER.bgp_identifier)
    assert negotiate(SPEAKER, PEER, make_open(SPEAKER, PEER), external).external


def test_a_peer_without_four_octet_as_numbers_is_an_old_one() -> None:
    """RFC 6793 section 4.1: without the capability AS numbers have two octets, and the peer's is in My AS."""
    old = Open(my_as=65001, hold_time=90, bgp_identifier=9, capabilities=(Multiprotocol(IPV4_UNICAST),))
    found = negotiate(SPEAKER, PEER, make_open(SPEAKER, PEER), old)
    assert not found.asn4
    assert found.peer_as == 65001


@pytest.mark.parametrize(
    ("offered", "mode", "receives", "sends"),
    [
        (AddPathSettings(send=2, receive=True), 3, True, True),
        (AddPathSettings(send=2, receive=True), 1, False, True),
        (AddPathSettings(send=2, receive=True), 2, True, False),
        (AddPathSettings(send=2), 3, False, True),
        (AddPathSettings(receive=True), 3, True, False),
        (AddPathSettings(), 3, False, False),
    ],
)
def test_add_path_is_per_direction(offered: AddPathSettings, mode: int, receives: bool, sends: bool) -> None:
    """RFC 7911 section 4: a family has path identifiers towards a side that receives from a side that sends."""
    peer = attrs.evolve(PEER, add_path=offered)
    local = make_open(SPEAKER, peer)
    answer = remote(Multiprotocol(IPV4_UNICAST), AddPath(((IPV4_UNICAST, mode),)))
    found = negotiate(SPEAKER, peer, local, answer)
    assert found.add_path_receive == ({IPV4_UNICAST} if receives else set())
    assert found.add_path_send == ({IPV4_UNICAST} if sends else set())


@pytest.mark.parametrize("role", list(BgpRole))
def test_bgp_roles_must_fit(role: BgpRole) -> None:
    """RFC 9234 section 4.2: 2/11 where the peer's role is not the other side of ours; none at all is taken."""
    peer = attrs.evolve(PEER, bgp_role=BgpRole.RS)
    answer = make_open(
        attrs.evolve(SPEAKER, local_as=65001, bgp_identifier=9), attrs.evolve(PEER, peer_as=65000, bgp_role=role)
    )
    if role is BgpRole.RS_CLIENT:
        assert negotiate(SPEAKER, peer, make_open(SPEAKER, peer), answer).role == 2
    else:
        assert refused(answer, peer=peer) == Notification(2, 11)


def test_no_common_family_is_2_7_with_what_we_have() -> None:
    """RFC 5492 section 3: the data are the capabilities the peer would have needed."""
    found = refused(remote(Multiprotocol(VPNV4)))
    needed = b"".join(encode_capability(Multiprotocol(family)) for family in (IPV4_UNICAST, IPV6_UNICAST))
    assert found == Notification(2, 7, needed)


def test_without_multiprotocol_capability_it_is_ipv4_unicast() -> None:
    """RFC 4760 section 8; a peer configured for IPv6 only is refused then."""
    local = make_open(SPEAKER, PEER)
    assert negotiate(SPEAKER, PEER, local, remote()).families == {IPV4_UNICAST}
    assert refused(remote(), peer=attrs.evolve(PEER, families=(IPV6_UNICAST,))).subcode == 7


def test_families_are_those_of_both() -> None:
    """What only one side names is not used; naming a family twice or something unknown does no harm (OPN-11, 13)."""
    message = remote(
        Multiprotocol(IPV6_UNICAST), Multiprotocol(IPV6_UNICAST), Multiprotocol(VPNV4), UnknownCapability(239, b"\1\2")
    )
    found = negotiate(SPEAKER, PEER, make_open(SPEAKER, PEER), message)
    assert found.families == {IPV6_UNICAST}
    assert UnknownCapability(239, b"\1\2") in found.capabilities


@pytest.mark.parametrize(("ours", "theirs", "used"), [(90, 9, 9), (9, 90, 9), (90, 0, 0), (0, 90, 0)])
def test_the_smaller_hold_time_rules(ours: int, theirs: int, used: int) -> None:
    """OPN-7, OPN-8: the smaller of both, and zero is the smallest; KEEPALIVEs each third."""
    peer = attrs.evolve(PEER, hold_time=ours)
    found = negotiate(SPEAKER, peer, make_open(SPEAKER, peer), remote(hold_time=theirs))
    assert (found.hold_time, found.keepalive_time) == (used, used / 3)


def test_long_messages_and_refresh_need_both_sides() -> None:
    """A capability counts when both OPENs have it."""
    message = remote(ExtendedMessage(), RouteRefresh())
    found = negotiate(SPEAKER, PEER, make_open(SPEAKER, PEER), message)
    assert (found.extended_message, found.maximum_length, found.route_refresh) == (True, 65535, True)
    peer = attrs.evolve(PEER, extended_message=False)
    found = negotiate(SPEAKER, peer, make_open(SPEAKER, peer), message)
    assert (found.extended_message, found.maximum_length) == (False, 4096)
    assert not negotiate(SPEAKER, PEER, make_open(SPEAKER, PEER), remote()).route_refresh
