"""Recording messages and state changes as BGP4MP_ET, beside the sessions and never in their way."""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

import trio

from trio_bgp.mrt.messages import Message, Session, StateChange, encode_bgp4mp
from trio_bgp.mrt.records import MrtError, encode_record
from trio_bgp.mrt.updates import take_apart
from trio_bgp.recording.dump import dump_tables
from trio_bgp.recording.files import RotatingFile
from trio_bgp.runtime.board import Monitor, MonitoredConnection
from trio_bgp.runtime.speaker import Speaker
from trio_bgp.session.fsm import State
from trio_bgp.settings import RecordSettings
from trio_bgp.wire.header import scan
from trio_bgp.wire.numbers import EXTENDED_MESSAGE_LENGTH, Family, MessageType

__all__ = ["Recorder", "record_table", "record_tables", "start_recording"]

logger = logging.getLogger("trio_bgp.record")

FLUSH_SECONDS: Final = 1.0
FLUSH_OCTETS: Final = 1 << 20
"""With so many waiting they are written before that time is over."""
WRITE_OCTETS: Final = 1 << 16
"""What goes to a file at once, about; its size is looked at in between."""
RETRY_SECONDS: Final = 10.0
"""How long nothing is tried after the system refused to write."""
STATES: Final = {
    State.IDLE: 1,
    State.CONNECT: 2,
    State.ACTIVE: 3,
    State.OPEN_SENT: 4,
    State.OPEN_CONFIRM: 5,
    State.ESTABLISHED: 6,
}
"""RFC 6396, section 4.4.1."""


class Recorder(Monitor):
    """Records what happens on the sessions of a speaker; put it into `Board.monitors`.

    Args:
        settings: which files, with `updates` set.
        local_as: ours.
        clock: the time in seconds since 1970.
    """

    def __init__(self, settings: RecordSettings, local_as: int, clock: Callable[[], float] = time.time) -> None:
        if settings.updates is None:
            raise ValueError("nowhere to record to")
        self.wants_sent = settings.sent
        self.recorded = 0
        """Records handed to the system."""
        self.lost = 0
        """Records that came faster than they could be written, or that the system refused."""
        self._settings = settings
        self._local_as = local_as
        self._clock = clock
        self._file = RotatingFile(
            settings.updates, settings.compression, settings.rotate_seconds, settings.rotate_octets
        )
        self._queue: list[tuple[float, bytes]] = []
        self._queued = 0
        self._full = trio.Event()
        self._sessions: dict[MonitoredConnection, Session] = {}
        self._lost_told = 0
        self._failing = False

    def changed(self, connection: MonitoredConnection, old: State, new: State) -> None:
        """See `Monitor`."""
        self._add(StateChange(self._session(connection), STATES[old], STATES[new]))
        if new is State.IDLE:
            self._sessions.pop(connection, None)

    def received(self, connection: MonitoredConnection, messages: Sequence[bytes]) -> None:
        """See `Monitor`."""
        negotiated = connection.session.negotiated
        families = frozenset[Family]() if negotiated is None else negotiated.add_path_receive
        self._messages(connection, messages, families, local=False)

    def sent(self, connection: MonitoredConnection, octets: bytes) -> None:
        """See `Monitor`."""
        negotiated = connection.session.negotiated
        families = frozenset[Family]() if negotiated is None else negotiated.add_path_send
        found = scan(octets, 0, len(octets), EXTENDED_MESSAGE_LENGTH)
        ends = [*found.offsets[1:], found.end]
        messages = [octets[start:end] for start, end in zip(found.offsets, ends, strict=True)]
        self._messages(connection, messages, families, local=True)

    def _messages(
        self, connection: MonitoredConnection, messages: Sequence[bytes], families: frozenset[Family], *, local: bool
    ) -> None:
        session, negotiated = self._session(connection), connection.session.negotiated
        asn4 = negotiated is None or negotiated.asn4
        every = bool(families) and negotiated is not None and families == negotiated.families
        for octets in messages:
            add_path = bool(families) and octets[18] == MessageType.UPDATE and (every or _names(octets, families))
            self._add(Message(session, octets, asn4, local, add_path))

    def _session(self, connection: MonitoredConnection) -> Session:
        session = self._sessions.get(connection)
        if session is None:
            peer = connection.peer
            remote = connection.session.remote_open
            session = Session(
                remote.peer_as if remote is not None else peer.settings.peer_as,
                self._local_as,
                peer.address,
                _local_address(connection.transport.local_address, peer.address),
            )
            if remote is not None:
                self._sessions[connection] = session
        return session

    def _add(self, value: Message | StateChange) -> None:
        if self._queued >= self._settings.queue_limit:
            self.lost += 1
            self._full.set()
            return
        now = self._clock()
        seconds = int(now)
        octets = encode_record(encode_bgp4mp(value, seconds, int((now - seconds) * 1_000_000)))
        self._queue.append((now, octets))
        self._queued += len(octets)
        if self._queued >= FLUSH_OCTETS:
            self._full.set()

    async def run(self) -> None:
        """Write what is recorded until cancelled, and then what is left."""
        try:
            while True:
                with trio.move_on_after(FLUSH_SECONDS):
                    await self._full.wait()
                if not await self._flush():
                    await trio.sleep(RETRY_SECONDS)
        finally:
            with trio.CancelScope(shield=True):
                await self._flush(last=True)

    async def _flush(self, *, last: bool = False) -> bool:
        """Write what waits; False if the system refuses."""
        taken, self._queue = self._queue, []
        size = self._queued
        self._full = trio.Event()
        now = self._clock()
        if not (taken or last or self._file.due(now)):
            return not self._failing
        write = self._write_last if last else self._write
        try:
            # Never given up half-way: what a thread does cannot be undone.
            await trio.to_thread.run_sync(write, taken, now)
        except OSError as error:
            self.lost += len(taken)
            if not self._failing:
                logger.error("record.failed file=%s cause=%r", self._settings.updates, error.strerror or str(error))
            self._failing = True
        else:
            self.recorded += len(taken)
            self._failing = self._failing and not taken
        finally:
            # What came meanwhile had to share the queue with what was being written.
            self._queued -= size
        if self.lost != self._lost_told:
            logger.warning("record.lost records=%d total=%d", self.lost - self._lost_told, self.lost)
            self._lost_told = self.lost
        return not self._failing

    def _write(self, taken: Sequence[tuple[float, bytes]], now: float) -> None:
        """In a thread: each record into the file of its time; a file whose time is over is completed."""
        file = self._file
        pending: list[bytes] = []
        began = now
        size = 0
        for at, octets in taken:
            if pending and (size >= WRITE_OCTETS or file.period(at) != file.period(began)):
                file.write(b"".join(pending), began)
                pending.clear()
                size = 0
            if not pending:
                began = at
            pending.append(octets)
            size += len(octets)
        if pending:
            file.write(b"".join(pending), began)
        file.rotate(now)
        file.flush()

    def _write_last(self, taken: Sequence[tuple[float, bytes]], now: float) -> None:
        self._write(taken, now)
        self._file.close()


