"""MRT dumps of the tables: TABLE_DUMP_V2 (RFC 6396), with path identifiers (RFC 8050)."""

import struct
import time
from collections.abc import AsyncIterator
from typing import Final

import trio

from trio_bgp.rib.decision import candidates
from trio_bgp.runtime.speaker import Speaker
from trio_bgp.wire.attribute_block import encode_attribute, walk
from trio_bgp.wire.numbers import (
    FLAG_OPTIONAL,
    IPV4_MULTICAST,
    IPV4_UNICAST,
    IPV6_MULTICAST,
    IPV6_UNICAST,
    AttributeType,
    Family,
    afi_of,
    safi_of,
)

__all__ = ["dump"]

TABLE_DUMP_V2: Final = 13
PEER_INDEX_TABLE: Final = 1
SUBTYPES: Final = {IPV4_UNICAST: 2, IPV4_MULTICAST: 3, IPV6_UNICAST: 4, IPV6_MULTICAST: 5}
ADD_PATH_SUBTYPES: Final = {IPV4_UNICAST: 8, IPV4_MULTICAST: 9, IPV6_UNICAST: 10, IPV6_MULTICAST: 11}
RIB_GENERIC: Final = 6
RIB_GENERIC_ADD_PATH: Final = 12
SLICE: Final = 500


def _record(now: int, subtype: int, body: bytes) -> bytes:
    return struct.pack(">IHHI", now, TABLE_DUMP_V2, subtype, len(body)) + body


async def dump(speaker: Speaker) -> AsyncIterator[bytes]:
    """All tables as they are while this runs, in records; other tasks run between slices.

    A table in which some peer has several paths to a prefix is written with path identifiers.
    """
    now = int(time.time())
    members = list(speaker.forwarder.members)
    index = {member.source: position for position, member in enumerate(members)}
    entries = []
    for member in members:
        width = 2 if member.negotiated.asn4 else 0
        kind = width | (member.address.version == 6)
        asn = member.negotiated.peer_as.to_bytes(4 if width else 2, "big")
        entries.append(
            bytes((kind,)) + member.negotiated.bgp_identifier.to_bytes(4, "big") + member.address.packed + asn
        )
    name = b"trio-bgp"
    identifier = speaker.settings.speaker.bgp_identifier.to_bytes(4, "big")
    table = identifier + struct.pack(">H", len(name)) + name + struct.pack(">H", len(entries)) + b"".join(entries)
    yield _record(now, PEER_INDEX_TABLE, table)
    for family, routes in list(speaker.forwarder.server.tables.items()):
        add_path = any(family in member.negotiated.add_path_receive for member in members)
        sequence = 0
        octets: list[bytes] = []
        for nlri in list(routes.routes):
            paths = [path for path in candidates(routes.routes.get(nlri)) if path.source in index]
            if not paths:
                continue
            body = struct.pack(">I", sequence)
            if family not in SUBTYPES:
                body += struct.pack(">HB", afi_of(family), safi_of(family))
            body += nlri + struct.pack(">H", len(paths))
            for path in paths:
                body += struct.pack(">HI", index[path.source], now)
                if add_path:
                    body += struct.pack(">I", path.lane.path_id)
                attributes = _attributes(path.attributes, path.next_hop, family)
                body += struct.pack(">H", len(attributes)) + attributes
            octets.append(_record(now, _subtype(family, add_path=add_path), body))
            sequence += 1
            if sequence % SLICE == 0:
                yield b"".join(octets)
                octets.clear()
                await trio.lowlevel.checkpoint()
        if octets:
            yield b"".join(octets)


def _subtype(family: Family, *, add_path: bool) -> int:
    if add_path:
        return ADD_PATH_SUBTYPES.get(family, RIB_GENERIC_ADD_PATH)
    return SUBTYPES.get(family, RIB_GENERIC)


def _attributes(octets: bytes, next_hop: bytes | None, family: Family) -> bytes:
    """With MP_REACH_NLRI cut down to its next hop (RFC 6396, section 4.3.4)."""
    if next_hop is None:
        return octets
    if (
        family == IPV4_UNICAST
        and len(next_hop) == 4
        and not any(k == AttributeType.NEXT_HOP for _, k, _, _ in walk(octets))
    ):
        return octets + encode_attribute(0x40, AttributeType.NEXT_HOP, next_hop)
    return octets + encode_attribute(FLAG_OPTIONAL, AttributeType.MP_REACH_NLRI, bytes((len(next_hop),)) + next_hop)
