"""Who is to be told more than what happens: members that joined, asked by ROUTE-REFRESH, or were too slow.

That is long work (`trio_bgp.routing.catch_up`), done in short steps, for each in turn, between the forwarder's
commands. Who wants the same at about the same time gets it together.
"""

import logging
from collections.abc import Sequence
from math import inf
from typing import Final

import attrs

from trio_bgp.rib.export import View
from trio_bgp.routing.catch_up import Progress, Replay, catch_up, has_room
from trio_bgp.routing.forward import RoutingCore
from trio_bgp.routing.group import Member
from trio_bgp.runtime.limits import RateLimit
from trio_bgp.wire.numbers import Family

__all__ = ["GATHER_SECONDS", "ReplayScheduler"]

logger = logging.getLogger("trio_bgp.forwarder")

GATHER_SECONDS: Final = 0.05
"""How long a full replay waits for others who join at the same time, to share it with them."""
GATHER_LONGEST: Final = 1.0
GATHER_PREFIXES: Final = 2000
"""A table smaller than this is replayed at once."""
WORK_STEPS: Final = 3
"""Steps of long work, a few milliseconds each, between two looks at the channel and at what other tasks have to do."""
REFRESH_BURST: Final = 20.0
"""Answers to ROUTE-REFRESHes for one family that a peer gets as soon as it asks."""
REFRESH_SECONDS: Final = 5.0
"""And in the long run one in so many seconds."""


@attrs.define(eq=False)
class _Gathering:
    """A replay that others may still join, until it begins."""

    replay: Replay
    since: float
    until: float


class ReplayScheduler:
    """Replays and catching up.

    Args:
        core: the tables and receivers.
    """

    def __init__(self, core: RoutingCore) -> None:
        self._core = core
        self._replays: list[Replay] = []
        self._gathering: dict[tuple[Family, View, bool], _Gathering] = {}
        self._turn = 0
        self._refresh_limits: dict[tuple[Member, Family], RateLimit] = {}
        self._refresh_at: dict[tuple[Member, Family], float] = {}

    @property
    def waiting(self) -> bool:
        """Whether members are to be told more than their queues had room for."""
        return bool(self._replays or self._gathering) or any(group.behind for group in self._core.egress.groups)

    def next_deadline(self) -> float:
        """When `begin` has something to do; infinite if never."""
        return min(
            min((each.until for each in self._gathering.values()), default=inf),
            # Those that wait for an answer under way are looked at when that is done.
            min((at for asked, at in self._refresh_at.items() if not self._refreshing(*asked)), default=inf),
        )

    def leave(self, member: Member) -> None:
        """The member's session ended."""
        for replay in self._replays:
            replay.leave(member)
        for each in self._gathering.values():
            each.replay.leave(member)
        for asked in [asked for asked in self._refresh_limits if asked[0] is member]:
            del self._refresh_limits[asked]
            self._refresh_at.pop(asked, None)

    def forget_gathered(self) -> None:
        """Whoever waits to be told all will be told otherwise."""
        self._gathering.clear()

    def tell_all(self, member: Member, now: float) -> None:
        """Tell a new receiver what there is, End-of-RIB behind it."""
        for family, view in sorted(member.context.views, key=lambda each: each[0]):
            self._gather(member, family, view, now, refresh=False)

    def _gather(self, member: Member, family: Family, view: View, now: float, *, refresh: bool) -> None:
        """Have the member told all there is of a family, together with others who are to be told the same soon."""
        wait = GATHER_SECONDS if len(self._core.table(family)) > GATHER_PREFIXES else 0.0
        found = self._gathering.get((family, view, refresh))
        if found is None:
            found = _Gathering(Replay(self._core, family, view, refresh=refresh), now, now)
            self._gathering[family, view, refresh] = found
        found.replay.join(member)
        found.until = min(found.since + GATHER_LONGEST, now + wait)

    def refresh(self, member: Member, family: Family, now: float) -> None:
        """A member asks for all there is of a family.

        However often it asks, one answer follows another, and soon not at once: the last begins after the last request.
        """
        asked = (member, family)
        if asked in self._refresh_at:
            return
        limit = self._refresh_limits.setdefault(asked, RateLimit(1 / REFRESH_SECONDS, REFRESH_BURST))
        at = now if limit.allow(now) else now + REFRESH_SECONDS
        if at > now or self._refreshing(*asked):
            self._refresh_at[asked] = at
        else:
            self._answer_refresh(*asked, now)

    def begin(self, now: float) -> None:
        """Begin what is due: answers that had to wait, replays that nobody else can join any more."""
        for (member, family), at in list(self._refresh_at.items()):
            if at <= now and not self._refreshing(member, family):
                del self._refresh_at[member, family]
                self._answer_refresh(member, family, now)
        for key, found in list(self._gathering.items()):
            if found.until <= now:
                del self._gathering[key]
                self._replays.append(found.replay)

    def step(self, members: Sequence[Member]) -> bool:
        """A few steps for whoever has room, in turn; whether there were any."""
        behind = [each for each in members if each.behind is not None and has_room(each)]
        tasks: list[Member | Replay] = [*behind, *self._replays]
        # Each has its turn: those that this round has no time for are the first ones of the next.
        start = self._turn % len(tasks) if tasks else 0
        steps = 0
        for position, task in enumerate([*tasks[start:], *tasks[:start]]):
            if steps == WORK_STEPS:
                self._turn = start + position
                break
            if self._step(task) is not Progress.WAITING:
                steps += 1
        return steps > 0

    def _refreshing(self, member: Member, family: Family) -> bool:
        """Whether the member is being told all there is of a family: because it joined, or because it asked."""
        replays = [*self._replays, *(each.replay for each in self._gathering.values())]
        return any(each.family == family and member in each.members for each in replays)

    def _answer_refresh(self, member: Member, family: Family, now: float) -> None:
        self._gather(member, family, dict(member.context.views)[family], now, refresh=True)

    def _step(self, task: Member | Replay) -> Progress:
        """One step of catching up or of a replay."""
        left: list[Replay] = []
        try:
            if isinstance(task, Member):
                return catch_up(self._core, task)
            progress, left = task.step()
        except Exception:
            # Routes that cannot be written for somebody are that one's misfortune.
            members = [task] if isinstance(task, Member) else list(task.members)
            logger.exception("replay.crashed names=%s", ",".join(member.name for member in members))
            for member in members:
                self._core.reset(member)
            progress = Progress.DONE
        self._replays += left
        if progress is Progress.DONE and isinstance(task, Replay):
            self._replays.remove(task)
        return progress
