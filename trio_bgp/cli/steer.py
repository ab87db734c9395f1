"""Commands that tell a running daemon something, from `clear` to `wait`."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trio_bgp.cli.client import ControlError, add_options, client_of, print_json

__all__ = [
    "add_announce_parser",
    "add_clear_parser",
    "add_diff_parser",
    "add_dump_parser",
    "add_enable_parser",
    "add_reload_parser",
    "add_shutdown_parser",
    "add_wait_parser",
    "add_withdraw_parser",
]

Subparsers = "argparse._SubParsersAction[argparse.ArgumentParser]"
Action = Callable[[argparse.Namespace], Any]


def _command(action: Action) -> Callable[[argparse.Namespace], int]:
    def run(arguments: argparse.Namespace) -> int:
        try:
            found = action(arguments)
        except ControlError as error:
            print(error, file=sys.stderr)
            return 1
        if getattr(arguments, "json", False):
            print_json(found)
        elif isinstance(found, dict):
            for line in found.get("changes", ()):
                print(line)
        return 0

    return run


def add_clear_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `clear`."""
    parser = subparsers.add_parser(
        "clear",
        help="end a peer's session, or ask for or send its routes again",
        description="End a peer's session with Cease/Administrative Reset, so that it comes up again. With `soft in` "
        "ask the peer for its routes again (RFC 2918), with `soft out` send it all its routes; the session stays.",
    )
    parser.add_argument("name", metavar="PEER")
    parser.add_argument("soft", nargs="*", metavar="soft in|out", help="without ending the session")
    add_options(parser)

    def clear(arguments: argparse.Namespace) -> Any:
        words = tuple(arguments.soft)
        verbs = {(): "clear", ("soft", "in"): "clear-in", ("soft", "out"): "clear-out"}
        if words not in verbs:
            parser.error(f"found {' '.join(words)!r}; accepted: nothing, 'soft in' or 'soft out'")
        return client_of(arguments).post("do", verbs[words], arguments.name)

    parser.set_defaults(command=_command(clear))


def add_shutdown_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `shutdown`."""
    parser = subparsers.add_parser(
        "shutdown",
        help="end a peer's session and keep it down",
        description="End a peer's session with Cease/Administrative Shutdown and a text (RFC 9003), and make no other "
        "until `trio-bgp enable PEER`.",
    )
    parser.add_argument("name", metavar="PEER")
    parser.add_argument("reason", nargs="?", default="", metavar="REASON", help="told to the peer")
    add_options(parser)
    parser.set_defaults(command=_command(lambda a: client_of(a).post("do", "shutdown", a.name, text=a.reason)))


def add_enable_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `enable`."""
    parser = subparsers.add_parser(
        "enable", help="let a peer that was shut down have sessions again", description="Undo `trio-bgp shutdown PEER`."
    )
    parser.add_argument("name", metavar="PEER")
    add_options(parser)
    parser.set_defaults(command=_command(lambda a: client_of(a).post("do", "enable", a.name)))


def add_announce_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `announce`."""
    parser = subparsers.add_parser(
        "announce",
        help="announce a route of our own",
        description="Announce a route of our own to all peers; announcing it again replaces it.",
    )
    parser.add_argument("prefix", metavar="PREFIX")
    parser.add_argument("--next-hop", required=True, metavar="ADDRESS")
    parser.add_argument("--as-path", metavar="'N N ...'", help="behind our AS number (default: empty)")
    parser.add_argument("--med", type=int, metavar="N")
    parser.add_argument("--local-pref", type=int, metavar="N", help="for internal peers (default: 100)")
    parser.add_argument("--community", action="append", dest="communities", metavar="N:N", help="may be given again")
    parser.add_argument("--seconds", type=float, metavar="S", help="withdraw it after this time")
    add_options(parser)

    def announce(arguments: argparse.Namespace) -> Any:
        names = ("prefix", "next_hop", "as_path", "med", "local_pref", "communities", "seconds")
        body = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
        return client_of(arguments).post("announce", body=body)

    parser.set_defaults(command=_command(announce))


def add_withdraw_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `withdraw`."""
    parser = subparsers.add_parser(
        "withdraw", help="withdraw a route of our own", description="Withdraw what `trio-bgp announce` announced."
    )
    parser.add_argument("prefix", metavar="PREFIX")
    add_options(parser)
    parser.set_defaults(command=_command(lambda a: client_of(a).post("withdraw", body={"prefix": a.prefix})))


def add_wait_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `wait`."""
    parser = subparsers.add_parser(
        "wait",
        help="wait until a peer is up, has sent all, or has announced a prefix",
        description="Wait until a peer is established, has said End-of-RIB for all its families, or has announced a "
        "prefix. Exit status 1 if that does not happen in time.",
    )
    parser.add_argument("name", metavar="PEER")
    parser.add_argument("what", metavar="established|eor|PREFIX")
    parser.add_argument(
        "--timeout", type=float, default=60.0, metavar="S", help="seconds to wait (default: %(default)s)"
    )
    add_options(parser)

    def wait(arguments: argparse.Namespace) -> Any:
        plain = arguments.what in ("established", "eor")
        return client_of(arguments).get(
            "wait",
            peer=arguments.name,
            for_=arguments.what if plain else "prefix",
            prefix=None if plain else arguments.what,
            timeout=arguments.timeout,
        )

    parser.set_defaults(command=_command(wait))


def add_dump_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `dump`."""
    parser = subparsers.add_parser(
        "dump",
        help="write all routes as an MRT file",
        description="Write all routes of all peers as MRT, TABLE_DUMP_V2 (RFC 6396, RFC 8050).",
    )
    parser.add_argument("format", choices=["mrt"])
    parser.add_argument("file", type=Path, metavar="FILE", help="'-' for standard output")
    add_options(parser, output=False)

    def dump(arguments: argparse.Namespace) -> None:
        pieces = client_of(arguments).octets("dump")
        if str(arguments.file) == "-":
            for piece in pieces:
                sys.stdout.buffer.write(piece)
            return
        try:
            with arguments.file.open("wb") as file:
                for piece in pieces:
                    file.write(piece)
        except OSError as error:
            raise ControlError(f"{arguments.file}: {error.strerror}") from None

    parser.set_defaults(command=_command(dump))


def add_reload_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `reload`."""
    parser = subparsers.add_parser(
        "reload",
        help="take over the changed configuration file",
        description="Let the daemon read its configuration file again, as SIGHUP does: peers are added, removed and "
        "changed. A wrong file changes nothing.",
    )
    add_options(parser)
    parser.set_defaults(command=_command(lambda a: client_of(a).post("reload")))


def add_diff_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `diff`."""
    parser = subparsers.add_parser(
        "diff",
        help="say what a reload would change",
        description="Compare a configuration file with what the daemon runs with, and say which sessions a reload "
        "would end.",
    )
    parser.add_argument(
        "config", nargs="?", type=Path, metavar="CONFIG", help="a TOML file (default: the daemon's own)"
    )
    add_options(parser)

    def diff(arguments: argparse.Namespace) -> Any:
        path = None if arguments.config is None else str(arguments.config.resolve())
        return client_of(arguments).get("diff", config=path)

    parser.set_defaults(command=_command(diff))
