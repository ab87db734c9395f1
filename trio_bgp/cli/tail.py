"""`trio-bgp tail`: UPDATEs of a running daemon as they come."""

import argparse
import json
import time
from typing import Any

from rich.text import Text

from trio_bgp.cli.client import UnreachableError, add_options, asking, client_of
from trio_bgp.cli.route_query import TAIL_WORDS, WordsError, parse_words
from trio_bgp.cli.tables import BAD, GOOD, console

__all__ = ["add_parser"]


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `tail`."""
    parser = subparsers.add_parser(
        "tail",
        help="print received UPDATEs as they come",
        description="Print received UPDATEs as they come, until interrupted. What comes faster than it is read is left "
        "out, and counted.",
        epilog="words: PREFIX, or-longer, in PREFIX, from PEER (several times), family FAMILY, announced, withdrawn",
    )
    parser.add_argument("words", nargs="*", metavar="WORD", help="which UPDATEs; see below")
    parser.add_argument(
        "--from", dest="sources", action="append", metavar="PEER", help="of this peer; may be given again"
    )
    parser.add_argument("--prefix", metavar="PREFIX", help="that name this prefix")
    parser.add_argument("--or-longer", action="store_true", help="or one inside it")
    parser.add_argument("--family", metavar="FAMILY", help="of one address family, as in ipv6-unicast")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--announced", dest="kind", action="store_const", const="announced", help="that announce")
    kind.add_argument("--withdrawn", dest="kind", action="store_const", const="withdrawn", help="that withdraw")
    parser.add_argument("--count", type=int, metavar="N", help="stop after N")
    add_options(parser)

    def run(arguments: argparse.Namespace) -> int:
        try:
            query = _query(arguments)
        except WordsError as error:
            parser.error(str(error))
        return _tail(arguments, query)

    parser.set_defaults(command=asking(run))


def _query(arguments: argparse.Namespace) -> dict[str, Any]:
    found = parse_words(arguments.words, TAIL_WORDS)
    found["from"] = found.get("from", []) + (arguments.sources or [])
    for key, value in (
        ("prefix", arguments.prefix),
        ("match", "longer" if arguments.or_longer else None),
        ("family", arguments.family),
        ("kind", arguments.kind),
    ):
        if value is not None:
            found[key] = value
    if found.get("match") and "prefix" not in found:
        raise WordsError("a prefix is missing")
    return found


def _tail(arguments: argparse.Namespace, query: dict[str, Any]) -> int:
    out = console()
    seen = 0
    for update in client_of(arguments).lines("tail", **query):
        if arguments.json:
            print(json.dumps(update), flush=True)
        else:
            out.print(_line(update), soft_wrap=True)
            out.file.flush()
        seen += "lost" not in update
        if seen == arguments.count:
            return 0
    raise UnreachableError("the daemon has stopped")


def _line(update: dict[str, Any]) -> Text:
    if "lost" in update:
        return Text(f"({update['lost']} not shown)", "dim")
    at = update["time"]
    clock = time.strftime("%H:%M:%S", time.localtime(at)) + f".{int(at % 1 * 1000):03}"
    line = Text.assemble((clock, "dim"), " ", (f"{update['from']}:", "bold"))
    if update["withdrawn"]:
        line.append(" withdraws ", BAD)
        line.append(" ".join(update["withdrawn"]))
    if update["announced"]:
        line.append(" announces ", GOOD)
        line.append(" ".join(update["announced"]))
        line.append(f" via {update.get('next_hop', '-')} path {update.get('as_path') or '-'}")
        communities = update.get("communities", []) + update.get("large_communities", [])
        if communities:
            line.append(" communities " + " ".join(communities))
    if "malformed" in update:
        line.append(f" malformed: {update['malformed']}", BAD)
    if not (update["withdrawn"] or update["announced"] or "malformed" in update):
        line.append(f" End-of-RIB {' '.join(update['families'])}")
    return line
