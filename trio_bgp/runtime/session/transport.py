"""How octets get in and out of a connection: sockets for the daemon, any Trio stream for tests and embedding.

Trio's own exceptions stop here: a connection that is gone is `TransportClosed`, whoever ended it.
"""

import errno
import select
import socket
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

import trio

__all__ = ["SocketTransport", "StreamTransport", "Transport", "TransportClosed"]

MAXIMUM_CHUNKS: Final = 512
"""Buffers per gather write, half of Linux's IOV_MAX."""
STREAM_PIECE: Final = 16 * 1024
"""Octets per `send_all` on a stream: progress is counted, and a write can be given up, at this grain."""


class TransportClosed(Exception):  # noqa: N818 (an outcome, usually not an error)
    """The connection is gone; the message says why. Nothing more can be read or written."""


class Transport(ABC):
    """One connection, read by one task and written by one other."""

    peer_address: str
    local_address: str
    peer_port: int = 0
    """The other side's TCP port; 0 if there is none."""
    local_port: int = 0

    def __init__(self, peer_address: str, local_address: str) -> None:
        self.peer_address = peer_address
        self.local_address = local_address
        self.octets_sent = 0
        """Octets handed to the other side so far, partial writes included: how the send hold timer sees progress."""
        self.mid_write = False
        """A `send` is under way: what it got is not, or only in part, on its way."""

    @abstractmethod
    def receive_now(self, view: memoryview) -> int | None:
        """Read into `view` what is there: octets read, 0 at the end of the stream, None if nothing is there.

        Raises:
            TransportClosed: the connection broke.
        """

    @abstractmethod
    async def wait_readable(self) -> None:
        """Return when `receive_now` has something to say. Holds no buffer while it waits."""

    @abstractmethod
    def unread(self) -> bool:
        """Whether octets wait that `receive_now` would return at once."""

    def send_now(self, chunks: Sequence[memoryview | bytes]) -> int:
        """Write as much of the chunks as the system takes without waiting; only while no `send` is under way.

        Returns:
            octets written; 0 where a connection cannot do that, or is broken, which is for `send` to say.
        """
        return 0

    @abstractmethod
    async def send(self, chunks: Sequence[memoryview | bytes]) -> None:
        """Write all chunks in order, without joining them where the system can gather.

        Raises:
            TransportClosed: the connection broke; some octets may have been sent.
        """

    @abstractmethod
    def abort(self) -> None:
        """Close at once; a task that waits in another method gets `TransportClosed`. May be called again."""

    async def receive_into(self, view: memoryview) -> int:
        """Read into `view`, waiting until something is there; 0 at the end of the stream."""
        while (count := self.receive_now(view)) is None:
            await self.wait_readable()
        return count


