"""`trio-bgp tail` and `trio-bgp top`: a running daemon, live."""

import argparse
import json
import sys
import time
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.text import Text

from trio_bgp.cli.client import Client, ControlError, add_options, client_of
from trio_bgp.cli.show import console, peers_table

__all__ = ["add_parser", "add_top_parser", "run", "run_top"]


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `tail`."""
    parser = subparsers.add_parser(
        "tail",
        help="print received UPDATEs as they come",
        description="Print received UPDATEs as they come, until interrupted. What comes faster than it is read is left "
        "out, and counted.",
    )
    parser.add_argument(
        "--from", dest="sources", action="append", metavar="PEER", help="of this peer; may be given again"
    )
    parser.add_argument("--prefix", metavar="PREFIX", help="that name exactly this prefix")
    parser.add_argument("--count", type=int, metavar="N", help="stop after N")
    add_options(parser)
    parser.set_defaults(command=run)


def add_top_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `top`."""
    parser = subparsers.add_parser(
        "top",
        help="watch peers, rates and the share forwarded unchanged",
        description="Watch peers, rates, queues and the share forwarded unchanged, until interrupted.",
    )
    parser.add_argument(
        "--interval", type=float, default=1.0, metavar="S", help="seconds between two looks (default: %(default)s)"
    )
    parser.add_argument("--count", type=int, metavar="N", help="stop after N looks")
    add_options(parser, output=False)
    parser.set_defaults(command=run_top)


def run(arguments: argparse.Namespace) -> int:
    """Print UPDATEs; 1 if the daemon cannot be asked, 130 if interrupted."""
    try:
        updates = client_of(arguments).lines("tail", from_=arguments.sources, prefix=arguments.prefix)
        for number, update in enumerate(updates, 1):
            print(json.dumps(update) if arguments.json else _line(update), flush=True)
            if number == arguments.count:
                break
    except ControlError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _line(update: dict[str, Any]) -> str:
    if "lost" in update:
        return f"({update['lost']} not shown)"
    words = [f"{update['from']}:"]
    if update["withdrawn"]:
        words.append("withdraws " + " ".join(update["withdrawn"]))
    if update["announced"]:
        words.append("announces " + " ".join(update["announced"]))
        words.append(f"via {update.get('next_hop', '-')} path {update.get('as_path') or '-'}")
        if update.get("communities"):
            words.append("communities " + " ".join(update["communities"]))
    if "malformed" in update:
        words.append(f"malformed: {update['malformed']}")
    if len(words) == 1:
        words.append("says nothing (End-of-RIB)")
    return " ".join(words)


def run_top(arguments: argparse.Namespace) -> int:
    """Draw until interrupted; 1 if the daemon cannot be asked."""
    client = client_of(arguments)
    try:
        before = client.get("status")
        looks = 0
        with Live(console=console(), auto_refresh=False, screen=sys.stdout.isatty()) as live:
            while arguments.count is None or looks < arguments.count:
                status, drawing = _look(client, before, arguments.interval if looks else 0)
                live.update(drawing, refresh=True)
                before = status
                looks += 1
                if looks != arguments.count:
                    time.sleep(arguments.interval)
    except ControlError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _look(client: Client, before: dict[str, Any], seconds: float) -> tuple[dict[str, Any], Group]:
    status = client.get("status")

    def rate(*keys: str) -> str:
        passed = sum(status[key] - before[key] for key in keys)
        return f"{passed / seconds:,.0f}/s" if seconds else "-"

    head = Text.assemble(
        (f"AS {status['local_as']}", "bold"),
        f"  {status['established']} of {status['peers']} peers up  {status['prefixes']:,} prefixes",
        f"  {status['paths']:,} paths\n",
        f"UPDATEs in {rate('updates_received')}  out {rate('updates_unchanged', 'updates_repacked')}  unchanged ",
        (f"{status['share_unchanged']:.1%}", "bold green"),
        f"  catching up {status['catching_up']}  buffers {status['buffers']['outstanding']}",
    )
    return status, Group(head, peers_table(client.get("peers")))