async def record_tables(speaker: Speaker, settings: RecordSettings, clock: Callable[[], float] = time.time) -> None:
    """Dump all routes at each multiple of `table_interval`, until cancelled."""
    while True:
        now = clock()
        await trio.sleep(settings.table_interval - now % settings.table_interval)
        # The two clocks may differ by a little.
        await record_table(speaker, settings, round(clock()))


async def record_table(speaker: Speaker, settings: RecordSettings, now: float) -> None:
    """Dump all routes into a file of that time; what goes wrong is logged."""
    file = RotatingFile(settings.tables or "", settings.compression)
    octets = 0
    try:
        async with aclosing(dump_tables(speaker)) as pieces:
            async for piece in pieces:
                octets += len(piece)
                await trio.to_thread.run_sync(file.write, piece, now)
        path = await trio.to_thread.run_sync(file.close)
    except OSError as error:
        await trio.to_thread.run_sync(file.abandon)
        logger.error("record.failed file=%s cause=%r", settings.tables, error.strerror or str(error))
    else:
        logger.info("record.table file=%s octets=%d", path, octets)


def start_recording(speaker: Speaker, settings: RecordSettings, nursery: trio.Nursery) -> Recorder | None:
    """Record what the settings ask for in tasks of a nursery; called before the speaker runs."""
    if settings.tables is not None:
        nursery.start_soon(record_tables, speaker, settings)
    if settings.updates is None:
        return None
    recorder = Recorder(settings, speaker.settings.speaker.local_as)
    speaker.forwarder.board.monitors.append(recorder)
    nursery.start_soon(recorder.run)
    return recorder


def _names(update: bytes, families: frozenset[Family]) -> bool:
    """Whether an UPDATE names one of these families."""
    try:
        return not take_apart(update).families.isdisjoint(families)
    except MrtError:
        return False


def _local_address(text: str, peer: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Our end of a connection, of the peer's IP version; zeros if it has none."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        address = IPv4Address(0)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.version == peer.version:
        return address
    return IPv4Address(0) if peer.version == 4 else IPv6Address(0)
