"""One connection with a peer: a nursery with a read task, a write task and a timer task around a sans-IO session."""

import logging
from ipaddress import IPv4Address, IPv6Address, ip_address
from math import inf
from typing import Final, Protocol

import trio

from trio_bgp.routing.group import Member
from trio_bgp.runtime.board import Board
from trio_bgp.runtime.commands import Handshake, PeerDown, PeerUp, Refresh, Updates
from trio_bgp.runtime.session.outbound import Outbound
from trio_bgp.runtime.session.reader import Batch, MessageReader
from trio_bgp.runtime.session.transport import Transport, TransportClosed
from trio_bgp.session.events import (
    BgpOpen,
    Close,
    Established,
    Event,
    HoldTimerExpires,
    KeepAliveMsg,
    MessageError,
    NotifMsg,
    RouteRefreshMsg,
    Send,
    TcpConnectionConfirmed,
    TcpConnectionFails,
    TcpCrAcked,
    UpdateMsg,
)
from trio_bgp.session.fsm import Session, State
from trio_bgp.settings import PeerSettings
from trio_bgp.wire.header import HEADER_LENGTH
from trio_bgp.wire.notification import Notification, NotificationError, decode_notification, encode_notification
from trio_bgp.wire.numbers import MAXIMUM_MESSAGE_LENGTH, CeaseSubcode, ErrorCode, MessageType
from trio_bgp.wire.open import decode_open
from trio_bgp.wire.route_refresh import decode_route_refresh

__all__ = ["Connection", "ConnectionOwner"]

logger = logging.getLogger("trio_bgp.peer")

MANY_OTHERS: Final = 100
"""Messages of one read that are no UPDATEs."""
MANY_OTHERS_SECONDS: Final = 0.1
"""How long nothing is read from a peer that sent more than so many."""
GOODBYE_SECONDS: Final = 1.0
"""How long the last message may take to leave."""
LOGGED_OCTETS: Final = 64


class ConnectionOwner(Protocol):
    """Whose connection it is (`trio_bgp.runtime.session.peer.Peer`)."""

    @property
    def name(self) -> str:
        """For logs and statistics."""

    @property
    def address(self) -> IPv4Address | IPv6Address:
        """The peer's address."""

    @property
    def settings(self) -> PeerSettings:
        """Who the peer is to be."""

    def opened(self, connection: "Connection") -> None:
        """The peer's OPEN was accepted on this connection."""

    def established(self, connection: "Connection") -> None:
        """The session on this connection is established."""


