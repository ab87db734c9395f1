"""What mrtparse, a reader of others, makes of a file."""

import contextlib
import signal
from pathlib import Path
from typing import Any

_SIGPIPE = signal.getsignal(signal.SIGPIPE)
from mrtparse import Reader  # noqa: E402

# It sets this to what ends the process, so that it can be used in pipes; other tests write to closed connections.
signal.signal(signal.SIGPIPE, _SIGPIPE)


def read_mrt(path: Path) -> list[dict[str, Any]]:
    """The records of a file, none of which may be bad."""
    found = []
    reader = Reader(str(path))
    with contextlib.closing(reader.f):  # it closes its file itself only if the file ends as it expects
        for entry in reader:
            assert not entry.err, f"{entry.err_msg}: {entry.data}"
            found.append(plain(entry.data))
    return found


def plain(value: Any) -> Any:
    """A `{number: name}` is its name."""
    if isinstance(value, dict):
        if len(value) == 1 and isinstance(next(iter(value)), int):
            return next(iter(value.values()))
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value


def announced(record: dict[str, Any]) -> list[str]:
    """The IPv4 prefixes of an UPDATE's own NLRI field, with path identifiers where it has them."""
    found = []
    for nlri in record["bgp_message"].get("nlri", ()):
        path_id = f"#{nlri['path_id']}" if "path_id" in nlri else ""
        found.append(f"{nlri['prefix']}/{nlri['length']}{path_id}")
    return found


def attribute(attributes: list[dict[str, Any]], name: str) -> Any:
    """The value of a path attribute."""
    return next(each["value"] for each in attributes if each["type"] == name)
