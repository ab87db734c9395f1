"""`trio-bgp`: the arguments, and which command they name."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Final

from trio_bgp import __version__

__all__ = ["build_parser", "main"]

COMMANDS: Final[Mapping[str, str]] = {
    "run": "run the daemon in the foreground",
    "check": "check a configuration file",
    "demo": "watch a route server forward a realistic table",
}
"""Each command is a module of its name in this folder, imported only when it is the one: `check` needs no trio."""

EPILOG: Final = """examples:
  trio-bgp demo                      watch a route server forward a realistic table
  trio-bgp check config.toml         is the configuration right?
  trio-bgp run config.toml           run the daemon in the foreground
  trio-bgp run --help                what a command takes

exit status: 0 all is well, 1 something went wrong, 2 the command line is wrong
"""


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """The parser of the whole command line.

    Args:
        command: the one whose own arguments are understood; it leaves its function in `command`. Of the others only
            the names are known.
    """
    parser = argparse.ArgumentParser(
        prog="trio-bgp",
        description="A BGP route server that forwards the received octets themselves.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"trio-bgp {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        if name == command:
            import_module(f"trio_bgp.cli.{name}").add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=summary)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: without the program's name; those of the process by default.

    Returns:
        the exit status: 0, 1 for what went wrong, 2 for a wrong command line (raised by argparse).
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    # No option before the command takes a value, so the first word that is not one names the command.
    command = next((word for word in words if not word.startswith("-")), None)
    parsed = build_parser(command).parse_args(words)
    status: int = parsed.command(parsed)
    return status
