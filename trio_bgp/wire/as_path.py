"""AS_PATH (RFC 4271, sections 4.3 and 5.1.2): its segments, in octets and in words."""

import struct
from collections.abc import Iterable, Sequence
from typing import Final

from trio_bgp.wire.numbers import AS_TRANS, SegmentType

__all__ = [
    "Segment",
    "decode_as_path",
    "encode_as_path",
    "format_as_path",
    "merge_as4_path",
    "prepend",
    "two_octet_numbers",
    "two_octet_paths",
    "without_confederations",
]

Segment = tuple[int, tuple[int, ...]]
"""Segment type and AS numbers, in order."""
_PLAIN = (SegmentType.AS_SET, SegmentType.AS_SEQUENCE)
"""What is no segment of a confederation."""


_AS_SEQUENCE: Final = int(SegmentType.AS_SEQUENCE)
_AS_TRANS: Final = int(AS_TRANS)
_WIDE: Final = [struct.Struct(f">{count}I") for count in range(256)]
_NARROW: Final = [struct.Struct(f">{count}H") for count in range(256)]
"""So many AS numbers of four, and of two octets."""


def decode_as_path(value: bytes, *, asn4: bool) -> list[Segment]:
    """The segments of an AS_PATH value.

    Args:
        value: the attribute's value.
        asn4: AS numbers have 4 octets, else 2.

    Raises:
        ValueError: a segment of unknown type, without AS numbers, or longer than the value (RFC 7606, section 7.2).
    """
    width = 4 if asn4 else 2
    segments: list[Segment] = []
    position = 0
    while position < len(value):
        if position + 2 > len(value):
            raise ValueError("an octet is left over")
        kind, count = value[position], value[position + 1]
        start = position + 2
        position = start + count * width
        if kind not in (1, 2, 3, 4):
            raise ValueError(f"segment type {kind} is unknown")
        if not count:
            raise ValueError("a segment has no AS number")
        if position > len(value):
            raise ValueError("a segment exceeds the attribute")
        numbers = tuple(int.from_bytes(value[at : at + width], "big") for at in range(start, position, width))
        segments.append((kind, numbers))
    return segments


def encode_as_path(segments: Iterable[Segment], *, asn4: bool) -> bytes:
    """The value of an AS_PATH; a segment has at most 255 AS numbers."""
    width = 4 if asn4 else 2
    return b"".join(
        bytes((kind, len(numbers))) + b"".join(number.to_bytes(width, "big") for number in numbers)
        for kind, numbers in segments
    )


def format_as_path(segments: Iterable[Segment]) -> str:
    """In words: `65001 65002 {65003,65004} (65100)`."""
    marks = {
        SegmentType.AS_SET: "{%s}",
        SegmentType.AS_CONFED_SEQUENCE: "(%s)",
        SegmentType.AS_CONFED_SET: "[%s]",
    }
    words = []
    for kind, numbers in segments:
        separator = " " if kind in (SegmentType.AS_SEQUENCE, SegmentType.AS_CONFED_SEQUENCE) else ","
        words.append(marks.get(SegmentType(kind), "%s") % separator.join(map(str, numbers)))
    return " ".join(words)


def prepend(value: bytes, asn: int) -> bytes:
    """An AS_PATH value (4-octet AS numbers) with `asn` in front (RFC 4271, section 5.1.2)."""
    number = asn.to_bytes(4, "big")
    if len(value) >= 2 and value[0] == SegmentType.AS_SEQUENCE and value[1] < 255:
        return bytes((SegmentType.AS_SEQUENCE, value[1] + 1)) + number + value[2:]
    return bytes((SegmentType.AS_SEQUENCE, 1)) + number + value


def without_confederations(value: bytes) -> bytes:
    """An AS_PATH value (4-octet AS numbers) as it leaves a confederation (RFC 5065, section 4.1)."""
    segments = decode_as_path(value, asn4=True)
    return encode_as_path([each for each in segments if each[0] in _PLAIN], asn4=True)


def two_octet_numbers(octets: bytes, start: int, count: int) -> tuple[bytes, bool]:
    """So many 4-octet AS numbers as 2-octet ones, `AS_TRANS` for those that do not fit; and whether all of them do."""
    numbers = _WIDE[count].unpack_from(octets, start)
    if max(numbers) <= 0xFFFF:
        return _NARROW[count].pack(*numbers), True
    return _NARROW[count].pack(*[number if number <= 0xFFFF else _AS_TRANS for number in numbers]), False


def two_octet_paths(value: bytes) -> tuple[bytes, bytes | None]:
    """What a peer without 4-octet AS numbers is told of an AS_PATH (RFC 6793, section 4.2.2).

    Args:
        value: an AS_PATH value with 4-octet AS numbers.

    Returns:
        the value of AS_PATH with 2-octet AS numbers, `AS_TRANS` for those that do not fit, and the value of AS4_PATH,
        without confederation segments, if it is needed.

    Raises:
        ValueError: as `decode_as_path`.
    """
    if len(value) > 2 and value[0] == _AS_SEQUENCE and len(value) == 2 + 4 * value[1]:
        # Nearly all paths are one sequence: no segment is taken apart.
        narrow, whole = two_octet_numbers(value, 2, value[1])
        return value[:2] + narrow, None if whole else value
    segments = decode_as_path(value, asn4=True)
    old: list[Segment] = [
        (kind, tuple(number if number <= 0xFFFF else AS_TRANS for number in numbers)) for kind, numbers in segments
    ]
    plain = [segment for segment in segments if segment[0] in _PLAIN]
    needed = any(number > 0xFFFF for _, numbers in plain for number in numbers)
    return encode_as_path(old, asn4=False), encode_as_path(plain, asn4=True) if needed else None


def _length(segments: Iterable[Segment]) -> int:
    """AS numbers as the decision process counts them (RFC 4271, 9.1.2.2; RFC 5065, 5.3)."""
    return sum(len(numbers) if kind == SegmentType.AS_SEQUENCE else 1 for kind, numbers in segments if kind in _PLAIN)


def merge_as4_path(as_path: Sequence[Segment], as4_path: Sequence[Segment]) -> list[Segment]:
    """The path of a route from a peer without 4-octet AS numbers (RFC 6793, section 4.2.3).

    The AS4_PATH replaces the end of the AS_PATH; what newer, old-style speakers put in front stays. An AS4_PATH that is
    longer than the AS_PATH is ignored. Confederation segments of an AS4_PATH do not count.
    """
    tail = [segment for segment in as4_path if segment[0] in _PLAIN]
    keep = _length(as_path) - _length(tail)
    if keep < 0 or not tail:
        return list(as_path)
    merged: list[Segment] = []
    for kind, numbers in as_path:
        if kind not in _PLAIN:
            # They count nothing, and stay if they lead or are next to what stays.
            merged.append((kind, numbers))
            continue
        if not keep:
            break
        if kind == SegmentType.AS_SEQUENCE:
            whole = len(numbers)
            numbers = numbers[:keep]
            keep -= len(numbers)
            if len(numbers) < whole:
                merged.append((kind, numbers))
                break
        else:
            keep -= 1
        merged.append((kind, numbers))
    if (
        merged
        and merged[-1][0] == tail[0][0] == SegmentType.AS_SEQUENCE
        and len(merged[-1][1]) + len(tail[0][1]) <= 255
    ):
        kind, numbers = merged.pop()
        tail[0] = (kind, numbers + tail[0][1])
    return merged + tail
