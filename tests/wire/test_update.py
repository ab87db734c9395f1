import pytest

from tests.wire.octets import message
from trio_bgp.wire.notification import Notification, NotificationError
from trio_bgp.wire.numbers import BGP_LS, EVPN, IPV4_UNICAST, IPV6_UNICAST, VPNV4, Family
from trio_bgp.wire.update import (
    encode_update,
    end_of_rib,
    is_end_of_rib,
    pack_ipv4_announcement,
    pack_ipv4_withdrawal,
    pack_mp_announcement,
    pack_mp_withdrawal,
    sections,
)

ORIGIN = bytes.fromhex("40 01 01 00")
NEXT_HOP_6 = bytes.fromhex("20010db8000000000000000000000001")


def slash24(count: int) -> list[bytes]:
    """So many prefixes 10.x.y.0/24, of 4 octets each."""
    return [bytes((24, 10, number // 256, number % 256)) for number in range(count)]


def test_the_fields_are_where_their_lengths_say() -> None:
    """RFC 4271, section 4.3: withdrawn routes, path attributes, NLRI."""
    octets = message(2, "0004 180a0000 0007 40010100 40 02 00 18 0a0001 08 0b")
    withdrawn_end, attributes_end = sections(octets, 0, len(octets))
    assert octets[21:withdrawn_end].hex() == "180a0000"
    assert octets[withdrawn_end + 2 : attributes_end].hex() == "40010100400200"
    assert octets[attributes_end:].hex() == "180a0001080b"


def test_fields_are_found_in_the_middle_of_a_buffer() -> None:
    """Positions count from the buffer's beginning, and the message ends where it is said to."""
    buffer = bytearray(b"\xdd" * 5 + message(2, "0001 00 0000") + b"\xdd" * 9)
    assert sections(buffer, 5, 29) == (27, 29)


def test_an_update_that_says_nothing_has_empty_fields() -> None:
    """23 octets: both lengths are 0."""
    assert sections(message(2, "0000 0000"), 0, 23) == (21, 23)


@pytest.mark.parametrize(
    "body",
    [
        "0001 0000",
        "0002 0000",
        "ffff 0000",
        "0000 0001",
        "0000 ffff 40010100",
        "0004 180a0000 0001",
        "0004 180a0000 00",
        "0004 180a0000",
        "0000 0005 40010100",
    ],
)
def test_lengths_beyond_the_message_are_3_1(body: str) -> None:
    """RFC 4271, section 6.3: even if the buffer goes on behind the message."""
    octets = message(2, body)
    with pytest.raises(NotificationError) as caught:
        sections(octets + bytes(70000), 0, len(octets))
    assert caught.value.notification == Notification(3, 1)


def test_fields_are_written_with_their_lengths() -> None:
    """RFC 4271, section 4.3."""
    assert encode_update(b"\x08\x0a", ORIGIN, b"\x08\x0b") == message(2, "0002 080a 0004 40010100 080b")


ENDS: list[tuple[Family, str]] = [
    (IPV4_UNICAST, "0000 0000"),
    (IPV6_UNICAST, "0000 0006 80 0f 03 0002 01"),
    (VPNV4, "0000 0006 80 0f 03 0001 80"),
    (EVPN, "0000 0006 80 0f 03 0019 46"),
    (BGP_LS, "0000 0006 80 0f 03 4004 47"),
]


@pytest.mark.parametrize(("family", "body"), ENDS)
def test_end_of_rib_is_written_and_recognised(family: Family, body: str) -> None:
    """RFC 4724, section 2: an empty UPDATE for IPv4 unicast, an empty MP_UNREACH_NLRI for the others."""
    assert end_of_rib(family) == message(2, body)
    assert is_end_of_rib(message(2, body)) == family


def test_end_of_rib_may_have_an_extended_length() -> None:
    """The flag is the sender's choice (RFC 4271, section 4.3)."""
    assert is_end_of_rib(message(2, "0000 0007 90 0f 0003 0002 01")) == IPV6_UNICAST


@pytest.mark.parametrize(
    "body",
    [
        "0000 0008 80 0f 05 0002 01 0820",
        "0000 0006 80 0e 03 0002 01",
        "0000 000a 80 0f 03 0002 01 40010100",
        "0000 0006 80 0f 03 0002 01 080a",
        "0002 080a 0006 80 0f 03 0002 01",
        "0002 080a 0000",
        "0000 0000 080a",
        "0000 0004 40010100",
        "0000 0006 80 0f 02 0002 01",
        "0000 0006 90 0f 0002 0002",
        "0000 0003 80 0f 03 0002 01",
        "0000 0007 80 0f 03 0002 01",
    ],
)
def test_an_update_that_says_something_is_no_end_of_rib(body: str) -> None:
    """Routes, other attributes or another attribute in its place."""
    assert is_end_of_rib(message(2, body)) is None


def test_ipv4_prefixes_share_one_message_up_to_its_maximum() -> None:
    """23 octets and the attributes are spent; what is left takes prefixes to the last octet."""
    nlris = slash24(5)
    maximum = 23 + len(ORIGIN) + 20
    whole = message(2, b"\0\0\0\x04" + ORIGIN + b"".join(nlris))
    assert len(whole) == maximum
    assert pack_ipv4_announcement(ORIGIN, nlris, maximum) == [whole]


def test_ipv4_prefixes_are_split_where_the_maximum_is_reached() -> None:
    """One octet less, and the last prefix goes into a second message; the order stays."""
    nlris = slash24(5)
    assert pack_ipv4_announcement(ORIGIN, nlris, 23 + len(ORIGIN) + 19) == [
        message(2, b"\0\0\0\x04" + ORIGIN + b"".join(nlris[:4])),
        message(2, b"\0\0\0\x04" + ORIGIN + nlris[4]),
    ]


def test_prefixes_of_different_lengths_are_never_cut() -> None:
    """Messages break between prefixes only, each as full as the next prefix lets it be."""
    nlris = [bytes.fromhex(text) for text in ("00", "180a0001", "080b", "200a000201", "100a03", "0800")]
    found = pack_ipv4_withdrawal(nlris, 23 + 7)
    assert found == [message(2, "0007 00180a0001080b 0000"), message(2, "0005 200a000201 0000"),
                     message(2, "0005 100a030800 0000")]  # fmt: skip


@pytest.mark.parametrize("maximum", [4096, 65535])
def test_a_thousand_prefixes_fill_full_messages(maximum: int) -> None:
    """All are there, in order, in as few messages as 4-octet prefixes allow."""
    nlris = slash24(20000)
    found = pack_ipv4_announcement(ORIGIN, nlris, maximum)
    each = (maximum - 27) // 4
    assert len(found) == -(-20000 // each)
    assert all(len(one) == 27 + 4 * each for one in found[:-1])
    assert all(one[:16] == b"\xff" * 16 and int.from_bytes(one[16:18], "big") == len(one) for one in found)
    assert b"".join(one[27:] for one in found) == b"".join(nlris)


def test_ipv4_prefixes_are_withdrawn_by_their_field() -> None:
    """RFC 4271, section 4.3: no attributes, no NLRI."""
    assert pack_ipv4_withdrawal(slash24(2), 4096) == [message(2, "0008 180a0000 180a0001 0000")]
    assert len(pack_ipv4_withdrawal(slash24(1019), 4096)) == 2
    assert [len(one) for one in pack_ipv4_withdrawal(slash24(1018), 4096)] == [4095]


def test_nothing_to_say_is_no_message() -> None:
    """An empty message would be an End-of-RIB."""
    assert pack_ipv4_announcement(ORIGIN, [], 4096) == []
    assert pack_ipv4_withdrawal([], 4096) == []
    assert pack_mp_announcement(ORIGIN, IPV6_UNICAST, NEXT_HOP_6, [], 4096) == []
    assert pack_mp_withdrawal(IPV6_UNICAST, [], 4096) == []


def test_mp_reach_comes_first() -> None:
    """RFC 4760, section 3 (a reserved octet of 0 behind the next hop); RFC 7606, section 5.1."""
    nlris = [bytes.fromhex("20 20010db8"), bytes.fromhex("00")]
    assert pack_mp_announcement(ORIGIN, IPV6_UNICAST, NEXT_HOP_6, nlris, 4096) == [
        message(2, "0000 0022 80 0e 1b 0002 01 10" + NEXT_HOP_6.hex() + "00 20 20010db8 00 40010100")
    ]


def test_a_long_mp_reach_has_an_extended_length() -> None:
    """RFC 4271, section 4.3: from 256 octets on, and not before."""
    for count, start in ((39, "80 0e ff"), (40, "90 0e 0105")):
        nlris = [bytes.fromhex("28 20010db8") + bytes((number,)) for number in range(count)]
        value = bytes.fromhex("0002 01 10") + NEXT_HOP_6 + b"\0" + b"".join(nlris)
        block = bytes.fromhex(start) + value + ORIGIN
        assert pack_mp_announcement(ORIGIN, IPV6_UNICAST, NEXT_HOP_6, nlris, 4096) == [
            message(2, b"\0\0" + len(block).to_bytes(2, "big") + block)
        ]


def test_mp_routes_are_split_where_the_maximum_is_reached() -> None:
    """If the routes come out even the last octet is used, and one octet less takes another message; order stays."""
    # 23 of the UPDATE, 4 of the attribute's header, 21 before its routes, 4 of ORIGIN, and 311 routes of 13.
    nlris = [bytes((96,)) + number.to_bytes(12, "big") for number in range(312)]
    found = pack_mp_announcement(ORIGIN, IPV6_UNICAST, NEXT_HOP_6, nlris, 4095)
    assert [len(one) for one in found] == [4095, 23 + 3 + 21 + 13 + 4]
    assert found[0][23:26] == b"\x90\x0e\x0f"
    assert found[0][48:-4] == b"".join(nlris[:311])
    assert found[1][47:-4] == nlris[311]
    assert len(pack_mp_announcement(ORIGIN, IPV6_UNICAST, NEXT_HOP_6, nlris[:311], 4094)) == 2


def test_mp_routes_are_withdrawn_by_mp_unreach() -> None:
    """RFC 4760, section 4; split at the maximum too."""
    nlris = [bytes.fromhex("20 20010db8"), bytes.fromhex("10 2001")]
    assert pack_mp_withdrawal(IPV6_UNICAST, nlris, 4096) == [
        message(2, "0000 000e 80 0f 0b 0002 01 20 20010db8 10 2001")
    ]
    many = [bytes((128,)) + number.to_bytes(16, "big") for number in range(240)]
    found = pack_mp_withdrawal(IPV6_UNICAST, many, 4096)
    assert [len(one) for one in found] == [23 + 4 + 3 + 239 * 17, 23 + 3 + 3 + 17]
    assert found[0][30:] + found[1][29:] == b"".join(many)


def test_attributes_too_long_for_a_prefix_raise() -> None:
    """There is no message that would do, whether one prefix or many are to be announced."""
    full = bytes(4096 - 23 - 4)
    assert len(pack_ipv4_announcement(full, slash24(1), 4096)[0]) == 4096
    for nlris in (slash24(1), slash24(9)):
        with pytest.raises(ValueError, match="4070 octets of attributes and an NLRI of 4 do not fit one message"):
            pack_ipv4_announcement(full + b"\0", nlris, 4096)
    with pytest.raises(ValueError, match="do not fit"):
        pack_ipv4_announcement(bytes(5000), slash24(1), 4096)
    with pytest.raises(ValueError, match="do not fit"):
        pack_mp_announcement(bytes(4060), IPV6_UNICAST, NEXT_HOP_6, [b"\0"], 4096)


def test_one_prefix_too_long_among_others_raises() -> None:
    """None is left out silently."""
    with pytest.raises(ValueError, match="an NLRI of 9 do not fit"):
        pack_mp_withdrawal(IPV6_UNICAST, [b"\0", bytes.fromhex("40 0123456789abcdef"), b"\0"], 23 + 4 + 3 + 8)


def test_a_short_mp_reach_may_use_the_last_octet() -> None:
    """A route whose only possible message has exactly the maximum is announced, not refused."""
    attributes = bytes(4096 - 23 - 3 - 21 - 17)
    nlri = b"\x80" + bytes(16)
    assert [len(one) for one in pack_mp_announcement(attributes, IPV6_UNICAST, NEXT_HOP_6, [nlri], 4096)] == [4096]
