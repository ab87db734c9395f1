"""BMP, the BGP Monitoring Protocol (RFC 7854), with Adj-RIB-Out (RFC 8671) and Loc-RIB (RFC 9069): writing messages.

Nothing is ever read: a station only listens (RFC 7854, section 3.2).
"""

import struct
from collections.abc import Iterable
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from trio_bgp.wire.numbers import Family, afi_of, safi_of

__all__ = [
    "BmpMessageType",
    "InitiationInformation",
    "PeerDownReason",
    "PeerFlag",
    "PeerType",
    "Statistic",
    "TerminationReason",
    "encode_initiation",
    "encode_peer",
    "encode_peer_down",
    "encode_peer_up",
    "encode_route_monitoring",
    "encode_statistics",
    "encode_termination",
]

VERSION: Final = 3
COMMON_HEADER: Final = 6
PEER_HEADER: Final = 42


class BmpMessageType(IntEnum):
    """RFC 7854, section 4.1."""

    ROUTE_MONITORING = 0
    STATISTICS_REPORT = 1
    PEER_DOWN_NOTIFICATION = 2
    PEER_UP_NOTIFICATION = 3
    INITIATION = 4
    TERMINATION = 5


class PeerType(IntEnum):
    """RFC 7854, section 4.2; 3: RFC 9069, section 4.1."""

    GLOBAL_INSTANCE = 0
    LOC_RIB_INSTANCE = 3


class PeerFlag(IntEnum):
    """RFC 7854, section 4.2; 0x10: RFC 8671, section 4."""

    V = 0x80
    """The peer's address is an IPv6 address."""
    L = 0x40
    """After policy."""
    A = 0x20
    """AS numbers in AS_PATH have two octets."""
    O = 0x10  # noqa: E741 (the RFC's name)
    """Adj-RIB-Out."""


class InitiationInformation(IntEnum):
    """Information TLVs of an Initiation (RFC 7854, section 4.4)."""

    SYS_DESCR = 1
    SYS_NAME = 2


class PeerDownReason(IntEnum):
    """RFC 7854, section 4.9; 6: RFC 9069, section 5.3."""

    LOCAL_NOTIFICATION = 1
    """We ended the session: the NOTIFICATION we sent follows."""
    LOCAL = 2
    """We ended it without one: two octets with the FSM event (RFC 4271, section 8.1) follow, 0 for none."""
    REMOTE_NOTIFICATION = 3
    """The peer ended it: its NOTIFICATION follows."""
    REMOTE = 4
    """The peer ended it without one."""
    DE_CONFIGURED = 5
    """The station is told of this peer no more; the session may go on."""
    LOCAL_INFORMATION = 6
    """A Loc-RIB is told no more: the TLVs of its Peer Up follow."""


class Statistic(IntEnum):
    """RFC 7854, section 4.8."""

    PREFIXES_REJECTED = 0
    CLUSTER_LIST_LOOP = 3
    AS_PATH_LOOP = 4
    ORIGINATOR_ID = 5
    ADJ_RIB_IN = 7
    LOC_RIB = 8
    ADJ_RIB_IN_BY_FAMILY = 9
    LOC_RIB_BY_FAMILY = 10
    TREAT_AS_WITHDRAW = 11
    PREFIXES_TREATED_AS_WITHDRAWN = 12

    @property
    def gauge(self) -> bool:
        """Its value has 8 octets; a counter's has 4."""
        return self in (Statistic.ADJ_RIB_IN, Statistic.LOC_RIB) or self.by_family

    @property
    def by_family(self) -> bool:
        """It is about one address family, which is told with it."""
        return self in (Statistic.ADJ_RIB_IN_BY_FAMILY, Statistic.LOC_RIB_BY_FAMILY)


class TerminationReason(IntEnum):
    """RFC 7854, section 4.5."""

    ADMINISTRATIVELY_CLOSED = 0
    UNSPECIFIED = 1
    OUT_OF_RESOURCES = 2


def encode_peer(
    kind: PeerType, flags: int, address: IPv4Address | IPv6Address | None, asn: int, bgp_identifier: int
) -> bytes:
    """A per-peer header (RFC 7854, section 4.2) without its timestamp: 34 octets. The distinguisher is 0.

    Args:
        kind: the peer type.
        flags: of `PeerFlag`; V is added where it belongs.
        address: the peer's; None for a Loc-RIB.
        asn: the peer's AS number.
        bgp_identifier: the peer's, as a 32-bit number.
    """
    if address is not None and address.version == 6:
        flags |= PeerFlag.V
    return struct.pack(">BB8x16sII", kind, flags, _address(address), asn, bgp_identifier)


