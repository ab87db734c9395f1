"""From JSON to a route of our own, with what is wrong with it in a sentence."""

from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Final, TypeVar

import attrs

from trio_bgp.control.request import Refused
from trio_bgp.wire.as_path import encode_as_path
from trio_bgp.wire.attribute_block import encode_attribute
from trio_bgp.wire.attributes import AttributeContext, parse_attributes
from trio_bgp.wire.nlri import prefix_octets
from trio_bgp.wire.notification import NotificationError
from trio_bgp.wire.numbers import IPV4_UNICAST, IPV6_UNICAST, AttributeType, Family, Origin

__all__ = ["OwnRoute", "parse_own_route"]

WELL_KNOWN: Final = {
    "graceful-shutdown": 0xFFFF0000,
    "blackhole": 0xFFFF029A,
    "no-export": 0xFFFFFF01,
    "no-advertise": 0xFFFFFF02,
    "no-export-subconfed": 0xFFFFFF03,
    "no-peer": 0xFFFFFF04,
}
"""Communities with a name (RFC 1997, 3765, 7999, 8326)."""
FIELDS: Final = (
    "prefix",
    "prefixes",
    "next_hop",
    "as_path",
    "origin",
    "med",
    "local_pref",
    "communities",
    "large_communities",
    "extended_communities",
    "attributes",
    "seconds",
)
LONGEST: Final = 366 * 86400.0
"""Seconds that a route may live at most, if it is given a time."""
MANY: Final = 10_000
"""Prefixes in one request at most: they are announced in one go."""

TAKEN: Final = 1 << AttributeType.NEXT_HOP | 1 << AttributeType.MP_REACH_NLRI | 1 << AttributeType.MP_UNREACH_NLRI
"""Attributes that the prefix and its next hop make."""

Value = TypeVar("Value")


@attrs.frozen
class OwnRoute:
    """What `trio_bgp.runtime.forwarder.Forwarder.announce` takes."""

    family: Family
    key: bytes
    attributes: bytes
    next_hop: bytes | None


def parse_own_route(wanted: Mapping[str, Any]) -> tuple[list[OwnRoute], float | None]:
    """Routes that share their attributes, and the seconds for which they are announced, None for ever.

    Args:
        wanted: `prefix` or `prefixes`; `next_hop`; and if wanted `as_path` ("64999 64998"), `origin` (igp, egp,
            incomplete), `med`, `local_pref`, `communities` (["65000:1", "blackhole"]), `large_communities`
            (["65000:1:2"]), `extended_communities` (["rt:65000:1", "generic:0x43000000:0x1"]), `attributes` (path
            attributes' octets in hex), `seconds`.

    Raises:
        Refused: something of it is wrong.
    """
    for name in wanted:
        if name not in FIELDS:
            raise Refused(400, f"there is no {name!r}; there are {', '.join(FIELDS)}")
    prefixes = wanted.get("prefixes", [wanted["prefix"]] if "prefix" in wanted else [])
    if not isinstance(prefixes, list) or not 1 <= len(prefixes) <= MANY:
        raise Refused(400, f"prefixes: accepted: 1 to {MANY} of them")
    networks = [_read("prefix", each, ip_network, "one without host bits, as in 192.0.2.0/24") for each in prefixes]
    if "next_hop" not in wanted:
        raise Refused(400, "next_hop is missing; accepted: an address")
    hop: IPv4Address | IPv6Address = _read("next_hop", wanted["next_hop"], ip_address, "an address")
    if hop.is_unspecified or hop.is_multicast:
        raise Refused(400, f"next_hop is {hop}; accepted: the address of a host")
    block = _attributes(wanted)
    seconds = None
    if wanted.get("seconds") is not None:
        seconds = _read("seconds", wanted["seconds"], _seconds, f"more than 0, up to {LONGEST:.0f}")
    found = []
    for network in networks:
        if network.version != hop.version:
            raise Refused(400, f"next_hop of {network} is {hop}; accepted: an IPv{network.version} address")
        if network.version == 4:
            attributes = block + encode_attribute(0x40, AttributeType.NEXT_HOP, hop.packed)
            found.append(OwnRoute(IPV4_UNICAST, prefix_octets(network), attributes, None))
        else:
            found.append(OwnRoute(IPV6_UNICAST, prefix_octets(network), block, hop.packed))
    return found, seconds


