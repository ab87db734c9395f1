"""The daemon's state as JSON takes it. Long answers come in slices, so that the forwarder is never kept waiting."""

import contextlib
import resource
from collections.abc import AsyncGenerator, Iterator
from ipaddress import ip_address
from pathlib import Path as File
from typing import Any, Final

import attrs
import trio

from trio_bgp import __version__
from trio_bgp.control.explain import explain
from trio_bgp.control.routes import route_in_words
from trio_bgp.monitoring.bmp import stations_of
from trio_bgp.passthrough.mask import describe
from trio_bgp.passthrough.rewrite import rewritten
from trio_bgp.rib.decision import Entry, best, candidates
from trio_bgp.rib.export import exports
from trio_bgp.rib.path import Path
from trio_bgp.routing.group import Group, Member
from trio_bgp.runtime.session.peer import Peer
from trio_bgp.runtime.speaker import Speaker
from trio_bgp.session.fsm import State
from trio_bgp.settings import PeerSettings
from trio_bgp.wire.numbers import Family, family_name

__all__ = ["Snapshot", "Wanted"]

SLICE: Final = 4000
"""Prefixes looked at between two checkpoints, about two milliseconds."""
PEER_SLICE: Final = 100
"""Peers told between two checkpoints."""
CHOICE_WORK: Final = 5
"""What choosing among the paths to a prefix costs, in prefixes looked at."""
PATH_WORK: Final = 40
"""What telling a path costs, in prefixes looked at."""

Selected = tuple[Family, bytes, Path, bool, Group | None]
"""A path to a prefix: family, key, path, whether it is the best of all, and the group that gets it."""


@attrs.frozen(kw_only=True)
class Wanted:
    """Which routes."""

    family: Family | None = None
    """Of one address family only."""
    key: bytes | None = None
    """Of this prefix."""
    match: str = "exact"
    """With `key`: `exact`, `longest` (the longest prefix that covers it), `longer` (it, and all inside)."""
    source: str | None = None
    """Announced by the peer of this name."""
    receiver: str | None = None
    """As the peer of this name gets them."""
    withheld: bool = False
    """With `receiver`: those that a role, a community or the next hop keeps from it."""
    primary: bool = False
    """The best path of all only."""
    limit: int | None = None
    """Paths at most."""


