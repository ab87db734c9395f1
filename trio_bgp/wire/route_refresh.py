"""ROUTE-REFRESH (RFC 2918), with the subtypes of enhanced route refresh (RFC 7313) and ORF entries kept as octets."""

from typing import Final

import attrs

from trio_bgp.wire.header import HEADER_LENGTH, encode_message
from trio_bgp.wire.notification import NotificationError
from trio_bgp.wire.numbers import (
    ErrorCode,
    Family,
    MessageHeaderErrorSubcode,
    MessageType,
    RouteRefreshErrorSubcode,
    afi_of,
    safi_of,
)
from trio_bgp.wire.numbers import family as make_family

__all__ = ["BORR", "EORR", "REQUEST", "RouteRefreshMessage", "decode_route_refresh", "encode_route_refresh"]

REQUEST: Final = 0
BORR: Final = 1
"""Beginning of route refresh."""
EORR: Final = 2
"""End of route refresh."""


@attrs.frozen
class RouteRefreshMessage:
    """A ROUTE-REFRESH message."""

    family: Family
    subtype: int = REQUEST
    orf: bytes = b""
    """Outbound route filter entries (RFC 5291), not interpreted."""


def decode_route_refresh(body: bytes) -> RouteRefreshMessage:
    """The value of a ROUTE-REFRESH's body (all after the header), which has at least 3 octets.

    Raises:
        NotificationError: 7/1 with the whole message as data: BoRR or EoRR not of 4 octets (RFC 7313, section 5); 1/2
            with the length: another of 3.
    """
    subtype = body[2]
    if subtype in (BORR, EORR) and len(body) != 4:
        raise NotificationError(
            ErrorCode.ROUTE_REFRESH_MESSAGE_ERROR,
            RouteRefreshErrorSubcode.INVALID_MESSAGE_LENGTH,
            encode_message(MessageType.ROUTE_REFRESH, body),
            f"a ROUTE-REFRESH of subtype {subtype} and {len(body)} octets",
        )
    if len(body) < 4:
        length = HEADER_LENGTH + len(body)
        raise NotificationError(
            ErrorCode.MESSAGE_HEADER_ERROR,
            MessageHeaderErrorSubcode.BAD_MESSAGE_LENGTH,
            length.to_bytes(2, "big"),
            f"a ROUTE_REFRESH of {length} octets",
        )
    family = make_family(body[0] << 8 | body[1], body[3])
    return RouteRefreshMessage(family, subtype, bytes(body[4:]))


def encode_route_refresh(message: RouteRefreshMessage) -> bytes:
    """The whole message, header included."""
    body = afi_of(message.family).to_bytes(2, "big") + bytes((message.subtype, safi_of(message.family))) + message.orf
    return encode_message(MessageType.ROUTE_REFRESH, body)
