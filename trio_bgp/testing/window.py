"""A connection with a limited window, as TCP has: who does not read is felt by who writes."""

import contextlib
import operator
from collections.abc import Callable, Iterator

import trio
from trio.lowlevel import ParkingLot

__all__ = ["window_stream_pair"]


class _Direction:
    """Octets under way in one direction."""

    def __init__(self, window: int) -> None:
        self.window = window
        self.octets = bytearray()
        self.ended = False
        """The writer has closed: what is under way arrives, then the end of the stream."""
        self.gone = False
        """The reader has closed."""
        self.changed = ParkingLot()

    async def until(self, ready: Callable[[], bool]) -> None:
        await trio.lowlevel.checkpoint()
        while not ready():
            await self.changed.park()

    def touch(self) -> None:
        self.changed.unpark_all()


class _Once:
    """Lets one task in at a time, and tells a second so, as Trio's streams do."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._held = False

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        if self._held:
            raise trio.BusyResourceError(f"another task is {self._what} this stream")
        self._held = True
        try:
            yield
        finally:
            self._held = False


class _WindowStream(trio.abc.Stream):
    """One end."""

    def __init__(self, outgoing: _Direction, incoming: _Direction) -> None:
        self._outgoing = outgoing
        self._incoming = incoming
        self._sending = _Once("sending on")
        self._receiving = _Once("receiving from")

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `trio.abc.SendStream.send_all`; waits while the window is full."""
        with self._sending():
            way = self._outgoing
            rest = bytes(data)
            while True:
                await self._writable()
                room = way.window - len(way.octets)
                way.octets += rest[:room]
                rest = rest[room:]
                way.touch()
                if not rest:
                    return

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream`."""
        with self._sending():
            await self._writable()

    async def _writable(self) -> None:
        way = self._outgoing
        await way.until(lambda: way.gone or way.ended or len(way.octets) < way.window)
        if way.ended:
            raise trio.ClosedResourceError
        if way.gone:
            raise trio.BrokenResourceError("the other side has closed")

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See `trio.abc.ReceiveStream.receive_some`."""
        if max_bytes is not None and operator.index(max_bytes) < 1:
            raise ValueError("max_bytes must be at least 1")
        with self._receiving():
            way = self._incoming
            await way.until(lambda: way.gone or way.ended or bool(way.octets))
            if way.gone:
                raise trio.ClosedResourceError
            octets = bytes(way.octets[:max_bytes])
            del way.octets[:max_bytes]
            way.touch()
            return octets

    async def aclose(self) -> None:
        """Close both directions; what has been sent still arrives."""
        self._outgoing.ended = self._incoming.gone = True
        self._outgoing.touch()
        self._incoming.touch()
        await trio.lowlevel.checkpoint()


def window_stream_pair(window: int) -> tuple[trio.abc.Stream, trio.abc.Stream]:
    """Two streams connected to each other, with at most `window` octets under way in each direction."""
    there, back = _Direction(window), _Direction(window)
    return _WindowStream(there, back), _WindowStream(back, there)
