"""The forwarder task: the one place where the RIB is changed and where it is decided what goes to whom.

Everything reaches it through one memory channel, in order: sessions that come up, their UPDATEs a read at a time,
refresh requests, sessions that end. Between commands it does long work (replays, removals, catching up) in short steps,
so that no peer waits for another's full table.
"""

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from math import inf
from typing import Final

import attrs
import trio

from trio_bgp.passthrough.cache import CacheFullError, MessageCache
from trio_bgp.passthrough.catch_up import BORR, EORR, Progress, Replay, catch_up, has_room
from trio_bgp.passthrough.forward import RouteServer
from trio_bgp.passthrough.group import Group, Member, OutboundQueue
from trio_bgp.passthrough.mask import NO_REQUIREMENT, describe
from trio_bgp.passthrough.message import PassthroughMessage
from trio_bgp.passthrough.pool import BufferPool
from trio_bgp.passthrough.repack import Withheld
from trio_bgp.passthrough.retention import Job, Retention
from trio_bgp.rib.export import View
from trio_bgp.rib.path import Source
from trio_bgp.runtime.limits import RateLimit
from trio_bgp.runtime.monitor import Monitor
from trio_bgp.runtime.outbound import Cork
from trio_bgp.runtime.reader import Batch
from trio_bgp.session.events import Close
from trio_bgp.session.negotiation import Negotiated
from trio_bgp.settings import PeerSettings, Settings
from trio_bgp.wire.numbers import Family, family_name
from trio_bgp.wire.route_refresh import RouteRefreshMessage

__all__ = [
    "Command",
    "EndOfRib",
    "Forwarder",
    "ForwarderStatistics",
    "GroupStatistics",
    "Handshake",
    "HeldMessage",
    "Intercept",
    "Observer",
    "PeerDown",
    "PeerUp",
    "Refresh",
    "SessionObserver",
    "Updates",
]

logger = logging.getLogger("trio_bgp.forwarder")

INBOX_COMMANDS: Final = 32
"""Commands that may wait, about a read each. When the channel is full the senders' read tasks wait, in turn."""
GATHER_SECONDS: Final = 0.05
"""How long a full replay waits for others who join at the same time, to share it with them."""
GATHER_LONGEST: Final = 1.0
GATHER_PREFIXES: Final = 2000
"""A table smaller than this is replayed at once."""
SLICE_MESSAGES: Final = 1024
"""UPDATEs that are handled, about, before other tasks have their turn: ten milliseconds or so."""
WORK_STEPS: Final = 3
"""Steps of long work, a few milliseconds each, between two looks at the channel and at what other tasks have to do."""
LOGGED_OCTETS: Final = 128
LOGGED_RATE: Final = 2.0
"""Refused UPDATEs of one peer that are logged in a second, in the long run."""
REFRESH_BURST: Final = 20.0
"""Answers to ROUTE-REFRESHes for one family that a peer gets as soon as it asks."""
REFRESH_SECONDS: Final = 5.0
"""And in the long run one in so many seconds."""
LOGGED_BURST: Final = 20.0


@attrs.frozen
class Handshake:
    """How a session came about."""

    sent_open: bytes
    """Our OPEN, the whole message."""
    received_open: bytes
    """The peer's."""
    local_port: int = 0
    """Our TCP port; 0 where the connection has none."""
    peer_port: int = 0


@attrs.frozen
class PeerUp:
    """A session was established."""

    member: Member
    handshake: Handshake = Handshake(b"", b"")


def _nobody() -> None:
    """Nobody waits for that."""


@attrs.frozen
class Updates:
    """UPDATEs of one read; the forwarder takes over the batch's reference."""

    member: Member
    batch: Batch
    handled: Callable[[], None] = _nobody
    """Called when that is done. A session has one command here at a time, so that all have their turn."""


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


