"""The forwarder task: the one place where the RIB is changed and where it is decided what goes to whom.

Everything reaches it through one memory channel, in order: sessions that come up, their UPDATEs a read at a time,
refresh requests, sessions that end. Between commands it does long work (replays, removals, catching up) in short steps,
so that no peer waits for another's full table.
"""

import contextlib
import logging
from collections import deque
from collections.abc import Iterable, Sequence
from math import inf
from typing import Final

import attrs
import trio

from trio_bgp.passthrough.pool import BufferPool
from trio_bgp.rib.path import Source
from trio_bgp.routing.catch_up import BORR, EORR, Progress
from trio_bgp.routing.forward import RoutingCore
from trio_bgp.routing.group import Member
from trio_bgp.routing.retention import Job, Retention
from trio_bgp.runtime.board import Board
from trio_bgp.runtime.commands import (
    Command,
    EndOfRib,
    Observer,
    PeerDown,
    PeerUp,
    Refresh,
    SessionObserver,
    Updates,
    Wake,
)
from trio_bgp.runtime.held_messages import HeldMessage, Holding, Intercept
from trio_bgp.runtime.refusals import LOGGED_OCTETS, Refusals
from trio_bgp.runtime.replays import ReplayScheduler
from trio_bgp.runtime.session.reader import Batch
from trio_bgp.runtime.statistics import ForwarderStatistics, group_statistics
from trio_bgp.settings import Settings
from trio_bgp.wire.numbers import Family
from trio_bgp.wire.route_refresh import RouteRefreshMessage

__all__ = ["Forwarder", "HeldMessage", "Intercept"]

logger = logging.getLogger("trio_bgp.forwarder")

INBOX_COMMANDS: Final = 32
"""Commands that may wait, about a read each. When the channel is full the senders' read tasks wait, in turn."""
SLICE_MESSAGES: Final = 1024
"""UPDATEs that are handled, about, before other tasks have their turn: ten milliseconds or so."""


@attrs.define(eq=False)
class _Started:
    """UPDATEs that are being handled, in slices."""

    command: Updates
    position: int = 0
    """The first message that is not handled yet."""

    def end(self) -> None:
        """Nothing more will be handled."""
        self.command.batch.release()
        self.command.handled()


