import pytest

from trio_bgp.wire.capabilities import (
    AddPath,
    BgpRole,
    Capability,
    EnhancedRouteRefresh,
    ExtendedMessage,
    ExtendedNextHop,
    FourOctetAs,
    Fqdn,
    GracefulRestart,
    LongLivedGracefulRestart,
    Multiprotocol,
    RouteRefresh,
    SoftwareVersion,
    UnknownCapability,
    decode_capabilities,
    encode_capability,
)
from trio_bgp.wire.notification import Notification, NotificationError
from trio_bgp.wire.numbers import BGP_LS, IPV4_UNICAST, IPV6_UNICAST, VPNV4, family

FORMS: list[tuple[str, Capability]] = [
    ("01 04 0001 00 01", Multiprotocol(IPV4_UNICAST)),
    ("01 04 4004 00 47", Multiprotocol(BGP_LS)),
    ("02 00", RouteRefresh()),
    ("05 06 0001 0001 0002", ExtendedNextHop(((IPV4_UNICAST, 2),))),
    ("05 0c 0001 0001 0002 0001 0080 0002", ExtendedNextHop(((IPV4_UNICAST, 2), (VPNV4, 2)))),
    ("06 00", ExtendedMessage()),
    ("09 01 02", BgpRole(2)),
    ("40 02 0078", GracefulRestart(False, False, 120, ())),
    ("40 02 0fff", GracefulRestart(False, False, 4095, ())),
    ("40 02 8000", GracefulRestart(True, False, 0, ())),
    ("40 02 4fff", GracefulRestart(False, True, 4095, ())),
    (
        "40 0a c05a 0001 01 80 0002 01 00",
        GracefulRestart(True, True, 90, ((IPV4_UNICAST, True), (IPV6_UNICAST, False))),
    ),
    ("41 04 fa56ea01", FourOctetAs(4200000001)),
    ("45 04 0001 01 01", AddPath(((IPV4_UNICAST, 1),))),
    ("45 08 0001 01 03 0002 01 02", AddPath(((IPV4_UNICAST, 3), (IPV6_UNICAST, 2)))),
    ("46 00", EnhancedRouteRefresh()),
    ("47 07 0001 01 80 015180", LongLivedGracefulRestart(((IPV4_UNICAST, True, 86400),))),
    (
        "47 0e 0001 01 00 000001 0002 01 80 ffffff",
        LongLivedGracefulRestart(((IPV4_UNICAST, False, 1), (IPV6_UNICAST, True, 16777215))),
    ),
    ("49 05 03 727331 00", Fqdn("rs1")),
    ("49 0c 03 727331 07 6578616d706c65", Fqdn("rs1", "example")),
    ("4b 05 04 76312e30", SoftwareVersion("v1.0")),
    ("4b 03 02 c3a9", SoftwareVersion("é")),
    ("03 07 0001 00 01 01 80 03", UnknownCapability(3, bytes.fromhex("00010001018003"))),
    ("c8 00", UnknownCapability(200, b"")),
    ("ff 02 abcd", UnknownCapability(255, b"\xab\xcd")),
]


@pytest.mark.parametrize(("octets", "value"), FORMS, ids=[f"{form[0]}" for form in FORMS])
def test_each_capability_is_read_and_written_as_its_rfc_has_it(octets: str, value: Capability) -> None:
    """Code, length and value; what is unknown is kept as it came."""
    assert decode_capabilities(bytes.fromhex(octets)) == (value,)
    assert encode_capability(value) == bytes.fromhex(octets)


def test_capabilities_are_read_in_order_and_repeats_kept() -> None:
    """RFC 5492, section 4: one capability may be there several times."""
    octets = bytes.fromhex("01 04 0001 00 01  c8 01 07  01 04 0002 00 01  01 04 0001 00 01")
    assert decode_capabilities(octets) == (
        Multiprotocol(IPV4_UNICAST),
        UnknownCapability(200, b"\x07"),
        Multiprotocol(IPV6_UNICAST),
        Multiprotocol(IPV4_UNICAST),
    )


