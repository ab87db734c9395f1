"""The forwarder's verdicts, without any input or output: first the RIB, then the mask.

A received UPDATE is applied to the tables of its families. If that means the same for every receiver, "everybody but
the source now has exactly this", the octets go on as they came to every group whose mask allows. If not, the wanted
parts are written anew for whom they concern. So what a receiver holds is at any time the best path among those of the
other peers, prefix by prefix, plus what still waits in its queue.
"""

import contextlib
from collections.abc import Callable, Sequence
from itertools import pairwise

import attrs

from trio_bgp.passthrough.mask import CapabilityMask
from trio_bgp.passthrough.message import PassthroughMessage
from trio_bgp.passthrough.repack import Part, Withheld
from trio_bgp.policy.audience import audience_of_path, well_known
from trio_bgp.rib.decision import candidates
from trio_bgp.rib.export import Told, compare
from trio_bgp.rib.path import Lane, Path, PathIdentifiers, PathStore, Source
from trio_bgp.rib.table import Changes, Table
from trio_bgp.routing.egress import Egress, Scope
from trio_bgp.routing.group import Group, Member, refusal
from trio_bgp.routing.ingress import Ingress, long_lived_stale
from trio_bgp.routing.prefix_limits import drops, exceeded, within_limit
from trio_bgp.settings import Role, SpeakerSettings
from trio_bgp.wire.attributes import AttributeContext, parse_attributes
from trio_bgp.wire.nlri import split_prefixes
from trio_bgp.wire.notification import Notification, NotificationError
from trio_bgp.wire.numbers import (
    IPV4_UNICAST,
    MAXIMUM_MESSAGE_LENGTH,
    CeaseSubcode,
    ErrorCode,
    Family,
)

__all__ = ["ForwardCounters", "RoutingCore"]

Bounds = tuple[int, int, CapabilityMask]
"""A message that may be passed on unchanged: start and end in the slab, and what it requires of a receiver."""


@attrs.define
class ForwardCounters:
    """What came in, in messages."""

    updates: int = 0
    octets: int = 0
    withheld: int = 0
    """UPDATEs that changed nothing for anybody: a losing path, a repeated one, a withdrawal of nothing."""
    repaired: int = 0
    """UPDATEs with an attribute discarded, treated as withdrawals or refused."""
    end_of_rib: int = 0


