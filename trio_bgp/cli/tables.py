"""Tables of peers and groups, for terminals of any width and for pipes."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["bar", "console", "duration", "groups_table", "number", "peers_table", "stations_table", "table"]

GOOD, BAD, WARN = "green", "red", "yellow"
WIDE: Final = 118
"""Columns from which a table of peers has everything."""
BAR: Final = " ▏▎▍▌▋▊▉█"


def console() -> Console:
    """Colour and the terminal's width on a terminal, neither elsewhere. `NO_COLOR` is obeyed."""
    return Console() if sys.stdout.isatty() else Console(width=200, no_color=True, highlight=False)


def table(columns: Sequence[str]) -> Table:
    """A table with these columns; `>` behind a name: numbers."""
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        found.add_column(name.removesuffix(">"), justify="right" if name.endswith(">") else "left", no_wrap=True)
    return found


def number(value: Any) -> str:
    """With commas; empty for None."""
    return "" if value is None else f"{value:,}"


def duration(seconds: float) -> str:
    """As in `2d 03:04:05`."""
    days, rest = divmod(int(seconds), 86400)
    clock = f"{rest // 3600:02}:{rest % 3600 // 60:02}:{rest % 60:02}"
    return f"{days}d {clock}" if days else clock


def bar(share: float, width: int) -> str:
    """A bar of so many characters, in eighths of a character."""
    eighths = round(share * width * 8)
    whole, part = divmod(eighths, 8)
    return ("█" * whole + (BAR[part] if part else "")).ljust(width)


def state_of(peer: dict[str, Any]) -> Text:
    """A peer's state, coloured."""
    text: str = peer["state"]
    if "disabled" in peer:
        return Text(f"{text} (disabled)", WARN)
    if peer.get("catching_up"):
        return Text(f"{text} (catching up)", WARN)
    return Text(text, GOOD if text == "Established" else BAD)


def peers_table(peers: Iterable[dict[str, Any]], width: int) -> Table:
    """All peers, a line each; on a narrow terminal with what matters most."""
    columns = (
        *("Peer", "AS>", "Address", "Role", "State", "Uptime>", "Paths>", "In>", "Refused>", "Out>", "Queue>", "Lag>"),
        "Last end",
    )
    left_out = () if width >= WIDE else ("Address", "Role", "In", "Refused", "Out", "Queue")
    found = table([name for name in columns if name.removesuffix(">") not in left_out])
    for peer in peers:
        last = f"disabled: {peer['disabled']}" if peer.get("disabled") else peer.get("last_end", "")
        cells: dict[str, str | Text] = {
            "Peer": peer["name"],
            "AS": str(peer["as"]),
            "Address": peer["address"],
            "Role": peer["role"],
            "State": state_of(peer),
            "Uptime": duration(peer["uptime"]) if "uptime" in peer else "",
            "Paths": number(peer.get("prefixes")),
            "In": number(peer.get("updates_received")),
            "Refused": number(peer.get("updates_refused")),
            "Out": number(peer.get("updates_sent")),
            "Queue": number(peer.get("queued_octets")),
            "Lag": f"{peer['lag']:.1f} s" if "lag" in peer else "",
            "Last end": last[:60],
        }
        found.add_row(*(cell for name, cell in cells.items() if name not in left_out))
    return found


def groups_table(groups: Iterable[dict[str, Any]]) -> Table:
    """Groups, a line each."""
    found = table(("Members", "Role", "Unchanged>", "Share>", "Repacked", "Split>", "Withheld", "Negotiated"))
    for group in groups:
        members = group["members"]
        found.add_row(
            ", ".join(members) if len(members) <= 3 else f"{len(members)} peers",
            group["role"],
            number(group["unchanged"]),
            f"{group['share_unchanged']:.1%}",
            ", ".join(f"{why} {number(count)}" for why, count in group["repacked"].items()),
            number(group["split"]),
            ", ".join(f"{why} {number(count)}" for why, count in group["withheld"].items()),
            group["negotiated"],
        )
    return found


def stations_table(stations: Iterable[dict[str, Any]]) -> Table:
    """BMP stations, a line each."""
    found = table(
        ("Station", "State", "Uptime>", "Monitor", "Peers", "Sessions>", "Sent>", "Queue>", "Dropped>", "Last end")
    )
    for station in stations:
        up = station["state"] == "up"
        found.add_row(
            station["address"],
            Text(station["state"], GOOD if up else BAD),
            duration(station["uptime"]) if up else "",
            ", ".join(station["monitor"]),
            ", ".join(station["peers"]) or "all",
            number(station["sessions"]),
            number(station["messages_sent"]),
            number(station["queued_octets"]),
            number(station["messages_dropped"]),
            station["last_end"][:60],
        )
    return found
