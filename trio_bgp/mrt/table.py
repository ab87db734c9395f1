"""TABLE_DUMP_V2: who was heard, and who had which path to each prefix (RFC 6396, section 4.3; RFC 8050, section 4)."""

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import attrs

from trio_bgp.mrt.fields import Fields, address_of_afi
from trio_bgp.mrt.records import TABLE_DUMP_V2, MrtError, Record
from trio_bgp.wire.attribute_block import encode_attribute, walk
from trio_bgp.wire.nlri import Framing, nlri_end, split_nlri
from trio_bgp.wire.notification import NotificationError
from trio_bgp.wire.numbers import (
    FLAG_EXTENDED_LENGTH,
    FLAG_OPTIONAL,
    FLAG_TRANSITIVE,
    IPV4_MULTICAST,
    IPV4_UNICAST,
    IPV6_MULTICAST,
    IPV6_UNICAST,
    AttributeType,
    Family,
    afi_of,
    safi_of,
)
from trio_bgp.wire.numbers import family as make_family

__all__ = [
    "PeerEntry",
    "PeerIndexTable",
    "Rib",
    "RibEntry",
    "attribute_bounds",
    "decode_table",
    "encode_peer_index_table",
    "encode_rib",
    "join_next_hop",
    "split_next_hop",
]

PEER_INDEX_TABLE: Final = 1
SUBTYPES: Final = {IPV4_UNICAST: 2, IPV4_MULTICAST: 3, IPV6_UNICAST: 4, IPV6_MULTICAST: 5}
ADD_PATH_SUBTYPES: Final = {IPV4_UNICAST: 8, IPV4_MULTICAST: 9, IPV6_UNICAST: 10, IPV6_MULTICAST: 11}
RIB_GENERIC: Final = 6
RIB_GENERIC_ADD_PATH: Final = 12
_RIBS: Final = {subtype: (family, False) for family, subtype in SUBTYPES.items()} | {
    subtype: (family, True) for family, subtype in ADD_PATH_SUBTYPES.items()
}
_IPV6_PEER: Final = 1
_AS4_PEER: Final = 2


@attrs.frozen
class PeerEntry:
    """A peer whose paths follow: BGP Identifier (a number), address, AS number, and whether that has four octets."""

    bgp_identifier: int
    address: IPv4Address | IPv6Address
    asn: int
    asn4: bool = True


@attrs.frozen
class PeerIndexTable:
    """The first record: the collector's BGP Identifier, the name of the view, and the peers by their index."""

    collector: int
    view: str
    peers: tuple[PeerEntry, ...]


@attrs.frozen
class RibEntry:
    """One path.

    Attributes:
        peer: its index.
        originated: when it was received, in seconds since 1970.
        attributes: its path attributes' octets, AS numbers in four octets, MP_REACH_NLRI cut down to the next hop.
        path_id: with RFC 8050.
    """

    peer: int
    originated: int
    attributes: bytes
    path_id: int | None = None


@attrs.frozen
class Rib:
    """All paths to one NLRI. All entries have path identifiers, or none."""

    sequence: int
    family: Family
    nlri: bytes
    entries: tuple[RibEntry, ...]


def encode_peer_index_table(table: PeerIndexTable, seconds: int) -> Record:
    """The record of a peer index table."""
    name = table.view.encode()
    pieces = [table.collector.to_bytes(4, "big"), len(name).to_bytes(2, "big"), name]
    pieces.append(len(table.peers).to_bytes(2, "big"))
    for peer in table.peers:
        kind = (_AS4_PEER if peer.asn4 else 0) | (_IPV6_PEER if peer.address.version == 6 else 0)
        pieces += [bytes((kind,)), peer.bgp_identifier.to_bytes(4, "big"), peer.address.packed]
        pieces.append(peer.asn.to_bytes(4 if peer.asn4 else 2, "big"))
    return Record(TABLE_DUMP_V2, PEER_INDEX_TABLE, seconds, 0, b"".join(pieces))


def encode_rib(rib: Rib, seconds: int) -> Record:
    """The record of the paths to an NLRI; of the family's own subtype, or RIB_GENERIC."""
    add_path = bool(rib.entries) and rib.entries[0].path_id is not None
    subtype = (ADD_PATH_SUBTYPES if add_path else SUBTYPES).get(rib.family)
    pieces = [rib.sequence.to_bytes(4, "big")]
    if subtype is None:
        subtype = RIB_GENERIC_ADD_PATH if add_path else RIB_GENERIC
        pieces.append(afi_of(rib.family).to_bytes(2, "big") + bytes((safi_of(rib.family),)))
    pieces += [rib.nlri, len(rib.entries).to_bytes(2, "big")]
    for entry in rib.entries:
        pieces.append(entry.peer.to_bytes(2, "big") + entry.originated.to_bytes(4, "big"))
        if entry.path_id is not None:
            pieces.append(entry.path_id.to_bytes(4, "big"))
        pieces += [len(entry.attributes).to_bytes(2, "big"), entry.attributes]
    return Record(TABLE_DUMP_V2, subtype, seconds, 0, b"".join(pieces))


