from ipaddress import ip_network

import pytest

from trio_bgp.wire.nlri import (
    FRAMING,
    KEYED,
    Framing,
    format_nlri,
    join_key,
    prefix_octets,
    split_key,
    split_nlri,
    split_nlri_add_path,
    split_prefixes,
)
from trio_bgp.wire.notification import Notification, NotificationError
from trio_bgp.wire.numbers import (
    BGP_LS,
    BGP_LS_VPN,
    EVPN,
    FAMILIES,
    IPV4_FLOWSPEC,
    IPV4_LABELLED,
    IPV4_MULTICAST,
    IPV4_MUP,
    IPV4_MVPN,
    IPV4_SR_POLICY,
    IPV4_UNICAST,
    IPV6_LABELLED,
    IPV6_UNICAST,
    RT_CONSTRAIN,
    VPLS,
    VPNV4,
    VPNV4_MULTICAST,
    VPNV6,
    VPNV6_FLOWSPEC,
    Family,
    family,
    family_name,
)

UNKNOWN = family(16388, 99)


def octets_of(*texts: str) -> list[bytes]:
    """Octets from hex."""
    return [bytes.fromhex(text) for text in texts]


FRAMED: list[tuple[Family, list[bytes]]] = [
    (IPV4_UNICAST, octets_of("00", "08 0a", "18 c00002", "20 c0000201", "09 0a80")),
    (IPV4_MULTICAST, octets_of("20 e0000001")),
    (IPV6_UNICAST, octets_of("00", "20 20010db8", "80 20010db8000000000000000000000001")),
    (IPV4_LABELLED, octets_of("20 000641 0a", "38 000640 000651 0a")),
    (IPV6_LABELLED, octets_of("38 000641 20010db8")),
    (VPNV4, octets_of("70 000641 0000fde900000001 0a0001")),
    (VPNV6, octets_of("78 000641 0000fde900000001 20010db8")),
    (RT_CONSTRAIN, octets_of("00", "60 0000fde9 0002fde900000001", "20 0000fde9")),
    (IPV4_SR_POLICY, octets_of("60 00000001 00000064 c0000201")),
    (IPV4_FLOWSPEC, octets_of("03 01 08 0a", "00", "f0f0" + "01" * 240, "f100" + "02" * 256)),
    (VPNV6_FLOWSPEC, octets_of("0b 0000fde900000001 03 81 06")),
    (IPV4_MVPN, octets_of("01 04 c0000201", "05 00")),
    (EVPN, octets_of("03 11 0000fde900000001 00000000 20 c0000201", "ff 00")),
    (IPV4_MUP, octets_of("01 0001 03 abcdef", "01 0003 00")),
    (VPLS, octets_of("0011 0000fde900000001 0001 0001 000a 00064b", "0000")),
    (BGP_LS, octets_of("0001 0009 03 0000000000000000", "0002 0000")),
    (BGP_LS_VPN, octets_of("0001 0100" + "00" * 256)),
]


@pytest.mark.parametrize(("of", "nlris"), FRAMED, ids=[family_name(of) for of, _ in FRAMED])
def test_each_family_s_nlri_end_where_their_rfc_says(of: Family, nlris: list[bytes]) -> None:
    """One after the other in one field, with and without path identifiers (RFC 7911, section 3)."""
    assert split_nlri(of, b"".join(nlris), add_path=False) == nlris
    numbered = b"".join(bytes((0, 0, 1, number)) + nlri for number, nlri in enumerate(nlris))
    assert split_nlri(of, numbered, add_path=True) == nlris
    assert split_nlri_add_path(of, numbered) == [(256 + number, nlri) for number, nlri in enumerate(nlris)]


def test_no_octets_are_no_nlri() -> None:
    """An empty field names no routes."""
    assert split_nlri(IPV6_UNICAST, b"", add_path=False) == []
    assert split_nlri(EVPN, b"", add_path=True) == []
    assert split_prefixes(b"", 32) == []


def test_path_identifiers_are_unsigned() -> None:
    """RFC 7911, section 3: four octets, 0 allowed, and different identifiers may be of one prefix."""
    octets = bytes.fromhex("ffffffff 08 0a 00000000 08 0a")
    assert split_nlri_add_path(IPV4_UNICAST, octets) == [(0xFFFFFFFF, b"\x08\x0a"), (0, b"\x08\x0a")]


