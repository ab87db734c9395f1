"""Path attributes (RFC 4271, section 4.3), judged by RFC 7606: one strict walk over an attribute block.

The walk runs once for each distinct block, not for each message or prefix. It notes where attributes are and what the
decision process and the forwarder ask for, and keeps all octets as they came. The rules quoted in the branches are
those of RFC 7606 section 7 unless another RFC is named.
"""

from struct import Struct
from typing import Final

import attrs

from trio_bgp.wire.as_path import decode_as_path
from trio_bgp.wire.attribute_block import encode_attribute
from trio_bgp.wire.notification import AttributeDiscard, NotificationError, TreatAsWithdraw
from trio_bgp.wire.numbers import (
    FLAG_EXTENDED_LENGTH,
    FLAG_OPTIONAL,
    FLAG_PARTIAL,
    FLAG_TRANSITIVE,
    Afi,
    AttributeType,
    ErrorCode,
    Family,
    Safi,
    UpdateMessageErrorSubcode,
)
from trio_bgp.wire.numbers import family as make_family

__all__ = [
    "RECOGNIZED",
    "AttributeContext",
    "Attributes",
    "MpReach",
    "MpUnreach",
    "is_host",
    "missing_attribute",
    "parse_attributes",
]

_OPTIONAL_TRANSITIVE: Final = FLAG_OPTIONAL | FLAG_TRANSITIVE
_WELL_KNOWN: Final = FLAG_TRANSITIVE

_FLAGS: Final = {
    AttributeType.ORIGIN: _WELL_KNOWN,
    AttributeType.AS_PATH: _WELL_KNOWN,
    AttributeType.NEXT_HOP: _WELL_KNOWN,
    AttributeType.MULTI_EXIT_DISC: FLAG_OPTIONAL,
    AttributeType.LOCAL_PREF: _WELL_KNOWN,
    AttributeType.ATOMIC_AGGREGATE: _WELL_KNOWN,
    AttributeType.AGGREGATOR: _OPTIONAL_TRANSITIVE,
    AttributeType.COMMUNITIES: _OPTIONAL_TRANSITIVE,
    AttributeType.ORIGINATOR_ID: FLAG_OPTIONAL,
    AttributeType.CLUSTER_LIST: FLAG_OPTIONAL,
    AttributeType.MP_REACH_NLRI: FLAG_OPTIONAL,
    AttributeType.MP_UNREACH_NLRI: FLAG_OPTIONAL,
    AttributeType.EXTENDED_COMMUNITIES: _OPTIONAL_TRANSITIVE,
    AttributeType.AS4_PATH: _OPTIONAL_TRANSITIVE,
    AttributeType.AS4_AGGREGATOR: _OPTIONAL_TRANSITIVE,
    AttributeType.PMSI_TUNNEL: _OPTIONAL_TRANSITIVE,
    AttributeType.TUNNEL_ENCAPSULATION: _OPTIONAL_TRANSITIVE,
    AttributeType.TRAFFIC_ENGINEERING: FLAG_OPTIONAL,
    AttributeType.IPV6_EXTENDED_COMMUNITIES: _OPTIONAL_TRANSITIVE,
    AttributeType.AIGP: FLAG_OPTIONAL,
    AttributeType.PE_DISTINGUISHER_LABELS: _OPTIONAL_TRANSITIVE,
    AttributeType.BGP_LS: FLAG_OPTIONAL,
    AttributeType.LARGE_COMMUNITY: _OPTIONAL_TRANSITIVE,
    AttributeType.ONLY_TO_CUSTOMER: _OPTIONAL_TRANSITIVE,
    AttributeType.PREFIX_SID: _OPTIONAL_TRANSITIVE,
    AttributeType.ATTR_SET: _OPTIONAL_TRANSITIVE,
}
FLAGS: Final[dict[int, int]] = {int(kind): flags for kind, flags in _FLAGS.items()}
"""The Optional and Transitive bits each recognised attribute must have; by plain numbers, which are found sooner."""

RECOGNIZED: Final[int] = sum(1 << kind for kind in FLAGS)
"""A bit for each attribute type whose meaning is known here."""

