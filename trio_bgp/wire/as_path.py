"""AS_PATH (RFC 4271, sections 4.3 and 5.1.2): its segments, in octets and in words."""

from collections.abc import Iterable

from trio_bgp.wire.numbers import SegmentType

__all__ = ["Segment", "decode_as_path", "encode_as_path", "format_as_path"]

Segment = tuple[int, tuple[int, ...]]
"""Segment type and AS numbers, in order."""


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
