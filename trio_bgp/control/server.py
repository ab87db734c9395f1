"""Serving the application: on a Unix socket of the user's own, and read-only over TCP."""

import contextlib
import errno
import logging
import os
import socket
import stat
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState, LifespanState
from starlette.types import ASGIApp

from trio_bgp.control.app import Reload, make_app, make_looking_glass
from trio_bgp.runtime.speaker import Speaker
from trio_bgp.settings import ControlSettings, Endpoint

__all__ = ["serve"]

logger = logging.getLogger("trio_bgp.control")

BACKLOG: Final = 64
COMMANDS: Final = 64
"""Connections to the control socket at the same time; further ones are closed."""
VISITORS: Final = 256
"""Connections to the looking glass at the same time."""
IDLE_SECONDS: Final = 30.0
SEND_SECONDS: Final = 60.0
"""How long a client may read nothing of what it asked for."""
OVER_SECONDS: Final = 0.2
PIECE: Final = 1 << 16


async def serve(
    speaker: Speaker,
    settings: ControlSettings,
    reload: Reload | None,
    *,
    task_status: trio.TaskStatus[list[Endpoint]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; the sockets are removed then.

    Started with the addresses of the looking glass.

    Raises:
        OSError: an address cannot be listened on, or the Unix socket is another daemon's.
    """
    path = settings.socket
    unix: socket.socket | None = None
    tcp: list[socket.socket] = []
    try:
        if path is not None:
            unix = _listen_unix(path)
        for endpoint in settings.listen:
            # One by one: those that are open are closed again below if the next cannot be.
            tcp.append(_listen_tcp(endpoint))  # noqa: PERF401
        async with trio.open_nursery() as nursery:
            if unix is not None:
                nursery.start_soon(_serve, make_app(speaker, reload), [unix], COMMANDS)
            if tcp:
                nursery.start_soon(_serve, make_looking_glass(speaker, settings.rate_limit), tcp, VISITORS)
            task_status.started([_endpoint(each) for each in tcp])
            await trio.sleep_forever()
    finally:
        for each in tcp:
            each.close()
        if unix is not None and path is not None:
            unix.close()
            _remove(path)


def _remove(path: str) -> None:
    Path(path).unlink(missing_ok=True)


async def _serve(app: ASGIApp, listeners: Sequence[socket.socket], most: int) -> None:
    """Serve with hypercorn's Trio worker; cancelled, it takes no client's leave.

    Hypercorn's own `serve` keeps what accepts connections to itself. Here it is ours, so that there are at most `most`
    of them, and so that a client that reads nothing more is let go.
    """
    config = Config()
    config.accesslog = None
    config.errorlog = None
    config.keep_alive_timeout = IDLE_SECONDS
    framework = ASGIWrapper(app)  # type: ignore[arg-type]
    context = WorkerContext(None)
    places = trio.Semaphore(most)

    async def handle(stream: trio.SocketStream) -> None:
        async with trio.open_nursery() as nursery:
            patient = _Patient(stream)
            connection: Any = patient
            nursery.start_soon(_let_go, stream)
            nursery.start_soon(_end_soon, patient, nursery.cancel_scope)
            with contextlib.suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                await TCPServer(framework, config, context, ConnectionState(LifespanState({})), connection)
            nursery.cancel_scope.cancel()

    async def handle_if_room(stream: trio.SocketStream) -> None:
        try:
            places.acquire_nowait()
        except trio.WouldBlock:
            await trio.aclose_forcefully(stream)
            return
        try:
            await handle(stream)
        finally:
            places.release()

    trio_listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(each)) for each in listeners]
    await trio.serve_listeners(handle_if_room, trio_listeners)


async def _let_go(stream: trio.SocketStream) -> None:
    """End the connection when this is cancelled: hypercorn shields what it sends from cancellation."""
    try:
        await trio.sleep_forever()
    finally:
        with contextlib.suppress(OSError):
            stream.socket.shutdown(socket.SHUT_RDWR)


async def _end_soon(patient: "_Patient", scope: trio.CancelScope) -> None:
    """End what hypercorn keeps for an ended connection: its timer for idle ones would run on."""
    await patient.over.wait()
    await trio.sleep(OVER_SECONDS)
    scope.cancel()


class _Patient(trio.abc.HalfCloseableStream):
    """A stream to a client whose patience with a client that reads nothing has an end."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self.socket = stream.socket
        """Hypercorn asks it for addresses."""
        self.over = trio.Event()
        """Nothing more comes from the client, or goes to it."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        # In pieces, each with time of its own: who reads slowly is not who reads nothing.
        for start in range(0, len(data), PIECE):
            with trio.move_on_after(SEND_SECONDS) as scope:
                await self._stream.send_all(memoryview(data)[start : start + PIECE])
            if scope.cancelled_caught:
                await trio.aclose_forcefully(self._stream)
                raise trio.BrokenResourceError(f"the client has read nothing for {SEND_SECONDS:g} s")

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        octets = b""
        try:
            octets = bytes(await self._stream.receive_some(max_bytes))
        finally:
            if not octets:
                self.over.set()
        return octets

    async def send_eof(self) -> None:
        # Hypercorn says so in the application's task, which the end of the answer may just have cancelled.
        with trio.CancelScope(shield=True):
            await self._stream.send_eof()

    async def aclose(self) -> None:
        self.over.set()
        await self._stream.aclose()


def _listen_unix(path: str) -> socket.socket:
    """A listening Unix socket that only its owner can connect to."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except FileNotFoundError:
            pass
        except ConnectionRefusedError:
            if stat.S_ISSOCK(Path(path).stat().st_mode):
                Path(path).unlink()  # its daemon is gone
        else:
            raise OSError(errno.EADDRINUSE, f"another daemon answers on {path}")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        mask = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(mask)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"cannot listen on {path}: {error.strerror or error}") from None
    return listener


def _listen_tcp(endpoint: Endpoint) -> socket.socket:
    family = socket.AF_INET6 if endpoint.address.version == 6 else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((str(endpoint.address), endpoint.port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"cannot listen on {endpoint}: {error.strerror}") from None
    return listener


def _endpoint(listener: socket.socket) -> Endpoint:
    host, port = listener.getsockname()[:2]
    return Endpoint(ip_address(host), port)
