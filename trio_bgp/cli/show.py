"""`trio-bgp show` and `trio-bgp explain`: what a running daemon has, and why."""

import argparse
import json
import sys
from typing import Any, Final

from trio_bgp.cli.client import Client, add_options, asking, client_of, print_json
from trio_bgp.cli.route_query import ROUTE_WORDS, WordsError, parse_words
from trio_bgp.cli.tables import console, duration, groups_table, number, peers_table, stations_table

__all__ = ["add_explain_parser", "add_parser"]

SHOWN_ENTRIES: Final = 8
"""Of a list by name so many are printed, the largest."""
PLAIN: Final = ("as", "local_as", "bgp_identifier")
"""Numbers that are names."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `show`."""
    parser = subparsers.add_parser(
        "show",
        help="show peers, routes, groups or memory of a running daemon",
        description="Show what a running daemon has.",
    )
    what = parser.add_subparsers(title="what", metavar="WHAT", dest="what", required=True)
    for name, aliases, text in (
        ("status", (), "the whole in a few figures"),
        ("peers", ("neighbors", "neighbours", "protocols"), "all peers, a line each"),
        ("groups", (), "receivers that share octets, and how much went unchanged"),
        ("memory", (), "what is kept, and how much of it"),
        ("bmp", (), "BMP stations, and how they keep up"),
    ):
        each = what.add_parser(name, aliases=aliases, help=text, description=f"Show {text}.")
        if name == "peers":
            each.add_argument("only", nargs="?", choices=("up", "down"), help="those that are up, or down")
        add_options(each)
        each.set_defaults(
            show={"peers": _show_peers, "groups": _show_groups, "bmp": _show_bmp}.get(name, _show_fields), of=name
        )
    peer = what.add_parser(
        "peer",
        aliases=("neighbor", "neighbour"),
        help="one peer in detail",
        description="Show one peer in detail.",
    )
    peer.add_argument("name", metavar="PEER", help="its name or address")
    add_options(peer)
    peer.set_defaults(show=_show_fields, of="peer")
    route = what.add_parser(
        "route",
        aliases=("routes",),
        help="routes",
        description="Show routes: all, or those of a prefix, a peer, an address family. An address without a length, "
        "and one behind `for`, finds the longest prefix that covers it; `PREFIX or-longer` and `in PREFIX` all inside.",
        epilog="words: PREFIX, longest-match, or-longer, exact, for PREFIX, in PREFIX, from PEER (announced by it), "
        "to PEER (as it gets them), noexport PEER (what it may not have), family FAMILY, primary (the best of each "
        "prefix), limit N, count, all (with all attributes)",
    )
    route.add_argument("words", nargs="*", metavar="WORD", help="what to show; see below")
    match = route.add_mutually_exclusive_group()
    match.add_argument(
        "--longest-match", dest="match", action="store_const", const="longest", help="what covers PREFIX"
    )
    match.add_argument("--or-longer", dest="match", action="store_const", const="longer", help="PREFIX and all inside")
    route.add_argument("--from", dest="source", metavar="PEER", help="announced by PEER")
    route.add_argument("--to", dest="receiver", metavar="PEER", help="as PEER gets it")
    route.add_argument("--family", metavar="FAMILY", help="of one address family, as in ipv6-unicast")
    route.add_argument("--limit", type=int, metavar="N", help="N paths at most")
    add_options(route)

    def show_route(client: Client, arguments: argparse.Namespace) -> int:
        try:
            query = _route_query(arguments)
        except WordsError as error:
            route.error(str(error))
        return _show_route(client, arguments, query)

    route.set_defaults(show=show_route)
    parser.set_defaults(command=asking(lambda arguments: arguments.show(client_of(arguments), arguments)))


