"""A wire between daemons and the route server that keeps every octet that passes."""

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

from tests.harness import decoder
from tests.interop.daemons import RS_ADDRESS

END_OF_RIB = (23, 29, 30)
"""Octets of an End-of-RIB, in its forms; nobody says anything else here that is so short."""


class Tap:
    """Takes connections on one port of the route server's address and goes on to another, from the same address.

    Args:
        port: where the daemons connect to.
        server_port: where the route server listens.
    """

    def __init__(self, port: int, server_port: int) -> None:
        self._octets: dict[tuple[str, bool], bytearray] = {}
        self._server_port = server_port
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server((RS_ADDRESS, port))
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(10)

    def ended(self) -> list[tuple[str, int]]:
        """Each End-of-RIB that the route server has said: to which address, and how long it was."""
        return [
            (address, len(each))
            for (address, to_server) in list(self._octets)
            for each in self._messages(address, to_server=to_server)
            if not to_server and each[18] == decoder.UPDATE and len(each) in END_OF_RIB
        ]

    def updates(self, address: str, *, to_server: bool) -> list[bytes]:
        """The UPDATEs, but for End-of-RIB, that have passed between this address and the route server, whole."""
        return [
            each
            for each in self._messages(address, to_server=to_server)
            if each[18] == decoder.UPDATE and len(each) not in END_OF_RIB
        ]

    def _messages(self, address: str, *, to_server: bool) -> list[bytes]:
        octets = bytes(self._octets.get((address, to_server), b""))
        found = []
        while len(octets) >= 19 and len(octets) >= (size := int.from_bytes(octets[16:18], "big")):
            found.append(octets[:size])
            octets = octets[size:]
        return found

    def _accept(self) -> None:
        while True:
            try:
                client, (address, _) = self._listener.accept()
            except OSError:
                return
            server = socket.socket()
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._sockets += [client, server]
            try:
                server.bind((address, 0))
                server.connect((RS_ADDRESS, self._server_port))
            except OSError:
                client.close()
                continue
            for source, target, to_server in ((client, server, True), (server, client, False)):
                kept = self._octets[address, to_server] = bytearray()
                thread = threading.Thread(target=self._pump, args=(source, target, kept), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _pump(self, source: socket.socket, target: socket.socket, kept: bytearray) -> None:
        with contextlib.suppress(OSError):
            while octets := source.recv(1 << 16):
                kept += octets
                target.sendall(octets)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)