@pytest.mark.parametrize(
    ("framing", "nlris"),
    [
        (Framing.BITS, octets_of("09 0a81", "00")),
        (Framing.U8, octets_of("02 0a81", "00")),
        (Framing.U16, octets_of("0002 0a81", "0000")),
        (Framing.TYPE_U8, octets_of("07 02 0a81", "07 00")),
        (Framing.TYPE_U16, octets_of("0007 0002 0a81", "0700 0000")),
        (Framing.ARCHITECTURE_TYPE_U8, octets_of("01 0007 02 0a81", "02 ffff 00")),
        (Framing.FLOWSPEC, octets_of("02 0a81", "ef" + "11" * 239, "f0ef" + "11" * 239, "ffff" + "22" * 4095)),
    ],
)
def test_a_framing_rule_serves_a_family_without_one(framing: Framing, nlris: list[bytes]) -> None:
    """The operator's rule tells the NLRI apart, and all their octets are kept."""
    assert split_nlri(UNKNOWN, b"".join(nlris), add_path=False, framing=framing) == nlris
    numbered = b"".join(b"\0\0\0\x05" + nlri for nlri in nlris)
    assert split_nlri_add_path(UNKNOWN, numbered, framing) == [(5, nlri) for nlri in nlris]


def test_every_named_family_has_a_framing_rule() -> None:
    """Otherwise its routes could not be told apart."""
    assert set(FRAMING) == set(FAMILIES.values())


@pytest.mark.parametrize("add_path", [False, True])
def test_a_family_without_framing_rule_is_3_9(add_path: bool) -> None:
    """RFC 4760, section 7: the routes cannot be read."""
    with pytest.raises(NotificationError) as caught:
        split_nlri(UNKNOWN, bytes(8), add_path=add_path)
    assert caught.value.notification == Notification(3, 9)
    assert "afi-16388-safi-99" in str(caught.value)


@pytest.mark.parametrize(
    ("of", "octets"),
    [
        (IPV4_UNICAST, "21 c000020100"),
        (IPV4_UNICAST, "ff"),
        (IPV4_UNICAST, "08"),
        (IPV4_UNICAST, "08 0a 18 c000"),
        (IPV4_MULTICAST, "21 e000000100"),
        (IPV6_UNICAST, "81" + "20" * 17),
        (IPV6_UNICAST, "40 20010db8"),
        (RT_CONSTRAIN, "61" + "00" * 13),
        (IPV4_LABELLED, "20 000641"),
        (VPNV4, "ff 00"),
        (IPV4_FLOWSPEC, "03 01 08"),
        (IPV4_FLOWSPEC, "f0"),
        (IPV4_FLOWSPEC, "f0f0 00"),
        (EVPN, "03"),
        (EVPN, "03 01"),
        (IPV4_MVPN, "01 05 c0000201"),
        (IPV4_MUP, "01 0001"),
        (IPV4_MUP, "01 0001 01"),
        (VPLS, "00"),
        (VPLS, "0001"),
        (BGP_LS, "0001 00"),
        (BGP_LS, "0001 0001"),
    ],
)
def test_a_length_beyond_the_field_or_impossible_is_3_10(of: Family, octets: str) -> None:
    """RFC 4271, section 6.3 and RFC 7606, section 5.3: with and without path identifier."""
    for add_path, start in ((False, ""), (True, "00000001")):
        with pytest.raises(NotificationError) as caught:
            split_nlri(of, bytes.fromhex(start + octets), add_path=add_path)
        assert caught.value.notification == Notification(3, 10)
        assert caught.value.reason


@pytest.mark.parametrize("octets", ["00", "00000001", "00000001 08 0a 00000002", "00000001 08 0a 00"])
def test_a_path_identifier_without_nlri_is_3_10(octets: str) -> None:
    """RFC 7911, section 3: each is followed by an NLRI."""
    with pytest.raises(NotificationError) as caught:
        split_nlri_add_path(IPV4_UNICAST, bytes.fromhex(octets))
    assert caught.value.notification == Notification(3, 10)


@pytest.mark.parametrize(
    ("sloppy", "clean"),
    [
        ("01 ff", "01 80"),
        ("02 ff", "02 c0"),
        ("03 ff", "03 e0"),
        ("04 ff", "04 f0"),
        ("05 ff", "05 f8"),
        ("06 ff", "06 fc"),
        ("07 ff", "07 fe"),
        ("08 ff", "08 ff"),
        ("09 ffff", "09 ff80"),
        ("17 ffffff", "17 fffffe"),
        ("1f ffffffff", "1f fffffffe"),
        ("20 ffffffff", "20 ffffffff"),
    ],
)
def test_bits_after_a_prefix_are_zeroed(sloppy: str, clean: str) -> None:
    """RFC 4271, section 4.3: they mean nothing, so they must not make another route; the octets before stay."""
    expected = octets_of(clean, "08 0a")
    assert split_prefixes(bytes.fromhex(sloppy + "08 0a"), 32) == expected
    assert split_nlri(IPV6_UNICAST, bytes.fromhex(sloppy + "08 0a"), add_path=False) == expected
    numbered = bytes.fromhex("00000009" + sloppy + "00000008 08 0a")
    assert split_nlri_add_path(IPV4_UNICAST, numbered) == list(zip((9, 8), expected, strict=True))


