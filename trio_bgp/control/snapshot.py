"""The daemon's state as JSON takes it. Long answers come in slices, so that the forwarder is never kept waiting."""

import resource
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import trio

from trio_bgp import __version__
from trio_bgp.control.routes import explain, route_in_words
from trio_bgp.passthrough.group import Group, Member
from trio_bgp.passthrough.mask import describe
from trio_bgp.rib.decision import best, candidates
from trio_bgp.rib.export import exports
from trio_bgp.runtime.peer import Peer
from trio_bgp.runtime.speaker import Speaker
from trio_bgp.session.fsm import State
from trio_bgp.wire.numbers import Family, family_name

__all__ = ["Snapshot"]

SLICE: Final = 500
"""Prefixes between two checkpoints."""


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
        pool = self.speaker.forwarder.pool.statistics()
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

    def peers(self) -> list[dict[str, Any]]:
        """Every peer, configured ones in their order."""
        found = [self._peer(peer) for peer in self.speaker.peers.values()]
        names = {each["name"] for each in found}
        found += [
            {
                "name": settings.name,
                "address": str(settings.address),
                "as": settings.peer_as,
                "role": settings.role.value,
                "state": State.IDLE.value,
                "disabled": self.speaker.disabled.get(settings.name, ""),
            }
            for settings in self.speaker.settings.peers
            if settings.address is not None and settings.name not in names
        ]
        order = {settings.name: position for position, settings in enumerate(self.speaker.settings.peers)}
        return sorted(found, key=lambda each: (order.get(each["name"].partition("/")[0], len(order)), each["name"]))

    def peer(self, name: str) -> dict[str, Any] | None:
        """One peer in detail; None if there is none of that name."""
        found = next((each for each in self.peers() if each["name"] == name or each["address"] == name), None)
        member = None if found is None else self.speaker.member(found["name"])
        if found is None or member is None:
            return found
        negotiated = member.negotiated
        group = self.speaker.forwarder.server.egress.group_of.get(member)
        return {
            **found,
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
            "end_of_rib": sorted(map(family_name, member.end_of_rib)),
            "group": None if group is None else self._group(group),
        }

    def groups(self) -> list[dict[str, Any]]:
        """Who shares octets with whom, and how much went unchanged."""
        return [self._group(group) for group in self.speaker.forwarder.server.egress.groups]

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
            for station in self.speaker.bmp.stations.values()
        ]

    def memory(self) -> dict[str, Any]:
        """What is kept, and how much of it."""
        server = self.speaker.forwarder.server
        pool = self.speaker.forwarder.pool.statistics()
        return {
            "resident_octets": _resident(),
            "file_descriptors": len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0,
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

    async def routes(
        self,
        *,
        family: Family | None = None,
        key: bytes | None = None,
        match: str = "exact",
        source: str | None = None,
        receiver: str | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        """Routes, one path at a time.

        Args:
            family: of one address family only.
            key: of this prefix.
            match: with `key`: `exact`, `longest` (the longest prefix that covers it), `longer` (it, and all inside).
            source: announced by this peer.
            receiver: as this peer gets them.
        """
        server = self.speaker.forwarder.server
        member = None if receiver is None else self.speaker.member(receiver)
        if receiver is not None and member is None:
            return
        group = None if member is None else server.egress.group_of.get(member)
        for its_family, table in list(server.tables.items()):
            if family is not None and its_family != family:
                continue
            view = None if group is None else group.views.get(its_family)
            if group is not None and view is None:
                continue
            for position, nlri in enumerate(_matching(table.routes, key, match)):
                if position % SLICE == SLICE - 1:
                    await trio.lowlevel.checkpoint()
                entry = table.routes.get(nlri)
                paths = candidates(entry)
                first = best(paths)
                if member is not None and view is not None:
                    paths = tuple(exports(entry, member.source, view))
                for path in paths:
                    if source is None or path.source.name == source:
                        yield route_in_words(its_family, nlri, path, best=path is first, group=group)

    def explain(self, family: Family, key: bytes, receiver: str) -> dict[str, Any] | None:
        """Why a peer gets what of a prefix; None if it is not established."""
        member = self.speaker.member(receiver)
        server = self.speaker.forwarder.server
        group = None if member is None else server.egress.group_of.get(member)
        if member is None or group is None:
            return None
        return explain(family, key, server.table(family).routes.get(key), member, group)

    def _peer(self, peer: Peer) -> dict[str, Any]:
        member: Member | None = self.speaker.member(peer.name)
        connection = next((each for each in peer.connections if each.member is not None), None)
        state = peer.state
        found: dict[str, Any] = {
            "name": peer.name,
            "address": str(peer.address),
            "as": peer.settings.peer_as,
            "role": peer.settings.role.value,
            "state": state.value,
            "last_end": peer.last_end,
            "sessions": peer.sessions_established,
        }
        if member is not None and connection is not None:
            now = trio.current_time()
            found |= {
                "uptime": round(now - peer.established_at, 1),
                "prefixes": sum(member.source.prefixes.values()),
                "updates_received": member.messages_in,
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


def _matching(routes: dict[bytes, Any], key: bytes | None, match: str) -> Iterator[bytes]:
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
        for nlri in list(routes):
            if nlri and nlri[0] >= key[0] and _shorten(nlri, key[0]) == key:
                yield nlri


def _shorten(nlri: bytes, bits: int) -> bytes:
    octets = nlri[1 : 1 + (bits + 7) // 8]
    if bits % 8 and octets:
        octets = octets[:-1] + bytes((octets[-1] & 0xFF00 >> bits % 8 & 0xFF,))
    return bytes((bits,)) + octets


def _identifier(number: int) -> str:
    return ".".join(str(octet) for octet in number.to_bytes(4, "big"))


def _resident() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return 0
