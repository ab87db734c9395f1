"""What sessions know of the rest of the daemon: where messages go, where buffers come from, who watches."""

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

import attrs
import trio

from trio_bgp.passthrough.pool import BufferPool
from trio_bgp.routing.group import Member
from trio_bgp.runtime.commands import Command
from trio_bgp.runtime.session.outbound import Cork
from trio_bgp.runtime.session.transport import Transport
from trio_bgp.session.events import Close
from trio_bgp.session.fsm import Session, State
from trio_bgp.settings import PeerSettings, SpeakerSettings

__all__ = ["Board", "Monitor", "MonitoredConnection", "MonitoredPeer"]


class MonitoredPeer(Protocol):
    """What a monitor may know of a peer (`trio_bgp.runtime.session.peer.Peer`)."""

    @property
    def name(self) -> str:
        """For logs and statistics."""

    @property
    def address(self) -> IPv4Address | IPv6Address:
        """Its IP address."""

    @property
    def settings(self) -> PeerSettings:
        """Who it is to be."""


class MonitoredConnection(Protocol):
    """What a monitor may know of a connection (`trio_bgp.runtime.session.connection.Connection`)."""

    @property
    def peer(self) -> MonitoredPeer:
        """Whose connection it is."""

    @property
    def transport(self) -> Transport:
        """Its addresses and ports."""

    @property
    def session(self) -> Session:
        """Its state machine: both OPENs, what was negotiated."""

    @property
    def member(self) -> Member | None:
        """Set from `State.ESTABLISHED` on."""

    @property
    def closed(self) -> Close | None:
        """How the session ended, once it has."""


class Monitor:
    """Told what happens on every connection; put one into `Board.monitors` before sessions come up.

    Methods are called by the connections' tasks, in the order in which things happen on a connection, and must neither
    block nor raise. Those that a monitor does not override do nothing. Without monitors none of this costs anything.
    """

    wants_sent: bool = False
    """`sent` is to be called; asked when a connection begins."""

    def changed(self, connection: MonitoredConnection, old: State, new: State) -> None:
        """The session's state changed; all of `connection` is as it is in the new one.

        In `State.ESTABLISHED` its `member` is set, at an end mostly `closed`. `State.IDLE` is the last state reported.
        """

    def received(self, connection: MonitoredConnection, messages: Sequence[bytes]) -> None:
        """Whole messages of any type were received, and are about to be handled: one, or UPDATEs only."""

    def sent(self, connection: MonitoredConnection, octets: bytes) -> None:
        """One or more whole messages, one after the other, were handed to the system."""


@attrs.define(eq=False)
class Board:
    """What the forwarder offers to sessions. It knows no session, and sessions do not know the forwarder."""

    speaker: SpeakerSettings
    pool: BufferPool
    """Where read tasks get their slabs."""
    inbox: trio.MemorySendChannel[Command]
    """Commands to the forwarder, in order."""
    wake: Callable[[], None]
    """Have the forwarder look again at who waits for room in a queue. Never blocks."""
    cork: Cork = attrs.Factory(Cork)
    """Holds back what is put into queues while the forwarder handles a command."""
    monitors: list[Monitor] = attrs.Factory(list)
    """Told of sessions' states and messages by their connections."""
    deferring: bool = False
    """We have been restarted and send no routes yet (RFC 4724, section 4.1)."""