def test_bits_of_families_that_are_no_bare_prefix_are_kept() -> None:
    """There a bit count covers labels and route distinguishers; nothing is guessed."""
    nlris = octets_of("25 000641 0a0f")
    assert split_nlri(IPV4_LABELLED, nlris[0], add_path=False) == nlris


@pytest.mark.parametrize(
    ("prefix", "octets"),
    [
        ("0.0.0.0/0", "00"),
        ("10.0.0.0/8", "08 0a"),
        ("10.128.0.0/9", "09 0a80"),
        ("192.0.2.1/32", "20 c0000201"),
        ("::/0", "00"),
        ("2001:db8::/29", "1d 20010db8"),
        ("2001:db8::1/128", "80 20010db8000000000000000000000001"),
    ],
)
def test_a_prefix_has_as_many_octets_as_it_needs(prefix: str, octets: str) -> None:
    """RFC 4271, section 4.3: length in bits, and no more octets than those."""
    network = ip_network(prefix)
    assert prefix_octets(network) == bytes.fromhex(octets)
    assert format_nlri(IPV4_UNICAST if network.version == 4 else IPV6_UNICAST, bytes.fromhex(octets)) == prefix


@pytest.mark.parametrize(
    ("of", "octets", "words"),
    [
        (IPV4_MULTICAST, "20 e0000001", "224.0.0.1/32"),
        (IPV4_LABELLED, "20 000641 0a", "[100] 10.0.0.0/8"),
        (IPV4_LABELLED, "38 000640 000651 0a", "[100/101] 10.0.0.0/8"),
        (IPV4_LABELLED, "20 800000 0a", "[524288] 10.0.0.0/8"),
        (IPV4_LABELLED, "20 000000 0a", "[0] 10.0.0.0/8"),
        (IPV4_LABELLED, "18 000640", "[100] 0.0.0.0/0"),
        (IPV6_LABELLED, "38 000641 20010db8", "[100] 2001:db8::/32"),
        (VPNV4, "70 000641 0000fde900000001 0a0001", "[100] 0000fde900000001:10.0.1.0/24"),
        (VPNV6, "78 000641 0000fde900000001 20010db8", "[100] 0000fde900000001:2001:db8::/32"),
        (VPNV4_MULTICAST, "60 000641 0000fde900000001 0a", "[100] 0000fde900000001:10.0.0.0/8"),
        (EVPN, "03 02 abcd", "0302abcd"),
        (RT_CONSTRAIN, "20 0000fde9", "200000fde9"),
        (IPV4_UNICAST, "21 c000020100", "21c000020100"),
        (IPV6_UNICAST, "81" + "00" * 17, "81" + "00" * 17),
        (VPNV4, "20 000641 0a", "200006410a"),
    ],
)
def test_an_nlri_in_words(of: Family, octets: str, words: str) -> None:
    """Labels by value, route distinguishers and what has no short form in hex."""
    assert format_nlri(of, bytes.fromhex(octets)) == words


KEYS: list[tuple[Family, str, str, str, str]] = [
    # Family, NLRI, key, extra, and the NLRI of a withdrawal that repeats no extra.
    (IPV4_LABELLED, "20 000641 0a", "08 0a", "000641", "20 800000 0a"),
    (IPV4_LABELLED, "38 000640 000651 0a", "08 0a", "000640 000651", "20 800000 0a"),
    (IPV4_LABELLED, "20 800000 0a", "08 0a", "800000", "20 800000 0a"),
    (IPV6_LABELLED, "20 000000 20", "08 20", "000000", "20 800000 20"),
    (
        VPNV4,
        "70 000641 0000fde900000001 0a0001",
        "58 0000fde900000001 0a0001",
        "000641",
        "70 800000 0000fde900000001 0a0001",
    ),
    (
        EVPN,
        "01 19 0000fde900000001 00112233445566778899 00000064 000641",
        "01 16 0000fde900000001 00112233445566778899 00000064",
        "000641",
        "01 19 0000fde900000001 00112233445566778899 00000064 000000",
    ),
    (
        EVPN,
        "02 21 0000fde900000001 00112233445566778899 00000064 30 020000000001 00 000641",
        "02 14 0000fde900000001 00000064 30 020000000001 00",
        "00112233445566778899 000641",
        "02 21 0000fde900000001 00000000000000000000 00000064 30 020000000001 00 000000",
    ),
    (
        EVPN,
        "02 28 0000fde900000001 00112233445566778899 00000064 30 020000000001 20 c0000201 000641 000651",
        "02 18 0000fde900000001 00000064 30 020000000001 20 c0000201",
        "00112233445566778899 000641 000651",
        "02 25 0000fde900000001 00000000000000000000 00000064 30 020000000001 20 c0000201 000000",
    ),
    (
        EVPN,
        "02 31 0000fde900000001" + "00" * 10 + "00000064 30 020000000001 80" + "fd" * 16 + "000641",
        "02 24 0000fde900000001 00000064 30 020000000001 80" + "fd" * 16,
        "00" * 10 + "000641",
        "02 31 0000fde900000001" + "00" * 10 + "00000064 30 020000000001 80" + "fd" * 16 + "000000",
    ),
    (
        EVPN,
        "05 22 0000fde900000001 00112233445566778899 00000064 08 0a000000 c0000201 000641",
        "05 11 0000fde900000001 00000064 08 0a000000",
        "00112233445566778899 c0000201 000641",
        "05 22 0000fde900000001 00000000000000000000 00000064 08 0a000000 00000000 000000",
    ),
    (
        EVPN,
        "05 3a 0000fde900000001 00112233445566778899 00000064 20" + "20" * 16 + "fe" * 16 + "000641",
        "05 1d 0000fde900000001 00000064 20" + "20" * 16,
        "00112233445566778899" + "fe" * 16 + "000641",
        "05 3a 0000fde900000001" + "00" * 10 + "00000064 20" + "20" * 16 + "00" * 16 + "000000",
    ),
    (EVPN, "03 11 0000fde900000001 00000000 20 c0000201", "03 11 0000fde900000001 00000000 20 c0000201", "",
     "03 11 0000fde900000001 00000000 20 c0000201"),
    (EVPN, "02 03 abcdef", "02 03 abcdef", "", "02 03 abcdef"),
]  # fmt: skip


