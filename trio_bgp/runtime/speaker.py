"""The whole daemon but its command line: listeners, peers, the forwarder, and a graceful end."""

import contextlib
import logging
import random
import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, Protocol

import attrs
import trio

from trio_bgp.passthrough.pool import BufferPool
from trio_bgp.routing.group import Member
from trio_bgp.runtime.forwarder import Forwarder
from trio_bgp.runtime.limits import RateLimit
from trio_bgp.runtime.session import sockets
from trio_bgp.runtime.session.peer import Connect, Peer, refuse
from trio_bgp.runtime.session.transport import SocketTransport, Transport
from trio_bgp.session.fsm import State
from trio_bgp.settings import Endpoint, PeerChange, PeerSettings, Settings
from trio_bgp.wire.notification import Notification, shutdown_communication
from trio_bgp.wire.numbers import CeaseSubcode, ErrorCode

__all__ = ["Companion", "PeerStatistics", "Speaker"]

logger = logging.getLogger("trio_bgp.speaker")

STOP_SECONDS: Final = 2.0
"""How long a graceful stop may take."""
REFUSALS: Final = 16
"""Unwanted connections that are told so at the same time; further ones are closed without a word."""
ACCEPT_ERROR_SECONDS: Final = 0.1
RESTART_SECONDS: Final = 5.0
"""How long a peer whose tasks crashed is left alone."""
UNKNOWN_RATE: Final = 5.0
"""Connections from unknown addresses that are answered and logged in a second; others are closed without a word."""
UNKNOWN_BURST: Final = 20.0
ARRIVAL_RATE: Final = 1.0
"""Connections from one known address that are taken in a second in the long run; others are closed without a word."""
ARRIVAL_BURST: Final = 30.0
ARRIVALS: Final = 4096
"""Addresses of which that is known at the same time."""


class Companion(Protocol):
    """What runs beside the peers and is no part of routing, BMP stations for example."""

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """Run until cancelled; `task_status.started()` is called when all is ready."""

    def reconfigure(self, settings: Settings) -> None:
        """Take over a new configuration."""

    async def stop(self) -> None:
        """Called when all sessions have ended, before `run` is cancelled."""


@attrs.frozen
class PeerStatistics:
    """A snapshot of one peer."""

    name: str
    address: IPv4Address | IPv6Address
    peer_as: int
    state: State
    messages_in: int
    messages_out: int
    octets_out: int
    prefixes: int
    queued: int
    """Octets waiting to be sent."""
    behind: bool
    lag: float
    """Seconds that octets wait to be sent, of a sample."""
    detached: int
    """How often the peer fell behind."""