@attrs.frozen
class PeerDown:
    """A session ended: nothing more comes from it, and its routes go, unless they are kept for a restart."""

    member: Member
    graceful: bool = False
    """Neither side said anything that forbids to keep them."""
    close: Close | None = None
    """How it ended; None: it was broken off without a word."""


@attrs.frozen
class EndOfRib:
    """A peer has said all it has of a family; for observers only."""

    member: Member
    family: Family


@attrs.frozen
class Refresh:
    """The peer sent a ROUTE-REFRESH for a family it negotiated."""

    member: Member
    message: RouteRefreshMessage


@attrs.frozen
class Wake:
    """A queue has drained; look again at who waits for that."""


Command = PeerUp | Updates | PeerDown | Refresh | Wake


@attrs.frozen
class HeldMessage:
    """A received UPDATE that a program may hold (see `Forwarder.intercept`)."""

    number: int
    """In `Forwarder.held`."""
    peer: str
    """The name of the peer that sent it."""
    octets: bytes
    """The whole message, header included."""


Observer = Callable[[str, bytes], None]
"""Told the name of the peer and the whole UPDATE."""
SessionObserver = Callable[[PeerUp | EndOfRib | PeerDown], None]
"""Told of each session that comes up, each End-of-RIB it says, and its end, in order with its UPDATEs."""
Intercept = Callable[[HeldMessage], bool]
"""Asked for each received UPDATE: True to hold it, False to let it go its way."""


@attrs.frozen
class GroupStatistics:
    """A snapshot of what members with one export context got."""

    members: tuple[str, ...]
    """Their names."""
    role: str
    negotiated: str
    """Their capability mask in words."""
    unchanged: int
    """Messages sent as the received octets, times receivers."""
    repacked: Mapping[str, int]
    """Messages written here because of a received one, times receivers, by why."""
    split: int
    withheld: Mapping[str, int]
    """Announcements not sent, by why."""

    @property
    def share_unchanged(self) -> float:
        """Of the messages sent because one was received, the share that are its octets; 1 if none was sent."""
        sent = self.unchanged + sum(self.repacked.values())
        return self.unchanged / sent if sent else 1.0


@attrs.frozen
class ForwarderStatistics:
    """A snapshot of what went through. Messages out are counted once for each receiver."""

    members: int
    groups: int
    messages_in: int
    octets_in: int
    messages_unchanged: int
    """Sent as the received octets."""
    messages_repacked: int
    """Sent as octets written here because of a received message: wanted parts, replacements."""
    messages_replayed: int
    """Sent to tell what there was before: replays, catching up, End-of-RIB."""
    messages_withheld: int
    """Received UPDATEs that changed nothing for anybody."""
    messages_repaired: int
    """Received UPDATEs that were repaired or refused."""
    octets_out: int
    prefixes: int
    paths: int
    behind: int
    """Members that are catching up."""
    by_group: tuple[GroupStatistics, ...] = ()

    @property
    def share_unchanged(self) -> float:
        """Of the messages sent because one was received, the share that are its octets; 1 if none was sent."""
        sent = self.messages_unchanged + self.messages_repacked
        return self.messages_unchanged / sent if sent else 1.0


@attrs.define(eq=False)
class _Gathering:
    """A replay that others may still join, until it begins."""

    replay: Replay
    since: float
    until: float


