"""The forwarder's verdicts, without any input or output: first the RIB, then the mask.

A received UPDATE is applied to the tables of its families. If that means the same for every receiver, "everybody but
the source now has exactly this", the octets go on as they came to every group whose mask allows. If not, the wanted
parts are written anew for whom they concern. So what a receiver holds is at any time the best path among those of the
other peers, prefix by prefix, plus what still waits in its queue.
"""

from collections.abc import Callable, Sequence

import attrs

from trio_bgp.passthrough.egress import Egress
from trio_bgp.passthrough.group import Group, Member
from trio_bgp.passthrough.ingress import Ingress
from trio_bgp.passthrough.mask import (
    AS_NUMBERS,
    ASN4,
    EBGP,
    EXTENDED_MESSAGE,
    NO_REQUIREMENT,
    CapabilityMask,
    family_bit,
)
from trio_bgp.passthrough.message import PassthroughMessage
from trio_bgp.passthrough.repack import Part
from trio_bgp.rib.path import Path, Source
from trio_bgp.rib.table import Changes, Table
from trio_bgp.wire.nlri import split_prefixes
from trio_bgp.wire.notification import Notification, NotificationError
from trio_bgp.wire.numbers import IPV4_UNICAST, MAXIMUM_MESSAGE_LENGTH, CeaseSubcode, ErrorCode, Family, afi_of, safi_of

__all__ = ["ForwardCounters", "RouteServer"]

IPV4_ANNOUNCEMENT = CapabilityMask(family_bit(IPV4_UNICAST) | EBGP | ASN4 | AS_NUMBERS)


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


