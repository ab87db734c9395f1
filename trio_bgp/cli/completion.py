"""`trio-bgp completion`, and what a shell is told when somebody presses Tab."""

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from trio_bgp.cli.client import Client, ControlError, client_of
from trio_bgp.cli.route_query import ROUTE_WORDS, TAIL_WORDS

__all__ = ["add_parser", "command_of", "complete"]

PATIENCE: Final = 0.5
"""Seconds for the daemon to name its peers."""
SHELLS: Final = ("bash", "zsh", "fish")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "completion",
        help="print what a shell's Tab key needs",
        description='Print what a shell needs to complete commands, options, and the names of peers. In bash: eval "$('
        'trio-bgp completion bash)"; zsh likewise after compinit; fish: trio-bgp completion fish | source.',
    )
    parser.add_argument("shell", choices=SHELLS)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Print it."""
    from argcomplete.shell_integration import shellcode

    print(shellcode(["trio-bgp"], shell=arguments.shell))
    return 0


def command_of(environment: Mapping[str, str]) -> str | None:
    """The command in the line that is being completed."""
    words = environment.get("COMP_LINE", "").split()[1:]
    return next((word for word in words if not word.startswith("-")), None)


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell, and end the process."""
    import argcomplete

    for action in _actions(parser):
        if action.dest == "words" or action.metavar == "PEER":
            action.completer = _complete  # type: ignore[attr-defined]
        elif action.metavar == "FAMILY":
            action.completer = _families  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser)


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:  # noqa: SLF001 (argparse has no other list of them)
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for each in action.choices.values():
                yield from _actions(each)


def _families(prefix: str, **_: Any) -> Sequence[str]:
    from trio_bgp.wire.numbers import FAMILIES

    return list(FAMILIES)


def _complete(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> Sequence[str]:
    """Peers, or the words that may follow those there are."""
    words: list[str] = getattr(parsed_args, "words", None) or []
    line = os.environ.get("COMP_LINE", "").split()
    before = line[-1] if not prefix else line[-2] if len(line) > 1 else ""
    if before == "family":
        return _families(prefix)
    if "explain" in line:
        return ["to"] if len(words) == 1 and before != "to" else _peers(parsed_args) if words else []
    if "route" in line or "routes" in line or "tail" in line:
        if before in ("from", "to", "protocol", "export", "noexport"):
            return _peers(parsed_args)
        return TAIL_WORDS if "tail" in line else ROUTE_WORDS
    return _peers(parsed_args)


def _peers(arguments: argparse.Namespace) -> Sequence[str]:
    try:
        client = client_of(arguments)
        return [peer["name"] for peer in Client(client.path, PATIENCE).get("peers")]
    except (ControlError, AttributeError):
        return []
