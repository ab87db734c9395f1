"""Why a receiver gets which paths to a prefix, whether as the received octets, and if not, what was changed and why."""

from collections.abc import Mapping
from typing import Any, Final

from trio_bgp.control.routes import attributes_in_words, route_in_words
from trio_bgp.passthrough.mask import EXTENDED_MESSAGE
from trio_bgp.passthrough.rewrite import rewritten
from trio_bgp.policy.audience import LLGR_STALE, NO_ADVERTISE, NO_EXPORT, NO_EXPORT_SUBCONFED, well_known
from trio_bgp.rib.decision import candidates
from trio_bgp.rib.export import exports
from trio_bgp.rib.path import DEFAULT_LOCAL_PREF, Path
from trio_bgp.routing.forward import RoutingCore
from trio_bgp.routing.group import Group, Member
from trio_bgp.settings import BgpRole, Role
from trio_bgp.wire.attribute_block import walk
from trio_bgp.wire.nlri import format_nlri
from trio_bgp.wire.numbers import FLAG_PARTIAL, AttributeType, Family, family_name

__all__ = ["explain"]

_NO_OTC: Final = (BgpRole.CUSTOMER, BgpRole.PEER, BgpRole.RS_CLIENT)
_MARKS: Final = (BgpRole.CUSTOMER, BgpRole.PEER, BgpRole.RS_CLIENT)
"""Our roles in which routes without ONLY_TO_CUSTOMER get it on arrival."""
_RULES: Final = {
    "next_hop": "the next hop is our address (RFC 4271, section 5.1.3)",
    "med": "not on to further neighbouring ASes (RFC 4271, section 5.1.4)",
    "originator_id": "reflected (RFC 4456, section 8)",
    "cluster_list": "reflected (RFC 4456, section 8)",
    "communities": "GRACEFUL_SHUTDOWN is added (RFC 8326)",
    "aggregator": "AS numbers of two octets (RFC 6793)",
    "only_to_customer": "marked as for customers only (RFC 9234, section 5)",
}
"""Why an attribute is changed, by its name in `attributes_in_words`, where there is one reason for it."""
_OTHER_RULES: Final[Mapping[int, str]] = {
    AttributeType.AIGP: "not across the border of an AS (RFC 7311)",
    AttributeType.AS4_PATH: "the whole path beside the narrow one (RFC 6793)",
    AttributeType.AS4_AGGREGATOR: "the whole number beside the narrow one (RFC 6793)",
}


def explain(server: RoutingCore, family: Family, nlri: bytes, member: Member, group: Group) -> dict[str, Any]:
    """Why a receiver gets which paths to a prefix, and how.

    Args:
        server: has the tables.
        family: the address family.
        nlri: the prefix's key.
        member: the receiver.
        group: its group.

    Returns:
        `verdict` in a sentence; `paths`, each as `route_in_words` tells it, with `verdict` (`unchanged`, `rewritten`,
        `written`, `not sent`), `why`, and for what was rewritten `changes`: attribute, from, to, why.
    """
    found: dict[str, Any] = {"family": family_name(family), "prefix": format_nlri(family, nlri), "to": member.name}
    view = group.views.get(family)
    if view is None:
        return {**found, "verdict": f"{member.name} has not negotiated {family_name(family)}", "paths": []}
    entry = server.table(family).routes.get(nlri)
    chosen = exports(entry, member.source, view)
    sources = {each.source: each for each in server.egress.member_of.values()}
    paths = []
    for path in candidates(entry):
        told: dict[str, Any]
        if path in chosen:
            told = _sent(server, family, path, member, group)
        elif path.source is member.source:
            told = {"verdict": "not sent", "why": "it is its own"}
        elif not path.audience & view.audience:
            source = sources.get(path.source)
            role = None if source is None else source.settings.role
            told = {"verdict": "not sent", "why": _forbidden(path, role, member, silent=not view.audience)}
        else:
            why = _why_worse(path, chosen[0]) if chosen else "not among the paths it gets"
            if view.add_path and len(chosen) >= view.limit:
                why = f"not among the {view.limit} best: {why}"
            told = {"verdict": "not sent", "why": why}
        paths.append(route_in_words(family, nlri, path, best=bool(chosen) and path is chosen[0]) | told)
    got = sum(path["verdict"] != "not sent" for path in paths)
    verdict = f"{member.name} gets {got} of {len(paths)} paths" if paths else "nobody announces it"
    if member.behind is not None:
        verdict += "; it reads slowly, and is told the present state as it catches up"
    return {**found, "verdict": verdict, "behind": member.behind is not None, "paths": paths}


def _sent(server: RoutingCore, family: Family, path: Path, member: Member, group: Group) -> dict[str, Any]:
    """How a chosen path goes out."""
    words = rewritten(path, family, group.rules)
    if words is None:
        return {"verdict": "not sent", "why": "the next hop should be our address, and we have none of its family"}
    changes = _changes(path, words, group)
    required = server.required(path, family)
    if required is None:
        why = "announced here" if path.source.local else f"kept while {path.source.name} restarts"
        return {"verdict": "written", "why": why, "changes": changes}
    obstacle = group.obstacle(required)
    if not obstacle:
        why = f"{member.name} can read the received octets as they are"
        source = server.egress.member_of.get(path.source)
        if source is not None and source.negotiated.extended_message and not group.mask & EXTENDED_MESSAGE:
            why += ", unless the message has more than 4,096"
        if source is not None and source.settings.bgp_role in _MARKS and AttributeType.ONLY_TO_CUSTOMER in _kinds(path):
            why += ", unless ONLY_TO_CUSTOMER was added on arrival (RFC 9234)"
        return {"verdict": "unchanged", "why": why}
    return {"verdict": "rewritten", "why": _obstacle(obstacle, path, member, group), "changes": changes}