_CLEAN: Final = frozenset(
    flags
    for flags in range(256)
    if not flags & 0x0F and (not flags & FLAG_PARTIAL or flags & _OPTIONAL_TRANSITIVE == _OPTIONAL_TRANSITIVE)
)
"""Flags octets a sender may write (RFC 4271, section 4.3): the low bits 0, Partial only on optional transitive ones."""

_LARGE_COMMUNITY: Final = int(AttributeType.LARGE_COMMUNITY)
MULTIPLES: Final[dict[int, int]] = {
    int(AttributeType.EXTENDED_COMMUNITIES): 8,
    int(AttributeType.IPV6_EXTENDED_COMMUNITIES): 20,
    _LARGE_COMMUNITY: 12,
}
"""Attributes that are lists of items of so many octets, at least one of them; else treat-as-withdraw."""

NEXT_HOP_LENGTHS: Final[dict[tuple[int, int], frozenset[int]]] = {
    (Afi.IPV4, Safi.UNICAST): frozenset({4}),
    (Afi.IPV4, Safi.MULTICAST): frozenset({4}),
    (Afi.IPV4, Safi.LABELLED_UNICAST): frozenset({4}),
    (Afi.IPV4, Safi.MPLS_VPN): frozenset({12}),
    (Afi.IPV6, Safi.UNICAST): frozenset({16, 32}),
    (Afi.IPV6, Safi.MULTICAST): frozenset({16, 32}),
    (Afi.IPV6, Safi.LABELLED_UNICAST): frozenset({16, 32}),
    (Afi.IPV6, Safi.MPLS_VPN): frozenset({24, 48}),
}
"""Octets a next hop may have (RFC 4760, 2545, 4364, 4659); families not listed are not checked."""
EXTENDED_NEXT_HOP_LENGTHS: Final = frozenset({16, 24, 32, 48})


_USUAL: Final = Struct(">IHBBBI")
"""How most blocks begin: ORIGIN whole, AS_PATH's flags and type, its length, its first segment's type and count of AS
numbers, and the first of these."""
_LEAST_USUAL: Final = 20
"""Octets of the shortest such beginning, with one AS number and NEXT_HOP."""
_AS_0: Final = b"\0\0\0\0"
"""Not there, there is no AS 0. Looked for by `find`: `in` first takes the octets for a number, which costs as much."""
_ORIGIN_IGP: Final = 0x40010100
_ORIGIN_INCOMPLETE: Final = 0x40010102
_AS_PATH_HEADER: Final = 0x4002
_NEXT_HOP_HEADER: Final = b"\x40\x03\x04"
_USUAL_SEEN: Final = 1 << AttributeType.ORIGIN | 1 << AttributeType.AS_PATH | 1 << AttributeType.NEXT_HOP


@attrs.frozen
class AttributeContext:
    """What the rules depend on besides the octets."""

    asn4: bool = True
    """AS numbers have 4 octets in AS_PATH and AGGREGATOR (RFC 6793)."""
    external: bool = True
    """The session is EBGP."""
    add_path: frozenset[Family] = frozenset()
    """Families received with path identifiers."""
    peer_as: int = 0
    extended_next_hop: frozenset[Family] = frozenset()
    """IPv4 families whose next hop may be IPv6 (RFC 8950)."""
    reject_as_set: bool = False
    """Treat AS_SET and AS_CONFED_SET as an error (RFC 9774)."""


@attrs.frozen
class MpReach:
    """MP_REACH_NLRI (RFC 4760, section 3). Positions are octets from the start of the attribute block."""

    family: Family
    next_hop: bytes
    """The next-hop field, without its length octet."""
    nlri_start: int
    nlri_end: int
    attribute_start: int
    attribute_end: int


@attrs.frozen
class MpUnreach:
    """MP_UNREACH_NLRI (RFC 4760, section 4). Positions are octets from the start of the attribute block."""

    family: Family
    nlri_start: int
    nlri_end: int
    attribute_start: int
    attribute_end: int


