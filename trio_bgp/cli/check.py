"""`trio-bgp check`: is a configuration right?"""

import argparse
import json
import sys
from pathlib import Path

import attrs

from trio_bgp.config import ConfigError, load_settings, printable

__all__ = ["add_parser", "run"]


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "check",
        help="check a configuration file",
        description="Check a configuration file. All problems are listed, each with file, line, key, what was found "
        "and what is accepted. Exit status 0 if there are none, else 1.",
    )
    parser.add_argument("config", type=Path, metavar="CONFIG", help="a TOML file")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Check `arguments.config`; 0 if it is right, else 1."""
    try:
        settings = load_settings(arguments.config)
    except ConfigError as error:
        if arguments.json:
            print(json.dumps({"ok": False, "problems": [attrs.asdict(each) for each in error.problems]}, indent=1))
        else:
            print(error, file=sys.stderr)
        return 1
    ranges = sum(peer.range is not None for peer in settings.peers)
    counts = (
        (len(settings.peers) - ranges, "peer"),
        (ranges, "range"),
        (len(settings.speaker.listen), "listener"),
    )
    if arguments.json:
        print(json.dumps({"ok": True, **{f"{word}s": count for count, word in counts}}, indent=1))
        return 0
    summary = ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in counts)
    print(f"{printable(str(arguments.config))}: ok: {summary}")
    return 0
