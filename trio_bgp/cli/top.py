"""`trio-bgp top`: peers, rates, queues and the share forwarded unchanged, live."""

import argparse
import json
import sys
import time
from collections import deque
from typing import Any, Final

import attrs
from rich import box
from rich.console import Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from trio_bgp.cli.client import Client, add_options, asking, client_of
from trio_bgp.cli.tables import BAD, GOOD, WARN, bar, console, duration, number, state_of, table

__all__ = ["Top", "add_parser"]

HISTORY: Final = 60
"""Looks that the curves show."""
STEPS: Final = "▁▂▃▄▅▆▇█"
AROUND: Final = 10
"""Lines that are not peers'."""
WIDE: Final = 100


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `top`."""
    parser = subparsers.add_parser(
        "top",
        help="watch peers, rates and the share forwarded unchanged",
        description="Watch peers, rates, queues and the share forwarded unchanged, until interrupted. The busiest "
        "peers come first.",
    )
    parser.add_argument(
        "--interval", type=float, default=1.0, metavar="S", help="seconds between two looks (default: %(default)s)"
    )
    parser.add_argument("--count", type=int, metavar="N", help="stop after N looks")
    add_options(parser)

    def run(arguments: argparse.Namespace) -> int:
        if not 0.05 <= arguments.interval <= 86400:
            parser.error(f"--interval is {arguments.interval:g}; accepted: 0.05 to 86400 seconds")
        return _top(arguments)

    parser.set_defaults(command=asking(run))


def _top(arguments: argparse.Namespace) -> int:
    out = console()
    top = Top(client_of(arguments))
    looks = 0
    top.look()
    with Live(console=out, auto_refresh=False, screen=out.is_terminal) as live:
        while True:
            looks += 1
            if arguments.json:
                print(json.dumps(top.told()), flush=True)
            else:
                height = out.height if out.is_terminal else sys.maxsize
                live.update(top.draw(out.width, height), refresh=True)
            if looks == arguments.count:
                return 0
            time.sleep(arguments.interval)
            top.look()


@attrs.define
class _Look:
    """What was told at one time."""

    at: float
    status: dict[str, Any]
    peers: list[dict[str, Any]]
    shares: dict[str, float]
    """Of each peer's group, the share unchanged."""


