"""UPDATE (RFC 4271, section 4.3): where its fields are, End-of-RIB, and writing prefixes as few whole messages."""

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Final

from trio_bgp.wire.header import HEADER_LENGTH, ONES, encode_message
from trio_bgp.wire.notification import NotificationError
from trio_bgp.wire.numbers import (
    IPV4_UNICAST,
    AttributeType,
    ErrorCode,
    Family,
    MessageType,
    UpdateMessageErrorSubcode,
    afi_of,
    safi_of,
)
from trio_bgp.wire.numbers import family as make_family

__all__ = [
    "EMPTY_LENGTH",
    "UNREACH_LENGTH",
    "announcement_start",
    "encode_update",
    "end_of_rib",
    "is_end_of_rib",
    "pack_ipv4_announcement",
    "pack_ipv4_withdrawal",
    "pack_mp_announcement",
    "pack_mp_withdrawal",
    "sections",
]

EMPTY_LENGTH = HEADER_LENGTH + 4
"""Octets of an UPDATE that says nothing."""
UNREACH_LENGTH = 4 + 3
"""Octets of an MP_UNREACH_NLRI before its NLRI."""
_ANNOUNCEMENT: Final = Struct(">QQHBHH")
"""What precedes the path attributes of an UPDATE without withdrawn routes: header and both lengths."""
_UPDATE: Final = int(MessageType.UPDATE)


def sections(buffer: bytes | bytearray, start: int, end: int) -> tuple[int, int]:
    """Where the fields of the UPDATE in `buffer[start:end]` are; `start` is its first marker octet.

    Returns:
        (withdrawn_end, attributes_end): withdrawn routes are `[start+21, withdrawn_end)`, path attributes
        `[withdrawn_end+2, attributes_end)`, NLRI `[attributes_end, end)`.

    Raises:
        NotificationError: 3/1, the lengths do not fit the message (RFC 4271, section 6.3).
    """
    withdrawn_end = start + 21 + (buffer[start + 19] << 8 | buffer[start + 20])
    if withdrawn_end + 2 <= end:
        attributes_end = withdrawn_end + 2 + (buffer[withdrawn_end] << 8 | buffer[withdrawn_end + 1])
        if attributes_end <= end:
            return withdrawn_end, attributes_end
    raise NotificationError(
        ErrorCode.UPDATE_MESSAGE_ERROR,
        UpdateMessageErrorSubcode.MALFORMED_ATTRIBUTE_LIST,
        reason="the lengths of withdrawn routes and path attributes exceed the UPDATE",
    )


def encode_update(withdrawn: bytes, attributes: bytes, nlri: bytes) -> bytes:
    """A whole UPDATE of these fields' octets."""
    return encode_message(
        MessageType.UPDATE,
        b"".join((len(withdrawn).to_bytes(2, "big"), withdrawn, len(attributes).to_bytes(2, "big"), attributes, nlri)),
    )


def end_of_rib(family: Family) -> bytes:
    """End-of-RIB (RFC 4724, section 2): an empty UPDATE for IPv4 unicast, else one with an empty MP_UNREACH_NLRI."""
    if family == IPV4_UNICAST:
        return encode_update(b"", b"", b"")
    return encode_update(b"", _mp_unreach(family, b""), b"")


def is_end_of_rib(message: bytes) -> Family | None:
    """The family whose End-of-RIB this whole UPDATE is, or None."""
    if len(message) == EMPTY_LENGTH:
        return IPV4_UNICAST
    if message[19:21] != b"\0\0":
        return None
    attributes = message[23:]
    if len(attributes) != int.from_bytes(message[21:23], "big") or len(attributes) < 6:
        return None
    header = 4 if attributes[0] & 0x10 else 3
    if attributes[1] != AttributeType.MP_UNREACH_NLRI or len(attributes) != header + 3:
        return None
    if int.from_bytes(attributes[2:header], "big") != 3:
        return None
    return make_family(int.from_bytes(attributes[header : header + 2], "big"), attributes[header + 2])


