"""What waits to be sent to one peer, and the write task that sends it.

One Trio memory channel in front of one task that owns the writing side of the connection. What is queued together goes
out together: a gather write over the shared buffers, whose references are released when the kernel has the octets.

To wake a task for each message costs more than the message. So while the forwarder handles a command, what it puts is
held back (`Cork`); then it goes to the connection at once if the write task has nothing to do, and what the connection
does not take goes through the channel.
"""

import math
from collections.abc import Callable, Sequence
from typing import Final

import trio

from trio_bgp.passthrough.message import PassthroughMessage
from trio_bgp.routing.group import OutboundQueue
from trio_bgp.runtime.session.transport import Transport

__all__ = ["Cork", "Outbound", "Tap"]

WRITE_OCTETS: Final = 512 * 1024
"""What one gather write takes from the queue, about."""
WRITE_CHUNKS: Final = 256
"""And in how many pieces at most: a drain loop must end."""


class Cork:
    """Holds messages back while the forwarder handles a command, and knows for whom."""

    def __init__(self) -> None:
        self.active = False
        """Messages put now are held back, because `flush` is certain to follow."""
        self.outbounds: list[Outbound] = []

    def flush(self) -> bool:
        """Send what was held back; whether there was anything."""
        self.active = False
        outbounds, self.outbounds = self.outbounds, []
        for outbound in outbounds:
            outbound.flush()
        return bool(outbounds)