class Forwarder:
    """Owns the RIB and the members.

    Args:
        settings: the whole configuration.
        pool: where read tasks get their slabs; kept here because it lives as long.
    """

    def __init__(self, settings: Settings, pool: BufferPool | None = None) -> None:
        self._refusals = Refusals()
        self.core = RoutingCore(settings.speaker, self._refusals.report, self._refusals.withheld)
        self._speaker = settings.speaker
        inbox, self._commands = trio.open_memory_channel[Command](INBOX_COMMANDS)
        pool = BufferPool() if pool is None else pool
        self.board = Board(speaker=settings.speaker, pool=pool, inbox=inbox, wake=self.wake)
        self.holding = Holding(self.core, pool)
        self.held = self.holding.messages
        """Messages that a program holds."""
        self.intercept: Intercept | None = None
        """Asked for each received UPDATE whether it is to be held; must not block."""
        self.observers: list[Observer] = []
        """Told of each received UPDATE before it is handled; must not block."""
        self.session_observers: list[SessionObserver] = []
        """Told of a session before it gets any routes, and of its end when it gets no more; must not block."""
        self.sessions: dict[Member, PeerUp] = {}
        """Those that are up, and how they came about."""
        self.local: Source | None = None
        self.members: list[Member] = []
        self._replays = ReplayScheduler(self.core)
        self._started: deque[_Started] = deque()
        self._jobs: deque[Job] = deque()
        self._retention = Retention(self.core)
        self.core.on_end_of_rib = self._end_of_rib
        self._octets_out_gone = 0
        self._leaving = False
        # After a restart: who is up but is not told anything yet, until when, and whose End-of-RIB is waited for.
        self._deferred: list[Member] | None = None
        self._deferred_until = inf
        self._awaited: set[str] = set()
        if settings.speaker.restarting and settings.speaker.restart_time:
            self._deferred = []
            self.board.deferring = True
            self._awaited = {peer.name for peer in settings.peers if peer.address is not None}
        self._can_work = False

    def wake(self) -> None:
        """Have the forwarder look again at who waits for something. Never blocks."""
        if self._replays.waiting:
            # If the channel is full there are commands to handle, and it looks after each of them.
            with contextlib.suppress(trio.WouldBlock):
                self.board.inbox.send_nowait(Wake())

    def _uncork(self) -> None:
        """Send what was put since the cork was set; who waited for room may have it now.

        Not in the middle of a read that is the only one: what it means for a receiver is one write, as it was one read.
        """
        if len(self._started) == 1 and self._started[0].position:
            self.board.cork.active = False
        elif self.board.cork.flush() and self._replays.waiting:
            self._can_work = True

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The forwarder task; runs until cancelled, then releases what is still in its channel."""
        task_status.started()
        if self._deferred is not None:
            self._deferred_until = trio.current_time() + self._speaker.restart_time
        try:
            handled = 0
            while True:
                command = await self._next_command()
                self.board.cork.active = True
                try:
                    if isinstance(command, Updates):
                        self._started.append(_Started(command))
                    elif command is not None:
                        self._handle(command)
                    if self._started:
                        handled += self._next_slice()
                    worked = self._work()
                finally:
                    self._uncork()
                if worked or handled >= SLICE_MESSAGES:
                    handled = 0
                    await trio.lowlevel.checkpoint()
        finally:
            for started in self._started:
                started.end()
            while True:
                try:
                    command = self._commands.receive_nowait()
                except (trio.WouldBlock, trio.EndOfChannel, trio.ClosedResourceError):
                    break
                if isinstance(command, Updates):
                    _Started(command).end()
                elif isinstance(command, PeerDown) and self.sessions.pop(command.member, None) is not None:
                    self._tell_observers(command)
            self.held.clear()

    async def _next_command(self) -> Command | None:
        """The next command; None when none is there and work is waiting."""
        try:
            return self._commands.receive_nowait()
        except trio.WouldBlock:
            pass
        if self._can_work or self._started:
            return None
        deadline = min(
            self._replays.next_deadline(),
            self._retention.next_deadline(),
            self._deferred_until,
        )
        if deadline == inf:
            return await self._commands.receive()
        with trio.move_on_at(deadline):
            return await self._commands.receive()
        return None

    def _handle(self, command: Command) -> None:
        if isinstance(command, PeerUp):
            self._peer_up(command)
        elif isinstance(command, PeerDown):
            self._peer_down(command)
        elif isinstance(command, Refresh):
            self._refresh(command.member, command.message)
        self._can_work = True

    def _next_slice(self) -> int:
        """Handle a slice of the UPDATEs of whoever's turn it is; returns how many."""
        started = self._started.popleft()
        command, first = started.command, started.position
        last = min(len(command.batch.offsets), first + SLICE_MESSAGES)
        whole = last - first == len(command.batch.offsets)
        batch = command.batch if whole else command.batch.split(first, last)
        try:
            self._slice(command.member, batch)
        finally:
            if not whole:
                batch.release()
            if last < len(command.batch.offsets):
                started.position = last
                self._started.append(started)
            else:
                started.end()
        return last - first

    def _slice(self, member: Member, batch: Batch) -> None:
        """Handle UPDATEs without a break. The batch stays the caller's."""
        try:
            if self.observers:
                self._observe(member, batch)
            if self.intercept is None:
                self.core.updates(member, batch.message, batch.offsets)
            else:
                self.holding.ask(member, batch, self.intercept)
        except Exception:
            # A bug that one peer's octets have found must not be the others' misfortune.
            octets = bytes(batch.message.octets[: 4 * LOGGED_OCTETS]).hex()
            logger.exception("update.crashed name=%s octets=%s", member.name, octets)
            self.core.recover(member, batch.message, batch.offsets)
        self._can_work = True

    def forward(self, number: int, to: Iterable[str] | None = None) -> None:
        """Forward a held message; see `Holding.forward`."""
        self.holding.forward(number, self.members, to)
        self.wake()

    def drop(self, number: int) -> None:
        """Forget a held message.

        Raises:
            KeyError: no such message is held.
        """
        self.holding.drop(number)

    def _observe(self, member: Member, batch: Batch) -> None:
        for index in range(len(batch.offsets)):
            octets = batch.octets(index)
            for observer in list(self.observers):
                try:
                    observer(member.name, octets)
                except Exception:
                    logger.exception("observer.crashed: it is told nothing more")
                    self.observers.remove(observer)

    def announce(self, family: Family, key: bytes, attributes: bytes, next_hop: bytes | None) -> None:
        """Announce a route of our own; see `RoutingCore.announce_local`."""
        if self.local is None:
            self.local = Source(
                name="local",
                peer_as=self._speaker.local_as,
                bgp_identifier=self._speaker.bgp_identifier,
                address=0,
                external=False,
            )
            self.local.local = True
        self.core.announce_local(self.local, family, key, attributes, next_hop)
        self.wake()

    def withdraw(self, family: Family, key: bytes) -> bool:
        """Withdraw a route of our own; False if there is none."""
        if self.local is None:
            return False
        lanes = self.core.table(family).lanes_of(self.local, [key])
        for lane, nlris in lanes.items():
            self.core.withdraw_lane(lane, family, nlris)
        self.wake()
        return bool(lanes)

    def refresh(self, member: Member) -> None:
        """Tell a member all its routes again, as if it had asked."""
        for family in member.negotiated.families:
            self._refresh(member, RouteRefreshMessage(family, 0))
        self.wake()

    def _peer_up(self, command: PeerUp) -> None:
        now = trio.current_time()
        member = command.member
        self.members.append(member)
        self.sessions[member] = command
        self._jobs.extend(self._retention.returned(member, now))
        self._tell_observers(command)
        if self._deferred is not None:
            self.core.join_source(member)
            self._deferred.append(member)
            return
        if self._leaving:
            member.mark_graceful_shutdown()
        self.core.join(member)
        self._replays.tell_all(member, now)

    def _tell_observers(self, event: PeerUp | EndOfRib | PeerDown) -> None:
        for observer in list(self.session_observers):
            observer(event)

    def _peer_down(self, command: PeerDown) -> None:
        member = command.member
        if member not in self.members:
            return
        self.members.remove(member)
        del self.sessions[member]
        self._tell_observers(command)
        self._octets_out_gone += member.octets_out
        self.core.leave(member)
        self._replays.leave(member)
        if self._deferred is not None and member in self._deferred:
            self._deferred.remove(member)
        now = trio.current_time()
        self._refusals.forget_idle(now)
        self._jobs.extend(self._retention.lost(member, now, graceful=command.graceful))

    def mark_graceful_shutdown(self) -> None:
        """Announce all routes again with GRACEFUL_SHUTDOWN, to whoever is up and will come (RFC 8326, section 4)."""
        self._leaving = True
        self._replays.forget_gathered()
        for member in self.members:
            if member in self.core.egress.group_of:
                self.core.leave_receiver(member)
                member.behind = None
                member.mark_graceful_shutdown()
                self.core.join_receiver(member)
                self._replays.tell_all(member, trio.current_time())
        with contextlib.suppress(trio.WouldBlock):
            self.board.inbox.send_nowait(Wake())

    def _end_of_rib(self, member: Member, family: Family) -> None:
        self._tell_observers(EndOfRib(member, family))
        self._jobs.extend(self._retention.end_of_rib(member, family))
        if self._deferred is not None and self._all_told(self._deferred):
            self._deferred_until = trio.current_time()

    def _all_told(self, members: Sequence[Member]) -> bool:
        """Whether every peer that is waited for is up and has said End-of-RIB for all its families."""
        told = {member.name for member in members if member.end_of_rib >= member.negotiated.families}
        return self._awaited <= told

    def _end_deferral(self) -> None:
        """We have restarted, and know now what there is: begin to tell (RFC 4724, section 4.1)."""
        members, self._deferred = self._deferred or [], None
        self.board.deferring = False
        self._deferred_until = inf
        now = trio.current_time()
        logger.info("forwarder.restarted peers=%d", len(members))
        for member in members:
            self.core.join_receiver(member)
            self._replays.tell_all(member, now)

    def _refresh(self, member: Member, message: RouteRefreshMessage) -> None:
        if member not in self.members or message.family not in member.negotiated.families:
            return
        now = trio.current_time()
        if message.subtype == BORR and member.negotiated.enhanced_route_refresh:
            self._jobs.extend(self._retention.begin_refresh(member, message.family, now))
        elif message.subtype == EORR and member.negotiated.enhanced_route_refresh:
            self._jobs.extend(self._retention.end_refresh(member, message.family))
        if message.subtype != 0 or (self._deferred is not None and member in self._deferred):
            return
        self._replays.refresh(member, message.family, now)

    def _work(self) -> bool:
        """A few short steps of what there is to do, in turn; whether anything was done."""
        now = trio.current_time()
        if self._retention.next_deadline() <= now:
            self._jobs.extend(self._retention.due(now))
        if self._deferred_until <= now:
            self._end_deferral()
        self._replays.begin(now)
        self._can_work = False
        worked = False
        if self._jobs:
            worked = self._can_work = True
            if self._jobs[0].step() is Progress.DONE:
                self._jobs.popleft()
        if self._replays.step(self.members):
            worked = self._can_work = True
        return worked

    def statistics(self) -> ForwarderStatistics:
        """Counters and sizes as they are now."""
        egress = self.core.egress
        counters = self.core.counters
        return ForwarderStatistics(
            members=len(self.members),
            groups=len(egress.groups),
            messages_in=counters.updates,
            octets_in=counters.octets,
            messages_unchanged=egress.counters.unchanged,
            messages_repacked=egress.counters.repacked,
            messages_replayed=egress.counters.replayed,
            messages_withheld=counters.withheld,
            messages_repaired=counters.repaired,
            octets_out=self._octets_out_gone + sum(member.octets_out for member in self.members),
            prefixes=sum(len(table) for table in self.core.tables.values()),
            paths=sum(sum(member.source.prefixes.values()) for member in self.members),
            behind=sum(group.behind for group in egress.groups),
            by_group=tuple(group_statistics(group) for group in egress.groups),
        )
