"""NLRI: how the routes of each family are told apart, and what they look like in words.

Forwarding needs no more than where one NLRI ends and the next begins, so a family is a framing rule (`FRAMING`): data,
not code.
"""

from collections.abc import Mapping
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from trio_bgp.wire import numbers
from trio_bgp.wire.notification import NotificationError
from trio_bgp.wire.numbers import Afi, ErrorCode, Family, Safi, UpdateMessageErrorSubcode, afi_of, safi_of

__all__ = [
    "FRAMING",
    "Framing",
    "format_nlri",
    "prefix_octets",
    "split_nlri",
    "split_nlri_add_path",
    "split_prefixes",
]


class Framing(Enum):
    """How the length of an NLRI is written."""

    BITS = "bits"
    """One octet, the number of bits that follow, in whole octets (RFC 4271, 4760, 8277, 4364, 4684)."""
    U8 = "u8"
    """One octet, the number of octets that follow."""
    U16 = "u16"
    """Two octets, the number of octets that follow (RFC 4761)."""
    TYPE_U8 = "type-u8"
    """One octet of type, one of length in octets (RFC 7432, RFC 6514)."""
    TYPE_U16 = "type-u16"
    """Two octets of type, two of length in octets (RFC 9552)."""
    ARCHITECTURE_TYPE_U8 = "architecture-type-u8"
    """One octet of architecture, two of type, one of length in octets (MUP SAFI)."""
    FLOWSPEC = "flowspec"
    """One octet of length, or two if the first is 0xf0 or more (RFC 8955, section 4.1)."""


FRAMING: Final[Mapping[Family, Framing]] = {
    numbers.IPV4_UNICAST: Framing.BITS,
    numbers.IPV6_UNICAST: Framing.BITS,
    numbers.IPV4_MULTICAST: Framing.BITS,
    numbers.IPV6_MULTICAST: Framing.BITS,
    numbers.IPV4_LABELLED: Framing.BITS,
    numbers.IPV6_LABELLED: Framing.BITS,
    numbers.VPNV4: Framing.BITS,
    numbers.VPNV6: Framing.BITS,
    numbers.VPNV4_MULTICAST: Framing.BITS,
    numbers.VPNV6_MULTICAST: Framing.BITS,
    numbers.RT_CONSTRAIN: Framing.BITS,
    numbers.IPV4_SR_POLICY: Framing.BITS,
    numbers.IPV6_SR_POLICY: Framing.BITS,
    numbers.IPV4_FLOWSPEC: Framing.FLOWSPEC,
    numbers.IPV6_FLOWSPEC: Framing.FLOWSPEC,
    numbers.VPNV4_FLOWSPEC: Framing.FLOWSPEC,
    numbers.VPNV6_FLOWSPEC: Framing.FLOWSPEC,
    numbers.IPV4_MVPN: Framing.TYPE_U8,
    numbers.IPV6_MVPN: Framing.TYPE_U8,
    numbers.EVPN: Framing.TYPE_U8,
    numbers.IPV4_MUP: Framing.ARCHITECTURE_TYPE_U8,
    numbers.IPV6_MUP: Framing.ARCHITECTURE_TYPE_U8,
    numbers.VPLS: Framing.U16,
    numbers.BGP_LS: Framing.TYPE_U16,
    numbers.BGP_LS_VPN: Framing.TYPE_U16,
}

MAXIMUM_BITS: Final[Mapping[Family, int]] = {
    numbers.IPV4_UNICAST: 32,
    numbers.IPV4_MULTICAST: 32,
    numbers.IPV6_UNICAST: 128,
    numbers.IPV6_MULTICAST: 128,
    numbers.RT_CONSTRAIN: 96,
}
"""The longest prefix; other families of `Framing.BITS` are bounded by their length octet."""

CANONICAL: Final = frozenset(MAXIMUM_BITS)
"""Families whose NLRI is a bare prefix: bits after it mean nothing and are zeroed (RFC 4271, section 4.3)."""

_KEEP: Final = (0xFF, 0x80, 0xC0, 0xE0, 0xF0, 0xF8, 0xFC, 0xFE)
"""By prefix length modulo 8: which bits of the last octet count."""


def _invalid(reason: str) -> NotificationError:
    return NotificationError(
        ErrorCode.UPDATE_MESSAGE_ERROR, UpdateMessageErrorSubcode.INVALID_NETWORK_FIELD, reason=reason
    )


def split_prefixes(octets: bytes, maximum_bits: int) -> list[bytes]:
    """The prefixes of a field: each its length octet and as many octets as it needs, further bits zeroed.

    Raises:
        NotificationError: 3/10, a length above `maximum_bits` or beyond the field (RFC 7606, section 5.3).
    """
    found: list[bytes] = []
    position = 0
    end = len(octets)
    while position < end:
        bits = octets[position]
        following = position + 1 + (bits + 7 >> 3)
        if bits > maximum_bits or following > end:
            if bits > maximum_bits:
                raise _invalid(f"a prefix length of {bits} bits, at most {maximum_bits} are possible")
            raise _invalid(f"a prefix of {bits} bits exceeds its field")
        nlri = octets[position:following]
        if bits & 7 and nlri[-1] & ~_KEEP[bits & 7]:
            nlri = nlri[:-1] + bytes((nlri[-1] & _KEEP[bits & 7],))
        found.append(nlri)
        position = following
    return found


