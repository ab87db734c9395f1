"""Who gets which octets: runs of unchanged messages, and repacked parts, to groups of members.

Consecutive messages of one read that go unchanged to the same receivers are one `PassthroughMessage`, a run: one queue
entry and one piece of a gather write for each receiver, however many messages it holds. What cannot go unchanged to a
group is written once for the group's maximum and shared by all that have the same.
"""

from collections.abc import Callable, Iterable, Sequence

import attrs

from trio_bgp.passthrough.group import Group, Member
from trio_bgp.passthrough.mask import NO_REQUIREMENT, CapabilityMask
from trio_bgp.passthrough.message import PassthroughMessage
from trio_bgp.passthrough.pool import Slab
from trio_bgp.passthrough.repack import Part, Repacked, repack
from trio_bgp.rib.path import Source
from trio_bgp.wire.numbers import Family

__all__ = ["Egress", "EgressCounters"]


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
    """Parts that no receiver of the group could take in one message and that were withdrawn instead."""


class Egress:
    """The receiving members, in groups, and the run that is being collected for them.

    Args:
        too_long: told of each announcement whose attributes exceed a group's maximum.
    """

    def __init__(self, too_long: Callable[[Group, Part], None]) -> None:
        self.groups: list[Group] = []
        self.group_of: dict[Member, Group] = {}
        self.member_of: dict[Source, Member] = {}
        self.counters = EgressCounters()
        self._too_long = too_long
        self._keep_parts = False
        # The run: messages of one source, in one slab, for all but the source or for one member alone.
        self._source: Source | None = None
        self._slab: Slab | None = None
        self._start = 0
        self._end = 0
        self._count = 0
        self._required: CapabilityMask = NO_REQUIREMENT
        self._target: Source | None = None
        self._parts: list[Part] = []

    def join(self, member: Member) -> None:
        """Make `member` a receiver of all that comes from here on."""
        for group in self.groups:
            if group.mask == member.mask and group.families == member.negotiated.families:
                break
        else:
            group = Group(member)
            self.groups.append(group)
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
        del self.member_of[member.source]

    def begin(self, source: Source, slab: Slab) -> None:
        """The runs that follow are messages of `source` in `slab`."""
        self._source = source
        self._slab = slab

    def pass_on(
        self, start: int, end: int, required: CapabilityMask, parts: Sequence[Part], target: Source | None = None
    ) -> None:
        """The message in `slab[start:end]` goes unchanged to all but its source, or to `target` alone."""
        if self._count and self._end == start and self._required == required and self._target is target:
            self._end = end
            self._count += 1
        else:
            self.flush()
            self._start = start
            self._end = end
            self._count = 1
            self._required = required
            self._target = target
            self._keep_parts = any(group.behind or not group.passes(required) for group in self.groups)
        if self._keep_parts:
            self._parts += parts

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
        variants: dict[tuple[int, frozenset[Family]], PassthroughMessage] = {}
        for group, receivers in self._receivers(self._target, () if self._source is None else (self._source,)):
            if group.passes(required):
                self.counters.unchanged += count * self._deliver(group, receivers, run, parts)
            else:
                self._deliver_parts(group, receivers, parts, variants)
        for variant in variants.values():
            variant.release()
        run.release()

    def send(self, parts: Sequence[Part], *, only: Source | None = None, excluded: Sequence[Source] = ()) -> None:
        """Write `parts` anew, to `only` or to all but `excluded`. Goes behind the run collected so far."""
        self.flush()
        variants: dict[tuple[int, frozenset[Family]], PassthroughMessage] = {}
        for group, receivers in self._receivers(only, excluded):
            self._deliver_parts(group, receivers, parts, variants)
        for variant in variants.values():
            variant.release()

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

    def repack(self, group: Group, parts: Sequence[Part]) -> Repacked:
        """Write parts for a group, reporting what is too long for it."""
        written = repack([part for part in parts if part.family in group.families], group.maximum)
        for part in written.too_long:
            self.counters.too_long += 1
            self._too_long(group, part)
        return written

    def _receivers(self, only: Source | None, excluded: Sequence[Source]) -> Iterable[tuple[Group, Sequence[Member]]]:
        if only is not None:
            member = self.member_of.get(only)
            return () if member is None else ((self.group_of[member], (member,)),)
        left_out = [self.member_of.get(source) for source in excluded]
        return [(group, [member for member in group.members if member not in left_out]) for group in self.groups]

    def _deliver_parts(
        self,
        group: Group,
        receivers: Sequence[Member],
        parts: Sequence[Part],
        variants: dict[tuple[int, frozenset[Family]], PassthroughMessage],
    ) -> None:
        """Deliver `parts` written for the group; `variants` keeps what was written, by what it depends on."""
        if not receivers or not any(part.family in group.families for part in parts):
            return
        key = (group.maximum, group.families)
        variant = variants.get(key)
        if variant is None:
            written = self.repack(group, parts)
            variant = variants[key] = PassthroughMessage.repacked(written.octets, written.count, NO_REQUIREMENT)
        self.counters.repacked += variant.count * self._deliver(group, receivers, variant, parts)

    def _deliver(
        self, group: Group, receivers: Sequence[Member], message: PassthroughMessage, parts: Sequence[Part]
    ) -> int:
        """Queue the message for live receivers, remember the prefixes for others; returns how many were live."""
        length = len(message)
        live = 0
        for member in receivers:
            behind = member.behind
            if behind is None:
                live += 1
                message.acquire()
                outbound = member.outbound
                outbound.put(message)
                member.messages_out += message.count
                member.octets_out += length
                if outbound.queued > member.settings.queue_limit:
                    member.behind = {}
                    member.detached += 1
                    group.behind += 1
            else:
                for part in parts:
                    if part.family in group.families:
                        behind.setdefault(part.family, set()).update(part.nlris)
        return live
