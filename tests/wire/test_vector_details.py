"""What the sources of ../shared/vectors say is in their messages, item by item, beside what is read here."""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any, Self

import pytest

from tests.wire.test_vectors import load
from trio_bgp.wire.as_path import decode_as_path
from trio_bgp.wire.attribute_block import walk
from trio_bgp.wire.attributes import AttributeContext, parse_attributes
from trio_bgp.wire.capabilities import FourOctetAs, Multiprotocol
from trio_bgp.wire.nlri import format_nlri, split_key, split_nlri, split_nlri_add_path
from trio_bgp.wire.numbers import FAMILIES, IPV4_UNICAST, AttributeType, Family
from trio_bgp.wire.open import decode_open
from trio_bgp.wire.update import sections

pytestmark = pytest.mark.shared

NAMES = {
    "ipv4 unicast": "ipv4-unicast",
    "ipv6 unicast": "ipv6-unicast",
    "ipv4 mpls-vpn": "vpnv4-unicast",
    "ipv4 flow": "ipv4-flowspec",
    "ipv6 flow": "ipv6-flowspec",
    "ipv4 flow-vpn": "vpnv4-flowspec",
    "l2vpn vpls": "l2vpn-vpls",
    "l2vpn evpn": "l2vpn-evpn",
    "bgp-ls bgp-ls": "bgp-ls",
    "ipv4 mup": "ipv4-mup",
    "ipv6 mup": "ipv6-mup",
    "ipv4 mcast-vpn": "ipv4-mvpn",
    "ipv6 mcast-vpn": "ipv6-mvpn",
    "ipv4 sr-policy": "ipv4-sr-policy",
}
"""Our names of ExaBGP's families."""
ORIGINS = {"igp": 0, "egp": 1, "incomplete": 2}

Routes = list[tuple[int | None, bytes]]
"""Path identifier and NLRI of each route."""


class Read:
    """An UPDATE as it is read here: its attributes, and by family what is announced and withdrawn."""

    @classmethod
    def of(cls, vector: dict[str, Any], *, asn4: bool) -> Self:
        """The first message of a vector."""
        octets = bytes.fromhex(vector["hex"])
        length = int.from_bytes(octets[16:18], "big")
        return cls(octets[:length], asn4=asn4, add_path=bool(vector.get("addpath")) or "addpath" in vector["name"])

    def __init__(self, octets: bytes, *, asn4: bool, add_path: bool) -> None:
        withdrawn_end, attributes_end = sections(octets, 0, len(octets))
        context = AttributeContext(asn4=asn4, external=False, extended_next_hop=frozenset(FAMILIES.values()))
        self.parsed = parsed = parse_attributes(octets[withdrawn_end + 2 : attributes_end], context)
        assert parsed.treat_as_withdraw is None
        self._add_path = add_path
        self.withdrawn = {IPV4_UNICAST: self._routes(IPV4_UNICAST, octets[21:withdrawn_end])}
        self.announced = {IPV4_UNICAST: self._routes(IPV4_UNICAST, octets[attributes_end:])}
        self.next_hops = {IPV4_UNICAST: parsed.next_hop or b""}
        if parsed.mp_unreach is not None:
            part = parsed.mp_unreach
            self.withdrawn[part.family] = self._routes(part.family, parsed.octets[part.nlri_start : part.nlri_end])
        if parsed.mp_reach is not None:
            reach = parsed.mp_reach
            self.announced[reach.family] = self._routes(reach.family, parsed.octets[reach.nlri_start : reach.nlri_end])
            self.next_hops[reach.family] = reach.next_hop

    def _routes(self, family: Family, octets: bytes) -> Routes:
        if self._add_path:
            return list(split_nlri_add_path(family, octets))
        return [(None, nlri) for nlri in split_nlri(family, octets, add_path=False)]

    def value(self, kind: int) -> bytes | None:
        """The value of an attribute."""
        octets = self.parsed.octets
        return next((octets[start:end] for _, found, start, end in walk(octets) if found == kind), None)