def add_explain_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `explain`."""
    parser = subparsers.add_parser(
        "explain",
        usage="trio-bgp explain [-h] [--family FAMILY] [--socket PATH] [--json] PREFIX to PEER",
        help="say why a peer gets which paths to a prefix",
        description="Say of each path to a prefix whether a peer gets it, whether as the received octets or what is "
        "changed and why, and if it does not get it, why not. Of an address the longest prefix that covers it.",
    )
    parser.add_argument("words", nargs="+", metavar="PREFIX to PEER")
    parser.add_argument("--family", metavar="FAMILY", help="the address family, as in l2vpn-evpn (PREFIX in hex then)")
    add_options(parser)

    def run(arguments: argparse.Namespace) -> int:
        words = [word for position, word in enumerate(arguments.words) if (position, word) != (1, "to")]
        if len(words) != 2:
            parser.error(f"found {' '.join(arguments.words)!r}; accepted: PREFIX to PEER")
        found = client_of(arguments).get("explain", prefix=words[0], to=words[1], family=arguments.family)
        if arguments.json:
            print_json(found)
        else:
            _print_explanation(found)
        return 0

    parser.set_defaults(command=asking(run))


def _print_explanation(found: dict[str, Any]) -> None:
    covers = f", the longest that covers {found['asked']}" if "asked" in found else ""
    print(f"{found['prefix']} ({found['family']}{covers}) to {found['to']}: {found['verdict']}")
    for path in found["paths"]:
        print(f"  from {path['from']}: {path['verdict']}, {path['why']}")
        print(f"    AS path {path.get('as_path') or '-'}, next hop {path.get('next_hop', '-')}")
        for change in path.get("changes", ()):
            before, after = (_words(change[side]) for side in ("from", "to"))
            print(f"    {change['attribute']}: {before} -> {after} ({change['why']})")


def _words(value: Any) -> str:
    if value in (None, "", []):
        return "none"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _show_peers(client: Client, arguments: argparse.Namespace) -> int:
    peers = client.get("peers")
    if arguments.only:
        peers = [peer for peer in peers if (peer["state"] == "Established") == (arguments.only == "up")]
    if arguments.json:
        print_json(peers)
    else:
        console().print(peers_table(peers, console().width))
    return 0


def _show_fields(client: Client, arguments: argparse.Namespace) -> int:
    """`status`, `memory` and `peer`: what is told, a line each."""
    path = ["peers", arguments.name] if arguments.of == "peer" else [arguments.of]
    found = client.get(*path)
    if arguments.json:
        print_json(found)
        return 0
    group = found.pop("group", None)
    if group is not None:
        others = [name for name in group["members"] if name != found["name"]]
        found |= {
            "shares_octets_with": others,
            "share_unchanged": group["share_unchanged"],
            "repacked": group["repacked"],
            "withheld": group["withheld"],
        }
    for key, value in found.items():
        print(f"{key.replace('_', ' '):<20} {_field(key, value)}")
    return 0


def _field(key: str, value: Any) -> str:
    if isinstance(value, dict):
        ordered = sorted(value.items(), key=lambda each: -each[1]) if len(value) > SHOWN_ENTRIES else value.items()
        text = ", ".join(f"{name} {number(count)}" for name, count in list(ordered)[:SHOWN_ENTRIES])
        if len(value) > SHOWN_ENTRIES:
            text += f", {len(value) - SHOWN_ENTRIES} more; {number(sum(value.values()))} in all"
    elif isinstance(value, list):
        text = ", ".join(map(str, value[:SHOWN_ENTRIES]))
        if len(value) > SHOWN_ENTRIES:
            text += f", {len(value) - SHOWN_ENTRIES} more"
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    elif key == "uptime":
        text = duration(value)
    elif key == "share_unchanged":
        text = f"{value:.1%}"
    elif key == "lag":
        text = f"{value:.1f} s"
    elif type(value) is int and key not in PLAIN:
        text = number(value)
    else:
        text = "" if value is None else str(value)
    return text or "-"


def _show_groups(client: Client, arguments: argparse.Namespace) -> int:
    groups = client.get("groups")
    if arguments.json:
        print_json(groups)
    else:
        console().print(groups_table(groups))
    return 0


def _show_bmp(client: Client, arguments: argparse.Namespace) -> int:
    stations = client.get("bmp")
    if arguments.json:
        print_json(stations)
    else:
        console().print(stations_table(stations))
    return 0


def _route_query(arguments: argparse.Namespace) -> dict[str, Any]:
    """The question: words and options together."""
    found = parse_words(arguments.words, ROUTE_WORDS)
    sources = found.pop("from", [])
    if len(sources) > 1:
        raise WordsError("'from' is there twice; accepted: one peer")
    found["from"] = sources[0] if sources else None
    for key, value in (
        ("match", arguments.match),
        ("from", arguments.source),
        ("to", arguments.receiver),
        ("family", arguments.family),
        ("limit", arguments.limit),
    ):
        if value is not None:
            found[key] = value
    if found.get("match") and "prefix" not in found:
        raise WordsError("a prefix is missing")
    if "withheld" in found:
        found |= {"to": found["withheld"], "withheld": "true"}
    if "match" not in found and "prefix" in found and "/" not in found["prefix"] and not found.get("family"):
        found["match"] = "longest"
    if found.get("primary"):
        found["primary"] = "true"
    return found


def _show_route(client: Client, arguments: argparse.Namespace, query: dict[str, Any]) -> int:
    everything = query.pop("all", False)
    if query.pop("count", False):
        counted = client.get("routes", count="true", **query)
        if arguments.json:
            print_json(counted)
        else:
            print(f"{counted['prefixes']:,} prefixes, {counted['paths']:,} paths")
        return 0
    count = 0
    for route in client.lines("routes", **query):
        count += 1
        if arguments.json:
            print(json.dumps(route))
        elif "truncated" in route:
            print(f"there are more than {route['truncated']}", file=sys.stderr)
        else:
            print(_route_line(route))
            if everything:
                print("\n".join(_route_details(route)))
    if not count and not arguments.json:
        print("no routes", file=sys.stderr)
    return 0 if count else 1


def _route_line(route: dict[str, Any]) -> str:
    communities = " ".join(route.get("communities", []) + route.get("large_communities", []))
    return (
        f"{'*' if route['best'] else ' '} {route['prefix']:<22} from {route['from']:<16} "
        f"via {route.get('next_hop', '-'):<16} path {route.get('as_path') or '-'}"
        + (f" med {route['med']}" if "med" in route else "")
        + (f" communities {communities}" if communities else "")
        + (" stale" if route.get("stale") else "")
    )


def _route_details(route: dict[str, Any]) -> list[str]:
    """Every attribute that a line of its own has not told."""
    told = ("family", "prefix", "from", "best", "next_hop", "as_path", "med", "stale", "other")
    lines = [f"    {key}: {_words(value)}" for key, value in route.items() if key not in told]
    return lines + [f"    attribute {kind}: {octets or '-'}" for kind, octets in route.get("other", {}).items()]