class RouteServer:
    """Tables, members and verdicts.

    Args:
        local_as: our AS number.
        report: told of each repair and refusal: the peer, the cause, the octets concerned.
        too_long: told of announcements a group cannot take because their attributes alone exceed its maximum.
    """

    def __init__(
        self,
        local_as: int,
        report: Callable[[Member, str, bytes], None],
        too_long: Callable[[Group, Part], None],
    ) -> None:
        self.tables: dict[Family, Table] = {}
        self.egress = Egress(too_long)
        self.counters = ForwardCounters()
        self._local_as = local_as
        self._report = report
        self._ingress: dict[Member, Ingress] = {}

    def table(self, family: Family) -> Table:
        """The family's table, made on first use."""
        table = self.tables.get(family)
        if table is None:
            table = self.tables[family] = Table(family)
        return table

    def join(self, member: Member) -> None:
        """A session came up: it gets all that happens from here on. What there is already is a replay's to tell."""
        self._ingress[member] = Ingress(member, self._local_as, self._count_and_report)
        self.egress.join(member)

    def leave(self, member: Member) -> None:
        """A session ended: it gets nothing more. Its routes stay until `withdraw_source` takes them."""
        self.egress.leave(member)
        del self._ingress[member]

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
        known = ingress.ipv4.get
        table = self.table(IPV4_UNICAST)
        last = len(offsets) - 1
        try:
            for index, offset in enumerate(offsets):
                start = offset - base
                end = (offsets[index + 1] if index < last else message.end) - base
                attributes = start + 23
                nlri = attributes + (data[start + 21] << 8 | data[start + 22])
                if (
                    attributes < nlri < end
                    and not data[start + 19]
                    and not data[start + 20]
                    and ingress.ipv4_negotiated
                ):
                    # Nearly all UPDATEs of a table: one attribute block and IPv4 prefixes, nothing withdrawn.
                    octets = data[attributes:nlri]
                    path = known(octets) or ingress.classic_path(octets)
                    if path is not None:
                        bits = data[nlri]
                        nlris = (
                            [data[nlri:end]]
                            if bits & 7 == 0 and bits <= 32 and nlri + 1 + (bits >> 3) == end
                            else split_prefixes(data[nlri:end], 32)
                        )
                        changes = table.announce(path, nlris)
                        required = IPV4_ANNOUNCEMENT
                        if end - start > MAXIMUM_MESSAGE_LENGTH:
                            required = CapabilityMask(required | EXTENDED_MESSAGE)
                        part = Part(IPV4_UNICAST, path, nlris)
                        if changes is None:
                            egress.pass_on(offset, offset + end - start, required, (part,))
                        else:
                            self._tell_changes(member.source, part, changes, (offset, offset + end - start, required))
                        continue
                self._update(member, ingress, data, start, end, offset)
        except NotificationError as error:
            egress.flush()
            self._fail(member, error.notification, str(error))
            return
        egress.flush()
        self._check_limits(member)

    def withdraw_source(self, source: Source, family: Family, nlris: Sequence[bytes]) -> None:
        """Take away what a source that is gone had of these prefixes."""
        table = self.table(family)
        own = table.prefixes_of(source, nlris)
        if own:
            self._tell_part(source, Part(family, None, own), table.withdraw(source, own))

    def _update(self, member: Member, ingress: Ingress, data: bytes, start: int, end: int, offset: int) -> None:
        """One UPDATE of any form."""
        received = ingress.read(data, start, end)
        if received.end_of_rib is not None:
            member.end_of_rib.add(received.end_of_rib)
            self.counters.end_of_rib += 1
            return
        source = member.source
        outcomes: list[tuple[Part, Changes | None]] = []
        for part in received.parts:
            table = self.table(part.family)
            if part.path is None:
                outcomes.append((part, table.withdraw(source, part.nlris)))
            else:
                outcomes.append((part, table.announce(part.path, part.nlris)))
        if not outcomes:
            self.counters.withheld += 1
            return
        bounds = None
        if received.clean:
            bounds = (offset, offset + end - start, _required(received.parts, end - start))
            if all(changes is None for _, changes in outcomes):
                self.egress.pass_on(*bounds, received.parts)
                return
            if len(outcomes) > 1:
                bounds = None
        for part, changes in outcomes:
            if changes is None or bounds is None:
                self._tell_part(source, part, changes)
            else:
                self._tell_changes(source, part, changes, bounds)

    def _tell_part(self, source: Source, part: Part, changes: Changes | None) -> None:
        """Tell a part whose message cannot be passed on as it is."""
        if changes is None:
            self.egress.send((part,), excluded=(source,))
        else:
            self._tell_changes(source, part, changes, None)

    def _tell_changes(
        self, source: Source, part: Part, changes: Changes, bounds: tuple[int, int, CapabilityMask] | None
    ) -> None:
        """Tell what is not the same for everybody.

        Args:
            source: who caused it.
            part: what it said.
            changes: what the table made of it.
            bounds: the message it came in, start and end in the slab and its requirement, if all of it is `part` and
                may be passed on unchanged.
        """
        egress = self.egress
        by_receivers: dict[tuple[Path | None, Source | None, tuple[Source, ...]], list[bytes]] = {}
        for difference in changes.differences:
            key = (difference.choice, difference.only, difference.excluded)
            by_receivers.setdefault(key, []).append(difference.nlri)
        for (choice, only, excluded), nlris in by_receivers.items():
            egress.send((Part(part.family, choice, nlris),), only=only, excluded=excluded)
        everyone = changes.everyone
        if not everyone and not changes.only:
            if not by_receivers:
                self.counters.withheld += 1
            return
        whole = len(part.nlris)
        special: list[Source] = [source]
        for receiver, more in changes.only.items():
            special.append(receiver)
            self._tell_wanted(receiver, part, everyone + more if everyone else more, whole, bounds)
        if not everyone:
            return
        if bounds is not None and len(everyone) == whole and len(special) == 1:
            egress.pass_on(*bounds, (part,))
        else:
            egress.send((Part(part.family, part.path, everyone),), excluded=special)

    def _tell_wanted(
        self,
        receiver: Source,
        part: Part,
        wanted: list[bytes],
        whole: int,
        bounds: tuple[int, int, CapabilityMask] | None,
    ) -> None:
        if bounds is not None and len(wanted) == whole:
            self.egress.pass_on(*bounds, (part,), receiver)
        else:
            self.egress.send((Part(part.family, part.path, wanted),), only=receiver)

    def _check_limits(self, member: Member) -> None:
        limit = member.settings.max_prefixes
        if limit is None:
            return
        for family, count in member.source.prefixes.items():
            if count > limit:
                data = afi_of(family).to_bytes(2, "big") + bytes([safi_of(family)]) + limit.to_bytes(4, "big")
                notification = Notification(ErrorCode.CEASE, CeaseSubcode.MAXIMUM_NUMBER_OF_PREFIXES_REACHED, data)
                self._fail(member, notification, f"{count} prefixes, the limit is {limit}")
                return

    def _fail(self, member: Member, notification: Notification, reason: str) -> None:
        member.failed = True
        member.reset(notification, reason)

    def _count_and_report(self, member: Member, cause: str, octets: bytes) -> None:
        self.counters.repaired += 1
        self._report(member, cause, octets)


def _required(parts: Sequence[Part], length: int) -> CapabilityMask:
    """What a receiver must have negotiated to read a message of these parts unchanged."""
    required: int = NO_REQUIREMENT
    for part in parts:
        required |= family_bit(part.family)
        if part.path is not None:
            required |= AS_NUMBERS | ASN4 | EBGP
    if length > MAXIMUM_MESSAGE_LENGTH:
        required |= EXTENDED_MESSAGE
    return CapabilityMask(required)