def numbers(value: bytes, width: int, *, of: int = 1) -> list[Any]:
    """The numbers in an attribute, or the groups of them."""
    found = [int.from_bytes(value[at : at + width], "big") for at in range(0, len(value), width)]
    return found if of == 1 else [found[at : at + of] for at in range(0, len(found), of)]


def addresses(value: bytes) -> list[str]:
    """The IPv4 addresses in an attribute."""
    return [str(IPv4Address(number)) for number in numbers(value, 4)]


def attribute(read: Read, name: str) -> Any:
    """An attribute in ExaBGP's terms; None for those that it shows in words of its own."""
    parsed = read.parsed
    if name == "origin":
        return next(word for word, number in ORIGINS.items() if number == parsed.origin)
    if name == "med":
        return parsed.med
    if name == "local-preference":
        return parsed.local_pref
    if name == "as-path":
        segments = decode_as_path(parsed.as_path, asn4=parsed.asn4)
        kinds = {1: "as-set", 2: "as-sequence"}
        return {str(n): {"element": kinds[kind], "value": list(each)} for n, (kind, each) in enumerate(segments)}
    if name == "community":
        return numbers(parsed.communities, 2, of=2)
    if name == "atomic-aggregate":
        return parsed.has(AttributeType.ATOMIC_AGGREGATE)
    kinds_of: dict[str, tuple[int, Callable[[bytes], Any]]] = {
        "originator-id": (AttributeType.ORIGINATOR_ID, lambda value: addresses(value)[0]),
        "cluster-list": (AttributeType.CLUSTER_LIST, addresses),
        "large-community": (AttributeType.LARGE_COMMUNITY, lambda value: numbers(value, 4, of=3)),
        "aggregator": (AttributeType.AGGREGATOR, lambda v: f"{int.from_bytes(v[:-4], 'big')}:{addresses(v[-4:])[0]}"),
        "extended-community": (AttributeType.EXTENDED_COMMUNITIES, lambda value: numbers(value, 8)),
    }
    if name not in kinds_of:
        return None
    kind, shown = kinds_of[name]
    value = read.value(kind)
    assert value is not None, name
    return shown(value)


def next_hop(octets: bytes) -> str:
    """A next hop in ExaBGP's terms: without route distinguisher and link-local address."""
    if not octets:
        return "no-nexthop"
    address = ip_address(octets[8:] if len(octets) in (12, 24) else octets[:16])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(address) if mapped is None else f"::ffff:{mapped}"


def check_route(family: Family, said: dict[str, Any], found: tuple[int | None, bytes]) -> None:
    """One route, as far as ExaBGP's words for it are ours."""
    identifier, nlri = found
    if "path-information" in said:
        assert identifier == int(IPv4Address(said["path-information"]))
    if "raw" in said:
        assert nlri.hex() == said["raw"].lower()
    words = format_nlri(family, nlri)
    if "nlri" in said:
        assert (words.split(":")[-1] if "rd" in said else words) == said["nlri"]
    if "label" in said and "nlri" in said:
        labels = said["label"]
        assert words.startswith("[" + "/".join(str(label) for label, _ in labels) + "]")
        assert split_key(family, nlri)[1] == b"".join(raw.to_bytes(3, "big") for _, raw in labels)


WRONG = {
    "exabgp-qa-api-0023": "what the source shows is another message of the same test",
    "exabgp-qa-encoding-0093": "an IPv4 next hop for IPv6 prefixes: RFC 8950 defines only the other direction",
}
"""Whose words are not taken, and why."""