def split_nlri(family: Family, octets: bytes, *, add_path: bool) -> list[bytes]:
    """Each NLRI's octets, with its length but without path identifier.

    Raises:
        NotificationError: 3/10, a length beyond the field or impossible; 3/9, no framing rule for the family is known.
    """
    if add_path:
        return [nlri for _, nlri in split_nlri_add_path(family, octets)]
    maximum = MAXIMUM_BITS.get(family)
    if maximum is not None:
        return split_prefixes(octets, maximum)
    framing = _framing(family)
    found = []
    position = 0
    while position < len(octets):
        following = _following(framing, octets, position)
        found.append(octets[position:following])
        position = following
    return found


def split_nlri_add_path(family: Family, octets: bytes) -> list[tuple[int, bytes]]:
    """Path identifier and octets of each NLRI (RFC 7911, section 3). Errors as for `split_nlri`."""
    framing = _framing(family)
    maximum = MAXIMUM_BITS.get(family)
    found = []
    position = 0
    while position < len(octets):
        if position + 5 > len(octets):
            raise _invalid("a path identifier without NLRI")
        following = _following(framing, octets, position + 4)
        nlri = octets[position + 4 : following]
        if maximum is not None:
            nlri = split_prefixes(nlri, maximum)[0]
        found.append((int.from_bytes(octets[position : position + 4], "big"), nlri))
        position = following
    return found


def _framing(family: Family) -> Framing:
    framing = FRAMING.get(family)
    if framing is None:
        raise NotificationError(
            ErrorCode.UPDATE_MESSAGE_ERROR,
            UpdateMessageErrorSubcode.OPTIONAL_ATTRIBUTE_ERROR,
            reason=f"no framing rule for NLRI of {numbers.family_name(family)}",
        )
    return framing


def _following(framing: Framing, octets: bytes, position: int) -> int:
    """Where the NLRI after the one at `position` begins."""
    header = octets[position : position + 4]
    following = len(octets) + 1
    if framing is Framing.BITS:
        following = position + 1 + (header[0] + 7 >> 3)
    elif framing is Framing.U8:
        following = position + 1 + header[0]
    elif framing is Framing.U16 and len(header) >= 2:
        following = position + 2 + (header[0] << 8 | header[1])
    elif framing is Framing.TYPE_U8 and len(header) >= 2:
        following = position + 2 + header[1]
    elif framing is Framing.TYPE_U16 and len(header) >= 4:
        following = position + 4 + (header[2] << 8 | header[3])
    elif framing is Framing.ARCHITECTURE_TYPE_U8 and len(header) >= 4:
        following = position + 4 + header[3]
    elif framing is Framing.FLOWSPEC:
        if header[0] < 0xF0:
            following = position + 1 + header[0]
        elif len(header) >= 2:
            following = position + 2 + ((header[0] & 0x0F) << 8 | header[1])
    if following > len(octets):
        raise _invalid(f"an NLRI exceeds its field: {octets[position : position + 32].hex()}")
    return following


def prefix_octets(network: IPv4Network | IPv6Network) -> bytes:
    """The NLRI of a prefix: length octet and as many octets as it needs."""
    bits = network.prefixlen
    return bytes((bits,)) + network.network_address.packed[: (bits + 7) // 8]


def format_nlri(family: Family, nlri: bytes) -> str:
    """An NLRI in words: `10.0.0.0/8`; its octets in hex for families that have no short form."""
    bits = nlri[0] if nlri else 0
    rest = nlri[1:]
    safi = safi_of(family)
    prefix = ""
    if safi in (Safi.LABELLED_UNICAST, Safi.MPLS_VPN, Safi.MULTICAST_VPN) and len(rest) >= 3:
        labels = []
        while len(rest) >= 3:
            label = int.from_bytes(rest[:3], "big")
            rest = rest[3:]
            bits -= 24
            labels.append(str(label >> 4))
            if label & 1 or label in (0x800000, 0):
                break
        prefix = f"[{'/'.join(labels)}] "
        if safi != Safi.LABELLED_UNICAST:
            prefix += f"{rest[:8].hex()}:"
            rest = rest[8:]
            bits -= 64
    elif safi not in (Safi.UNICAST, Safi.MULTICAST):
        return nlri.hex()
    if afi_of(family) == Afi.IPV4 and 0 <= bits <= 32 and len(rest) <= 4:
        return f"{prefix}{IPv4Address(rest.ljust(4, bytes(1)))}/{bits}"
    if afi_of(family) == Afi.IPV6 and 0 <= bits <= 128 and len(rest) <= 16:
        return f"{prefix}{IPv6Address(rest.ljust(16, bytes(1)))}/{bits}"
    return nlri.hex()
