"""Routes in words: what a path says."""

from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any, Final

from trio_bgp.passthrough.rewrite import rewritten
from trio_bgp.rib.path import Path
from trio_bgp.routing.group import Group
from trio_bgp.wire.as_path import decode_as_path, format_as_path
from trio_bgp.wire.attribute_block import walk
from trio_bgp.wire.nlri import format_nlri, prefix_octets
from trio_bgp.wire.numbers import (
    FAMILIES,
    IPV4_UNICAST,
    IPV6_UNICAST,
    AttributeType,
    Family,
    Origin,
    family_name,
)

__all__ = ["attributes_in_words", "extended_in_words", "find_family", "parse_prefix", "route_in_words"]


SHORT_NAMES: Final = {"ipv4": "ipv4-unicast", "ipv6": "ipv6-unicast", "evpn": "l2vpn-evpn"}
"""Families as operators call them."""
EXTENDED: Final = {2: "rt", 3: "ro"}
"""Route target and route origin: sub-types that several types have."""


def find_family(name: str) -> Family:
    """An address family by its name.

    Raises:
        ValueError: there is none of that name.
    """
    name = SHORT_NAMES.get(name, name)
    if name not in FAMILIES:
        raise ValueError(f"{name!r} is no address family; there are {', '.join(FAMILIES)}")
    return FAMILIES[name]


def parse_prefix(text: str, family: Family | None) -> tuple[Family, bytes]:
    """A prefix, or the hex octets of a route of another family, as family and key.

    Raises:
        ValueError: it is neither.
    """
    if family not in (None, IPV4_UNICAST, IPV6_UNICAST):
        try:
            return family, bytes.fromhex(text)
        except ValueError:
            raise ValueError(f"{text!r} is no hex; routes of {family_name(family)} are named by their octets") from None
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is no prefix; accepted: one as in 192.0.2.0/24 or 2001:db8::/32") from None
    if family is None:
        family = IPV4_UNICAST if network.version == 4 else IPV6_UNICAST
    elif family != (IPV4_UNICAST if network.version == 4 else IPV6_UNICAST):
        raise ValueError(f"{text!r} is not of the address family {family_name(family)}")
    return family, prefix_octets(network)


def _communities(value: bytes) -> list[str]:
    return [
        f"{int.from_bytes(value[at : at + 2], 'big')}:{int.from_bytes(value[at + 2 : at + 4], 'big')}"
        for at in range(0, len(value), 4)
    ]


def _large(value: bytes) -> list[str]:
    return [
        ":".join(str(int.from_bytes(value[at + part : at + part + 4], "big")) for part in (0, 4, 8))
        for at in range(0, len(value), 12)
    ]


def extended_in_words(octets: bytes) -> str:
    """An extended community (RFC 4360) as BIRD writes it: `rt:N:N`, `ro:N:N`, else `generic:0x...:0x...`."""
    kind, name = octets[0], EXTENDED.get(octets[1])
    if name is not None and kind in (0, 1, 2):
        width = 2 if kind == 0 else 4
        left = octets[2 : 2 + width]
        number = str(IPv4Address(left)) if kind == 1 else str(int.from_bytes(left, "big"))
        return f"{name}:{number}:{int.from_bytes(octets[2 + width :], 'big')}"
    return f"generic:0x{octets[:4].hex()}:0x{octets[4:].hex()}"


def _next_hop(field: bytes) -> str:
    if len(field) in (12, 24):
        field = field[8:]
    if len(field) == 4:
        return str(IPv4Address(field))
    if len(field) in (16, 32):
        return " ".join(str(IPv6Address(field[at : at + 16])) for at in range(0, len(field), 16))
    return field.hex()


def attributes_in_words(octets: bytes, next_hop: bytes | None, *, asn4: bool = True) -> dict[str, Any]:
    """A judged attribute block as JSON takes it; attributes without a name here under `other`, by type, in hex."""
    found: dict[str, Any] = {}
    if next_hop is not None:
        found["next_hop"] = _next_hop(next_hop)
    other: dict[str, str] = {}
    for _, kind, start, end in walk(octets):
        value = octets[start:end]
        if kind == AttributeType.ORIGIN:
            found["origin"] = Origin(value[0]).name
        elif kind == AttributeType.AS_PATH:
            found["as_path"] = format_as_path(decode_as_path(value, asn4=asn4))
        elif kind == AttributeType.NEXT_HOP:
            found.setdefault("next_hop", _next_hop(value))
        elif kind == AttributeType.MULTI_EXIT_DISC:
            found["med"] = int.from_bytes(value, "big")
        elif kind == AttributeType.LOCAL_PREF:
            found["local_pref"] = int.from_bytes(value, "big")
        elif kind == AttributeType.COMMUNITIES:
            found["communities"] = _communities(value)
        elif kind == AttributeType.LARGE_COMMUNITY:
            found["large_communities"] = _large(value)
        elif kind == AttributeType.EXTENDED_COMMUNITIES:
            found["extended_communities"] = [extended_in_words(value[at : at + 8]) for at in range(0, len(value), 8)]
        elif kind == AttributeType.ATOMIC_AGGREGATE:
            found["atomic_aggregate"] = True
        elif kind == AttributeType.AGGREGATOR:
            found["aggregator"] = f"{int.from_bytes(value[:-4], 'big')} {IPv4Address(value[-4:])}"
        elif kind == AttributeType.ONLY_TO_CUSTOMER:
            found["only_to_customer"] = int.from_bytes(value, "big")
        elif kind == AttributeType.ORIGINATOR_ID:
            found["originator_id"] = str(IPv4Address(value))
        elif kind == AttributeType.CLUSTER_LIST:
            found["cluster_list"] = [str(IPv4Address(value[at : at + 4])) for at in range(0, len(value), 4)]
        else:
            other[str(kind)] = value.hex()
    if other:
        found["other"] = other
    return found


def route_in_words(
    family: Family, nlri: bytes, path: Path, *, best: bool, group: Group | None = None
) -> dict[str, Any]:
    """One path to one prefix.

    Args:
        family: the address family.
        nlri: the prefix's key.
        path: the path.
        best: it is the best of all.
        group: show it as these receivers get it.
    """
    attributes: tuple[bytes, bytes | None] | None = path.attributes, path.next_hop
    asn4 = True
    if group is not None:
        attributes = rewritten(path, family, group.rules)
        asn4 = group.rules.asn4
    found: dict[str, Any] = {
        "family": family_name(family),
        "prefix": format_nlri(family, nlri),
        "from": path.source.name,
        "best": best,
        "path_id": path.lane.path_id,
    }
    if path.extra:
        found["labels"] = path.extra.hex()
    if attributes is not None:
        found |= attributes_in_words(*attributes, asn4=asn4)
    stale = path.source.stale.get(family)
    if stale is not None and nlri in stale.lanes.get(path.lane, ()):
        found["stale"] = True
    return found
