"""Asking a running daemon: HTTP over its Unix socket."""

import argparse
import contextlib
import http.client
import json
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from trio_bgp.config.places import default_socket

__all__ = ["Client", "ControlError", "UnreachableError", "add_options", "asking", "client_of", "print_json"]


NO_DAEMON: Final = 3
"""Exit status if no daemon answers."""
INTERRUPTED: Final = 130

Command = Callable[[argparse.Namespace], int]


class ControlError(Exception):
    """The daemon refused; the message says why."""

    status = 1
    """Of the process that ends because of it."""


class UnreachableError(ControlError):
    """No daemon answers, or one has stopped to."""

    status = NO_DAEMON


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("localhost")
        self._path = path
        self._seconds = timeout

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._seconds)
        self.sock.connect(self._path)


class Client:
    """A daemon's control socket.

    Args:
        path: of the socket.
        timeout: seconds in which the daemon has to say something; None: any time.
    """

    def __init__(self, path: str, timeout: float | None = None) -> None:
        self.path = path
        self._timeout = timeout

    def get(self, *path: str, **query: Any) -> Any:
        """Ask; the JSON of the answer.

        Raises:
            ControlError: nobody answers there, or the answer is an error.
        """
        with self._request("GET", path, query) as response:
            return json.loads(response.read())

    def post(self, *path: str, body: Mapping[str, Any] | None = None, **query: Any) -> Any:
        """Tell; the JSON of the answer. Errors as for `get`."""
        with self._request("POST", path, query, body) as response:
            return json.loads(response.read())

    def lines(self, *path: str, **query: Any) -> Iterator[Any]:
        """Ask for a stream; the JSON of each line as it comes. Errors as for `get`."""
        with self._request("GET", path, query) as response:
            # Its own `readline` takes an answer that breaks off for one that is complete.
            kept = b""
            while piece := response.read1(1 << 16):
                *lines, kept = (kept + piece).split(b"\n")
                for line in lines:
                    yield json.loads(line)

    def octets(self, *path: str) -> Iterator[bytes]:
        """Ask for octets, in pieces. Errors as for `get`."""
        with self._request("GET", path, {}) as response:
            while piece := response.read(1 << 16):
                yield piece

    @contextlib.contextmanager
    def _request(
        self, method: str, path: tuple[str, ...], query: Mapping[str, Any], body: Mapping[str, Any] | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        wanted = {key.rstrip("_"): value for key, value in query.items() if value not in (None, "")}
        target = "/v1/" + "/".join(quote(each, safe="") for each in path)
        if wanted:
            target += "?" + urlencode(wanted, doseq=True)
        with contextlib.closing(_Connection(self.path, self._timeout)) as connection:
            try:
                connection.request(
                    method, target, None if body is None else json.dumps(body), {"Content-Type": "application/json"}
                )
                response = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                reason = getattr(error, "strerror", None) or str(error)
                raise UnreachableError(
                    f"no daemon answers on {self.path} ({reason}); is it running? --socket names another"
                ) from None
            with response:
                if response.status >= 400:
                    raise ControlError(_reason(response))
                try:
                    yield response
                except (http.client.HTTPException, ConnectionError, TimeoutError):
                    raise UnreachableError("the daemon ended the connection before it had said all") from None


def _reason(response: http.client.HTTPResponse) -> str:
    text = response.read().decode(errors="replace")
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return f"{response.status} {response.reason}: {text}"


def asking(command: Command) -> Command:
    """A command that may fail, be interrupted, or have its reader gone, with the exit status of each."""

    def run(arguments: argparse.Namespace) -> int:
        try:
            status = command(arguments)
            sys.stdout.flush()
        except ControlError as error:
            print(error, file=sys.stderr)
            return error.status
        except KeyboardInterrupt:
            return INTERRUPTED
        except BrokenPipeError:
            # Whoever read has seen enough; nothing is left to be flushed into the closed pipe at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        return status

    return run


def add_options(parser: argparse.ArgumentParser, *, output: bool = True) -> None:
    """The options that every command to a daemon has."""
    parser.add_argument(
        "--socket",
        default="",
        metavar="PATH",
        help="the daemon's control socket (default: $TRIO_BGP_SOCKET, or the usual place)",
    )
    if output:
        parser.add_argument("--json", action="store_true", help="print JSON")


def client_of(arguments: argparse.Namespace) -> Client:
    """The daemon that a command is for."""
    return Client(arguments.socket or os.environ.get("TRIO_BGP_SOCKET") or default_socket())


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    json.dump(value, sys.stdout, indent=1)
    print()
