"""Writing attribute blocks: one attribute, and a whole block with AS numbers of the other width (RFC 6793).

The blocks given here were judged before (`trio_bgp.wire.attributes`): lengths fit.
"""

from collections.abc import Iterator
from struct import Struct
from typing import Final

from trio_bgp.wire.as_path import (
    decode_as_path,
    encode_as_path,
    merge_as4_path,
    two_octet_numbers,
    two_octet_paths,
)
from trio_bgp.wire.numbers import AS_TRANS, FLAG_EXTENDED_LENGTH, FLAG_OPTIONAL, FLAG_TRANSITIVE, AttributeType

__all__ = ["add_community", "encode_attribute", "narrow", "walk", "widen", "without"]

_OPTIONAL_TRANSITIVE = FLAG_OPTIONAL | FLAG_TRANSITIVE
LONGEST_AS_PATH = 0xFFFF - 6
"""Octets of an AS_PATH that can still be given a segment of one AS in front."""


_AS_PATH: Final = int(AttributeType.AS_PATH)
_AGGREGATOR: Final = int(AttributeType.AGGREGATOR)
_WITH_AS_NUMBERS: Final = 1 << _AS_PATH | 1 << _AGGREGATOR
_USUAL: Final = Struct(">IHBBB")
"""How most blocks begin: ORIGIN whole, AS_PATH's flags and type, its length, its first segment's type and count."""
_ORIGIN_IGP: Final = 0x40010100
_ORIGIN_INCOMPLETE: Final = 0x40010102
_AS_PATH_HEADER: Final = 0x4002
_AS4_PATH_HEADER: Final = b"\xc0\x11"


def encode_attribute(flags: int, kind: int, value: bytes) -> bytes:
    """One path attribute; the Extended Length flag is set where it is needed, and only there."""
    flags &= ~FLAG_EXTENDED_LENGTH
    if len(value) > 255:
        return bytes((flags | FLAG_EXTENDED_LENGTH, kind)) + len(value).to_bytes(2, "big") + value
    return bytes((flags, kind, len(value))) + value