class Speaker:
    """A BGP speaker with all its peers.

    Args:
        settings: the configuration.
        connect: opens connections to peers; tests replace it.
        rng: for timer jitter.
        pool: read buffers; a new pool if not given.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        connect: Connect = sockets.connect,
        rng: random.Random | None = None,
        pool: BufferPool | None = None,
    ) -> None:
        self.settings = settings
        self.forwarder = Forwarder(settings, pool)
        self.peers: dict[IPv4Address | IPv6Address, Peer] = {}
        self._connect = connect
        self._rng = random.Random() if rng is None else rng
        self.companions: list[Companion] = []
        """Run beside the peers, from the start of `run` to its end."""
        self._listeners: list[socket.socket] = []
        self._peers_nursery: trio.Nursery | None = None
        self._nursery: trio.Nursery | None = None
        self._forwarder_scope = trio.CancelScope(shield=True)
        self._forwarder_gone = trio.Event()
        self._stopping = trio.Event()
        self._stop_text = ""
        self._leaving = False
        self._silent = False
        self.disabled: dict[str, str] = {}
        """Peers that were told to stay down, by name, and what they were told."""
        self.started_at = 0.0
        self._refusals = 0
        self._unknown = RateLimit(UNKNOWN_RATE, UNKNOWN_BURST)
        self._arrivals: dict[IPv4Address | IPv6Address, RateLimit] = {}

    async def run(self, *, task_status: trio.TaskStatus[list[Endpoint]] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled or until `shutdown` has done its work.

        Started with the addresses it listens on.

        Raises:
            OSError: an address cannot be listened on.
        """
        listeners = self._listeners
        try:
            for endpoint in self.settings.speaker.listen:
                # One by one: those that are open are closed again below if the next cannot be.
                listeners.append(sockets.listen(endpoint, self.settings.peers))
            self.started_at = trio.current_time()
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                await nursery.start(self._run_forwarder)
                for companion in self.companions:
                    await nursery.start(companion.run)
                try:
                    async with trio.open_nursery() as peers:
                        self._peers_nursery = peers
                        for settings in self.settings.peers:
                            if settings.address is not None:
                                self._add(settings, settings.name, settings.address)
                        for listener in listeners:
                            nursery.start_soon(self._accept_from, listener)
                        await trio.lowlevel.checkpoint()
                        task_status.started([_endpoint(listener) for listener in listeners])
                        await self._stopping.wait()
                        if self._silent:
                            peers.cancel_scope.cancel()
                        else:
                            self._stop_peers()
                        peers.cancel_scope.deadline = trio.current_time() + STOP_SECONDS
                finally:
                    self._forwarder_scope.cancel()
                await self._forwarder_gone.wait()
                for companion in self.companions:
                    await companion.stop()
                nursery.cancel_scope.cancel()
        finally:
            self._nursery = self._peers_nursery = None
            while listeners:
                listeners.pop().close()

    def shutdown(self, text: str = "") -> None:
        """Stop gracefully: Cease/Administrative Shutdown with `text` (RFC 9003) to every peer, then `run` returns.

        With `graceful_shutdown_time` all routes are first announced with GRACEFUL_SHUTDOWN for so long (RFC 8326); a
        second call ends that time.
        """
        self._stop_text = text
        seconds = self.settings.speaker.graceful_shutdown_time
        if not seconds or self._leaving or self._nursery is None:
            self._stopping.set()
            return
        self._leaving = True
        logger.info("speaker.graceful_shutdown seconds=%d", seconds)
        self.forwarder.mark_graceful_shutdown()
        self._nursery.start_soon(self._stop_after, seconds)

    def stop_for_restart(self) -> None:
        """End all connections without a word, so that peers keep our routes (RFC 4724), then `run` returns."""
        self._silent = True
        self._stopping.set()

    def peer(self, name: str) -> Peer | None:
        """The peer of that name, if it is running."""
        return next((peer for peer in self.peers.values() if peer.name == name), None)

    def member(self, name: str) -> Member | None:
        """The established session of that peer, if any."""
        return next((member for member in self.forwarder.members if member.name == name), None)

    def reset(self, name: str, subcode: CeaseSubcode = CeaseSubcode.ADMINISTRATIVE_RESET, text: str = "") -> None:
        """End a peer's session with Cease; it may come up again.

        Raises:
            KeyError: there is no such peer.
        """
        peer = self.peer(name)
        if peer is None:
            raise KeyError(name)
        peer.reset(Notification(ErrorCode.CEASE, subcode, shutdown_communication(text)))

    def disable(self, name: str, text: str = "") -> None:
        """End a peer's session with Cease/Administrative Shutdown and make no other until `enable`.

        Raises:
            KeyError: there is no such peer, or it is one of a range.
        """
        peer = self.peer(name)
        if peer is None or peer.settings.address is None:
            raise KeyError(name)
        self.disabled[name] = text
        peer.stop(Notification(ErrorCode.CEASE, CeaseSubcode.ADMINISTRATIVE_SHUTDOWN, shutdown_communication(text)))

    def enable(self, name: str) -> None:
        """Let a disabled peer have sessions again.

        Raises:
            KeyError: no such peer is disabled.
        """
        del self.disabled[name]
        for settings in self.settings.peers:
            if settings.name == name and settings.address is not None and self._peers_nursery is not None:
                running = self.peers.get(settings.address)
                if running is None or running.finished:
                    self._add(settings, settings.name, settings.address)
                else:
                    self._peers_nursery.start_soon(self._add_when_gone, settings)

    async def _add_when_gone(self, settings: PeerSettings) -> None:
        """Start a peer whose predecessor is still saying goodbye."""
        while settings.address is not None and (running := self.peers.get(settings.address)) is not None:
            await running.gone.wait()
        if settings.address is not None and settings in self.settings.peers and settings.name not in self.disabled:
            self._add(settings, settings.name, settings.address)

    def reconfigure(self, settings: Settings, changes: Sequence[PeerChange]) -> None:
        """Take over a new configuration of peers and BMP stations.

        Args:
            settings: the whole configuration; what it says of the daemon itself is as before.
            changes: what `trio_bgp.config.diff` found of peers.

        Raises:
            OSError: the system has not what a peer asks for, TCP-MD5 for example; nothing has changed then.
        """
        old = self.settings.peers
        try:
            for listener in self._listeners:
                sockets.protect(listener, settings.peers, old)
        except OSError:
            for listener in self._listeners:
                with contextlib.suppress(OSError):
                    sockets.protect(listener, old, settings.peers)
            raise
        self.settings = settings
        for companion in self.companions:
            companion.reconfigure(settings)
        for change in changes:
            name = change.name
            if change.kind == "added":
                self._start(change.settings)
                continue
            running = [peer for peer in self.peers.values() if name in (peer.name, peer.settings.name)]
            if change.kind == "removed" or change.reset:
                removed = change.kind == "removed"
                subcode = CeaseSubcode.PEER_DE_CONFIGURED if removed else CeaseSubcode.OTHER_CONFIGURATION_CHANGE
                for peer in running:
                    peer.stop(Notification(ErrorCode.CEASE, subcode))
                if removed:
                    self.disabled.pop(name, None)
                elif name not in self.disabled:
                    self._start(change.settings)
            else:
                for peer in running:
                    peer.settings = change.settings
                    for connection in peer.connections:
                        if connection.member is not None:
                            connection.member.settings = change.settings
                            self.forwarder.core.renew(connection.member)

    def later(self, seconds: float, action: Callable[[], object]) -> None:
        """Do something after some time, if the daemon still runs then."""

        async def wait() -> None:
            await trio.sleep(seconds)
            action()

        if self._nursery is not None:
            self._nursery.start_soon(wait)

    def _start(self, settings: PeerSettings) -> None:
        if settings.address is None or self._peers_nursery is None:
            return  # a range needs no task
        if settings.address in self.peers:
            self._peers_nursery.start_soon(self._add_when_gone, settings)
        else:
            self._add(settings, settings.name, settings.address)

    async def _stop_after(self, seconds: float) -> None:
        await trio.sleep(seconds)
        self._stopping.set()

    def accept(self, transport: Transport) -> None:
        """Take a connection that somebody opened to us; it belongs to the speaker from here on."""
        if self._nursery is None or self._peers_nursery is None or self._stopping.is_set():
            transport.abort()
            return
        address = _normal(transport.peer_address)
        peer = self.peers.get(address)
        if peer is not None and peer.finished:
            peer = None
        settings = self._range_of(address) if peer is None else None
        cause = "no such peer is configured"
        if (peer is not None or settings is not None) and not self._may_come(address):
            transport.abort()
            return
        if settings is not None:
            peer = self._dynamic(settings, address)
            cause = f"the range {settings.name} has {settings.max_peers} peers already"
        if peer is None:
            if not self._unknown.allow(trio.current_time()):
                transport.abort()
                return
            if refused := self._unknown.take_refused():
                logger.warning("connection.refused cause='%d more were not logged'", refused)
            logger.warning("connection.refused address=%s cause=%r", address, cause)
            self._refuse(transport, CeaseSubcode.CONNECTION_REJECTED)
            return
        if isinstance(transport, SocketTransport):
            try:
                sockets.protect_accepted(transport.socket, peer.settings)
            except OSError as error:
                logger.warning("connection.refused address=%s cause=%r", address, str(error))
                transport.abort()
                return
        if not peer.accept(transport):
            self._refuse(transport, CeaseSubcode.CONNECTION_COLLISION_RESOLUTION)

    def statistics(self) -> list[PeerStatistics]:
        """A snapshot of every peer."""
        found = []
        now = trio.current_time()
        for peer in self.peers.values():
            connection = next((each for each in peer.connections if each.member is not None), None)
            member = None if connection is None else connection.member
            found.append(
                PeerStatistics(
                    name=peer.name,
                    address=peer.address,
                    peer_as=peer.settings.peer_as,
                    state=peer.state,
                    messages_in=0 if member is None else member.messages_in,
                    messages_out=0 if member is None else member.messages_out,
                    octets_out=0 if member is None else member.octets_out,
                    prefixes=0 if member is None else sum(member.source.prefixes.values()),
                    queued=0 if member is None else member.outbound.queued,
                    behind=member is not None and member.behind is not None,
                    lag=0.0 if connection is None else connection.outbound.lag(now),
                    detached=0 if member is None else member.detached,
                )
            )
        return found

    def _add(
        self, settings: PeerSettings, name: str, address: IPv4Address | IPv6Address, *, dynamic: bool = False
    ) -> Peer:
        if self._peers_nursery is None:
            raise AssertionError("the speaker is not running")
        peer = Peer(
            self.settings.speaker,
            settings,
            name=name,
            address=address,
            board=self.forwarder.board,
            connect=self._connect,
            rng=self._rng,
            dynamic=dynamic,
        )
        self.peers[address] = peer
        self._peers_nursery.start_soon(self._run_peer, peer)
        return peer

    async def _run_peer(self, peer: Peer) -> None:
        try:
            while not peer.finished:
                try:
                    await peer.run()
                except* Exception as group:
                    # A bug in one peer's tasks must not end the others' sessions.
                    logger.error("peer.crashed name=%s: it is started again", peer.name, exc_info=group)
                if not peer.finished:
                    await trio.sleep(RESTART_SECONDS)
        finally:
            peer.drop_early()
            if self.peers.get(peer.address) is peer:
                del self.peers[peer.address]
            peer.gone.set()

    async def _run_forwarder(self, *, task_status: trio.TaskStatus[None]) -> None:
        """The forwarder outlives the peers, whatever ends them: each waits until it has taken its last command."""
        try:
            with self._forwarder_scope:
                await self.forwarder.run(task_status)
        finally:
            # If it crashed nobody takes commands any more: whoever waits to send one must not wait for ever.
            self.forwarder.board.inbox.close()
            self._forwarder_gone.set()

    def _range_of(self, address: IPv4Address | IPv6Address) -> PeerSettings | None:
        """The most specific listen range that has the address."""
        found: PeerSettings | None = None
        for settings in self.settings.peers:
            if settings.range is None or address.version != settings.range.version or address not in settings.range:
                continue
            if found is None or found.range is None or settings.range.prefixlen > found.range.prefixlen:
                found = settings
        return found

    def _dynamic(self, settings: PeerSettings, address: IPv4Address | IPv6Address) -> Peer | None:
        """A peer for a connection from inside a listen range; None if the range has no room."""
        if sum(peer.settings.name == settings.name for peer in self.peers.values()) >= settings.max_peers:
            return None
        return self._add(settings, f"{settings.name}/{address}", address, dynamic=True)

    def _may_come(self, address: IPv4Address | IPv6Address) -> bool:
        """Whether a known address has not connected too often: each time costs a session's beginning and log lines."""
        now = trio.current_time()
        limit = self._arrivals.get(address)
        if limit is None:
            if len(self._arrivals) >= ARRIVALS:
                self._arrivals = {each: kept for each, kept in self._arrivals.items() if not kept.idle(now)}
            if len(self._arrivals) >= ARRIVALS:
                self._arrivals.clear()
            limit = self._arrivals[address] = RateLimit(ARRIVAL_RATE, ARRIVAL_BURST)
        if limit.allow(now):
            limit.take_refused()
            return True
        if limit.refused == 1:
            logger.warning("connection.refused address=%s cause='it connects too often'", address)
        return False

    def _refuse(self, transport: Transport, subcode: CeaseSubcode) -> None:
        if self._nursery is None or self._refusals >= REFUSALS:
            transport.abort()
            return
        self._refusals += 1
        self._nursery.start_soon(self._refuse_and_count, transport, subcode)

    async def _refuse_and_count(self, transport: Transport, subcode: CeaseSubcode) -> None:
        try:
            await refuse(transport, subcode)
        finally:
            self._refusals -= 1

    async def _accept_from(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except BlockingIOError:
                await trio.lowlevel.wait_readable(listener)
                continue
            except ConnectionAbortedError:
                continue
            except OSError as error:
                # Out of file descriptors or memory: connections in the backlog can wait.
                logger.error("accept.failed cause=%r", str(error))
                await trio.sleep(ACCEPT_ERROR_SECONDS)
                continue
            try:
                transport = SocketTransport(connection)
            except OSError:
                connection.close()  # it was gone before we looked
                continue
            self.accept(transport)
            await trio.lowlevel.checkpoint()

    def _stop_peers(self) -> None:
        notification = Notification(
            ErrorCode.CEASE, CeaseSubcode.ADMINISTRATIVE_SHUTDOWN, shutdown_communication(self._stop_text)
        )
        for peer in list(self.peers.values()):
            peer.stop(notification)


def _endpoint(listener: socket.socket) -> Endpoint:
    host, port = listener.getsockname()[:2]
    return Endpoint(ip_address(host), port)


def _normal(text: str) -> IPv4Address | IPv6Address:
    """A peer's address as configurations write it: no scope id, IPv4 as IPv4."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