class Attributes:
    """What `parse_attributes` found; attributes that are not there have the values given here."""

    octets: bytes = b""
    """The block as it was given."""
    origin: int = 0
    as_path: bytes = b""
    """The value of AS_PATH, AS numbers as wide as the context says."""
    as_path_length: int = 0
    """RFC 4271, 9.1.2.2 a: an AS_SET counts 1; confederation segments do not count (RFC 5065, 5.3)."""
    first_as: int = 0
    """The leftmost AS, if AS_PATH begins with a sequence."""
    neighbor_as: int = 0
    """The AS the route was received from, for comparing MEDs: the first of the first AS_SEQUENCE."""
    next_hop: bytes | None = None
    med: int | None = None
    local_pref: int | None = None
    communities: bytes = b""
    originator_id: int | None = None
    cluster_list: bytes = b""
    mp_reach: MpReach | None = None
    mp_unreach: MpUnreach | None = None
    treat_as_withdraw: TreatAsWithdraw | None = None
    """The first error of that kind."""
    discarded: tuple[AttributeDiscard, ...] = ()
    repaired: bytes = b""
    """The block as it may be passed on, without discarded attributes and with clean flags; the same object as `octets`
    if that changes nothing."""
    asn4: bool = True
    seen: int = 0
    """A bit for each attribute type that is there and was not discarded."""
    cuts: tuple[tuple[int, int, bytes], ...] = ()
    """Start and end of each attribute that is discarded, or what is put in its place."""
    dirty: tuple[int, ...] = ()
    """Where flags have bits that must be 0."""

    def has(self, attribute_type: int) -> bool:
        """Whether the block has an attribute of this type that was not discarded."""
        return bool(self.seen >> attribute_type & 1)

    def contains_as(self, asn: int) -> bool:
        """Whether AS_PATH contains an AS number, in any segment."""
        value = self.as_path
        if asn.to_bytes(4 if self.asn4 else 2, "big") not in value:
            return False
        return any(asn in numbers for _, numbers in decode_as_path(value, asn4=self.asn4))