def _attributes(wanted: Mapping[str, Any]) -> bytes:
    """All path attributes but the next hop."""
    origin = _read("origin", wanted.get("origin", "igp"), _origin, ", ".join(each.name.lower() for each in Origin))
    text = wanted.get("as_path") or ""
    if len(str(text).split()) > 255:
        raise Refused(400, "as_path: accepted: up to 255 AS numbers")
    numbers = tuple(_read("as_path", each, _as_number, "AS numbers with spaces between") for each in str(text).split())
    block = encode_attribute(0x40, AttributeType.ORIGIN, bytes((origin,)))
    path = encode_as_path([(2, numbers)] if numbers else [], asn4=True)
    block += encode_attribute(0x40, AttributeType.AS_PATH, path)
    for name, flags, kind in (
        ("med", 0x80, AttributeType.MULTI_EXIT_DISC),
        ("local_pref", 0x40, AttributeType.LOCAL_PREF),
    ):
        if wanted.get(name) is not None:
            block += encode_attribute(flags, kind, _read(name, wanted[name], _four, "0 to 4294967295"))
    for name, kind, convert, accepted in (
        ("communities", AttributeType.COMMUNITIES, _community, f"N:N, or {', '.join(WELL_KNOWN)}"),
        ("large_communities", AttributeType.LARGE_COMMUNITY, _large, "N:N:N"),
        ("extended_communities", AttributeType.EXTENDED_COMMUNITIES, _extended, "rt:N:N, ro:N:N, generic:0xN:0xN"),
    ):
        values = wanted.get(name) or []
        if not isinstance(values, list):
            raise Refused(400, f"{name}: accepted: an array")
        if values:
            octets = b"".join(_read(name, each, convert, accepted) for each in values)
            block += encode_attribute(0xC0, kind, octets)
    if wanted.get("attributes"):
        block += _read("attributes", wanted["attributes"], bytes.fromhex, "path attributes' octets in hex")
        try:
            parsed = parse_attributes(block, AttributeContext(external=False))
        except NotificationError as error:
            raise Refused(400, f"attributes: {error}") from None
        wrong: object = parsed.treat_as_withdraw or next(iter(parsed.discarded), None)
        if wrong is None and (parsed.repaired is not block or parsed.seen & TAKEN):
            wrong = "an attribute that has a name here, or one that is there twice"
        if wrong is not None:
            raise Refused(400, f"attributes: {wrong}")
    return block


def _read(name: str, found: object, convert: Callable[[Any], Value], accepted: str) -> Value:
    try:
        return convert(found)
    except (ValueError, TypeError, OverflowError, KeyError):
        raise Refused(400, f"{name} is {found!r}; accepted: {accepted}") from None


def _origin(value: str) -> int:
    return Origin[value.upper()]


def _seconds(value: object) -> float:
    seconds = float(value)  # type: ignore[arg-type]
    if not 0 < seconds <= LONGEST:
        raise ValueError
    return seconds


def _as_number(value: str) -> int:
    number = int(value)
    if not 1 <= number <= 0xFFFFFFFF:
        raise ValueError
    return number


def _four(value: object) -> bytes:
    return int(value).to_bytes(4, "big")  # type: ignore[call-overload, no-any-return]


def _community(value: str) -> bytes:
    if value in WELL_KNOWN:
        return WELL_KNOWN[value].to_bytes(4, "big")
    high, low = value.split(":")
    return int(high).to_bytes(2, "big") + int(low).to_bytes(2, "big")


def _large(value: str) -> bytes:
    first, second, third = value.split(":")
    return b"".join(int(each).to_bytes(4, "big") for each in (first, second, third))


def _extended(value: str) -> bytes:
    kind, left, right = value.split(":")
    if kind == "generic":
        return int(left, 16).to_bytes(4, "big") + int(right, 16).to_bytes(4, "big")
    subtype = {"rt": 2, "ro": 3}[kind]
    if "." in left:
        return bytes((1, subtype)) + IPv4Address(left).packed + int(right).to_bytes(2, "big")
    if int(left) > 0xFFFF:
        return bytes((2, subtype)) + int(left).to_bytes(4, "big") + int(right).to_bytes(2, "big")
    return bytes((0, subtype)) + int(left).to_bytes(2, "big") + int(right).to_bytes(4, "big")
