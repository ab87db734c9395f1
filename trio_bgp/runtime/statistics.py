"""Snapshots of what went through the forwarder."""

from collections.abc import Mapping

import attrs

from trio_bgp.passthrough.mask import describe
from trio_bgp.routing.group import Group

__all__ = ["ForwarderStatistics", "GroupStatistics", "group_statistics"]


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


def group_statistics(group: Group) -> GroupStatistics:
    """A snapshot of a group."""
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
