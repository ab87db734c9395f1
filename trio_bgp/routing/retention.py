"""Keeping the routes of a peer that restarts (RFC 4724, RFC 8538, RFC 9494), and of one that refreshes (RFC 7313).

Stale routes stay in the tables as they are, and nobody is told anything: `Source.stale` remembers which they are, and
whatever the peer says of a prefix takes it off. A session that comes back adopts its predecessor's `Source`, so a route
announced again unchanged changes nothing. What it has not announced again in the end is swept.
"""

import enum
from math import inf
from typing import Final, Protocol

import attrs

from trio_bgp.rib.path import Lane, Source, Stale
from trio_bgp.routing.catch_up import STEP_PREFIXES, Progress, Removal
from trio_bgp.routing.forward import RoutingCore
from trio_bgp.routing.group import Member
from trio_bgp.session.negotiation import Negotiated
from trio_bgp.wire.numbers import Family

__all__ = ["Job", "Retention"]

STALE_SECONDS: Final = 360.0
"""How long a peer that is back has to say End-of-RIB (RFC 4724, section 4.2 asks for such a limit)."""
REFRESH_SECONDS: Final = 600.0
"""How long a peer has from BoRR to EoRR (RFC 7313, section 4.1 asks for such a limit)."""
REFRESH_INTERVAL: Final = 30.0
"""BoRRs that follow more quickly are ignored: marking costs a walk through the table."""


class Job(Protocol):
    """Long work in short steps."""

    def step(self) -> Progress:
        """Do a few milliseconds of work."""


class Mark:
    """Marks all of a source's routes in some families as stale. What it says from here on is not marked."""

    def __init__(self, core: RoutingCore, source: Source, families: frozenset[Family]) -> None:
        self._core = core
        self._source = source
        self._left: list[tuple[Family, Stale, list[bytes]]] = []
        for family in families:
            stale = source.stale[family] = Stale()
            self._left.append((family, stale, list(core.table(family).routes) if source.prefixes.get(family) else []))

    def step(self) -> Progress:
        """See `Job`."""
        if not self._left:
            return Progress.DONE
        family, stale, keys = self._left[-1]
        chunk = keys[-STEP_PREFIXES:]
        del keys[-STEP_PREFIXES:]
        for lane, nlris in self._core.table(family).lanes_of(self._source, chunk).items():
            stale.mark(lane, nlris)
        if not keys:
            stale.marked()
            self._left.pop()
        return Progress.MORE


class Sweep:
    """Withdraws what is still stale of one family; routes announced again meanwhile are safe.

    It is to be done after the marking, which it does not wait for.
    """

    def __init__(self, core: RoutingCore, source: Source, family: Family) -> None:
        self._core = core
        self._source = source
        self._family = family
        self._stale = source.stale.get(family)

    def step(self) -> Progress:
        """See `Job`."""
        stale = self._stale
        lanes = {} if stale is None else stale.lanes
        while lanes:
            lane, nlris = next(iter(lanes.items()))
            chunk = [nlris.pop() for _ in range(min(len(nlris), STEP_PREFIXES))]
            if not nlris:
                del lanes[lane]
            if chunk:
                self._core.withdraw_lane(lane, self._family, chunk)
                return Progress.MORE
        if stale is not None and self._source.stale.get(self._family) is stale:
            del self._source.stale[self._family]
        return Progress.DONE


class Demote:
    """Makes stale routes of one family long-lived stale: announced with LLGR_STALE, least preferred (RFC 9494, 4.2)."""

    def __init__(self, core: RoutingCore, source: Source, family: Family) -> None:
        self._core = core
        self._source = source
        self._family = family
        self._left: list[tuple[Lane, bytes]] | None = None

    def step(self) -> Progress:
        """See `Job`."""
        stale = self._source.stale.get(self._family)
        lanes = {} if stale is None else stale.lanes
        if self._left is None:
            # Only now: the marking may have been under way when this was decided.
            self._left = [(lane, nlri) for lane, nlris in lanes.items() for nlri in nlris]
        chunk = self._left[-STEP_PREFIXES:]
        del self._left[-STEP_PREFIXES:]
        # Taken off meanwhile: the peer is back and has said something of it.
        by_lane: dict[Lane, list[bytes]] = {}
        for lane, nlri in chunk:
            if nlri in lanes.get(lane, ()):
                by_lane.setdefault(lane, []).append(nlri)
        for lane, nlris in by_lane.items():
            self._core.demote(lane, self._family, nlris)
        return Progress.MORE if self._left else Progress.DONE


class _Phase(enum.Enum):
    AWAY = "away"
    LONG_LIVED = "long-lived"
    BACK = "back"


@attrs.define(eq=False)
class _Kept:
    """A peer whose routes, or some of them, are stale."""

    source: Source
    negotiated: Negotiated
    """Of the session in which it announced them."""
    phase: _Phase
    deadline: float
    long_lived: dict[Family, float] = attrs.Factory(dict)
    """Seconds for which a family's routes are kept once the restart time is over; then, the time when that ends."""