def walk(octets: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Flags, type, and start and end of the value of each attribute; it begins where the one before ends."""
    position = 0
    end = len(octets)
    while position < end:
        flags = octets[position]
        value = position + 3
        if flags & FLAG_EXTENDED_LENGTH:
            value += 1
            following = value + (octets[position + 2] << 8 | octets[position + 3])
        else:
            following = value + octets[position + 2]
        yield flags, octets[position + 1], value, following
        position = following


def add_community(octets: bytes, community: bytes) -> bytes:
    """A block with one more of COMMUNITIES (RFC 1997; four octets); the same object if it has that one."""
    position = 0
    for flags, kind, start, end in walk(octets):
        if kind == AttributeType.COMMUNITIES:
            value = octets[start:end]
            if community in [value[at : at + 4] for at in range(0, len(value), 4)]:
                return octets
            return octets[:position] + encode_attribute(flags, kind, value + community) + octets[end:]
        position = end
    return octets + encode_attribute(_OPTIONAL_TRANSITIVE, AttributeType.COMMUNITIES, community)


def without(octets: bytes, attribute_type: int) -> bytes:
    """A block without the attribute of a type."""
    position = 0
    for _, kind, _, end in walk(octets):
        if kind == attribute_type:
            return octets[:position] + octets[end:]
        position = end
    return octets


def narrow(octets: bytes, seen: int = _WITH_AS_NUMBERS) -> bytes:
    """A block with 4-octet AS numbers for a peer that knows only those of two octets (RFC 6793, section 4.2.2).

    AS_PATH and AGGREGATOR get `AS_TRANS` for what does not fit, and AS4_PATH and AS4_AGGREGATOR follow if needed.

    Args:
        octets: the block.
        seen: a bit for each attribute type that may be in it.
    """
    todo = seen & _WITH_AS_NUMBERS
    size = len(octets)
    if todo == 1 << _AS_PATH and size >= 13:
        origin, header, length, segment, count = _USUAL.unpack_from(octets)
        if (
            _ORIGIN_IGP <= origin <= _ORIGIN_INCOMPLETE
            and header == _AS_PATH_HEADER
            and segment == 2
            and length == 2 + 4 * count > 2
        ):
            # Nearly all: AS_PATH of one AS_SEQUENCE, behind ORIGIN.
            end = 7 + length
            numbers, whole = two_octet_numbers(octets, 9, count)
            before = octets[:6] + bytes((2 + 2 * count, 2, count))
            if whole:
                return before + numbers + octets[end:]
            return b"".join((before, numbers, octets[end:], _AS4_PATH_HEADER, octets[6:end]))
    pieces: list[bytes] = []
    added: list[bytes] = []
    kept = 0  # what is before has been written
    position = 0
    while todo and position < size:
        flags, kind = octets[position], octets[position + 1]
        if flags & FLAG_EXTENDED_LENGTH:
            start = position + 4
            end = start + (octets[position + 2] << 8 | octets[position + 3])
        else:
            start = position + 3
            end = start + octets[position + 2]
        if kind == _AS_PATH:
            old, new = two_octet_paths(octets[start:end])
            pieces += (octets[kept:position], encode_attribute(flags, kind, old))
            kept = end
            todo ^= 1 << _AS_PATH
            if new is not None:
                added.append(encode_attribute(_OPTIONAL_TRANSITIVE, AttributeType.AS4_PATH, new))
        elif kind == _AGGREGATOR:
            asn = int.from_bytes(octets[start : start + 4], "big")
            if asn > 0xFFFF:
                added.append(encode_attribute(_OPTIONAL_TRANSITIVE, AttributeType.AS4_AGGREGATOR, octets[start:end]))
                asn = AS_TRANS
            value = asn.to_bytes(2, "big") + octets[start + 4 : end]
            pieces += (octets[kept:position], encode_attribute(flags, kind, value))
            kept = end
            todo ^= 1 << _AGGREGATOR
        position = end
    return b"".join((*pieces, octets[kept:], *added))


def widen(octets: bytes) -> bytes:
    """A block from a peer with 2-octet AS numbers as one with 4-octet ones (RFC 6793, section 4.2.3).

    AS4_PATH and AS4_AGGREGATOR are merged into AS_PATH and AGGREGATOR and are gone, or are ignored where the RFC says.

    Raises:
        ValueError: with 4-octet AS numbers AS_PATH is longer than an attribute can be (only in extended messages).
    """
    values = {kind: octets[start:end] for _, kind, start, end in walk(octets)}
    aggregator = values.get(AttributeType.AGGREGATOR)
    as4_aggregator = values.get(AttributeType.AS4_AGGREGATOR)
    as4_path = values.get(AttributeType.AS4_PATH)
    if aggregator is not None and as4_aggregator is not None and int.from_bytes(aggregator[:2], "big") != AS_TRANS:
        as4_aggregator = as4_path = None  # an old speaker aggregated after the last new one
    pieces: list[bytes] = []
    position = 0
    for flags, kind, start, end in walk(octets):
        if kind == AttributeType.AS_PATH:
            segments = decode_as_path(octets[start:end], asn4=False)
            if as4_path is not None:
                segments = merge_as4_path(segments, decode_as_path(as4_path, asn4=True))
            value = encode_as_path(segments, asn4=True)
            if len(value) > LONGEST_AS_PATH:
                raise ValueError(f"AS_PATH has {len(value)} octets with 4-octet AS numbers")
            pieces.append(encode_attribute(flags, kind, value))
        elif kind == AttributeType.AGGREGATOR:
            value = as4_aggregator or b"\0\0" + octets[start:end]
            pieces.append(encode_attribute(flags, kind, value))
        elif kind not in (AttributeType.AS4_PATH, AttributeType.AS4_AGGREGATOR):
            pieces.append(octets[position:end])
        position = end
    return b"".join(pieces)
