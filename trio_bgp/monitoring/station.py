"""One BMP station: connecting to it, sending what it is to be told, and beginning anew when it cannot follow."""

import errno
import logging
import os
import random
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, Protocol

import trio

from trio_bgp.routing.group import Member
from trio_bgp.runtime.session.transport import SocketTransport, Transport, TransportClosed
from trio_bgp.settings import BmpStationSettings, MonitoredRib

__all__ = ["ConnectStation", "Station", "StationOwner", "connect_station"]

logger = logging.getLogger("trio_bgp.bmp")

ConnectStation = Callable[[BmpStationSettings], Awaitable[Transport]]
"""Opens a connection to a station; raises OSError or TransportClosed."""

CONNECT_SECONDS: Final = 30.0
RETRY_STEPS: Final = 4
"""The first retry comes after connect_retry_time / 2**(RETRY_STEPS - 1), about; each further one after twice that."""
LOW_WATER: Final = 1024 * 1024
"""Octets queued below which a dump goes on."""
WRITE_OCTETS: Final = 512 * 1024
WRITE_CHUNKS: Final = 256
"""What one gather write takes from the queue, about."""


class StationOwner(Protocol):
    """Who knows what is to be told (`trio_bgp.monitoring.bmp.Stations`)."""

    def begin(self, station: "Station") -> None:
        """The station is connected and knows nothing yet."""

    def end(self, station: "Station") -> None:
        """The connection is gone."""

    def report(self, station: "Station") -> None:
        """It is time for Statistics Reports."""


