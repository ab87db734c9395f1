"""A session that only says something: no RIB, no other peers, whatever the other side announces is counted."""

from math import inf
from typing import Final

import trio

from trio_bgp.passthrough.pool import BufferPool
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
    ManualStart,
    ManualStop,
    MessageError,
    NotifMsg,
    RouteRefreshMsg,
    Send,
    TcpConnectionFails,
    TcpCrAcked,
    UpdateMsg,
)
from trio_bgp.session.fsm import Session
from trio_bgp.session.negotiation import Negotiated
from trio_bgp.settings import PeerSettings, SpeakerSettings
from trio_bgp.wire.header import HEADER_LENGTH
from trio_bgp.wire.notification import Notification, NotificationError, decode_notification, encode_notification
from trio_bgp.wire.numbers import MessageType
from trio_bgp.wire.open import decode_open
from trio_bgp.wire.route_refresh import decode_route_refresh

__all__ = ["Dialogue"]

QUEUE_OCTETS: Final = 1 << 20
"""With so many waiting to be sent, whoever has more to say waits."""
GOODBYE_SECONDS: Final = 5.0


class Dialogue:
    """One session over a connection that was opened to somebody.

    Args:
        speaker: who we are.
        peer: who the other side is to be.
        transport: the connection; belongs to this object.
    """

    def __init__(self, speaker: SpeakerSettings, peer: PeerSettings, transport: Transport) -> None:
        self.established = trio.Event()
        self.ended = trio.Event()
        self.closed: Close | None = None
        self.updates_received = 0
        self._transport = transport
        self._session = Session(speaker, peer)
        self._outbound = Outbound(transport)
        self._outbound.drained = self._drained
        self._reader = MessageReader(transport, BufferPool())
        self._room = trio.Event()
        self._timers = trio.CancelScope()
        self._sleeping_until = inf

    @property
    def negotiated(self) -> Negotiated:
        """What both sides agreed on, once `established` is set."""
        if self._session.negotiated is None:
            raise AssertionError("not established")
        return self._session.negotiated

    async def run(self) -> Close:
        """Run the session to its end; the connection is closed on return."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                nursery.start_soon(self._read)
                nursery.start_soon(self._watch_timers)
                self._feed(ManualStart())
                self._feed(TcpCrAcked())
                await self.ended.wait()
                await self._say_goodbye()
                nursery.cancel_scope.cancel()
        finally:
            self._transport.abort()
            self._reader.close()
            self._outbound.discard()
            self.ended.set()
            self._room.set()
        return self.closed or Close("cancelled")

    async def put(self, octets: bytes) -> bool:
        """Say whole messages, waiting while the other side does not take what was said before; False at the end."""
        while self._outbound.queued > QUEUE_OCTETS and not self.ended.is_set():
            await self._room.wait()
        if not self.ended.is_set():
            self._outbound.put(octets)
        return not self.ended.is_set()

    async def drain(self) -> bool:
        """Wait until the system has taken all that was said; False if the session ends before."""
        while self._outbound.queued and not self.ended.is_set():
            await self._room.wait()
        return not self.ended.is_set()

    def stop(self, notification: Notification) -> None:
        """End the session, telling the other side why, behind all that was said."""
        self._feed(ManualStop(notification))

    def _drained(self) -> None:
        self._room.set()
        self._room = trio.Event()

    def _feed(self, event: Event) -> None:
        for output in self._session.handle(event, trio.current_time()):
            if isinstance(output, Send):
                self._outbound.put(output.octets)
            elif isinstance(output, Established):
                self._reader.maximum = output.negotiated.maximum_length
                self.established.set()
            elif isinstance(output, Close) and self.closed is None:
                self.closed = output
                self.ended.set()
                self._room.set()
        if self._session.next_deadline() < self._sleeping_until:
            self._timers.cancel()

    async def _say_goodbye(self) -> None:
        with trio.move_on_after(GOODBYE_SECONDS, shield=True):
            if self.closed is not None and self.closed.notification is not None:
                if not self.closed.manual:
                    self._outbound.discard()
                self._outbound.put(encode_notification(self.closed.notification))
            self._outbound.close()
            await self._outbound.finished.wait()

    async def _write(self) -> None:
        try:
            await self._outbound.run()
        except TransportClosed as error:
            self._feed(TcpConnectionFails(f"connection lost: {error}"))

    async def _read(self) -> None:
        try:
            while not self.ended.is_set():
                batch = await self._reader.receive_batch()
                if batch is None:
                    self._feed(TcpConnectionFails("connection closed by the other side"))
                    return
                try:
                    self._take(batch)
                finally:
                    batch.release()
        except TransportClosed as error:
            self._feed(TcpConnectionFails(f"connection lost: {error}"))

    def _take(self, batch: Batch) -> None:
        for index in batch.others:
            if not self.ended.is_set():
                self._message(batch.octets(index))
        updates = len(batch.offsets) - len(batch.others)
        if updates and not self.ended.is_set():
            self.updates_received += updates
            self._feed(UpdateMsg())
        if batch.error is not None and not self.ended.is_set():
            self._feed(MessageError(batch.error))

    def _message(self, octets: bytes) -> None:
        body = octets[HEADER_LENGTH:]
        kind = octets[18]
        try:
            if kind == MessageType.KEEPALIVE:
                self._feed(KeepAliveMsg())
            elif kind == MessageType.OPEN:
                self._feed(BgpOpen(decode_open(body)))
            elif kind == MessageType.NOTIFICATION:
                self._feed(NotifMsg(decode_notification(body)))
            elif kind == MessageType.ROUTE_REFRESH:
                decode_route_refresh(body)
                self._feed(RouteRefreshMsg())  # what was said cannot be said again
        except NotificationError as error:
            self._feed(MessageError(error))

    async def _watch_timers(self) -> None:
        sent = 0
        while True:
            with trio.CancelScope() as self._timers:
                self._sleeping_until = self._session.next_deadline()
                await trio.sleep_until(self._sleeping_until)
            if self.ended.is_set():
                await trio.sleep_forever()
            now = trio.current_time()
            if self._transport.octets_sent != sent or not self._outbound.queued:
                sent = self._transport.octets_sent
                self._session.sent(now)
            for event in self._session.timers_due(now):
                if isinstance(event, HoldTimerExpires) and self._transport.unread():
                    self._session.heard(now)
                    continue
                self._feed(event)