class Top:
    """Looks at a daemon again and again, and draws what it saw.

    Args:
        client: the daemon.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._now: _Look | None = None
        self._before: _Look | None = None
        self._in: deque[float] = deque(maxlen=HISTORY)
        self._out: deque[float] = deque(maxlen=HISTORY)

    def look(self) -> None:
        """Ask once more.

        Raises:
            ControlError: the daemon does not answer.
        """
        shares: dict[str, float] = {}
        for group in self._client.get("groups"):
            if group["unchanged"] or group["repacked"]:
                shares |= dict.fromkeys(group["members"], group["share_unchanged"])
        look = _Look(time.monotonic(), self._client.get("status"), self._client.get("peers"), shares)
        self._before, self._now = self._now, look
        if self._before is not None:
            self._in.append(self._rate("updates_received"))
            self._out.append(self._rate("updates_unchanged", "updates_repacked", "updates_replayed"))

    def told(self) -> dict[str, Any]:
        """What was seen last, for programs: status, and peers with rates."""
        now = self._seen()
        rates = {"in": self._in[-1], "out": self._out[-1]} if self._in else {}
        return {"status": now.status, "rates": rates, "peers": self._busiest()}

    def draw(self, width: int, height: int) -> Group:
        """What was seen last, for a terminal of so many columns and lines."""
        peers = self._busiest()
        room = max(1, height - AROUND)
        shown = peers[:room]
        drawn: list[Any] = [self._head(width), self._table(shown, width)]
        if len(peers) > len(shown):
            drawn.append(Text(f"and {len(peers) - len(shown)} more", "dim"))
        return Group(*drawn)

    def _seen(self) -> _Look:
        if self._now is None:
            raise AssertionError("nothing was looked at")
        return self._now

    def _rate(self, *keys: str) -> float:
        now, before = self._seen(), self._before
        if before is None:
            return 0.0
        passed = sum(now.status[key] - before.status[key] for key in keys)
        return max(0.0, float(passed / (now.at - before.at)))

    def _busiest(self) -> list[dict[str, Any]]:
        now, before = self._seen(), self._before
        old = {} if before is None else {peer["name"]: peer for peer in before.peers}
        seconds = 1.0 if before is None else now.at - before.at
        peers = []
        for peer in now.peers:
            rates = {}
            for key, name in (("updates_received", "in"), ("updates_sent", "out")):
                if key in peer:
                    passed = peer[key] - old.get(peer["name"], {}).get(key, peer[key])
                    rates[name] = round(max(0.0, passed / seconds), 1)
            share = {"share_unchanged": now.shares[peer["name"]]} if peer["name"] in now.shares else {}
            peers.append(peer | rates | share)
        return sorted(peers, key=lambda each: each.get("in", -1.0) + each.get("out", -1.0), reverse=True)

    def _head(self, width: int) -> Panel:
        status = self._seen().status
        down = status["peers"] - status["established"]
        facts = Text.assemble(
            ("peers ", "dim"),
            (f"{status['established']} up", GOOD),
            (f"  {down} down", BAD if down else "dim"),
            (f"  {status['catching_up']} catching up", WARN if status["catching_up"] else "dim"),
            ("   prefixes ", "dim"),
            f"{status['prefixes']:,}",
            ("   paths ", "dim"),
            f"{status['paths']:,}",
            ("   groups ", "dim"),
            f"{status['groups']}",
        )
        grid = Table.grid(padding=(0, 2))
        for _ in range(3):
            grid.add_column(no_wrap=True)
        room = max(8, min(HISTORY, width - 46))
        for name, history, style in (("in", self._in, "cyan"), ("out", self._out, "magenta")):
            rate = f"{history[-1]:,.0f}/s" if history else "-"
            grid.add_row(
                Text(f"UPDATEs {name}", "dim"), Text(rate.rjust(12), "bold"), Text(_curve(history, room), style)
            )
        share = status["share_unchanged"]
        grid.add_row(
            Text("unchanged", "dim"),
            Text(f"{share:.1%}".rjust(12), f"bold {GOOD}"),
            Text(bar(share, min(30, room)), GOOD),
        )
        title = f"trio-bgp  AS {status['local_as']}  {status['bgp_identifier']}  up {duration(status['uptime'])}"
        return Panel(Group(facts, grid), title=title, title_align="left", box=box.ROUNDED, border_style="blue")

    def _table(self, peers: list[dict[str, Any]], width: int) -> Table:
        wide = width >= WIDE
        names = ("Peer", "AS>", "State", "Uptime>", "Paths>", "In/s>", "Out/s>", "Unchanged", "Queue>", "Lag>")
        left_out = () if wide else ("Uptime", "Queue")
        found = table([name for name in names if name.removesuffix(">") not in left_out])
        for peer in peers:
            share = peer.get("share_unchanged")
            lag = peer.get("lag")
            cells: dict[str, str | Text] = {
                "Peer": Text(peer["name"], "bold" if peer["state"] == "Established" else "dim"),
                "AS": str(peer["as"]),
                "State": state_of(peer),
                "Uptime": duration(peer["uptime"]) if "uptime" in peer else "",
                "Paths": number(peer.get("prefixes")),
                "In/s": f"{peer['in']:,.0f}" if "in" in peer else "",
                "Out/s": f"{peer['out']:,.0f}" if "out" in peer else "",
                "Unchanged": "" if share is None else Text(f"{bar(share, 10)} {share:6.1%}", _shade(share)),
                "Queue": number(peer.get("queued_octets")),
                "Lag": "" if lag is None else Text(f"{lag:.1f} s", WARN if lag >= 1 else ""),
            }
            found.add_row(*(cell for name, cell in cells.items() if name not in left_out))
        return found


def _shade(share: float) -> str:
    return GOOD if share >= 0.9 else WARN if share >= 0.5 else "cyan"


def _curve(history: deque[float], width: int) -> str:
    values = list(history)[-width:]
    highest = max(values, default=0.0)
    if not highest:
        return STEPS[0] * len(values)
    return "".join(STEPS[min(7, int(value / highest * 7.999))] for value in values)