def test_no_octets_are_no_capabilities() -> None:
    """An empty parameter is fine."""
    assert decode_capabilities(b"") == ()


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        ("01 04 0001 ff 01", Multiprotocol(IPV4_UNICAST)),
        ("40 06 305a 0001 01 ff", GracefulRestart(False, False, 90, ((IPV4_UNICAST, True),))),
        ("40 06 005a 0001 01 7f", GracefulRestart(False, False, 90, ((IPV4_UNICAST, False),))),
        ("47 07 0001 01 7f 000001", LongLivedGracefulRestart(((IPV4_UNICAST, False, 1),))),
    ],
)
def test_reserved_bits_mean_nothing(octets: str, expected: Capability) -> None:
    """RFC 4760, section 8; RFC 4724, section 3; RFC 9494, section 3.1: to be ignored."""
    assert decode_capabilities(bytes.fromhex(octets)) == (expected,)


def test_an_add_path_entry_with_another_mode_is_left_out() -> None:
    """RFC 7911, section 4: any value but 1, 2 and 3 is ignored, the other entries stay."""
    octets = bytes.fromhex("45 0c 0001 01 00 0002 01 01 0001 02 04")
    assert decode_capabilities(octets) == (AddPath(((IPV6_UNICAST, 1),)),)


def test_a_next_hop_entry_whose_safi_is_no_safi_is_left_out() -> None:
    """RFC 8950, section 4 writes the SAFI in two octets; there is none above 255."""
    octets = bytes.fromhex("05 0c 0001 0100 0002 0001 00ff 0002")
    assert decode_capabilities(octets) == (ExtendedNextHop(((family(1, 255), 2),)),)


@pytest.mark.parametrize(
    "octets",
    [
        "02 01 00",
        "05 05 0001 0001 00",
        "06 01 00",
        "09 00",
        "09 02 0202",
        "40 00",
        "40 01 00",
        "40 05 005a 0001 01",
        "45 03 0001 01",
        "46 02 0000",
        "47 06 0001 01 80 0151",
        "49 00",
        "49 04 03 727331",
        "49 05 04 727331 00",
        "49 06 03 727331 00 00",
        "4b 00",
        "4b 02 02 76",
        "4b 03 01 76 31",
    ],
)
def test_a_malformed_capability_is_kept_as_unknown(octets: str) -> None:
    """RFC 5492, section 3: it is ignored, and neither the session nor the capability behind it suffers."""
    code, value = bytes.fromhex(octets)[0], bytes.fromhex(octets)[2:]
    assert decode_capabilities(bytes.fromhex(octets + "46 00")) == (
        UnknownCapability(code, value),
        EnhancedRouteRefresh(),
    )


@pytest.mark.parametrize(
    "octets",
    [
        "01 03 0001 00",
        "01 05 0001 00 01 00",
        "01 00",
        "41 02 fde9",
        "41 05 0000fde900",
        "41 00",
        "02",
        "02 01",
        "c8 ff 00",
    ],
)
def test_what_would_make_another_session_is_2_0(octets: str) -> None:
    """A length beyond the parameter, and a wrong one of the multiprotocol or 4-octet AS number capability."""
    with pytest.raises(NotificationError) as caught:
        decode_capabilities(bytes.fromhex(octets))
    assert caught.value.notification == Notification(2, 0)


def test_texts_that_are_no_utf_8_are_read_all_the_same() -> None:
    """A name is for logs only: octets that are no UTF-8 are replaced."""
    assert decode_capabilities(bytes.fromhex("49 05 01 ff 02 6162")) == (Fqdn("\N{REPLACEMENT CHARACTER}", "ab"),)
    assert decode_capabilities(bytes.fromhex("4b 02 01 80")) == (SoftwareVersion("\N{REPLACEMENT CHARACTER}"),)


def test_texts_are_written_in_at_most_64_octets_of_whole_characters() -> None:
    """A character that does not fit whole is left out."""
    assert encode_capability(SoftwareVersion("x" * 70)) == b"\x4b\x41\x40" + b"x" * 64
    assert encode_capability(SoftwareVersion("x" * 63 + "é")) == b"\x4b\x40\x3f" + b"x" * 63
    assert (
        encode_capability(Fqdn("é" * 40, "é" * 32)) == b"\x49\x82\x40" + b"\xc3\xa9" * 32 + b"\x40" + b"\xc3\xa9" * 32
    )
