"""From a connection to batches of whole messages: large reads into pooled slabs, framed in place."""

from typing import Final

from trio_bgp.passthrough.mask import NO_REQUIREMENT
from trio_bgp.passthrough.message import PassthroughMessage
from trio_bgp.passthrough.pool import LARGE_SLAB, SMALL_SLAB, BufferPool, Slab
from trio_bgp.runtime.session.transport import Transport
from trio_bgp.wire.header import scan
from trio_bgp.wire.notification import NotificationError
from trio_bgp.wire.numbers import MAXIMUM_MESSAGE_LENGTH

__all__ = ["Batch", "MessageReader"]

LEAST_READ: Final = 64 * 1024
"""Rather than read less than this into what is left of a large slab, a new one is begun."""


class Batch:
    """The whole messages that one read brought.

    Attributes:
        message: all of them as one `PassthroughMessage`; its reference belongs to whoever holds the batch.
        offsets: where each begins in the slab, in octets; each ends where the next begins, the last at `message.end`.
        others: indices into `offsets` of the messages that are not UPDATEs.
        error: why the stream cannot be followed beyond these messages, if so.
    """

    __slots__ = ("error", "message", "offsets", "others")

    def __init__(
        self, message: PassthroughMessage, offsets: list[int], others: list[int], error: NotificationError | None
    ) -> None:
        self.message = message
        self.offsets = offsets
        self.others = others
        self.error = error

    def kind(self, index: int) -> int:
        """The type of message `index`."""
        slab = self.message.slab
        if slab is None:
            raise AssertionError("the batch was released")
        return slab.data[self.offsets[index] + 18]

    def octets(self, index: int) -> bytes:
        """A copy of message `index`, header included."""
        slab = self.message.slab
        if slab is None:
            raise AssertionError("the batch was released")
        end = self.offsets[index + 1] if index + 1 < len(self.offsets) else self.message.end
        return bytes(slab.view[self.offsets[index] : end])

    def split(self, first: int, last: int) -> "Batch":
        """Messages `first` to `last - 1` (at least one) as a batch of UPDATEs with a reference of its own."""
        slab = self.message.slab
        if slab is None:
            raise AssertionError("the batch was released")
        end = self.offsets[last] if last < len(self.offsets) else self.message.end
        message = PassthroughMessage(slab, self.offsets[first], end, last - first, NO_REQUIREMENT)
        return Batch(message, self.offsets[first:last], [], None)

    def release(self) -> None:
        """Give the batch's reference back."""
        self.message.release()


class MessageReader:
    """Reads one connection. While nothing is expected to arrive it holds no slab.

    Args:
        transport: the connection; this is its only reader.
        pool: where the slabs come from.
    """

    def __init__(self, transport: Transport, pool: BufferPool) -> None:
        self._transport = transport
        self._pool = pool
        self._maximum = MAXIMUM_MESSAGE_LENGTH
        self._size = SMALL_SLAB
        self._slab: Slab | None = None
        self._start = 0  # of the octets not yet handed out
        self._fill = 0  # where the next read goes
        self._drained = True  # nothing is there to read, as far as is known
        self.octets_received = 0

    @property
    def maximum(self) -> int:
        """The longest message the other side may send, in octets with header; 4096 until an OPEN says otherwise."""
        return self._maximum

    @maximum.setter
    def maximum(self, octets: int) -> None:
        self._maximum = octets
        self._size = LARGE_SLAB

    async def receive_batch(self) -> Batch | None:
        """The next whole messages, at least one unless `error` is set; None at the end of the stream.

        Raises:
            TransportClosed: the connection broke.
        """
        while True:
            if self._drained:
                if self._start == self._fill:
                    self.close()
                await self._transport.wait_readable()
            slab = self._make_room()
            room = len(slab.data) - self._fill
            count = self._transport.receive_now(slab.view[self._fill :])
            # After less than there was room for, nothing more is there: it is waited for rather than asked again.
            self._drained = count is None or count < room
            if count is None:
                continue
            if count == 0:
                self.close()
                return None
            self.octets_received += count
            self._fill += count
            found = scan(slab.data, self._start, self._fill, self._maximum)
            if not found.offsets and found.error is None:
                continue
            message = PassthroughMessage(slab, self._start, found.end, len(found.offsets), NO_REQUIREMENT)
            self._start = found.end
            return Batch(message, found.offsets, found.others, found.error)

    def close(self) -> None:
        """Give the slab back; octets of a message that is not whole yet are forgotten."""
        if self._slab is not None:
            self._slab.release()
            self._slab = None

    def _make_room(self) -> Slab:
        """The slab to read into, with the unfinished message (if any) at `_start` and a good read's room behind it."""
        slab = self._slab
        if slab is None:
            slab = self._slab = self._pool.take(self._size)
            self._start = self._fill = 0
            return slab
        partial = self._fill - self._start
        if slab.refs == 1 and len(slab.data) == self._size:
            # Nobody else looks at this slab: it can be used from its beginning again.
            if self._start:
                slab.data[:partial] = slab.data[self._start : self._fill]
                self._start, self._fill = 0, partial
            return slab
        if len(slab.data) == self._size and len(slab.data) - self._fill >= min(LEAST_READ, self._size // 2):
            return slab
        fresh = self._pool.take(self._size)
        fresh.data[:partial] = slab.data[self._start : self._fill]
        slab.release()
        self._slab = fresh
        self._start, self._fill = 0, partial
        return fresh
