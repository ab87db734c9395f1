"""One peer: finding a connection with it, keeping one of two, and starting again when it is gone."""

import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import trio

from trio_bgp.runtime.connection import Connection
from trio_bgp.runtime.forwarder import Forwarder
from trio_bgp.runtime.transport import Transport, TransportClosed
from trio_bgp.session.collision import keeps_incoming
from trio_bgp.session.events import ManualStart, ManualStop, OpenCollisionDump
from trio_bgp.session.fsm import Session, State
from trio_bgp.settings import PeerSettings, SpeakerSettings
from trio_bgp.wire.notification import Notification, encode_notification
from trio_bgp.wire.numbers import CeaseSubcode, ErrorCode, family_name

__all__ = ["Connect", "Peer", "refuse"]

logger = logging.getLogger("trio_bgp.peer")

Connect = Callable[[PeerSettings], Awaitable[Transport]]
"""Opens a connection to a peer; raises OSError or TransportClosed."""

CONNECT_SECONDS: Final = 30.0
REFUSE_SECONDS: Final = 1.0


class Peer:
    """A peer and its connections: normally one, two while a collision is being resolved.

    Args:
        speaker: who we are.
        settings: who the peer is.
        name: for logs and statistics.
        address: its address.
        forwarder: where its UPDATEs go.
        connect: opens connections to it.
        rng: for timer jitter.
        dynamic: the peer exists because of a connection it opened, and only as long as it has one.
    """

    def __init__(
        self,
        speaker: SpeakerSettings,
        settings: PeerSettings,
        *,
        name: str,
        address: IPv4Address | IPv6Address,
        forwarder: Forwarder,
        connect: Connect,
        rng: random.Random,
        dynamic: bool = False,
    ) -> None:
        self.settings = settings
        self.name = name
        self.address = address
        self.connections: list[Connection] = []
        self.sessions_established = 0
        self.last_end = ""
        self._speaker = speaker
        self._forwarder = forwarder
        self._connect = connect
        self._rng = rng
        self._nursery: trio.Nursery | None = None
        self._failures = 0
        self._changed = trio.Event()
        self._stopped: Notification | None = None
        self._dynamic = dynamic
        self._early: list[Transport] = []

    @property
    def state(self) -> State:
        """The state of the session that is furthest."""
        states = [connection.session.state for connection in self.connections]
        for state in (State.ESTABLISHED, State.OPEN_CONFIRM, State.OPEN_SENT):
            if state in states:
                return state
        if self._stopped is not None:
            return State.IDLE
        return State.ACTIVE if self.settings.passive or self.settings.address is None else State.CONNECT

    async def run(self) -> None:
        """Keep a session with the peer until cancelled, or until `stop` and its session has ended."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for transport in self._early:
                self.accept(transport)
            while self._stopped is None:
                if self._dynamic and not self.connections:
                    break
                if self.connections or self.settings.passive or self.settings.address is None:
                    await self._wait_for_change()
                else:
                    await self._seek()
            while self.connections:
                await self._wait_for_change()

    def stop(self, notification: Notification) -> None:
        """End the session, telling the peer `notification`, and start no other."""
        self._stopped = notification
        for connection in self.connections:
            connection.feed(ManualStop(notification))
        self._note_change()

    def accept(self, transport: Transport) -> bool:
        """Take a connection that the peer opened; False if it is not wanted, then it stays the caller's."""
        if self._stopped is not None:
            return False
        if self._nursery is None:
            self._early.append(transport)
            return True
        if any(connection.session.state is State.ESTABLISHED for connection in self.connections):
            return False
        # A peer that connects again while a connection of its own is still waiting has forgotten that one.
        for connection in self.connections:
            if connection.incoming:
                connection.feed(OpenCollisionDump())
        self._begin(transport, self._new_session(), incoming=True)
        return True

    def opened(self, connection: Connection) -> None:
        """The peer's OPEN arrived on `connection`: resolve a collision (RFC 4271, section 6.8)."""
        mine = connection.session.remote_open
        for other in list(self.connections):
            if other is connection or other.closed is not None or mine is None:
                continue
            if other.session.state is State.ESTABLISHED:
                connection.feed(OpenCollisionDump())
                return
            if other.session.state is State.OPEN_CONFIRM and other.incoming != connection.incoming:
                incoming = keeps_incoming(
                    self._speaker.bgp_identifier, mine.bgp_identifier, self._speaker.local_as, mine.peer_as
                )
                loser = other if other.incoming != incoming else connection
                loser.feed(OpenCollisionDump())

    def established(self, connection: Connection) -> None:
        """The session on `connection` is up: no other is needed."""
        self.sessions_established += 1
        self._failures = 0
        negotiated = connection.session.negotiated
        if negotiated is not None:
            logger.info(
                "peer.established name=%s address=%s as=%d hold_time=%d families=%s extended_message=%s",
                self.name,
                self.address,
                negotiated.peer_as,
                negotiated.hold_time,
                ",".join(map(family_name, sorted(negotiated.families))),
                "yes" if negotiated.extended_message else "no",
            )
        for other in list(self.connections):
            if other is not connection:
                other.feed(OpenCollisionDump())

    async def _seek(self) -> None:
        """One attempt to connect, and the wait until the next one is due."""
        session = self._new_session()
        session.handle(ManualStart(), trio.current_time())
        changed = self._changed
        transport: Transport | None = None
        async with trio.open_nursery() as nursery:

            async def attempt() -> None:
                nonlocal transport
                try:
                    with trio.fail_after(CONNECT_SECONDS):
                        transport = await self._connect(self.settings)
                except (OSError, TransportClosed, trio.TooSlowError) as error:
                    logger.debug("peer.connect_failed name=%s cause=%r", self.name, str(error) or type(error).__name__)
                nursery.cancel_scope.cancel()

            async def interrupted() -> None:
                await changed.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(attempt)
            nursery.start_soon(interrupted)
        if transport is not None:
            if self._stopped is None and not any(c.session.state is State.ESTABLISHED for c in self.connections):
                self._begin(transport, session, incoming=False)
            else:
                transport.abort()
            return
        if self.connections or self._stopped is not None:
            return
        self._failures += 1
        session.failures = self._failures
        with trio.move_on_after(session.retry_delay()):
            await changed.wait()

    def _begin(self, transport: Transport, session: Session, *, incoming: bool) -> None:
        if self._nursery is None:
            raise AssertionError("the peer is not running")
        connection = Connection(self, transport, session, self._forwarder, incoming=incoming)
        self.connections.append(connection)
        self._note_change()
        self._nursery.start_soon(self._run, connection)

    async def _run(self, connection: Connection) -> None:
        was_up = False
        try:
            close = await connection.run()
            was_up = connection.member is not None
            if self._stopped is None or was_up:
                log = logger.info if was_up or connection.session.remote_open is not None else logger.debug
                notification = close.notification or close.received
                said = "" if notification is None else f" notification={notification.code}/{notification.subcode}"
                direction = "" if notification is None else (" sent" if close.notification else " received")
                log("peer.down name=%s reason=%r%s%s", self.name, close.reason, said, direction)
            self.last_end = close.reason
        except Exception:
            # A bug in one peer's tasks is that peer's misfortune: its session starts again, the others go on.
            logger.exception("peer.crashed name=%s", self.name)
        finally:
            self.connections.remove(connection)
        if not was_up or connection.closed is None or connection.closed.notification or connection.closed.received:
            # Do not hammer a peer that refuses us (RFC 4271, section 8.1.1, DampPeerOscillations).
            self._failures += 1
        if not connection.incoming and not self.connections and self._stopped is None:
            session = self._new_session()
            changed = self._changed
            with trio.move_on_after(session.retry_delay()):
                await changed.wait()
        self._note_change()

    async def _wait_for_change(self) -> None:
        await self._changed.wait()

    def _note_change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _new_session(self) -> Session:
        return Session(
            self._speaker,
            self.settings,
            jitter=lambda: self._rng.uniform(0.75, 1.0),
            failures=self._failures,
        )


async def refuse(transport: Transport, subcode: CeaseSubcode) -> None:
    """Close a connection nobody wants, saying so if it takes no time."""
    octets = encode_notification(Notification(ErrorCode.CEASE, subcode))
    with trio.move_on_after(REFUSE_SECONDS), contextlib.suppress(TransportClosed):
        await transport.send([octets])
    transport.abort()