class Snapshot:
    """Answers questions about a running speaker.

    Args:
        speaker: the daemon.
    """

    def __init__(self, speaker: Speaker) -> None:
        self.speaker = speaker

    def status(self) -> dict[str, Any]:
        """The whole in a few figures."""
        found = self.speaker.forwarder.statistics()
        pool = self.speaker.forwarder.board.pool.statistics()
        return {
            "version": __version__,
            "local_as": self.speaker.settings.speaker.local_as,
            "bgp_identifier": _identifier(self.speaker.settings.speaker.bgp_identifier),
            "uptime": round(trio.current_time() - self.speaker.started_at, 1),
            "peers": len(self.speaker.peers),
            "established": found.members,
            "groups": found.groups,
            "prefixes": found.prefixes,
            "paths": found.paths,
            "updates_received": found.messages_in,
            "updates_unchanged": found.messages_unchanged,
            "updates_repacked": found.messages_repacked,
            "updates_replayed": found.messages_replayed,
            "updates_withheld": found.messages_withheld,
            "updates_repaired": found.messages_repaired,
            "share_unchanged": round(found.share_unchanged, 4),
            "octets_received": found.octets_in,
            "octets_sent": found.octets_out,
            "catching_up": found.behind,
            "buffers": {"outstanding": pool.outstanding, "free": pool.free, "made": pool.made},
        }

    async def peers(self) -> list[dict[str, Any]]:
        """Every peer, configured ones in their order."""
        found = []
        for position, peer in enumerate(list(self.speaker.peers.values())):
            if position % PEER_SLICE == PEER_SLICE - 1:
                await trio.lowlevel.checkpoint()
            found.append(self._peer(peer))
        names = {each["name"] for each in found}
        found += [self._absent(settings) for settings in self._configured() if settings.name not in names]
        order = {settings.name: position for position, settings in enumerate(self.speaker.settings.peers)}
        return sorted(found, key=lambda each: (order.get(each["name"].partition("/")[0], len(order)), each["name"]))

    def resolve(self, name: str) -> str | None:
        """The name of the peer that has this name or address; None if there is none."""
        try:
            address = ip_address(name)
        except ValueError:
            address = None
        for peer in self.speaker.peers.values():
            if peer.name == name or peer.address == address:
                return peer.name
        for settings in self._configured():
            if settings.name == name or settings.address == address:
                return settings.name
        return None

    def peer(self, name: str) -> dict[str, Any] | None:
        """One peer in detail; None if there is none of that name or address."""
        resolved = self.resolve(name)
        if resolved is None:
            return None
        peer = self.speaker.peer(resolved)
        if peer is None:
            return next(self._absent(settings) for settings in self._configured() if settings.name == resolved)
        found = self._peer(peer)
        member = self.speaker.member(resolved)
        if member is None:
            return found
        negotiated = member.negotiated
        group = self.speaker.forwarder.core.egress.group_of.get(member)
        return {
            **found,
            "local_address": None if member.local_address is None else str(member.local_address),
            "bgp_identifier": _identifier(negotiated.bgp_identifier),
            "hold_time": negotiated.hold_time,
            "families": sorted(map(family_name, negotiated.families)),
            "add_path_send": sorted(map(family_name, negotiated.add_path_send)),
            "add_path_receive": sorted(map(family_name, negotiated.add_path_receive)),
            "extended_message": negotiated.extended_message,
            "four_octet_as": negotiated.asn4,
            "route_refresh": negotiated.route_refresh,
            "graceful_restart": negotiated.graceful_restart is not None,
            "prefixes_by_family": {family_name(f): count for f, count in member.source.prefixes.items()},
            "refused": dict(member.refused),
            "prefixes_refused": dict(member.prefixes_refused),
            "end_of_rib": sorted(map(family_name, member.end_of_rib)),
            "imports": member.settings.imports,
            "exports": member.settings.exports,
            "group": None if group is None else self._group(group),
        }

    def groups(self) -> list[dict[str, Any]]:
        """Who shares octets with whom, and how much went unchanged."""
        return [self._group(group) for group in self.speaker.forwarder.core.egress.groups]

    def bmp(self) -> list[dict[str, Any]]:
        """Every BMP station, and how it keeps up."""
        now = trio.current_time()
        return [
            {
                "address": station.name,
                "state": station.state,
                "monitor": [rib.value for rib in station.settings.monitor],
                "peers": list(station.settings.peers),
                "uptime": round(now - station.up_since, 1) if station.state == "up" else 0.0,
                "sessions": station.sessions,
                "messages_sent": station.messages_sent,
                "octets_sent": station.octets_sent,
                "queued_octets": station.queued,
                "messages_dropped": station.messages_dropped,
                "overflows": station.overflows,
                "last_end": station.last_end,
            }
            for station in stations_of(self.speaker).values()
        ]

    def memory(self) -> dict[str, Any]:
        """What is kept, and how much of it."""
        server = self.speaker.forwarder.core
        pool = self.speaker.forwarder.board.pool.statistics()
        return {
            "resident_octets": _resident(),
            "file_descriptors": len(list(File("/proc/self/fd").iterdir())) if File("/proc/self/fd").exists() else 0,
            "tasks": trio.lowlevel.current_statistics().tasks_living,
            "buffers": {
                "outstanding": pool.outstanding,
                "outstanding_octets": pool.outstanding_octets,
                "free": pool.free,
                "free_octets": pool.free_octets,
            },
            "queued_octets": sum(member.outbound.queued for member in self.speaker.forwarder.members),
            "prefixes": {family_name(family): len(table) for family, table in server.tables.items()},
            "attribute_blocks": {
                member.name: sum(map(len, member.source.paths.values())) for member in self.speaker.forwarder.members
            },
            "held_messages": len(self.speaker.forwarder.held),
        }

    async def routes(self, wanted: Wanted) -> AsyncGenerator[list[dict[str, Any]]]:
        """Routes, one path at a time, in batches; other tasks run between them."""
        left = wanted.limit
        async with contextlib.aclosing(self._select(wanted)) as batches:
            async for batch in batches:
                words: list[dict[str, Any]] = []
                for family, nlri, path, first, group in batch:
                    if left == 0:
                        yield [*words, {"truncated": wanted.limit}]
                        return
                    left = left if left is None else left - 1
                    words.append(route_in_words(family, nlri, path, best=first, group=group))
                yield words

    async def count(self, wanted: Wanted) -> dict[str, int]:
        """How many prefixes and paths `routes` would tell."""
        prefixes = paths = 0
        last: tuple[Family, bytes] | None = None
        async with contextlib.aclosing(self._select(wanted)) as batches:
            async for batch in batches:
                for family, nlri, _, _, _ in batch:
                    paths += 1
                    if last != (family, nlri):
                        prefixes += 1
                        last = (family, nlri)
        return {"prefixes": prefixes, "paths": paths}

    async def _select(self, wanted: Wanted) -> AsyncGenerator[list[Selected]]:
        server = self.speaker.forwarder.core
        member = None if wanted.receiver is None else self.speaker.member(wanted.receiver)
        if wanted.receiver is not None and member is None:
            return
        group = None if member is None else server.egress.group_of.get(member)
        work = 0
        batch: list[Selected] = []
        for family, table in list(server.tables.items()):
            if wanted.family not in (None, family):
                continue
            if group is not None and family not in group.views:
                continue
            for nlri in _matching(table.routes, wanted.key, wanted.match):
                work += 1
                entry = None if nlri is None else table.routes.get(nlri)
                if nlri is not None and entry is not None:
                    work += CHOICE_WORK
                    for path, first in _choose(family, entry, wanted, member, group):
                        batch.append((family, nlri, path, first, group))
                        work += PATH_WORK
                if work >= SLICE:
                    work = 0
                    if batch:
                        yield batch
                        batch = []
                    await trio.lowlevel.checkpoint()
        if batch:
            yield batch

    def longest(self, family: Family, key: bytes) -> bytes | None:
        """The key of the longest prefix in the table that covers one; None if none does."""
        table = self.speaker.forwarder.core.tables.get(family)
        return None if table is None else next(_matching(table.routes, key, "longest"), None)

    def explain(self, family: Family, key: bytes, receiver: str) -> dict[str, Any] | None:
        """Why a peer gets what of a prefix; None if it is not established."""
        member = self.speaker.member(receiver)
        server = self.speaker.forwarder.core
        group = None if member is None else server.egress.group_of.get(member)
        if member is None or group is None:
            return None
        return explain(server, family, key, member, group)

    def _configured(self) -> Iterator[PeerSettings]:
        return (settings for settings in self.speaker.settings.peers if settings.address is not None)

    def _absent(self, settings: PeerSettings) -> dict[str, Any]:
        """A configured peer that is not running."""
        found = {
            "name": settings.name,
            "address": str(settings.address),
            "as": settings.peer_as,
            "role": settings.role.value,
            "state": State.IDLE.value,
        }
        if settings.name in self.speaker.disabled:
            found["disabled"] = self.speaker.disabled[settings.name]
        return found

    def _peer(self, peer: Peer) -> dict[str, Any]:
        connection = next((each for each in peer.connections if each.member is not None), None)
        member = None if connection is None else connection.member
        found: dict[str, Any] = {
            "name": peer.name,
            "address": str(peer.address),
            "as": peer.settings.peer_as,
            "role": peer.settings.role.value,
            "state": peer.state.value,
            "last_end": peer.last_end,
            "sessions": peer.sessions_established,
        }
        if peer.name in self.speaker.disabled:
            found["disabled"] = self.speaker.disabled[peer.name]
        if member is not None and connection is not None:
            now = trio.current_time()
            found |= {
                "uptime": round(now - peer.established_at, 1),
                "prefixes": sum(member.source.prefixes.values()),
                "updates_received": member.messages_in,
                "updates_refused": sum(member.refused.values()),
                "updates_sent": member.messages_out,
                "octets_sent": member.octets_out,
                "queued_octets": member.outbound.queued,
                "lag": round(connection.outbound.lag(now), 3),
                "detached": member.detached,
                "catching_up": member.behind is not None,
            }
        return found

    def _group(self, group: Group) -> dict[str, Any]:
        counters = group.counters
        sent = counters.unchanged + sum(counters.repacked.values())
        return {
            "members": [member.name for member in group.members],
            "role": group.rules.role.value,
            "negotiated": describe(group.mask),
            "unchanged": counters.unchanged,
            "share_unchanged": round(counters.unchanged / sent, 4) if sent else 1.0,
            "repacked": dict(counters.repacked),
            "split": counters.split,
            "withheld": dict(counters.withheld),
            "catching_up": group.behind,
        }


