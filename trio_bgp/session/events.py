"""What happens to a session (RFC 4271, section 8.1) and what it asks its driver to do."""

import attrs

from trio_bgp.session.negotiation import Negotiated
from trio_bgp.wire.notification import Notification, NotificationError
from trio_bgp.wire.open import Open

__all__ = [
    "BgpOpen",
    "Close",
    "ConnectRetryTimerExpires",
    "Dial",
    "Established",
    "Event",
    "HoldTimerExpires",
    "KeepAliveMsg",
    "KeepaliveTimerExpires",
    "ManualStart",
    "ManualStop",
    "MessageError",
    "NotifMsg",
    "OpenCollisionDump",
    "Output",
    "RouteRefreshMsg",
    "Send",
    "SendHoldTimerExpires",
    "TcpConnectionConfirmed",
    "TcpConnectionFails",
    "TcpCrAcked",
    "UpdateMsg",
]


@attrs.frozen
class ManualStart:
    """Events 1 and 4: begin to connect, or to wait for the peer if passive."""


@attrs.frozen
class ManualStop:
    """Event 2: end, telling the peer `notification`."""

    notification: Notification


@attrs.frozen
class ConnectRetryTimerExpires:
    """Event 9."""


@attrs.frozen
class HoldTimerExpires:
    """Event 10: nothing was heard for the hold time."""


@attrs.frozen
class KeepaliveTimerExpires:
    """Event 11: it is time for a KEEPALIVE."""


@attrs.frozen
class SendHoldTimerExpires:
    """Event 29 (RFC 9687): the peer has taken nothing for the send hold time."""


@attrs.frozen
class TcpCrAcked:
    """Event 16: the connection we asked for is there."""


@attrs.frozen
class TcpConnectionConfirmed:
    """Event 17: a connection the peer asked for is there."""


@attrs.frozen
class TcpConnectionFails:
    """Event 18: the connection could not be made, or is gone."""

    reason: str


@attrs.frozen
class BgpOpen:
    """Event 19: a valid OPEN."""

    message: Open


@attrs.frozen
class MessageError:
    """Events 21, 22 and 28: octets that are no message, or one that asks for the session's end."""

    error: NotificationError


@attrs.frozen
class OpenCollisionDump:
    """Event 23: another connection with the same peer is kept (RFC 4271, section 6.8)."""


@attrs.frozen
class NotifMsg:
    """Events 24 and 25."""

    notification: Notification


@attrs.frozen
class KeepAliveMsg:
    """Event 26."""


@attrs.frozen
class UpdateMsg:
    """Event 27: one or more UPDATEs arrived together."""


@attrs.frozen
class RouteRefreshMsg:
    """A ROUTE-REFRESH (RFC 2918), allowed where an UPDATE is."""


Event = (
    ManualStart
    | ManualStop
    | ConnectRetryTimerExpires
    | HoldTimerExpires
    | KeepaliveTimerExpires
    | SendHoldTimerExpires
    | TcpCrAcked
    | TcpConnectionConfirmed
    | TcpConnectionFails
    | BgpOpen
    | MessageError
    | OpenCollisionDump
    | NotifMsg
    | KeepAliveMsg
    | UpdateMsg
    | RouteRefreshMsg
)


@attrs.frozen
class Dial:
    """Try to connect; answer with `TcpCrAcked` or `TcpConnectionFails`."""


@attrs.frozen
class Send:
    """Send these octets, whole messages."""

    octets: bytes


@attrs.frozen
class Established:
    """The session is up."""

    negotiated: Negotiated


@attrs.frozen
class Close:
    """Drop the connection, if there is one, after sending `notification`, if there is one."""

    reason: str
    notification: Notification | None = None
    """To be sent as the last message."""
    received: Notification | None = None
    """What the peer said, if it ended the session."""
    manual: bool = False
    """We were told to end it."""


Output = Dial | Send | Established | Close
