"""The looking glass' page in headless Chromium, against a daemon with peers that keep talking."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tests.harness.lively import NAMES, Lively, lively
from tests.interop.browser import Browser, browser
from tests.interop.daemons import wait_for

pytestmark = pytest.mark.interop


@contextlib.contextmanager
def daemon(folder: Path) -> Iterator[str]:
    """The page's address; the daemon runs in a thread of its own."""
    addresses: list[str] = []
    ready = threading.Event()
    token: list[trio.lowlevel.TrioToken] = []
    scope = trio.CancelScope()

    async def main() -> None:
        token.append(trio.lowlevel.current_trio_token())
        async with lively(folder) as found:
            addresses.append(f"http://{found.web}/")
            with scope:
                await _talk(found, ready)

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    try:
        assert ready.wait(20)
        yield addresses[0]
    finally:
        token[0].run_sync_soon(scope.cancel)
        thread.join(20)


async def _talk(found: Lively, ready: threading.Event) -> None:
    ready.set()
    await found.talk(200.0)


def search(page: Browser, prefix: str, match: str, to: str) -> list[list[str]]:
    """Search as a visitor does; the rows that are found."""
    before = page.text("#verdict")
    page.run(
        f"const f = document.getElementById('search').elements; f.prefix.value = '{prefix}'; f.match.value = '{match}';"
        f"f.to.value = '{to}'; document.getElementById('verdict').textContent = '';"
        "document.querySelector('#search button').click()"
    )
    wait_for(lambda: page.text("#verdict"), bool, 10)
    assert before is not None
    return page.rows("#routes")


def test_the_page_shows_peers_flow_routes_and_why(tmp_path: Path) -> None:
    """What a visitor sees is what the daemon has; nothing is loaded from elsewhere, nothing is complained of."""
    with daemon(tmp_path) as url, browser() as page:
        page.open(url)
        wait_for(lambda: page.text("#live"), lambda text: text == "live", 20)
        peers = wait_for(lambda: page.rows("#peers"), lambda rows: len(rows) == 8, 10)
        assert [row[0] for row in peers] == list(NAMES)
        assert [row[4] for row in peers] == ["Established"] * 7 + ["Active"]
        assert page.text("#up") == "7 / 8"
        wait_for(lambda: page.text("#in"), lambda text: text.isdigit() and int(text) > 20, 20)
        moving = "return document.querySelectorAll('#flow .flow').length"
        flow = wait_for(lambda: page.run(moving), lambda count: count >= 10, 20)
        assert flow <= 5 + 7
        labels = page.text("#flow")
        for name in NAMES[:7]:
            assert name in labels
        assert "unchanged" in labels
        assert 0 < float(page.text("#share").split("\u2009")[0]) < 100
        updates = wait_for(lambda: page.text("#updates"), lambda text: "announces" in text, 20)
        assert " via 192.0.2." in updates

        (best, other) = search(page, "203.0.113.7", "longest", "")
        assert best[:4] == ["203.0.113.0/24", "amber", "best", "192.0.2.1"]
        assert other[1] == "birch"
        rows = search(page, "203.0.113.0/24", "exact", "grove")
        assert [row[2] for row in rows] == ["rewritten", "not sent"]
        assert "as_path: 65001 64500 \u2192 65000 65001 64500 (our AS in front)" in rows[0][6]
        assert page.text("#verdict") == "203.0.113.0/24: grove gets 1 of 2 paths"
        rows = search(page, "203.0.113.0/24", "exact", "amber")
        assert [row[2] for row in rows] == ["not sent", "unchanged"]
        assert len(search(page, "101.0.0.0/8", "longer", "")) > 10
        assert search(page, "nonsense", "exact", "") == []
        assert "is no prefix" in page.text("#verdict")
        page.open(url + "?prefix=203.0.113.0/24&match=exact&to=amber")
        wait_for(lambda: page.text("#verdict"), lambda text: "amber gets 1 of 2 paths" in text, 10)
        complaints = [each for each in page.complaints() if "nonsense" not in each]
        assert complaints == []
        elsewhere = page.run(
            "return performance.getEntriesByType('resource').map(each => each.name)"
            ".filter(name => !name.startsWith(location.origin))"
        )
        assert elsewhere == []
        assert page.screenshot().startswith(b"\x89PNG")