class Forwarder:
    """Owns the RIB and the members.

    Args:
        settings: the whole configuration.
        pool: where read tasks get their slabs; kept here because it lives as long.
    """

    def __init__(self, settings: Settings, pool: BufferPool | None = None) -> None:
        self.pool = BufferPool() if pool is None else pool
        self.server = RouteServer(settings.speaker, self._report, self._withheld)
        self._speaker = settings.speaker
        self.held = MessageCache()
        """Messages that a program holds."""
        self.intercept: Intercept | None = None
        """Asked for each received UPDATE whether it is to be held; must not block."""
        self._held_from: dict[int, Member] = {}
        self.observers: list[Observer] = []
        """Told of each received UPDATE before it is handled; must not block."""
        self.monitors: list[Monitor] = []
        """Told of sessions' states and messages by their connections."""
        self.session_observers: list[SessionObserver] = []
        """Told of a session before it gets any routes, and of its end when it gets no more; must not block."""
        self.sessions: dict[Member, PeerUp] = {}
        """Those that are up, and how they came about."""
        self.local: Source | None = None
        self.cork = Cork()
        self.inbox: trio.MemorySendChannel[Command]
        self.inbox, self._commands = trio.open_memory_channel[Command](INBOX_COMMANDS)
        self.members: list[Member] = []
        self._replays: list[Replay] = []
        self._gathering: dict[tuple[Family, View, bool], _Gathering] = {}
        self._turn = 0
        self._started: deque[_Started] = deque()
        self._jobs: deque[Job] = deque()
        self._retention = Retention(self.server)
        self.server.on_end_of_rib = self._end_of_rib
        self._octets_out_gone = 0
        self._report_limits: dict[str, RateLimit] = {}
        self._leaving = False
        self._refresh_limits: dict[tuple[Member, Family], RateLimit] = {}
        self._refresh_at: dict[tuple[Member, Family], float] = {}
        # After a restart: who is up but is not told anything yet, until when, and whose End-of-RIB is waited for.
        self._deferred: list[Member] | None = None
        self._deferred_until = inf
        self._awaited: set[str] = set()
        if settings.speaker.restarting and settings.speaker.restart_time:
            self._deferred = []
            self._awaited = {peer.name for peer in settings.peers if peer.address is not None}
        self._can_work = False

    @property
    def deferring(self) -> bool:
        """We have been restarted and tell nobody anything yet."""
        return self._deferred is not None

    def member(
        self,
        *,
        settings: PeerSettings,
        name: str,
        address: IPv4Address | IPv6Address,
        negotiated: Negotiated,
        outbound: OutboundQueue,
        local_address: IPv4Address | IPv6Address | None = None,
    ) -> Member:
        """Make a member for a session that was just established; it takes part after `PeerUp`."""
        outbound.drained = self.wake
        return Member(
            name=name,
            address=address,
            settings=settings,
            negotiated=negotiated,
            outbound=outbound,
            speaker=self._speaker,
            local_address=local_address,
        )

    def wake(self) -> None:
        """Have the forwarder look again at who waits for something. Never blocks."""
        if self._waiting():
            # If the channel is full there are commands to handle, and it looks after each of them.
            with contextlib.suppress(trio.WouldBlock):
                self.inbox.send_nowait(Wake())

    def _waiting(self) -> bool:
        """Whether members are to be told more than their queues had room for."""
        return bool(self._replays or self._gathering) or any(group.behind for group in self.server.egress.groups)

    def _uncork(self) -> None:
        """Send what was put since the cork was set; who waited for room may have it now."""
        if self.cork.flush() and self._waiting():
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
                if isinstance(command, Updates):
                    self._started.append(_Started(command))
                if self._started:
                    handled += self._next_slice()
                self.cork.active = True
                try:
                    if command is not None and not isinstance(command, Updates):
                        self._handle(command)
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
            min((each.until for each in self._gathering.values()), default=inf),
            self._retention.next_deadline(),
            self._deferred_until,
            # Those that wait for an answer under way are looked at when that is done.
            min((at for asked, at in self._refresh_at.items() if not self._refreshing(*asked)), default=inf),
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
        self.cork.active = True
        try:
            if self.observers:
                self._observe(member, batch)
            if self.intercept is None:
                self.server.updates(member, batch.message, batch.offsets)
            else:
                self._intercepted(member, batch, self.intercept)
        except Exception:
            # A bug that one peer's octets have found must not be the others' misfortune.
            octets = bytes(batch.message.octets[: 4 * LOGGED_OCTETS]).hex()
            logger.exception("update.crashed name=%s octets=%s", member.name, octets)
            self.server.recover(member, batch.message, batch.offsets)
        finally:
            self._uncork()
        self._can_work = True

    def _intercepted(self, member: Member, batch: Batch, intercept: Intercept) -> None:
        """Handle UPDATEs one by one, holding those that the program asks for."""
        for index, offset in enumerate(batch.offsets):
            one = batch.split(index, index + 1)
            try:
                octets = bytes(one.message.octets)
                kept = PassthroughMessage.apart(octets, 1, NO_REQUIREMENT)
                try:
                    number = self.held.add(kept)
                except CacheFullError as error:
                    logger.warning("update.not_held name=%s cause=%r", member.name, str(error))
                    number = 0
                if number and intercept(HeldMessage(number, member.name, octets)):
                    self._held_from[number] = member
                    continue
                if number and self.held.contains(number):
                    self.held.delete(number)
                self.server.updates(member, one.message, [offset])
            finally:
                one.release()

    def forward(self, number: int, to: Iterable[str] | None = None) -> None:
        """Forward a held message, which is no longer held then.

        Args:
            number: of the message.
            to: names of established peers that get it, past the RIB: unchanged where they can read it as it is, else
                repacked. What they make of it, and taking it back, is the program's business. None: it is handled as if
                it had just been received.

        Raises:
            KeyError: no such message is held.
            LookupError: the sender's session has ended, or a peer is not established, is catching up, or is not to be
                sent anything (RFC 8212); the message is still held then.
            NotificationError: `to` is given and the message is malformed.
        """
        source = self._held_from[number] if self.held.contains(number) else None
        if source is None:
            raise KeyError(number)
        if source not in self.members:
            raise LookupError(f"the session with {source.name}, which sent it, has ended")
        targets: list[Member] = []
        for name in () if to is None else to:
            member = next((each for each in self.members if each.name == name), None)
            if member is None or member.behind is not None:
                raise LookupError(f"{name} is {'not established' if member is None else 'catching up'}")
            if not member.settings.exports:
                raise LookupError(f"{name} is sent nothing: its export policy is none (RFC 8212)")
            targets.append(member)
        message = self.held.take(number)
        del self._held_from[number]
        try:
            if to is not None:
                self.server.forward_to(source, message, targets)
                return
            slab = self.pool.take()
            slab.data[: len(message)] = message.octets
            again = PassthroughMessage(slab, 0, len(message), 1, NO_REQUIREMENT)
            slab.release()
            try:
                self.server.updates(source, again, [0])
            finally:
                again.release()
        finally:
            message.release()
            self.wake()

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
        """Announce a route of our own; see `RouteServer.announce_local`."""
        if self.local is None:
            self.local = Source(
                name="local",
                peer_as=self._speaker.local_as,
                bgp_identifier=self._speaker.bgp_identifier,
                address=0,
                external=False,
            )
            self.local.local = True
        self.server.announce_local(self.local, family, key, attributes, next_hop)
        self.wake()

    def withdraw(self, family: Family, key: bytes) -> bool:
        """Withdraw a route of our own; False if there is none."""
        if self.local is None:
            return False
        lanes = self.server.table(family).lanes_of(self.local, [key])
        for lane, nlris in lanes.items():
            self.server.withdraw_lane(lane, family, nlris)
        self.wake()
        return bool(lanes)

    def refresh(self, member: Member) -> None:
        """Tell a member all its routes again, as if it had asked."""
        for family in member.negotiated.families:
            self._refresh(member, RouteRefreshMessage(family, 0))
        self.wake()

    def drop(self, number: int) -> None:
        """Forget a held message.

        Raises:
            KeyError: no such message is held.
        """
        self.held.delete(number)
        self._held_from.pop(number, None)

    def _peer_up(self, command: PeerUp) -> None:
        now = trio.current_time()
        member = command.member
        self.members.append(member)
        self.sessions[member] = command
        self._jobs.extend(self._retention.returned(member, now))
        self._tell_observers(command)
        if self._deferred is not None:
            self.server.join_source(member)
            self._deferred.append(member)
            return
        if self._leaving:
            member.mark_graceful_shutdown()
        self.server.join(member)
        self._replay_to(member, now)

    def _replay_to(self, member: Member, now: float) -> None:
        """Tell a new receiver what there is."""
        for family, view in sorted(member.context.views, key=lambda each: each[0]):
            self._gather(member, family, view, now, refresh=False)

    def _gather(self, member: Member, family: Family, view: View, now: float, *, refresh: bool) -> None:
        """Have the member told all there is of a family, together with others who are to be told the same soon."""
        wait = GATHER_SECONDS if len(self.server.table(family)) > GATHER_PREFIXES else 0.0
        found = self._gathering.get((family, view, refresh))
        if found is None:
            found = _Gathering(Replay(self.server, family, view, refresh=refresh), now, now)
            self._gathering[family, view, refresh] = found
        found.replay.join(member)
        found.until = min(found.since + GATHER_LONGEST, now + wait)

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
        self.server.leave(member)
        for replay in self._replays:
            replay.leave(member)
        for asked in [asked for asked in self._refresh_limits if asked[0] is member]:
            del self._refresh_limits[asked]
            self._refresh_at.pop(asked, None)
        for each in self._gathering.values():
            each.replay.leave(member)
        if self._deferred is not None and member in self._deferred:
            self._deferred.remove(member)
        # Who comes and goes does not get to fill the log each time.
        now = trio.current_time()
        self._report_limits = {name: limit for name, limit in self._report_limits.items() if not limit.idle(now)}
        self._jobs.extend(self._retention.lost(member, now, graceful=command.graceful))

    def mark_graceful_shutdown(self) -> None:
        """Announce all routes again with GRACEFUL_SHUTDOWN, to whoever is up and will come (RFC 8326, section 4)."""
        self._leaving = True
        self._gathering.clear()
        for member in self.members:
            if member in self.server.egress.group_of:
                self.server.leave_receiver(member)
                member.behind = None
                member.mark_graceful_shutdown()
                self.server.join_receiver(member)
                self._replay_to(member, trio.current_time())
        with contextlib.suppress(trio.WouldBlock):
            self.inbox.send_nowait(Wake())

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
        self._deferred_until = inf
        now = trio.current_time()
        logger.info("forwarder.restarted peers=%d", len(members))
        for member in members:
            self.server.join_receiver(member)
            self._replay_to(member, now)

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
        asked = (member, message.family)
        # However often it is asked, one answer follows another, and soon not at once: the last begins after the last
        # request.
        if asked in self._refresh_at:
            return
        limit = self._refresh_limits.setdefault(asked, RateLimit(1 / REFRESH_SECONDS, REFRESH_BURST))
        at = now if limit.allow(now) else now + REFRESH_SECONDS
        if at > now or self._refreshing(*asked):
            self._refresh_at[asked] = at
        else:
            self._answer_refresh(*asked)

    def _refreshing(self, member: Member, family: Family) -> bool:
        """Whether the member is being told all there is of a family: because it joined, or because it asked."""
        replays = [*self._replays, *(each.replay for each in self._gathering.values())]
        return any(each.family == family and member in each.members for each in replays)

    def _answer_due(self, now: float) -> None:
        """Answer requests that had to wait."""
        for (member, family), at in list(self._refresh_at.items()):
            if at <= now and not self._refreshing(member, family):
                del self._refresh_at[member, family]
                self._answer_refresh(member, family)

    def _answer_refresh(self, member: Member, family: Family) -> None:
        view = dict(member.context.views)[family]
        self._gather(member, family, view, trio.current_time(), refresh=True)

    def _work(self) -> bool:
        """A few short steps of what there is to do, in turn; whether anything was done."""
        now = trio.current_time()
        if self._retention.next_deadline() <= now:
            self._jobs.extend(self._retention.due(now))
        if self._deferred_until <= now:
            self._end_deferral()
        if self._refresh_at:
            self._answer_due(now)
        for key, found in list(self._gathering.items()):
            if found.until <= now:
                del self._gathering[key]
                self._replays.append(found.replay)
        self._can_work = False
        worked = False
        if self._jobs:
            worked = self._can_work = True
            if self._jobs[0].step() is Progress.DONE:
                self._jobs.popleft()
        behind = [each for each in self.members if each.behind is not None and has_room(each)]
        tasks: list[Member | Replay] = [*behind, *self._replays]
        # Each has its turn: those that this round has no time for are the first ones of the next.
        start = self._turn % len(tasks) if tasks else 0
        steps = 0
        for position, task in enumerate([*tasks[start:], *tasks[:start]]):
            if steps == WORK_STEPS:
                self._turn = start + position
                self._can_work = True
                break
            progress = self._step(task)
            if progress is not Progress.WAITING:
                steps += 1
                self._can_work = True
        return worked or steps > 0

    def _step(self, task: Member | Replay) -> Progress:
        """One step of catching up or of a replay."""
        left: list[Replay] = []
        try:
            if isinstance(task, Member):
                return catch_up(self.server, task)
            progress, left = task.step()
        except Exception:
            # Routes that cannot be written for somebody are that one's misfortune.
            members = [task] if isinstance(task, Member) else list(task.members)
            logger.exception("replay.crashed names=%s", ",".join(member.name for member in members))
            for member in members:
                self.server.reset(member)
            progress = Progress.DONE
        self._replays += left
        if progress is Progress.DONE and isinstance(task, Replay):
            self._replays.remove(task)
        return progress

    def _may_log(self, name: str) -> bool:
        """Whether a line about what this peer sent may be written now."""
        limit = self._report_limits.setdefault(name, RateLimit(LOGGED_RATE, LOGGED_BURST))
        if not limit.allow(trio.current_time()):
            return False
        if refused := limit.take_refused():
            logger.warning("update.refused name=%s cause='%d more were not logged'", name, refused)
        return True

    def _report(self, member: Member, cause: str, octets: bytes) -> None:
        if not self._may_log(member.name):
            return
        shown = octets[:LOGGED_OCTETS].hex() + ("..." if len(octets) > LOGGED_OCTETS else "")
        logger.warning("update.refused name=%s cause=%r octets=%s", member.name, cause, shown)

    def _withheld(self, group: Group, withheld: Withheld) -> None:
        part = withheld.part
        if part.path is not None and not self._may_log(part.path.source.name):
            return
        logger.warning(
            "update.withheld cause=%s family=%s prefixes=%d source=%s maximum=%d: withdrawn from %d peers",
            withheld.reason,
            family_name(part.family),
            len(part.nlris),
            part.path.source.name if part.path is not None else "-",
            group.maximum,
            len(group.members),
        )

    def statistics(self) -> ForwarderStatistics:
        """Counters and sizes as they are now."""
        egress = self.server.egress
        counters = self.server.counters
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
            prefixes=sum(len(table) for table in self.server.tables.values()),
            paths=sum(sum(member.source.prefixes.values()) for member in self.members),
            behind=sum(group.behind for group in egress.groups),
            by_group=tuple(_group_statistics(group) for group in egress.groups),
        )


def _group_statistics(group: Group) -> GroupStatistics:
    counters = group.counters
    return GroupStatistics(
        members=tuple(member.name for member in group.members),
        role=group.rules.role.value,
        negotiated=describe(group.mask),
        unchanged=counters.unchanged,
        repacked=dict(counters.repacked),
        split=counters.split,
        withheld=dict(counters.withheld),
    )
