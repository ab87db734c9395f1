"""NOTIFICATION (RFC 4271, section 4.5) and the three ways in which received octets can be wrong.

Decoding any octets yields a value or one of these three, nothing else: `NotificationError` ends the session with its
NOTIFICATION; `TreatAsWithdraw` and `AttributeDiscard` (RFC 7606) are kept as values in what the decoder returns.
"""

import re
from enum import IntEnum
from typing import Final

import attrs

from trio_bgp.wire.numbers import (
    CeaseSubcode,
    ErrorCode,
    FsmErrorSubcode,
    MessageHeaderErrorSubcode,
    MessageType,
    OpenMessageErrorSubcode,
    RouteRefreshErrorSubcode,
    UpdateMessageErrorSubcode,
)

__all__ = [
    "AttributeDiscard",
    "Notification",
    "NotificationError",
    "TreatAsWithdraw",
    "decode_notification",
    "describe",
    "encode_notification",
    "read_shutdown_communication",
    "shutdown_communication",
]

SUBCODES: Final[dict[int, type[IntEnum]]] = {
    ErrorCode.MESSAGE_HEADER_ERROR: MessageHeaderErrorSubcode,
    ErrorCode.OPEN_MESSAGE_ERROR: OpenMessageErrorSubcode,
    ErrorCode.UPDATE_MESSAGE_ERROR: UpdateMessageErrorSubcode,
    ErrorCode.FSM_ERROR: FsmErrorSubcode,
    ErrorCode.CEASE: CeaseSubcode,
    ErrorCode.ROUTE_REFRESH_MESSAGE_ERROR: RouteRefreshErrorSubcode,
}


@attrs.frozen
class Notification:
    """A NOTIFICATION message."""

    code: int
    subcode: int = 0
    data: bytes = b""

    def __str__(self) -> str:
        shown = f" data={self.data.hex()}" if self.data else ""
        return f"{describe(self)} ({self.code}/{self.subcode}){shown}"


class NotificationError(Exception):
    """What was received ends the session with `notification`.

    Args:
        code: error code.
        subcode: error subcode.
        data: the NOTIFICATION's Data field.
        reason: for the log: what was found.
        silent: the session ends, but nothing is sent: it was a NOTIFICATION that was wrong (RFC 4271, section 6.4).
    """

    def __init__(
        self, code: int, subcode: int = 0, data: bytes = b"", reason: str = "", *, silent: bool = False
    ) -> None:
        super().__init__(code, subcode, data, reason)
        self.silent = silent
        self.notification = Notification(int(code), int(subcode), data)
        self.reason = reason or describe(self.notification)

    def __str__(self) -> str:
        return self.reason


class _AttributeError(Exception):
    def __init__(self, reason: str, attribute_type: int = 0, data: bytes = b"") -> None:
        super().__init__(reason, attribute_type, data)
        self.reason = reason
        self.attribute_type = attribute_type
        self.data = data

    def __str__(self) -> str:
        return self.reason


class TreatAsWithdraw(_AttributeError):  # noqa: N818 (the RFC's name)
    """The routes of the UPDATE count as withdrawn (RFC 7606, section 2).

    Args:
        reason: for the log.
        attribute_type: the attribute at fault, 0 if none.
        data: the octets at fault.
    """


class AttributeDiscard(_AttributeError):  # noqa: N818 (the RFC's name)
    """The attribute is dropped, the routes stay (RFC 7606, section 2). Arguments as for `TreatAsWithdraw`."""


def decode_notification(body: bytes) -> Notification:
    """The value of a NOTIFICATION's body (all after the header), which has at least 2 octets."""
    return Notification(body[0], body[1], bytes(body[2:]))


def encode_notification(notification: Notification) -> bytes:
    """The whole message, header included. Data beyond 4096 octets is cut."""
    body = bytes((notification.code, notification.subcode)) + notification.data[: 4096 - 21]
    return b"\xff" * 16 + (19 + len(body)).to_bytes(2, "big") + bytes((MessageType.NOTIFICATION,)) + body


def describe(notification: Notification) -> str:
    """Code and subcode in the RFCs' words: `Cease/Administrative Shutdown`."""
    try:
        code = _words(ErrorCode(notification.code))
    except ValueError:
        return f"code {notification.code}/subcode {notification.subcode}"
    names = SUBCODES.get(notification.code)
    if not notification.subcode:
        return code
    if names is not None:
        try:
            return f"{code}/{_words(names(notification.subcode))}"
        except ValueError:
            pass
    return f"{code}/subcode {notification.subcode}"


def _words(value: IntEnum) -> str:
    text = value.name.replace("_", " ").title()
    for short in ("As", "Bgp", "Fsm", "Bfd"):
        text = re.sub(rf"\b{short}\b", short.upper(), text)
    return text.replace(" Of ", " of ").replace("De Configured", "De-configured")


def shutdown_communication(text: str) -> bytes:
    """The Data field of Cease/Administrative Shutdown or Reset (RFC 9003): a length octet and at most 255 of UTF-8."""
    octets = text.encode()[:255].decode(errors="ignore").encode()
    return bytes((len(octets),)) + octets if octets else b""


def read_shutdown_communication(data: bytes) -> str | None:
    """The text of a received shutdown communication, safe to print; None if there is none.

    What is no UTF-8 is given as `hex:...`, and so is a field whose length is wrong; characters that are not printable
    are replaced by `?`.
    """
    if not data:
        return None
    if data[0] > len(data) - 1:
        return f"hex:{data.hex()}"
    if not data[0]:
        return None
    octets = data[1 : 1 + data[0]]
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        return f"hex:{octets.hex()}"
    return "".join(character if character.isprintable() else "?" for character in text)
