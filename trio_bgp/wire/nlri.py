"""NLRI: how the routes of each family are told apart, and what they look like in words.

Forwarding needs no more than where one NLRI ends and the next begins, so a family is a framing rule (`FRAMING`): data,
not code.
"""

from collections.abc import Mapping
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final

from trio_bgp.wire import numbers
from trio_bgp.wire.notification import NotificationError
from trio_bgp.wire.numbers import Afi, ErrorCode, Family, Safi, UpdateMessageErrorSubcode, afi_of, safi_of

__all__ = [
    "FRAMING",
    "KEYED",
    "READ",
    "Framing",
    "format_nlri",
    "is_martian",
    "join_key",
    "nlri_end",
    "prefix_octets",
    "split_key",
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
"""The longest prefix of families whose NLRI is a bare one: bits behind it mean nothing and are zeroed (RFC 4271,
section 4.3). Other families of `Framing.BITS` are bounded by their length octet."""

_KEEP: Final = (0xFF, 0x80, 0xC0, 0xE0, 0xF0, 0xF8, 0xFC, 0xFE)
"""By prefix length modulo 8: which bits of the last octet count."""


def _invalid(reason: str) -> NotificationError:
    return NotificationError(
        ErrorCode.UPDATE_MESSAGE_ERROR, UpdateMessageErrorSubcode.INVALID_NETWORK_FIELD, reason=reason
    )


_SIZES: Final = {
    maximum: tuple(1 + (bits + 7 >> 3) if bits <= maximum else 1 << 16 for bits in range(256))
    for maximum in sorted(set(MAXIMUM_BITS.values()))
}
"""By the most bits a prefix may have, then by how many it has: its octets with the length octet, beyond any field for
impossible ones."""


def split_prefixes(octets: bytes, maximum_bits: int) -> list[bytes]:
    """The prefixes of a field: each its length octet and as many octets as it needs, further bits zeroed.

    Raises:
        NotificationError: 3/10, a length above `maximum_bits` (a value of `MAXIMUM_BITS`) or beyond the field
            (RFC 7606, section 5.3).
    """
    sizes = _SIZES[maximum_bits]
    found: list[bytes] = []
    position = 0
    end = len(octets)
    while position < end:
        bits = octets[position]
        following = position + sizes[bits]
        nlri = octets[position:following]
        if bits & 7 and nlri[-1] & ~_KEEP[bits & 7]:
            nlri = nlri[:-1] + bytes((nlri[-1] & _KEEP[bits & 7],))
        found.append(nlri)
        position = following
    if position > end:
        if bits > maximum_bits:
            raise _invalid(f"a prefix length of {bits} bits, at most {maximum_bits} are possible")
        raise _invalid(f"a prefix of {bits} bits exceeds its field")
    return found


def split_nlri(family: Family, octets: bytes, *, add_path: bool, framing: Framing | None = None) -> list[bytes]:
    """Each NLRI's octets, with its length but without path identifier.

    Args:
        family: the address family.
        octets: NLRIs one after the other.
        add_path: each has a path identifier in front (RFC 7911, section 3).
        framing: how to tell them apart, for a family that is not in `FRAMING`.

    Raises:
        NotificationError: 3/10, a length beyond the field or impossible; 3/9, no framing rule for the family is known.
    """
    if add_path:
        return [nlri for _, nlri in split_nlri_add_path(family, octets, framing)]
    maximum = MAXIMUM_BITS.get(family)
    if maximum is not None:
        return split_prefixes(octets, maximum)
    framing = framing or _framing(family)
    found = []
    position = 0
    while position < len(octets):
        following = _following(framing, octets, position)
        found.append(octets[position:following])
        position = following
    return found


def nlri_end(family: Family, octets: bytes, position: int, framing: Framing | None = None) -> int:
    """Where the NLRI at `position` ends, without path identifier. Other arguments and errors as for `split_nlri`."""
    if position >= len(octets):
        raise _invalid("no NLRI where one should be")
    return _following(framing or _framing(family), octets, position)


def split_nlri_add_path(family: Family, octets: bytes, framing: Framing | None = None) -> list[tuple[int, bytes]]:
    """Path identifier and octets of each NLRI (RFC 7911, section 3). Arguments and errors as for `split_nlri`."""
    framing = framing or _framing(family)
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


LABELLED_BITS: Final[Mapping[Family, tuple[int, int]]] = {
    numbers.IPV4_LABELLED: (0, 32),
    numbers.IPV6_LABELLED: (0, 128),
    numbers.VPNV4: (64, 96),
    numbers.VPNV6: (64, 192),
    numbers.VPNV4_MULTICAST: (64, 96),
    numbers.VPNV6_MULTICAST: (64, 192),
}
"""Families with MPLS labels: bits of route distinguisher and prefix behind them, at least and at most."""
LABELLED: Final = frozenset(LABELLED_BITS)
KEYED: Final = LABELLED | {numbers.EVPN}
"""Families whose NLRI carry more than what tells one route from another: MPLS labels (RFC 8277, section 2.4; RFC 4364),
and in EVPN also the Ethernet Segment Identifier and the gateway (RFC 7432, section 7; RFC 9136, section 3.1)."""
READ: Final = KEYED | frozenset(MAXIMUM_BITS)
"""Families of whose NLRI more is known than where they end: another framing rule would be wrong for them."""
WITHDRAWN_LABEL: Final = b"\x80\0\0"
"""In place of a label that means nothing any more (RFC 8277, section 2.4)."""
EVPN_ETHERNET_AUTO_DISCOVERY: Final = 1
EVPN_MAC_IP: Final = 2
EVPN_IP_PREFIX: Final = 5


def split_key(family: Family, nlri: bytes) -> tuple[bytes, bytes]:
    """What tells a route from others of its family, and the rest of its NLRI (see `KEYED`).

    Returns:
        (key, extra): equal keys are the same route (a later one replaces the earlier, a withdrawal need not repeat the
        extra); `join_key` puts them together again. For other families the key is the NLRI.

    Raises:
        NotificationError: 3/10, the NLRI is too short for its fields.
    """
    if family in LABELLED:
        end = 1
        while True:
            label = nlri[end : end + 3]
            end += 3
            if end > len(nlri):
                # RFC 8277, sections 2.2 and 2.4: of a single label the bit is ignored, and in a withdrawal all of it.
                end = 4
                break
            if label[2] & 1 or label in (WITHDRAWN_LABEL, b"\0\0\0"):
                break
        if end > len(nlri):
            raise _invalid(f"an NLRI shorter than a label: {nlri[:32].hex()}")
        bits = nlri[0] - 8 * (end - 1)
        shortest, longest = LABELLED_BITS[family]
        if not shortest <= bits <= longest:
            raise _invalid(f"{bits} bits behind the labels, {shortest} to {longest} are possible: {nlri[:32].hex()}")
        return bytes((bits,)) + nlri[end:], nlri[1:end]
    if family == numbers.EVPN:
        kind = nlri[0]
        end = 0
        if kind == EVPN_ETHERNET_AUTO_DISCOVERY and len(nlri) == 27:
            return bytes((kind, _SPLIT)) + nlri[2:24], nlri[24:]
        if kind == EVPN_MAC_IP and len(nlri) >= 35 and nlri[31] in (0, 32, 128):
            end = 32 + nlri[31] // 8
        elif kind == EVPN_IP_PREFIX and len(nlri) in (36, 60):
            end = 25 + (len(nlri) - 28) // 2
        if 0 < end < len(nlri):
            return bytes((kind, _SPLIT)) + nlri[2:10] + nlri[20:end], nlri[10:20] + nlri[end:]
    return nlri, b""


_SPLIT: Final = 0xFF
"""In place of the length octet of an EVPN route that was split: no whole route of its length has that."""
_EVPN_GATEWAY: Final = {(2, 22): 0, (2, 26): 0, (2, 38): 0, (5, 19): 4, (5, 31): 16}
"""By route type and octets of a key that was split: octets of a gateway between it and the label."""


def join_key(family: Family, key: bytes, extra: bytes | None) -> bytes:
    """The NLRI of a route.

    Args:
        family: one of `KEYED`.
        key: from `split_key`.
        extra: from `split_key`; None in a withdrawal, where nothing is said of it.
    """
    if family in LABELLED:
        labels = WITHDRAWN_LABEL if extra is None else extra
        return bytes((key[0] + 8 * len(labels),)) + labels + key[1:]
    if key[1] != _SPLIT or len(key) == 2 + _SPLIT:
        return key
    if key[0] == EVPN_ETHERNET_AUTO_DISCOVERY:
        return bytes((1, 25)) + key[2:] + (extra or bytes(3))
    gateway = _EVPN_GATEWAY[key[0], len(key)]
    if extra is None:
        extra = bytes(10 + gateway + 3)
    return bytes((key[0], len(key) + len(extra) - 2)) + key[2:10] + extra[:10] + key[10:] + extra[10:]


_MARTIANS: Final = tuple(
    (family, length, int.from_bytes(network.network_address.packed, "big") >> (network.max_prefixlen - length))
    for family, text in (
        (Afi.IPV4, "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24"),
        (Afi.IPV4, "192.0.2.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4"),
        (Afi.IPV6, "2001:2::/48 2001:10::/28 2001:db8::/32 3fff::/20"),
    )
    for network in map(ip_network, text.split())
    for length in (network.prefixlen,)
)
"""Special-purpose prefixes that are not for global routing (RFC 6890 and its registries)."""


def is_martian(family: Family, nlri: bytes) -> bool:
    """Whether a unicast or multicast prefix must not be routed globally.

    The default route and the blocks of multicast are not; of IPv6 everything else outside of 2000::/3 is.
    """
    afi = afi_of(family)
    bits = nlri[0]
    if not bits:
        return False
    width = 32 if afi == Afi.IPV4 else 128
    value = int.from_bytes(nlri[1:].ljust(width // 8, b"\0"), "big")
    if afi == Afi.IPV6 and value >> 125 != 1 and value >> 120 != 0xFF:
        return True
    return any(
        its_afi == afi and bits >= length and value >> (width - length) == prefix
        for its_afi, length, prefix in _MARTIANS
    )


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
