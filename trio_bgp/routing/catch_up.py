"""ReplayScheduler receivers what they have yet to hear, and taking away what a lost peer had: long work in short steps.

A member is a receiver of live messages from the moment it joins. What was there before is told by a `Replay`: it lists
a family's prefixes and tells, step by step, what they have then. Any change before or after that goes out live. So a
replay and live messages can be mixed in any order that keeps each queue's own order.

A member whose queue passed its limit is *behind*: live messages no longer reach it, their prefixes are remembered
instead. When its queue has drained it is told their present state (`catch_up`) and is live again. What lies in between
is never sent, nothing is lost, and what has to be remembered is at most the table's prefixes.
"""

from collections.abc import Iterable, Sequence
from enum import IntEnum
from itertools import islice
from typing import Final

from trio_bgp.passthrough.repack import Part
from trio_bgp.rib.decision import Entry, MedEntry, choose
from trio_bgp.rib.export import ALL_PATHS, View, exports
from trio_bgp.rib.path import Lane, Path, PathIdentifiers, Source
from trio_bgp.rib.table import Table
from trio_bgp.routing.egress import Egress, Variants
from trio_bgp.routing.forward import RoutingCore
from trio_bgp.routing.group import Group, Member
from trio_bgp.wire.numbers import Family
from trio_bgp.wire.route_refresh import RouteRefreshMessage, encode_route_refresh
from trio_bgp.wire.update import end_of_rib

__all__ = ["Progress", "Removal", "Replay", "catch_up", "has_room", "present_state"]

LOW_WATER: Final = 512 * 1024
"""Octets queued below which a member is given more of a replay or caught up."""
STEP_PREFIXES: Final = 2048
"""Prefixes looked at in one step: one or two milliseconds."""
BORR: Final = 1
EORR: Final = 2


class Progress(IntEnum):
    """What a step says of the work that is left."""

    DONE = 0
    MORE = 1
    WAITING = 2
    """There is more, but nobody has room for it now."""


def has_room(member: Member) -> bool:
    """Whether the member's queue is short enough to be given what is not live."""
    return member.outbound.queued <= min(LOW_WATER, member.settings.queue_limit)


class Replay:
    """A family's routes for members that joined together, or for one that asked by ROUTE-REFRESH.

    Args:
        core: the tables and receivers.
        family: the address family.
        view: how the members see it.
        refresh: the answer to a ROUTE-REFRESH (RFC 2918): no End-of-RIB, but BoRR and EoRR for members that negotiated
            enhanced route refresh (RFC 7313). Otherwise End-of-RIB (RFC 4724) ends it.
    """

    def __init__(self, core: RoutingCore, family: Family, view: View, *, refresh: bool) -> None:
        self.family = family
        self.view = view
        self.refresh = refresh
        self.members: list[Member] = []
        self._core = core
        self._egress: Egress = core.egress
        self._table: Table = core.table(family)
        self._keys: list[bytes] | None = None
        self._looked = 0

    @property
    def started(self) -> bool:
        """Once started, nobody else can join it."""
        return self._keys is not None

    def join(self, member: Member) -> None:
        """Add a member, which is a receiver of live messages already."""
        if self.started:
            raise AssertionError("a replay was joined after its start")
        self.members.append(member)

    def leave(self, member: Member) -> None:
        """The member's session ended."""
        if member in self.members:
            self.members.remove(member)

    def step(self) -> tuple[Progress, list["Replay"]]:
        """Do a few milliseconds of work.

        Returns:
            how it stands, and replays for members that could not keep up with the others and go on by themselves.
        """
        if not self.members:
            return Progress.DONE, []
        if self._keys is None:
            self._keys = list(self._table.routes)
            self._mark(BORR)
        ready = [member for member in self.members if member.behind is None and has_room(member)]
        if not ready:
            return Progress.WAITING, []
        # A live member whose queue is long gets this step's prefixes too, as long as its limit allows; one that is
        # behind, or whose queue is full, goes on alone when it has caught up or drained.
        left = [
            self._split_off(member)
            for member in list(self.members)
            if member.behind is not None or member.outbound.queued > member.settings.queue_limit
        ]
        if self._looked >= len(self._keys):
            self._finish()
            return Progress.DONE, left
        nlris = self._keys[self._looked : self._looked + STEP_PREFIXES]
        self._looked += STEP_PREFIXES
        self._tell(nlris)
        return Progress.MORE, left

    def _tell(self, nlris: list[bytes]) -> None:
        """Tell all members what these prefixes have now."""
        by_path: dict[Path, list[bytes]] = {}
        irregular: list[bytes] = []
        last: Entry | None = None
        lists: list[list[bytes]] = []
        for nlri, entry in zip(nlris, map(self._table.routes.get, nlris), strict=True):
            if entry is not last:
                # Prefixes that came together have the same entry more often than not.
                last = entry
                paths = self._regular(entry)
                lists = [irregular] if paths is None else [by_path.setdefault(path, []) for path in paths]
            for each in lists:
                each.append(nlri)
        own = {member.source for member in self.members}
        parts: dict[Source | None, list[Part]] = {}
        for path, found in by_path.items():
            source = path.source if path.source in own else None
            parts.setdefault(source, []).append(Part(self.family, path, found, path.lane))
        for source, told in parts.items():
            self._send_shared(told, source)
        for member in self.members:
            # The source of a path gets what is best without it.
            mine = [] if self.view.add_path else [nlri for part in parts.get(member.source, ()) for nlri in part.nlris]
            alone = self._present(irregular + mine, member)
            if alone:
                packed = self._egress.repack(self._egress.group_of[member], alone)
                self._egress.send_octets(member, packed.octets, packed.count)

    def _regular(self, entry: Entry | None) -> Sequence[Path] | None:
        """The paths that every member gets of an entry, but for those who are their source; None if that depends."""
        audience = self.view.audience
        if entry is None:
            return ()
        if isinstance(entry, Path):
            return (entry,) if entry.audience & audience else ()
        if self.view.add_path:
            if self.view.limit != ALL_PATHS:
                return None
            return [path for path in entry if path.audience & audience]
        if entry.__class__ is MedEntry:
            return None
        for path in entry:
            if path.audience & audience:
                return (path,)
        return ()

    def _present(self, nlris: Iterable[bytes], member: Member) -> list[Part]:
        """What the member should hold of these prefixes now."""
        return present_state(self._table, nlris, member, self.view)

    def _send_shared(self, parts: list[Part], without: Source | None) -> None:
        """Queue parts for all members but one, each written once for all that read them alike."""
        by_group: dict[Group, list[Member]] = {}
        for member in self.members:
            if member.source is not without:
                by_group.setdefault(self._egress.group_of[member], []).append(member)
        variants: Variants = {}
        for group, members in by_group.items():
            self._egress.send_message(members, self._egress.write(group, parts, variants).message)
        for written in variants.values():
            written.message.release()

    def _split_off(self, member: Member) -> "Replay":
        """A replay that goes on for one member from here, over the same list."""
        self.members.remove(member)
        alone = Replay(self._core, self.family, self.view, refresh=self.refresh)
        alone.members = [member]
        alone._keys = self._keys
        alone._looked = self._looked
        return alone

    def _finish(self) -> None:
        if self.refresh:
            self._mark(EORR)
            return
        octets = end_of_rib(self.family)
        for member in self.members:
            self._egress.send_octets(member, octets, 1)

    def _mark(self, subtype: int) -> None:
        """Send BoRR or EoRR to members that know them."""
        if self.refresh:
            octets = encode_route_refresh(RouteRefreshMessage(self.family, subtype))
            for member in self.members:
                if member.negotiated.enhanced_route_refresh:
                    self._egress.send_octets(member, octets, 1)


