"""What is logged: one line an event, as text or JSON, whatever peers put into it."""

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from trio_bgp import log
from trio_bgp.settings import LogFormat, LogSettings

logger = logging.getLogger("trio_bgp.test")


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger("trio_bgp")
    handlers, level, propagate = root.handlers[:], root.level, root.propagate
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    root.propagate = propagate


def configured(form: LogFormat, level: str = "info") -> io.StringIO:
    """Logging set up to go into what is returned."""
    stream = io.StringIO()
    log.configure(LogSettings(level, form), stream)
    return stream


def test_a_line_of_text_is_time_level_and_event() -> None:
    """UTC with milliseconds, the level's name, then the message."""
    stream = configured(LogFormat.TEXT)
    logger.info("peer.established name=%s as=%d", "a", 65001)
    time, rest = stream.getvalue().split(" ", 1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time)
    assert rest == "INFO peer.established name=a as=65001\n"


def test_the_time_is_the_record_s_in_utc() -> None:
    """Not the local time, and not the time of writing."""
    record = logging.LogRecord("trio_bgp", logging.INFO, "", 0, "x", (), None)
    record.created = 1767225600.0625
    assert log.TextFormatter().format(record) == "2026-01-01T00:00:00.062Z INFO x"


def test_a_line_of_json_has_the_event_and_its_fields() -> None:
    """An object a line; fields by name, numbers as numbers."""
    stream = configured(LogFormat.JSON)
    logger.warning("peer.down name=%s as=%d after=%.1f cause=%r%s why='no more' 100%%", "a b=c", 5, 1.5, "x", " y=1")
    line = json.loads(stream.getvalue())
    assert stream.getvalue().count("\n") == 1
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "warning",
        "logger": "trio_bgp.test",
        "event": "peer.down",
        "message": "peer.down name=a b=c as=5 after=1.5 cause='x' y=1 why='no more' 100%",
        "fields": {"name": "a b=c", "as": 5, "after": 1.5, "cause": "x", "why": "no more"},
    }


@pytest.mark.parametrize(
    ("message", "arguments", "fields"),
    [
        ("stopped", (), {}),
        ("a x=1", (), {}),
        ("a %s x=%s", (1, 2), {"x": 2}),
        ("a x=%s/%s y=%s", (1, 2, 3), {"y": 3}),
        ("a x=%s: withdrawn from %d peers", ("v", 2), {"x": "v"}),
        ("a x=%(x)s", ({"x": 1},), {}),
    ],
)
def test_fields_are_what_the_format_names(message: str, arguments: tuple[object, ...], fields: object) -> None:
    """A value that is part of something longer, or has no name, is in the message only."""
    stream = configured(LogFormat.JSON)
    logger.error(message, *arguments)
    assert json.loads(stream.getvalue())["fields"] == fields


@pytest.mark.parametrize("form", list(LogFormat))
def test_nothing_a_peer_sends_makes_another_line(form: LogFormat) -> None:
    """Line ends and terminal sequences in values are escaped."""
    stream = configured(form)
    logger.info("peer.down reason=%s", "bye\n2026-01-01T00:00:00.000Z INFO fake\r\x1b[2J\u2028\x9b")
    (line,) = stream.getvalue().splitlines()
    assert line.isprintable()


@pytest.mark.parametrize("form", list(LogFormat))
def test_an_exception_has_its_traceback(form: LogFormat) -> None:
    """As text below the line and indented, as JSON in the object."""
    stream = configured(form)
    try:
        raise OSError("first\nsecond")
    except OSError:
        logger.exception("peer.crashed name=%s", "a")
    first, *more = stream.getvalue().splitlines()
    if form is LogFormat.JSON:
        assert json.loads(first)["traceback"].endswith("OSError: first\nsecond")
        assert more == []
    else:
        assert first.endswith("ERROR peer.crashed name=a")
        assert more[-2:] == ["    OSError: first", "    second"]
        assert all(line.startswith("    ") for line in more)


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_only_the_level_and_above_is_logged(level: str) -> None:
    """Each level's threshold."""
    stream = configured(LogFormat.TEXT, level)
    levels = ["debug", "info", "warning", "error"]
    for each in levels:
        getattr(logger, each)(each)
    assert [line.split(" ")[2] for line in stream.getvalue().splitlines()] == levels[levels.index(level) :]


def test_setting_up_again_replaces_what_was(caplog: pytest.LogCaptureFixture) -> None:
    """No line comes twice, neither here nor from the root logger, which is left alone."""
    first, root = configured(LogFormat.TEXT), logging.getLogger().handlers[:]
    second = configured(LogFormat.TEXT)
    logger.info("once")
    assert first.getvalue() == ""
    assert second.getvalue().count("once") == 1
    assert logging.getLogger().handlers == root
    assert caplog.records == []


def test_logs_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output is for what a command was asked."""
    log.configure(LogSettings())
    logger.info("here")
    out, err = capsys.readouterr()
    assert (out, err.endswith("INFO here\n")) == ("", True)
