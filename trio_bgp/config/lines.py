"""Where in a TOML text each key stands: what tomli does not tell and an operator wants to know."""

import re
from bisect import bisect_left
from typing import Final

import tomli

__all__ = ["KeyPath", "line_of", "locate"]

KeyPath = tuple[str | int, ...]
"""Table names and array positions from the document's root to a key."""

_BLANK: Final = re.compile(r"(?:\s|#[^\n]*)*")
_BETWEEN: Final = re.compile(r"(?:[\s,]|#[^\n]*)*")
_KEY: Final = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)\s*""")
_SCALAR: Final = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}' + r"|'''.*?'{3,5}" + r'|"(?:[^"\\\n]|\\.)*"' + r"|'[^'\n]*'" + r"|[^,\]}#\n]+",
    re.DOTALL,
)


def locate(text: str) -> dict[KeyPath, int]:
    """The line, from 1, of every table, key and array element of a text that tomli accepts.

    Any other text yields some lines, or none; it never fails.
    """
    return _Scan(text).run()


def line_of(lines: dict[KeyPath, int], path: KeyPath) -> int:
    """The line of a key, or of the innermost thing around it that has one; 1 for the document itself."""
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return 1


class _Scan:
    """One pass over a text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.newlines = [match.start() for match in re.finditer("\n", text)]
        self.lines: dict[KeyPath, int] = {}
        self.last: dict[KeyPath, int] = {}
        """The index of the last element so far of each array of tables."""

    def run(self) -> dict[KeyPath, int]:
        text, position = self.text, 0
        table: KeyPath = ()
        while (position := _end(_BLANK, text, position)) < len(text):
            start = position
            if text.startswith("[", position):
                table = self.header(position)
            else:
                keys, position = _dotted_key(text, position)
                if keys and text.startswith("=", position):
                    path = self.name(table, keys, start)
                    position = self.value(_end(_BLANK, text, position + 1), path)
            end_of_line = text.find("\n", position)
            position = len(text) if end_of_line < 0 else end_of_line
        return self.lines

    def header(self, position: int) -> KeyPath:
        """The table that `[name]` or `[[name]]` opens."""
        brackets = 2 if self.text.startswith("[[", position) else 1
        keys, _ = _dotted_key(self.text, position + brackets)
        path: KeyPath = ()
        for place, key in enumerate(keys, 1):
            path = (*path, key)
            if brackets == 2 and place == len(keys):
                self.last[path] = self.last.get(path, -1) + 1
            self.note(path, position)
            if path in self.last:
                path = (*path, self.last[path])
        self.lines[path] = self.line(position)
        return path

    def value(self, position: int, path: KeyPath) -> int:
        """Note what the value of `path` contains; where it ends.

        Not recursive: the nesting is the file's to choose.
        """
        text = self.text
        containers: list[KeyPath] = []
        counts: list[int] = []
        """The next index of each open array; -1 for an inline table."""
        while True:
            if text.startswith(("[", "{"), position):
                containers.append(path)
                counts.append(0 if text[position] == "[" else -1)
                position += 1
            else:
                position = _end(_SCALAR, text, position)
            while True:
                if not containers:
                    return position
                position = _end(_BETWEEN, text, position)
                if not text.startswith(("]", "}"), position):
                    break
                containers.pop()
                counts.pop()
                position += 1
            start = position
            if position == len(text):
                return position
            if counts[-1] >= 0:
                path = (*containers[-1], counts[-1])
                counts[-1] += 1
                self.note(path, start)
            else:
                keys, position = _dotted_key(text, position)
                if not keys or not text.startswith("=", position):
                    return position
                path = self.name(containers[-1], keys, start)
                position = _end(_BLANK, text, position + 1)

    def name(self, table: KeyPath, keys: tuple[str, ...], position: int) -> KeyPath:
        """Note a dotted key and the tables it implies."""
        for count in range(1, len(keys) + 1):
            self.note((*table, *keys[:count]), position)
        return (*table, *keys)

    def note(self, path: KeyPath, position: int) -> None:
        self.lines.setdefault(path, self.line(position))

    def line(self, position: int) -> int:
        return bisect_left(self.newlines, position) + 1


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def _dotted_key(text: str, position: int) -> tuple[tuple[str, ...], int]:
    keys: list[str] = []
    while match := _KEY.match(text, position):
        keys.append(_unquoted(match[1]))
        position = match.end()
        if not text.startswith(".", position):
            break
        position += 1
    return tuple(keys), position


def _unquoted(key: str) -> str:
    if key[0] == '"' and "\\" in key:
        try:
            return next(iter(tomli.loads(f"{key} = 0")))
        except tomli.TOMLDecodeError:
            pass  # not a text that tomli accepts
    return key[1:-1] if key[0] in "\"'" else key
