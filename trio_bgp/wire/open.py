"""OPEN (RFC 4271, section 4.2), with optional parameters in both forms (RFC 5492, RFC 9072)."""

from ipaddress import IPv4Address
from typing import Final

import attrs

from trio_bgp.wire.capabilities import Capability, FourOctetAs, decode_capabilities, encode_capability
from trio_bgp.wire.header import encode_message
from trio_bgp.wire.notification import NotificationError
from trio_bgp.wire.numbers import AS_TRANS, ErrorCode, MessageType, OpenMessageErrorSubcode

__all__ = ["VERSION", "Open", "decode_open", "encode_open"]

VERSION: Final = 4
CAPABILITIES_PARAMETER: Final = 2
EXTENDED_PARAMETERS: Final = 255


@attrs.frozen(kw_only=True)
class Open:
    """An OPEN message."""

    version: int = VERSION
    my_as: int
    """The 2-octet field; `AS_TRANS` for a number that does not fit."""
    hold_time: int
    """Seconds."""
    bgp_identifier: int
    """As a 32-bit number."""
    capabilities: tuple[Capability, ...] = ()

    @property
    def peer_as(self) -> int:
        """The sender's AS: of the 4-octet AS number capability if there is one (RFC 6793, section 4.1)."""
        for capability in self.capabilities:
            if isinstance(capability, FourOctetAs):
                return capability.asn
        return self.my_as

    def __str__(self) -> str:
        return f"OPEN AS {self.peer_as} identifier {IPv4Address(self.bgp_identifier)} hold time {self.hold_time}"


def _error(subcode: int, reason: str, data: bytes = b"") -> NotificationError:
    return NotificationError(ErrorCode.OPEN_MESSAGE_ERROR, subcode, data, reason)


def decode_open(body: bytes) -> Open:
    """The value of an OPEN's body (all after the header), which has at least 10 octets.

    Raises:
        NotificationError: RFC 4271, section 6.2: 2/1 version, 2/2 AS 0 (RFC 7607), 2/3 identifier 0 (RFC 6286),
            2/4 unknown optional parameter, 2/6 hold time of 1 or 2 seconds, 2/0 lengths that do not fit.
    """
    version = body[0]
    if version != VERSION:
        raise _error(
            OpenMessageErrorSubcode.UNSUPPORTED_VERSION_NUMBER, f"version {version}", VERSION.to_bytes(2, "big")
        )
    my_as = int.from_bytes(body[1:3], "big")
    hold_time = int.from_bytes(body[3:5], "big")
    identifier = int.from_bytes(body[5:9], "big")
    capabilities: list[Capability] = []
    for kind, value in _parameters(body):
        if kind != CAPABILITIES_PARAMETER:
            raise _error(
                OpenMessageErrorSubcode.UNSUPPORTED_OPTIONAL_PARAMETER, f"optional parameter {kind} is unknown"
            )
        capabilities += decode_capabilities(value)
    message = Open(my_as=my_as, hold_time=hold_time, bgp_identifier=identifier, capabilities=tuple(capabilities))
    if not my_as or not message.peer_as:
        raise _error(OpenMessageErrorSubcode.BAD_PEER_AS, "AS 0")
    if not identifier:
        raise _error(OpenMessageErrorSubcode.BAD_BGP_IDENTIFIER, "BGP Identifier 0.0.0.0")
    if hold_time in (1, 2):
        raise _error(OpenMessageErrorSubcode.UNACCEPTABLE_HOLD_TIME, f"hold time of {hold_time} s")
    return message


def _parameters(body: bytes) -> list[tuple[int, bytes]]:
    """Type and value of each optional parameter."""
    total = body[9]
    position = 10
    width = 1
    # RFC 9072, section 2: a first parameter of type 255 says that lengths have two octets. The octet before it should
    # be 255 but need not be.
    if total and len(body) >= 13 and body[10] == EXTENDED_PARAMETERS:
        total = body[11] << 8 | body[12]
        position = 13
        width = 2
    if position + total != len(body):
        raise _error(
            OpenMessageErrorSubcode.UNSPECIFIC,
            f"{total} octets of optional parameters are announced, {len(body) - position} are there",
        )
    found = []
    while position < len(body):
        value = position + 1 + width
        if value > len(body):
            raise _error(OpenMessageErrorSubcode.UNSPECIFIC, "an optional parameter is cut short")
        following = value + int.from_bytes(body[position + 1 : value], "big")
        if following > len(body):
            raise _error(OpenMessageErrorSubcode.UNSPECIFIC, "an optional parameter exceeds the OPEN")
        found.append((body[position], body[value:following]))
        position = following
    return found


def encode_open(message: Open) -> bytes:
    """The whole message, header included; all capabilities in one optional parameter."""
    capabilities = b"".join(map(encode_capability, message.capabilities))
    size = len(capabilities)
    if not size:
        parameters = b"\0"
    elif size + 2 <= 255:
        parameters = bytes((size + 2, CAPABILITIES_PARAMETER, size)) + capabilities
    else:
        parameters = (
            bytes((255, EXTENDED_PARAMETERS))
            + (size + 3).to_bytes(2, "big")
            + bytes((CAPABILITIES_PARAMETER,))
            + size.to_bytes(2, "big")
            + capabilities
        )
    my_as = message.my_as if message.my_as <= 0xFFFF else AS_TRANS
    body = (
        bytes((message.version,))
        + my_as.to_bytes(2, "big")
        + message.hold_time.to_bytes(2, "big")
        + message.bgp_identifier.to_bytes(4, "big")
        + parameters
    )
    return encode_message(MessageType.OPEN, body)