def decode_table(record: Record, framing: Mapping[Family, Framing] | None = None) -> PeerIndexTable | Rib | None:
    """What a record of type `TABLE_DUMP_V2` says; None for a subtype that is not of RFC 6396 or RFC 8050.

    Args:
        record: the record.
        framing: how to tell NLRI apart in families that `trio_bgp.wire.nlri` does not know.

    Raises:
        MrtError: it is malformed, or of a family without a framing rule.
    """
    if record.subtype == PEER_INDEX_TABLE:
        return _decode_peers(record.body)
    if record.subtype not in _RIBS and record.subtype not in (RIB_GENERIC, RIB_GENERIC_ADD_PATH):
        return None
    fields = Fields(record.body, "a RIB record")
    sequence = fields.number(4)
    if record.subtype in _RIBS:
        family, add_path = _RIBS[record.subtype]
    else:
        family, add_path = make_family(fields.number(2), fields.number(1)), record.subtype == RIB_GENERIC_ADD_PATH
    rule = None if framing is None else framing.get(family)
    try:
        end = nlri_end(family, record.body, fields.position, rule)
        (nlri,) = split_nlri(family, record.body[fields.position : end], add_path=False, framing=rule)
    except NotificationError as error:
        raise MrtError(f"a RIB record with a bad NLRI: {error.reason}") from None
    fields.position = end
    entries = []
    for _ in range(fields.number(2)):
        peer, originated = fields.number(2), fields.number(4)
        path_id = fields.number(4) if add_path else None
        entries.append(RibEntry(peer, originated, fields.take(fields.number(2)), path_id))
    fields.finish()
    return Rib(sequence, family, nlri, tuple(entries))


def _decode_peers(octets: bytes) -> PeerIndexTable:
    fields = Fields(octets, "a PEER_INDEX_TABLE record")
    collector = fields.number(4)
    view = fields.take(fields.number(2)).decode(errors="replace")
    peers = []
    for _ in range(fields.number(2)):
        kind = fields.number(1)
        identifier = fields.number(4)
        address = address_of_afi(fields.take(16 if kind & _IPV6_PEER else 4))
        asn4 = bool(kind & _AS4_PEER)
        peers.append(PeerEntry(identifier, address, fields.number(4 if asn4 else 2), asn4))
    fields.finish()
    return PeerIndexTable(collector, view, tuple(peers))


def join_next_hop(attributes: bytes, family: Family, next_hop: bytes | None) -> bytes:
    """The attributes of a RIB entry (RFC 6396, section 4.3.4).

    Args:
        attributes: a block without MP_REACH_NLRI.
        family: of the route.
        next_hop: the next-hop field of its MP_REACH_NLRI; None if it had none, but NEXT_HOP.
    """
    if next_hop is None:
        return attributes
    plain = family == IPV4_UNICAST and len(next_hop) == 4
    if plain and not any(kind == AttributeType.NEXT_HOP for _, kind, _, _ in walk(attributes)):
        return attributes + encode_attribute(FLAG_TRANSITIVE, AttributeType.NEXT_HOP, next_hop)
    return attributes + encode_attribute(FLAG_OPTIONAL, AttributeType.MP_REACH_NLRI, bytes((len(next_hop),)) + next_hop)


def split_next_hop(attributes: bytes) -> tuple[bytes, bytes | None]:
    """A RIB entry's attributes without MP_REACH_NLRI, and the next-hop field of that; None if it has none.

    MP_REACH_NLRI is taken as it should be, the next hop alone, and as others write it, whole.

    Raises:
        MrtError: the attributes do not fit their octets.
    """
    for start, kind, value, end in attribute_bounds(attributes):
        if kind == AttributeType.MP_REACH_NLRI:
            octets = attributes[value:end]
            if octets and len(octets) != 1 + octets[0]:
                octets = octets[3:]  # whole: AFI and SAFI in front
            if not octets or len(octets) < 1 + octets[0]:
                raise MrtError("an MP_REACH_NLRI without its next hop")
            return attributes[:start] + attributes[end:], octets[1 : 1 + octets[0]]
    return attributes, None


def attribute_bounds(octets: bytes) -> Sequence[tuple[int, int, int, int]]:
    """Start, type, start of the value and end of each attribute.

    Raises:
        MrtError: they do not fit the octets.
    """
    found = []
    position = 0
    while position < len(octets):
        value = position + (4 if octets[position] & FLAG_EXTENDED_LENGTH else 3)
        if value > len(octets):
            raise MrtError("path attributes that end within a header")
        end = value + int.from_bytes(octets[position + 2 : value], "big")
        if end > len(octets):
            raise MrtError("a path attribute that exceeds its field")
        found.append((position, octets[position + 1], value, end))
        position = end
    return found