def encode_route_monitoring(peer: bytes, update: bytes, at: float = 0.0) -> bytes:
    """Route Monitoring (RFC 7854, section 4.6).

    Args:
        peer: what `encode_peer` made.
        update: a whole UPDATE.
        at: when it was received, in seconds of Unix time; 0 if that is not known.
    """
    size = COMMON_HEADER + PEER_HEADER + len(update)
    return b"".join((struct.pack(">BIB", VERSION, size, BmpMessageType.ROUTE_MONITORING), peer, _timestamp(at), update))


def encode_peer_up(
    peer: bytes,
    *,
    local_address: IPv4Address | IPv6Address | None,
    local_port: int,
    remote_port: int,
    sent_open: bytes,
    received_open: bytes,
    at: float = 0.0,
) -> bytes:
    """Peer Up Notification (RFC 7854, section 4.10).

    Without any of the TLVs that may follow, for names (RFC 8671, section 6.3.1; RFC 9069, section 5.2.1): tshark up to
    4.0 takes them for a third, malformed OPEN.

    Args:
        peer: what `encode_peer` made.
        local_address: our end of the session; None if it has none.
        local_port: TCP port, 0 if there is none.
        remote_port: likewise.
        sent_open: our OPEN, the whole message.
        received_open: the peer's.
        at: when the session came up, in seconds of Unix time; 0 if that is not known.
    """
    ports = struct.pack(">HH", local_port, remote_port)
    body = b"".join((_address(local_address), ports, sent_open, received_open))
    return _about(BmpMessageType.PEER_UP_NOTIFICATION, peer, at, body)


def encode_peer_down(
    peer: bytes,
    reason: PeerDownReason,
    data: bytes = b"",
    *,
    at: float = 0.0,
) -> bytes:
    """Peer Down Notification (RFC 7854, section 4.9).

    Args:
        peer: what `encode_peer` made.
        reason: which decides what follows.
        data: a whole NOTIFICATION, or the two octets of an FSM event.
        at: when the session ended, in seconds of Unix time; 0 if that is not known.
    """
    return _about(BmpMessageType.PEER_DOWN_NOTIFICATION, peer, at, bytes((reason,)) + data)


def encode_statistics(
    peer: bytes, statistics: Iterable[tuple[Statistic, Family | None, int]], at: float = 0.0
) -> bytes:
    """Statistics Report (RFC 7854, section 4.8).

    Args:
        peer: what `encode_peer` made.
        statistics: each with its address family, if it is by family, and its value; counters wrap.
        at: the time, in seconds of Unix time.
    """
    found = []
    for kind, family, value in statistics:
        octets = value.to_bytes(8, "big") if kind.gauge else (value & 0xFFFFFFFF).to_bytes(4, "big")
        if kind.by_family and family is not None:
            octets = struct.pack(">HB", afi_of(family), safi_of(family)) + octets
        found.append(struct.pack(">HH", kind, len(octets)) + octets)
    body = len(found).to_bytes(4, "big") + b"".join(found)
    return _about(BmpMessageType.STATISTICS_REPORT, peer, at, body)


def encode_initiation(description: str, name: str) -> bytes:
    """Initiation (RFC 7854, section 4.3): what we are and who."""
    body = _information(InitiationInformation.SYS_DESCR, description)
    return _message(BmpMessageType.INITIATION, body + _information(InitiationInformation.SYS_NAME, name))


def encode_termination(reason: TerminationReason) -> bytes:
    """Termination (RFC 7854, section 4.5): the last message."""
    return _message(BmpMessageType.TERMINATION, struct.pack(">HHH", 1, 2, reason))


def _message(kind: BmpMessageType, body: bytes) -> bytes:
    return struct.pack(">BIB", VERSION, COMMON_HEADER + len(body), kind) + body


def _about(kind: BmpMessageType, peer: bytes, at: float, body: bytes) -> bytes:
    return _message(kind, peer + _timestamp(at) + body)


def _timestamp(at: float) -> bytes:
    micros = int(at * 1_000_000)
    return struct.pack(">II", micros // 1_000_000 & 0xFFFFFFFF, micros % 1_000_000)


def _information(kind: int, text: str) -> bytes:
    octets = text.encode()
    return struct.pack(">HH", kind, len(octets)) + octets


def _address(address: IPv4Address | IPv6Address | None) -> bytes:
    """16 octets; an IPv4 address is in the last four."""
    return (b"" if address is None else address.packed).rjust(16, b"\0")
