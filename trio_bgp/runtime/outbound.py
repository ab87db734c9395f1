"""What waits to be sent to one peer, and the write task that sends it.

One Trio memory channel in front of one task that owns the writing side of the connection. What is queued together goes
out together: a gather write over the shared buffers, whose references are released when the kernel has the octets.
"""

import math
from collections.abc import Callable
from typing import Final

import trio

from trio_bgp.passthrough.message import PassthroughMessage
from trio_bgp.runtime.transport import Transport

__all__ = ["Outbound"]

WRITE_OCTETS: Final = 512 * 1024
"""What one gather write takes from the queue, about."""
WRITE_CHUNKS: Final = 256
"""And in how many pieces at most: a drain loop must end."""


class Outbound:
    """The sending side of a session.

    The channel has no bound of its own: who puts route updates looks at `queued` first and feeds a peer that is behind
    from the RIB instead (see `trio_bgp.runtime.forwarder`), so what waits here stays near the peer's `queue_limit`.

    Args:
        transport: the connection; the write task is its only writer.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
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
        if self._mark is None:
            self._mark = (trio.current_time(), self.octets_put)
        self._put.send_nowait(item)

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
                    item = await take.receive()
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
                await self._transport.send([item if isinstance(item, bytes) else item.octets for item in taken])
                if self.sent is not None:
                    self.sent(b"".join(item if isinstance(item, bytes) else item.octets for item in taken))
                for item in taken:
                    if isinstance(item, bytes):
                        self.messages_sent += 1
                    else:
                        self.messages_sent += item.count
                        item.release()
                self.waiting -= len(taken)
                taken.clear()
                self.queued -= size
                self.octets_taken += size
                if self._mark is not None and self.octets_taken >= self._mark[1]:
                    self._last_lag = trio.current_time() - self._mark[0]
                    self._mark = None
                if self.drained is not None:
                    self.drained()
        finally:
            self._closed = True
            for item in taken:
                if isinstance(item, PassthroughMessage):
                    item.release()
            # Closing a Trio receive channel forgets what is queued in it, references and all.
            self.discard()
            self._put.close()
            self._take.close()
            self.finished.set()
