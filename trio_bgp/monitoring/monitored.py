"""What a monitoring station is told of routes, as UPDATEs: what is in the tables, in steps, and what changes in them.

Which per-peer header goes in front of them is the caller's business (`trio_bgp.monitoring.bmp`).
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple

from trio_bgp.passthrough.repack import Part, announcement, repack, withdrawal
from trio_bgp.rib.decision import best, candidates
from trio_bgp.rib.path import Path
from trio_bgp.rib.table import Changes
from trio_bgp.routing.catch_up import present_state
from trio_bgp.routing.forward import RoutingCore
from trio_bgp.routing.group import Member
from trio_bgp.settings import MonitoredRib
from trio_bgp.wire.attribute_block import narrow
from trio_bgp.wire.numbers import EXTENDED_MESSAGE_LENGTH, MAXIMUM_MESSAGE_LENGTH, Family
from trio_bgp.wire.update import end_of_rib

__all__ = ["Told", "adj_rib_in", "best_paths", "dump", "loc_rib", "messages_of"]

STEP_PREFIXES: Final = 500
"""Prefixes looked at in one step: a few milliseconds."""
STEP_OCTETS: Final = 64 * 1024
"""And octets written for one RIB in one step, about: less than there is room for in the shortest queue of a station."""
LONG_NLRI: Final = 4000
"""Octets of an NLRI that may not fit an ordinary message; FlowSpec, BGP-LS and unknown families can have such."""


class Told(NamedTuple):
    """UPDATEs about one RIB."""

    rib: MonitoredRib
    member: Member | None
    """Whose; None for the Loc-RIB."""
    updates: Sequence[bytes]


def adj_rib_in(part: Part, member: Member, *, post: bool) -> list[bytes]:
    """A part as the peer it came from would say it: with its own path identifiers.

    Args:
        part: what `member` announced or withdrew; its lane is known.
        member: the peer.
        post: as it is kept, with 4-octet AS numbers; else with AS numbers as wide as the session's.
    """
    negotiated = member.negotiated
    family, path, nlris, lane = part
    identifier = b""
    if family in negotiated.add_path_receive and lane is not None and lane.received is not None:
        identifier = lane.received.to_bytes(4, "big")
    if path is None:
        return _withdrawn(family, nlris, identifier)
    octets = path.attributes if post or negotiated.asn4 else narrow(path.attributes)
    return _announced(family, path, octets, nlris, identifier)


def best_paths(part: Part, changes: Changes | None) -> list[Part]:
    """What a change means for the best path of all to each prefix.

    Args:
        part: what was announced or withdrawn.
        changes: what the table made of it.
    """
    if changes is None:
        return [part]
    found = [part._replace(nlris=changes.simple)] if changes.simple else []
    by_path: dict[Path | None, list[bytes]] = {}
    for old, new, _, nlris in changes.contended:
        after = best(candidates(new))
        if after is not best(candidates(old)):
            by_path.setdefault(after, []).extend(nlris)
    return found + [Part(part.family, path, nlris) for path, nlris in by_path.items()]


def loc_rib(part: Part) -> list[bytes]:
    """A change to the Loc-RIB: 4-octet AS numbers, no path identifiers."""
    family, path, nlris, _ = part
    if path is None:
        return _withdrawn(family, nlris, b"")
    return _announced(family, path, path.attributes, nlris, b"")


def _announced(family: Family, path: Path, octets: bytes, nlris: Sequence[bytes], identifier: bytes) -> list[bytes]:
    found: list[bytes] = []
    for maximum in (MAXIMUM_MESSAGE_LENGTH, EXTENDED_MESSAGE_LENGTH):
        messages, nlris = announcement(family, path, (octets, path.next_hop), nlris, identifier, maximum)
        found += messages
        if not nlris:
            return found
    # AS numbers that became wider made it too long for any message.
    return found + _withdrawn(family, nlris, identifier)


def _withdrawn(family: Family, nlris: Sequence[bytes], identifier: bytes) -> list[bytes]:
    found = withdrawal(family, [nlri for nlri in nlris if len(nlri) < LONG_NLRI], identifier, MAXIMUM_MESSAGE_LENGTH)
    longer = [nlri for nlri in nlris if len(nlri) >= LONG_NLRI]
    return found + withdrawal(family, longer, identifier, EXTENDED_MESSAGE_LENGTH)


def dump(
    core: RoutingCore,
    ribs: Collection[MonitoredRib],
    members: Sequence[Member],
    up: Collection[Member],
    loc_rib_families: Collection[Family],
) -> Iterator[list[Told]]:
    """All there is, in steps, with End-of-RIB for each family of each RIB at its end.

    What has changed since is told as it is when its step comes, so live messages may go in between in any order that
    keeps their own.

    Args:
        core: the tables and receivers.
        ribs: which RIBs.
        members: of which peers.
        up: whose sessions are up; looked at in each step, because sessions end meanwhile.
        loc_rib_families: which the Loc-RIB is said to have.
    """
    families = set(loc_rib_families) if MonitoredRib.LOC_RIB in ribs else set()
    for member in members:
        families |= member.negotiated.families
    for family in sorted(families):
        yield from _dump_family(core, family, ribs, members, up)
        ends = [end_of_rib(family)]
        told = [Told(MonitoredRib.LOC_RIB, None, ends)] if MonitoredRib.LOC_RIB in ribs else []
        for member in members:
            if member in up and family in member.negotiated.families:
                told += [Told(rib, member, ends) for rib in ribs if rib is not MonitoredRib.LOC_RIB]
        yield told


def _dump_family(
    core: RoutingCore,
    family: Family,
    ribs: Collection[MonitoredRib],
    members: Sequence[Member],
    up: Collection[Member],
) -> Iterator[list[Told]]:
    table = core.tables.get(family)
    if table is None:
        return
    keys = list(table.routes)
    whole = MonitoredRib.LOC_RIB in ribs
    inbound = [rib for rib in (MonitoredRib.ADJ_RIB_IN_PRE, MonitoredRib.ADJ_RIB_IN_POST) if rib in ribs]
    position = 0
    while position < len(keys):
        chunk: list[bytes] = []
        octets = 0
        by_path: dict[Path, list[bytes]] = {}
        by_best: dict[Path, list[bytes]] = {}
        while position < len(keys) and len(chunk) < STEP_PREFIXES and octets < STEP_OCTETS:
            nlri = keys[position]
            position += 1
            chunk.append(nlri)
            paths = candidates(table.routes.get(nlri))
            for path in paths:
                nlris = by_path.setdefault(path, [])
                nlris.append(nlri)
                octets += len(nlri) if len(nlris) > 1 else len(nlri) + len(path.attributes)
            first = best(paths) if whole else None
            if first is not None:
                by_best.setdefault(first, []).append(nlri)
        told: list[Told] = []
        if inbound:
            by_source = {member.source: member for member in members if member in up}
            for path, nlris in by_path.items():
                sender = by_source.get(path.source)
                if sender is None:
                    continue
                # Stale routes are of a session before: the peer has not said them in this one.
                kept = path.source.stale.get(family)
                stale = None if kept is None else kept.lanes.get(path.lane)
                part = Part(family, path, [nlri for nlri in nlris if nlri not in stale] if stale else nlris, path.lane)
                if part.nlris:
                    for rib in inbound:
                        post = rib is MonitoredRib.ADJ_RIB_IN_POST
                        told.append(Told(rib, sender, adj_rib_in(part, sender, post=post)))
        if whole:
            for path, nlris in by_best.items():
                told.append(Told(MonitoredRib.LOC_RIB, None, loc_rib(Part(family, path, nlris))))
        yield told
        if MonitoredRib.ADJ_RIB_OUT in ribs:
            for member in members:
                group = core.egress.group_of.get(member)
                if member not in up or group is None or family not in group.views:
                    continue
                parts = present_state(table, chunk, member, group.views[family])
                packed = repack(parts, group.maximum, group.views, group.rules)
                yield [Told(MonitoredRib.ADJ_RIB_OUT, member, list(messages_of(packed.octets)))]


def messages_of(octets: bytes) -> Iterator[bytes]:
    """Whole messages one after the other, each by itself."""
    position = 0
    while position < len(octets):
        size = octets[position + 16] << 8 | octets[position + 17]
        yield octets[position : position + size]
        position += size
