"""Logging to standard error: one event a line, as text or as JSON."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

from trio_bgp.settings import LogFormat, LogSettings

__all__ = ["JsonFormatter", "TextFormatter", "configure"]


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class TextFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.000Z INFO peer.established name=as65001 ...`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and a traceback below it if there is one."""
        line = f"{_time(record)} {record.levelname} {record.getMessage()}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a line with `time`, `level`, `logger`, `event` (the first word) and `message`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        message = record.getMessage()
        fields = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": message.partition(" ")[0],
            "message": message,
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def configure(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Send what `trio_bgp` logs to `stream`, standard error by default."""
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(JsonFormatter() if settings.format is LogFormat.JSON else TextFormatter())
    logger = logging.getLogger("trio_bgp")
    logger.handlers[:] = [handler]
    logger.setLevel(settings.level.upper())
    logger.propagate = False
