"""Where in a TOML text each key stands: what tomli does not tell and an operator wants to know."""

import re
from typing import Final

__all__ = ["KeyPath", "line_of", "locate"]

KeyPath = tuple[str | int, ...]
"""Table names and array positions from the document's root to a key."""

_KEY: Final = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*""")
_STRING: Final = re.compile(
    r'\"\"\"(?:[^\\]|\\.)*?\"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'', re.DOTALL
)
_SPACE: Final = re.compile(r"(?:\s|#[^\n]*)*")


def locate(text: str) -> dict[KeyPath, int]:
    """The line, from 1, of every table and key of a text that tomli accepts.

    Keys inside inline tables and arrays are not listed; they stand where what contains them stands.
    """
    found: dict[KeyPath, int] = {}
    counts: dict[KeyPath, int] = {}
    table: KeyPath = ()
    position = 0
    while True:
        space = _SPACE.match(text, position)
        position = space.end() if space else position
        if position >= len(text):
            return found
        line = text.count("\n", 0, position) + 1
        if text.startswith("[", position):
            array = text.startswith("[[", position)
            keys, position = _dotted(text, position + (2 if array else 1))
            table = _resolve(keys[:-1], counts)
            if array:
                name = (*table, keys[-1])
                counts[name] = counts.get(name, -1) + 1
                table = (*name, counts[name])
                found.setdefault(name, line)
            else:
                table = _resolve(keys, counts)
            found.setdefault(table, line)
            position = _end_of_line(text, position)
            continue
        keys, position = _dotted(text, position)
        if not keys:
            position = _end_of_line(text, position)
            continue
        for count in range(1, len(keys) + 1):
            found.setdefault((*table, *keys[:count]), line)
        position = _after_value(text, position + 1)


def line_of(lines: dict[KeyPath, int], path: KeyPath) -> int:
    """The line of a key, or of the innermost thing around it that has one."""
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return 1


def _dotted(text: str, position: int) -> tuple[tuple[str, ...], int]:
    keys = []
    while match := _KEY.match(text, position):
        keys.append(next(group for group in match.groups() if group is not None))
        position = match.end()
        if not text.startswith(".", position):
            break
        position += 1
    return tuple(keys), position


def _resolve(keys: tuple[str, ...], counts: dict[KeyPath, int]) -> KeyPath:
    """A table's path; in an array of tables the name means its last element."""
    path: KeyPath = ()
    for key in keys:
        path = (*path, key)
        if path in counts:
            path = (*path, counts[path])
    return path


def _end_of_line(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end


def _after_value(text: str, position: int) -> int:
    depth = 0
    while position < len(text):
        character = text[position]
        if character in "\"'":
            match = _STRING.match(text, position)
            position = match.end() if match else position + 1
            continue
        if character == "#":
            position = _end_of_line(text, position)
            continue
        if character == "\n" and depth <= 0:
            return position
        if character in "[{":
            depth += 1
        elif character in "]}":
            depth -= 1
        position += 1
    return position
