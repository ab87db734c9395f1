"""Logging to standard error: one event a line, as text or as JSON.

Who logs writes the event's name and then its fields, as in `logger.info("peer.down name=%s reason=%r", name, reason)`.
"""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Final, TextIO

from trio_bgp.settings import LogFormat, LogSettings

__all__ = ["JsonFormatter", "TextFormatter", "configure"]

_FIELD: Final = re.compile(
    r"(?:(?<!\S)(\w+)=)?(?:%[-#0 +.\d]*(?P<kind>[a-zA-Z%])(?P<more>[^\s:,;%]?)|'(?P<literal>[^']*)')"
)


class TextFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.000Z INFO peer.established name=as65001 ...`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and a traceback below it if there is one."""
        text = f"{_time(record)} {record.levelname} {record.getMessage()}"
        if record.exc_info:
            # Indented, so that whoever reads lines by their start sees what belongs to the one above.
            text += "\n" + self.formatException(record.exc_info)
            return "\n    ".join(_printable(line) for line in text.splitlines())
        return _printable(text)


class JsonFormatter(logging.Formatter):
    """One JSON object a line.

    Always there: `time`, `level`, `logger`, `event` (the message's first word), `message` (as the text format has it)
    and `fields` (by name; numbers stay numbers, anything else is a string). After an exception: `traceback`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        message = record.getMessage()
        line: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": message.partition(" ")[0],
            "message": message,
            "fields": _fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Send what `trio_bgp` logs to `stream`, standard error by default; what was set before no longer holds."""
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(JsonFormatter() if settings.format is LogFormat.JSON else TextFormatter())
    logger = logging.getLogger("trio_bgp")
    logger.handlers[:] = [handler]
    logger.setLevel(settings.level.upper())
    logger.propagate = False


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _printable(text: str) -> str:
    """The text on one line: what peers and files put into it must not look like another line, nor steer a terminal."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    """The fields of a message, from its format and arguments: in its text a value may look like another field."""
    arguments = record.args if isinstance(record.args, tuple) else ()
    fields: dict[str, object] = {}
    position = 0
    for match in _FIELD.finditer(str(record.msg)):
        name = match[1]
        if match["literal"] is not None:
            value: object = match["literal"]
        elif match["kind"] == "%":
            continue
        elif position < len(arguments):
            value = arguments[position]
            position += 1
        else:
            break
        if name and not match["more"]:
            fields[name] = value if isinstance(value, int | float) else str(value)
    return fields