def present_state(table: Table, nlris: Iterable[bytes], member: Member, view: View) -> list[Part]:
    """What `member` should hold of each prefix now, as parts."""
    by_path: dict[Path, list[bytes]] = {}
    get = table.routes.get
    for nlri in nlris:
        for path in exports(get(nlri), member.source, view):
            by_path.setdefault(path, []).append(nlri)
    return [Part(table.family, path, found, path.lane) for path, found in by_path.items()]


def missed_state(
    table: Table, missed: Iterable[bytes], member: Member, view: View, identifiers: PathIdentifiers
) -> list[Part]:
    """What a member that was behind must be told of what it missed, withdrawals included."""
    by_path: dict[Path | None, list[bytes]] = {}
    get = table.routes.get
    if not view.add_path:
        for nlri in missed:
            by_path.setdefault(choose(get(nlri), member.source, view.audience), []).append(nlri)
        return [Part(table.family, path, found) for path, found in by_path.items()]
    gone: dict[int, list[bytes]] = {}
    for each in missed:
        path_id, nlri = int.from_bytes(each[:4], "big"), each[4:]
        lane = identifiers.find(path_id)
        for path in exports(get(nlri), member.source, view):
            if path.lane is lane:
                by_path.setdefault(path, []).append(nlri)
                break
        else:
            gone.setdefault(path_id, []).append(nlri)
    # The lane may be gone as well: what is left of it is its identifier.
    parts = [
        Part(table.family, None, nlris, identifiers.find(path_id) or Lane(member.source, None, path_id))
        for path_id, nlris in gone.items()
    ]
    return parts + [Part(table.family, path, found, path.lane) for path, found in by_path.items() if path is not None]


def catch_up(core: RoutingCore, member: Member) -> Progress:
    """Tell a member that is behind the present state of some prefixes it missed; live again when none is left."""
    behind = member.behind
    if behind is None:
        return Progress.DONE
    if not has_room(member):
        return Progress.WAITING
    group = core.egress.group_of[member]
    for family in list(behind):
        missed = behind[family]
        nlris = list(islice(missed, STEP_PREFIXES))
        missed.difference_update(nlris)
        if not missed:
            del behind[family]
        parts = missed_state(core.table(family), nlris, member, group.views[family], core.identifiers)
        packed = core.egress.repack(group, parts)
        if packed.octets:
            core.egress.send_octets(member, packed.octets, packed.count)
        break
    if behind:
        return Progress.MORE
    member.behind = None
    group.behind -= 1
    return Progress.DONE


class Removal:
    """Takes the routes of a peer whose session ended out of the tables, telling everybody, in steps.

    Args:
        core: the tables.
        source: whose routes.
        families: only these; None: all, and the source is forgotten.
    """

    def __init__(self, core: RoutingCore, source: Source, families: frozenset[Family] | None = None) -> None:
        self._core = core
        self._source = source
        self._forget = families is None
        self._families = [
            family for family, count in source.prefixes.items() if count and (families is None or family in families)
        ]
        self._keys: list[bytes] = []
        self._looked = 0

    def step(self) -> Progress:
        """Do a few milliseconds of work."""
        source = self._source
        while self._looked >= len(self._keys):
            if not self._families:
                if self._forget:
                    self._core.forget_source(source)
                return Progress.DONE
            self._keys = list(self._core.table(self._families[-1]).routes)
            self._looked = 0
            if not self._keys:
                self._families.pop()
        family = self._families[-1]
        nlris = self._keys[self._looked : self._looked + STEP_PREFIXES]
        self._looked += STEP_PREFIXES
        self._core.withdraw_source(source, family, nlris)
        if self._looked >= len(self._keys) or not source.prefixes.get(family):
            self._families.pop()
            self._keys = []
            self._looked = 0
        return Progress.MORE