class Connection:
    """Runs one session over one connection.

    Args:
        peer: whose connection it is; told when its OPEN was accepted and when it is established.
        transport: the connection; belongs to this object.
        session: in a state that can be told of the new connection.
        board: where UPDATEs go, and who watches.
        incoming: the peer opened the connection.
    """

    def __init__(
        self, peer: ConnectionOwner, transport: Transport, session: Session, board: Board, *, incoming: bool
    ) -> None:
        self.peer = peer
        self.transport = transport
        self.session = session
        self.incoming = incoming
        self.outbound = Outbound(transport, board.cork)
        self.member: Member | None = None
        self.closed: Close | None = None
        self._board = board
        self._reader = MessageReader(transport, board.pool)
        self._timers = trio.CancelScope()
        self._sleeping_until = inf
        self._ended = trio.Event()
        self._announced = False
        self._handing = False
        self._handled_event: trio.Event | None = None
        self._told = session.state
        if any(monitor.wants_sent for monitor in board.monitors):
            self.outbound.sent = self._tell_sent
        self._sent_open = b""
        self._received_open = b""

    def feed(self, event: Event) -> None:
        """Give the session an event and do what it asks. Never blocks."""
        for output in self.session.handle(event, trio.current_time()):
            if isinstance(output, Send):
                if output.octets[18] == MessageType.OPEN:
                    self._sent_open = output.octets
                self.outbound.put(output.octets)
            elif isinstance(output, Established):
                self._established()
            elif isinstance(output, Close) and self.closed is None:
                self.closed = output
                self._ended.set()
        if self.session.state is not self._told:
            self._tell_state(self.session.state)
        if self.session.next_deadline() < self._sleeping_until:
            self._timers.cancel()

    def reset(self, notification: Notification, reason: str) -> None:
        """End the session because of what an UPDATE said; called by the forwarder."""
        self.feed(MessageError(NotificationError(notification.code, notification.subcode, notification.data, reason)))

    async def run(self) -> Close:
        """Run the session to its end; the connection is closed on return.

        Returns:
            how it ended.
        """
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                nursery.start_soon(self._read)
                nursery.start_soon(self._watch_timers)
                self.feed(TcpConnectionConfirmed() if self.incoming else TcpCrAcked())
                await self._ended.wait()
                await self._say_goodbye()
                nursery.cancel_scope.cancel()
        finally:
            self.transport.abort()
            self._reader.close()
            self.outbound.discard()
            self._tell_state(State.IDLE)
            if self.member is not None:
                # Without this cycle reference counts free what a session leaves behind; the collector comes seldom.
                self.member.reset = _over
                with trio.CancelScope(shield=True):
                    await self._turn()
                    await self._board.inbox.send(PeerDown(self.member, self._graceful(), self.closed))
        return self.closed or Close("cancelled")

    def _tell_state(self, state: State) -> None:
        old, self._told = self._told, state
        if old is not state:
            for monitor in self._board.monitors:
                monitor.changed(self, old, state)

    def _tell_sent(self, octets: bytes) -> None:
        for monitor in self._board.monitors:
            if monitor.wants_sent:
                monitor.sent(self, octets)

    def _graceful(self) -> bool:
        """Whether the peer's routes may be kept for its restart (RFC 4724, section 4.2; RFC 8538, section 4)."""
        close, negotiated = self.closed, self.session.negotiated
        if close is None or close.manual or negotiated is None:
            return False
        if close.notification is None and close.received is None:
            return True
        if not negotiated.notification_restart:
            return False
        if close.notification is not None:
            return close.notification.code != ErrorCode.CEASE
        received = close.received
        return received is None or (received.code, received.subcode) != (ErrorCode.CEASE, CeaseSubcode.HARD_RESET)

    async def _say_goodbye(self) -> None:
        """Send the NOTIFICATION, if any, as the last message, behind whatever write is under way."""
        if self.closed is None:
            return
        with trio.move_on_after(GOODBYE_SECONDS, shield=True):
            self.outbound.discard()
            if self.closed.notification is not None:
                self.outbound.put(encode_notification(self.closed.notification))
            self.outbound.close()
            await self.outbound.finished.wait()

    def _established(self) -> None:
        negotiated = self.session.negotiated
        if negotiated is None:
            raise AssertionError("established without negotiation")
        self._reader.maximum = negotiated.maximum_length
        self.outbound.drained = self._board.wake
        self.member = Member(
            speaker=self._board.speaker,
            settings=self.peer.settings,
            name=self.peer.name,
            address=self.peer.address,
            negotiated=negotiated,
            outbound=self.outbound,
            local_address=_local_address(self.transport),
        )
        self.member.reset = self.reset

    def _handshake(self) -> Handshake:
        transport = self.transport
        return Handshake(self._sent_open, self._received_open, transport.local_port, transport.peer_port)

    async def _write(self) -> None:
        try:
            await self.outbound.run()
        except TransportClosed as error:
            self.feed(TcpConnectionFails(f"connection lost: {error}"))

    async def _read(self) -> None:
        try:
            while not self._ended.is_set():
                batch = await self._reader.receive_batch()
                if batch is None:
                    self.feed(TcpConnectionFails("connection closed by the peer"))
                    return
                try:
                    await self._take(batch)
                    if len(batch.others) == len(batch.offsets):
                        # Nothing was handed on, so nothing has let others have their turn; a peer that sends KEEPALIVEs
                        # faster than we read them would have all of them wait.
                        await trio.lowlevel.checkpoint()
                    if len(batch.others) > MANY_OTHERS:
                        # Nobody has a reason for so many, and only time makes them fewer.
                        await trio.sleep(MANY_OTHERS_SECONDS)
                finally:
                    batch.release()
        except TransportClosed as error:
            self.feed(TcpConnectionFails(f"connection lost: {error}"))

    async def _take(self, batch: Batch) -> None:
        """Handle the messages of one read in order. The batch stays the caller's."""
        first = 0
        heard = False
        for index in batch.others:
            if index > first:
                await self._updates(batch, first, index)
            if self._ended.is_set():
                return
            first = index + 1
            if self._announced and batch.kind(index) == MessageType.KEEPALIVE:
                # However many of them one read brings, they say no more than the first.
                if not heard:
                    self.feed(KeepAliveMsg())
                heard = True
                continue
            await self._message(batch.octets(index))
        if first < len(batch.offsets):
            await self._updates(batch, first, len(batch.offsets))
        if batch.error is not None and not self._ended.is_set():
            self._log_bad(batch.error.reason, b"")
            self.feed(MessageError(batch.error))

    async def _updates(self, batch: Batch, first: int, last: int) -> None:
        """Hand messages `first` to `last - 1`, UPDATEs all, to the forwarder."""
        if self._ended.is_set():
            return
        for monitor in self._board.monitors:
            monitor.received(self, [batch.octets(index) for index in range(first, last)])
        self.feed(UpdateMsg())
        if self.member is None or self._ended.is_set():
            return
        part = batch.split(first, last)
        try:
            await self._turn()
            await self._hand(Updates(self.member, part, self._handled))
        except BaseException:
            part.release()
            raise
        # While the forwarder let us wait we could not hear the peer; that is not its silence.
        self.session.heard(trio.current_time())

    async def _turn(self) -> None:
        """Wait until the forwarder has handled what it was given last: each session has one read's UPDATEs with it."""
        while self._handing:
            self._handled_event = trio.Event()
            await self._handled_event.wait()

    async def _hand(self, updates: Updates) -> None:
        """Give the forwarder UPDATEs; only when it has none of this session."""
        self._handing = True
        try:
            await self._board.inbox.send(updates)
        except BaseException:
            self._handing = False
            raise

    def _handled(self) -> None:
        """The forwarder is done with what it was given."""
        self._handing = False
        if self._handled_event is not None:
            self._handled_event.set()
            self._handled_event = None

    async def _message(self, octets: bytes) -> None:
        """One message that is no UPDATE."""
        for monitor in self._board.monitors:
            monitor.received(self, [octets])
        body = octets[HEADER_LENGTH:]
        kind = octets[18]
        try:
            if kind == MessageType.KEEPALIVE:
                self.feed(KeepAliveMsg())
                if self.member is not None and not self._announced:
                    self._announced = True
                    self.peer.established(self)
                    await self._board.inbox.send(PeerUp(self.member, self._handshake()))
            elif kind == MessageType.OPEN:
                message = decode_open(body)
                self._received_open = octets
                self.feed(BgpOpen(message))
                if self.session.state is State.OPEN_CONFIRM:
                    self.peer.opened(self)
            elif kind == MessageType.NOTIFICATION:
                self.feed(NotifMsg(decode_notification(body)))
            elif kind == MessageType.ROUTE_REFRESH:
                refresh = decode_route_refresh(body)
                self.feed(RouteRefreshMsg())
                if self.member is not None and not self._ended.is_set():
                    await self._turn()
                    await self._board.inbox.send(Refresh(self.member, refresh))
        except NotificationError as error:
            self._log_bad(error.reason, octets)
            self.feed(MessageError(error))

    async def _watch_timers(self) -> None:
        sent = 0
        while True:
            with trio.CancelScope() as self._timers:
                self._sleeping_until = self.session.next_deadline()
                await trio.sleep_until(self._sleeping_until)
            if self._ended.is_set():
                await trio.sleep_forever()
            now = trio.current_time()
            # A whole message counts (RFC 9687), not an octet now and then: a peer could live on that for ever.
            if self.transport.octets_sent - sent >= MAXIMUM_MESSAGE_LENGTH or not self.outbound.queued:
                sent = self.transport.octets_sent
                self.session.sent(now)
            for event in self.session.timers_due(now):
                if isinstance(event, HoldTimerExpires) and self.transport.unread():
                    # What the peer said is here, only we have not come to read it (RFC 4271 asks for its silence).
                    self.session.heard(now)
                    continue
                self.feed(event)

    def _log_bad(self, reason: str, octets: bytes) -> None:
        shown = octets[:LOGGED_OCTETS].hex() + ("..." if len(octets) > LOGGED_OCTETS else "")
        logger.warning("message.malformed name=%s cause=%r octets=%s", self.peer.name, reason, shown)


def _over(notification: Notification, reason: str) -> None:
    """A reset of a session that has ended."""


def _local_address(transport: Transport) -> IPv4Address | IPv6Address | None:
    """Our end of the connection, where it has an address."""
    try:
        return ip_address(transport.local_address.partition("%")[0])
    except ValueError:
        return None
