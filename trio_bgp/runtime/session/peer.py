"""One peer: finding a connection with it, keeping one of two, and starting again when it is gone."""

import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address
from math import inf
from typing import Final

import attrs
import trio

from trio_bgp.runtime.board import Board
from trio_bgp.runtime.session.connection import Connection
from trio_bgp.runtime.session.transport import Transport, TransportClosed
from trio_bgp.session.collision import keeps_incoming
from trio_bgp.session.events import Close, ManualStart, ManualStop, OpenCollisionDump
from trio_bgp.session.fsm import Session, State
from trio_bgp.session.negotiation import Negotiated
from trio_bgp.settings import MaxPrefixesAction, PeerSettings, SpeakerSettings
from trio_bgp.wire.notification import Notification, encode_notification
from trio_bgp.wire.numbers import CeaseSubcode, ErrorCode, family_name

__all__ = ["Connect", "Peer", "refuse"]

logger = logging.getLogger("trio_bgp.peer")

Connect = Callable[[PeerSettings], Awaitable[Transport]]
"""Opens a connection to a peer; raises OSError or TransportClosed."""

TOO_MANY_PREFIXES: Final = (ErrorCode.CEASE, CeaseSubcode.MAXIMUM_NUMBER_OF_PREFIXES_REACHED)
CONNECT_SECONDS: Final = 30.0
REFUSE_SECONDS: Final = 1.0