class Station:
    """A station and its connection, if there is one.

    Whoever has something to tell calls `put`, which never blocks. When more than `queue_limit` octets wait the
    connection is closed, what waits is forgotten, and the next connection begins with all there is then.

    Args:
        settings: which station, and what it is told.
        connect: opens connections to it.
        owner: told of them.
        rng: for timer jitter.

    Attributes:
        state: `waiting` for the next attempt, `connecting` or `up`.
        sessions: connections that came up, ever.
        messages_sent: whole messages handed to the system, in all connections.
        messages_dropped: those that waited when a connection ended, and were not sent.
        overflows: how often too much waited.
        queued: octets that wait.
        up_since: when the connection came up, on Trio's clock.
        last_end: how the last connection, or attempt, ended.
    """

    def __init__(
        self, settings: BmpStationSettings, *, connect: ConnectStation, owner: StationOwner, rng: random.Random
    ) -> None:
        self.settings = settings
        self.state = "waiting"
        self.sessions = 0
        self.messages_sent = 0
        self.messages_dropped = 0
        self.octets_sent = 0
        self.overflows = 0
        self.queued = 0
        self.up_since = 0.0
        self.last_end = ""
        self.finished = trio.Event()
        """Set when nothing of it is left."""
        self._connect = connect
        self._owner = owner
        self._rng = rng
        self._failures = 0
        self._queue: deque[bytes] = deque()
        self._dumps: deque[Iterable[list[bytes]]] = deque()
        self._changed = trio.Event()
        self._scope = trio.CancelScope()
        self._open = False
        self._reason = ""
        self._stopped = trio.Event()

    @property
    def name(self) -> str:
        """What logs call it."""
        return str(self.settings.address)

    def wants(self, rib: MonitoredRib, member: Member | None) -> bool:
        """Whether it is told of a RIB (of a peer; None: the Loc-RIB)."""
        if rib not in self.settings.monitor:
            return False
        return member is None or not self.settings.peers or member.settings.name in self.settings.peers

    def wants_peer(self, member: Member) -> bool:
        """Whether it is told of a peer at all."""
        return any(rib is not MonitoredRib.LOC_RIB and self.wants(rib, member) for rib in self.settings.monitor)

    def put(self, message: bytes) -> None:
        """Queue a message. Never blocks; nothing happens if there is no connection."""
        if not self._open:
            return
        if self.queued + len(message) > self.settings.queue_limit:
            self.overflows += 1
            self.messages_dropped += 1
            self._end(f"more than {self.settings.queue_limit} octets wait for it")
            return
        self._queue.append(message)
        self.queued += len(message)
        self._changed.set()

    def put_dump(self, dump: Iterable[list[bytes]]) -> None:
        """Queue what a dump yields, step by step, each when there is room; another that goes on comes first."""
        if self._open:
            self._dumps.append(dump)
            self._changed.set()

    def fail(self, reason: str) -> None:
        """Close the connection, if there is one, and begin anew."""
        self._end(reason)

    def stop(self, last: bytes) -> None:
        """Send what waits and `last`, then close the connection and make no other."""
        self._stopped.set()
        if self._open:
            self._dumps.clear()
            self.put(last)
            self._open = False
            self._changed.set()
        else:
            self._scope.cancel()

    async def run(self) -> None:
        """Keep a connection with the station until `stop`."""
        try:
            while not self._stopped.is_set():
                try:
                    await self._session()
                except* Exception as group:
                    # A bug here is this station's misfortune.
                    logger.error("bmp.crashed station=%s", self.name, exc_info=group)
                    self.last_end = "a bug: see the log"
                    self._failures += 1
                if not self._stopped.is_set():
                    with trio.move_on_after(self._delay()):
                        await self._stopped.wait()
        finally:
            self.finished.set()

    def _delay(self) -> float:
        step = max(0, RETRY_STEPS - self._failures)
        return self.settings.connect_retry_time / (1 << step) * self._rng.uniform(0.75, 1.0)

    async def _session(self) -> None:
        """One attempt to connect, and all of the connection."""
        self._reason = ""
        served = False
        with trio.CancelScope() as self._scope:
            self.state = "connecting"
            try:
                with trio.fail_after(CONNECT_SECONDS):
                    transport = await self._connect(self.settings)
            except (OSError, TransportClosed, trio.TooSlowError) as error:
                self.state = "waiting"
                cause = getattr(error, "strerror", None) or str(error) or f"nothing within {CONNECT_SECONDS:g} s"
                self.last_end = f"cannot connect: {cause}"
                log = logger.debug if self._failures else logger.warning
                log("bmp.connect_failed station=%s cause=%r", self.name, cause)
                self._failures += 1
                return
            served = True
            try:
                await self._serve(transport)
            finally:
                self.messages_dropped += len(self._queue)
                self._open = False
                self._queue.clear()
                self._dumps.clear()
                self.queued = 0
                self.state = "waiting"
                transport.abort()
        if not served:
            return  # told to stop while it connected
        self.last_end = self._reason
        lasted = trio.current_time() - self.up_since
        self._failures = 1 if lasted >= self.settings.connect_retry_time else self._failures + 1
        logger.log(
            logging.INFO if self._stopped.is_set() else logging.WARNING,
            "bmp.down station=%s reason=%r",
            self.name,
            self._reason,
        )

    async def _serve(self, transport: Transport) -> None:
        self.state = "up"
        self.sessions += 1
        self.up_since = trio.current_time()
        self.queued = 0
        self._open = True
        logger.info("bmp.up station=%s monitor=%s", self.name, ",".join(rib.value for rib in self.settings.monitor))
        try:
            self._owner.begin(self)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, transport)
                nursery.start_soon(self._read, transport)
                nursery.start_soon(self._dump)
                if self.settings.statistics_interval:
                    nursery.start_soon(self._report)
        finally:
            self._owner.end(self)

    def _end(self, reason: str) -> None:
        if not self._reason:
            self._reason = reason
        self._open = False
        # The memory is wanted at once.
        self.messages_dropped += len(self._queue)
        self._queue.clear()
        self._scope.cancel()

    async def _write(self, transport: Transport) -> None:
        while True:
            if not self._queue:
                if self._stopped.is_set():
                    self._end("stopped")
                    return
                await self._change()
                continue
            chunks: list[bytes] = []
            size = 0
            while self._queue and size < WRITE_OCTETS and len(chunks) < WRITE_CHUNKS:
                chunks.append(self._queue.popleft())
                size += len(chunks[-1])
            try:
                await transport.send(chunks)
            except TransportClosed as error:
                self._end(f"connection lost: {error}")
                return
            self.messages_sent += len(chunks)
            self.octets_sent += size
            self.queued -= size
            self._changed.set()
            await trio.lowlevel.checkpoint()

    async def _read(self, transport: Transport) -> None:
        """Notice the end of the connection; a station has nothing to say (RFC 7854, section 3.2)."""
        buffer = memoryview(bytearray(4096))
        try:
            while await transport.receive_into(buffer):
                await trio.lowlevel.checkpoint()
            self._end("closed by the station")
        except TransportClosed as error:
            self._end(f"connection lost: {error}")

    async def _dump(self) -> None:
        while True:
            while not self._dumps:
                await self._change()
            for messages in self._dumps[0]:
                for message in messages:
                    self.put(message)
                await trio.lowlevel.checkpoint()
                while self.queued > min(LOW_WATER, self.settings.queue_limit // 2):
                    await self._change()
            if self._dumps:
                self._dumps.popleft()

    async def _report(self) -> None:
        while True:
            await trio.sleep(self.settings.statistics_interval)
            self._owner.report(self)

    async def _change(self) -> None:
        """Wait until something is queued or sent."""
        if self._changed.is_set():
            self._changed = trio.Event()
        await self._changed.wait()


async def connect_station(settings: BmpStationSettings) -> SocketTransport:
    """Open a TCP connection to a station.

    Raises:
        OSError: it could not be opened.
    """
    endpoint = settings.address
    family = socket.AF_INET6 if endpoint.address.version == 6 else socket.AF_INET
    connection = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        # A station that vanished without a word is noticed even when there is nothing to tell.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        await connection.connect((str(endpoint.address), endpoint.port))
        return SocketTransport(connection)
    except OSError as error:
        connection.close()
        number = error.errno or 0
        raise OSError(number, f"{errno.errorcode.get(number, number)}: {os.strerror(number)}") from None
    except BaseException:
        connection.close()
        raise
