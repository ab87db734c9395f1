"""Routes in words: what a path says, why one is best, what a receiver gets of it."""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

from trio_bgp.passthrough.group import Group, Member
from trio_bgp.passthrough.rewrite import rewritten
from trio_bgp.rib.decision import Entry, candidates
from trio_bgp.rib.export import exports
from trio_bgp.rib.path import DEFAULT_LOCAL_PREF, Path
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

__all__ = ["attributes_in_words", "explain", "find_family", "parse_prefix", "route_in_words"]


def find_family(name: str) -> Family:
    """An address family by its name.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in FAMILIES:
        raise ValueError(f"{name!r} is no address family; there are {', '.join(FAMILIES)}")
    return FAMILIES[name]


def parse_prefix(text: str, family: Family | None) -> tuple[Family, bytes]:
    """A prefix, or the hex octets of a route of another family, as family and key.

    Raises:
        ValueError: it is neither.
    """
    if family not in (None, IPV4_UNICAST, IPV6_UNICAST):
        return family, bytes.fromhex(text)
    network = ip_network(text, strict=False)
    return (IPV4_UNICAST if network.version == 4 else IPV6_UNICAST) if family is None else family, prefix_octets(
        network
    )


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
            found["extended_communities"] = [value[at : at + 8].hex() for at in range(0, len(value), 8)]
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


def _facts(path: Path) -> list[tuple[str, int]]:
    """What the decision process compares, in order; lower is better."""
    words: Mapping[str, Any] = attributes_in_words(path.attributes, path.next_hop)
    local_pref = DEFAULT_LOCAL_PREF if path.source.external else words.get("local_pref", DEFAULT_LOCAL_PREF)
    return [
        ("it is long-lived stale", path.precedence >> 64),
        ("lower LOCAL_PREF", -local_pref),
        ("longer AS_PATH", path.precedence >> 8 & 0xFFFFFF),
        ("worse ORIGIN", path.precedence & 0xFF),
        ("higher MULTI_EXIT_DISC", path.med),
        ("internal, not external", 0 if path.source.external else 1),
        ("higher BGP Identifier", path.rank >> 176 & 0xFFFFFFFF),
        ("longer CLUSTER_LIST", path.rank >> 160 & 0xFFFF),
        ("higher peer address", path.source.address),
        ("higher path identifier", path.lane.received or 0),
    ]


def _why_worse(path: Path, best: Path) -> str:
    for (what, value), (_, other) in zip(_facts(path), _facts(best), strict=True):
        if what == "higher MULTI_EXIT_DISC" and path.neighbor_as != best.neighbor_as:
            continue
        if value > other:
            return f"{what} than the path of {best.source.name}"
    return f"a lower MULTI_EXIT_DISC of another path decides against it, before {best.source.name}'s is chosen"


def explain(family: Family, nlri: bytes, entry: Entry | None, member: Member, group: Group) -> dict[str, Any]:
    """Why a receiver gets which paths to a prefix, and how.

    Args:
        family: the address family.
        nlri: the prefix's key.
        entry: what the table has.
        member: the receiver.
        group: its group.
    """
    found: dict[str, Any] = {"family": family_name(family), "prefix": format_nlri(family, nlri), "to": member.name}
    view = group.views.get(family)
    if view is None:
        return {**found, "verdict": f"{member.name} has not negotiated {family_name(family)}", "paths": []}
    chosen = exports(entry, member.source, view)
    paths = []
    for path in candidates(entry):
        if path in chosen:
            words = rewritten(path, family, group.rules)
            if words is None:
                verdict, how = "withheld", "the next hop should be our address, and we have none of its family"
            elif words == (path.attributes, path.next_hop) and not view.add_path:
                verdict, how = (
                    "sent",
                    "with the attributes as they are kept; the received octets where all of them pass",
                )
            else:
                verdict, how = "sent", "rewritten: " + _rewriting(group, path, with_ids=view.add_path)
        elif path.source is member.source:
            verdict, how = "not sent", "it is its own"
        elif not path.audience & view.audience:
            verdict, how = "not sent", "it may not have it: a role, a community or the next hop forbids it"
        else:
            verdict, how = "not sent", _why_worse(path, chosen[0]) if chosen else "not among the paths it gets"
        paths.append(
            {
                **route_in_words(family, nlri, path, best=bool(chosen) and path is chosen[0]),
                "verdict": verdict,
                "why": how,
            }
        )
    verdict = f"{member.name} gets {len(chosen)} of {len(paths)} paths" if paths else "nobody announces it"
    return {**found, "verdict": verdict, "behind": member.behind is not None, "paths": paths}


def _rewriting(group: Group, path: Path, *, with_ids: bool) -> str:
    reasons = []
    rules = group.rules
    if not (rules.role.value == "rs-client" and path.source.external):
        reasons.append(f"for the role {rules.role.value}")
    if not rules.asn4:
        reasons.append("with AS numbers of two octets")
    if rules.graceful_shutdown:
        reasons.append("with GRACEFUL_SHUTDOWN")
    if rules.adds_otc:
        reasons.append("with ONLY_TO_CUSTOMER")
    if with_ids:
        reasons.append("with our path identifier")
    return ", ".join(reasons)
