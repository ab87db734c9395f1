"""The capability mask: the documented positions, and the document's scenarios as they have to be."""

from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.harness import decoder
from trio_bgp.passthrough import mask
from trio_bgp.passthrough.mask import can_pass_through, describe, mask_of, obstacle
from trio_bgp.passthrough.message import PassthroughMessage
from trio_bgp.rib.path import PathIdentifiers
from trio_bgp.routing.group import Member
from trio_bgp.routing.ingress import Ingress
from trio_bgp.session.negotiation import Negotiated
from trio_bgp.settings import PeerSettings, Role, SpeakerSettings
from trio_bgp.wire import numbers
from trio_bgp.wire.numbers import EVPN, FAMILIES, IPV4_UNICAST, IPV6_UNICAST, Family

FAMILY_BITS = {
    "ipv4-unicast": 1 << 24,
    "ipv4-multicast": 1 << 25,
    "ipv6-unicast": 1 << 26,
    "ipv6-multicast": 1 << 27,
    "vpnv4-unicast": 1 << 28,
    "vpnv6-unicast": 1 << 29,
    "l2vpn-evpn": 1 << 30,
    "ipv4-flowspec": 1 << 31,
    "ipv6-flowspec": 1 << 32,
    "bgp-ls": 1 << 33,
}
ADD_PATH_BITS = {
    "ipv4-unicast": 1 << 8,
    "ipv4-multicast": 1 << 9,
    "ipv6-unicast": 1 << 10,
    "ipv6-multicast": 1 << 11,
    "vpnv4-unicast": 1 << 12,
    "vpnv6-unicast": 1 << 13,
    "l2vpn-evpn": 1 << 14,
    "ipv4-flowspec": 1 << 15,
}
V4, V6 = frozenset({IPV4_UNICAST}), frozenset({IPV6_UNICAST})
BLOCK = decoder.attribute(0x40, 1, b"\0") + decoder.as_path(65001)
HOP = bytes((192, 0, 2, 1))
PREFIX = (decoder.V4, b"\x08\x0a")
PREFIX6 = (decoder.V6, b"\x10\x20\x01")
QUICK = settings(derandomize=True, max_examples=150, deadline=None)


def peer(
    families: frozenset[Family] = V4,
    *,
    asn4: bool = True,
    external: bool = True,
    transparent: bool = True,
    extended: bool = False,
    add_path: frozenset[Family] = frozenset(),
) -> int:
    """The mask of a peer; a route-server client unless told otherwise."""
    return mask_of(
        families=families,
        asn4=asn4,
        extended_message=extended,
        external=external,
        transparent=transparent,
        add_path=add_path,
    )


class Nowhere:
    """A queue that nobody reads."""

    queued = 0
    waiting = 0
    drained: Callable[[], None] | None = None

    def put(self, item: bytes | PassthroughMessage) -> None:
        """Refuse."""
        raise AssertionError("nothing should be queued")

    def put_all(self, items: Sequence[PassthroughMessage]) -> None:
        """One by one."""
        for item in items:
            self.put(item)


def member(**negotiated: Any) -> Member:
    """The session of a route-server client, or of an internal peer with `external=False`."""
    external = negotiated.get("external", True)
    return Member(
        name="p1",
        address=ip_address("192.0.2.1"),
        settings=PeerSettings(
            name="p1",
            address=ip_address("192.0.2.1"),
            peer_as=65001 if external else 65000,
            role=Role.RS_CLIENT if external else Role.RR_CLIENT,
        ),
        negotiated=Negotiated(
            **{
                "peer_as": 65001 if external else 65000,
                "bgp_identifier": 1,
                "hold_time": 0,
                "asn4": True,
                "families": V4 | V6,
                **negotiated,
            }
        ),
        outbound=Nowhere(),
        speaker=SpeakerSettings(local_as=65000, bgp_identifier=99),
    )


def required(octets: bytes, **negotiated: Any) -> int:
    """What an UPDATE received in such a session requires of a receiver."""
    identifiers = PathIdentifiers()
    source = member(**negotiated)
    ingress = Ingress(source, SpeakerSettings(local_as=65000, bgp_identifier=99), identifiers, lambda *_: None)
    # So that the withdrawal of a route means something.
    if negotiated.get("asn4", True):
        first = announcement(IPV4_UNICAST in negotiated.get("add_path_receive", ()))
        ingress.read(first, 0, len(first))
    else:
        identifiers.lane(source.source, None)
    received = ingress.read(octets, 0, len(octets))
    assert received.clean
    return ingress.required(received.parts, len(octets))