class RoutingCore:
    """Tables, members and verdicts.

    Args:
        speaker: who we are.
        report: told of each repair and refusal: the peer, the cause, the octets concerned.
        withheld: told of announcements that a group cannot be sent.

    Attributes:
        identifiers: our path identifiers.
        on_end_of_rib: called when a member has said End-of-RIB.
        on_change: called with each part and what the table has made of it, if anybody wants to know.
    """

    def __init__(
        self,
        speaker: SpeakerSettings,
        report: Callable[[Member, str, bytes], None],
        withheld: Callable[[Group, Withheld], None],
    ) -> None:
        self.tables: dict[Family, Table] = {}
        self.egress = Egress(withheld)
        self.counters = ForwardCounters()
        self.identifiers = PathIdentifiers()
        self.on_end_of_rib: Callable[[Member, Family], None] = lambda member, family: None
        self.on_change: Callable[[Part, Changes | None], None] | None = None
        self._speaker = speaker
        self._report = report
        self._ingress: dict[Member, Ingress] = {}

    def table(self, family: Family) -> Table:
        """The family's table, made on first use."""
        table = self.tables.get(family)
        if table is None:
            table = self.tables[family] = Table(family)
            self._note_present(table)
        return table

    def join(self, member: Member) -> None:
        """A session came up: it gets all that happens from here on. What there is already is a replay's to tell."""
        self.join_source(member)
        self.join_receiver(member)

    def join_source(self, member: Member) -> None:
        """Take routes from `member`, but send it nothing yet."""
        self._ingress[member] = Ingress(member, self._speaker, self.identifiers, self._count_and_report)

    def join_receiver(self, member: Member) -> None:
        """Send `member` what happens from here on."""
        self.egress.join(member)
        for table in self.tables.values():
            self._note_present(table)

    def renew(self, member: Member) -> None:
        """What is checked of a member's routes has changed: it holds from here on."""
        if member in self._ingress:
            # What is interned was judged by the former settings.
            member.source.paths.clear()
            self._ingress[member] = Ingress(member, self._speaker, self.identifiers, self._count_and_report)

    def leave(self, member: Member) -> None:
        """A session ended: it gets nothing more. Its routes stay until `withdraw_source` takes them."""
        if member in self.egress.group_of:
            self.leave_receiver(member)
        del self._ingress[member]

    def leave_receiver(self, member: Member) -> None:
        """Send `member` nothing more; its own routes are not concerned."""
        self.egress.leave(member)
        for table in self.tables.values():
            self._note_present(table)

    def _note_present(self, table: Table) -> None:
        table.present = 0
        for view in self.egress.views.get(table.family, ()):
            table.present |= view.audience

    def updates(self, member: Member, message: PassthroughMessage, offsets: Sequence[int]) -> None:
        """Apply and forward the UPDATEs of one read, in order.

        Args:
            member: who sent them; nothing happens if its session has failed or ended.
            message: all of them, in a slab; the caller keeps its reference.
            offsets: where each begins in the slab, in octets.
        """
        ingress = self._ingress.get(member)
        slab = message.slab
        if ingress is None or member.failed or slab is None:
            return
        data = bytes(message.octets)
        base = message.start
        self.counters.octets += len(data)
        self.counters.updates += len(offsets)
        member.messages_in += len(offsets)
        egress = self.egress
        egress.begin(member.source, slab)
        # While some of its routes are stale, or may be too many, or somebody is told of changes, each message is looked
        # at as a whole.
        plain = ingress.plain_ipv4 and not member.source.stale and not drops(member) and self.on_change is None
        bounds = [*offsets, message.end]
        index = 0
        try:
            while index < len(offsets):
                if plain:
                    index = self._plain(ingress, data, base, bounds, index)
                    if index == len(offsets):
                        break
                start = bounds[index]
                self._update(member, ingress, data, start - base, bounds[index + 1] - base, start)
                index += 1
        except NotificationError as error:
            egress.end()
            self._fail(member, error.notification, str(error))
            return
        egress.end()
        if len(member.source.lanes) > member.lane_limit:
            self.identifiers.release_unused(member.source)
            member.lane_limit = max(member.lane_limit, 2 * len(member.source.lanes))
        found = exceeded(member, self._report)
        if found is not None:
            self._fail(member, *found)

    def recover(self, member: Member, message: PassthroughMessage, offsets: Sequence[int]) -> None:
        """An exception ended `updates`: its session ends, and nobody is left believing what is not so.

        What these UPDATEs announced is taken out of the tables, and receivers are told the present state of every
        prefix in them, whatever they had been told already.
        """
        self.egress.abandon()
        ingress = self._ingress.get(member)
        if ingress is not None:
            data = bytes(message.octets)
            bounds = [*(offset - message.start for offset in offsets), len(data)]
            for start, end in pairwise(bounds):
                # What cannot even be read has changed nothing.
                with contextlib.suppress(Exception):
                    for part in ingress.read(data, start, end).parts:
                        self._take_back(part)
            for family, table in self.tables.items():
                # It may have been left in the middle of counting.
                lanes = table.lanes_of(member.source, table.routes)
                member.source.prefixes[family] = sum(map(len, lanes.values()))
        self.reset(member)

    def reset(self, member: Member) -> None:
        """End a session because of a bug of ours, which has been logged."""
        if not member.failed:
            self._fail(
                member, Notification(ErrorCode.CEASE, CeaseSubcode.OUT_OF_RESOURCES), "a bug was met, see the log"
            )

    def _take_back(self, part: Part) -> None:
        """Withdraw a part's prefixes, of which the table and the receivers may know or not."""
        table = self.table(part.family)
        if part.lane is not None:
            changes = table.withdraw(part.lane, part.nlris)
            if self.on_change is not None:
                self.on_change(part._replace(path=None), changes)
        lanes = {path.lane for nlri in part.nlris for path in candidates(table.routes.get(nlri))}
        self.egress.miss([part, *(part._replace(path=None, lane=lane) for lane in lanes)])
        if part.path is not None and not part.path.uses:
            table.forget(part.path)

    def forward_to(self, source: Member, message: PassthroughMessage, targets: Sequence[Member]) -> None:
        """Send one received UPDATE to chosen live members, past the tables: unchanged where they can read it so.

        Args:
            source: who sent it.
            message: the one UPDATE; the caller keeps its reference.
            targets: members that are not catching up.

        Raises:
            NotificationError: it is malformed.
        """
        data = bytes(message.octets)
        ingress = self._ingress[source]
        received = ingress.read(data, 0, len(data))
        required = ingress.required(received.parts, len(data))
        for target in targets:
            group = self.egress.group_of[target]
            if received.clean and not group.obstacle(required):
                self.egress.send_message((target,), message)
            else:
                packed = self.egress.repack(group, received.parts)
                if packed.octets:
                    self.egress.send_octets(target, packed.octets, packed.count)
        for part in received.parts:
            if part.path is not None and not part.path.uses:
                self.table(part.family).forget(part.path)

    def withdraw_source(self, source: Source, family: Family, nlris: Sequence[bytes]) -> None:
        """Take away what a source that is gone had of these prefixes."""
        table = self.table(family)
        for lane, own in table.lanes_of(source, nlris).items():
            self._tell(Part(family, None, own, lane), table.withdraw(lane, own), None)

    def announce_local(
        self, source: Source, family: Family, key: bytes, attributes: bytes, next_hop: bytes | None
    ) -> None:
        """Announce a route of our own.

        Args:
            source: a local one (`Source.local`).
            family: its address family.
            key: the prefix, as in the table.
            attributes: well-formed, with 4-octet AS numbers and without MP_REACH_NLRI.
            next_hop: for MP_REACH_NLRI; None where NEXT_HOP is among the attributes.
        """
        lane = self.identifiers.lane(source, None)
        parsed = parse_attributes(attributes, AttributeContext(external=False))
        audience = audience_of_path(Role.RR_CLIENT, parsed, well_known(parsed.communities), ipv6_next_hop=False)
        store = source.paths.setdefault(family, PathStore())
        path_key = (None, next_hop, attributes, b"")
        path = store.get(path_key)
        if path is None:
            path = store[path_key] = Path(lane, path_key, attributes, next_hop, parsed, audience)
        self._tell(Part(family, path, [key], lane), self.table(family).announce(path, [key]), None)

    def required(self, path: Path, family: Family) -> CapabilityMask | None:
        """What reading the announcement of a path as it was received requires, but for its length.

        None if there is nothing received to pass on: a route of our own, or one of a session that has ended.
        """
        for member, ingress in self._ingress.items():
            if member.source is path.source:
                return ingress.required((Part(family, path, [], path.lane),), 0)
        return None

    def withdraw_lane(self, lane: Lane, family: Family, nlris: Sequence[bytes]) -> None:
        """Take away what a lane has of these prefixes, all of which it has."""
        self._tell(Part(family, None, nlris, lane), self.table(family).withdraw(lane, nlris), None)

    def demote(self, lane: Lane, family: Family, nlris: Sequence[bytes]) -> None:
        """Mark what a lane has of these prefixes as long-lived stale (RFC 9494, section 4.2), or take it away."""
        table = self.table(family)
        by_path: dict[Path, list[bytes]] = {}
        for nlri in nlris:
            for path in candidates(table.routes.get(nlri)):
                if path.lane is lane:
                    by_path.setdefault(path, []).append(nlri)
        for path, found in by_path.items():
            demoted = long_lived_stale(path, family)
            if demoted is None:
                self.withdraw_lane(lane, family, found)
            else:
                self._tell(Part(family, demoted, found, lane), table.announce(demoted, found), None)

    def forget_source(self, source: Source) -> None:
        """A source that is gone has no routes any more."""
        source.paths.clear()
        self.identifiers.release(source)

    def _plain(self, ingress: Ingress, data: bytes, base: int, bounds: list[int], first: int) -> int:
        """Apply and forward plain announcements: one attribute block and IPv4 prefixes, which is most of any table.

        Args:
            ingress: the sender's.
            data: the octets of the read.
            base: where they begin in the slab.
            bounds: where each message begins in the slab, and where the last one ends.
            first: the message to begin with.

        Returns:
            the first message behind that is none, or the number of messages.

        Raises:
            NotificationError: the session cannot go on.
        """
        egress = self.egress
        table = self.table(IPV4_UNICAST)
        present = table.present
        required = ingress.announcement
        known = ingress.ipv4.get
        last = len(bounds) - 1
        parts: list[Part] = []
        keep = False
        index = run = first  # the messages from `run` on everybody gets as they are
        try:
            while index < last:
                start = bounds[index] - base
                end = bounds[index + 1] - base
                attributes = start + 23
                nlri = attributes + (data[start + 21] << 8 | data[start + 22])
                if data[start + 19] or data[start + 20] or not attributes < nlri < end:
                    break
                if end > start + MAXIMUM_MESSAGE_LENGTH:
                    break
                octets = data[attributes:nlri]
                path = known(octets) or ingress.classic_path(octets)
                if path is None:
                    break
                bits = data[nlri]
                if bits & 7 == 0 and bits <= 32 and nlri + 1 + (bits >> 3) == end:
                    nlris = [data[nlri:end]]
                else:
                    nlris = split_prefixes(data[nlri:end], 32)
                changes = table.announce(path, nlris)
                if changes is None and path.audience & present == present:
                    if run == index:
                        keep = egress.open(bounds[index], required)
                    if keep:
                        parts.append(Part(IPV4_UNICAST, path, nlris, path.lane))
                    index += 1
                    continue
                if run < index:
                    egress.pass_on(bounds[run], bounds[index], required, parts, count=index - run)
                    parts = []
                index += 1
                run = index
                part = Part(IPV4_UNICAST, path, nlris, path.lane)
                self._tell(part, changes, (bounds[index - 1], bounds[index], required))
        finally:
            if run < index:
                egress.pass_on(bounds[run], bounds[index], required, parts, count=index - run)
        return index

    def _update(self, member: Member, ingress: Ingress, data: bytes, start: int, end: int, offset: int) -> None:
        """One UPDATE of any form."""
        received = ingress.read(data, start, end)
        if received.end_of_rib is not None:
            member.end_of_rib.add(received.end_of_rib)
            self.counters.end_of_rib += 1
            self.on_end_of_rib(member, received.end_of_rib)
            return
        outcomes: list[tuple[Part, Changes | None]] = []
        clean = received.clean
        for part in received.parts:
            table = self.table(part.family)
            if part.path is not None and drops(member):
                wanted = within_limit(table, member, part, self._report)
                if wanted is not part:
                    clean = False
                    part = wanted
            if part.path is not None and not part.nlris:
                continue
            if part.path is not None:
                outcomes.append((part, table.announce(part.path, part.nlris)))
            elif part.lane is not None:
                outcomes.append((part, table.withdraw(part.lane, part.nlris)))
        if member.source.stale:
            _renew(member.source, received.parts)
        if not outcomes:
            self.counters.withheld += 1
            return
        bounds: Bounds | None = None
        if clean:
            bounds = (offset, offset + end - start, ingress.required(received.parts, end - start))
            if all(changes is None and self._for_all(part) for part, changes in outcomes):
                if self.on_change is not None:
                    for part, changes in outcomes:
                        self.on_change(part, changes)
                self.egress.pass_on(*bounds, received.parts)
                return
            if len(outcomes) > 1:
                bounds = None
        for part, changes in outcomes:
            self._tell(part, changes, bounds)

    def _for_all(self, part: Part) -> bool:
        """Whether every receiver may have the part's path."""
        if part.path is None:
            return True
        present = self.table(part.family).present
        return part.path.audience & present == present

    def _tell(self, part: Part, changes: Changes | None, bounds: Bounds | None) -> None:
        """Tell each view's receivers what a part means for them.

        Args:
            part: what was announced or withdrawn.
            changes: what the table made of it.
            bounds: the message it came in, if all of it is `part` and may be passed on unchanged.
        """
        family, path, nlris, lane = part
        if lane is None:
            raise AssertionError("a part of nobody")
        if self.on_change is not None:
            self.on_change(part, changes)
        views = self.egress.views.get(family, ())
        told_any = False
        for view in views:
            scope: Scope = None if len(views) == 1 else (family, view)
            if changes is None:
                told = Told(list(nlris))
            else:
                told = Told(list(changes.simple))
                compare(view, lane, path, changes.contended, told)
            if path is not None and not path.audience & view.audience:
                # What of it they may have they had as the lane's former path, and that is among the differences.
                told.everyone = []
                self.egress.withhold(family, view, 1)
            told_any |= self._tell_view(lane, part, told, bounds, scope)
        if not told_any:
            self.counters.withheld += 1

    def _tell_view(self, lane: Lane, part: Part, told: Told, bounds: Bounds | None, scope: Scope) -> bool:
        """Tell the receivers of one view; False if there is nothing to tell."""
        egress = self.egress
        source = lane.source
        if isinstance(scope, tuple):
            # A source of a path is in one view; what others make of it is not for it.
            told.only = {receiver: nlris for receiver, nlris in told.only.items() if egress.sees(receiver, scope)}
            told.differences = [each for each in told.differences if each.only is None or egress.sees(each.only, scope)]
        by_receivers: dict[
            tuple[Source | None, tuple[Source, ...]], dict[tuple[Path | None, Lane | None], list[bytes]]
        ] = {}
        for difference in told.differences:
            by_path = by_receivers.setdefault((difference.only, difference.excluded), {})
            by_path.setdefault((difference.path, difference.lane), []).extend(difference.nlris)
        for (only, excluded), by_path in by_receivers.items():
            different = [Part(part.family, path, nlris, whose) for (path, whose), nlris in by_path.items()]
            egress.send(different, scope=only or scope, excluded=excluded)
        everyone = told.everyone
        if not everyone and not told.only:
            return bool(by_receivers)
        whole = len(part.nlris)
        special: list[Source] = [source]
        for receiver, more in told.only.items():
            special.append(receiver)
            self._tell_wanted(part, everyone + more if everyone else more, whole, bounds, receiver, ())
        if not everyone:
            return True
        if len(special) == 1:
            self._tell_wanted(part, everyone, whole, bounds, scope, special)
        else:
            self._tell_wanted(part, everyone, whole, None, scope, special)
        return True

    def _tell_wanted(
        self,
        part: Part,
        wanted: list[bytes],
        whole: int,
        bounds: Bounds | None,
        scope: Scope,
        excluded: Sequence[Source],
    ) -> None:
        if bounds is not None and len(wanted) == whole:
            self.egress.pass_on(*bounds, (part,), scope)
        else:
            self.egress.send((Part(part.family, part.path, wanted, part.lane),), scope=scope, excluded=excluded)

    def _fail(self, member: Member, notification: Notification, reason: str) -> None:
        member.failed = True
        member.reset(notification, reason)

    def _count_and_report(self, member: Member, cause: str, octets: bytes) -> None:
        self.counters.repaired += 1
        kind = refusal(cause)
        member.refused[kind] = member.refused.get(kind, 0) + 1
        self._report(member, cause, octets)


def _renew(source: Source, parts: Sequence[Part]) -> None:
    """What a peer says something of is stale no more."""
    for part in parts:
        stale = source.stale.get(part.family)
        if stale is not None and part.lane is not None:
            stale.renew(part.lane, part.nlris)
