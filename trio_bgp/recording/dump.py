"""All routes of a daemon as TABLE_DUMP_V2."""

import time
from collections.abc import AsyncGenerator
from ipaddress import IPv4Address
from typing import Final

import trio

from trio_bgp.mrt.records import encode_record
from trio_bgp.mrt.table import (
    PeerEntry,
    PeerIndexTable,
    Rib,
    RibEntry,
    encode_peer_index_table,
    encode_rib,
    join_next_hop,
)
from trio_bgp.rib.decision import candidates
from trio_bgp.rib.path import Path, Source
from trio_bgp.runtime.speaker import Speaker
from trio_bgp.wire.nlri import KEYED, join_key
from trio_bgp.wire.numbers import Family

__all__ = ["dump_tables"]

VIEW: Final = "trio-bgp"
SLICE: Final = 500
"""Records between two checkpoints."""


async def dump_tables(speaker: Speaker) -> AsyncGenerator[bytes, None]:
    """All tables as they are while this runs, in whole records; other tasks run between slices.

    A table in which some peer may have several paths to a prefix is written with path identifiers, which are ours. The
    daemon's own routes are those of a last peer with its AS number and address 0.0.0.0.
    """
    now = int(time.time())
    members = list(speaker.forwarder.members)
    peers = [
        PeerEntry(member.negotiated.bgp_identifier, member.address, member.negotiated.peer_as, member.negotiated.asn4)
        for member in members
    ]
    index: dict[Source, int] = {member.source: position for position, member in enumerate(members)}
    own = speaker.settings.speaker
    if speaker.forwarder.local is not None:
        index[speaker.forwarder.local] = len(peers)
        peers.append(PeerEntry(own.bgp_identifier, IPv4Address(0), own.local_as))
    yield encode_record(encode_peer_index_table(PeerIndexTable(own.bgp_identifier, VIEW, tuple(peers)), now))
    for family, routes in list(speaker.forwarder.core.tables.items()):
        add_path = any(family in member.negotiated.add_path_receive for member in members)
        sequence = 0
        octets: list[bytes] = []
        for key in list(routes.routes):
            paths = [path for path in candidates(routes.routes.get(key)) if path.source in index]
            for nlri, same in _by_nlri(family, key, paths).items():
                entries = tuple(
                    RibEntry(
                        index[path.source],
                        now,
                        join_next_hop(path.attributes, family, path.next_hop),
                        path.lane.path_id if add_path else None,
                    )
                    for path in same
                )
                octets.append(encode_record(encode_rib(Rib(sequence, family, nlri, entries), now)))
                sequence += 1
            if len(octets) >= SLICE:
                yield b"".join(octets)
                octets.clear()
                await trio.lowlevel.checkpoint()
        if octets:
            yield b"".join(octets)


def _by_nlri(family: Family, key: bytes, paths: list[Path]) -> dict[bytes, list[Path]]:
    """The paths by their NLRI: in families with labels those of one route may differ."""
    if family not in KEYED:
        return {key: paths} if paths else {}
    found: dict[bytes, list[Path]] = {}
    for path in paths:
        found.setdefault(join_key(family, key, path.extra), []).append(path)
    return found
