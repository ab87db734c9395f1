"""Reading recordings piece by piece: MRT and concatenated BGP messages, compressed or not."""

import io
import lzma
import sys
import zlib
from collections import Counter
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

import attrs

from trio_bgp.mrt.messages import Message, Session, StateChange, decode_bgp4mp
from trio_bgp.mrt.records import BGP4MP, BGP4MP_ET, TABLE_DUMP_V2, MrtError, Record, RecordSplitter, type_name
from trio_bgp.mrt.table import PeerIndexTable, Rib, decode_table
from trio_bgp.recording.files import open_compressed
from trio_bgp.wire.header import MARKER, scan
from trio_bgp.wire.numbers import EXTENDED_MESSAGE_LENGTH

__all__ = ["Recorded", "Recording"]

READ_OCTETS: Final = 1 << 17
NOBODY: Final = Session(0, 0, IPv4Address(0), IPv4Address(0))
"""Of messages whose file does not say whose they are."""


@attrs.frozen
class Recorded:
    """What a file says next.

    Attributes:
        value: a message, a state change, or of a table who was heard and the paths to a prefix.
        time: when that was, in seconds since 1970; None for tables and where the file does not say.
    """

    value: Message | StateChange | PeerIndexTable | Rib
    time: float | None = None


class Recording:
    """A file of recorded messages or routes. Its methods wait for the disk, so they are for a thread.

    What it is, and how it is compressed, is told by its octets, not by its name.

    Args:
        path: of the file; `-` is standard input.
        asn4: AS numbers in a file of bare BGP messages have four octets; MRT says so itself.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: str, *, asn4: bool = True) -> None:
        self.path = path
        self.skipped: Counter[str] = Counter()
        """Records that were not understood, by what they are."""
        # It stays open until `close`; standard input has a number, which `Path` does not take.
        self._raw = open(sys.stdin.fileno() if path == "-" else path, "rb", closefd=path != "-")  # noqa: SIM115
        self.size = Path(path).stat().st_size if path != "-" and self._raw.seekable() else 0
        """Octets of the file; 0 if nobody knows."""
        self._asn4 = asn4
        self._malformed = ""
        self._file: io.BufferedIOBase | None = None
        self._splitter = RecordSplitter()
        self._bare: bytearray | None = None
        self._ended = False

    @property
    def position(self) -> int:
        """Octets of the file that have been read, as far as it has a size."""
        return self._raw.tell() if self.size else 0

    def close(self) -> None:
        """Close the file."""
        self._raw.close()

    def read(self) -> list[Recorded]:
        """What comes next, some of it; an empty list at the end.

        Raises:
            OSError: the file cannot be read.
            MrtError: it is neither MRT nor BGP messages, or broken; the message names it.
        """
        try:
            while not self._ended:
                found = self._some()
                if found:
                    return found
        except MrtError as error:
            raise MrtError(f"{self.path}: {error}") from None
        except (EOFError, lzma.LZMAError, zlib.error) as error:
            raise MrtError(f"{self.path}: the compression is broken: {error}") from None
        return []

    def _some(self) -> list[Recorded]:
        if self._file is None:
            self._file = open_compressed(self._raw)
            octets = self._file.read(len(MARKER))
            if octets == MARKER:
                self._bare = bytearray()
        else:
            octets = self._file.read(READ_OCTETS)
        if not octets:
            self._ended = True
            if self._bare:
                raise MrtError(f"it ends within a message: {len(self._bare)} octets are left")
            self._splitter.finish()
            return []
        if self._bare is not None:
            return self._messages(self._bare, octets)
        return [found for record in self._splitter.feed(octets) if (found := self._decode(record)) is not None]

    def _messages(self, left: bytearray, octets: bytes) -> list[Recorded]:
        left += octets
        found = scan(left, 0, len(left), EXTENDED_MESSAGE_LENGTH)
        if found.error is not None and not found.offsets:
            raise MrtError(f"this is no BGP message: {found.error.reason}")
        if not found.offsets:
            return []
        ends = [*found.offsets[1:], found.end]
        messages = [bytes(left[start:end]) for start, end in zip(found.offsets, ends, strict=True)]
        del left[: found.end]
        return [Recorded(Message(NOBODY, message, self._asn4)) for message in messages]

    def _decode(self, record: Record) -> Recorded | None:
        found: Message | StateChange | PeerIndexTable | Rib | None = None
        try:
            if record.kind in (BGP4MP, BGP4MP_ET):
                found = decode_bgp4mp(record)
            elif record.kind == TABLE_DUMP_V2:
                found = decode_table(record)
        except MrtError as error:
            self._malformed = self._malformed or f"malformed, the first one: {error}"
            self.skipped[self._malformed] += 1
            return None
        if found is None:
            self.skipped[f"{type_name(record.kind)} subtype {record.subtype}"] += 1
            return None
        return Recorded(found, record.time if record.kind != TABLE_DUMP_V2 else None)
