"""`CapabilityMask`: what a message requires of a receiver, and what a peer has negotiated, as bits of a plain int.

The positions of the original design are kept; families and ADD-PATH bits it did not name use free ones. An int and not
an `IntFlag`, because the mask is compared for every message that starts a run (18 ns against 453 ns).

Two kinds of bits:

* additive: a receiver must have at least what the message requires (address families, extended messages);
* exclusive: a receiver must agree exactly, but only where the message has the thing concerned: the width of AS numbers
  if an attribute carries AS numbers (RFC 6793), the ADD-PATH encoding of every family present (RFC 7911, section 3:
  once negotiated each NLRI has a path identifier, so one without would be misread).
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
    "CapabilityMask",
    "can_pass_through",
    "describe",
    "exclusive_bits",
    "families_of",
    "family_bit",
    "mask_of",
]

CapabilityMask = NewType("CapabilityMask", int)

NO_REQUIREMENT: Final = CapabilityMask(0)
EBGP: Final = CapabilityMask(1 << 0)
ASN4: Final = CapabilityMask(1 << 1)
EXTENDED_MESSAGE: Final = CapabilityMask(1 << 2)
AS_NUMBERS: Final = CapabilityMask(1 << 3)
"""On a requirement only: attributes carry AS numbers, so `ASN4` has to agree."""

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
_FAMILY_BITS: Final = sum(1 << position for position in FAMILY_POSITIONS.values())


def family_bit(family: Family) -> CapabilityMask:
    """The bit of an address family; 0 for a family without one, which nobody can then be said to have."""
    position = FAMILY_POSITIONS.get(family)
    return CapabilityMask(0 if position is None else 1 << position)


def mask_of(
    *,
    families: Iterable[Family],
    asn4: bool,
    extended_message: bool,
    external: bool = True,
    add_path: Iterable[Family] = (),
) -> CapabilityMask:
    """A peer's mask, from what was negotiated for the direction towards it."""
    mask = (EBGP if external else 0) | (ASN4 if asn4 else 0) | (EXTENDED_MESSAGE if extended_message else 0)
    for family in families:
        mask |= family_bit(family)
    for family in add_path:
        mask |= 1 << ADD_PATH_POSITIONS[family]
    return CapabilityMask(mask)


def families_of(mask: int) -> list[Family]:
    """The address families whose bits are set."""
    return [family for family, position in FAMILY_POSITIONS.items() if mask >> position & 1]


@lru_cache(maxsize=4096)
def exclusive_bits(required: int) -> int:
    """The bits in which a receiver must agree exactly with a message that requires this."""
    bits = ASN4 if required & AS_NUMBERS else 0
    for family in families_of(required):
        if family in ADD_PATH_POSITIONS:
            bits |= 1 << ADD_PATH_POSITIONS[family]
    return bits


def can_pass_through(required: int, peer: int) -> bool:
    """Whether a peer with this mask can read unchanged octets that require that one."""
    if (required ^ peer) & exclusive_bits(required):
        return False
    additive = required & (_FAMILY_BITS | EXTENDED_MESSAGE)
    return peer & additive == additive


def describe(mask: int) -> str:
    """The mask for a log: `EBGP+ASN4+EXTENDED+ipv4-unicast+ADDPATH(ipv4-unicast)`."""
    parts = ["EBGP" if mask & EBGP else "IBGP", "ASN4" if mask & ASN4 else "ASN2"]
    if mask & EXTENDED_MESSAGE:
        parts.append("EXTENDED")
    parts += [numbers.family_name(family) for family in families_of(mask)]
    parts += [
        f"ADDPATH({numbers.family_name(family)})"
        for family, position in ADD_PATH_POSITIONS.items()
        if mask >> position & 1
    ]
    return "+".join(parts)