def parse_attributes(octets: bytes, context: AttributeContext) -> Attributes:
    """Walk an attribute block.

    Args:
        octets: the Path Attributes field of an UPDATE, without its length.
        context: the session's properties.

    Raises:
        NotificationError: where RFC 7606 leaves a session reset: MP_REACH_NLRI or MP_UNREACH_NLRI twice (3/1) or
            malformed (3/9), an unrecognised well-known attribute (3/2).
    """
    parsed = Attributes()
    parsed.octets = parsed.repaired = octets
    parsed.asn4 = asn4 = context.asn4
    position = 0
    end = len(octets)
    seen = gone = 0
    if asn4 and end >= _LEAST_USUAL:
        # Nearly every block begins with ORIGIN, AS_PATH of one AS_SEQUENCE and NEXT_HOP: taken in one step when sound.
        origin, as_path_header, length, segment, count, first_as = _USUAL.unpack_from(octets)
        path_end = 7 + length
        following = path_end + 7
        if (
            _ORIGIN_IGP <= origin <= _ORIGIN_INCOMPLETE
            and as_path_header == _AS_PATH_HEADER
            and segment == 2
            and length == 2 + 4 * count
            and following <= end
            and octets[path_end : path_end + 3] == _NEXT_HOP_HEADER
        ):
            path = octets[7:path_end]
            if path.find(_AS_0) < 0 and count:
                parsed.origin = origin & 3
                parsed.as_path = path
                parsed.as_path_length = count
                parsed.first_as = parsed.neighbor_as = first_as
                parsed.next_hop = octets[path_end + 3 : following]
                seen = _USUAL_SEEN
                position = following
    while position < end:
        value = position + 3
        if value > end:
            _withdraw(parsed, 0, "octets are left over behind the path attributes", octets[position:])
            break
        flags = octets[position]
        kind = octets[position + 1]
        if flags & FLAG_EXTENDED_LENGTH:
            value += 1
            if value > end:
                _withdraw(parsed, kind, "octets are left over behind the path attributes", octets[position:])
                break
            following = value + (octets[position + 2] << 8 | octets[position + 3])
        else:
            following = value + octets[position + 2]
        if following > end:
            _withdraw(parsed, kind, f"attribute {kind} exceeds the path attributes", octets[position:])
            break
        bit = 1 << kind
        if (seen | gone) & bit:
            _duplicate(parsed, kind, position, following)
            position = following
            continue
        seen |= bit
        length = following - value
        if flags not in _CLEAN:
            parsed.dirty += (position,)
        expected = FLAGS.get(kind)
        if expected is None:
            if not flags & FLAG_OPTIONAL:
                raise NotificationError(
                    ErrorCode.UPDATE_MESSAGE_ERROR,
                    UpdateMessageErrorSubcode.UNRECOGNIZED_WELL_KNOWN_ATTRIBUTE,
                    octets[position:following],
                    f"well-known attribute {kind} is unknown",
                )
        elif flags & _OPTIONAL_TRANSITIVE != expected:
            _withdraw(parsed, kind, f"attribute {kind} has flags {flags:#04x}", octets[position:following])
            if kind in (AttributeType.MP_REACH_NLRI, AttributeType.MP_UNREACH_NLRI):
                _multiprotocol(parsed, kind, octets, position, value, following, context)
        elif kind == 1:
            parsed.origin = octets[value] if length else 3
            if length != 1 or parsed.origin > 2:
                _withdraw(parsed, kind, "ORIGIN is malformed", octets[position:following])
        elif kind == 2:
            parsed.as_path = path = octets[value:following]
            if length >= 6 and path[0] == 2 and asn4 and length == 2 + 4 * path[1] and path.find(_AS_0) < 0:
                parsed.as_path_length = path[1]
                parsed.first_as = parsed.neighbor_as = path[2] << 24 | path[3] << 16 | path[4] << 8 | path[5]
            elif length:
                _as_path(parsed, path, context)
        elif kind == 3:
            parsed.next_hop = octets[value:following]
            if length != 4:
                _withdraw(parsed, kind, f"NEXT_HOP has {length} octets", octets[position:following])
        elif kind == 4:
            if length == 4:
                parsed.med = int.from_bytes(octets[value:following], "big")
            else:
                _withdraw(parsed, kind, f"MULTI_EXIT_DISC has {length} octets", octets[position:following])
        elif kind == 8:
            parsed.communities = octets[value:following]
            if not length or length & 3:
                _withdraw(parsed, kind, f"COMMUNITIES has {length} octets", octets[position:following])
        elif kind in (14, 15):
            _multiprotocol(parsed, kind, octets, position, value, following, context)
        elif not _other(parsed, kind, octets[value:following], context):
            seen &= ~bit
            gone |= bit
            parsed.cuts += ((position, following, b""),)
        elif kind == _LARGE_COMMUNITY and length > 12:
            _unique(parsed, octets, position, value, following)
        position = following
    parsed.seen = seen
    if parsed.cuts or parsed.dirty:
        kept = bytearray(octets)
        for start in parsed.dirty:
            kept[start] &= (
                FLAG_EXTENDED_LENGTH
                | _OPTIONAL_TRANSITIVE
                | (FLAG_PARTIAL if kept[start] & _OPTIONAL_TRANSITIVE == _OPTIONAL_TRANSITIVE else 0)
            )
        for start, stop, replacement in reversed(parsed.cuts):
            kept[start:stop] = replacement
        parsed.repaired = bytes(kept)
    return parsed


def is_host(next_hop: bytes | None) -> bool:
    """Whether an IPv4 NEXT_HOP can be a host's address (RFC 4271, section 6.3)."""
    return next_hop is not None and len(next_hop) == 4 and 0 < next_hop[0] < 224


