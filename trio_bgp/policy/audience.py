"""Who may have a path at all: classes of receivers, as bits that are computed once per path.

What decides is the receiver's role and a few of its capabilities on one side, the role of the path's source, its
well-known communities and its next hop on the other. Every combination on the receiver's side is a class with a bit.
"""

from functools import lru_cache
from typing import Final

from trio_bgp.settings import BgpRole, PeerSettings, Role
from trio_bgp.wire.attributes import Attributes
from trio_bgp.wire.numbers import AttributeType

__all__ = [
    "LLGR_STALE",
    "NO_ADVERTISE",
    "NO_EXPORT",
    "NO_EXPORT_SUBCONFED",
    "NO_LLGR",
    "audience_of_path",
    "class_of",
    "long_lived_audience",
    "well_known",
]

NO_EXPORT: Final = b"\xff\xff\xff\x01"
NO_ADVERTISE: Final = b"\xff\xff\xff\x02"
NO_EXPORT_SUBCONFED: Final = b"\xff\xff\xff\x03"
LLGR_STALE: Final = b"\xff\xff\x00\x06"
NO_LLGR: Final = b"\xff\xff\x00\x07"

_ROLES: Final = (Role.RS_CLIENT, Role.RR_CLIENT, Role.IBGP, Role.EBGP)
_EXTENDED_NEXT_HOP: Final = 1 << 2
_LLGR: Final = 1 << 3
_NO_OTC: Final = 1 << 4
_CLASSES: Final = range(1 << 5)


def class_of(settings: PeerSettings, *, extended_next_hop: bool, llgr: bool) -> int:
    """The bit of a receiver's class for one family; 0 if nothing is exported to it.

    Args:
        settings: who it is.
        extended_next_hop: it takes IPv6 next hops for this family (RFC 8950).
        llgr: it negotiated long-lived graceful restart (RFC 9494).
    """
    if not settings.exports:
        return 0
    number = _ROLES.index(settings.role)
    if extended_next_hop:
        number |= _EXTENDED_NEXT_HOP
    if llgr:
        number |= _LLGR
    if settings.bgp_role in (BgpRole.CUSTOMER, BgpRole.PEER, BgpRole.RS_CLIENT):
        number |= _NO_OTC
    return 1 << number


def long_lived_audience() -> int:
    """The classes that may have a long-lived stale route (RFC 9494, section 4.3)."""
    return sum(1 << number for number in _CLASSES if number & _LLGR)


def well_known(communities: bytes) -> frozenset[bytes]:
    """The well-known communities (RFC 1997; 0xffff in front) of a COMMUNITIES value."""
    if b"\xff\xff" not in communities:
        return frozenset()
    found = (communities[at : at + 4] for at in range(0, len(communities), 4))
    return frozenset(community for community in found if community[:2] == b"\xff\xff")


def audience_of_path(role: Role, parsed: Attributes, communities: frozenset[bytes], *, ipv6_next_hop: bool) -> int:
    """The classes that may have a path.

    Args:
        role: of the peer it is from.
        parsed: its attributes.
        communities: what `well_known` says of its communities.
        ipv6_next_hop: its next hop is IPv6, its routes are IPv4 (RFC 8950).
    """
    return _classes(role, communities, parsed.has(AttributeType.ONLY_TO_CUSTOMER), ipv6_next_hop)


@lru_cache(maxsize=4096)
def _classes(role: Role, communities: frozenset[bytes], only_to_customer: bool, ipv6_next_hop: bool) -> int:
    bits = 0
    for number in _CLASSES:
        receiver = _ROLES[number & 3]
        if role is Role.IBGP and receiver is Role.IBGP:
            continue  # RFC 4456, section 6: from a non-client to clients only
        if communities and not (role is Role.RS_CLIENT and receiver is Role.RS_CLIENT):
            # RFC 1997; between its clients a route server only passes communities on (RFC 7947, section 2.2.4).
            if NO_ADVERTISE in communities:
                continue
            if not receiver.internal and (NO_EXPORT in communities or NO_EXPORT_SUBCONFED in communities):
                continue
            if LLGR_STALE in communities and not number & _LLGR:
                continue  # RFC 9494, section 4.3
        if ipv6_next_hop and not number & _EXTENDED_NEXT_HOP:
            continue
        if only_to_customer and number & _NO_OTC:
            continue  # RFC 9234, section 5: the route has been to a customer, peer or route server's client before
        bits |= 1 << number
    return bits
