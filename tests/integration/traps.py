"""What the tests of the forwarding traps share: peers of every role around a daemon, and octets by hand."""

import contextlib
import struct
from collections.abc import AsyncIterator
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from tests.harness import decoder
from tests.harness.decoder import V4, V6, Family, Route
from tests.harness.lab import LOCAL_AS, Lab, lab, peer_settings
from tests.harness.speaker import ScriptedSpeaker
from trio_bgp.settings import AddPathSettings, PeerSettings, Policy, Role

A, B, C, D = ((V4, bytes((24, 10, 0, n))) for n in range(4))
A6, B6 = ((V6, bytes((48, 0x20, 0x01, 0x0D, 0xB8, 0, n))) for n in range(2))
HOP = bytes((192, 0, 2, 1))
HOP6 = bytes.fromhex("20010db8") + bytes(11) + b"\x01"
LINK_LOCAL = b"\xfe\x80" + bytes(13) + b"\x01"
OUR_V4 = bytes((192, 0, 2, 254))
OUR_V6 = bytes.fromhex("20010db8") + bytes(11) + b"\xff"
OUR_ID = bytes.fromhex("0aff0001")
NO_EXPORT, NO_ADVERTISE = b"\xff\xff\xff\x01", b"\xff\xff\xff\x02"
NO_EXPORT_SUBCONFED = b"\xff\xff\xff\x03"
GRACEFUL_SHUTDOWN, BLACKHOLE, LLGR_STALE = b"\xff\xff\x00\x00", b"\xff\xff\x02\x9a", b"\xff\xff\x00\x06"
ORIGIN = decoder.attribute(0x40, 1, b"\0")
NEXT_HOP = decoder.attribute(0x40, 3, HOP)
ALL = AddPathSettings(send=AddPathSettings.ALL, receive=True)
EXTENDED_NEXT_HOP = b"\x05\x06\x00\x01\x00\x01\x00\x02"
"""RFC 8950: IPv4 unicast may have an IPv6 next hop."""
LLGR = b"\x47\x07\x00\x01\x01\x80\x00\x0e\x10"
"""RFC 9494: IPv4 unicast, an hour."""


def rs(number: int, **changes: Any) -> PeerSettings:
    """A route-server client."""
    return peer_settings(number, **changes)


def rr(number: int, **changes: Any) -> PeerSettings:
    """A reflector's client."""
    return peer_settings(number, **{"peer_as": LOCAL_AS, "role": Role.RR_CLIENT, **changes})


def ibgp(number: int, **changes: Any) -> PeerSettings:
    """An internal peer that is no client."""
    return rr(number, role=Role.IBGP, **changes)


def ebgp(number: int, **changes: Any) -> PeerSettings:
    """An ordinary external peer that is given our address as next hop."""
    return peer_settings(
        number,
        **{
            "role": Role.EBGP,
            "import_policy": Policy.ACCEPT,
            "export_policy": Policy.ACCEPT,
            "next_hop_ipv4": IPv4Address(OUR_V4),
            "next_hop_ipv6": IPv6Address(OUR_V6),
            **changes,
        },
    )


def forget(*clients: ScriptedSpeaker) -> None:
    """Look only at what comes from here on."""
    for client in clients:
        client.updates.clear()
        client.log.clear()
        client.end_of_rib.clear()


@contextlib.asynccontextmanager
async def network(
    *peers: PeerSettings, options: dict[int, dict[str, Any]] | None = None, **changes: Any
) -> AsyncIterator[tuple[Lab, list[ScriptedSpeaker]]]:
    """A daemon with these peers, all up and told that there is nothing.

    Args:
        peers: in the order of the speakers; their numbers are the ends of their names.
        options: of the speakers, by peer number.
        changes: to the daemon's own settings.
    """
    async with lab(*peers, **changes) as the_lab:
        clients = []
        for each in peers:
            number = int(each.name[1:])
            clients.append(await the_lab.join(number, **{"asn": each.peer_as, **(options or {}).get(number, {})}))
        forget(*clients)
        yield the_lab, clients


def block(*numbers: int, more: bytes = b"") -> bytes:
    """ORIGIN, AS_PATH of these AS numbers, and more."""
    return ORIGIN + decoder.as_path(*numbers) + more


def announce(*routes: Route, by: tuple[int, ...] = (65001,), more: bytes = b"", hop: bytes | None = None) -> bytes:
    """An UPDATE that announces routes of one family with this AS_PATH."""
    if hop is None:
        hop = HOP if routes[0][0] == V4 else HOP6
    return decoder.announce(list(routes), block(*by, more=more), hop)


def communities(*values: bytes) -> bytes:
    """A COMMUNITIES attribute."""
    return decoder.attribute(0xC0, 8, b"".join(values))


def reach(family: Family, hop: bytes, nlri: bytes, flags: int = 0x80) -> bytes:
    """An MP_REACH_NLRI attribute."""
    return decoder.attribute(flags, 14, struct.pack(">HBB", *family, len(hop)) + hop + b"\0" + nlri)


def unreach(family: Family, nlri: bytes) -> bytes:
    """An MP_UNREACH_NLRI attribute."""
    return decoder.attribute(0x80, 15, struct.pack(">HB", *family) + nlri)


def value(client: ScriptedSpeaker, route: Route, kind: int) -> bytes | None:
    """The value of an attribute that a speaker holds for a route; 0: the next hop in MP_REACH_NLRI."""
    return next((octets for _, each, octets in client.table[route] if each == kind), None)


def flags(client: ScriptedSpeaker, route: Route, kind: int) -> int | None:
    """The flags of an attribute that a speaker holds for a route."""
    return next((found for found, each, _ in client.table[route] if each == kind), None)


def kinds(client: ScriptedSpeaker, route: Route) -> set[int]:
    """The attributes that a speaker holds for a route."""
    return {kind for _, kind, _ in client.table[route]}


def sequence(*numbers: int, width: str = "I") -> bytes:
    """The value of an AS_PATH of one sequence."""
    return struct.pack(f">BB{len(numbers)}{width}", 2, len(numbers), *numbers)


def attributes_in(whole: bytes) -> list[tuple[int, int, bytes]]:
    """All attributes of an UPDATE, in order."""
    size = int.from_bytes(whole[19:21], "big")
    rest = whole[21 + size :]
    return decoder.attributes_of(rest[2 : 2 + int.from_bytes(rest[:2], "big")])


def with_identifier(identifier: int, route: Route) -> Route:
    """A route behind a path identifier."""
    return route[0], identifier.to_bytes(4, "big") + route[1]


def identifiers(client: ScriptedSpeaker, route: Route) -> dict[bytes, int]:
    """By AS_PATH value, the path identifier under which a speaker holds each path to a route."""
    return {
        next(octets for _, kind, octets in found if kind == 2): int.from_bytes(nlri[:4], "big")
        for (family, nlri), found in client.table.items()
        if (family, nlri[4:]) == route
    }