class Retention:
    """Who restarts, and until when its routes are kept.

    All methods that take `now` (seconds on the caller's clock) return work to be done in steps, in order.
    """

    def __init__(self, core: RoutingCore) -> None:
        self._core = core
        self._kept: dict[str, _Kept] = {}
        self._refreshing: dict[tuple[Source, Family], float] = {}
        self._refreshed: dict[tuple[str, Family], float] = {}

    def kept(self) -> dict[str, str]:
        """The peers whose routes are kept, and how they are: `away`, `long-lived`, `back`."""
        return {name: kept.phase.value for name, kept in self._kept.items()}

    def next_deadline(self) -> float:
        """When `due` has something to do; inf for never."""
        return min((*(kept.deadline for kept in self._kept.values()), *self._refreshing.values()), default=inf)

    def lost(self, member: Member, now: float, *, graceful: bool) -> list[Job]:
        """A session ended.

        Args:
            member: whose; it has left the core already.
            now: the time.
            graceful: its end allows for keeping routes: neither side sent a NOTIFICATION that forbids it.
        """
        source = member.source
        core = self._core
        jobs: list[Job] = []
        self._kept.pop(member.name, None)
        self._forget_refreshes(source)
        # What was stale before is gone now, consecutive restarts or not (RFC 4724, section 4.2).
        jobs += [Sweep(core, source, family) for family in list(source.stale)]
        source.stale = {}
        offer = member.negotiated.graceful_restart
        families = frozenset[Family]()
        long_lived: dict[Family, float] = {}
        if graceful and member.settings.graceful_restart and offer is not None:
            families = frozenset(family for family, _ in offer.families) & member.negotiated.families
            limit = member.settings.long_lived_stale_time
            if limit:
                entries = member.negotiated.long_lived_families
                long_lived = {family: min(seconds, limit) for family, seconds in entries.items() if seconds}
        kept = families | long_lived.keys() if offer is not None else frozenset()
        if not kept:
            return [*jobs, Removal(core, source)]
        others = frozenset(source.prefixes) - kept
        if others:
            jobs.append(Removal(core, source, families=others))
        jobs.append(Mark(core, source, kept))
        seconds = offer.restart_time if offer is not None and families else 0
        entry = _Kept(source, member.negotiated, _Phase.AWAY, now + seconds, long_lived)
        self._kept[member.name] = entry
        return jobs

    def returned(self, member: Member, now: float) -> list[Job]:
        """A session was established; call it before the member joins the core, whose source it may change."""
        kept = self._kept.pop(member.name, None)
        if kept is None:
            return []
        source = kept.source
        before, after = kept.negotiated, member.negotiated
        if (before.asn4, before.external, before.peer_as, before.add_path_receive) != (
            after.asn4,
            after.external,
            after.peer_as,
            after.add_path_receive,
        ):
            source.stale = {}
            return [Removal(self._core, source)]
        source.bgp_identifier = after.bgp_identifier
        source.address = member.source.address
        member.source = source
        offer = after.graceful_restart
        forwarding = {family for family, preserved in offer.families if preserved} if offer is not None else set()
        if kept.long_lived:
            forwarding |= after.long_lived_forwarding
        jobs: list[Job] = [
            Sweep(self._core, source, family)
            for family in source.stale
            if family not in forwarding or family not in after.families
        ]
        if source.stale:
            kept.phase = _Phase.BACK
            kept.negotiated = after
            kept.deadline = now + STALE_SECONDS
            self._kept[member.name] = kept
        return jobs

    def end_of_rib(self, member: Member, family: Family) -> list[Job]:
        """The peer has announced all it has (RFC 4724, section 4.2)."""
        kept = self._kept.get(member.name)
        if kept is None or kept.phase is not _Phase.BACK or family not in member.source.stale:
            return []
        if set(member.source.stale) <= member.end_of_rib:
            del self._kept[member.name]
        return [Sweep(self._core, member.source, family)]

    def begin_refresh(self, member: Member, family: Family, now: float) -> list[Job]:
        """BoRR: the peer begins to announce all it has again (RFC 7313, section 4.1)."""
        last = self._refreshed.get((member.name, family), -inf)
        if family in member.source.stale or now - last < REFRESH_INTERVAL:
            return []
        self._refreshed = {key: at for key, at in self._refreshed.items() if now - at < REFRESH_INTERVAL}
        self._refreshed[member.name, family] = now
        self._refreshing[member.source, family] = now + REFRESH_SECONDS
        return [Mark(self._core, member.source, frozenset({family}))]

    def end_refresh(self, member: Member, family: Family) -> list[Job]:
        """EoRR: what it has not announced again it has no longer."""
        if self._refreshing.pop((member.source, family), None) is None:
            return []
        return [Sweep(self._core, member.source, family)]

    def due(self, now: float) -> list[Job]:
        """What is to be done because time has passed."""
        core = self._core
        jobs: list[Job] = []
        for (source, family), deadline in list(self._refreshing.items()):
            if deadline <= now:
                del self._refreshing[source, family]
                jobs.append(Sweep(core, source, family))
        for name, kept in list(self._kept.items()):
            if kept.deadline > now:
                continue
            source = kept.source
            if kept.phase is _Phase.BACK:
                del self._kept[name]
                jobs += [Sweep(core, source, family) for family in source.stale]
            elif kept.phase is _Phase.AWAY and kept.long_lived:
                kept.phase = _Phase.LONG_LIVED
                kept.long_lived = {family: now + seconds for family, seconds in kept.long_lived.items()}
                jobs += [
                    (Demote if family in kept.long_lived else Sweep)(core, source, family) for family in source.stale
                ]
                kept.deadline = min(kept.long_lived.values())
            elif kept.phase is _Phase.LONG_LIVED and any(end > now for end in kept.long_lived.values()):
                for family in [family for family, end in kept.long_lived.items() if end <= now]:
                    del kept.long_lived[family]
                    jobs.append(Sweep(core, source, family))
                kept.deadline = min(kept.long_lived.values())
            else:
                del self._kept[name]
                source.stale = {}
                jobs.append(Removal(core, source))
        return jobs

    def _forget_refreshes(self, source: Source) -> None:
        for key in [key for key in self._refreshing if key[0] is source]:
            del self._refreshing[key]
