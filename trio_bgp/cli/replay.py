"""`trio-bgp replay`: say what was recorded to any BGP speaker."""

import argparse
import math
import signal
import socket
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import trio
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from trio_bgp.cli.client import print_json
from trio_bgp.mrt.messages import Message, Session
from trio_bgp.mrt.records import MrtError
from trio_bgp.mrt.table import PeerEntry, PeerIndexTable, Rib
from trio_bgp.recording.adapter import Choice
from trio_bgp.recording.player import Outcome, ReplaySettings, replay
from trio_bgp.recording.source import Recording
from trio_bgp.runtime.session import sockets
from trio_bgp.settings import AddPathSettings, PeerSettings
from trio_bgp.wire.numbers import FAMILIES, IPV4_UNICAST, IPV6_UNICAST, Family, MessageType

__all__ = ["add_parser", "as_number", "endpoint", "family", "hold_time", "identifier", "run", "seconds", "whole"]


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "replay",
        help="announce a recorded table or stream to any BGP speaker",
        description="Connect to a BGP speaker and say what was recorded: an MRT file of TABLE_DUMP_V2, BGP4MP or "
        "BGP4MP_ET, or BGP messages one after the other; compressed by gzip, bzip2 or xz or not. Exit status 1 if the "
        "session does not come up, or ends before all is said (with --keep: before it is to end).",
    )
    parser.add_argument("file", metavar="FILE", help="'-' for standard input")
    parser.add_argument("--to", metavar="HOST[:PORT]", help="whom to connect to (default port: 179)")
    parser.add_argument("--as", dest="local_as", type=as_number, metavar="N", help="our AS number")
    parser.add_argument("--peer-as", type=as_number, metavar="N", help="the other side's (default: any)")
    parser.add_argument(
        "--peer",
        action="append",
        default=[],
        metavar="WHO",
        help="only what this recorded peer said: "
        "its index, AS and number, or address; may be given again (default: all)",
    )
    parser.add_argument("--list", action="store_true", help="list the recorded peers, and connect to nobody")
    parser.add_argument(
        "--speed",
        type=_speed,
        default=0.0,
        metavar="X",
        help="1: as fast as it was recorded, 2: twice as fast (default: as fast as possible)",
    )
    parser.add_argument(
        "--keep",
        type=seconds,
        nargs="?",
        const=math.inf,
        default=0.0,
        metavar="S",
        help="stay connected afterwards, for S seconds or until interrupted",
    )
    parser.add_argument("--repeat", type=whole, default=1, metavar="N", help="say it N times; 0: for ever")
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=30.0,
        metavar="S",
        help="seconds within which the session has to be up (default: %(default)s)",
    )
    parser.add_argument("--local-address", type=_address, metavar="ADDRESS", help="connect from this address")
    parser.add_argument("--identifier", type=identifier, metavar="A.B.C.D", help="our BGP Identifier")
    parser.add_argument("--hold-time", type=hold_time, default=90, metavar="S", help="offered (default: %(default)s)")
    parser.add_argument(
        "--family",
        action="append",
        type=family,
        metavar="FAMILY",
        help="to offer; may be given again (default: ipv4-unicast and ipv6-unicast)",
    )
    parser.add_argument(
        "--add-path",
        action="store_true",
        help="offer ADD-PATH: all paths of a table, not only the first one to each prefix",
    )
    parser.add_argument(
        "--next-hop",
        action="append",
        default=[],
        metavar="self|ADDRESS",
        help="next hop of all routes of its IP version; may be given again (default: as recorded)",
    )
    parser.add_argument(
        "--unchanged",
        action="store_true",
        help="change nothing of the attributes: put no AS number in front, take out and add no LOCAL_PREF",
    )
    parser.add_argument(
        "--withdraw-lost",
        action="store_true",
        help="when a recorded session ends, withdraw what was said of it (default: its routes stay)",
    )
    parser.add_argument("--as2", action="store_true", help="AS numbers in a file of bare messages have two octets")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=lambda arguments: run(arguments, parser))


def run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Replay: 0; 1 if that fails, 130 if interrupted before the end."""
    try:
        choice = Choice(arguments.peer)
        hops = tuple(each if each == "self" else str(_address(each)) for each in arguments.next_hop)
    except (ValueError, argparse.ArgumentTypeError) as error:
        parser.error(str(error))
    try:
        if arguments.list:
            return _list(arguments)
        if arguments.to is None or arguments.local_as is None:
            parser.error("--to and --as are required, or --list")
        settings = ReplaySettings(
            peer=_peer(arguments),
            local_as=arguments.local_as,
            bgp_identifier=arguments.identifier,
            choice=choice,
            speed=arguments.speed,
            unchanged=arguments.unchanged,
            withdraw_lost=arguments.withdraw_lost,
            next_hops=hops,
            repeat=arguments.repeat,
            keep=arguments.keep,
            timeout=arguments.timeout,
            asn4=not arguments.as2,
        )
        outcome = trio.run(_replay, arguments.file, settings)
    except argparse.ArgumentTypeError as error:
        parser.error(f"--to: {error}")
    except (OSError, MrtError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        print(reason if isinstance(error, MrtError) else f"{arguments.file}: {reason}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if outcome.error:
        print(outcome.error, file=sys.stderr)
    _tell(outcome, as_json=arguments.json)
    return {"": 0, "interrupted": 130}.get(outcome.error, 1)


async def _replay(path: str, settings: ReplaySettings) -> Outcome:
    console = Console(stderr=True)
    stop = trio.Event()
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("connecting", total=None)

        def progress(recording: Recording, outcome: Outcome) -> None:
            bar.update(
                task,
                description=f"{outcome.messages:,} messages, {outcome.announced:,} prefixes",
                total=recording.size or None,
                completed=recording.position,
            )

        async with trio.open_nursery() as nursery:
            if threading.current_thread() is threading.main_thread():
                await nursery.start(_watch_signals, stop)
            try:
                outcome = await replay(path, settings, connect=sockets.connect, progress=progress, stop=stop)
            except OSError as error:
                outcome = Outcome(error=f"{path}: {error.strerror or error}")
            nursery.cancel_scope.cancel()
    return outcome


async def _watch_signals(stop: trio.Event, task_status: trio.TaskStatus[None]) -> None:
    """The first signal ends the session in order, a second one the process."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            if stop.is_set():
                raise KeyboardInterrupt
            stop.set()


