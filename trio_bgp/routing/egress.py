"""Who gets which octets: runs of unchanged messages, and repacked parts, to groups of members.

Consecutive messages of one read that go unchanged to the same receivers are one `PassthroughMessage`, a run: one queue
entry and one piece of a gather write for each receiver, however many messages it holds. What cannot go unchanged to a
group is written once for all groups that read it alike.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import attrs

from trio_bgp.passthrough.mask import NO_REQUIREMENT, CapabilityMask
from trio_bgp.passthrough.message import PassthroughMessage
from trio_bgp.passthrough.pool import Slab
from trio_bgp.passthrough.repack import Part, Repacked, Withheld, repack
from trio_bgp.rib.export import View
from trio_bgp.rib.path import Source
from trio_bgp.routing.group import ExportContext, Group, GroupCounters, Member
from trio_bgp.wire.numbers import Family

__all__ = ["Egress", "EgressCounters", "Scope", "Variants", "Written"]

HELD_PIECES: Final = 16
"""Messages that may wait for a receiver as they lie in their slabs. With more it is slow, and 60 octets that wait long
must not keep a slab of 256 KiB: what comes then waits as a copy, one for all receivers that are slow."""
REMEMBERED_GROUPS: Final = 256
"""Groups without members whose counters are kept."""

Scope = Source | tuple[Family, View] | None
"""Receivers: one member, the groups with one view of a family, or everybody."""


@attrs.define
class EgressCounters:
    """What went out, counted in messages times receivers."""

    unchanged: int = 0
    """Received octets, as they were."""
    repacked: int = 0
    """Written here because of a received message: its wanted part, a replacement."""
    replayed: int = 0
    """Written here to tell what there was before: replays, catching up, End-of-RIB."""
    too_long: int = 0
    """Announcements that could not be written for a group and were withdrawn instead."""


@attrs.frozen
class Written:
    """Parts as messages, for all groups that read them alike."""

    message: PassthroughMessage
    withheld: tuple[Withheld, ...]


Variants = dict[object, Written]
"""What was written already of the same parts, by what it depends on."""


class Egress:
    """The receiving members, in groups, and the run that is being collected for them.

    Args:
        withheld: told of each announcement that a group cannot be sent.

    Attributes:
        views: how the receivers see each family.
    """

    def __init__(self, withheld: Callable[[Group, Withheld], None]) -> None:
        self.groups: list[Group] = []
        self.group_of: dict[Member, Group] = {}
        self.member_of: dict[Source, Member] = {}
        self.views: dict[Family, tuple[View, ...]] = {}
        self.counters = EgressCounters()
        self._counters: dict[ExportContext, GroupCounters] = {}
        self._report_withheld = withheld
        self._keep_parts = False
        self._collecting = False
        # The run: messages of one source, in one slab, for all but the source or for those in the scope.
        self._source: Source | None = None
        self._slab: Slab | None = None
        self._start = 0
        self._end = 0
        self._count = 0
        self._required: CapabilityMask = NO_REQUIREMENT
        self._scope: Scope = None
        self._parts: list[Part] = []

    def join(self, member: Member) -> None:
        """Make `member` a receiver of all that comes from here on."""
        for group in self.groups:
            if group.context == member.context:
                break
        else:
            group = Group(member.context, self._counters_of(member.context))
            self.groups.append(group)
            self._note_views()
        group.members.append(member)
        self.group_of[member] = group
        self.member_of[member.source] = member

    def leave(self, member: Member) -> None:
        """Nothing more goes to `member`."""
        group = self.group_of.pop(member)
        group.members.remove(member)
        if member.behind is not None:
            group.behind -= 1
        if not group.members:
            self.groups.remove(group)
            self._note_views()
        del self.member_of[member.source]

    def begin(self, source: Source, slab: Slab) -> None:
        """The runs that follow are messages of `source` in `slab`; what goes out is held back until `end`.

        A receiver is then given all of it at once: most of what one costs is not to be paid for each message.
        """
        self._source = source
        self._slab = slab
        self._collecting = True

    def end(self) -> None:
        """Give all members what was held back for them."""
        self.flush()
        self._collecting = False
        for member, group in self.group_of.items():
            messages = member.pending
            if not messages:
                continue
            member.pending = []
            outbound = member.outbound
            if outbound.waiting >= HELD_PIECES:
                messages = [_compacted(message) for message in messages]
            outbound.put_all(messages)
            if outbound.queued > member.settings.queue_limit and member.behind is None:
                member.behind = {}
                member.detached += 1
                group.behind += 1

    def open(self, start: int, required: CapabilityMask, scope: Scope = None) -> bool:
        """Have a run that begins or goes on with the message at `start`; whether it takes parts.

        They are taken for groups that cannot have the octets as they are, and members that are behind.
        """
        if not self._count or self._end != start or self._required != required or self._scope != scope:
            self.flush()
            self._start = start
            self._required = required
            self._scope = scope
            self._keep_parts = any(group.behind or group.obstacle(required) for group in self.groups)
        return self._keep_parts

    def pass_on(
        self,
        start: int,
        end: int,
        required: CapabilityMask,
        parts: Sequence[Part],
        scope: Scope = None,
        count: int = 1,
    ) -> None:
        """The messages in `slab[start:end]` go unchanged to all but their source, or to those in the scope.

        Args:
            start: where they begin in the slab.
            end: and end.
            required: what a receiver must have negotiated.
            parts: what they say; may be left out if `open` says so.
            scope: see `Scope`.
            count: how many messages these are.
        """
        if self.open(start, required, scope):
            self._parts += parts
        self._end = end
        self._count += count

    def flush(self) -> None:
        """Hand the collected run, if any, to its receivers."""
        if not self._count:
            return
        slab, count, parts, required = self._slab, self._count, self._parts, self._required
        if slab is None:
            raise AssertionError("a run outside begin()")
        self._count = 0
        self._parts = []
        run = PassthroughMessage(slab, self._start, self._end, count, required)
        variants: Variants = {}
        excluded = () if self._source is None else (self._source,)
        try:
            for group, receivers in self._receivers(self._scope, excluded):
                why = group.obstacle(required)
                if not why:
                    live = self._deliver(group, receivers, run, parts)
                    self.counters.unchanged += count * live
                    group.counters.unchanged += count * live
                else:
                    self._deliver_parts(group, receivers, parts, variants, why, count)
        finally:
            for variant in variants.values():
                variant.message.release()
            run.release()

    def abandon(self) -> None:
        """Forget the run that is being collected, and what was held back."""
        self._count = 0
        self._parts = []
        self._collecting = False
        for member in self.group_of:
            held, member.pending = member.pending, []
            for message in held:
                message.release()

    def miss(self, parts: Sequence[Part]) -> None:
        """Have every receiver told the present state of these prefixes, as if it had been too slow for them."""
        for group in self.groups:
            for member in group.members if not group.silent else ():
                if member.behind is None:
                    member.behind = {}
                    group.behind += 1
                _remember(group, member.behind, parts)

    def send(self, parts: Sequence[Part], *, scope: Scope = None, excluded: Sequence[Source] = ()) -> None:
        """Write `parts` anew, to those in the scope but `excluded`. Goes behind the run collected so far."""
        self.flush()
        variants: Variants = {}
        for group, receivers in self._receivers(scope, excluded):
            self._deliver_parts(group, receivers, parts, variants, "part", len(parts))
        for variant in variants.values():
            variant.message.release()

    def send_octets(self, member: Member, octets: bytes, count: int) -> None:
        """Queue messages made for one live member (End-of-RIB, replays)."""
        message = PassthroughMessage.repacked(octets, count, NO_REQUIREMENT)
        self.send_message((member,), message)
        message.release()

    def send_message(self, members: Iterable[Member], message: PassthroughMessage) -> None:
        """Queue a message for live members, one reference each; the caller keeps its own."""
        for member in members:
            message.acquire()
            member.messages_out += message.count
            member.octets_out += len(message)
            member.outbound.put(message)
            self.counters.replayed += message.count

    def repack(self, group: Group, parts: Sequence[Part], receivers: int = 1) -> Repacked:
        """Write parts for so many receivers of a group, reporting what they cannot be sent."""
        wanted = [part for part in parts if part.family in group.views]
        written = repack(wanted, group.maximum, group.views, group.rules)
        self._note_withheld(group, written.withheld, receivers)
        return written

    def write(self, group: Group, parts: Sequence[Part], variants: Variants, receivers: int = 1) -> Written:
        """`repack` as a message that all groups share which read these parts alike, for so many receivers.

        Its reference belongs to `variants`: the caller releases all of them when done.
        """
        # Only what the parts have in them: groups that differ in other families share what is written.
        views = group.views
        families = {part.family for part in parts}
        seen = frozenset([(family, views[family].add_path) for family in families if family in views])
        key = (seen, group.maximum, group.rules)
        written = variants.get(key)
        if written is None:
            packed = self.repack(group, parts, receivers)
            message = PassthroughMessage.repacked(packed.octets, packed.count, NO_REQUIREMENT)
            written = variants[key] = Written(message, packed.withheld)
        else:
            self._note_withheld(group, written.withheld, receivers)
        return written

    def sees(self, source: Source, scope: tuple[Family, View]) -> bool:
        """Whether the member that is this source is a receiver with this view of the family."""
        member = self.member_of.get(source)
        return member is not None and self.group_of[member].views.get(scope[0]) == scope[1]

    def withhold(self, family: Family, view: View, count: int) -> None:
        """Count announcements that receivers of a view may not have."""
        for group in self.groups:
            if group.views.get(family) == view:
                withheld = group.counters.withheld
                withheld["role"] = withheld.get("role", 0) + count * len(group.members)

    def _counters_of(self, context: ExportContext) -> GroupCounters:
        """What such a group got before, too: its members come and go."""
        if len(self._counters) >= REMEMBERED_GROUPS and context not in self._counters:
            self._counters = {group.context: group.counters for group in self.groups}
        return self._counters.setdefault(context, GroupCounters())

    def _note_views(self) -> None:
        views: dict[Family, dict[View, None]] = {}
        for group in self.groups:
            for family, view in group.views.items():
                if view.audience:
                    views.setdefault(family, {})[view] = None
        self.views = {family: tuple(found) for family, found in views.items()}

    def _note_withheld(self, group: Group, withheld: Iterable[Withheld], receivers: int) -> None:
        for each in withheld:
            self.counters.too_long += 1
            group.counters.withheld[each.reason] = group.counters.withheld.get(each.reason, 0) + receivers
            self._report_withheld(group, each)

    def _receivers(self, scope: Scope, excluded: Sequence[Source]) -> Iterable[tuple[Group, Sequence[Member]]]:
        groups = self.groups
        if isinstance(scope, Source):
            member = self.member_of.get(scope)
            if member is None or self.group_of[member].silent:
                return ()
            return ((self.group_of[member], (member,)),)
        if scope is not None:
            family, view = scope
            groups = [group for group in groups if group.views.get(family) == view]
        left_out = [self.member_of.get(source) for source in excluded]
        return [
            (group, [member for member in group.members if member not in left_out])
            for group in groups
            if not group.silent
        ]

    def _deliver_parts(
        self,
        group: Group,
        receivers: Sequence[Member],
        parts: Sequence[Part],
        variants: Variants,
        why: str,
        received: int,
    ) -> None:
        """Deliver `parts` written for the group, which were `received` messages before."""
        if not receivers or not any(part.family in group.views for part in parts):
            return
        message = self.write(group, parts, variants, len(receivers)).message
        live = self._deliver(group, receivers, message, parts)
        self.counters.repacked += message.count * live
        counters = group.counters
        counters.repacked[why] = counters.repacked.get(why, 0) + message.count * live
        if message.count > received:
            counters.split += (message.count - received) * live

    def _deliver(
        self, group: Group, receivers: Sequence[Member], message: PassthroughMessage, parts: Sequence[Part]
    ) -> int:
        """Queue the message for live receivers, remember the prefixes for others; returns how many were live."""
        length = len(message)
        count = message.count
        live = 0
        for member in receivers:
            behind = member.behind
            if behind is None:
                live += 1
                member.messages_out += count
                member.octets_out += length
                member.pending.append(message)
            else:
                _remember(group, behind, parts)
        message.ref_count += live
        if not self._collecting:
            self.end()
        return live


def _compacted(message: PassthroughMessage) -> PassthroughMessage:
    """The same octets, and the same reference, for who may hold them long."""
    alone = message.compact()
    if alone is not message:
        alone.acquire()
        message.release()
    return alone


def _remember(group: Group, behind: dict[Family, set[bytes]], parts: Iterable[Part]) -> None:
    """Note what a member that is behind misses."""
    for part in parts:
        view = group.views.get(part.family)
        if view is None:
            continue
        missed = behind.setdefault(part.family, set())
        if view.add_path and part.lane is not None:
            identifier = part.lane.path_id.to_bytes(4, "big")
            missed.update([identifier + nlri for nlri in part.nlris])
        else:
            missed.update(part.nlris)
