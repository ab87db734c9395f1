"""`make pictures`: the README's pictures, made from what really runs: the page, `top`, and the demo's output."""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import trio
from rich.console import Console
from rich.text import Text

from tests.harness.lively import Lively, lively
from tests.interop.browser import browser
from trio_bgp.cli.client import Client
from trio_bgp.cli.top import Top

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "pictures"
WARM_UP = 6.0
"""Seconds until rates are steady."""
WIDTH, LINES = 104, 24


def draw_page(url: str) -> None:
    """The page, with a search done."""
    with browser((1180, 1500)) as page:
        page.open(url + "?prefix=203.0.113.7&match=longest&to=grove")
        time.sleep(4)
        (FOLDER / "page.png").write_bytes(page.screenshot())


def draw_top(socket: str) -> None:
    """`trio-bgp top` after some looks, as a terminal shows it."""
    top = Top(Client(socket))
    for _ in range(40):
        top.look()
        time.sleep(0.25)
    console = Console(
        record=True, width=WIDTH, height=LINES, force_terminal=True, color_system="truecolor", quiet=False
    )
    with open("/dev/null", "w", encoding="utf-8") as nowhere:  # noqa: PTH123 (where a console writes to)
        console.file = nowhere
        console.print(top.draw(WIDTH, LINES))
        _save(console, "top")


def _save(console: Console, name: str) -> None:
    """As SVG, without the fonts that rich would have a reader's browser load from elsewhere."""
    text = console.export_svg(title=f"trio-bgp {name}")
    (FOLDER / f"{name}.svg").write_text(re.sub(r"@font-face \{.*?\}\n", "", text, flags=re.DOTALL), encoding="utf-8")


def draw_demo() -> None:
    """What `trio-bgp demo` prints in the end."""
    done = subprocess.run(
        [sys.executable, "-m", "trio_bgp", "demo", "--duration", "6"], capture_output=True, text=True, check=True
    )
    lines = [line if len(line) < WIDTH else line[:WIDTH].rpartition(";")[0] for line in done.stdout.splitlines()]
    console = Console(record=True, width=WIDTH, force_terminal=True)
    with open("/dev/null", "w", encoding="utf-8") as nowhere:  # noqa: PTH123 (where a console writes to)
        console.file = nowhere
        console.print(Text("$ trio-bgp demo", "bold"))
        console.print(Text("\n".join(lines)))
        _save(console, "demo")


def main() -> None:
    """Make all of them."""
    FOLDER.mkdir(exist_ok=True)
    draw_demo()
    trio.run(_with_daemon)


async def _with_daemon() -> None:
    async with lively(Path(tempfile.mkdtemp())) as found, trio.open_nursery() as nursery:
        nursery.start_soon(found.talk, 160.0)
        await trio.sleep(WARM_UP)
        await _drawn(found)
        nursery.cancel_scope.cancel()


async def _drawn(found: Lively) -> None:
    def draw() -> None:
        draw_page(f"http://{found.web}/")
        draw_top(str(found.socket))

    await trio.to_thread.run_sync(draw)


if __name__ == "__main__":
    main()