def _choose(
    family: Family, entry: Entry, wanted: Wanted, member: Member | None, group: Group | None
) -> Iterator[tuple[Path, bool]]:
    """The wanted ones of a prefix's paths, each with whether it is the best of all."""
    paths = candidates(entry)
    first = best(paths)
    if member is not None and group is not None:
        view, rules = group.views[family], group.rules
        chosen = exports(entry, member.source, view)
        if wanted.withheld:
            # What it may not have; not what a better path takes the place of.
            kept = [path for path in paths if path.source is not member.source and not path.audience & view.audience]
            paths = (*kept, *(path for path in chosen if rewritten(path, family, rules) is None))
        else:
            paths = tuple(path for path in chosen if rewritten(path, family, rules) is not None)
    for path in paths:
        if (wanted.source is None or path.source.name == wanted.source) and (path is first or not wanted.primary):
            yield path, path is first


def _matching(routes: dict[bytes, Any], key: bytes | None, match: str) -> Iterator[bytes | None]:
    """Keys that match; None for each further one that was looked at."""
    if key is None:
        yield from list(routes)
    elif match == "exact":
        if key in routes:
            yield key
    elif match == "longest":
        for bits in range(key[0], -1, -1):
            shorter = _shorten(key, bits)
            if shorter in routes:
                yield shorter
                return
    else:
        bits = key[0]
        whole = 1 + bits // 8
        front, rest = key[1:whole], key[0] % 8
        for nlri in list(routes):
            inside = nlri[0] >= bits and nlri[1:whole] == front and (not rest or _shorten(nlri, bits) == key)
            yield nlri if inside else None


def _shorten(nlri: bytes, bits: int) -> bytes:
    octets = nlri[1 : 1 + (bits + 7) // 8]
    if bits % 8 and octets:
        octets = octets[:-1] + bytes((octets[-1] & 0xFF00 >> bits % 8 & 0xFF,))
    return bytes((bits,)) + octets


def _identifier(number: int) -> str:
    return ".".join(str(octet) for octet in number.to_bytes(4, "big"))


def _resident() -> int:
    try:
        return int(File("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return 0
