"""BMP messages against octets written by hand from RFC 7854, RFC 8671 and RFC 9069."""

import struct
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.octets import message
from trio_bgp.wire.bmp import (
    PeerDownReason,
    PeerFlag,
    PeerType,
    Statistic,
    TerminationReason,
    encode_initiation,
    encode_peer,
    encode_peer_down,
    encode_peer_up,
    encode_route_monitoring,
    encode_statistics,
    encode_termination,
)
from trio_bgp.wire.numbers import IPV6_UNICAST

PEER = "00 00 0000000000000000 000000000000000000000000 c0000201 0000fde9 0a000001"
"""Global instance, IPv4, distinguisher 0, 192.0.2.1, AS 65001, 10.0.0.1."""
AT = "65b9d2e5 00020000"
"""1706676965.131072, in seconds and microseconds."""
SECONDS = 1706676965.131072
KEEPALIVE = message(4)
OPEN = message(1, "04 fde8 0000 0aff0001 00")
THEIRS = message(1, "04 fde9 0000 0a000001 00")


def peer() -> bytes:
    """The header above."""
    return encode_peer(PeerType.GLOBAL_INSTANCE, 0, IPv4Address("192.0.2.1"), 65001, 0x0A000001)


def bmp(kind: str, body: bytes) -> bytes:
    """Version 3, the length of the whole, the type."""
    return b"\x03" + (6 + len(body)).to_bytes(4, "big") + bytes.fromhex(kind) + body


def test_the_per_peer_header_without_its_timestamp() -> None:
    """RFC 7854, section 4.2: an IPv4 address in the last four of sixteen octets."""
    assert peer() == bytes.fromhex(PEER)


@pytest.mark.parametrize(
    ("flags", "address", "expected"),
    [
        (0, IPv6Address("2001:db8::7"), "80 0000000000000000 20010db8000000000000000000000007"),
        (PeerFlag.L, IPv6Address("2001:db8::7"), "c0 0000000000000000 20010db8000000000000000000000007"),
        (PeerFlag.A, IPv4Address("10.1.2.3"), "20 0000000000000000 000000000000000000000000 0a010203"),
        (PeerFlag.O | PeerFlag.L, IPv4Address("10.1.2.3"), "50 0000000000000000 000000000000000000000000 0a010203"),
    ],
    ids=["V", "V and L", "A", "O and L"],
)
def test_the_flags_of_the_per_peer_header(flags: int, address: IPv4Address | IPv6Address, expected: str) -> None:
    """V, L and A: RFC 7854, section 4.2; O: RFC 8671, section 4."""
    found = encode_peer(PeerType.GLOBAL_INSTANCE, flags, address, 4200000001, 0xC0000263)
    assert found == bytes.fromhex("00" + expected + "fa56ea01 c0000263")


def test_the_header_of_a_loc_rib() -> None:
    """RFC 9069, section 4.1: type 3, no address, our AS and identifier."""
    found = encode_peer(PeerType.LOC_RIB_INSTANCE, 0, None, 65000, 0x0AFF0001)
    assert found == bytes.fromhex("03 00" + "00" * 8 + "00" * 16 + "0000fde8 0aff0001")


def test_route_monitoring() -> None:
    """RFC 7854, section 4.6: the header, then the UPDATE as it is."""
    update = message(2, "0000 0000")
    expected = bmp("00", bytes.fromhex(PEER + AT) + update)
    assert encode_route_monitoring(peer(), update, SECONDS) == expected
    assert expected[:6].hex() == "030000004700", "71 octets: 6, 42 and 23"


def test_an_unknown_time_is_zero() -> None:
    """RFC 7854, section 4.2."""
    assert encode_route_monitoring(peer(), KEEPALIVE)[40:48] == bytes(8)


