"""A speaker over a real socket that says octets as they are, and keeps what it hears."""

import socket
import threading
from types import TracebackType

from tests.harness import decoder
from tests.harness.decoder import V4, Family
from tests.interop.daemons import RS_ADDRESS, wait_for


class RawSpeaker:
    """One session over TCP; a thread reads.

    Attributes:
        messages: whole messages, as heard.
        closed: the other side ended the connection.

    Args:
        address: its own.
        asn: its own.
        port: where the other side listens.
        server: the other side's address.
        families: to offer.
    """

    def __init__(
        self, address: str, asn: int, port: int, *, server: str = RS_ADDRESS, families: tuple[Family, ...] = (V4,)
    ) -> None:
        self.messages: list[bytes] = []
        self.closed = threading.Event()
        self._open = decoder.open_message(
            asn, int.from_bytes(socket.inet_aton(address), "big"), hold_time=0, families=families
        )
        self._where = (server, port)
        self._socket = socket.socket()
        self._socket.bind((address, 0))
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> "RawSpeaker":
        self._socket.connect(self._where)
        self._socket.sendall(self._open)
        self._thread.start()
        wait_for(lambda: self.kinds(decoder.KEEPALIVE), bool)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()

    def cut(self) -> None:
        """End the connection without a word."""
        if self._socket.fileno() >= 0:
            self._socket.shutdown(socket.SHUT_RDWR) if not self.closed.is_set() else None
            self._thread.join(10)
            self._socket.close()

    def say(self, octets: bytes | bytearray | memoryview) -> None:
        """Send octets as they are."""
        self._socket.sendall(octets)

    def kinds(self, kind: int) -> list[bytes]:
        """The messages of a type heard so far."""
        return [each for each in self.messages[:] if each[18] == kind]

    def held(self) -> dict[bytes, bytes]:
        """The IPv4 routes that the UPDATEs heard so far amount to: each prefix's attributes, as octets."""
        return replay(self.kinds(decoder.UPDATE))

    def _read(self) -> None:
        pending = bytearray()
        try:
            while octets := self._socket.recv(1 << 18):
                pending += octets
                position = 0
                while len(pending) - position >= 19:
                    size = int.from_bytes(pending[position + 16 : position + 18], "big")
                    if len(pending) - position < size:
                        break
                    whole = bytes(pending[position : position + size])
                    position += size
                    if whole[18] == decoder.OPEN:
                        self._socket.sendall(decoder.message(decoder.KEEPALIVE))
                    self.messages.append(whole)
                del pending[:position]
        except OSError:
            pass
        self.closed.set()


def replay(updates: list[bytes]) -> dict[bytes, bytes]:
    """What IPv4 UPDATEs amount to: each prefix with the octets of its path attributes."""
    held: dict[bytes, bytes] = {}
    for whole in updates:
        withdrawn = 21 + int.from_bytes(whole[19:21], "big")
        attributes = withdrawn + 2 + int.from_bytes(whole[withdrawn : withdrawn + 2], "big")
        for prefix, _ in decoder.prefixes(whole[21:withdrawn]):
            held.pop(prefix, None)
        block = whole[withdrawn + 2 : attributes]
        for prefix, _ in decoder.prefixes(whole[attributes:]):
            held[prefix] = block
    return held