def announcement_start(attributes: int, nlri: int) -> bytes:
    """The 23 octets of an UPDATE that precede so many octets of path attributes and of NLRI, without withdrawals."""
    return _ANNOUNCEMENT.pack(ONES, ONES, EMPTY_LENGTH + attributes + nlri, _UPDATE, 0, attributes)


def pack_ipv4_announcement(attributes: bytes, nlris: Sequence[bytes], maximum: int) -> list[bytes]:
    """Announce IPv4 prefixes by the NLRI field.

    Args:
        attributes: the path attributes' octets, used as they are.
        nlris: each prefix's octets.
        maximum: octets of the longest message, header included.

    Raises:
        ValueError: the attributes leave no room for a prefix.
    """
    room = maximum - EMPTY_LENGTH - len(attributes)
    octets = b"".join(nlris)
    if 0 < len(octets) <= room:
        return [announcement_start(len(attributes), len(octets)) + attributes + octets]
    return [encode_update(b"", attributes, nlri) for nlri in _fill(nlris, room, len(attributes))]


def pack_ipv4_withdrawal(nlris: Sequence[bytes], maximum: int) -> list[bytes]:
    """Withdraw IPv4 prefixes by the Withdrawn Routes field. Arguments as for `pack_ipv4_announcement`."""
    return [encode_update(withdrawn, b"", b"") for withdrawn in _fill(nlris, maximum - EMPTY_LENGTH, 0)]


def pack_mp_announcement(
    attributes: bytes, family: Family, next_hop: bytes, nlris: Sequence[bytes], maximum: int
) -> list[bytes]:
    """Announce prefixes of any family by MP_REACH_NLRI, put first (RFC 7606, section 5.1).

    Args:
        attributes: the other path attributes' octets, used as they are.
        family: the address family.
        next_hop: the next-hop field, without its length octet.
        nlris: each NLRI's octets.
        maximum: octets of the longest message, header included.

    Raises:
        ValueError: the attributes leave no room for an NLRI.
    """
    fixed = afi_of(family).to_bytes(2, "big") + bytes((safi_of(family), len(next_hop))) + next_hop + b"\0"
    room = maximum - EMPTY_LENGTH - len(attributes) - 3 - len(fixed)
    if len(fixed) + room > 255:
        room -= 1  # for the second octet of length
    return [
        encode_update(b"", _attribute(AttributeType.MP_REACH_NLRI, fixed + nlri) + attributes, b"")
        for nlri in _fill(nlris, room, len(attributes))
    ]


def pack_mp_withdrawal(family: Family, nlris: Sequence[bytes], maximum: int) -> list[bytes]:
    """Withdraw prefixes of any family by MP_UNREACH_NLRI. Arguments as for `pack_mp_announcement`."""
    return [
        encode_update(b"", _mp_unreach(family, nlri), b"")
        for nlri in _fill(nlris, maximum - EMPTY_LENGTH - UNREACH_LENGTH, 3)
    ]


def _mp_unreach(family: Family, nlri: bytes) -> bytes:
    fixed = afi_of(family).to_bytes(2, "big") + bytes((safi_of(family),))
    return _attribute(AttributeType.MP_UNREACH_NLRI, fixed + nlri)


def _attribute(kind: int, value: bytes) -> bytes:
    """An optional non-transitive attribute; the extended length only where it is needed."""
    if len(value) > 255:
        return bytes((0x90, kind)) + len(value).to_bytes(2, "big") + value
    return bytes((0x80, kind, len(value))) + value


def _fill(nlris: Sequence[bytes], room: int, attributes: int) -> Iterator[bytes]:
    """Join NLRIs, in order, into as few pieces of at most `room` octets as possible."""
    octets = b"".join(nlris)
    if len(octets) <= room:
        if octets:
            yield octets
        return
    piece: list[bytes] = []
    size = 0
    for nlri in nlris:
        length = len(nlri)
        if size + length > room:
            if not piece:
                raise ValueError(f"{attributes} octets of attributes and an NLRI of {length} do not fit one message")
            yield b"".join(piece)
            piece = []
            size = 0
        piece.append(nlri)
        size += length
        if length > room:
            raise ValueError(f"{attributes} octets of attributes and an NLRI of {length} do not fit one message")
    if piece:
        yield b"".join(piece)