class SocketTransport(Transport):
    """A connected TCP socket, used directly: Trio's wrapper would cost a checkpoint for each call.

    Args:
        connection: a connected Trio or standard socket; it belongs to the transport from here on.
    """

    def __init__(self, connection: trio.socket.SocketType | socket.socket) -> None:
        if not isinstance(connection, socket.socket):
            connection = socket.socket(connection.family, connection.type, connection.proto, connection.detach())
        connection.setblocking(False)
        self.socket = connection
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer, local = connection.getpeername(), connection.getsockname()
        super().__init__(_address(peer), _address(local))
        self.peer_port, self.local_port = _port(peer), _port(local)

    def receive_now(self, view: memoryview) -> int | None:
        """See `Transport.receive_now`."""
        try:
            return self.socket.recv_into(view)
        except BlockingIOError:
            return None
        except OSError as error:
            raise _closed(error) from None

    async def wait_readable(self) -> None:
        """See `Transport.wait_readable`."""
        try:
            await trio.lowlevel.wait_readable(self.socket)
        except (OSError, ValueError, trio.ClosedResourceError) as error:
            raise _closed(error) from None

    def unread(self) -> bool:
        """See `Transport.unread`."""
        if self.socket.fileno() < 0:
            return False
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        return bool(poll.poll(0))

    def send_now(self, chunks: Sequence[memoryview | bytes]) -> int:
        """See `Transport.send_now`."""
        try:
            sent = self.socket.send(chunks[0]) if len(chunks) == 1 else self.socket.sendmsg(chunks[:MAXIMUM_CHUNKS])
        except OSError:
            return 0
        self.octets_sent += sent
        return sent

    async def send(self, chunks: Sequence[memoryview | bytes]) -> None:
        """See `Transport.send`."""
        self.mid_write = True
        pending: list[memoryview | bytes] = list(chunks)
        try:
            while pending:
                try:
                    if len(pending) == 1:
                        sent = self.socket.send(pending[0])
                    else:
                        sent = self.socket.sendmsg(pending[:MAXIMUM_CHUNKS])
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(self.socket)
                    continue
                self.octets_sent += sent
                whole = 0
                for chunk in pending:
                    if sent < len(chunk):
                        break
                    sent -= len(chunk)
                    whole += 1
                del pending[:whole]
                if sent:
                    pending[0] = memoryview(pending[0])[sent:]
        except (OSError, ValueError, trio.ClosedResourceError) as error:
            raise _closed(error) from None
        self.mid_write = False

    def abort(self) -> None:
        """See `Transport.abort`."""
        if self.socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self.socket)
            self.socket.close()


class StreamTransport(Transport):
    """Any Trio stream, for tests and embedded speakers.

    Args:
        stream: belongs to the transport from here on.
        peer_address: what the other side is taken to be; there is nothing to read it from.
        local_address: likewise for this side.
    """

    def __init__(self, stream: trio.abc.Stream, *, peer_address: str, local_address: str = "127.0.0.1") -> None:
        super().__init__(peer_address, local_address)
        self._stream = stream
        self._received: bytes | bytearray | None = None
        self._aborted = False

    def receive_now(self, view: memoryview) -> int | None:
        """See `Transport.receive_now`."""
        if self._aborted:
            raise TransportClosed("closed")
        if self._received is None:
            return None
        count = min(len(view), len(self._received))
        view[:count] = self._received[:count]
        if count or not self._received:
            rest = self._received[count:]
            self._received = rest if rest or not count else None
        return count

    async def wait_readable(self) -> None:
        """See `Transport.wait_readable`."""
        if self._aborted:
            raise TransportClosed("closed")
        if self._received is not None:
            return
        try:
            self._received = await self._stream.receive_some(65536)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise _closed(error) from None

    def unread(self) -> bool:
        """See `Transport.unread`."""
        return self._received is not None

    async def send(self, chunks: Sequence[memoryview | bytes]) -> None:
        """See `Transport.send`."""
        self.mid_write = True
        octets = memoryview(b"".join(chunks))
        try:
            for start in range(0, len(octets), STREAM_PIECE):
                piece = octets[start : start + STREAM_PIECE]
                await self._stream.send_all(piece)
                self.octets_sent += len(piece)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise _closed(error) from None
        self.mid_write = False

    def abort(self) -> None:
        """See `Transport.abort`."""
        if not self._aborted:
            self._aborted = True
            # Closing a stream is a coroutine; a system task may run it when no task of ours is left to wait for it.
            trio.lowlevel.spawn_system_task(trio.aclose_forcefully, self._stream)


def _address(name: object) -> str:
    """The host part of what getpeername() says; a scope id (fe80::1%eth0) is kept."""
    if isinstance(name, tuple) and name:
        return str(name[0])
    return str(name) if name else "local"


def _port(name: object) -> int:
    return int(name[1]) if isinstance(name, tuple) and len(name) > 1 else 0


def _closed(error: BaseException) -> TransportClosed:
    """What the end of a connection is called in logs: the system's own words where it has some."""
    if isinstance(error, OSError) and error.errno is not None:
        return TransportClosed(f"{errno.errorcode.get(error.errno, error.errno)}: {error.strerror}")
    return TransportClosed(str(error) or type(error).__name__)