class Peer:
    """A peer and its connections: normally one, two while a collision is being resolved.

    Args:
        speaker: who we are.
        settings: who the peer is.
        name: for logs and statistics.
        address: its address.
        board: where its UPDATEs go, and who watches.
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
        board: Board,
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
        self.gone = trio.Event()
        """Set when nothing of it is left."""
        self.finished = False
        """`run` takes no more connections and is about to return."""
        self._speaker = speaker
        self._board = board
        self._connect = connect
        self._rng = rng
        self._nursery: trio.Nursery | None = None
        self._failures = 0
        self._retry_at = -inf
        self._held_down_until = -inf
        self.established_at = inf
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
        """Keep a session with the peer until cancelled, or until `stop` and its session has ended.

        May be called again after it raised: connections accepted in between were kept.
        """
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                early, self._early = self._early, []
                for transport in early:
                    if not self.accept(transport):
                        transport.abort()
                while self._stopped is None and (self.connections or not self._dynamic):
                    if self.connections or self.settings.passive or self.settings.address is None:
                        await self._changed.wait()
                    elif trio.current_time() < self._retry_at:
                        with trio.move_on_at(self._retry_at):
                            await self._changed.wait()
                    else:
                        await self._seek()
                while self.connections:
                    await self._changed.wait()
                # Nothing is awaited between here and the end of the nursery's block: whoever sees a peer that is not
                # finished can still start a connection in it.
                self.finished = True
        finally:
            self._nursery = None

    def drop_early(self) -> None:
        """Close what was accepted for a `run` that will not come."""
        while self._early:
            self._early.pop().abort()

    def reset(self, notification: Notification) -> None:
        """End the session, telling the peer `notification`; another may follow."""
        for connection in self.connections:
            connection.feed(ManualStop(notification))

    def stop(self, notification: Notification) -> None:
        """End the session, telling the peer `notification`, and start no other."""
        self._stopped = notification
        for connection in self.connections:
            connection.feed(ManualStop(notification))
        self._note_change()

    def accept(self, transport: Transport) -> bool:
        """Take a connection that the peer opened; False if it is not wanted, then it stays the caller's."""
        if self._stopped is not None or self.finished or trio.current_time() < self._held_down_until:
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
        self.established_at = trio.current_time()
        negotiated = connection.session.negotiated
        if negotiated is not None:
            logger.info(
                "peer.established name=%s address=%s as=%d hold_time=%d role=%s families=%s "
                "extended_message=%s as4=%s%s",
                self.name,
                self.address,
                negotiated.peer_as,
                negotiated.hold_time,
                self.settings.role.value,
                ",".join(map(family_name, sorted(negotiated.families))),
                "yes" if negotiated.extended_message else "no",
                "yes" if negotiated.asn4 else "no",
                _add_path_words(negotiated),
            )
            if not (self.settings.imports and self.settings.exports):
                taken = "taken from" if not self.settings.imports else "sent to"
                taken = "taken from or sent to" if not self.settings.exports and not self.settings.imports else taken
                logger.warning("peer.no_policy name=%s cause='nothing is %s it (RFC 8212)'", self.name, taken)
        for other in list(self.connections):
            if other is not connection:
                other.feed(OpenCollisionDump())

    async def _seek(self) -> None:
        """One attempt to connect, given up when the peer connects or the peer is stopped meanwhile."""
        session = self._new_session()
        session.handle(ManualStart(), trio.current_time())
        changed = self._changed
        transport: Transport | None = None

        async def attempt() -> None:
            nonlocal transport
            try:
                with trio.fail_after(CONNECT_SECONDS):
                    transport = await self._connect(self.settings)
            except (OSError, TransportClosed, trio.TooSlowError) as error:
                logger.debug("peer.connect_failed name=%s cause=%r", self.name, str(error) or type(error).__name__)
            except Exception:
                logger.exception("peer.crashed name=%s while connecting", self.name)
            nursery.cancel_scope.cancel()

        async def interrupted() -> None:
            await changed.wait()
            nursery.cancel_scope.cancel()

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(attempt)
                nursery.start_soon(interrupted)
        except BaseException:
            if transport is not None:
                transport.abort()
            raise
        if transport is not None:
            if self._stopped is None and not any(c.session.state is State.ESTABLISHED for c in self.connections):
                self._begin(transport, session, incoming=False)
            else:
                transport.abort()
        elif not self.connections:
            self._failures += 1
            self._put_off()

    def _begin(self, transport: Transport, session: Session, *, incoming: bool) -> None:
        if self._nursery is None:
            raise AssertionError("the peer is not running")
        connection = Connection(self, transport, session, self._board, incoming=incoming)
        self.connections.append(connection)
        self._note_change()
        self._nursery.start_soon(self._run, connection)

    async def _run(self, connection: Connection) -> None:
        close: Close | None = None
        try:
            await self._wait_for_predecessor(connection)
            if self._stopped is None:
                close = await connection.run()
                self._log_end(connection, close)
        except* Exception as group:
            # A bug in one peer's tasks is that peer's misfortune: its session starts again, the others go on.
            logger.error("peer.crashed name=%s", self.name, exc_info=group)
        finally:
            connection.transport.abort()
            self.connections.remove(connection)
            self._count_failure(connection, close)
            self._note_change()

    async def _wait_for_predecessor(self, connection: Connection) -> None:
        """Wait while an ended session's routes are still the forwarder's: there is one session of a peer at a time."""
        while any(
            other is not connection and other.closed is not None and other.member is not None
            for other in self.connections
        ):
            await self._changed.wait()

    def _log_end(self, connection: Connection, close: Close) -> None:
        was_up = connection.member is not None
        self.last_end = close.reason
        notification = close.notification or close.received
        said = "" if notification is None else f" notification={notification.code}/{notification.subcode}"
        direction = "" if notification is None else (" sent" if close.notification else " received")
        # A connection that never brought an OPEN is no news: it is tried again and again.
        log = logger.info if was_up or connection.session.remote_open is not None else logger.debug
        log("peer.down name=%s reason=%r%s%s", self.name, close.reason, said, direction)

    def _count_failure(self, connection: Connection, close: Close | None) -> None:
        """Wait longer before each next attempt at a peer that does not stay.

        A session that lasted makes up for all failures before it; one that came up only to be refused does not, so a
        peer that sends too many prefixes each time is not connected to in a tight loop (RFC 4271, section 8.1.1,
        DampPeerOscillations).
        """
        notification = None if close is None else close.notification
        if notification is not None and (notification.code, notification.subcode) == TOO_MANY_PREFIXES:
            action, seconds = self.settings.max_prefixes_action, self.settings.max_prefixes_restart_time
            self._held_down_until = inf if action is MaxPrefixesAction.STOP else trio.current_time() + seconds
        if self.connections:
            return  # it lost a collision: the peer is there
        was_up = connection.member is not None
        if was_up and trio.current_time() - self.established_at >= self.settings.connect_retry_time:
            self._failures = 0
        if not was_up or close is None or close.notification is not None or close.received is not None:
            self._failures += 1
        self._put_off()

    def _put_off(self) -> None:
        """Let the next attempt to connect wait."""
        self._retry_at = max(self._held_down_until, trio.current_time() + self._new_session().retry_delay())

    def _note_change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _new_session(self) -> Session:
        speaker = self._speaker
        if speaker.restarting and not self._board.deferring:
            speaker = attrs.evolve(speaker, restarting=False)  # that is over
        return Session(
            speaker,
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


def _add_path_words(negotiated: Negotiated) -> str:
    """Which families have path identifiers in which direction, for the log."""
    words = ""
    for direction, families in (("receive", negotiated.add_path_receive), ("send", negotiated.add_path_send)):
        if families:
            words += f" add_path_{direction}={','.join(map(family_name, sorted(families)))}"
    return words