def missing_attribute(parsed: Attributes, announces_ipv4: bool, announces_mp: bool) -> TreatAsWithdraw | None:
    """The mandatory attribute that is missing (RFC 7606, section 3 d), or a NEXT_HOP that is no host's, if any.

    Args:
        parsed: the block.
        announces_ipv4: the UPDATE has prefixes in its NLRI field, which needs NEXT_HOP.
        announces_mp: it has MP_REACH_NLRI, which brings its own next hop.
    """
    if not (announces_ipv4 or announces_mp):
        return None
    for kind in (AttributeType.ORIGIN, AttributeType.AS_PATH):
        if not parsed.has(kind):
            return TreatAsWithdraw(f"{kind.name} is missing", kind)
    if announces_ipv4:
        next_hop = parsed.next_hop
        if next_hop is None:
            return TreatAsWithdraw("NEXT_HOP is missing", AttributeType.NEXT_HOP)
        if not is_host(next_hop):
            # RFC 4271, section 6.3. Next to MP_REACH_NLRI alone it is ignored (RFC 4760, section 3).
            return TreatAsWithdraw(f"NEXT_HOP {next_hop.hex()} is no host address", AttributeType.NEXT_HOP, next_hop)
    return None


def _withdraw(parsed: Attributes, kind: int, reason: str, data: bytes) -> None:
    if parsed.treat_as_withdraw is None:
        parsed.treat_as_withdraw = TreatAsWithdraw(reason, kind, data)


def _discard(parsed: Attributes, kind: int, reason: str, data: bytes) -> bool:
    parsed.discarded += (AttributeDiscard(reason, kind, data),)
    return False


def _unique(parsed: Attributes, octets: bytes, position: int, value: int, end: int) -> None:
    """RFC 8092, section 5: a large community that is there twice is removed on receipt, without a word."""
    if parsed.treat_as_withdraw is not None:
        return
    communities = [octets[at : at + 12] for at in range(value, end, 12)]
    unique = b"".join(dict.fromkeys(communities))
    if len(unique) < end - value:
        parsed.cuts += ((position, end, encode_attribute(octets[position] & 0xE0, octets[position + 1], unique)),)


def _duplicate(parsed: Attributes, kind: int, start: int, end: int) -> None:
    """RFC 7606, section 3 g: a second MP attribute resets the session; of others the first counts."""
    data = parsed.octets[start:end]
    if kind in (AttributeType.MP_REACH_NLRI, AttributeType.MP_UNREACH_NLRI):
        raise NotificationError(
            ErrorCode.UPDATE_MESSAGE_ERROR,
            UpdateMessageErrorSubcode.MALFORMED_ATTRIBUTE_LIST,
            reason=f"{AttributeType(kind).name} appears twice",
        )
    _discard(parsed, kind, f"attribute {kind} appears twice", data)
    parsed.cuts += ((start, end, b""),)


def _as_path(parsed: Attributes, path: bytes, context: AttributeContext) -> None:
    """AS_PATH of any form (7.2; RFC 7607 for AS 0; RFC 5065 section 5; RFC 9774)."""
    kind = AttributeType.AS_PATH
    try:
        segments = decode_as_path(path, asn4=context.asn4)
    except ValueError as error:
        parsed.as_path = b""
        _withdraw(parsed, kind, f"AS_PATH: {error}", path)
        return
    for position, (segment, numbers) in enumerate(segments):
        if 0 in numbers:
            _withdraw(parsed, kind, "AS_PATH contains AS 0", path)
        if segment == 2:
            parsed.as_path_length += len(numbers)
            if not position:
                parsed.first_as = numbers[0]
            if not parsed.neighbor_as:
                parsed.neighbor_as = numbers[0]
        elif segment == 1:
            parsed.as_path_length += 1
        elif context.external:
            _withdraw(parsed, kind, "AS_PATH of an external peer has a confederation segment", path)
        if context.reject_as_set and segment in (1, 4):
            _withdraw(parsed, kind, "AS_PATH has an AS_SET", path)


