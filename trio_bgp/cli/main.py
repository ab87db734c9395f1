"""`trio-bgp`: the arguments, and which command they name."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Final

from trio_bgp import __version__

__all__ = ["build_parser", "main"]

COMMANDS: Final[Mapping[str, str]] = {
    "run": "run the daemon in the foreground",
    "check": "check a configuration file",
    "demo": "watch a route server forward a realistic table",
    "show": "show peers, routes, groups or memory of a running daemon",
    "explain": "say why a peer gets which paths to a prefix",
    "tail": "print received UPDATEs as they come",
    "top": "watch peers, rates and the share forwarded unchanged",
    "clear": "end a peer's session, or ask for or send its routes again",
    "shutdown": "end a peer's session and keep it down",
    "enable": "let a peer that was shut down have sessions again",
    "announce": "announce a route of our own",
    "withdraw": "withdraw a route of our own",
    "wait": "wait until a peer is up, has sent all, or has announced a prefix",
    "dump": "write all routes as an MRT file",
    "replay": "announce a recorded table or stream to any BGP speaker",
    "listen": "accept sessions, count and record what is said",
    "diff": "say what a reload would change",
    "reload": "take over the changed configuration file",
    "completion": "print what a shell's Tab key needs",
}
"""The commands. The module of one is imported only when it is the one."""
MODULES: Final[Mapping[str, str]] = {
    "explain": "show",
    **dict.fromkeys(
        ("clear", "shutdown", "enable", "announce", "withdraw", "wait", "dump", "diff", "reload"), "control_commands"
    ),
}
"""The module in this folder where it is not of the command's name; it has `add_NAME_parser` then."""

EPILOG: Final = """examples:
  trio-bgp demo                      watch a route server forward a realistic table
  trio-bgp check config.toml         is the configuration right?
  trio-bgp run config.toml           run the daemon in the foreground
  trio-bgp show peers                who is up
  trio-bgp show route 10.0.0.0/8 or-longer from as1
  trio-bgp explain 10.0.0.0/8 to as1 why does as1 get that route?
  trio-bgp tail from as1             what as1 sends, as it comes
  trio-bgp top                       peers and rates, live
  trio-bgp clear as1 soft in         ask as1 for its routes again
  trio-bgp shutdown as1 "new card"   end its session, telling it why
  trio-bgp enable as1                and let it come back
  trio-bgp announce 10.0.0.0/8 --next-hop 192.0.2.9
  trio-bgp withdraw 10.0.0.0/8       what was announced
  trio-bgp wait as1 established      for scripts
  trio-bgp dump mrt routes.mrt       all routes, for bgpdump
  trio-bgp replay routes.mrt --to 192.0.2.1 --as 65001
  trio-bgp listen --record updates   collect what others say
  trio-bgp diff                      what a reload would change
  trio-bgp reload                    take over the changed file
  trio-bgp completion bash           for the shell's Tab key
  trio-bgp run --help                what a command takes

exit status: 0 all is well, 1 something went wrong or the answer is no, 2 the command line is wrong, 3 no daemon
answers, 130 interrupted
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
    parser.add_argument("--version", action="version", version=f"trio-bgp {__version__} ({_build()})")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        if name == command:
            module = import_module(f"trio_bgp.cli.{MODULES.get(name, name)}")
            getattr(module, f"add_{name}_parser" if name in MODULES else "add_parser")(subparsers)
        else:
            subparsers.add_parser(name, help=summary)
    return parser


def _build() -> str:
    """Which of the two builds this is (`setup.py`)."""
    found = find_spec("trio_bgp.rib.table")
    compiled = found is not None and found.origin is not None and not found.origin.endswith(".py")
    return "compiled" if compiled else "pure Python"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: without the program's name; those of the process by default.

    Returns:
        the exit status: 0, 1 for what went wrong, 2 for a wrong command line (raised by argparse).
    """
    if "_ARGCOMPLETE" in os.environ:
        completion = import_module("trio_bgp.cli.completion")
        completion.complete(build_parser(completion.command_of(os.environ)))
    words = sys.argv[1:] if arguments is None else list(arguments)
    # No option before the command takes a value, so the first word that is not one names the command.
    command = next((word for word in words if not word.startswith("-")), None)
    parsed = build_parser(command).parse_args(words)
    status: int = parsed.command(parsed)
    return status
