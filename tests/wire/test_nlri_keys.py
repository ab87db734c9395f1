"""What tells routes apart in families whose NLRI say more: labels, segments, gateways."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from trio_bgp.wire.nlri import KEYED, join_key, split_key, split_nlri
from trio_bgp.wire.notification import NotificationError
from trio_bgp.wire.numbers import (
    EVPN,
    IPV4_FLOWSPEC,
    IPV4_LABELLED,
    IPV4_UNICAST,
    IPV6_LABELLED,
    VPNV4,
    VPNV4_MULTICAST,
    VPNV6,
    VPNV6_MULTICAST,
)

QUICK = settings(derandomize=True, max_examples=150, deadline=None)
RD = bytes.fromhex("0000fde800000001")
SEGMENT = bytes(range(10))
TAG = b"\0\0\0\7"
MAC = bytes.fromhex("020000000001")
LABEL, BOTTOM = b"\x00\x10\x00", b"\x00\x10\x01"
MPLS = (IPV4_LABELLED, IPV6_LABELLED, VPNV4, VPNV6, VPNV4_MULTICAST, VPNV6_MULTICAST)


def evpn(kind: int, body: bytes) -> bytes:
    """An EVPN route."""
    return bytes((kind, len(body))) + body


def test_the_label_is_no_part_of_the_route() -> None:
    """RFC 8277, section 2.4: a route announced with another label is the same route."""
    one = bytes((24 + 24,)) + BOTTOM + b"\x0a\0\1"
    two = bytes((24 + 24,)) + b"\x00\x20\x01" + b"\x0a\0\1"
    assert split_key(IPV4_LABELLED, one) == (b"\x18\x0a\0\1", BOTTOM)
    assert split_key(IPV4_LABELLED, two)[0] == split_key(IPV4_LABELLED, one)[0]
    other = bytes((24 + 24,)) + BOTTOM + b"\x0a\0\2"
    assert split_key(IPV4_LABELLED, other)[0] != split_key(IPV4_LABELLED, one)[0]


def test_a_stack_of_labels_ends_at_the_bottom() -> None:
    """RFC 8277, section 2.3: up to the label with the bottom-of-stack bit."""
    nlri = bytes((48 + 8,)) + LABEL + BOTTOM + b"\x0a"
    assert split_key(IPV4_LABELLED, nlri) == (b"\x08\x0a", LABEL + BOTTOM)


@pytest.mark.parametrize("label", [b"\x80\0\0", b"\0\0\0"])
def test_a_withdrawn_label_is_one_without_the_bit(label: bytes) -> None:
    """RFC 8277, section 2.4: 0x800000 in a withdrawal, which some send as 0."""
    assert split_key(VPNV4, bytes((24 + 64 + 8,)) + label + RD + b"\x0a") == (bytes((72,)) + RD + b"\x0a", label)


@pytest.mark.parametrize("label", [LABEL, b"\x12\x34\x56"])
def test_a_single_label_needs_no_bit(label: bytes) -> None:
    """RFC 8277, sections 2.2 and 2.4: on reception the bit is ignored, and whatever else a withdrawal has there."""
    assert split_key(IPV4_LABELLED, bytes((24,)) + label) == (b"\0", label)
    assert split_key(IPV4_LABELLED, bytes((56,)) + label + b"\x0a\0\0\2") == (b"\x20\x0a\0\0\2", label)


def test_the_route_distinguisher_is_part_of_the_route() -> None:
    """RFC 4364, section 4.1: equal prefixes of two VPNs are two routes."""
    keys = {split_key(VPNV4, bytes((96,)) + BOTTOM + rd + b"\x0a")[0] for rd in (RD, bytes(8))}
    assert len(keys) == 2


def test_a_default_route_has_a_label_alone() -> None:
    """No octet of prefix."""
    assert split_key(IPV6_LABELLED, bytes((24,)) + BOTTOM) == (b"\0", BOTTOM)


@pytest.mark.parametrize(
    "nlri",
    [b"\x18", b"\x18\0\x10", bytes((16,)) + BOTTOM],
    ids=["nothing", "half a label", "fewer bits than the label"],
)
def test_what_has_no_whole_label_is_invalid(nlri: bytes) -> None:
    """RFC 7606, section 5.3: 3/10, Invalid Network Field."""
    with pytest.raises(NotificationError) as raised:
        split_key(IPV4_LABELLED, nlri)
    assert (raised.value.notification.code, raised.value.notification.subcode) == (3, 10)


def test_a_withdrawal_need_not_repeat_the_label() -> None:
    """RFC 8277, section 2.4: it is written with 0x800000 and names the same route."""
    nlri = bytes((96,)) + BOTTOM + RD + b"\x0a"
    key, _ = split_key(VPNV4, nlri)
    gone = join_key(VPNV4, key, None)
    assert gone == bytes((96,)) + b"\x80\0\0" + RD + b"\x0a"
    assert split_key(VPNV4, gone)[0] == key


EVPN_ROUTES = {
    "Ethernet auto-discovery": (evpn(1, RD + SEGMENT + TAG + BOTTOM), RD + SEGMENT + TAG, BOTTOM),
    "MAC": (
        evpn(2, RD + SEGMENT + TAG + b"\x30" + MAC + b"\0" + BOTTOM),
        RD + TAG + b"\x30" + MAC + b"\0",
        SEGMENT + BOTTOM,
    ),
    "MAC and IPv4": (
        evpn(2, RD + SEGMENT + TAG + b"\x30" + MAC + b"\x20\x0a\0\0\1" + BOTTOM),
        RD + TAG + b"\x30" + MAC + b"\x20\x0a\0\0\1",
        SEGMENT + BOTTOM,
    ),
    "MAC and IPv6, two labels": (
        evpn(2, RD + SEGMENT + TAG + b"\x30" + MAC + b"\x80" + bytes(15) + b"\1" + LABEL + BOTTOM),
        RD + TAG + b"\x30" + MAC + b"\x80" + bytes(15) + b"\1",
        SEGMENT + LABEL + BOTTOM,
    ),
    "IPv4 prefix": (
        evpn(5, RD + SEGMENT + TAG + b"\x18\x0a\0\1\0" + b"\x0a\0\0\xfe" + BOTTOM),
        RD + TAG + b"\x18\x0a\0\1\0",
        SEGMENT + b"\x0a\0\0\xfe" + BOTTOM,
    ),
    "IPv6 prefix": (
        evpn(5, RD + SEGMENT + TAG + b"\x30" + bytes(range(16)) + bytes(16) + BOTTOM),
        RD + TAG + b"\x30" + bytes(range(16)),
        SEGMENT + bytes(16) + BOTTOM,
    ),
}


@pytest.mark.parametrize(("nlri", "key", "extra"), EVPN_ROUTES.values(), ids=EVPN_ROUTES.keys())
def test_evpn_routes_are_told_apart_by_their_key_fields(nlri: bytes, key: bytes, extra: bytes) -> None:
    """RFC 7432, section 7, RFC 9136, section 3.1: segment (but in type 1), gateway and labels do not count."""
    found = split_key(EVPN, nlri)
    # What stands for the length octet in such a key is the code's own business.
    assert (found[0][:1] + found[0][2:], found[1]) == (nlri[:1] + key, extra)
    assert join_key(EVPN, *found) == nlri


@pytest.mark.parametrize(("nlri", "key", "extra"), EVPN_ROUTES.values(), ids=EVPN_ROUTES.keys())
def test_a_withdrawn_evpn_route_is_whole_and_the_same(nlri: bytes, key: bytes, extra: bytes) -> None:
    """RFC 7432, section 7: what is no part of the key may be anything, but the fields must be there."""
    gone = join_key(EVPN, split_key(EVPN, nlri)[0], None)
    assert split_nlri(EVPN, gone, add_path=False) == [gone]
    assert split_key(EVPN, gone)[0] == split_key(EVPN, nlri)[0]
    assert len(gone) in (len(nlri), len(nlri) - 3)


OTHER_EVPN = {
    "inclusive multicast": evpn(3, RD + TAG + b"\x20\x0a\0\0\1"),
    "Ethernet segment": evpn(4, RD + SEGMENT + b"\x20\x0a\0\0\1"),
    "unknown type": evpn(200, b"whatever"),
    "empty": evpn(9, b""),
    "auto-discovery of another length": evpn(1, RD),
    "MAC too short": evpn(2, RD + SEGMENT),
    "MAC with an address of 16 bits": evpn(2, RD + SEGMENT + TAG + b"\x30" + MAC + b"\x10" + bytes(2) + BOTTOM),
    "prefix of another length": evpn(5, RD + SEGMENT + TAG),
}


@pytest.mark.parametrize("nlri", OTHER_EVPN.values(), ids=OTHER_EVPN.keys())
def test_what_is_not_understood_is_its_own_key(nlri: bytes) -> None:
    """It is forwarded, and withdrawn by the same octets."""
    assert split_key(EVPN, nlri) == (nlri, b"")
    assert join_key(EVPN, nlri, b"") == nlri
    assert join_key(EVPN, nlri, None) == nlri


KEY_LENGTHS = {(1, 22), (2, 20), (2, 24), (2, 36), (5, 17), (5, 29)}
"""Types and lengths that an EVPN route's key has once it was split."""