def announcement(identifier: bool = False, more: bytes = b"") -> bytes:
    """One IPv4 prefix announced, perhaps with path identifier 7."""
    front = b"\0\0\0\7" if identifier else b""
    return decoder.announce([(decoder.V4, front + PREFIX[1])], BLOCK + more, HOP)


@pytest.mark.parametrize(("name", "bit"), FAMILY_BITS.items(), ids=FAMILY_BITS.keys())
def test_families_have_their_documented_bits(name: str, bit: int) -> None:
    """The positions 24 to 33 of the original document."""
    assert mask.family_bit(FAMILIES[name]) == bit


@pytest.mark.parametrize(("name", "bit"), ADD_PATH_BITS.items(), ids=ADD_PATH_BITS.keys())
def test_add_path_has_its_documented_bits(name: str, bit: int) -> None:
    """The positions 8 to 15 of the original document."""
    assert mask.add_path_bit(FAMILIES[name]) == bit


def test_session_bits_are_the_documented_ones() -> None:
    """Bit 0 EBGP, 1 four-octet AS numbers, 2 extended messages, as `mask_of` sets them; internal and old are 0."""
    assert (mask.EBGP, mask.ASN4, mask.EXTENDED_MESSAGE) == (1 << 0, 1 << 1, 1 << 2)
    assert mask_of(families=(), asn4=False, extended_message=False, external=False) == 0
    assert mask_of(families=(), asn4=False, extended_message=False, external=True) == 1
    assert mask_of(families=(), asn4=True, extended_message=False, external=False) == 2
    assert mask_of(families=(), asn4=False, extended_message=True, external=False) == 4
    assert mask_of(families=V4, asn4=False, extended_message=False, external=False, add_path=V4) == 1 << 24 | 1 << 8


def test_no_two_bits_are_the_same() -> None:
    """Every family, known or met at run time, has two bits of its own, beside those of the session."""
    unknown = [numbers.family(afi, safi) for afi in (1, 3, 16388, 65535) for safi in (99, 241)]
    families = [*FAMILIES.values(), *unknown]
    bits = [mask.family_bit(family) for family in families] + [mask.add_path_bit(family) for family in families]
    bits += [mask.EBGP, mask.ASN4, mask.EXTENDED_MESSAGE, mask.AS_NUMBERS, mask.TRANSPARENT, mask.REWRITE]
    assert all(bit.bit_count() == 1 for bit in bits)
    assert len(set(bits)) == len(bits)


def test_a_family_met_at_run_time_keeps_its_bits() -> None:
    """Asked again, also first for the ADD-PATH bit, the same position is named."""
    family = numbers.family(777, 7)
    add_path = mask.add_path_bit(family)
    other = mask.family_bit(numbers.family(777, 8))
    assert mask.add_path_bit(family) == add_path
    assert len({mask.family_bit(family), add_path, other}) == 3
    assert mask.families_of(mask.family_bit(family) | mask.family_bit(EVPN)) == [EVPN, family]


@QUICK
@given(st.sets(st.sampled_from(sorted(FAMILIES.values()))))
def test_families_of_a_mask_are_those_it_was_made_of(families: set[Family]) -> None:
    """ADD-PATH and session bits are no families."""
    made = peer(frozenset(families), extended=True, add_path=frozenset(FAMILIES.values()))
    assert set(mask.families_of(made)) == families


def test_describe_names_everything() -> None:
    """In words, for a log."""
    assert describe(0) == "IBGP+ASN2"
    assert (
        describe(peer(V4 | V6, extended=True, transparent=False, add_path=V4))
        == "EBGP+ASN4+EXTENDED+ipv4-unicast+ipv6-unicast+ADDPATH(ipv4-unicast)"
    )
    assert describe(peer(frozenset({EVPN}), asn4=False)) == "EBGP+ASN2+TRANSPARENT+l2vpn-evpn"
    assert describe(peer(frozenset({numbers.family(16388, 99)}), external=False, transparent=False)) == (
        "IBGP+ASN4+afi-16388-safi-99"
    )


# The document's scenarios: a message from an EBGP peer with 4-octet AS numbers and ADD-PATH.


def scenario() -> int:
    """That message's requirement; its path identifier is ours too."""
    return required(announcement(identifier=True), add_path_receive=V4)


def test_scenario_b_the_same_capabilities_pass() -> None:
    """Peer B, EBGP+ASN4+ADD-PATH: yes."""
    assert can_pass_through(scenario(), peer(add_path=V4))


def test_scenario_c_without_add_path_does_not_pass() -> None:
    """Peer C, EBGP+ASN4: no, it would take the path identifier for prefixes."""
    assert not can_pass_through(scenario(), peer())
    assert obstacle(scenario(), peer()) == "add-path"


