"""What is wrong with a configuration, in words for whoever wrote it."""

import difflib
from collections.abc import Iterable
from typing import Final

import attrs

from trio_bgp.config.lines import KeyPath

__all__ = ["ConfigError", "Problem", "did_you_mean", "dotted", "nearest", "printable", "shown"]

SHOWN_CHARACTERS: Final = 60
SHOWN_BITS: Final = 128


@attrs.frozen
class Problem:
    """One thing that is wrong with a configuration."""

    file: str
    line: int
    """From 1; 0 if it is about the file as a whole."""
    key: str
    found: str
    accepted: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: " if self.line else f"{self.file}: "
        key = f"{self.key}: " if self.key else ""
        return f"{where}{key}found {self.found}; accepted: {self.accepted}"


class ConfigError(Exception):
    """A configuration that cannot be used; its text has a line for each problem.

    Attributes:
        problems: all that is wrong, in the order of the file.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def shown(value: object) -> str:
    """A value as TOML writes it, short and on one line; tables and arrays are only called so.

    What they contain may be a password: `[peers]` in place of `[[peers]]` is a common slip.
    """
    match value:
        case bool():
            return "true" if value else "false"
        case int() if value.bit_length() > SHOWN_BITS:
            return f"a whole number of {value.bit_length()} bits"
        case str():
            cut = value if len(value) <= SHOWN_CHARACTERS else value[: SHOWN_CHARACTERS - 1] + "…"
            escaped = cut.replace("\\", "\\\\").replace('"', '\\"')
            return f'"{printable(escaped)}"'
        case dict():
            return "a table"
        case list():
            return "an array" if value else "an empty array"
        case _:
            return str(value)


def printable(text: str) -> str:
    """The text with every character that a terminal might act on as its escape sequence."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def dotted(path: KeyPath) -> str:
    """A path as messages write it: `peers[2].hold_time`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            bare = part.isascii() and part.replace("_", "a").replace("-", "a").isalnum()
            text += ("." if text else "") + (part if bare else shown(part))
    return text


def nearest(found: object, names: Iterable[str]) -> str:
    """The name that is most like what was found; empty if none is."""
    close = difflib.get_close_matches(found[:SHOWN_CHARACTERS], list(names), 1) if isinstance(found, str) else []
    return close[0] if close else ""


def did_you_mean(found: object, names: Iterable[str]) -> str:
    """`; did you mean "strict"?` if one of the names is like what was found, else nothing."""
    near = nearest(found, names)
    return f"; did you mean {shown(near)}?" if near else ""