@pytest.mark.parametrize(("kind", "length"), sorted(KEY_LENGTHS))
def test_what_is_as_long_as_a_key_is_its_own_key(kind: int, length: int) -> None:
    """RFC 4271, section 3.1: its withdrawal must name it, or its receivers keep it."""
    nlri = evpn(kind, b"\x18" * length)
    assert split_key(EVPN, nlri) == (nlri, b"")
    assert join_key(EVPN, nlri, None) == nlri


def test_other_families_have_nothing_to_split() -> None:
    """The NLRI is the key."""
    assert {*MPLS, EVPN} == KEYED
    for family, nlri in ((IPV4_UNICAST, b"\x08\x0a"), (IPV4_FLOWSPEC, b"\x03\x01\x08\x0a")):
        assert split_key(family, nlri) == (nlri, b"")


@QUICK
@given(
    st.sampled_from(MPLS),
    st.lists(st.integers(1, 0xFFFFF), min_size=1, max_size=4),
    st.integers(0, 64),
    st.binary(min_size=8, max_size=8),
)
def test_labelled_routes_are_put_together_again(family: int, labels: list[int], bits: int, octets: bytes) -> None:
    """`join_key` undoes `split_key`; the key does not depend on the labels."""
    stack = b"".join(
        (label << 4 | (position == len(labels) - 1)).to_bytes(3, "big") for position, label in enumerate(labels)
    )
    bits = bits // 2 + (0 if family in (IPV4_LABELLED, IPV6_LABELLED) else 64)
    prefix = (RD + octets if bits > 32 else octets)[: (bits + 7) // 8]
    nlri = bytes((bits + 8 * len(stack),)) + stack + prefix
    made = next(each for each in MPLS if each == family)
    key, extra = split_key(made, nlri)
    assert (key, extra) == (bytes((bits,)) + prefix, stack)
    assert join_key(made, key, extra) == nlri
    assert split_key(made, join_key(made, key, None))[0] == key


@QUICK
@given(st.integers(0, 255), st.binary(max_size=70))
def test_any_evpn_route_is_put_together_again(kind: int, body: bytes) -> None:
    """Whatever type and length: nothing is lost, and its withdrawal names it."""
    assume((kind, len(body)) not in KEY_LENGTHS)
    nlri = evpn(kind, body)
    key, extra = split_key(EVPN, nlri)
    assert join_key(EVPN, key, extra) == nlri
    gone = join_key(EVPN, key, None)
    assert split_nlri(EVPN, gone, add_path=False) == [gone]
    assert split_key(EVPN, gone)[0] == key


@QUICK
@given(
    st.sampled_from([1, 2, 5]),
    st.sampled_from([0, 32, 128]),
    st.binary(min_size=80, max_size=80),
    st.integers(0, 12),
)
def test_evpn_routes_of_real_lengths_are_put_together_again(kind: int, size: int, octets: bytes, more: int) -> None:
    """The same, for lengths as they occur and a few octets beside them."""
    fixed = {
        1: octets[:25],
        2: octets[:29] + bytes((size,)) + octets[30 : 30 + size // 8 + more],
        5: octets[: 34 + more * 2],
    }
    nlri = evpn(kind, fixed[kind])
    key, extra = split_key(EVPN, nlri)
    assert join_key(EVPN, key, extra) == nlri
    assert split_key(EVPN, join_key(EVPN, key, None))[0] == key
