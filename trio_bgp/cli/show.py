"""`trio-bgp show` and `trio-bgp explain`: what a running daemon has, and why."""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trio_bgp.cli.client import Client, ControlError, add_options, client_of, print_json

__all__ = ["add_explain_parser", "add_parser", "console", "peers_table", "run", "run_explain"]

GOOD, BAD = "green", "red"


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `show`."""
    parser = subparsers.add_parser(
        "show",
        help="show peers, routes, groups or memory of a running daemon",
        description="Show what a running daemon has.",
    )
    what = parser.add_subparsers(title="what", metavar="WHAT", dest="what", required=True)
    for name, text in (
        ("status", "the whole in a few figures"),
        ("peers", "all peers, a line each"),
        ("groups", "receivers that share octets, and how much went unchanged"),
        ("memory", "what is kept, and how much of it"),
        ("bmp", "BMP stations, and how they keep up"),
    ):
        add_options(what.add_parser(name, help=text, description=f"Show {text}."))
    peer = what.add_parser("peer", help="one peer in detail", description="Show one peer in detail.")
    peer.add_argument("name", metavar="PEER", help="its name or address")
    add_options(peer)
    route = what.add_parser(
        "route",
        help="routes",
        description="Show routes: all, or those of a prefix, a peer, an address family.",
    )
    route.add_argument("prefix", nargs="?", metavar="PREFIX", help="a prefix, or an address")
    match = route.add_mutually_exclusive_group()
    match.add_argument(
        "--longest-match", dest="match", action="store_const", const="longest", help="what covers PREFIX"
    )
    match.add_argument("--or-longer", dest="match", action="store_const", const="longer", help="PREFIX and all inside")
    route.add_argument("--from", dest="source", metavar="PEER", help="announced by PEER")
    route.add_argument("--to", dest="receiver", metavar="PEER", help="as PEER gets it")
    route.add_argument("--family", metavar="FAMILY", help="of one address family, as in ipv6-unicast")
    add_options(route)
    parser.set_defaults(command=run)


def add_explain_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `explain`."""
    parser = subparsers.add_parser(
        "explain",
        help="say why a peer gets which paths to a prefix",
        description="Say of each path to a prefix whether a peer gets it, how, and if not, why.",
    )
    parser.add_argument("prefix", metavar="PREFIX")
    parser.add_argument("receiver", metavar="PEER")
    parser.add_argument("--family", metavar="FAMILY", help="the address family, as in l2vpn-evpn (PREFIX in hex then)")
    add_options(parser)
    parser.set_defaults(command=run_explain)


def run(arguments: argparse.Namespace) -> int:
    """Show something; 1 if the daemon cannot be asked."""
    client = client_of(arguments)
    try:
        return _SHOW[arguments.what](client, arguments)
    except ControlError as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:
        sys.stderr.close()
        return 0


def run_explain(arguments: argparse.Namespace) -> int:
    """Explain; 1 if the daemon cannot be asked, or has no answer."""
    try:
        found = client_of(arguments).get(
            "explain", prefix=arguments.prefix, to=arguments.receiver, family=arguments.family
        )
    except ControlError as error:
        print(error, file=sys.stderr)
        return 1
    if arguments.json:
        print_json(found)
        return 0
    print(f"{found['prefix']} ({found['family']}) to {found['to']}: {found['verdict']}")
    for path in found["paths"]:
        print(f"  from {path['from']}: {path['verdict']}, {path['why']}")
        print(f"    AS path {path.get('as_path') or '-'}, next hop {path.get('next_hop', '-')}")
    return 0


def console() -> Console:
    """Colour and the terminal's width on a terminal, neither elsewhere."""
    return Console() if sys.stdout.isatty() else Console(width=200, no_color=True, highlight=False)