def test_exabgp_reads_the_same(shared: Path) -> None:
    """Attributes, next hops and routes of every UPDATE that ExaBGP's tests show decoded."""
    checked = routes = 0
    for vector in load(shared):
        decoded = vector["expect"].get("decoded", {})
        if vector["type"] != "UPDATE" or "update" not in decoded or vector["id"] in WRONG:
            continue
        read = Read.of(vector, asn4=vector["asn4"] is not False)
        update = decoded["update"]
        for name, said in update.get("attribute", {}).items():
            found = attribute(read, name)
            if name == "extended-community":
                said = [each["value"] for each in said]
            assert found is None or found == said, (vector["id"], name)
        for name, by_hop in update.get("announce", {}).items():
            family = FAMILIES[NAMES[name]]
            [(hop, said)] = by_hop.items()
            assert next_hop(read.next_hops[family]) == hop, vector["id"]
            for each, found_route in zip(said, read.announced[family], strict=True):
                check_route(family, each, found_route)
                routes += 1
        for name, said in update.get("withdraw", {}).items():
            family = FAMILIES[NAMES[name]]
            for each, found_route in zip(said, read.withdrawn[family], strict=True):
                check_route(family, each, found_route)
                routes += 1
        checked += 1
    assert checked >= 128
    assert routes >= 139


def test_yabgp_reads_the_same(shared: Path) -> None:
    """ORIGIN, AS_PATH, next hop, MED, LOCAL_PREF, AGGREGATOR, originator and clusters as YaBGP's tests have them."""
    checked = 0
    for vector in load(shared):
        decoded = vector["expect"].get("decoded")
        if decoded is None or not vector["id"].startswith("yabgp-"):
            continue
        decoded = decoded.get("attr", decoded)
        # It does not say how wide AS numbers are: as wide as fits its words.
        read = [Read.of(vector, asn4=asn4) for asn4 in (True, False) if fits(vector, asn4)]
        segments = [(kind, tuple(each)) for kind, each in decoded["2"]]
        [found] = [each for each in read if decode_as_path(each.parsed.as_path, asn4=each.parsed.asn4) == segments][:1]
        parsed = found.parsed
        assert parsed.origin == decoded["1"]
        assert parsed.local_pref == decoded.get("5")
        assert parsed.med == decoded.get("4")
        if "3" in decoded:
            assert addresses(parsed.next_hop or b"") == [decoded["3"]]
        if "7" in decoded:
            asn, address = decoded["7"]
            assert found.value(AttributeType.AGGREGATOR) == (
                asn.to_bytes(4 if parsed.asn4 else 2, "big") + IPv4Address(address).packed
            )
        if "9" in decoded:
            assert addresses((parsed.originator_id or 0).to_bytes(4, "big")) == [decoded["9"]]
        assert addresses(parsed.cluster_list) == decoded.get("10", [])
        checked += 1
    assert checked == 6


def fits(vector: dict[str, Any], asn4: bool) -> bool:
    """Whether nothing is wrong with an UPDATE if AS numbers are that wide."""
    octets = bytes.fromhex(vector["hex"])
    withdrawn_end, attributes_end = sections(octets, 0, len(octets))
    context = AttributeContext(asn4=asn4, external=False)
    return parse_attributes(octets[withdrawn_end + 2 : attributes_end], context).treat_as_withdraw is None


def test_an_open_of_exabgp(shared: Path) -> None:
    """Version, AS, hold time, identifier and capabilities of the OPEN that ExaBGP's tests show decoded."""
    [vector] = [each for each in load(shared) if "open" in each["expect"].get("decoded", {})]
    said = vector["expect"]["decoded"]["open"]
    found = decode_open(bytes.fromhex(vector["hex"])[19:])
    assert (found.peer_as, found.hold_time) == (said["asn"], said["hold_time"])
    assert str(IPv4Address(found.bgp_identifier)) == said["router_id"]
    assert Multiprotocol(IPV4_UNICAST) in found.capabilities
    assert FourOctetAs(said["capabilities"]["65"]["asn4"]) in found.capabilities
    assert len(found.capabilities) == len(said["capabilities"])
