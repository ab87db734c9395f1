"""Records (RFC 6396, section 2) with times of seconds or microseconds (section 3), and finding them in a stream."""

import struct
from typing import Final

import attrs

__all__ = [
    "BGP4MP",
    "BGP4MP_ET",
    "TABLE_DUMP_V2",
    "MrtError",
    "Record",
    "RecordSplitter",
    "encode_record",
    "type_name",
]

TABLE_DUMP_V2: Final = 13
BGP4MP: Final = 16
BGP4MP_ET: Final = 17
_NAMES: Final = {11: "OSPFv2", 12: "TABLE_DUMP", 13: "TABLE_DUMP_V2", 16: "BGP4MP", 17: "BGP4MP_ET", 32: "ISIS"}
_EXTENDED: Final = frozenset({BGP4MP_ET, 33, 49})
"""Types whose body begins with microseconds: BGP4MP_ET, ISIS_ET, OSPFv3_ET."""

_HEADER: Final = struct.Struct(">IHHI")
MAXIMUM_LENGTH: Final = 1 << 24
"""Octets of a record after its header: a RIB record of all 65,535 peers there can be has less."""


class MrtError(Exception):
    """These octets are not what MRT says they should be; the message says why."""


@attrs.frozen
class Record:
    """One record, not looked into.

    Attributes:
        kind: the MRT type.
        subtype: the MRT subtype.
        seconds: since 1970.
        microseconds: more; 0 in records whose type has none.
        body: the octets behind the header and the microseconds.
    """

    kind: int
    subtype: int
    seconds: int
    microseconds: int
    body: bytes

    @property
    def time(self) -> float:
        """Seconds since 1970."""
        return self.seconds + self.microseconds / 1_000_000


def type_name(kind: int) -> str:
    """An MRT type as RFC 6396 calls it."""
    return _NAMES.get(kind, f"type {kind}")


def encode_record(record: Record) -> bytes:
    """The record's octets."""
    body = record.body
    if record.kind in _EXTENDED:
        body = record.microseconds.to_bytes(4, "big") + body
    return _HEADER.pack(record.seconds, record.kind, record.subtype, len(body)) + body


class RecordSplitter:
    """Finds the records in a stream that comes in pieces."""

    def __init__(self) -> None:
        self._left = bytearray()

    def feed(self, octets: bytes) -> list[Record]:
        """Take the next octets; the records that are whole now.

        Raises:
            MrtError: what should be a record is none; nothing behind it can be read.
        """
        self._left += octets
        buffer, end, position = bytes(self._left), len(self._left), 0
        found: list[Record] = []
        while position + _HEADER.size <= end:
            seconds, kind, subtype, length = _HEADER.unpack_from(buffer, position)
            if length > MAXIMUM_LENGTH:
                raise MrtError(f"a record of {length} octets: this is no MRT")
            start = position + _HEADER.size
            following = start + length
            if following > end:
                break
            microseconds = 0
            if kind in _EXTENDED:
                if length < 4:
                    raise MrtError(f"a {type_name(kind)} record without microseconds")
                microseconds = int.from_bytes(buffer[start : start + 4], "big")
                start += 4
            found.append(Record(kind, subtype, seconds, microseconds, buffer[start:following]))
            position = following
        del self._left[:position]
        return found

    def finish(self) -> None:
        """The stream has ended.

        Raises:
            MrtError: in the middle of a record.
        """
        if self._left:
            raise MrtError(f"it ends within a record: {len(self._left)} octets are left")
