"""Files of recordings: named by time, compressed, begun anew in time; and read whichever way they are compressed."""

import bz2
import contextlib
import gzip
import io
import lzma
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Final

from trio_bgp.settings import Compression

__all__ = ["RotatingFile", "open_compressed", "open_for_writing"]

PART: Final = ".part"
"""What the name of a file ends with that is still written to."""
_MAGIC: Final = (
    (b"\x1f\x8b", Compression.GZIP),
    (b"BZh", Compression.BZ2),
    (b"\xfd7zXZ\0", Compression.XZ),
)


def open_for_writing(path: Path, compression: Compression) -> io.BufferedIOBase:
    """Begin a file.

    Raises:
        OSError: it cannot be.
    """
    if compression is Compression.GZIP:
        return gzip.open(path, "xb", compresslevel=6)
    if compression is Compression.BZ2:
        return bz2.open(path, "xb")
    if compression is Compression.XZ:
        return lzma.open(path, "xb")
    return path.open("xb")


def open_compressed(raw: io.BufferedReader) -> io.BufferedIOBase:
    """The octets of a file that may be compressed, by how it begins; what it is called does not count."""
    begin = raw.peek(6)[:6]
    compression = next((each for magic, each in _MAGIC if begin.startswith(magic)), Compression.NONE)
    if compression is Compression.GZIP:
        return gzip.open(raw)
    if compression is Compression.BZ2:
        return bz2.open(raw)
    if compression is Compression.XZ:
        return lzma.open(raw)
    return raw


class RotatingFile:
    """A series of files; all methods but the constructor wait for the disk, so they are for a thread.

    A file is called by the time in which it began, and `NAME.part` until it is complete. No file is ever overwritten:
    if the name is taken a number is added.

    Args:
        pattern: their path, with directives of strftime, in UTC; folders are made.
        compression: how they are compressed; the suffix is added unless the pattern has it.
        seconds: a file ends at multiples of so many; 0: not because of time.
        octets: and with so many octets in it; 0: not because of that.
    """

    def __init__(self, pattern: str, compression: Compression, seconds: int = 0, octets: int = 0) -> None:
        self._pattern = pattern if pattern.endswith(compression.suffix) else pattern + compression.suffix
        self._compression = compression
        self._seconds = seconds
        self._octets = octets
        self._file: io.BufferedIOBase | None = None
        self._path = Path()
        self._ends = 0.0
        self._written = 0

    def period(self, now: float) -> int:
        """Records of times with the same one may be in one file."""
        return int(now // self._seconds) if self._seconds else 0

    def write(self, octets: bytes, now: float) -> None:
        """Append whole records of the time `now`, in seconds since 1970.

        Raises:
            OSError: not all of it could be written; the next ones go to another file.
        """
        self.rotate(now)
        file = self._begin(now) if self._file is None else self._file
        try:
            file.write(octets)
        except OSError:
            self.abandon()
            raise
        self._written += len(octets)

    def flush(self) -> None:
        """Let others read what was written, as far as the compression allows.

        Raises:
            OSError: it could not be written; what comes next goes to another file.
        """
        if self._file is not None:
            try:
                self._file.flush()
            except OSError:
                self.abandon()
                raise

    def abandon(self) -> None:
        """Forget a file that cannot be written to; it stays incomplete, or goes if it is empty."""
        file, self._file = self._file, None
        if file is None:
            return
        with contextlib.suppress(OSError):
            file.close()
        part = Path(f"{self._path}{PART}")
        with contextlib.suppress(OSError):
            if not part.stat().st_size:
                part.unlink()

    def rotate(self, now: float) -> None:
        """Complete the file if its time is over, or its size reached.

        Raises:
            OSError: what was left could not be written.
        """
        if self.due(now):
            self.close()

    def due(self, now: float) -> bool:
        """Whether there is a file to complete; does not wait for the disk."""
        over = bool(self._seconds) and now >= self._ends
        return self._file is not None and (over or 0 < self._octets <= self._written)

    def close(self) -> Path | None:
        """Complete the file: its path, None if there is none.

        Raises:
            OSError: what was left could not be written.
        """
        file, self._file = self._file, None
        if file is None:
            return None
        file.close()
        Path(f"{self._path}{PART}").rename(self._path)
        return self._path

    def _begin(self, now: float) -> io.BufferedIOBase:
        began = now // self._seconds * self._seconds if self._seconds else now
        self._ends = began + self._seconds
        self._written = 0
        name = datetime.fromtimestamp(began, UTC).strftime(self._pattern)
        suffix = self._compression.suffix
        stem = name.removesuffix(suffix)
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        for number in count(1):
            self._path = Path(name if number == 1 else f"{stem}-{number}{suffix}")
            if self._path.exists():
                continue
            try:
                file = open_for_writing(Path(f"{self._path}{PART}"), self._compression)
            except FileExistsError:
                continue  # of a daemon that was killed, or one that runs
            break
        self._file = file
        return file