@pytest.mark.parametrize(("of", "nlri", "key", "extra", "withdrawal"), KEYS, ids=range(len(KEYS)))
def test_what_tells_a_route_apart_is_split_from_the_rest(
    of: Family, nlri: str, key: str, extra: str, withdrawal: str
) -> None:
    """RFC 8277, section 2.4; RFC 4364; RFC 7432, section 7; RFC 9136, section 3.1: labels, ESI, gateway are no key."""
    assert of in KEYED
    found, rest = split_key(of, bytes.fromhex(nlri))
    # What stands for the length octet in the key of an EVPN route is the code's own business.
    told = [octet for at, octet in enumerate(found) if at != 1 or of != EVPN]
    assert told == [octet for at, octet in enumerate(bytes.fromhex(key)) if at != 1 or of != EVPN]
    assert rest == bytes.fromhex(extra)
    assert join_key(of, found, rest) == bytes.fromhex(nlri)
    assert join_key(of, found, None) == bytes.fromhex(withdrawal)


@pytest.mark.parametrize("kind", [1, 2, 5])
def test_an_evpn_route_of_odd_length_is_not_taken_for_another(kind: int) -> None:
    """What was not split is not put together: it is withdrawn as it came, and its key is no other route's."""
    keys: dict[bytes, list[int]] = {}
    for size in range(2, 256):
        # Zeros are a MAC/IP route without address if there are enough of them.
        nlri = bytes((kind, size)) + bytes(size)
        key, extra = split_key(EVPN, nlri)
        assert join_key(EVPN, key, extra) == nlri
        assert extra or join_key(EVPN, key, None) == nlri
        keys.setdefault(key, []).append(size)
    shared = [sizes for sizes in keys.values() if len(sizes) > 1]
    assert shared == ([list(range(33, 256))] if kind == 2 else [])


def test_the_key_of_other_families_is_the_nlri() -> None:
    """All of it tells routes apart."""
    assert split_key(IPV4_UNICAST, b"\x08\x0a") == (b"\x08\x0a", b"")
    assert split_key(IPV4_FLOWSPEC, b"\x03\x01\x08\x0a") == (b"\x03\x01\x08\x0a", b"")


@pytest.mark.parametrize(
    ("of", "nlri"),
    [
        (IPV4_LABELLED, "08 0a"),
        (IPV4_LABELLED, "00"),
        (IPV4_LABELLED, "11 000641"),
        (IPV4_LABELLED, "39 000641 0a000001 00"),
        (IPV4_LABELLED, "57 000641 000651 0a000001 00"),
        (IPV6_LABELLED, "99 000641" + "20" * 17),
        (VPNV4, "38 000640 000650 0a"),
        (VPNV4, "50 000641 0000fde9000000"),
        (VPNV4, "79 000641 0000fde900000001 0a000001 00"),
        (VPNV6, "d9 000641 0000fde900000001" + "20" * 17),
    ],
)
def test_bits_behind_the_labels_that_are_no_prefix_are_3_10(of: Family, nlri: str) -> None:
    """RFC 7606, section 5.3: shorter than a route distinguisher, or longer than an address."""
    with pytest.raises(NotificationError) as caught:
        split_key(of, bytes.fromhex(nlri))
    assert caught.value.notification == Notification(3, 10)