def _tell(outcome: Outcome, *, as_json: bool) -> None:
    skipped = dict(outcome.skipped)
    if as_json:
        names = ("error", "messages", "octets", "announced", "withdrawn", "seconds", "updates_received")
        print_json({**{name: getattr(outcome, name) for name in names}, "skipped": skipped})
        return
    print(
        f"{outcome.messages} messages, {outcome.announced} prefixes announced, {outcome.withdrawn} withdrawn "
        f"in {outcome.seconds:.1f} s"
    )
    for what, count in sorted(skipped.items()):
        print(f"not said: {count} x {what}")


def _list(arguments: argparse.Namespace) -> int:
    """The recorded peers, and how much each said."""
    peers: dict[int, PeerEntry | Session] = {}
    index: dict[tuple[int, str], int] = {}
    said: Counter[int] = Counter()
    what = "updates"
    recording = Recording(arguments.file, asn4=not arguments.as2)
    try:
        while values := recording.read():
            for each in values:
                value = each.value
                if isinstance(value, PeerIndexTable):
                    peers, what = dict(enumerate(value.peers)), "routes"
                elif isinstance(value, Rib):
                    said.update(entry.peer for entry in value.entries)
                elif isinstance(value, Message) and not value.local and value.octets[18] == MessageType.UPDATE:
                    key = (value.session.peer_as, str(value.session.peer_address))
                    number = index.setdefault(key, len(index))
                    peers[number] = value.session
                    said[number] += 1
    finally:
        recording.close()
    rows: list[dict[str, Any]] = []
    for number, peer in sorted(peers.items()):
        address, asn = (peer.address, peer.asn) if isinstance(peer, PeerEntry) else (peer.peer_address, peer.peer_as)
        rows.append({"index": number, "address": str(address), "as": asn, what: said[number]})
    if arguments.json:
        print_json(rows)
    else:
        for row in rows:
            print(f"{row['index']:>4}  {row['address']:<39}  AS{row['as']:<10}  {row[what]} {what}")
    return 0


def _peer(arguments: argparse.Namespace) -> PeerSettings:
    host, port = endpoint(arguments.to)
    return PeerSettings(
        name="target",
        address=_resolve(host),
        port=port,
        peer_as=arguments.peer_as or 0,
        families=tuple(arguments.family or (IPV4_UNICAST, IPV6_UNICAST)),
        local_address=arguments.local_address,
        hold_time=arguments.hold_time,
        add_path=AddPathSettings(send=AddPathSettings.ALL if arguments.add_path else 0),
        extended_next_hop=True,
        graceful_restart=False,
    )


def _resolve(host: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        found: Sequence[Any] = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise argparse.ArgumentTypeError(f"{host}: {error.strerror}") from None
    return ip_address(found[0][4][0])


def endpoint(text: str) -> tuple[str, int]:
    """Host and port of `HOST`, `HOST:PORT`, `[ADDRESS]:PORT` or an IPv6 address; the port is 179 if it is not said."""
    host, port = text, "179"
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        port = rest[1:] if rest.startswith(":") else port if bracket and not rest else ""
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if not host or not port.isdecimal() or int(port) > 0xFFFF:
        raise argparse.ArgumentTypeError(f"found {text!r}; accepted: HOST, HOST:PORT or [ADDRESS]:PORT")
    return host, int(port)


def family(text: str) -> Family:
    """The address family of a name."""
    if text not in FAMILIES:
        raise argparse.ArgumentTypeError(f"found {text!r}; accepted: {', '.join(FAMILIES)}")
    return FAMILIES[text]


def identifier(text: str) -> int:
    """A BGP Identifier written as an IPv4 address."""
    try:
        number = int(IPv4Address(text))
    except ValueError:
        number = 0
    if not number:
        raise argparse.ArgumentTypeError(f"found {text!r}; accepted: an IPv4 address other than 0.0.0.0")
    return number


def _address(text: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"found {text!r}; accepted: an IPv4 or IPv6 address") from None


def hold_time(text: str) -> int:
    """A hold time in seconds (RFC 4271, section 4.2)."""
    if not text.isdecimal() or int(text) in (1, 2) or int(text) > 0xFFFF:
        raise argparse.ArgumentTypeError(f"found {text!r}; accepted: 0, or 3 to 65535")
    return int(text)


def whole(text: str) -> int:
    """A number of things."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"found {text!r}; accepted: a whole number of 0 or more")
    return int(text)


def as_number(text: str) -> int:
    """An AS number."""
    if not text.isdecimal() or not 1 <= int(text) <= 0xFFFFFFFF:
        raise argparse.ArgumentTypeError(f"found {text!r}; accepted: 1 to 4294967295")
    return int(text)


def _speed(text: str) -> float:
    value = seconds(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"found {text!r}; accepted: a number above 0")
    return value


def seconds(text: str) -> float:
    """A number of seconds."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"found {text!r}; accepted: a number of 0 or more")
    return value
