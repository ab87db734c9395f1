"""Attributes as one kind of receiver is to read them, rewritten once per interned path and kept on it.

Between route-server clients with equally wide AS numbers nothing is rewritten (RFC 7947). All other rewriting is here:
one walk over an attribute block that copies what stays and replaces what must change.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

import attrs

from trio_bgp.rib.path import DEFAULT_LOCAL_PREF, Path
from trio_bgp.settings import BgpRole, NextHop, Role
from trio_bgp.wire.as_path import prepend, without_confederations
from trio_bgp.wire.attribute_block import add_community, encode_attribute, narrow, walk
from trio_bgp.wire.attributes import RECOGNIZED
from trio_bgp.wire.nlri import FRAMING
from trio_bgp.wire.numbers import (
    FLAG_OPTIONAL,
    FLAG_PARTIAL,
    FLAG_TRANSITIVE,
    IPV4_UNICAST,
    Afi,
    AttributeType,
    Family,
    Safi,
    afi_of,
    safi_of,
)

__all__ = ["RewriteRules", "Rewritten", "rewritten"]

Rewritten = tuple[bytes, bytes | None]
"""Path attributes without MP_REACH_NLRI, and its next-hop field or None."""

GRACEFUL_SHUTDOWN: Final = b"\xff\xff\0\0"

_AS_PATH: Final = 1 << AttributeType.AS_PATH
_NEXT_HOP: Final = 1 << AttributeType.NEXT_HOP
_MULTI_EXIT_DISC: Final = 1 << AttributeType.MULTI_EXIT_DISC
_LOCAL_PREF: Final = 1 << AttributeType.LOCAL_PREF
_ORIGINATOR_ID: Final = 1 << AttributeType.ORIGINATOR_ID
_CLUSTER_LIST: Final = 1 << AttributeType.CLUSTER_LIST
_AIGP: Final = 1 << AttributeType.AIGP
_NEVER_EXTERNAL: Final = _LOCAL_PREF | _ORIGINATOR_ID | _CLUSTER_LIST | _AIGP
"""Not to external peers: RFC 4271 5.1.5, RFC 4456 section 8, RFC 7311 section 3.4."""
_USUAL_LOCAL_PREF: Final = encode_attribute(
    FLAG_TRANSITIVE, AttributeType.LOCAL_PREF, DEFAULT_LOCAL_PREF.to_bytes(4, "big")
)


@attrs.frozen(cache_hash=True, kw_only=True)
class RewriteRules:
    """What attributes depend on, of the receiver."""

    role: Role
    asn4: bool
    local_as: int
    cluster_id: int
    next_hop: NextHop = NextHop.UNCHANGED
    next_hop_subnet: IPv4Network | IPv6Network | None = None
    ipv4: IPv4Address | None = None
    """Our address as next hop."""
    ipv6: IPv6Address | None = None
    extended_next_hop: frozenset[Family] = frozenset()
    """IPv4 families in which ours may be IPv6 (RFC 8950)."""
    bgp_role: BgpRole | None = None
    graceful_shutdown: bool = False
    """We are about to go: routes are marked with GRACEFUL_SHUTDOWN (RFC 8326)."""
    route_server_client: bool = False
    """Computed, as asking an enumeration each time takes long: the role."""
    internal: bool = False
    """Computed: the session is IBGP."""
    keeps_next_hop: bool = False
    """Computed: it is never ours."""
    adds_otc: bool = False
    """Computed: ONLY_TO_CUSTOMER is added where it is missing (RFC 9234, section 5)."""
    transparent: bool = False
    """Computed: attributes of external peers are for this receiver as they are kept (RFC 7947, section 2.2)."""

    def __attrs_post_init__(self) -> None:
        # No `attrs.field` with a default that depends on the others: mypyc knows none.
        adds_otc = self.bgp_role in (BgpRole.PROVIDER, BgpRole.PEER, BgpRole.RS)
        client = self.role is Role.RS_CLIENT
        kept = client and self.asn4 and not adds_otc and not self.graceful_shutdown
        object.__setattr__(self, "route_server_client", client)
        object.__setattr__(self, "keeps_next_hop", client or self.next_hop is NextHop.UNCHANGED)
        object.__setattr__(self, "internal", self.role.internal)
        object.__setattr__(self, "adds_otc", adds_otc)
        object.__setattr__(self, "transparent", kept)


def rewritten(path: Path, family: Family, rules: RewriteRules) -> Rewritten | None:
    """A path's attributes and next hop for receivers with these rules; None if they cannot be told of it.

    Args:
        path: the path; keeps the result.
        family: of the routes that have it.
        rules: of the receivers.
    """
    external = path.source.external
    if external and rules.transparent:
        return path.attributes, path.next_hop
    variants = path.variants
    for position in range(0, len(variants), 2):
        if variants[position] is rules or variants[position] == rules:
            return variants[position + 1]  # type: ignore[return-value]
    transparent = external and rules.route_server_client
    found = _rewrite(path, family, rules, transparent=transparent)
    path.variants = (*variants, rules, found) if variants else (rules, found)
    return found


def _rewrite(path: Path, family: Family, rules: RewriteRules, *, transparent: bool) -> Rewritten | None:
    next_hop = path.next_hop
    attributes = path.attributes
    if not transparent:
        own = _own_next_hop(path, family, rules)
        if own is _IMPOSSIBLE:
            return None
        if own is not None and family == IPV4_UNICAST and len(own) == 4:
            next_hop = None  # the UPDATE's own fields, whatever the received one needed
        elif own is not None:
            next_hop = own
        elif next_hop is not None and len(next_hop) in (32, 48) and family in FRAMING:
            # RFC 2545, section 3: the link-local address means something on its link only.
            next_hop = next_hop[: len(next_hop) // 2]
        attributes = _for_role(attributes, path, rules, own if next_hop is None else b"")
    if rules.adds_otc:
        attributes = _with_otc(attributes, rules.local_as)
    if rules.graceful_shutdown:
        attributes = add_community(attributes, GRACEFUL_SHUTDOWN)
    if not rules.asn4:
        attributes = narrow(attributes, path.seen)
    return attributes, next_hop


_IMPOSSIBLE: Final = b""


def _own_next_hop(path: Path, family: Family, rules: RewriteRules) -> bytes | None:
    """Our address where the next hop is to be ours, None where the received one stays, `_IMPOSSIBLE` without one."""
    if rules.keeps_next_hop:
        return None
    if rules.internal and not path.source.external:
        return None  # RFC 4456, section 10: a reflector does not touch it
    if safi_of(family) not in (Safi.UNICAST, Safi.MULTICAST):
        return None  # labels belong to whoever the next hop is: ours would need labels of ours
    if rules.next_hop is NextHop.THIRD_PARTY and rules.next_hop_subnet is not None:
        received = path.next_hop if path.next_hop is not None else _classic_next_hop(path.attributes)
        if received is not None and len(received) >= 4:
            size = 4 if len(received) == 4 else 16
            address = IPv4Address(received) if size == 4 else IPv6Address(received[:16])
            if address.version == rules.next_hop_subnet.version and address in rules.next_hop_subnet:
                return None
    if afi_of(family) == Afi.IPV4 and rules.ipv4 is not None:
        return rules.ipv4.packed
    if (afi_of(family) == Afi.IPV6 or family in rules.extended_next_hop) and rules.ipv6 is not None:
        return rules.ipv6.packed
    return _IMPOSSIBLE


def _classic_next_hop(octets: bytes) -> bytes | None:
    for _, kind, start, end in walk(octets):
        if kind == AttributeType.NEXT_HOP:
            return octets[start:end]
    return None


def _for_role(octets: bytes, path: Path, rules: RewriteRules, next_hop: bytes | None) -> bytes:
    """Everything but the width of AS numbers and ONLY_TO_CUSTOMER.

    Args:
        octets: the attributes.
        path: whose they are.
        rules: of the receivers.
        next_hop: the value of NEXT_HOP; None leaves it, b"" takes it away, as MP_REACH_NLRI has its own.
    """
    internal = rules.internal
    source = path.source
    reflect = internal and not source.external and not source.local
    if internal:
        touched = _AIGP if source.external else 0  # AIGP from outside: RFC 7311, section 3.3
        if reflect:
            touched |= _CLUSTER_LIST
    else:
        touched = _AS_PATH | _NEVER_EXTERNAL
        if not source.local:
            touched |= _MULTI_EXIT_DISC  # RFC 4271, section 5.1.4: not on to further neighbouring ASes
    if next_hop is not None:
        touched |= _NEXT_HOP
    seen = path.seen
    todo = seen & (touched | ~RECOGNIZED)
    pieces: list[bytes] = []
    kept_from = 0
    position = 0
    for flags, kind, start, end in walk(octets) if todo else ():
        bit = 1 << kind
        if todo & bit:
            todo ^= bit
            if position > kept_from:
                pieces.append(octets[kept_from:position])
            kept_from = end
            if bit == _AS_PATH:
                # External peers' paths have no confederation in them.
                value = octets[start:end] if source.external else without_confederations(octets[start:end])
                pieces.append(encode_attribute(flags, kind, prepend(value, rules.local_as)))
            elif bit == _NEXT_HOP:
                if next_hop:
                    pieces.append(encode_attribute(flags, kind, next_hop))
                next_hop = None
            elif bit == _CLUSTER_LIST and reflect:
                value = rules.cluster_id.to_bytes(4, "big") + octets[start:end]
                pieces.append(encode_attribute(flags, kind, value))
            elif not bit & RECOGNIZED and flags & FLAG_TRANSITIVE:
                # RFC 4271, section 5: those that are not transitive go no further.
                partial = flags & FLAG_PARTIAL
                marked = encode_attribute(flags | FLAG_PARTIAL, kind, octets[start:end])
                pieces.append(octets[position:end] if partial else marked)
            if not todo:
                break
        position = end
    pieces.append(octets[kept_from:])
    if next_hop:
        pieces.append(encode_attribute(FLAG_TRANSITIVE, AttributeType.NEXT_HOP, next_hop))
    if internal and not seen & _LOCAL_PREF:
        pieces.append(_USUAL_LOCAL_PREF)
    if reflect:
        if not seen & _ORIGINATOR_ID:
            identifier = source.bgp_identifier.to_bytes(4, "big")
            pieces.append(encode_attribute(FLAG_OPTIONAL, AttributeType.ORIGINATOR_ID, identifier))
        if not seen & _CLUSTER_LIST:
            cluster = rules.cluster_id.to_bytes(4, "big")
            pieces.append(encode_attribute(FLAG_OPTIONAL, AttributeType.CLUSTER_LIST, cluster))
    return b"".join(pieces)


def _with_otc(octets: bytes, local_as: int) -> bytes:
    if any(kind == AttributeType.ONLY_TO_CUSTOMER for _, kind, _, _ in walk(octets)):
        return octets
    return octets + encode_attribute(
        FLAG_OPTIONAL | FLAG_TRANSITIVE, AttributeType.ONLY_TO_CUSTOMER, local_as.to_bytes(4, "big")
    )
