"""Serving the application: on a Unix socket of the user's own, and read-only over TCP."""

import errno
import logging
import os
import socket
import stat
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import hypercorn.trio
import trio
from hypercorn.config import Config
from hypercorn.typing import ASGIFramework

from trio_bgp.control.app import Reload, make_app
from trio_bgp.runtime.speaker import Speaker
from trio_bgp.settings import ControlSettings, Endpoint

__all__ = ["default_socket", "serve"]

logger = logging.getLogger("trio_bgp.control")

BACKLOG: Final = 16


def default_socket() -> str:
    """Where the control socket is if nobody says otherwise: the user's runtime directory, or /run for root."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return str(Path(runtime) / "trio-bgp.sock")
    return "/run/trio-bgp.sock" if os.getuid() == 0 else str(Path.home() / ".trio-bgp.sock")


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
                nursery.start_soon(_serve, make_app(speaker, reload=reload, writable=True), [unix])
            if tcp:
                nursery.start_soon(_serve, make_app(speaker), tcp)
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


async def _serve(app: object, sockets: list[socket.socket]) -> None:
    config = Config()
    config.accesslog = None
    config.errorlog = None
    config.graceful_timeout = 0.1
    # Hypercorn closes what it was given; the listening sockets stay ours.
    config.bind = [f"fd://{os.dup(each.fileno())}" for each in sockets]
    framework: ASGIFramework = app  # type: ignore[assignment]
    await hypercorn.trio.serve(framework, config, shutdown_trigger=trio.sleep_forever, mode="asgi")


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