class Outbound:
    """The sending side of a session.

    The channel has no bound of its own: who puts route updates looks at `queued` first and feeds a peer that is behind
    from the RIB instead (see `trio_bgp.runtime.forwarder`), so what waits here stays near the peer's `queue_limit`.

    Args:
        transport: the connection; the write task is its only writer, or, while that waits for work, `flush`.
        cork: says when messages are held back, and flushes; None: they never are.
    """

    def __init__(self, transport: Transport, cork: Cork | None = None) -> None:
        self._transport = transport
        self._cork = cork
        self._held: list[PassthroughMessage] = []
        self._idle = False  # the write task waits for something to do
        self._begun = 0  # octets of what it takes next that have been sent
        self._put, self._take = trio.open_memory_channel[bytes | PassthroughMessage](math.inf)
        self._closed = False
        self.queued = 0
        """Octets put and not yet sent."""
        self.waiting = 0
        """And in how many pieces."""
        self.octets_put = 0
        self.octets_taken = 0
        """Octets put, ever, and of these sent or given up."""
        self._mark: tuple[float, int] | None = None
        self._last_lag = 0.0
        self.messages_sent = 0
        self.finished = trio.Event()
        """Set when the write task has ended."""
        self.drained: Callable[[], None] | None = None
        """Called by the write task after each write; the forwarder watches for room here."""
        self.sent: Callable[[bytes], None] | None = None
        """Called by the write task with a copy of what it has written: whole messages."""

    def put(self, item: bytes | PassthroughMessage) -> None:
        """Queue whole messages; takes over the caller's reference. After `close` they are released unsent."""
        if self._closed:
            if item.__class__ is not bytes:
                item.release()  # type: ignore[union-attr]
            return
        size = len(item)
        self.queued += size
        self.waiting += 1
        self.octets_put += size
        if item.__class__ is bytes:
            # A session's own messages come from any task, and nothing put before them may be left behind.
            self.flush()
        elif self._held or (self._cork is not None and self._cork.active and self._idle):
            if not self._held and self._cork is not None:
                self._cork.outbounds.append(self)
            self._held.append(item)  # type: ignore[arg-type]
            return
        self._pass_to_task(item)

    def put_all(self, items: Sequence[PassthroughMessage]) -> None:
        """`put` each, in order."""
        corked = self._cork is not None and self._cork.active and self._idle
        if self._closed or not (self._held or corked):
            for item in items:
                self.put(item)
            return
        size = sum([len(item.octets) for item in items])
        self.queued += size
        self.octets_put += size
        self.waiting += len(items)
        if not self._held and self._cork is not None:
            self._cork.outbounds.append(self)
        self._held += items

    def _pass_to_task(self, item: bytes | PassthroughMessage) -> None:
        self._idle = False
        if self._mark is None:
            self._mark = (trio.current_time(), self.octets_put)
        self._put.send_nowait(item)

    def flush(self) -> None:
        """Send what was held back, as far as the connection takes it at once; the rest is the write task's."""
        held, self._held = self._held, []
        if not held:
            return
        sent = 0
        self._last_lag = 0.0
        if self._idle:
            sent = self._transport.send_now([item.octets for item in held])
        whole = 0
        for item in held:
            if len(item) > sent:
                break
            sent -= len(item)
            whole += 1
        if whole:
            self._account(held[:whole])
        self._begun = sent
        for item in held[whole:]:
            if self._closed:
                self.queued -= len(item)
                self.waiting -= 1
                item.release()
            else:
                self._pass_to_task(item)

    def _account(self, items: Sequence[bytes | PassthroughMessage]) -> None:
        """Whole messages have been sent: release them."""
        size = 0
        if self.sent is not None:
            self.sent(b"".join(item if isinstance(item, bytes) else item.octets for item in items))
        for item in items:
            size += len(item)
            if isinstance(item, bytes):
                self.messages_sent += 1
            else:
                self.messages_sent += item.count
                item.release()
        self.queued -= size
        self.waiting -= len(items)
        self.octets_taken += size
        if self._mark is not None and self.octets_taken >= self._mark[1]:
            self._last_lag = trio.current_time() - self._mark[0]
            self._mark = None

    def lag(self, now: float) -> float:
        """Seconds that octets wait here until the system takes them: of a sample, the last or one still waiting."""
        return self._last_lag if self._mark is None else max(self._last_lag, now - self._mark[0])

    def close(self) -> None:
        """Take no more; `run` returns when what is queued has been sent."""
        if not self._closed:
            self._closed = True
            self._put.close()

    def discard(self) -> None:
        """Release all that is queued. What the write task has already taken is not affected."""
        held, self._held = self._held, []
        for each in held:
            self.queued -= len(each)
            self.waiting -= 1
            each.release()
        while True:
            try:
                item = self._take.receive_nowait()
            except (trio.WouldBlock, trio.EndOfChannel, trio.ClosedResourceError):
                return
            self.queued -= len(item)
            self.waiting -= 1
            if isinstance(item, PassthroughMessage):
                item.release()

    async def run(self) -> None:
        """The write task: send until closed and empty. On every way out, all references it has are released.

        Raises:
            TransportClosed: the connection broke.
        """
        taken: list[bytes | PassthroughMessage] = []
        take = self._take
        try:
            while True:
                try:
                    item = take.receive_nowait()
                except trio.WouldBlock:
                    self._idle = True
                    try:
                        item = await take.receive()
                    except trio.EndOfChannel:
                        return
                except trio.EndOfChannel:
                    return
                taken.append(item)
                size = len(item)
                while size < WRITE_OCTETS and len(taken) < WRITE_CHUNKS:
                    try:
                        item = take.receive_nowait()
                    except (trio.WouldBlock, trio.EndOfChannel):
                        break
                    taken.append(item)
                    size += len(item)
                chunks = [item if isinstance(item, bytes) else item.octets for item in taken]
                if self._begun:
                    chunks[0] = memoryview(chunks[0])[self._begun :]
                    self._begun = 0
                await self._transport.send(chunks)
                self._account(taken)
                taken.clear()
                if self.drained is not None:
                    self.drained()
        finally:
            self._closed = True
            self._idle = False
            for item in taken:
                if isinstance(item, PassthroughMessage):
                    item.release()
            # Closing a Trio receive channel forgets what is queued in it, references and all.
            self.discard()
            self._put.close()
            self._take.close()
            self.finished.set()


class Tap:
    """In place of a member's outbound queue: what goes in is also shown to somebody."""

    def __init__(self, queue: OutboundQueue, show: Callable[[PassthroughMessage], None]) -> None:
        self.queue = queue
        self._show = show

    @property
    def queued(self) -> int:
        """See `OutboundQueue`."""
        return self.queue.queued

    @queued.setter
    def queued(self, octets: int) -> None:
        self.queue.queued = octets

    @property
    def waiting(self) -> int:
        """See `OutboundQueue`."""
        return self.queue.waiting

    @waiting.setter
    def waiting(self, pieces: int) -> None:
        self.queue.waiting = pieces

    @property
    def drained(self) -> Callable[[], None] | None:
        """See `OutboundQueue`."""
        return self.queue.drained

    @drained.setter
    def drained(self, call: Callable[[], None] | None) -> None:
        self.queue.drained = call

    def put(self, item: bytes | PassthroughMessage) -> None:
        """See `OutboundQueue`."""
        if isinstance(item, PassthroughMessage):
            self._show(item)
        self.queue.put(item)

    def put_all(self, items: Sequence[PassthroughMessage]) -> None:
        """See `OutboundQueue`."""
        for item in items:
            self._show(item)
        self.queue.put_all(items)
