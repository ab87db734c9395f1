"""The message header (RFC 4271, section 4.1) and the framing of a stream of messages."""

import struct
from typing import Final

from trio_bgp.wire.notification import NotificationError
from trio_bgp.wire.numbers import MAXIMUM_MESSAGE_LENGTH, ErrorCode, MessageHeaderErrorSubcode, MessageType

__all__ = ["HEADER_LENGTH", "KEEPALIVE", "MARKER", "Scan", "encode_message", "scan"]

HEADER_LENGTH: Final = 19
MARKER: Final = b"\xff" * 16
ONES: Final = 0xFFFFFFFFFFFFFFFF

_HEADER: Final = struct.Struct(">QQHB")

SHORTEST: Final = {
    MessageType.OPEN: 29,
    MessageType.UPDATE: 23,
    MessageType.NOTIFICATION: 21,
    MessageType.KEEPALIVE: 19,
    MessageType.ROUTE_REFRESH: 22,
}
"""Octets of the shortest message of each type (RFC 4271, section 4); of a ROUTE-REFRESH with a subtype (RFC 7313)."""


def encode_message(kind: int, body: bytes) -> bytes:
    """A whole message: header and body."""
    return MARKER + (HEADER_LENGTH + len(body)).to_bytes(2, "big") + bytes((kind,)) + body


KEEPALIVE: Final = encode_message(MessageType.KEEPALIVE, b"")


class Scan:
    """What `scan` found.

    Attributes:
        offsets: where each whole message starts; each ends where the next starts, the last at `end`.
        others: indices into `offsets` of the messages that are not UPDATEs.
        end: where the last whole message ends (the start of what was scanned if there is none).
        needed: length of the message that begins at `end`, if its header is there, else 0.
        error: why nothing that begins at `end` can be a message.
    """

    __slots__ = ("end", "error", "needed", "offsets", "others")

    def __init__(self) -> None:
        self.offsets: list[int] = []
        self.others: list[int] = []
        self.end = 0
        self.needed = 0
        self.error: NotificationError | None = None


def scan(buffer: bytearray | bytes, start: int, end: int, maximum: int) -> Scan:
    """Find the whole messages in `buffer[start:end]`.

    A header is judged as soon as its 19 octets are there, whether or not the rest of its message is.

    Args:
        buffer: octets as received.
        start: where a message begins.
        end: where the received octets end.
        maximum: octets of the longest message allowed, header included: 4096, or 65535 (RFC 8654).
    """
    found = Scan()
    offsets = found.offsets
    unpack = _HEADER.unpack_from
    position = start
    last = end - HEADER_LENGTH
    while position <= last:
        high, low, length, kind = unpack(buffer, position)
        if kind == 2 and 23 <= length <= maximum and high == low == ONES:
            following = position + length
            if following > end:
                found.needed = length
                break
            offsets.append(position)
            position = following
            continue
        found.error = _judge(high, low, length, kind, maximum)
        if found.error is not None:
            break
        following = position + length
        if following > end:
            found.needed = length
            break
        found.others.append(len(offsets))
        offsets.append(position)
        position = following
    found.end = position
    return found


def _judge(high: int, low: int, length: int, kind: int, maximum: int) -> NotificationError | None:
    """RFC 4271, section 6.1."""
    error = ErrorCode.MESSAGE_HEADER_ERROR
    if high != ONES or low != ONES:
        return NotificationError(
            error, MessageHeaderErrorSubcode.CONNECTION_NOT_SYNCHRONIZED, reason="the marker is not all ones"
        )
    data = length.to_bytes(2, "big")
    bad_length = MessageHeaderErrorSubcode.BAD_MESSAGE_LENGTH
    if not HEADER_LENGTH <= length <= maximum:
        return NotificationError(
            error, bad_length, data, f"length {length} is not between {HEADER_LENGTH} and {maximum}"
        )
    shortest = SHORTEST.get(MessageType(kind)) if 1 <= kind <= 5 else None
    if shortest is None:
        return NotificationError(
            error, MessageHeaderErrorSubcode.BAD_MESSAGE_TYPE, bytes((kind,)), f"message type {kind} is unknown"
        )
    longest = maximum
    if kind == MessageType.KEEPALIVE:
        longest = HEADER_LENGTH
    elif kind == MessageType.OPEN:
        longest = MAXIMUM_MESSAGE_LENGTH  # RFC 8654, section 4: never extended
    if not shortest <= length <= longest:
        reason = f"a {MessageType(kind).name} of {length} octets"
        return NotificationError(error, bad_length, data, reason, silent=kind == MessageType.NOTIFICATION)
    return None