def test_peer_up() -> None:
    """RFC 7854, section 4.10: local address, both ports, both OPENs."""
    found = encode_peer_up(
        peer(),
        local_address=IPv4Address("192.0.2.254"),
        local_port=179,
        remote_port=40000,
        sent_open=OPEN,
        received_open=THEIRS,
        at=SECONDS,
    )
    fixed = bytes.fromhex(PEER + AT + "000000000000000000000000 c00002fe 00b3 9c40")
    assert found == bmp("03", fixed + OPEN + THEIRS)


def test_the_peer_up_of_a_loc_rib() -> None:
    """RFC 9069, section 5.2: no address, no ports, the same OPEN twice."""
    header = encode_peer(PeerType.LOC_RIB_INSTANCE, 0, None, 65000, 0x0AFF0001)
    found = encode_peer_up(
        header,
        local_address=None,
        local_port=0,
        remote_port=0,
        sent_open=OPEN,
        received_open=OPEN,
    )
    assert found == bmp("03", header + bytes(8) + bytes(20) + OPEN + OPEN)


@pytest.mark.parametrize(
    ("reason", "data", "expected"),
    [
        (PeerDownReason.LOCAL_NOTIFICATION, message(3, "0602"), "01" + "ff" * 16 + "0015 03 0602"),
        (PeerDownReason.LOCAL, b"\0\2", "02 0002"),
        (PeerDownReason.REMOTE_NOTIFICATION, message(3, "0400"), "03" + "ff" * 16 + "0015 03 0400"),
        (PeerDownReason.REMOTE, b"", "04"),
        (PeerDownReason.DE_CONFIGURED, b"", "05"),
        (PeerDownReason.LOCAL_INFORMATION, b"", "06"),
    ],
)
def test_peer_down(reason: PeerDownReason, data: bytes, expected: str) -> None:
    """RFC 7854, section 4.9; 6: RFC 9069, section 5.3."""
    assert encode_peer_down(peer(), reason, data, at=SECONDS) == bmp("02", bytes.fromhex(PEER + AT + expected))


def test_statistics() -> None:
    """RFC 7854, section 4.8: counters of four octets, gauges of eight, by family behind AFI and SAFI."""
    found = encode_statistics(
        peer(),
        [
            (Statistic.AS_PATH_LOOP, None, 0x1_0000_0002),
            (Statistic.ADJ_RIB_IN, None, 1 << 33),
            (Statistic.ADJ_RIB_IN_BY_FAMILY, IPV6_UNICAST, 5),
        ],
        SECONDS,
    )
    expected = "00000003 0004 0004 00000002 0007 0008 0000000200000000 0009 000b 0002 01 0000000000000005"
    assert found == bmp("01", bytes.fromhex(PEER + AT + expected))


def test_initiation_and_termination() -> None:
    """RFC 7854, sections 4.3 and 4.5."""
    assert encode_initiation("trio-bgp 1", "rs1") == bmp("04", b"\0\1\0\x0atrio-bgp 1" + b"\0\2\0\3rs1")
    assert encode_termination(TerminationReason.ADMINISTRATIVELY_CLOSED) == bytes.fromhex(
        "03 0000000c 05 0001 0002 0000"
    )


@given(st.text(), st.binary(max_size=64), st.floats(0, 4e9))
def test_lengths_are_right_whatever_is_in_them(text: str, data: bytes, at: float) -> None:
    """The length is that of the whole, TLVs are whole, microseconds are below a million."""
    up = encode_peer_up(
        peer(), local_address=None, local_port=1, remote_port=2, sent_open=data, received_open=data, at=at
    )
    initiation = encode_initiation(text, text)
    for octets, kind in ((up, 3), (initiation, 4)):
        assert struct.unpack(">BIB", octets[:6]) == (3, len(octets), kind)
    assert up[68:] == data + data
    seconds, micros = struct.unpack(">II", up[40:48])
    assert micros < 1_000_000
    assert abs(seconds + micros / 1e6 - at) < 1e-5
    size = len(text.encode())
    assert int.from_bytes(initiation[8:10], "big") == size
    assert initiation[10 : 10 + size] == initiation[14 + size :] == text.encode()