def _multiprotocol(
    parsed: Attributes,
    kind: int,
    octets: bytes,
    start: int,
    value: int,
    end: int,
    context: AttributeContext,
) -> None:
    """MP_REACH_NLRI and MP_UNREACH_NLRI (7.11, 7.12): if they cannot be read, the routes meant are unknown."""
    reach = kind == AttributeType.MP_REACH_NLRI
    length = end - value
    if length >= 3:
        afi, safi = octets[value] << 8 | octets[value + 1], octets[value + 2]
        family = make_family(afi, safi)
        if not reach:
            parsed.mp_unreach = MpUnreach(family, value + 3, end, start, end)
            return
        if length >= 5:
            size = octets[value + 3]
            nlri = value + 4 + size + 1
            allowed = NEXT_HOP_LENGTHS.get((afi, safi))
            if family in context.extended_next_hop and allowed is not None:
                allowed |= EXTENDED_NEXT_HOP_LENGTHS
            if nlri <= end and (allowed is None or size in allowed):
                parsed.mp_reach = MpReach(family, octets[value + 4 : value + 4 + size], nlri, end, start, end)
                return
    raise NotificationError(
        ErrorCode.UPDATE_MESSAGE_ERROR,
        UpdateMessageErrorSubcode.OPTIONAL_ATTRIBUTE_ERROR,
        octets[start:end],
        f"{AttributeType(kind).name} is malformed",
    )


def _other(parsed: Attributes, kind: int, value: bytes, context: AttributeContext) -> bool:
    """Attributes that few blocks have; False if the attribute is to be discarded."""
    length = len(value)
    multiple = MULTIPLES.get(kind)
    if multiple is not None:
        if not length or length % multiple:
            _withdraw(parsed, kind, f"{AttributeType(kind).name} has {length} octets", value)
    elif kind == AttributeType.LOCAL_PREF:
        if context.external:
            return _discard(parsed, kind, "LOCAL_PREF from an external peer", value)
        if length != 4:
            _withdraw(parsed, kind, f"LOCAL_PREF has {length} octets", value)
        parsed.local_pref = int.from_bytes(value, "big")
    elif kind == AttributeType.ATOMIC_AGGREGATE:
        if length:
            return _discard(parsed, kind, f"ATOMIC_AGGREGATE has {length} octets", value)
    elif kind == AttributeType.AGGREGATOR:
        width = 4 if context.asn4 else 2
        if length != width + 4:
            return _discard(parsed, kind, f"AGGREGATOR has {length} octets", value)
        if not int.from_bytes(value[:width], "big"):
            return _discard(parsed, kind, "AGGREGATOR has AS 0", value)  # RFC 7607, section 2
    elif kind == AttributeType.ORIGINATOR_ID:
        if context.external:
            return _discard(parsed, kind, "ORIGINATOR_ID from an external peer", value)
        if length != 4:
            _withdraw(parsed, kind, f"ORIGINATOR_ID has {length} octets", value)
        parsed.originator_id = int.from_bytes(value, "big")
    elif kind == AttributeType.CLUSTER_LIST:
        if context.external:
            return _discard(parsed, kind, "CLUSTER_LIST from an external peer", value)
        if not length or length % 4:
            _withdraw(parsed, kind, f"CLUSTER_LIST has {length} octets", value)
        parsed.cluster_list = value
    elif kind in (AttributeType.AS4_PATH, AttributeType.AS4_AGGREGATOR):
        return _as4(parsed, kind, value, context)
    elif kind == AttributeType.ONLY_TO_CUSTOMER and length != 4:
        _withdraw(parsed, kind, f"ONLY_TO_CUSTOMER has {length} octets", value)  # RFC 9234, section 5
    elif kind == AttributeType.PMSI_TUNNEL and length < 5:
        _withdraw(parsed, kind, f"PMSI_TUNNEL has {length} octets", value)
    return True


def _as4(parsed: Attributes, kind: int, value: bytes, context: AttributeContext) -> bool:
    """RFC 6793, sections 4.1 and 6: not from a peer with 4-octet AS numbers, and well-formed from others."""
    name = AttributeType(kind).name
    if context.asn4:
        return _discard(parsed, kind, f"{name} from a peer with 4-octet AS numbers", value)
    if kind == AttributeType.AS4_AGGREGATOR:
        if len(value) != 8 or not int.from_bytes(value[:4], "big"):
            return _discard(parsed, kind, f"{name} is malformed", value)
        return True
    try:
        segments = decode_as_path(value, asn4=True)
        if not segments:
            raise ValueError("no segment")
    except ValueError as error:
        return _discard(parsed, kind, f"{name}: {error}", value)
    if any(0 in numbers for _, numbers in segments):
        return _discard(parsed, kind, f"{name} contains AS 0", value)
    return True