def _kinds(path: Path) -> set[int]:
    return {kind for _, kind, _, _ in walk(path.attributes)}


def _obstacle(obstacle: str, path: Path, member: Member, group: Group) -> str:
    """`trio_bgp.passthrough.mask.obstacle` in a sentence."""
    if obstacle == "as-width":
        width, other = (4, 2) if group.rules.asn4 else (2, 4)
        return f"{member.name} reads AS numbers of {width} octets, they came in {other} (RFC 6793)"
    if obstacle == "add-path":
        reads = "has" if any(view.add_path for view in group.views.values()) else "has not"
        return f"{member.name} {reads} path identifiers, unlike {path.source.name} (RFC 7911)"
    if obstacle == "path-identifiers":
        return f"path identifier {path.lane.path_id}, for {path.lane.received} is another path's (RFC 7911)"
    if not path.source.external:
        return f"it is from an internal peer, and {member.name}'s role is {group.rules.role.value}"
    if group.rules.role is Role.RS_CLIENT:
        return f"our BGP Role towards {member.name} asks for it (RFC 9234)"
    return f"{member.name}'s role is {group.rules.role.value}"


def _changes(path: Path, words: tuple[bytes, bytes | None], group: Group) -> list[dict[str, Any]]:
    """What differs between a path as it is kept and as a group gets it."""
    before = attributes_in_words(path.attributes, path.next_hop)
    after = attributes_in_words(*words, asn4=group.rules.asn4)
    old, new = before.pop("other", {}), after.pop("other", {})
    found = [
        _change(name, before.get(name), after.get(name), _rule(name, before, after, group))
        for name in [*before, *(name for name in after if name not in before)]
        if before.get(name) != after.get(name)
    ]
    for kind in [*old, *(kind for kind in new if kind not in old)]:
        if old.get(kind) != new.get(kind):
            why = _OTHER_RULES.get(int(kind), "unrecognised and non-transitive (RFC 4271, section 5)")
            found.append(_change(_name(int(kind)), old.get(kind), new.get(kind), why))
    flags = {kind: each for each, kind, _, _ in walk(path.attributes)}
    for each, kind, _, _ in walk(words[0]):
        if each & FLAG_PARTIAL and not flags.get(kind, each) & FLAG_PARTIAL:
            found.append(_change(_name(kind), "", "Partial", "unrecognised here (RFC 4271, section 5)"))
    return found


def _change(name: str, before: Any, after: Any, why: str) -> dict[str, Any]:
    return {"attribute": name, "from": before, "to": after, "why": why}


def _name(kind: int) -> str:
    return AttributeType(kind).name.lower() if kind in AttributeType.__members__.values() else f"attribute {kind}"


def _rule(name: str, before: Mapping[str, Any], after: Mapping[str, Any], group: Group) -> str:
    if name == "as_path":
        front = "" if group.rules.role.internal or group.rules.role is Role.RS_CLIENT else "our AS in front"
        narrow = "" if group.rules.asn4 else "AS numbers of two octets (RFC 6793)"
        return " and ".join(filter(None, (front, narrow))) or "AS numbers"
    if name == "local_pref":
        return "for internal peers" if name in after else "not for external peers (RFC 4271, section 5.1.5)"
    if name in ("originator_id", "cluster_list") and name not in after:
        return "not for external peers (RFC 4456, section 8)"
    if name == "next_hop" and str(before.get(name, "")).partition(" ")[0] == after.get(name):
        return "the link-local address means something on its link only (RFC 2545)"
    return _RULES.get(name, "")


def _forbidden(path: Path, source: Role | None, member: Member, *, silent: bool) -> str:
    """Why a receiver may not have a path (`trio_bgp.policy.audience`)."""
    if silent:
        return f"nothing is exported to {member.name}: no policy says so (RFC 8212)"
    settings = member.settings
    values = {kind: path.attributes[start:end] for _, kind, start, end in walk(path.attributes)}
    communities = well_known(values.get(AttributeType.COMMUNITIES, b""))
    if source is Role.IBGP and settings.role is Role.IBGP:
        return "from an internal peer that is no client it goes to clients only (RFC 4456, section 6)"
    for community, name in (
        (NO_ADVERTISE, "NO_ADVERTISE (RFC 1997)"),
        (NO_EXPORT, "NO_EXPORT (RFC 1997)"),
        (NO_EXPORT_SUBCONFED, "NO_EXPORT_SUBCONFED (RFC 1997)"),
        (LLGR_STALE, "LLGR_STALE, and it has no long-lived graceful restart (RFC 9494)"),
    ):
        if community in communities:
            return f"it has the community {name}"
    if AttributeType.ONLY_TO_CUSTOMER in values and settings.bgp_role in _NO_OTC:
        return "it is marked ONLY_TO_CUSTOMER (RFC 9234, section 5)"
    if path.next_hop is not None and len(path.next_hop) > 4:
        return f"its next hop is IPv6, and {member.name} has not negotiated that for IPv4 (RFC 8950)"
    return "it is long-lived stale, and it has no long-lived graceful restart (RFC 9494)"


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
        if value < other:
            break
    return f"a lower MULTI_EXIT_DISC of another path decides against it, before {best.source.name}'s is chosen"
