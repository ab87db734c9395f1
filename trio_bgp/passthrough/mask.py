"""`CapabilityMask`: what a message requires of a receiver, and what a peer has negotiated, as bits of a plain int.

The positions of the original design are kept; families and ADD-PATH bits it did not name use free ones. An int and not
an `IntFlag`, because the mask is compared for every message that starts a run (18 ns against 453 ns).

Two kinds of bits:

* additive: a receiver must have at least what the message requires (address families, extended messages);
* exclusive: a receiver must agree exactly, but only where the message has the thing concerned: the width of AS numbers
  if an attribute carries AS numbers (RFC 6793), the ADD-PATH encoding of every family present (RFC 7911, section 3:
  once negotiated each NLRI has a path identifier, so one without would be misread).

Documented positions: 0 EBGP, 1 4-octet AS, 2 extended message, 8 to 15 ADD-PATH, 24 to 33 families. Ours: 3 to 5,
34 to 49 families, 64 and up pairs of family and ADD-PATH for families that have no position of their own.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NewType

from trio_bgp.wire import numbers
from trio_bgp.wire.numbers import Family

__all__ = [
    "ASN4",
    "AS_NUMBERS",
    "EBGP",
    "EXTENDED_MESSAGE",
    "NO_REQUIREMENT",
    "REWRITE",
    "TRANSPARENT",
    "CapabilityMask",
    "add_path_bit",
    "can_pass_through",
    "describe",
    "exclusive_bits",
    "families_of",
    "family_bit",
    "mask_of",
    "obstacle",
]

CapabilityMask = NewType("CapabilityMask", int)

NO_REQUIREMENT: Final = CapabilityMask(0)
EBGP: Final = CapabilityMask(1 << 0)
ASN4: Final = CapabilityMask(1 << 1)
EXTENDED_MESSAGE: Final = CapabilityMask(1 << 2)
AS_NUMBERS: Final = CapabilityMask(1 << 3)
"""On a requirement only: attributes carry AS numbers, so `ASN4` has to agree."""
TRANSPARENT: Final = CapabilityMask(1 << 4)
"""On a requirement: attributes may be read as they are only by a route-server client. On a mask: this is one."""
REWRITE: Final = CapabilityMask(1 << 5)
"""On a requirement only: no peer may have these octets as they are."""

FAMILY_POSITIONS: Final[dict[Family, int]] = {
    numbers.IPV4_UNICAST: 24,
    numbers.IPV4_MULTICAST: 25,
    numbers.IPV6_UNICAST: 26,
    numbers.IPV6_MULTICAST: 27,
    numbers.VPNV4: 28,
    numbers.VPNV6: 29,
    numbers.EVPN: 30,
    numbers.IPV4_FLOWSPEC: 31,
    numbers.IPV6_FLOWSPEC: 32,
    numbers.BGP_LS: 33,
    numbers.IPV4_LABELLED: 34,
    numbers.IPV6_LABELLED: 35,
    numbers.IPV4_MVPN: 36,
    numbers.IPV6_MVPN: 37,
    numbers.RT_CONSTRAIN: 38,
    numbers.VPNV4_FLOWSPEC: 39,
    numbers.VPNV6_FLOWSPEC: 40,
    numbers.BGP_LS_VPN: 41,
    numbers.VPLS: 42,
    numbers.VPNV4_MULTICAST: 43,
    numbers.VPNV6_MULTICAST: 44,
    numbers.IPV4_SR_POLICY: 45,
    numbers.IPV6_SR_POLICY: 46,
    numbers.IPV4_MUP: 47,
    numbers.IPV6_MUP: 48,
}
ADD_PATH_POSITIONS: Final[dict[Family, int]] = {
    numbers.IPV4_UNICAST: 8,
    numbers.IPV4_MULTICAST: 9,
    numbers.IPV6_UNICAST: 10,
    numbers.IPV6_MULTICAST: 11,
    numbers.VPNV4: 12,
    numbers.VPNV6: 13,
    numbers.EVPN: 14,
    numbers.IPV4_FLOWSPEC: 15,
}
_EXTRA_ADD_PATH: Final[dict[Family, int]] = {
    family: 16 + index if index < 8 else 42 + index
    for index, family in enumerate(each for each in FAMILY_POSITIONS if each not in ADD_PATH_POSITIONS)
}
"""Free positions, 16 to 23 and 50 to 63, for the other families that have one."""
_FREE: Final = 64
_assigned: dict[Family, int] = {}
"""Positions given to families met at run time, in the order they were first named; their ADD-PATH bit is the next."""


def _position(family: Family) -> int:
    position = FAMILY_POSITIONS.get(family)
    if position is None:
        position = _assigned.get(family)
        if position is None:
            position = _assigned[family] = _FREE + 2 * len(_assigned)
    return position


def family_bit(family: Family) -> CapabilityMask:
    """The bit of an address family; one that has no documented position is given a free one."""
    return CapabilityMask(1 << _position(family))


def add_path_bit(family: Family) -> CapabilityMask:
    """The bit that says NLRI of this family carry path identifiers."""
    position = ADD_PATH_POSITIONS.get(family)
    if position is None:
        position = _EXTRA_ADD_PATH.get(family)
    return CapabilityMask(1 << (_position(family) + 1 if position is None else position))


def mask_of(
    *,
    families: Iterable[Family],
    asn4: bool,
    extended_message: bool,
    external: bool = True,
    transparent: bool = False,
    add_path: Iterable[Family] = (),
) -> CapabilityMask:
    """A peer's mask, from what was negotiated for the direction towards it."""
    mask = (EBGP if external else 0) | (ASN4 if asn4 else 0) | (EXTENDED_MESSAGE if extended_message else 0)
    if transparent:
        mask |= TRANSPARENT
    for family in families:
        mask |= family_bit(family)
    for family in add_path:
        mask |= add_path_bit(family)
    return CapabilityMask(mask)


