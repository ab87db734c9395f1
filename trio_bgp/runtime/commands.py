"""What sessions ask of the forwarder, in order through its channel, and what observers of sessions are told."""

from collections.abc import Callable

import attrs

from trio_bgp.routing.group import Member
from trio_bgp.runtime.session.reader import Batch
from trio_bgp.session.events import Close
from trio_bgp.wire.numbers import Family
from trio_bgp.wire.route_refresh import RouteRefreshMessage

__all__ = [
    "Command",
    "EndOfRib",
    "Handshake",
    "Observer",
    "PeerDown",
    "PeerUp",
    "Refresh",
    "SessionObserver",
    "Updates",
    "Wake",
]


@attrs.frozen
class Handshake:
    """How a session came about."""

    sent_open: bytes
    """Our OPEN, the whole message."""
    received_open: bytes
    """The peer's."""
    local_port: int = 0
    """Our TCP port; 0 where the connection has none."""
    peer_port: int = 0


@attrs.frozen
class PeerUp:
    """A session was established."""

    member: Member
    handshake: Handshake = Handshake(b"", b"")


def _nobody() -> None:
    """Nobody waits for that."""


@attrs.frozen
class Updates:
    """UPDATEs of one read; the forwarder takes over the batch's reference."""

    member: Member
    batch: Batch
    handled: Callable[[], None] = _nobody
    """Called when that is done. A session has one command here at a time, so that all have their turn."""


@attrs.frozen
class PeerDown:
    """A session ended: nothing more comes from it, and its routes go, unless they are kept for a restart."""

    member: Member
    graceful: bool = False
    """Neither side said anything that forbids to keep them."""
    close: Close | None = None
    """How it ended; None: it was broken off without a word."""


@attrs.frozen
class EndOfRib:
    """A peer has said all it has of a family; for observers only."""

    member: Member
    family: Family


@attrs.frozen
class Refresh:
    """The peer sent a ROUTE-REFRESH for a family it negotiated."""

    member: Member
    message: RouteRefreshMessage


@attrs.frozen
class Wake:
    """A queue has drained; look again at who waits for that."""


Command = PeerUp | Updates | PeerDown | Refresh | Wake

Observer = Callable[[str, bytes], None]
"""Told the name of the peer and the whole UPDATE."""
SessionObserver = Callable[[PeerUp | EndOfRib | PeerDown], None]
"""Told of each session that comes up, each End-of-RIB it says, and its end, in order with its UPDATEs."""