def test_scenario_d_an_internal_peer_does_not_pass() -> None:
    """Peer D, IBGP+ASN4+ADD-PATH: no, it needs LOCAL_PREF."""
    internal = peer(external=False, transparent=False, add_path=V4)
    assert not can_pass_through(scenario(), internal)
    assert obstacle(scenario(), internal) == "role"


def test_scenario_e_two_octet_as_numbers_do_not_pass() -> None:
    """Peer E, EBGP+ASN2+ADD-PATH: no."""
    assert not can_pass_through(scenario(), peer(asn4=False, add_path=V4))
    assert obstacle(scenario(), peer(asn4=False, add_path=V4)) == "as-width"


# What the document got wrong (C.3).


def test_add_path_is_exclusive() -> None:
    """C.3, 2: NLRI without path identifiers are misread by who expects them."""
    plain = required(announcement())
    assert can_pass_through(plain, peer())
    assert not can_pass_through(plain, peer(add_path=V4))
    assert obstacle(plain, peer(add_path=V4)) == "add-path"


def test_add_path_is_exclusive_in_withdrawals() -> None:
    """C.3, 2: withdrawn routes have identifiers as well (RFC 7911, section 3)."""
    plain = required(decoder.withdraw([PREFIX]))
    assert not can_pass_through(plain, peer(add_path=V4))
    with_identifier = decoder.withdraw([(decoder.V4, b"\0\0\0\7" + PREFIX[1])])
    numbered = required(with_identifier, add_path_receive=V4)
    assert can_pass_through(numbered, peer(add_path=V4))
    assert not can_pass_through(numbered, peer())


def test_add_path_counts_only_for_families_in_the_message() -> None:
    """C.3, 2: what was agreed on IPv6 says nothing of an IPv4 message."""
    assert can_pass_through(required(announcement()), peer(V4 | V6, add_path=V6))
    assert can_pass_through(scenario(), peer(V4 | V6, add_path=V4 | V6))
    six = required(decoder.announce([PREFIX6], BLOCK, bytes(15) + b"\1"), add_path_receive=V4)
    assert can_pass_through(six, peer(V4 | V6))
    assert can_pass_through(six, peer(V4 | V6, add_path=V4))
    assert not can_pass_through(six, peer(V4 | V6, add_path=V6))


def test_received_identifiers_that_are_not_ours_do_not_pass() -> None:
    """C.3, 3: an identifier that another path has must be replaced (RFC 7911, section 2)."""
    identifiers = PathIdentifiers()
    speaker = SpeakerSettings(local_as=65000, bgp_identifier=99)
    octets = announcement(identifier=True)
    found = []
    for _ in range(2):
        ingress = Ingress(member(add_path_receive=V4), speaker, identifiers, lambda *_: None)
        found.append(ingress.required(ingress.read(octets, 0, len(octets)).parts, len(octets)))
    assert can_pass_through(found[0], peer(add_path=V4))
    assert not can_pass_through(found[1], peer(add_path=V4))
    assert obstacle(found[1], peer(add_path=V4)) == "path-identifiers"


def test_the_requirement_is_the_messages_not_the_senders() -> None:
    """C.3, 6: a short IPv4 message of a peer that can do everything is for the simplest receiver."""
    able = {"families": frozenset(FAMILIES.values()), "extended_message": True}
    assert required(decoder.withdraw([PREFIX]), **able) == 1 << 24
    assert can_pass_through(required(announcement(), **able), peer(V4))
    assert can_pass_through(required(decoder.withdraw([PREFIX]), **able), peer(V4, asn4=False, transparent=False))


def test_only_a_message_above_4096_octets_is_an_extended_one() -> None:
    """C.3, 6, RFC 8654, section 4: by actual length."""
    size = 4096 - len(announcement(more=decoder.attribute(0xC0, 200, bytes(300)))) + 300
    fits = announcement(more=decoder.attribute(0xC0, 200, bytes(size)))
    longer = announcement(more=decoder.attribute(0xC0, 200, bytes(size + 1)))
    assert (len(fits), len(longer)) == (4096, 4097)
    able = {"extended_message": True}
    assert can_pass_through(required(fits, **able), peer())
    assert not can_pass_through(required(longer, **able), peer())
    assert can_pass_through(required(longer, **able), peer(extended=True))
    assert obstacle(required(longer, **able), peer()) == "length"


