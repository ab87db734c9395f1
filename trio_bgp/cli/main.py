"""`trio-bgp`: the arguments, and which command they name."""

import argparse
from collections.abc import Sequence

from trio_bgp import __version__
from trio_bgp.cli import check, demo, run

__all__ = ["build_parser", "main"]

EPILOG = """examples:
  trio-bgp demo                      watch a route server forward a realistic table
  trio-bgp check config.toml         is the configuration right?
  trio-bgp run config.toml           run the daemon in the foreground
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; each command leaves its function in `command`."""
    parser = argparse.ArgumentParser(
        prog="trio-bgp",
        description="A BGP route server that forwards the received octets themselves.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"trio-bgp {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (run, check, demo):
        command.add_parser(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: without the program's name; those of the process by default.

    Returns:
        the exit status: 0, 1 for what went wrong, 2 for a wrong command line (raised by argparse).
    """
    parsed = build_parser().parse_args(arguments)
    status: int = parsed.command(parsed)
    return status
