"""Commands that tell a running daemon something, from `clear` to `wait`."""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from trio_bgp.cli.client import ControlError, UnreachableError, add_options, asking, client_of, print_json

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

UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
WAIT_FOR: Final = ("established", "eor", "down")
RETRY_SECONDS: Final = 0.2

Action = Callable[[argparse.Namespace], Any]


def _command(action: Action) -> Callable[[argparse.Namespace], int]:
    def run(arguments: argparse.Namespace) -> int:
        found = action(arguments)
        if getattr(arguments, "json", False):
            print_json(found)
        elif isinstance(found, dict):
            for line in found.get("changes", ()):
                print(line)
        return 0

    return asking(run)


def add_clear_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `clear`."""
    parser = subparsers.add_parser(
        "clear",
        help="end a peer's session, or ask for or send its routes again",
        description="End a peer's session with Cease/Administrative Reset, so that it comes up again. With `soft in` "
        "ask the peer for its routes again (RFC 2918), with `soft out` send it all its routes; the session stays.",
    )
    parser.add_argument("name", metavar="PEER", help="its name or address; `all`: every one that is up")
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
    parser.add_argument("name", metavar="PEER", help="its name or address")
    parser.add_argument("reason", nargs="?", default="", metavar="REASON", help="told to the peer: up to 255 octets")
    add_options(parser)
    parser.set_defaults(command=_command(lambda a: client_of(a).post("do", "shutdown", a.name, text=a.reason)))


def add_enable_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `enable`."""
    parser = subparsers.add_parser(
        "enable", help="let a peer that was shut down have sessions again", description="Undo `trio-bgp shutdown PEER`."
    )
    parser.add_argument("name", metavar="PEER", help="its name or address")
    add_options(parser)
    parser.set_defaults(command=_command(lambda a: client_of(a).post("do", "enable", a.name)))


def add_announce_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `announce`."""
    parser = subparsers.add_parser(
        "announce",
        help="announce a route of our own",
        description="Announce a route of our own to all peers, or several with the same attributes; announcing one "
        "again replaces it, and its time to live.",
    )
    parser.add_argument("prefixes", nargs="+", metavar="PREFIX", help="IPv4 or IPv6")
    parser.add_argument("--next-hop", required=True, metavar="ADDRESS", help="of the same IP version")
    parser.add_argument("--as-path", metavar="'N N ...'", help="behind our AS number (default: empty)")
    parser.add_argument("--origin", choices=("igp", "egp", "incomplete"), help="(default: igp)")
    parser.add_argument("--med", type=int, metavar="N", help="MULTI_EXIT_DISC")
    parser.add_argument("--local-pref", type=int, metavar="N", help="for internal peers (default: 100)")
    parser.add_argument(
        "--community",
        action="append",
        dest="communities",
        metavar="N:N",
        help="or blackhole, no-export, no-advertise, no-peer, graceful-shutdown; may be given again",
    )
    parser.add_argument(
        "--large-community", action="append", dest="large_communities", metavar="N:N:N", help="may be given again"
    )
    parser.add_argument(
        "--extended-community",
        action="append",
        dest="extended_communities",
        metavar="rt:N:N",
        help="or ro:N:N, generic:0xN:0xN; may be given again",
    )
    parser.add_argument("--blackhole", action="store_true", help="--community blackhole (RFC 7999)")
    parser.add_argument("--attributes", metavar="HEX", help="further path attributes, as octets")
    parser.add_argument(
        "--ttl", dest="seconds", type=_time, metavar="TIME", help="withdraw it after so long: 90, 90s, 10m, 2h, 1d"
    )
    add_options(parser)

    def announce(arguments: argparse.Namespace) -> Any:
        names = (
            *("prefixes", "next_hop", "as_path", "origin", "med", "local_pref", "communities", "large_communities"),
            *("extended_communities", "attributes", "seconds"),
        )
        body = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
        if arguments.blackhole:
            body["communities"] = [*body.get("communities", []), "blackhole"]
        return client_of(arguments).post("announce", body=body)

    parser.set_defaults(command=_command(announce))


def _time(text: str) -> float:
    """Seconds, or a number with a unit."""
    unit = UNITS.get(text[-1:], 0)
    try:
        return float(text[:-1]) * unit if unit else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"found {text!r}; accepted: seconds, or as in 10m, 2h, 1d") from None


def add_withdraw_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `withdraw`."""
    parser = subparsers.add_parser(
        "withdraw", help="withdraw a route of our own", description="Withdraw what `trio-bgp announce` announced."
    )
    parser.add_argument("prefixes", nargs="*", metavar="PREFIX", help="one or several")
    parser.add_argument("--all", action="store_true", help="everything that was announced")
    add_options(parser)

    def withdraw(arguments: argparse.Namespace) -> Any:
        if bool(arguments.prefixes) == arguments.all:
            parser.error("accepted: PREFIX, or --all")
        body = {"all": True} if arguments.all else {"prefixes": arguments.prefixes}
        return client_of(arguments).post("withdraw", body=body)

    parser.set_defaults(command=_command(withdraw))


def add_wait_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `wait`."""
    parser = subparsers.add_parser(
        "wait",
        help="wait until a peer is up, has sent all, or has announced a prefix",
        description="Wait until a peer is established (or down), has said End-of-RIB for all its families, or has "
        "announced a prefix; also for the daemon itself, if it is only being started. Exit status 1 if that does not "
        "happen in time.",
    )
    parser.add_argument("name", metavar="PEER", help="its name or address")
    parser.add_argument("what", metavar="established|eor|down|PREFIX")
    parser.add_argument(
        "--timeout", type=float, default=60.0, metavar="S", help="seconds to wait (default: %(default)s)"
    )
    add_options(parser)

    def wait(arguments: argparse.Namespace) -> Any:
        what = arguments.what
        plain = what in WAIT_FOR
        until = time.monotonic() + arguments.timeout
        while True:
            left = until - time.monotonic()
            try:
                return client_of(arguments).get(
                    "wait",
                    peer=arguments.name,
                    for_=what if plain else "prefix",
                    prefix=None if plain else what,
                    timeout=f"{max(0.0, left) if left < arguments.timeout - 1 else arguments.timeout:g}",
                )
            except UnreachableError:
                if left < RETRY_SECONDS:
                    raise
                time.sleep(RETRY_SECONDS)

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
    parser.add_argument("--exit-code", action="store_true", help="exit status 1 if anything would change")
    add_options(parser)

    def run(arguments: argparse.Namespace) -> int:
        path = None if arguments.config is None else str(arguments.config.resolve())
        found = client_of(arguments).get("diff", config=path)
        if arguments.json:
            print_json(found)
        else:
            print("\n".join(found["changes"]) or "nothing")
        return 1 if arguments.exit_code and found["changes"] else 0

    parser.set_defaults(command=asking(run))