def families_of(mask: int) -> list[Family]:
    """The address families whose bits are set."""
    known = [family for family, position in FAMILY_POSITIONS.items() if mask >> position & 1]
    return known + [family for family, position in _assigned.items() if mask >> position & 1]


@lru_cache(maxsize=4096)
def exclusive_bits(required: int) -> int:
    """The bits in which a receiver must agree exactly with a message that requires this."""
    bits = ASN4 if required & AS_NUMBERS else 0
    for family in families_of(required):
        bits |= add_path_bit(family)
    return bits


@lru_cache(maxsize=4096)
def _additive_bits(required: int) -> int:
    bits = required & (EXTENDED_MESSAGE | TRANSPARENT)
    for family in families_of(required):
        bits |= family_bit(family)
    return bits


def can_pass_through(required: int, peer: int) -> bool:
    """Whether a peer with this mask can read unchanged octets that require that one."""
    if required & REWRITE or (required ^ peer) & exclusive_bits(required):
        return False
    additive = _additive_bits(required)
    return peer & additive == additive


def obstacle(required: int, peer: int) -> str:
    """Why `can_pass_through` says no, in one word for counters; "" if it says yes.

    `family` (some of it is not for the peer), `role`, `path-identifiers` (the received ones are not ours), `as-width`,
    `add-path`, `length`.
    """
    if can_pass_through(required, peer):
        return ""
    if any(not peer & family_bit(family) for family in families_of(required)):
        return "family"
    if required & TRANSPARENT and not peer & TRANSPARENT:
        return "role"
    different = (required ^ peer) & exclusive_bits(required)
    if different & ASN4:
        return "as-width"
    if different:
        return "add-path"
    if required & REWRITE:
        return "path-identifiers" if required & TRANSPARENT else "role"
    return "length"


def describe(mask: int) -> str:
    """The mask for a log: `EBGP+ASN4+EXTENDED+ipv4-unicast+ADDPATH(ipv4-unicast)`."""
    parts = ["EBGP" if mask & EBGP else "IBGP", "ASN4" if mask & ASN4 else "ASN2"]
    if mask & TRANSPARENT:
        parts.append("TRANSPARENT")
    if mask & EXTENDED_MESSAGE:
        parts.append("EXTENDED")
    families = families_of(mask)
    parts += [numbers.family_name(family) for family in families]
    parts += [f"ADDPATH({numbers.family_name(family)})" for family in families if mask & add_path_bit(family)]
    return "+".join(parts)