def _table(columns: Sequence[str]) -> Table:
    """A table with these columns; `>` behind a name: numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name.removesuffix(">"), justify="right" if name.endswith(">") else "left", no_wrap=True)
    return table


def _number(value: Any) -> str:
    return "" if value is None else f"{value:,}"


def peers_table(peers: Iterable[dict[str, Any]]) -> Table:
    """All peers, a line each."""
    table = _table(
        ("Peer", "AS>", "Address", "Role", "State", "Uptime>", "Paths>", "In>", "Out>", "Queue>", "Lag>", "Last end")
    )
    for peer in peers:
        up = peer["state"] == "Established"
        last = peer.get("last_end", "")
        if "disabled" in peer:
            last = "disabled" + (f": {peer['disabled']}" if peer["disabled"] else "")
        table.add_row(
            peer["name"],
            str(peer["as"]),
            peer["address"],
            peer["role"],
            Text(peer["state"] + (" (catching up)" if peer.get("catching_up") else ""), GOOD if up else BAD),
            _duration(peer["uptime"]) if "uptime" in peer else "",
            _number(peer.get("prefixes")),
            _number(peer.get("updates_received")),
            _number(peer.get("updates_sent")),
            _number(peer.get("queued_octets")),
            f"{peer['lag']:.1f} s" if "lag" in peer else "",
            last[:60],
        )
    return table


def _duration(seconds: float) -> str:
    whole = int(seconds)
    days, rest = divmod(whole, 86400)
    clock = f"{rest // 3600:02}:{rest % 3600 // 60:02}:{rest % 60:02}"
    return f"{days}d {clock}" if days else clock


def _show_peers(client: Client, arguments: argparse.Namespace) -> int:
    peers = client.get("peers")
    if arguments.json:
        print_json(peers)
    else:
        console().print(peers_table(peers))
    return 0


def _show_fields(client: Client, arguments: argparse.Namespace) -> int:
    """`status`, `memory` and `peer`: what is told, a line each."""
    path = ["peers", arguments.name] if arguments.what == "peer" else [arguments.what]
    found = client.get(*path)
    if arguments.json:
        print_json(found)
        return 0
    for key, value in found.items():
        if isinstance(value, dict):
            value = ", ".join(
                f"{name} {_number(count)}" if type(count) is int else f"{name} {count}" for name, count in value.items()
            )
        elif isinstance(value, list):
            value = ", ".join(map(str, value))
        elif type(value) is int and key not in ("as", "local_as"):
            value = _number(value)
        print(f"{key.replace('_', ' '):<20} {value if value not in ('', None) else '-'}")
    return 0


def _show_groups(client: Client, arguments: argparse.Namespace) -> int:
    groups = client.get("groups")
    if arguments.json:
        print_json(groups)
        return 0
    table = _table(("Members", "Role", "Unchanged>", "Share>", "Repacked", "Split>", "Withheld", "Negotiated"))
    for group in groups:
        members = group["members"]
        table.add_row(
            ", ".join(members) if len(members) <= 3 else f"{len(members)} peers",
            group["role"],
            _number(group["unchanged"]),
            f"{group['share_unchanged']:.1%}",
            ", ".join(f"{why} {_number(count)}" for why, count in group["repacked"].items()),
            _number(group["split"]),
            ", ".join(f"{why} {_number(count)}" for why, count in group["withheld"].items()),
            group["negotiated"],
        )
    console().print(table)
    return 0


def _show_bmp(client: Client, arguments: argparse.Namespace) -> int:
    stations = client.get("bmp")
    if arguments.json:
        print_json(stations)
        return 0
    table = _table(
        ("Station", "State", "Uptime>", "Monitor", "Peers", "Sessions>", "Sent>", "Queue>", "Dropped>", "Last end")
    )
    for station in stations:
        up = station["state"] == "up"
        table.add_row(
            station["address"],
            Text(station["state"], GOOD if up else BAD),
            _duration(station["uptime"]) if up else "",
            ", ".join(station["monitor"]),
            ", ".join(station["peers"]) or "all",
            _number(station["sessions"]),
            _number(station["messages_sent"]),
            _number(station["queued_octets"]),
            _number(station["messages_dropped"]),
            station["last_end"][:60],
        )
    console().print(table)
    return 0


def _show_route(client: Client, arguments: argparse.Namespace) -> int:
    routes = client.lines(
        "routes",
        prefix=arguments.prefix,
        match=arguments.match,
        from_=arguments.source,
        to=arguments.receiver,
        family=arguments.family,
    )
    count = 0
    for route in routes:
        count += 1
        if arguments.json:
            print(json.dumps(route))
            continue
        communities = " ".join(route.get("communities", []) + route.get("large_communities", []))
        print(
            f"{'*' if route['best'] else ' '} {route['prefix']:<22} from {route['from']:<16} "
            f"via {route.get('next_hop', '-'):<16} path {route.get('as_path') or '-'}"
            + (f" med {route['med']}" if "med" in route else "")
            + (f" communities {communities}" if communities else "")
            + (" stale" if route.get("stale") else "")
        )
    if not count and not arguments.json:
        print("no routes", file=sys.stderr)
    return 0 if count else 1


_SHOW = {
    "status": _show_fields,
    "memory": _show_fields,
    "peer": _show_fields,
    "peers": _show_peers,
    "groups": _show_groups,
    "bmp": _show_bmp,
    "route": _show_route,
}