def test_the_width_counts_only_where_there_are_as_numbers() -> None:
    """RFC 6793: a withdrawal from a 4-octet peer is for 2-octet ones too, and the other way round."""
    gone = decoder.withdraw([PREFIX])
    assert can_pass_through(required(gone), peer(asn4=False))
    assert can_pass_through(required(gone, asn4=False), peer())
    old = decoder.announce(
        [PREFIX], decoder.attribute(0x40, 1, b"\0") + decoder.attribute(0x40, 2, b"\2\1\xfd\xe9"), HOP
    )
    identifiers = PathIdentifiers()
    ingress = Ingress(
        member(asn4=False), SpeakerSettings(local_as=65000, bgp_identifier=99), identifiers, lambda *_: None
    )
    narrow = ingress.required(ingress.read(old, 0, len(old)).parts, len(old))
    assert can_pass_through(narrow, peer(asn4=False))
    assert obstacle(narrow, peer()) == "as-width"


def test_a_mask_is_about_one_direction() -> None:
    """C.3, 7: what a peer may send us with identifiers says nothing about what it can read."""
    sends = member(add_path_receive=V4)
    reads = member(add_path_send=V4)
    assert not sends.mask & 1 << 8
    assert reads.mask & 1 << 8
    assert can_pass_through(scenario(), reads.mask)
    assert obstacle(scenario(), sends.mask) == "add-path"
    assert can_pass_through(required(announcement()), sends.mask)


def test_external_matches_external_only_among_clients_of_the_server() -> None:
    """C.3, 8: an ordinary external peer is sent our AS and next hop, so nothing passes to it but withdrawals."""
    ordinary = peer(transparent=False)
    assert obstacle(required(announcement()), ordinary) == "role"
    assert can_pass_through(required(decoder.withdraw([PREFIX])), ordinary)


def test_what_an_internal_peer_announces_passes_to_nobody() -> None:
    """C.3, 8: it is to be reflected (RFC 4456, section 8), or to lose what is internal."""
    inside = required(announcement(more=decoder.attribute(0x40, 5, b"\0\0\0\1")), external=False)
    for receiver in (peer(), peer(transparent=False), peer(external=False, transparent=False)):
        assert obstacle(inside, receiver) == "role"


def test_a_family_that_was_not_negotiated_comes_first() -> None:
    """Whatever else is in the way, a receiver has no use for such a message; one family of two is enough."""
    both = mask.CapabilityMask(1 << 24 | 1 << 26 | mask.AS_NUMBERS | mask.ASN4 | mask.EXTENDED_MESSAGE)
    assert obstacle(both, peer(V4, asn4=False, add_path=V4)) == "family"
    assert obstacle(both, peer(V4 | V6, asn4=False, add_path=V4)) == "as-width"
    assert obstacle(both, peer(V4 | V6, add_path=V4)) == "add-path"
    assert obstacle(both, peer(V4 | V6)) == "length"
    assert obstacle(both, peer(V4 | V6, extended=True)) == ""


KNOWN = sorted(FAMILIES.values())


@QUICK
@given(
    st.sets(st.sampled_from(KNOWN), min_size=1, max_size=3),
    st.sets(st.sampled_from(KNOWN), max_size=2),
    st.sets(st.sampled_from(KNOWN), max_size=6),
    st.sets(st.sampled_from(KNOWN), max_size=3),
    *[st.booleans()] * 7,
)
def test_can_pass_through_is_the_rule_in_words(
    families: set[Family],
    numbered: set[Family],
    negotiated: set[Family],
    expects: set[Family],
    numbers_inside: bool,
    wide: bool,
    long: bool,
    transparent: bool,
    peer_wide: bool,
    peer_long: bool,
    peer_transparent: bool,
) -> None:
    """All families, each with or without identifiers as agreed, width if it matters, length, role; else a reason."""
    negotiated |= families if len(negotiated) > 2 else set()
    need = 0
    for family in families:
        need |= mask.family_bit(family)
        if family in numbered:
            need |= mask.add_path_bit(family)
    need |= mask.AS_NUMBERS if numbers_inside else 0
    need |= mask.ASN4 if wide else 0
    need |= mask.EXTENDED_MESSAGE if long else 0
    need |= mask.TRANSPARENT if transparent else 0
    receiver = peer(
        frozenset(negotiated),
        asn4=peer_wide,
        extended=peer_long,
        transparent=peer_transparent,
        add_path=frozenset(expects),
    )
    expected = (
        families <= negotiated
        and all((family in numbered) == (family in expects) for family in families)
        and (not numbers_inside or wide == peer_wide)
        and (not long or peer_long)
        and (not transparent or peer_transparent)
    )
    assert can_pass_through(need, receiver) is expected
    assert (obstacle(need, receiver) == "") is expected
    assert not can_pass_through(need | mask.REWRITE, receiver)
    assert obstacle(need | mask.REWRITE, receiver) != ""
